/**
 * Instance metadata: HTTP requests of machines to 169.254.169.254, passed on to settings.metadata.endpoint from the daemon's
 * own namespace, with headers that say who asks (metadata-headers.ts). Main thread.
 *
 * Requests are parsed by node:http, which is given each machine's connection (guest-tcp.ts) as a stream, and made anew for the
 * endpoint: of the octets that a machine sent only the path, the body and the headers that may pass are in it, so nothing can be
 * smuggled behind a length that lies. The strict parser refuses what contradicts itself.
 *
 * What a machine can do: keep METADATA_REQUESTS_PER_PORT requests at the endpoint, of which the oldest's connection is
 * ended when all places are taken and another port has fewer (fair-places.ts); one that is slow to send its request is cut
 * off after REQUEST_TIMEOUT_MS, whatever it sends meanwhile. A connection's end gives back all that its requests hold.
 * One segment can hold fifty requests: so a connection with too many of them that wait is ended, and requests begin one port
 * after the other (fair-turns.ts), at a pace that leaves the thread its time.
 */
import {
  createServer,
  type IncomingMessage,
  request as requestHttp,
  type Server,
  type ServerResponse,
} from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { monotonicMs } from '../dataplane/clock.js';
import {
  METADATA_BODY_SIZE_MAX,
  METADATA_REQUESTS_MAX,
  METADATA_REQUESTS_PER_PORT,
  METADATA_REQUESTS_PER_SECOND,
} from '../limits.js';
import { ipText } from '../wire/address.js';
import { FairPlaces } from './fair-places.js';
import { FairTurns } from './fair-turns.js';
import type { StreamPeer } from './guest-tcp.js';
import type { Log } from './log.js';
import { type Identity, requestHeaders, responseHeaders } from './metadata-headers.js';
import type { ResolvedConfig } from './resolved.js';
import type { MetadataCounts } from './shapes.js';

const HEADER_SIZE_MAX = 16 * 1024;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT']);
/** RFC 3986 5.2.4: would lead out of the endpoint's own path. Some servers take a backslash for a slash, or decode one. */
const DOT_SEGMENT = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\;]|%2f|%5c|%3b)/i;
/** For a whole request, and between two of one connection. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Until the endpoint begins to answer. */
const ENDPOINT_TIMEOUT_MS = 10_000;
const REQUESTS_PER_CONNECTION_MAX = 100;

export interface MetadataParts {
  readonly log: Pick<Log, 'warn'>;
  readonly requestTimeoutMs?: number;
  readonly endpointTimeoutMs?: number;
}

/** A refusal of ours, as HTTP has it. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

interface Connection {
  readonly peer: StreamPeer;
  /** Ends the connection when the machine is too slow. */
  deadline: NodeJS.Timeout | undefined;
  /** Requests that came and are not answered. */
  unanswered: number;
  /**
   * Aborted when it is over. A response that waits behind another one of its connection (HTTP pipelining) has no stream of its
   * own yet, and never hears that: without this what it holds would be held for ever.
   */
  readonly over: AbortController;
}

export class MetadataService {
  private readonly parts: MetadataParts;
  private readonly server: Server;
  private readonly connections = new WeakMap<object, Connection>();
  private readonly places = new FairPlaces(METADATA_REQUESTS_MAX, METADATA_REQUESTS_PER_PORT);
  private readonly turns = new FairTurns(METADATA_REQUESTS_PER_SECOND, monotonicMs);
  private config: ResolvedConfig | undefined;
  private hasFailed = false;
  private readonly counted = { requests: 0, answered: 0, refused: 0, failed: 0 };

  constructor(parts: MetadataParts) {
    this.parts = parts;
    this.server = createServer({ maxHeaderSize: HEADER_SIZE_MAX, insecureHTTPParser: false }, (request, response) => {
      void this.answer(request, response);
    });
    this.server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION_MAX;
  }

  follow(config: ResolvedConfig): void {
    this.config = config;
  }

  get counts(): MetadataCounts {
    return { ...this.counted, outstanding: this.places.taken };
  }

  /** An open connection to port 80 of the metadata address. */
  accept(stream: Duplex, peer: StreamPeer): void {
    const connection: Connection = { peer, deadline: undefined, unanswered: 0, over: new AbortController() };
    this.connections.set(stream, connection);
    this.startDeadline(connection, stream);
    stream.once('close', () => {
      clearTimeout(connection.deadline);
      connection.over.abort();
    });
    connection.over.signal.addEventListener('abort', () => stream.destroy());
    this.server.emit('connection', stream);
  }

  private startDeadline(connection: Connection, stream: Duplex): void {
    clearTimeout(connection.deadline);
    const timeoutMs = this.parts.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    connection.deadline = setTimeout(() => stream.destroy(), timeoutMs).unref();
  }

  /** Never rejects. */
  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.counted.requests++;
    const stream: Duplex = request.socket;
    const connection = this.connections.get(stream);
    if (connection === undefined || connection.over.signal.aborted) return;
    if (++connection.unanswered > METADATA_REQUESTS_PER_PORT) {
      connection.over.abort();
      return;
    }
    response.once('finish', () => this.startDeadline(connection, stream));
    try {
      const body = await readBody(request);
      clearTimeout(connection.deadline);
      await this.passOn(request, body, response, connection);
      this.counted.answered++;
    } catch (error) {
      const { status, message } = refusalOf(error, connection.over.signal);
      this.count(status, error);
      refuse(response, status, message);
    } finally {
      connection.unanswered--;
    }
  }

  private count(status: number, error: unknown): void {
    if (status < 500) {
      this.counted.refused++;
      return;
    }
    this.counted.failed++;
    if (!this.hasFailed) this.parts.log.warn({ err: error }, 'metadata could not be fetched');
    this.hasFailed = true;
  }

  private async passOn(
    request: IncomingMessage,
    body: Buffer,
    response: ServerResponse,
    { peer, over }: Connection,
  ): Promise<void> {
    const metadata = this.config?.services.metadata;
    const { method = '', url = '' } = request;
    if (metadata === undefined) throw new Refusal(503, 'there is no metadata');
    if (!METHODS.has(method)) throw new Refusal(405, 'only GET, HEAD, POST and PUT');
    // The form that names a server is for proxies (RFC 9112 3.2.2), which this is not.
    if (!url.startsWith('/') || !/^[\x21-\x7e]+$/.test(url)) throw new Refusal(400, 'no such path');
    if (DOT_SEGMENT.test(url.replace(/[?#].*/, ''))) throw new Refusal(400, 'no such path');
    const { signal } = over;
    await this.turns.take(peer.place.portName, () => signal.aborted);
    const place = this.places.take(peer.place.portName, () => over.abort());
    if (place === undefined) throw new Refusal(429, 'too many requests at once');
    try {
      const headers = requestHeaders(request.headers, identityOf(peer, this.config), metadata.secret);
      const answer = await this.fetch(metadata.endpoint, { method, url, headers, body }, signal);
      this.hasFailed = false;
      response.writeHead(answer.statusCode ?? 502, responseHeaders(answer.headers));
      await unlessOver(pipeline(answer, response, { signal }), signal);
    } finally {
      this.places.leave(place);
    }
  }

  /** The endpoint's answer, its body still to be read. A machine that goes away takes its request with it. */
  private fetch(
    endpoint: string,
    {
      method,
      url,
      headers,
      body,
    }: { method: string; url: string; headers: ReturnType<typeof requestHeaders>; body: Buffer },
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const target = new URL(endpoint);
    const path = `${target.pathname.replace(/\/$/, '')}${url}`;
    const send = target.protocol === 'https:' ? requestHttps : requestHttp;
    const timeout = this.parts.endpointTimeoutMs ?? ENDPOINT_TIMEOUT_MS;
    const length = body.length > 0 || method === 'POST' || method === 'PUT' ? { 'content-length': body.length } : {};
    return new Promise((resolve, reject) => {
      const { hostname, port } = target;
      const host = hostname.replace(/^\[|\]$/g, '');
      const asked = send(
        { host, port, path, method, headers: { ...headers, ...length }, agent: false, timeout, signal },
        resolve,
      );
      asked.on('timeout', () => asked.destroy(new Refusal(504, 'the endpoint did not answer in time')));
      asked.on('error', reject);
      asked.end(body);
    });
  }
}

/** Rejects when the connection is over, whatever becomes of the work: writing to a response without a stream never ends. */
function unlessOver(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

function refusalOf(error: unknown, { aborted }: AbortSignal): Refusal {
  if (error instanceof Refusal) return error;
  return aborted ? new Refusal(400, 'the request was cut off') : new Refusal(502, 'the endpoint can not be asked');
}

/** Not by iteration, which would destroy the connection of a body that is refused, and the refusal with it. */
function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let size = 0;
    request.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size <= METADATA_BODY_SIZE_MAX) pieces.push(piece);
      else reject(new Refusal(413, 'the body is too long'));
    });
    request.on('end', () => resolve(Buffer.concat(pieces)));
    request.on('error', () => reject(new Refusal(400, 'the request was cut off')));
    request.on('close', () => reject(new Refusal(400, 'the request was cut off')));
  });
}

/** Ends the connection too: what is left of a request that was refused is not to be read as another one. */
function refuse(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = `${message}\n`;
  const headers = { 'content-type': 'text/plain', 'content-length': body.length, connection: 'close' };
  response.writeHead(status, headers).end(body);
}

function identityOf({ place, link }: StreamPeer, config: ResolvedConfig | undefined): Identity {
  const { portName, networkName, port } = place;
  const router = [...(config?.routers ?? [])].find(([, { interfaces }]) =>
    interfaces.some(({ network, isExternal }) => network === networkName && !isExternal),
  );
  return {
    address: ipText(link.guest),
    instance: port.instance?.id ?? portName,
    ...(port.instance?.tenant !== undefined && { tenant: port.instance.tenant }),
    network: networkName,
    ...(router !== undefined && { router: router[0] }),
  };
}
