/**
 * How security groups judge a packet at one of its two ends, the port it came from or a port it goes to; what the stages
 * groups-from and groups-to have in common. @hot
 *
 * A connection keeps the ports it runs by and the epoch of the policy under which both ends allowed it. While that epoch is
 * the one in force, its packets pass with a comparison. Otherwise both recorded ends judge it anew, by its original tuple and
 * without any frame: allowed, it gets the new epoch; not allowed, it is removed, and with it both directions are cut.
 *
 * A packet at another port than the recorded one (a machine moved, or somebody else uses the same addresses) is judged by
 * that port's own rules. That they forbid it says nothing about the connection, which stays: or one machine could end
 * another's connections by sending what it may not send.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import type { FramePool } from '../dataplane/frame-pool.js';
import { ICMP_ECHO_REQUEST, ICMPV6_ECHO_REQUEST } from '../wire/icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../wire/ip-protocol.js';
import { PACKET_IPV4, PACKET_IPV6 } from '../wire/packet.js';
import {
  AS_JUDGED,
  CONNECTION_RELATED,
  CONNECTION_REPLY,
  type ConnectionTable,
  destinationPortOf,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  KIND_IPV6,
  KIND_QUERY_MASK,
  KIND_QUERY_SHIFT,
  LOWER_IS_ORIGINAL,
  portsWord,
  QUERY_ADDRESS_MASK,
  QUERY_ECHO,
  QUERY_INFORMATION,
  QUERY_TIMESTAMP,
  sourcePortOf,
  V_STATE,
} from './connection-table.js';
import { type GroupPolicy, ruleFrom, ruleTo } from './group-table.js';
import type { Machine } from './machine.js';
import { KEY_DESTINATION, KEY_KIND, KEY_PROTOCOL, KEY_SOURCE, KEY_WORDS, setPorts } from './rule-key.js';

/** In a slot's connectionState, beside CONNECTION_... and AS_JUDGED: the port it came from has stateful groups, and they let it begin a connection. */
export const ALLOWED_AT_SOURCE = 1 << 16;
/** The frame began its connection, or came while another one did. For explanations. */
export const HAS_BEGUN = 1 << 17;

/** The key in hand, of a packet or a connection. One worker is one thread, and judgements are not nested. */
export const groupKey = new Int32Array(KEY_WORDS);

/**
 * Whether nothing need be asked but by which port its connection runs: most of all frames, so this is asked first. The port has
 * stateful groups.
 */
export function passesAsJudged(pool: FramePool, slot: number, port: number, isSource: boolean): boolean {
  const state = pool.connectionState[slot];
  return (state & AS_JUDGED) !== 0 && recordedPort(pool.connectionPorts[slot], state, isSource) === port;
}

/** Whether a packet of a known connection passes at this end: nothing has changed since both ends allowed it. */
export function isAsJudged(machine: Machine, slot: number, port: number, isSource: boolean): boolean {
  const { pool, snapshot } = machine;
  if (pool.connectionEpoch[slot] !== snapshot.groups.epoch) return false;
  const state = pool.connectionState[slot];
  if ((state & CONNECTION_RELATED) !== 0) return true;
  return recordedPort(pool.connectionPorts[slot], state, isSource) === port;
}

/** `isSource`: of the packet, which may be a reply. */
function recordedPort(ports: number, state: number, isSource: boolean): number {
  const isOriginalSource = ((state & CONNECTION_REPLY) !== 0) !== isSource;
  return isOriginalSource ? sourcePortOf(ports) : destinationPortOf(ports);
}

/**
 * Judges a packet of a known connection at this end, where isAsJudged says no. Returns the drop reason's number, 0: it passes.
 */
export function judgeKnown(machine: Machine, slot: number, port: number, isSource: boolean): number {
  const { pool, connections } = machine;
  const policy = machine.snapshot.groups;
  const entry = pool.connection[slot];
  const stamp = pool.connectionStamp[slot];
  keyOfConnection(groupKey, connections, entry);
  // Somebody removed it since it was looked up: what it was is not known any more.
  if (connections.table.stampOf(entry) !== stamp) return dropReasonNumber.group_deny;
  let source = sourcePortOf(pool.connectionPorts[slot]);
  let destination = destinationPortOf(pool.connectionPorts[slot]);
  if (pool.connectionEpoch[slot] !== policy.epoch) {
    if (!allowsFrom(policy, source, groupKey) || !allowsTo(policy, destination, groupKey)) {
      connections.remove(entry, stamp);
      return dropReasonNumber.group_deny;
    }
  }
  const state = pool.connectionState[slot];
  if ((state & CONNECTION_RELATED) === 0) {
    const isOriginalSource = ((state & CONNECTION_REPLY) !== 0) !== isSource;
    if (isOriginalSource) {
      if (port !== source && !allowsFrom(policy, port, groupKey)) return dropReasonNumber.group_deny;
      source = port;
    } else {
      if (port !== destination && !allowsTo(policy, port, groupKey)) return dropReasonNumber.group_deny;
      destination = port;
    }
  }
  connections.judge(entry, stamp, policy.epoch, source, destination);
  pool.connectionEpoch[slot] = policy.epoch;
  pool.connectionPorts[slot] = portsWord(source, destination);
  return 0;
}

const entryKey = new Int32Array(KEY_WORDS);

/** Whether both recorded ends of a connection would let it begin by this policy. */
export function isConnectionAllowed(policy: GroupPolicy, connections: ConnectionTable, entry: number): boolean {
  keyOfConnection(entryKey, connections, entry);
  const ports = connections.connectionPorts(entry);
  return allowsFrom(policy, sourcePortOf(ports), entryKey) && allowsTo(policy, destinationPortOf(ports), entryKey);
}

/** Whether the port, if it has stateful groups, lets the key's connection begin there. Others have no say in connections. */
function allowsFrom(policy: GroupPolicy, port: number, key: Int32Array): boolean {
  return (
    port < 0 ||
    port >= policy.portStateful.length ||
    policy.portStateful[port] === 0 ||
    ruleFrom(policy, port, key) >= 0
  );
}

function allowsTo(policy: GroupPolicy, port: number, key: Int32Array): boolean {
  return (
    port < 0 || port >= policy.portStateful.length || policy.portStateful[port] === 0 || ruleTo(policy, port, key) >= 0
  );
}

/** Fills the key with what the connection's first packet was, as far as rules of groups ask. */
export function keyOfConnection(key: Int32Array, { table }: ConnectionTable, entry: number): void {
  const zone = table.keyWord(entry, KEY_ZONE);
  const isLower = (table.valueWord(entry, V_STATE) & LOWER_IS_ORIGINAL) !== 0;
  const source = isLower ? KEY_LOWER : KEY_HIGHER;
  const destination = isLower ? KEY_HIGHER : KEY_LOWER;
  const isIpv6 = (zone & KIND_IPV6) !== 0;
  const protocol = (zone >>> 8) & 0xff;
  key[KEY_KIND] = isIpv6 ? PACKET_IPV6 : PACKET_IPV4;
  key[KEY_PROTOCOL] = protocol;
  for (let word = 0; word < 4; word++) {
    key[KEY_SOURCE + word] = table.keyWord(entry, source + word);
    key[KEY_DESTINATION + word] = table.keyWord(entry, destination + word);
  }
  const ports = table.keyWord(entry, KEY_PORTS);
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6)
    setPorts(key, protocol, requestOf(zone, isIpv6) << 24);
  else setPorts(key, protocol, isLower ? ports : (ports << 16) | (ports >>> 16));
}

/** Type of the ICMP message that asks: the key knows the query. Its code is 0 for every query there is. */
function requestOf(zone: number, isIpv6: boolean): number {
  const query = (zone & KIND_QUERY_MASK) >> KIND_QUERY_SHIFT;
  if (isIpv6) return query === QUERY_ECHO ? ICMPV6_ECHO_REQUEST : 139;
  switch (query) {
    case QUERY_TIMESTAMP:
      return 13;
    case QUERY_INFORMATION:
      return 15;
    case QUERY_ADDRESS_MASK:
      return 17;
    default:
      return ICMP_ECHO_REQUEST;
  }
}
