/**
 * The windows of a TCP connection as the switch sees them: whether a segment fits, and what it moves. Which numbers are kept, and
 * what they mean, says tcp-tracking.ts. The words of a value lie from `at` on: a copy's, or the table's own. @hot
 */
import {
  HAS_ACKED_ORIGINAL,
  HAS_ACKED_REPLY,
  LIBERAL,
  OFFERS_SCALE_ORIGINAL,
  OFFERS_SCALE_REPLY,
  SCALE_MASK,
  SCALE_ORIGINAL_SHIFT,
  SCALE_REPLY_SHIFT,
  SIDE_END,
  SIDE_MAX_ACK,
  SIDE_MAX_END,
  SYN_PENDING,
  V_ORIGINAL,
  V_REPLY,
  V_STATE,
  V_WINDOWS,
} from './connection-entry.js';

/** How a segment stands to the windows: it fits, and has moved them; it says what was said before; or it may not be. */
export const FITS = 0;
export const OLD = 1;
export const BEYOND = 2;

/** The least that is taken for an acknowledgement's delay, whatever the window is. */
const ACK_DELAY_MIN = 66_000;

/** A window as 16 bits, rounded up. */
export function packWindow(window: number): number {
  const shift = Math.max(0, 21 - Math.clz32(window));
  const mantissa = ((window + (1 << shift) - 1) >> shift) | 0;
  return mantissa >> 11 !== 0 ? ((shift + 1) << 11) | (mantissa >> 1) : (shift << 11) | mantissa;
}

export function unpackWindow(packed: number): number {
  return (packed & 0x7ff) << (packed >> 11);
}

/** The window of one direction; 0: nothing was seen of it. */
export function windowOf(value: Int32Array, at: number, isReply: boolean): number {
  return unpackWindow(isReply ? value[at + V_WINDOWS] & 0xffff : value[at + V_WINDOWS] >>> 16);
}

export function widen(value: Int32Array, at: number, isReply: boolean, window: number): void {
  const words = value[at + V_WINDOWS];
  const packed = packWindow(window === 0 ? 1 : window);
  if (isReply) {
    if (packed > (words & 0xffff)) value[at + V_WINDOWS] = (words & ~0xffff) | packed;
  } else if (packed > words >>> 16) value[at + V_WINDOWS] = (packed << 16) | (words & 0xffff);
}

/** Whether number `a` comes behind `b`. */
export function isAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

export function hasAcked(isReply: boolean): number {
  return isReply ? HAS_ACKED_REPLY : HAS_ACKED_ORIGINAL;
}

/** Whether a segment with an acknowledgement fits the windows, which it moves if so. */
export function moveWindows(
  value: Int32Array,
  at: number,
  isReply: boolean,
  sequence: number,
  end: number,
  acknowledged: number,
  window: number,
): number {
  const side = at + (isReply ? V_REPLY : V_ORIGINAL);
  const other = at + (isReply ? V_ORIGINAL : V_REPLY);
  const state = value[at + V_STATE];
  const allowed = (window << scaleOf(state, isReply)) | 0;
  const own = windowOf(value, at, isReply);
  const theirs = windowOf(value, at, !isReply);
  if ((state & LIBERAL) !== 0) learnWindows(value, side, other, own, theirs, end, acknowledged);
  else {
    if (isAfter(sequence, value[side + SIDE_MAX_END])) return BEYOND;
    if (isAfter(acknowledged, value[other + SIDE_END])) return BEYOND;
    if (!isAfter(end, (value[side + SIDE_END] - theirs - 1) | 0)) return OLD;
    const delay = Math.max(own, ACK_DELAY_MIN);
    if (!isAfter(acknowledged, (value[other + SIDE_END] - delay - 1) | 0)) return OLD;
  }
  noteAck(value, at, isReply, side, acknowledged);
  widen(value, at, isReply, allowed);
  if (isAfter(end, value[side + SIDE_END])) value[side + SIDE_END] = end;
  if (isAfter(end, value[side + SIDE_MAX_END])) value[side + SIDE_MAX_END] = end;
  raiseMaxEnd(value, other, acknowledged, allowed);
  return FITS;
}

/** What a segment of a connection taken up in its midst says for the first time. */
function learnWindows(
  value: Int32Array,
  side: number,
  other: number,
  own: number,
  theirs: number,
  end: number,
  acknowledged: number,
): void {
  if (own === 0) {
    value[side + SIDE_END] = end;
    value[side + SIDE_MAX_END] = end;
  }
  if (theirs === 0) value[other + SIDE_END] = acknowledged;
}

function noteAck(value: Int32Array, at: number, isReply: boolean, side: number, acknowledged: number): void {
  const has = hasAcked(isReply);
  const pending = isReply ? 0 : SYN_PENDING;
  const state = value[at + V_STATE];
  if ((state & (has | pending)) === has && !isAfter(acknowledged, value[side + SIDE_MAX_ACK])) return;
  value[side + SIDE_MAX_ACK] = acknowledged;
  if ((state & (has | pending)) !== has) value[at + V_STATE] = (state | has) & ~pending;
}

/** A window of 0 lets one octet through: a probe. */
export function raiseMaxEnd(value: Int32Array, other: number, acknowledged: number, window: number): void {
  const limit = (acknowledged + (window === 0 ? 1 : window)) | 0;
  if (isAfter(limit, value[other + SIDE_MAX_END])) value[other + SIDE_MAX_END] = limit;
}

/** Scaling is in force when both have offered it. */
function scaleOf(state: number, isReply: boolean): number {
  const both = OFFERS_SCALE_ORIGINAL | OFFERS_SCALE_REPLY;
  if ((state & both) !== both) return 0;
  return (state >> (isReply ? SCALE_REPLY_SHIFT : SCALE_ORIGINAL_SHIFT)) & SCALE_MASK;
}
