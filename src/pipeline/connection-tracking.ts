/**
 * What a packet does to its connection, protocol by protocol: pure functions on the words of an entry's value and a slot.
 * TCP is in tcp-tracking.ts, SCTP in sctp-tracking.ts; the others know whether a reply was seen. @hot
 *
 * UDP, UDP-Lite and DCCP are a stream once a packet follows a reply (as in Linux): a question and its answer alone are
 * forgotten sooner.
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import {
  PROTOCOL_DCCP,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PROTOCOL_UDPLITE,
} from '../wire/ip-protocol.js';
import { hasTail } from './connection-entries.js';
import {
  CLASS_ICMP,
  CLASS_MASK,
  CLASS_OTHER,
  CLASS_SHIFT,
  CLASS_UDP,
  CLASS_UDP_STREAM,
  CONNECTION_ESTABLISHED,
  CONNECTION_REPLY,
  CONNECTION_VALUE_WORDS,
  LOWER_IS_ORIGINAL,
  SEEN_REPLY,
  V_STATE,
} from './connection-entry.js';
import { FROM_LOWER, IS_ANSWER } from './connection-key.js';
import { beginSctp, trackSctp } from './sctp-tracking.js';
import { beginTcp, trackTcp } from './tcp-tracking.js';
import { TRACK_PASS } from './track-verdict.js';

export { TRACK_INVALID, TRACK_PASS, TRACK_REUSE } from './track-verdict.js';

/** Class of timeouts in a state word. */
export function classOf(state: number): number {
  return (state & CLASS_MASK) >> CLASS_SHIFT;
}

/** Whether a packet from the side `from` says (FROM_LOWER or not) travels in the reply direction. */
export function isReplyOf(state: number, from: number): boolean {
  return ((from & FROM_LOWER) !== 0) !== ((state & LOWER_IS_ORIGINAL) !== 0);
}

/** CONNECTION_... bits of a frame of this connection. */
export function stateBits(state: number, from: number): number {
  const direction = isReplyOf(state, from) ? CONNECTION_REPLY : 0;
  return (state & SEEN_REPLY) === 0 ? direction : direction | CONNECTION_ESTABLISHED;
}

/**
 * Makes `value` what a connection is after its first packet. False: a packet that can't begin one. Epoch and ports are left
 * alone.
 */
export function begin(value: Int32Array, pool: FramePool, slot: number, from: number, midstream: number): boolean {
  if ((from & IS_ANSWER) !== 0) return false;
  const epoch = value[1];
  const ports = value[2];
  value.fill(0);
  value[1] = epoch;
  value[2] = ports;
  const direction = (from & FROM_LOWER) !== 0 ? LOWER_IS_ORIGINAL : 0;
  switch (pool.protocol[slot]) {
    case PROTOCOL_TCP:
      value[V_STATE] = direction;
      return beginTcp(value, pool, slot, midstream !== 0);
    case PROTOCOL_SCTP:
      value[V_STATE] = direction;
      return beginSctp(value, pool, slot);
    default:
      value[V_STATE] = direction | (firstClass(pool.protocol[slot]) << CLASS_SHIFT);
      return true;
  }
}

const scratch = new Int32Array(CONNECTION_VALUE_WORDS);

/** Whether the packet could begin a connection. */
export function canBegin(pool: FramePool, slot: number, midstream: number): boolean {
  return begin(scratch, pool, slot, 0, midstream);
}

function firstClass(protocol: number): number {
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) return CLASS_ICMP;
  return isDatagrams(protocol) ? CLASS_UDP : CLASS_OTHER;
}

function isDatagrams(protocol: number): boolean {
  return protocol === PROTOCOL_UDP || protocol === PROTOCOL_UDPLITE || protocol === PROTOCOL_DCCP;
}

/**
 * Whether packets of the connection change nothing of it any more, so that `track` need not be asked: it was answered, has
 * no windows to follow, and is in the last class it comes to.
 */
export function isUnchanging(state: number, protocol: number): boolean {
  return (state & SEEN_REPLY) !== 0 && !hasTail(protocol) && classOf(state) !== CLASS_UDP;
}

/** What the packet makes of the connection whose value `value` is. Returns TRACK_...; INVALID and REUSE leave it alone. */
export function track(value: Int32Array, pool: FramePool, slot: number, isReply: boolean): number {
  const protocol = pool.protocol[slot];
  if (protocol === PROTOCOL_TCP) return trackTcp(value, pool, slot, isReply);
  if (protocol === PROTOCOL_SCTP) return trackSctp(value, pool, slot, isReply);
  const state = value[V_STATE];
  if ((state & SEEN_REPLY) === 0) {
    if (isReply) value[V_STATE] = state | SEEN_REPLY;
  } else if (classOf(state) === CLASS_UDP) value[V_STATE] = (state & ~CLASS_MASK) | (CLASS_UDP_STREAM << CLASS_SHIFT);
  return TRACK_PASS;
}
