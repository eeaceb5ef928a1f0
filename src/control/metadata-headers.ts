/**
 * Headers of metadata requests: which of a machine's go on to the endpoint, and what the endpoint is told of who asks, as
 * Neutron's metadata agent tells Nova. Pure.
 *
 * Whom the endpoint believes to be asking decides what it tells (keys, passwords). So nothing of a machine's goes on that a
 * server could take for such a word: all X-... headers but those of EC2's session tokens, and every name with a character other
 * than letters, digits and hyphens, for gateways like WSGI make X_Instance_ID and X-Instance-ID one. Hop-by-hop headers are
 * the connection's own (RFC 9110 7.6.1), and lengths and Host are made anew.
 */
import { createHmac } from 'node:crypto';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
]);
/** What says who asks, or where: made here. */
const OURS = new Set(['host', 'content-length', 'forwarded', 'via', 'true-client-ip', 'client-ip']);
const ALLOWED_X = new Set(['x-aws-ec2-metadata-token', 'x-aws-ec2-metadata-token-ttl-seconds']);

/** Who asks, by the port that his frames came in by. */
export interface Identity {
  readonly address: string;
  readonly instance: string;
  readonly tenant?: string;
  readonly network: string;
  readonly router?: string;
}

export function requestHeaders(
  headers: IncomingHttpHeaders,
  identity: Identity,
  secret: string | undefined,
): OutgoingHttpHeaders {
  const kept = Object.entries(headers).filter(([name]) => isPassedOn(name, headers.connection));
  const { address, instance, tenant, network, router } = identity;
  return {
    ...Object.fromEntries(kept),
    'x-forwarded-for': address,
    'x-instance-id': instance,
    ...(tenant !== undefined && { 'x-tenant-id': tenant }),
    'x-network-id': network,
    ...(router !== undefined && { 'x-router-id': router }),
    ...(secret !== undefined && { 'x-instance-id-signature': signature(secret, instance) }),
  };
}

export function responseHeaders(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = namedBy(headers.connection);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name)));
}

function isPassedOn(name: string, connection: string | undefined): boolean {
  if (!/^[a-z0-9-]+$/.test(name) || HOP_BY_HOP.has(name) || OURS.has(name)) return false;
  if (name.startsWith('x-')) return ALLOWED_X.has(name);
  return !namedBy(connection).has(name);
}

/** RFC 9110 7.6.1: whatever the Connection header names is for this connection only. */
function namedBy(connection: string | undefined): Set<string> {
  return new Set(
    (connection ?? '')
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  );
}

function signature(secret: string, instance: string): string {
  return createHmac('sha256', secret).update(instance).digest('hex');
}
