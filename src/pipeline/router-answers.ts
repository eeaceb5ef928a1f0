/**
 * What is sent to a router itself. It answers echo requests (RFC 1812 4.3.3.6, RFC 4443 4.2) and says of everything else that
 * nobody listens there. Whole packets only: a router that put fragments together could be made to keep them. @hot
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { ECHO_REPLIES_PER_SECOND } from '../limits.js';
import { ipv4HeaderChecksum, updateChecksum } from '../wire/checksum.js';
import {
  ICMP_CHECKSUM,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
} from '../wire/icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { IPV4_CHECKSUM, IPV4_DESTINATION, IPV4_SOURCE, IPV4_TTL, ipv4HeaderSize } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HOP_LIMIT, IPV6_SOURCE } from '../wire/ipv6.js';
import { writeLinkAnswer } from '../wire/link-answer.js';
import { read16, write16 } from '../wire/octets.js';
import { FRAGMENT_NONE, PACKET_IPV4 } from '../wire/packet.js';
import { CONSUMED, type Machine } from './machine.js';
import { sendReply } from './reply.js';
import { sayPortUnreachable } from './router-errors.js';
import { BUCKET_ECHO, BUCKETS_PER_PORT } from './token-bucket.js';

const ANSWER_TTL = 64;

/** Returns CONSUMED or the drop reason's number. */
export function answerLocal(machine: Machine, slot: number, from: number): number {
  const { pool } = machine;
  const protocol = pool.protocol[slot];
  if (pool.fragment[slot] !== FRAGMENT_NONE) return dropReasonNumber.no_service;
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    const type = pool.ports[slot] >>> 24;
    const isRequest = protocol === PROTOCOL_ICMP ? type === ICMP_ECHO_REQUEST : type === ICMPV6_ECHO_REQUEST;
    return isRequest ? answerEcho(machine, slot) : CONSUMED;
  }
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) return sayPortUnreachable(machine, slot, from);
  return dropReasonNumber.no_service;
}

function answerEcho(machine: Machine, slot: number): number {
  const { pool, replies } = machine;
  const bucket = pool.ingressPort[slot] * BUCKETS_PER_PORT + BUCKET_ECHO;
  if (replies.count === replies.capacity || !machine.storm.take(bucket, ECHO_REPLIES_PER_SECOND, machine.nowTick))
    return dropReasonNumber.rate_limited;
  const reply = pool.allocate();
  if (reply < 0) return dropReasonNumber.no_slot;
  const frame = pool.offset[slot];
  const to = pool.frameStart(reply);
  const packet = pool.networkHeader[slot];
  writeLinkAnswer(frame, to, packet - frame, machine.kernels);
  machine.kernels.copy(packet, to + (packet - frame), pool.packetEnd[slot] - packet);
  turnAround(machine, slot, to);
  sendReply(machine, slot, reply, pool.packetEnd[slot] - frame);
  return CONSUMED;
}

/** Makes the copy at `to` the answer: IP addresses swapped, type changed, a fresh TTL, checksums right again. */
function turnAround({ pool, kernels }: Machine, slot: number, to: number): void {
  const { octets } = pool;
  const frame = pool.offset[slot];
  const packet = pool.networkHeader[slot];
  const copy = to + (packet - frame);
  const message = to + (pool.transport[slot] - frame);
  const isIpv4 = pool.packetKind[slot] === PACKET_IPV4;
  if (isIpv4) {
    kernels.copy(packet + IPV4_SOURCE, copy + IPV4_DESTINATION, 4);
    kernels.copy(packet + IPV4_DESTINATION, copy + IPV4_SOURCE, 4);
    octets[copy + IPV4_TTL] = ANSWER_TTL;
    write16(octets, copy + IPV4_CHECKSUM, ipv4HeaderChecksum(octets, copy, ipv4HeaderSize(octets, copy)));
  } else {
    kernels.copy(packet + IPV6_SOURCE, copy + IPV6_DESTINATION, 16);
    kernels.copy(packet + IPV6_DESTINATION, copy + IPV6_SOURCE, 16);
    octets[copy + IPV6_HOP_LIMIT] = ANSWER_TTL;
  }
  const before = read16(octets, message);
  octets[message] = isIpv4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
  // The pseudo-header's addresses are swapped, which changes no sum.
  const checksum = updateChecksum(read16(octets, message + ICMP_CHECKSUM), before, read16(octets, message));
  write16(octets, message + ICMP_CHECKSUM, checksum);
}
