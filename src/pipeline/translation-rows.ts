/** What a worker remembers of how packets were translated: its memory, which nat-translations.ts writes and reads. @hot */
import { BATCH_SIZE, TRANSLATION_SETS } from '../limits.js';

/** A row: zone << 16 | protocol << 8 | 1, 0: it is free; the packet's addresses and ports; the entry; the translation. */
export const ROW_WORDS = 16;
export const KIND = 0;
export const T_SOURCE = 1;
export const T_DESTINATION = 2;
export const T_PORTS = 3;
/** The connection's own entry, and its stamp. */
export const T_OWN = 4;
export const T_OWN_STAMP = 5;
export const T_IS_REPLY = 6;
export const T_NEW_SOURCE = 7;
export const T_NEW_DESTINATION = 8;
export const T_NEW_PORTS = 9;
/** What they do to sums, as nat-rewrite.ts has it. */
export const T_ADDRESSES_CHANGE = 10;
export const T_PORTS_CHANGE = 11;
/** Number of the batch in which it was made. */
export const MADE_IN = 12;
/** Inside interface that the way back to the packet's source leads to, by the snapshot of this number; NO_INTERFACE: not asked. */
export const T_FROM = 13;
export const T_EPOCH = 14;
/** The hop that such packets take from there, by the same snapshot (known-routes.ts); NO_HOP: it is not known. */
export const T_HOP = 15;
export const NO_INTERFACE = -1;
export const NO_HOP = -1;

export const NO_TRANSLATION = -1;

/** What is remembered of one table's connections. */
export class Translations {
  /** Two rows a set, so that two connections that fall together don't drive each other out with every packet. */
  readonly rows = new Int32Array(TRANSLATION_SETS * 2 * ROW_WORDS);
  /** Which row of a set gives way next, of all sets together. */
  turn = 0;
  /** By place of the batch in hand: the packet's row, and its connection's entry (0: none). */
  readonly found = new Int32Array(BATCH_SIZE);
  readonly entries = new Int32Array(BATCH_SIZE);
  /** Number of that batch. A row that is made meanwhile was not found before: packets go on as if it was not there. */
  batch = 0;
}
