/** Connections as operators see them: rows of `weft conntrack list`, and its statistics. Pure; main thread. */
import type { ConnectionCounts, ConnectionRow } from '../pipeline/connection-control.js';
import {
  connectionClasses,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  LOWER_IS_ORIGINAL,
  SEEN_REPLY,
  STATE_MASK,
  V_STATE,
} from '../pipeline/connection-entry.js';
import { classOf } from '../pipeline/connection-tracking.js';
import { sctpStateNames } from '../pipeline/sctp-tracking.js';
import type { Names } from '../pipeline/stage.js';
import { tcpStateNames } from '../pipeline/tcp-tracking.js';
import { ipWordsText } from '../wire/address.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_SCTP, PROTOCOL_TCP } from '../wire/ip-protocol.js';
import { swap32 } from '../wire/octets.js';
import { endpointsOf } from './nat-connections.js';
import { protocolName, protocolsWithPorts } from './protocol-names.js';
import type { ConntrackEnd, ConntrackRow, ConntrackStats } from './shapes.js';

export function conntrackRow(row: ConnectionRow, names: Names): ConntrackRow {
  const { key, value, port, timeoutSeconds } = row;
  const state = value[V_STATE];
  const protocol = (key[KEY_ZONE] >>> 8) & 0xff;
  const isLower = (state & LOWER_IS_ORIGINAL) !== 0;
  const [lower, higher] = [addressText(key, KEY_LOWER), addressText(key, KEY_HIGHER)];
  const [src, dst] = isLower ? [lower, higher] : [higher, lower];
  const ports = key[KEY_PORTS];
  const [lowPort, highPort] = [ports >>> 16, ports & 0xffff];
  const [srcPort, dstPort] = isLower ? [lowPort, highPort] : [highPort, lowPort];
  const end = (from: string, to: string, fromPort: number, toPort: number): ConntrackEnd => {
    if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) return { src: from, dst: to, icmpId: fromPort };
    return protocolsWithPorts.has(protocol)
      ? { src: from, dst: to, srcPort: fromPort, dstPort: toPort }
      : { src: from, dst: to };
  };
  // Of a translated connection: as it arrives from where the packets went.
  const reply = translatedReply(row);
  return {
    zone: names.network(key[KEY_ZONE] >>> 16),
    proto: protocolName(protocol),
    state: stateName(protocol, state),
    original: end(src, dst, srcPort, dstPort),
    reply: reply === undefined ? end(dst, src, dstPort, srcPort) : end(...reply),
    timeoutSeconds,
    port: names.port(port),
  };
}

type EndFields = [src: string, dst: string, srcPort: number, dstPort: number];

function translatedReply({ translated, translatedState }: ConnectionRow): EndFields | undefined {
  if (translated === undefined) return undefined;
  const [from, to] = endpointsOf(translated, translatedState);
  return [from.address, to.address, from.port, to.port];
}

/** ipWordsText takes words as they lie in memory. */
function addressText(key: Int32Array, at: number): string {
  return ipWordsText(key.subarray(at, at + 4).map(swap32));
}

function stateName(protocol: number, state: number): string {
  const own = state & STATE_MASK;
  if (protocol === PROTOCOL_TCP) return tcpStateNames[own] ?? 'none';
  if (protocol === PROTOCOL_SCTP) return sctpStateNames[own] ?? 'none';
  if ((state & SEEN_REPLY) === 0) return 'unreplied';
  return connectionClasses[classOf(state)] === 'udpStream' ? 'stream' : 'replied';
}

export function conntrackStats(
  counts: ConnectionCounts,
  byPort: readonly { readonly port: string; readonly used: number }[],
  perPort: number,
): ConntrackStats {
  const { capacity, used, created, expired, evicted, removed, refused, byClass } = counts;
  return {
    capacity,
    used,
    byPort: byPort.map((row) => ({ ...row, limit: perPort })),
    byState: Object.fromEntries(connectionClasses.map((name, index) => [name, byClass[index]])),
    created,
    expired,
    evicted,
    removed,
    refused: { ...refused },
  };
}
