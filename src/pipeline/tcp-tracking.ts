/**
 * TCP as the switch sees it: which state a connection is in, and whether a segment fits in the windows of both ends (Guido
 * van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"; Linux' nf_conntrack_proto_tcp is the model). Pure functions
 * on the words of an entry's value. @hot
 *
 * For each direction the entry keeps `end`, the number behind its last octet seen; `maxEnd`, up to where the other side's
 * window lets it send; `maxAck`, the highest it acknowledged; and its largest window. A segment
 *   - beyond what the receiver allowed, or that acknowledges what was never sent, is INVALID;
 *   - of old octets, or with an old acknowledgement, passes and moves nothing (a lost ACK makes a sender repeat itself, and
 *     to drop that would stall it);
 *   - else passes and moves the windows.
 *
 * A **RST** ends the connection only when its number is exactly what the other end waits for, or directly behind the last
 * octet of its own sender (RFC 5961 section 3.2, from where a switch stands). One that is anywhere else in the window passes
 * and changes nothing: the receiver answers it with a challenge ACK, and if the sender meant it, the exact one follows. What
 * lies outside the window is INVALID. Stricter than Linux: also while the connection is being closed.
 *
 * A **SYN** of who began a standing connection passes and changes nothing, except that what it asks to be acknowledged is noted
 * (in its sender's maxAck, which the sender's next segment sets right): if its sender has restarted, the other end either
 * sends a challenge ACK (RFC 5961 section 4), and the exact RST follows, or has forgotten the connection too and answers with
 * a SYN/ACK that fits the noted number, which begins the connection anew. Both count only by the ports that the connection
 * runs by: who can't see the traffic can forge one end's address there, not both, so he ends no connection by these. A SYN of
 * the other end is INVALID, as in Linux: nobody asks from the port he serves, and hosts from before RFC 5961 reset the
 * connection for one that is in the window.
 *
 * Windows are kept as 16 bits: 11 of mantissa, 5 of exponent, rounded up (a thousandth too wide at most). tcp-windows.ts has
 * all that moves them.
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { read16, read32 } from '../wire/octets.js';
import { FRAGMENT_FIRST } from '../wire/packet.js';
import {
  TCP_ACK,
  TCP_ACKNOWLEDGEMENT,
  TCP_DATA_OFFSET,
  TCP_FIN,
  TCP_FLAGS,
  TCP_HEADER_SIZE_MIN,
  TCP_RST,
  TCP_SEQUENCE,
  TCP_SYN,
  TCP_URG,
  TCP_WINDOW,
  tcpHeaderSize,
} from '../wire/tcp.js';
import {
  CLASS_MASK,
  CLASS_SHIFT,
  CLASS_TCP_ESTABLISHED,
  CLASS_TCP_FIN,
  CLASS_TCP_RESET,
  CLASS_TCP_SYN,
  CLASS_TCP_TIME_WAIT,
  destinationPortOf,
  HAS_ACKED_ORIGINAL,
  HAS_ACKED_REPLY,
  LIBERAL,
  OFFERS_SCALE_ORIGINAL,
  OFFERS_SCALE_REPLY,
  SCALE_MASK,
  SCALE_ORIGINAL_SHIFT,
  SCALE_REPLY_SHIFT,
  SEEN_REPLY,
  SIDE_END,
  SIDE_MAX_ACK,
  SIDE_MAX_END,
  STATE_MASK,
  SYN_PENDING,
  sourcePortOf,
  V_ORIGINAL,
  V_PORTS,
  V_REPLY,
  V_STATE,
  V_WINDOWS,
} from './connection-entry.js';
import { BEYOND, FITS, hasAcked, isAfter, moveWindows, OLD, raiseMaxEnd, widen, windowOf } from './tcp-windows.js';
import { TRACK_INVALID, TRACK_PASS, TRACK_REUSE } from './track-verdict.js';

export const TCP_SYN_SENT = 1;
export const TCP_SYN_RECEIVED = 2;
export const TCP_ESTABLISHED = 3;
export const TCP_FIN_WAIT = 4;
export const TCP_CLOSE_WAIT = 5;
export const TCP_LAST_ACK = 6;
export const TCP_TIME_WAIT = 7;
export const TCP_CLOSED = 8;
/** Both ends have sent a SYN, neither an ACK: a simultaneous open. */
export const TCP_SYN_SENT_2 = 9;
/** Names of the states for people, by number. */
export const tcpStateNames = [
  'none',
  'syn_sent',
  'syn_received',
  'established',
  'fin_wait',
  'close_wait',
  'last_ack',
  'time_wait',
  'closed',
  'syn_sent2',
] as const;

const classes = new Int32Array(16);
classes.fill(CLASS_TCP_SYN);
classes[TCP_ESTABLISHED] = CLASS_TCP_ESTABLISHED;
classes.fill(CLASS_TCP_FIN, TCP_FIN_WAIT, TCP_TIME_WAIT);
classes[TCP_TIME_WAIT] = CLASS_TCP_TIME_WAIT;
classes[TCP_CLOSED] = CLASS_TCP_RESET;

/** Kinds of segments. */
const KIND_SYN = 0;
const KIND_SYN_ACK = 1;
const KIND_FIN = 2;
const KIND_ACK = 3;
const KIND_RST = 4;
const KIND_COUNT = 5;

/** Other results of the table: it passes without an effect on the state; it is invalid; it begins a connection in this one's place. */
const PASSES = 10;
const INVALID = 11;
const REUSE = 12;

const SS = TCP_SYN_SENT;
const SR = TCP_SYN_RECEIVED;
const ES = TCP_ESTABLISHED;
const FW = TCP_FIN_WAIT;
const CW = TCP_CLOSE_WAIT;
const LA = TCP_LAST_ACK;
const TW = TCP_TIME_WAIT;
const CL = TCP_CLOSED;
const S2 = TCP_SYN_SENT_2;

/**
 * What is allowed in each state, and where it leads: by direction and kind, in columns of the states
 * none, syn_sent, syn_received, established, fin_wait, close_wait, last_ack, time_wait, closed, syn_sent2.
 */
const transitions = Uint8Array.from(
  [
    // Original: SYN, SYN/ACK, FIN, ACK, RST.
    [INVALID, SS, PASSES, PASSES, PASSES, PASSES, PASSES, REUSE, REUSE, S2],
    [INVALID, INVALID, SR, INVALID, INVALID, INVALID, INVALID, INVALID, INVALID, SR],
    [INVALID, INVALID, FW, FW, LA, LA, LA, TW, CL, INVALID],
    [INVALID, INVALID, ES, ES, CW, CW, TW, TW, CL, INVALID],
    [INVALID, CL, CL, CL, CL, CL, CL, CL, CL, CL],
    // Reply. A SYN in the reply direction after the end is the other side's turn to begin.
    [INVALID, S2, INVALID, INVALID, INVALID, INVALID, INVALID, REUSE, REUSE, S2],
    [INVALID, SR, PASSES, PASSES, PASSES, PASSES, PASSES, PASSES, PASSES, SR],
    [INVALID, INVALID, FW, FW, LA, LA, LA, TW, CL, INVALID],
    [INVALID, PASSES, SR, ES, CW, CW, TW, TW, CL, PASSES],
    [INVALID, CL, CL, CL, CL, CL, CL, CL, CL, CL],
  ].flat(),
);
const STATES = 10;

/** Kind of a segment by its flags; -1: no TCP would send that. */
function kindOf(flags: number): number {
  switch (flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK | TCP_URG)) {
    case TCP_SYN:
    case TCP_SYN | TCP_URG:
      return KIND_SYN;
    case TCP_SYN | TCP_ACK:
      return KIND_SYN_ACK;
    case TCP_FIN | TCP_ACK:
    case TCP_FIN | TCP_ACK | TCP_URG:
      return KIND_FIN;
    case TCP_ACK:
    case TCP_ACK | TCP_URG:
      return KIND_ACK;
    case TCP_RST:
    case TCP_RST | TCP_ACK:
      return KIND_RST;
    default:
      return -1;
  }
}

function withState(state: number, next: number): number {
  return (state & ~(STATE_MASK | CLASS_MASK)) | next | (classes[next] << CLASS_SHIFT);
}

/** Of the segment in hand: one thread works on one segment at a time. */
let scaleOffered = -1;
/** It came by the port that its connection's segments of that direction come by. Of SYN and SYN/ACK only. */
let isByOwnPort = false;
/** How it fitted; OLD for those that windows don't say it of. */
let lastFit = OLD;

/** The first segment of a connection. False: it can't be. `value[V_STATE]` has the direction. */
export function beginTcp(value: Int32Array, pool: FramePool, slot: number, midstream: boolean): boolean {
  const at = pool.transport[slot];
  if (at === 0) return false;
  const { octets } = pool;
  const flags = octets[at + TCP_FLAGS];
  const kind = kindOf(flags);
  const sequence = read32(octets, at + TCP_SEQUENCE);
  const end = endOf(pool, slot, at, sequence, flags);
  const window = read16(octets, at + TCP_WINDOW);
  if (kind === KIND_SYN) {
    readScale(octets, at);
    beginBySyn(value, sequence, end, window);
    return true;
  }
  if (!midstream || kind !== KIND_ACK) return false;
  const state = withState(value[V_STATE], TCP_ESTABLISHED) | LIBERAL | HAS_ACKED_ORIGINAL;
  value[V_STATE] = state;
  value[V_ORIGINAL + SIDE_END] = end;
  value[V_ORIGINAL + SIDE_MAX_ACK] = read32(octets, at + TCP_ACKNOWLEDGEMENT);
  widen(value, 0, false, window);
  return true;
}

function beginBySyn(value: Int32Array, sequence: number, end: number, window: number): void {
  let state = withState(value[V_STATE], TCP_SYN_SENT);
  state &= ~(OFFERS_SCALE_ORIGINAL | (SCALE_MASK << SCALE_ORIGINAL_SHIFT));
  if (scaleOffered >= 0) state |= OFFERS_SCALE_ORIGINAL | (scaleOffered << SCALE_ORIGINAL_SHIFT);
  value[V_STATE] = state;
  value[V_ORIGINAL + SIDE_END] = end;
  value[V_ORIGINAL + SIDE_MAX_END] = end;
  // Until it acknowledges something: the least that the answer must acknowledge (data with a SYN need not be taken).
  value[V_ORIGINAL + SIDE_MAX_ACK] = (sequence + 1) | 0;
  value[V_WINDOWS] = 0;
  widen(value, 0, false, window);
}

/** Number behind the segment: SYN and FIN count. A super-frame is one long segment. */
function endOf(pool: FramePool, slot: number, at: number, sequence: number, flags: number): number {
  const length = pool.packetEnd[slot] - at - tcpHeaderSize(pool.octets, at);
  return (sequence + length + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0)) | 0;
}

/** Sets scaleOffered to the window scale of a SYN's options, 14 at most (RFC 7323 section 2.3); -1: none. */
function readScale(octets: Uint8Array, at: number): void {
  scaleOffered = -1;
  const end = at + tcpHeaderSize(octets, at);
  let option = at + TCP_HEADER_SIZE_MIN;
  while (option < end) {
    const kind = octets[option];
    if (kind === 0) return;
    if (kind === 1) {
      option++;
      continue;
    }
    if (option + 1 >= end) return;
    const size = octets[option + 1];
    if (size < 2 || option + size > end) return;
    if (kind === 3 && size === 3) {
      scaleOffered = Math.min(octets[option + 2], 14);
      return;
    }
    option += size;
  }
}

/** What the slot's segment makes of the connection. */
export function trackTcp(value: Int32Array, pool: FramePool, slot: number, isReply: boolean): number {
  const at = pool.transport[slot];
  // A later fragment: nothing of TCP is in it.
  if (at === 0) return TRACK_PASS;
  const { octets } = pool;
  const flags = octets[at + TCP_FLAGS];
  const sequence = read32(octets, at + TCP_SEQUENCE);
  const end = endOf(pool, slot, at, sequence, flags);
  if ((flags & TCP_SYN) !== 0) {
    readScale(octets, at);
    isByOwnPort = comesByRecordedPort(value[V_PORTS], pool, slot, isReply);
  }
  const acknowledged = read32(octets, at + TCP_ACKNOWLEDGEMENT);
  const before = value[V_STATE];
  lastFit = OLD;
  const verdict = trackSegment(value, isReply, flags, sequence, end, acknowledged, read16(octets, at + TCP_WINDOW));
  // How long the whole segment is can't be seen in its first fragment, so from now on its end is not known. Only what fits the
  // windows says so: a guess must not open them.
  if (pool.fragment[slot] === FRAGMENT_FIRST && lastFit === FITS && (before & STATE_MASK) === ES)
    value[V_STATE] |= LIBERAL;
  return verdict;
}

/** A port that is not recorded is anybody's: what a router brought came by none, and what it takes leaves by none. */
function comesByRecordedPort(ports: number, pool: FramePool, slot: number, isReply: boolean): boolean {
  const recorded = isReply ? destinationPortOf(ports) : sourcePortOf(ports);
  return recorded < 0 || (recorded === pool.ingressPort[slot] && pool.ingressMember[slot] >= 0);
}

function trackSegment(
  value: Int32Array,
  isReply: boolean,
  flags: number,
  sequence: number,
  end: number,
  acknowledged: number,
  window: number,
): number {
  const kind = kindOf(flags);
  if (kind < 0) return TRACK_INVALID;
  const state = value[V_STATE];
  const next = transitions[((isReply ? KIND_COUNT : 0) + kind) * STATES + (state & STATE_MASK)];
  if (next === INVALID) return TRACK_INVALID;
  if (next === REUSE) return TRACK_REUSE;
  if (kind === KIND_RST) return trackReset(value, isReply, flags, sequence, acknowledged);
  if (next === PASSES) {
    if (kind === KIND_SYN) noteSyn(value, end);
    else if (kind === KIND_SYN_ACK) return answerNoted(value, isReply, sequence, end, acknowledged, window);
    return TRACK_PASS;
  }
  if (kind === KIND_SYN || kind === KIND_SYN_ACK)
    return trackOpening(value, isReply, kind, next, sequence, end, acknowledged, window);
  const fit = moveWindows(value, 0, isReply, sequence, end, acknowledged, window);
  lastFit = fit;
  if (fit !== FITS) return fit === OLD ? TRACK_PASS : TRACK_INVALID;
  value[V_STATE] = withState(value[V_STATE], next) | (isReply ? SEEN_REPLY : 0);
  return TRACK_PASS;
}

/** Of a state: the connection stands, both ends have acknowledged something, and nothing is pending or unknown. */
const STEADY_MASK = STATE_MASK | CLASS_MASK | SEEN_REPLY | LIBERAL | SYN_PENDING | HAS_ACKED_ORIGINAL | HAS_ACKED_REPLY;
const STEADY =
  TCP_ESTABLISHED | (CLASS_TCP_ESTABLISHED << CLASS_SHIFT) | SEEN_REPLY | HAS_ACKED_ORIGINAL | HAS_ACKED_REPLY;

/**
 * As `trackTcp` of a segment in the midst of a connection, on the value that begins at `at` in the table's own words: only its
 * windows move, so no copy is needed. False: it is another segment, or its connection in another state, or it is invalid;
 * nothing was changed. The slot is plain (frame-pool.ts).
 */
export function moveSteady(value: Int32Array, at: number, pool: FramePool, slot: number, isReply: boolean): boolean {
  const { view } = pool;
  const tcp = pool.transport[slot];
  // Size of the header, flags and window.
  const word = view.getInt32(tcp + TCP_DATA_OFFSET);
  const flags = word >>> 16;
  if ((value[at + V_STATE] & STEADY_MASK) !== STEADY) return false;
  if ((flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) !== TCP_ACK) return false;
  const sequence = view.getInt32(tcp + TCP_SEQUENCE);
  const end = (sequence + pool.packetEnd[slot] - tcp - ((word >>> 28) << 2)) | 0;
  return (
    moveWindows(value, at, isReply, sequence, end, view.getInt32(tcp + TCP_ACKNOWLEDGEMENT), word & 0xffff) !== BEYOND
  );
}

// ---- opening ------------------------------------------------------------------------------------------------------

/** SYN and SYN/ACK while the connection is being opened. */
function trackOpening(
  value: Int32Array,
  isReply: boolean,
  kind: number,
  next: number,
  sequence: number,
  end: number,
  acknowledged: number,
  window: number,
): number {
  const side = isReply ? V_REPLY : V_ORIGINAL;
  const other = isReply ? V_ORIGINAL : V_REPLY;
  const current = value[V_STATE] & STATE_MASK;
  if (kind === KIND_SYN && !isReply && current === SS) {
    // Repeated, perhaps with other options, or another attempt with other numbers: nobody has answered yet.
    if (isByOwnPort) beginBySyn(value, sequence, end, window);
    return TRACK_PASS;
  }
  if (kind === KIND_SYN_ACK) {
    // An answer to an older SYN, whose number may lie before or behind the newer one's: its receiver will reset it, and has
    // to see it for that. (Linux lets only those before it pass.)
    if (isAfter(acknowledged, value[other + SIDE_END])) return TRACK_PASS;
    if ((value[V_STATE] & hasAcked(!isReply)) === 0 && isAfter(value[other + SIDE_MAX_ACK], acknowledged))
      return TRACK_PASS;
  }
  // Another SYN of a side that has sent one: it changes nothing.
  if (windowOf(value, 0, isReply) !== 0 && end !== value[side + SIDE_END]) return TRACK_PASS;
  openSide(value, isReply, sequence, end, window);
  if (kind === KIND_SYN_ACK) {
    value[side + SIDE_MAX_ACK] = acknowledged;
    value[V_STATE] |= hasAcked(isReply);
    raiseMaxEnd(value, other, acknowledged, window);
  }
  value[V_STATE] = withState(value[V_STATE], next) | (isReply ? SEEN_REPLY : 0);
  return TRACK_PASS;
}

/** Takes numbers, window and scale of a side's SYN or SYN/ACK; one that offers no scale switches it off for both. */
function openSide(value: Int32Array, isReply: boolean, sequence: number, end: number, window: number): void {
  const side = isReply ? V_REPLY : V_ORIGINAL;
  let state = value[V_STATE];
  const offers = isReply ? OFFERS_SCALE_REPLY : OFFERS_SCALE_ORIGINAL;
  const shift = isReply ? SCALE_REPLY_SHIFT : SCALE_ORIGINAL_SHIFT;
  state &= ~(offers | (SCALE_MASK << shift));
  if (scaleOffered >= 0) state |= offers | (scaleOffered << shift);
  value[V_STATE] = state;
  value[side + SIDE_END] = end;
  value[side + SIDE_MAX_END] = (end + windowOf(value, 0, !isReply)) | 0;
  if ((state & hasAcked(isReply)) === 0) value[side + SIDE_MAX_ACK] = (sequence + 1) | 0;
  widen(value, 0, isReply, window);
}

/** A SYN of who began, into a connection that stands. Repeated, it is nothing new. */
function noteSyn(value: Int32Array, end: number): void {
  if (!isByOwnPort) return;
  if ((value[V_STATE] & STATE_MASK) === SR && end === value[V_ORIGINAL + SIDE_END]) return;
  value[V_STATE] |= SYN_PENDING;
  value[V_ORIGINAL + SIDE_MAX_ACK] = end;
}

/** A SYN/ACK into a connection that stands: if it answers a noted SYN, both ends have begun anew. */
function answerNoted(
  value: Int32Array,
  isReply: boolean,
  sequence: number,
  end: number,
  acknowledged: number,
  window: number,
): number {
  const other = isReply ? V_ORIGINAL : V_REPLY;
  const isNoted = isReply && isByOwnPort && (value[V_STATE] & SYN_PENDING) !== 0;
  if (!isNoted || acknowledged !== value[other + SIDE_MAX_ACK]) return TRACK_PASS;
  const side = isReply ? V_REPLY : V_ORIGINAL;
  const theirs = windowOf(value, 0, !isReply);
  value[V_STATE] &= ~(SYN_PENDING | HAS_ACKED_ORIGINAL | HAS_ACKED_REPLY);
  value[other + SIDE_END] = acknowledged;
  value[other + SIDE_MAX_END] = (acknowledged + window) | 0;
  value[V_WINDOWS] = 0;
  widen(value, 0, !isReply, theirs);
  openSide(value, isReply, sequence, end, window);
  value[side + SIDE_MAX_ACK] = acknowledged;
  value[V_STATE] = withState(value[V_STATE], SR) | hasAcked(isReply);
  return TRACK_PASS;
}

// ---- reset --------------------------------------------------------------------------------------------------------

function trackReset(
  value: Int32Array,
  isReply: boolean,
  flags: number,
  sequence: number,
  acknowledged: number,
): number {
  const state = value[V_STATE];
  const side = isReply ? V_REPLY : V_ORIGINAL;
  const other = isReply ? V_ORIGINAL : V_REPLY;
  const current = state & STATE_MASK;
  if (current === CL || current === TW) return TRACK_PASS;
  if (windowOf(value, 0, isReply) === 0) {
    // Its sender has said nothing yet, so the SYN's number is what can be checked (RFC 9293 section 3.10.7.3).
    if ((flags & TCP_ACK) === 0 || acknowledged !== value[other + SIDE_END])
      return (state & LIBERAL) === 0 ? TRACK_INVALID : TRACK_PASS;
    return close(value, isReply);
  }
  const isSynPending = isReply && (state & SYN_PENDING) !== 0;
  if (isSynPending && (flags & TCP_ACK) !== 0 && acknowledged === value[other + SIDE_MAX_ACK]) return TRACK_PASS;
  const isAwaited = (state & hasAcked(!isReply)) !== 0 && !isSynPending;
  if (sequence === value[side + SIDE_END] || (isAwaited && sequence === value[other + SIDE_MAX_ACK]))
    return close(value, isReply);
  // The side that asked answers an old SYN/ACK.
  if (current === SS || current === S2) return TRACK_PASS;
  if ((state & LIBERAL) !== 0) return TRACK_PASS;
  if (isAwaited && isAfter(value[other + SIDE_MAX_ACK], sequence)) return TRACK_INVALID;
  return isAfter(sequence, value[side + SIDE_MAX_END]) ? TRACK_INVALID : TRACK_PASS;
}

function close(value: Int32Array, isReply: boolean): number {
  value[V_STATE] = withState(value[V_STATE], CL) | (isReply ? SEEN_REPLY : 0);
  return TRACK_PASS;
}
