/**
 * Reads the packet in each frame that has to pass some policy, once, for all stages that judge it. Where no port or network
 * of the configuration has policy, nothing is read. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { ETHERTYPE_IPV4 } from '../../wire/ethernet.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../wire/ip-protocol.js';
import {
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_HEADER_SIZE_MIN,
  IPV4_MORE_FRAGMENTS,
  IPV4_PROTOCOL,
  IPV4_TOTAL_LENGTH,
} from '../../wire/ipv4.js';
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
import { tcpPayloadStart } from '../../wire/tcp.js';
import { isUdpHeader } from '../../wire/udp.js';
import type { Machine } from '../machine.js';
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

/** Version 4, five words of header: no options. */
const PLAIN_VERSION_AND_SIZE = 0x45;

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
      dissectFrame(pool, slot);
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
  if (pool.ethertype[slot] === ETHERTYPE_IPV4 && readPlain(pool, slot)) return;
  reader.read(pool.octets, pool.ethertype[slot], pool.networkHeader[slot], pool.offset[slot] + pool.length[slot]);
  pool.packetKind[slot] = reader.kind;
  pool.packetFault[slot] = faultReasons[reader.fault];
  pool.protocol[slot] = reader.protocol;
  pool.fragment[slot] = reader.fragment;
  pool.transport[slot] = reader.transport;
  pool.packetEnd[slot] = reader.end;
  pool.ports[slot] = reader.ports;
  if (reader.fragment === FRAGMENT_LATER) pool.firstFlags[slot] = -1;
  pool.connection[slot] = 0;
  pool.connectionState[slot] = 0;
}

/**
 * What nearly all frames carry: a sound UDP or TCP packet of IPv4, whole and without options. Sets what the reader would; false:
 * it is something else, or not sound, and the reader is to say what. (44 ns a frame by the reader alone.)
 */
function readPlain(pool: FramePool, slot: number): boolean {
  const { octets, view } = pool;
  const packet = pool.networkHeader[slot];
  const upper = packet + IPV4_HEADER_SIZE_MIN;
  const frameEnd = pool.offset[slot] + pool.length[slot];
  if (upper > frameEnd || octets[packet] !== PLAIN_VERSION_AND_SIZE) return false;
  if ((view.getUint16(packet + IPV4_FRAGMENT) & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET_MASK)) !== 0) return false;
  const end = packet + view.getUint16(packet + IPV4_TOTAL_LENGTH);
  const protocol = octets[packet + IPV4_PROTOCOL];
  if (end > frameEnd) return false;
  if (protocol === PROTOCOL_UDP ? !isUdpHeader(octets, upper, end) : !isTcpHeader(protocol, octets, upper, end))
    return false;
  pool.packetKind[slot] = PACKET_IPV4;
  pool.packetFault[slot] = 0;
  pool.protocol[slot] = protocol;
  pool.fragment[slot] = FRAGMENT_NONE;
  pool.transport[slot] = upper;
  pool.packetEnd[slot] = end;
  pool.ports[slot] = view.getInt32(upper);
  pool.connection[slot] = 0;
  pool.connectionState[slot] = 0;
  return true;
}

function isTcpHeader(protocol: number, octets: Uint8Array, at: number, end: number): boolean {
  return protocol === PROTOCOL_TCP && tcpPayloadStart(octets, at, end) >= 0;
}
