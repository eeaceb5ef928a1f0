/**
 * SCTP's associations (RFC 9260), as far as a switch needs them: who opened, that both have spoken, and that a packet carries
 * the verification tag its receiver chose, without which nobody who can't see the traffic can end an association. @hot
 *
 * Entries keep the tag that packets of each direction carry in SIDE_END of that direction; 0: not known yet. While it opens
 * an association has the timeout of a TCP SYN, and counts as half-open; afterwards `other`, which heartbeats keep alive (30 s
 * by default); after ABORT or SHUTDOWN COMPLETE that of a reset.
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { read32 } from '../wire/octets.js';
import {
  CLASS_MASK,
  CLASS_OTHER,
  CLASS_SHIFT,
  CLASS_TCP_RESET,
  CLASS_TCP_SYN,
  SEEN_REPLY,
  SIDE_END,
  STATE_MASK,
  V_ORIGINAL,
  V_REPLY,
  V_STATE,
} from './connection-entry.js';
import { TRACK_INVALID, TRACK_PASS, TRACK_REUSE } from './track-verdict.js';

const OPENING = 1;
const OPEN = 2;
const OVER = 3;
/** Names of the states for people, by number. */
export const sctpStateNames = ['none', 'opening', 'established', 'closed'] as const;

const TAG = 4;
const FIRST_CHUNK = 12;
/** Octets of an INIT chunk up to its tag's end. */
const INITIATE_TAG = FIRST_CHUNK + 4;

const CHUNK_INIT = 1;
const CHUNK_INIT_ACK = 2;
const CHUNK_ABORT = 6;
const CHUNK_COOKIE_ECHO = 10;
const CHUNK_COOKIE_ACK = 11;
const CHUNK_SHUTDOWN_COMPLETE = 14;
/** The T bit of ABORT and SHUTDOWN COMPLETE: the sender knows no tag and reflects the one it got. */
const REFLECTED = 1;

function classFor(state: number): number {
  if (state === OPENING) return CLASS_TCP_SYN;
  return state === OVER ? CLASS_TCP_RESET : CLASS_OTHER;
}

function withState(word: number, state: number): number {
  return (word & ~(STATE_MASK | CLASS_MASK)) | state | (classFor(state) << CLASS_SHIFT);
}

/** Type of the packet's first chunk; -1: there is none. INIT, INIT ACK and SHUTDOWN COMPLETE are never bundled. */
function firstChunk(pool: FramePool, slot: number): number {
  const at = pool.transport[slot];
  if (at === 0 || at + FIRST_CHUNK + 4 > pool.packetEnd[slot]) return -1;
  return pool.octets[at + FIRST_CHUNK];
}

/** The tag that an INIT or INIT ACK chooses; 0: it has none, which is an error. */
function initiateTag(pool: FramePool, slot: number): number {
  const at = pool.transport[slot];
  return at + INITIATE_TAG + 4 > pool.packetEnd[slot] ? 0 : read32(pool.octets, at + INITIATE_TAG);
}

export function beginSctp(value: Int32Array, pool: FramePool, slot: number): boolean {
  if (firstChunk(pool, slot) !== CHUNK_INIT || read32(pool.octets, pool.transport[slot] + TAG) !== 0) return false;
  const tag = initiateTag(pool, slot);
  if (tag === 0) return false;
  value[V_STATE] = withState(value[V_STATE], OPENING);
  value[V_REPLY + SIDE_END] = tag;
  return true;
}

export function trackSctp(value: Int32Array, pool: FramePool, slot: number, isReply: boolean): number {
  if (pool.transport[slot] === 0) return TRACK_PASS;
  const chunk = firstChunk(pool, slot);
  if (chunk < 0) return TRACK_INVALID;
  const state = value[V_STATE] & STATE_MASK;
  if (chunk === CHUNK_INIT) return trackInit(value, pool, slot, isReply, state);
  if (!hasTag(value, pool, slot, isReply, chunk)) return TRACK_INVALID;
  if (isReply) value[V_STATE] |= SEEN_REPLY;
  if (chunk === CHUNK_INIT_ACK && state === OPENING) {
    const tag = initiateTag(pool, slot);
    if (tag === 0) return TRACK_INVALID;
    value[(isReply ? V_ORIGINAL : V_REPLY) + SIDE_END] = tag;
  } else if ((chunk === CHUNK_COOKIE_ECHO || chunk === CHUNK_COOKIE_ACK) && state === OPENING && isReply)
    value[V_STATE] = withState(value[V_STATE], OPEN);
  else if (chunk === CHUNK_ABORT || chunk === CHUNK_SHUTDOWN_COMPLETE) value[V_STATE] = withState(value[V_STATE], OVER);
  return TRACK_PASS;
}

/** A repeated INIT; one into a standing association (a restart) passes, and its answer carries the tags that count. */
function trackInit(value: Int32Array, pool: FramePool, slot: number, isReply: boolean, state: number): number {
  if (read32(pool.octets, pool.transport[slot] + TAG) !== 0) return TRACK_INVALID;
  if (state === OVER) return TRACK_REUSE;
  const tag = initiateTag(pool, slot);
  if (tag === 0) return TRACK_INVALID;
  if (state === OPENING) value[(isReply ? V_ORIGINAL : V_REPLY) + SIDE_END] = tag;
  return TRACK_PASS;
}

function hasTag(value: Int32Array, pool: FramePool, slot: number, isReply: boolean, chunk: number): boolean {
  const at = pool.transport[slot];
  const tag = read32(pool.octets, at + TAG);
  const expected = value[(isReply ? V_REPLY : V_ORIGINAL) + SIDE_END];
  if (expected === 0 || tag === expected) return true;
  const isReflected =
    (chunk === CHUNK_ABORT || chunk === CHUNK_SHUTDOWN_COMPLETE) &&
    (pool.octets[at + FIRST_CHUNK + 1] & REFLECTED) !== 0;
  return isReflected && tag === value[(isReply ? V_ORIGINAL : V_REPLY) + SIDE_END];
}
