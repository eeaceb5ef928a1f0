/**
 * Anti-spoof: what a guarded port sends must be its own, by every header that claims to be somebody (DESIGN.md section 3,
 * rule 3), and must be read to its end to know: whatever another switch or a host could read differently is dropped here.
 *
 * A frame's verdict follows from the frame and the configuration alone. A MAC costs one search among the port's, an address one
 * among that MAC's (guard-table.ts), and neither where the frame before in the batch came from the same port with the same
 * one; walks over options are bounded by their messages, which are short. On a trunk the same
 * holds in each of its networks, for what is behind the one tag that named the network. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { ARP_OPERATION, ARP_REPLY, ARP_REQUEST, ARP_SENDER_IP, ARP_SENDER_MAC } from '../../wire/arp.js';
import { ETHERNET_HEADER_SIZE, ETHERNET_SOURCE, ETHERTYPE_MIN, macHighAt, macLowAt } from '../../wire/ethernet.js';
import { findHomeAddress, HOME_ADDRESS_MALFORMED, HOME_ADDRESS_NONE } from '../../wire/home-address.js';
import {
  ICMPV6_MLD_REPORT,
  ICMPV6_MLD2_REPORT,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  ICMPV6_ROUTER_SOLICITATION,
} from '../../wire/icmp.js';
import { PROTOCOL_ICMPV6, PROTOCOL_UDP } from '../../wire/ip-protocol.js';
import { IPV4_DESTINATION, IPV4_SOURCE } from '../../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_NEXT_HEADER, IPV6_SOURCE } from '../../wire/ipv6.js';
import { isUnspecified } from '../../wire/nd.js';
import { read16, read32 } from '../../wire/octets.js';
import { PACKET_ARP, PACKET_IPV4, PACKET_IPV6 } from '../../wire/packet.js';
import { alwaysBlocked, isOrdinary } from '../always-blocked.js';
import { isDhcpClient, judgeDhcp, judgeDhcp6 } from '../guard-dhcp.js';
import { judgeNd } from '../guard-nd.js';
import {
  findIpv4,
  findIpv6,
  findStation,
  type GuardTable,
  isExtraEthertype,
  isOwnMac,
  isPair4,
} from '../guard-table.js';
import { allowedText, deniedText, guardRule } from '../guard-text.js';
import type { Machine } from '../machine.js';
import { POLICY_GUARD } from '../snapshot.js';
import type { Names, Stage } from '../stage.js';

const LIMITED_BROADCAST = -1;
const NOBODY = -1;

/**
 * Of the frame before: its port and MAC, whose station that is (NOBODY: of none, also at the begin of a batch, as another one's
 * snapshot has other stations), and the IPv4 address of it that was found its own. One worker is one thread.
 */
let lastPort = 0;
let lastHigh = 0;
let lastLow = 0;
let lastStation = NOBODY;
let lastAddress = 0;
let hasAddress = false;

/**
 * A plain frame that was its port's own and to which nothing but its addresses has a say: the port, and its source addresses, as
 * they lie in memory. Others with the same ones are, too. Only within a batch.
 */
const example = { isKnown: false, port: 0, macHigh: 0, macLow: 0, address: 0 };

export const antiSpoof: Stage = {
  name: 'anti-spoof',

  run(machine: Machine, batch: Batch): void {
    if ((batch.policy & POLICY_GUARD) === 0) return;
    const { pool } = machine;
    lastStation = NOBODY;
    example.isKnown = false;
    for (let index = 0; index < batch.count; index++) {
      if (example.isKnown) {
        index = passAlike(pool, batch, index);
        if (index === batch.count) return;
      }
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0 || (pool.policy[slot] & POLICY_GUARD) === 0) continue;
      pool.reason[slot] = judge(machine, slot);
      if (pool.reason[slot] === 0 && isOrdinary(pool.plain[slot], pool.ports[slot])) beExample(pool, slot);
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    if ((machine.pool.policy[slot] & POLICY_GUARD) === 0) return 'the port is not guarded';
    return allowedText(machine, slot, names);
  },

  explainDrop: deniedText,
  rule: guardRule,
};

/** Passes frames that are like the example from `from` on, up to the first that is not; returns that one's index. */
function passAlike(pool: FramePool, batch: Batch, from: number): number {
  const { words } = pool;
  const { port, macHigh, macLow, address } = example;
  let index = from;
  for (; index < batch.count; index++) {
    const slot = batch.slots[index];
    if (pool.reason[slot] !== 0 || (pool.policy[slot] & POLICY_GUARD) === 0) continue;
    if (!isOrdinary(pool.plain[slot], pool.ports[slot])) break;
    const at = pool.offset[slot] >> 2;
    const isOther =
      (pool.ingressPort[slot] ^ port) |
      ((words[at + 1] >>> 16) ^ macHigh) |
      (words[at + 2] ^ macLow) |
      (((words[at + 6] >>> 16) | (words[at + 7] << 16)) ^ address);
    if (isOther !== 0) break;
  }
  return index;
}

function beExample(pool: FramePool, slot: number): void {
  const { words } = pool;
  const at = pool.offset[slot] >> 2;
  example.isKnown = true;
  example.port = pool.ingressPort[slot];
  example.macHigh = words[at + 1] >>> 16;
  example.macLow = words[at + 2];
  example.address = (words[at + 6] >>> 16) | (words[at + 7] << 16);
}

/** The drop reason's number, 0 for a frame that is the port's own in every respect. */
function judge(machine: Machine, slot: number): number {
  const { pool, snapshot } = machine;
  const port = pool.ingressPort[slot];
  const station = stationOf(machine, slot, port);
  if (station < 0) return dropReasonNumber.spoof_mac;
  // A tag that is left now is a second one: hosts differ in whether they read on.
  if (pool.networkHeader[slot] - pool.offset[slot] !== ETHERNET_HEADER_SIZE)
    return dropReasonNumber.ethertype_not_allowed;
  const kind = pool.packetKind[slot];
  if (pool.packetFault[slot] !== 0) return pool.packetFault[slot];
  if (kind === PACKET_IPV4) return judgeIpv4(machine, slot, station);
  if (kind === PACKET_IPV6) return judgeIpv6(machine, slot, station);
  if (kind === PACKET_ARP) return judgeArp(machine, slot);
  const ethertype = pool.ethertype[slot];
  if (ethertype < ETHERTYPE_MIN) return dropReasonNumber.llc_snap;
  return isExtraEthertype(snapshot.guard, port, ethertype) ? 0 : dropReasonNumber.ethertype_not_allowed;
}

/** Number of the port's station that the frame says it is from; below 0: it is none of the port's. */
function stationOf({ pool, snapshot }: Machine, slot: number, port: number): number {
  const source = pool.offset[slot] + ETHERNET_SOURCE;
  const high = pool.view.getUint16(source);
  const low = pool.view.getInt32(source + 2);
  if (lastStation >= 0 && port === lastPort && high === lastHigh && low === lastLow) return lastStation;
  lastPort = port;
  lastHigh = high;
  lastLow = low;
  lastStation = findStation(snapshot.guard, port, high, low);
  hasAddress = false;
  return lastStation;
}

/** Whether the IPv4 address is one of the station's, which `stationOf` has just found. */
function isOwnAddress(guard: GuardTable, station: number, address: number): boolean {
  if (hasAddress && address === lastAddress) return true;
  hasAddress = findIpv4(guard, station, address) >= 0;
  lastAddress = address;
  return hasAddress;
}

/** The sender must be a pair; who asks whether an address is free (RFC 5227) has none yet, but a MAC. */
function judgeArp({ pool, snapshot }: Machine, slot: number): number {
  const { octets } = pool;
  const message = pool.networkHeader[slot];
  const operation = read16(octets, message + ARP_OPERATION);
  if (operation !== ARP_REQUEST && operation !== ARP_REPLY) return dropReasonNumber.not_parsed;
  const port = pool.ingressPort[slot];
  const high = macHighAt(octets, message + ARP_SENDER_MAC);
  const low = macLowAt(octets, message + ARP_SENDER_MAC);
  const sender = read32(octets, message + ARP_SENDER_IP);
  if (isPair4(snapshot.guard, port, high, low, sender)) return 0;
  const isProbe = sender === 0 && operation === ARP_REQUEST && isOwnMac(snapshot.guard, port, high, low);
  return isProbe ? 0 : dropReasonNumber.spoof_arp;
}

function judgeIpv4(machine: Machine, slot: number, station: number): number {
  const { pool, snapshot } = machine;
  const { view } = pool;
  const packet = pool.networkHeader[slot];
  const source = view.getInt32(packet + IPV4_SOURCE);
  if (isOrdinary(pool.protocol[slot], pool.ports[slot]))
    return isOwnAddress(snapshot.guard, station, source) ? 0 : dropReasonNumber.spoof_ip;
  const blocked = alwaysBlocked(machine, slot);
  if (blocked !== 0) return blocked;
  const isDhcp = pool.protocol[slot] === PROTOCOL_UDP && isDhcpClient(PACKET_IPV4, pool.ports[slot]);
  if (!isOwnAddress(snapshot.guard, station, source)) {
    const isWithoutAddress = source === 0 && view.getInt32(packet + IPV4_DESTINATION) === LIMITED_BROADCAST;
    if (!isWithoutAddress || !isDhcp) return dropReasonNumber.spoof_ip;
  }
  return isDhcp ? judgeDhcp(machine, slot) : 0;
}

function judgeIpv6(machine: Machine, slot: number, station: number): number {
  const { pool, snapshot } = machine;
  const { octets } = pool;
  const blocked = alwaysBlocked(machine, slot);
  if (blocked !== 0) return blocked;
  const packet = pool.networkHeader[slot];
  const protocol = pool.protocol[slot];
  // Of a later fragment there is no transport header to have a type.
  const type = protocol === PROTOCOL_ICMPV6 && pool.transport[slot] !== 0 ? pool.ports[slot] >>> 24 : 0;
  if (findIpv6(snapshot.guard, station, octets, packet + IPV6_SOURCE) < 0) {
    if (!isWithoutAddress(octets, packet, type)) return dropReasonNumber.spoof_ip;
  }
  if (octets[packet + IPV6_NEXT_HEADER] !== protocol && pool.transport[slot] !== 0) {
    const verdict = judgeHomeAddress(machine, slot, station);
    if (verdict !== 0) return verdict;
  }
  if (
    type === ICMPV6_NEIGHBOR_SOLICITATION ||
    type === ICMPV6_NEIGHBOR_ADVERTISEMENT ||
    type === ICMPV6_ROUTER_SOLICITATION
  )
    return judgeNd(machine, slot, station);
  if (protocol === PROTOCOL_UDP && isDhcpClient(PACKET_IPV6, pool.ports[slot])) return judgeDhcp6(machine, slot);
  return 0;
}

/** Whether :: is the packet's source, and it is of those that a host without an address sends: to groups only. */
function isWithoutAddress(octets: Uint8Array, packet: number, type: number): boolean {
  if (type !== ICMPV6_NEIGHBOR_SOLICITATION && type !== ICMPV6_MLD_REPORT && type !== ICMPV6_MLD2_REPORT) return false;
  return octets[packet + IPV6_DESTINATION] === 0xff && isUnspecified(octets, packet + IPV6_SOURCE);
}

/** Behind extension headers another source may stand than in front. */
function judgeHomeAddress({ pool, snapshot }: Machine, slot: number, station: number): number {
  const { octets } = pool;
  const home = findHomeAddress(octets, pool.networkHeader[slot], pool.transport[slot]);
  if (home === HOME_ADDRESS_NONE) return 0;
  if (home === HOME_ADDRESS_MALFORMED) return dropReasonNumber.not_parsed;
  return findIpv6(snapshot.guard, station, octets, home) < 0 ? dropReasonNumber.spoof_ip : 0;
}
