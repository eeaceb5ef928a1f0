/** What routers translate, as operators see it: rows of `weft nat list`. Main thread. */

import type { ConnectionRow } from '../pipeline/connection-control.js';
import { KEY_LOWER, KEY_PORTS, KEY_ZONE, M_ADDRESS, M_PORT, V_STATE } from '../pipeline/connection-entry.js';
import { ipText } from '../wire/address.js';
import { PROTOCOL_ICMP } from '../wire/ip-protocol.js';
import { hasPorts } from '../wire/packet.js';
import { hidingAddresses } from './indices.js';
import { type Endpoint, endpointsOf, wordsText } from './nat-connections.js';
import { protocolName } from './protocol-names.js';
import type { ResolvedForward, ResolvedRouter } from './resolved.js';
import type { NatRow } from './shapes.js';

/** Floating addresses and forwards, as configured. */
export function configuredNatRows(routers: ReadonlyMap<string, ResolvedRouter>): NatRow[] {
  return [...routers].flatMap(([router, { floating, forwards }]) => [
    ...floating.map(({ outside, inside }) => {
      return { router, type: 'floating' as const, proto: 'any', internal: ipText(inside), external: ipText(outside) };
    }),
    ...forwards.map((forward) => forwardRow(router, forward)),
  ]);
}

function forwardRow(router: string, { protocol, outside, ports, inside, port, follows }: ResolvedForward): NatRow {
  const range = (first: number, last: number) => (first === last ? String(first) : `${first}-${last}`);
  return {
    router,
    type: 'forward',
    proto: protocolName(protocol),
    internal: at(ipText(inside), range(port, follows ? port + ports.last - ports.first : port)),
    external: at(ipText(outside), range(ports.first, ports.last)),
  };
}

/** A mapping that some connection uses. */
export function mappingRow(key: Int32Array, value: Int32Array, routerOf: (zone: number) => string): NatRow {
  return {
    router: routerOf(key[KEY_ZONE]! >>> 16),
    type: 'snat',
    proto: protocolName((key[KEY_ZONE]! >>> 8) & 0xff),
    internal: at(wordsText(key, KEY_LOWER), String(key[KEY_PORTS]! >>> 16)),
    external: at(wordsText(value, M_ADDRESS), String(value[M_PORT])),
  };
}

/** The row of a connection that is hidden by itself, which is only good for its remote end; undefined for others. */
export function dependentRow(
  row: ConnectionRow,
  routers: ReadonlyMap<string, ResolvedRouter>,
  routerOf: (zone: number) => string,
): NatRow | undefined {
  const { key, value, translated, translatedState, mapping } = row;
  if (translated === undefined || mapping !== 0) return undefined;
  const [inside, remote] = endpointsOf(key, value[V_STATE]!);
  const [, outside] = endpointsOf(translated, translatedState);
  const router = routers.get(routerOf(key[KEY_ZONE]! >>> 16));
  const isHidden = router && hidingAddresses(router).some((address) => ipText(address) === outside.address);
  if (isHidden !== true || inside.address === outside.address) return undefined;
  const protocol = (key[KEY_ZONE]! >>> 8) & 0xff;
  const isPlain = !hasPorts(protocol) && protocol !== PROTOCOL_ICMP;
  const end = ({ address, port }: Endpoint) => (isPlain ? address : at(address, String(port)));
  return {
    router: routerOf(key[KEY_ZONE]! >>> 16),
    type: 'snat',
    proto: protocolName(protocol),
    internal: end(inside),
    external: end(outside),
    remote: end(remote),
  };
}

function at(address: string, port: string): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
