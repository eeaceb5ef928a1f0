/**
 * Reads the packet in each frame that has to pass some policy, once, for all stages that judge it. Where no port or network
 * of the configuration has policy, nothing is read. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { ETHERNET_HEADER_SIZE } from '../../wire/ethernet.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../wire/ip-protocol.js';
import { IPV4_HEADER_SIZE_MIN } from '../../wire/ipv4.js';
import { swap16, swap32 } from '../../wire/octets.js';
import {
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  PACKET_ARP,
  PACKET_IPV4,
  PACKET_IPV6,
  PACKET_OTHER,
  PacketReader,
} from '../../wire/packet.js';
import { TCP_HEADER_SIZE_MIN } from '../../wire/tcp.js';
import { UDP_HEADER_SIZE } from '../../wire/udp.js';
import { UNTRACKED } from '../connection-entry.js';
import type { Machine } from '../machine.js';
import { POLICY_TRACKED } from '../snapshot.js';
import type { Stage } from '../stage.js';

/** One worker is one thread, and no packet is read while another is. */
const reader = new PacketReader();

/** By FAULT_... of wire/packet.ts. */
const faultReasons = [
  0,
  dropReasonNumber.not_parsed,
  dropReasonNumber.bad_ip_header,
  dropReasonNumber.bad_tcp_header,
  dropReasonNumber.bad_udp_header,
  dropReasonNumber.bad_icmp,
  dropReasonNumber.bad_tcp_header,
  dropReasonNumber.not_parsed,
];

/** The ethertype of IPv4; version 4 and five words of header: no options. As one word of memory, whose last octet is the TOS. */
const PLAIN = 0x0045_0008;
const PLAIN_MASK = 0x00ff_ffff;
/** More fragments, or an offset, as in the first half of a word of memory. */
const FRAGMENT_MASK = 0xff3f;

const kindNames = { [PACKET_OTHER]: 'no IP', [PACKET_ARP]: 'ARP', [PACKET_IPV4]: 'IPv4', [PACKET_IPV6]: 'IPv6' };
const fragmentNames = { [FRAGMENT_FIRST]: ', the first fragment', [FRAGMENT_LATER]: ', a later fragment' };

export const dissect: Stage = {
  name: 'dissect',

  run(machine: Machine, batch: Batch): void {
    const { pool, snapshot } = machine;
    batch.policy = 0;
    batch.hasFragment = 0;
    if (snapshot.policies === 0) return;
    const { portPolicy, networkPolicy } = snapshot;
    let policies = 0;
    let fragments = 0;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const policy = portPolicy[pool.ingressPort[slot]] | networkPolicy[pool.network[slot]];
      if (policy === 0) continue;
      policies |= policy;
      if (!readPlain(pool, slot)) readAny(pool, slot);
      // Of those that are tracked the stage `connections` says it.
      if ((policy & POLICY_TRACKED) === 0) {
        pool.connection[slot] = UNTRACKED;
        pool.connectionState[slot] = 0;
      }
      fragments |= pool.fragment[slot];
      pool.policy[slot] = policy;
      pool.rule[slot] = 0;
    }
    batch.policy = policies;
    batch.hasFragment = fragments;
  },

  explain(machine: Machine, slot: number): string {
    const { pool } = machine;
    if (pool.policy[slot] === 0) return 'nothing has a say in this frame';
    const kind = kindNames[pool.packetKind[slot] as keyof typeof kindNames];
    const fragment = fragmentNames[pool.fragment[slot] as keyof typeof fragmentNames] ?? '';
    return `${kind}${pool.packetKind[slot] >= PACKET_IPV4 ? `, protocol ${pool.protocol[slot]}` : ''}${fragment}`;
  },
};

/** Sets the slot's packet fields. Also for frames that the switch makes itself, where somebody's policy is asked about them. */
export function dissectFrame(pool: FramePool, slot: number): void {
  if (!readPlain(pool, slot)) readAny(pool, slot);
  pool.connection[slot] = UNTRACKED;
  pool.connectionState[slot] = 0;
}

function readAny(pool: FramePool, slot: number): void {
  reader.read(pool.octets, pool.ethertype[slot], pool.networkHeader[slot], pool.offset[slot] + pool.length[slot]);
  pool.packetKind[slot] = reader.kind;
  pool.packetFault[slot] = faultReasons[reader.fault];
  pool.protocol[slot] = reader.protocol;
  pool.plain[slot] = 0;
  pool.fragment[slot] = reader.fragment;
  pool.transport[slot] = reader.transport;
  pool.packetEnd[slot] = reader.end;
  pool.ports[slot] = reader.ports;
  if (reader.fragment === FRAGMENT_LATER) pool.firstFlags[slot] = -1;
}

/**
 * What nearly all frames carry: a sound UDP or TCP packet of IPv4, whole and without options (`plain` of frame-pool.ts). Sets what
 * the reader would; false: it is something else, or not sound, and the reader is to say what. The headers are read as words of
 * little-endian memory: frames begin at multiples of four. (44 ns a frame by the reader alone.)
 */
function readPlain(pool: FramePool, slot: number): boolean {
  const { words } = pool;
  const frame = pool.offset[slot];
  const at = frame >> 2;
  const packet = frame + ETHERNET_HEADER_SIZE;
  if ((words[at + 3] & PLAIN_MASK) !== PLAIN || pool.networkHeader[slot] !== packet) return false;
  const size = swap16(words[at + 4] & 0xffff);
  const fragmentAndProtocol = words[at + 5];
  if (size > pool.length[slot] - ETHERNET_HEADER_SIZE || (fragmentAndProtocol & FRAGMENT_MASK) !== 0) return false;
  const protocol = fragmentAndProtocol >>> 24;
  const second = words[at + 9];
  if (protocol === PROTOCOL_UDP) {
    const udpSize = swap16(second >>> 16);
    if (udpSize < UDP_HEADER_SIZE || udpSize > size - IPV4_HEADER_SIZE_MIN) return false;
  } else if (protocol !== PROTOCOL_TCP || !isTcpHeader(words[at + 11], size - IPV4_HEADER_SIZE_MIN)) return false;
  pool.packetKind[slot] = PACKET_IPV4;
  pool.packetFault[slot] = 0;
  pool.protocol[slot] = protocol;
  pool.plain[slot] = protocol;
  pool.fragment[slot] = FRAGMENT_NONE;
  pool.transport[slot] = packet + IPV4_HEADER_SIZE_MIN;
  pool.packetEnd[slot] = packet + size;
  pool.ports[slot] = swap32((words[at + 8] >>> 16) | (second << 16));
  return true;
}

/** `word`: octets 10 to 13 of the header; `size`: octets that there are of it and behind it. */
function isTcpHeader(word: number, size: number): boolean {
  const headerSize = ((word >>> 20) & 0xf) << 2;
  return headerSize >= TCP_HEADER_SIZE_MIN && headerSize <= size;
}
