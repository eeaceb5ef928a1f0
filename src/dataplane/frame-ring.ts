/**
 * A bounded ring of frames in shared memory from one thread to another: how an in-process port (memory, pcap) talks to
 * its worker. One producer, one consumer, each on its own thread, no locks; a full ring refuses. @hot
 *
 *   words 0..47: head (consumer), tail (producer), asleep (both), a cache line each; then the records:
 *   | length | gsoType | gsoSize | checksumStart | checksumOffset | headersEnd | octets, padded to 8 |
 *
 * A record never wraps: what does not fit before the end goes to the beginning, and a length of -1 says so. Positions in
 * the metadata are relative to the frame, checksumStart 0 means that its checksums are complete. Head and tail count
 * octets ever moved, modulo 2^32, so full and empty differ.
 */
/// <reference lib="es2024.sharedmemory" />
import { FRAME_RING_SIZE, FRAME_SIZE_MAX } from '../limits.js';
import { copyOctets } from './octet-copy.js';

const HEAD = 0;
const TAIL = 16;
const ASLEEP = 32;
const RECORDS_START = 192;
const RECORD_HEADER = 24;
const WRAPPED = -1;

/** Memory for a ring. `size` is a power of two, large enough that two of the longest frames fit. */
export function allocateFrameRing(size: number = FRAME_RING_SIZE): SharedArrayBuffer {
  if ((size & (size - 1)) !== 0 || size < 2 * (FRAME_SIZE_MAX + RECORD_HEADER))
    throw new RangeError(`ring size ${size}`);
  return new SharedArrayBuffer(RECORDS_START + size);
}

export class FrameRing {
  /** The next frame, valid after `next` returned true until `advance`. */
  length = 0;
  gsoType = 0;
  gsoSize = 0;
  checksumStart = 0;
  checksumOffset = 0;
  headersEnd = 0;

  private readonly words: Int32Array;
  private readonly octets: Uint8Array;
  private readonly size: number;
  /** Where the octets of the next frame lie, and where the ring goes on behind it. */
  private position = 0;
  private end = 0;

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory);
    this.octets = new Uint8Array(memory);
    this.size = memory.byteLength - RECORDS_START;
  }

  /** Producer: appends a frame that lies at `start` of `source`. False when there is no room for it, or it is too long. */
  put(
    source: Uint8Array,
    start: number,
    length: number,
    gsoType: number,
    gsoSize: number,
    checksumStart: number,
    checksumOffset: number,
    headersEnd: number,
  ): boolean {
    if (length > FRAME_SIZE_MAX) return false;
    const { words, size } = this;
    const recordSize = RECORD_HEADER + ((length + 7) & ~7);
    let tail = words[TAIL];
    const used = (tail - Atomics.load(words, HEAD)) >>> 0;
    let at = tail & (size - 1);
    const toEnd = size - at;
    const skipped = toEnd < recordSize ? toEnd : 0;
    if (used + skipped + recordSize > size) return false;
    if (skipped !== 0) {
      words[(RECORDS_START + at) >> 2] = WRAPPED;
      tail = (tail + skipped) | 0;
      at = 0;
    }
    const word = (RECORDS_START + at) >> 2;
    words[word] = length;
    words[word + 1] = gsoType;
    words[word + 2] = gsoSize;
    words[word + 3] = checksumStart;
    words[word + 4] = checksumOffset;
    words[word + 5] = headersEnd;
    copyOctets(source, start, this.octets, RECORDS_START + at + RECORD_HEADER, length);
    Atomics.store(words, TAIL, (tail + recordSize) | 0);
    return true;
  }

  /** Producer: octets that wait to be read. */
  used(): number {
    return (this.words[TAIL] - Atomics.load(this.words, HEAD)) >>> 0;
  }

  /** Consumer: looks at the next frame; false when there is none. */
  next(): boolean {
    const { words, size } = this;
    const tail = Atomics.load(words, TAIL);
    let head = words[HEAD];
    if (head === tail) return false;
    let word = (RECORDS_START + (head & (size - 1))) >> 2;
    if (words[word] === WRAPPED) {
      head = (head + size - (head & (size - 1))) | 0;
      word = RECORDS_START >> 2;
    }
    this.length = words[word];
    this.gsoType = words[word + 1];
    this.gsoSize = words[word + 2];
    this.checksumStart = words[word + 3];
    this.checksumOffset = words[word + 4];
    this.headersEnd = words[word + 5];
    this.position = (word << 2) + RECORD_HEADER;
    this.end = (head + RECORD_HEADER + ((this.length + 7) & ~7)) | 0;
    return true;
  }

  /** Consumer: copies the next frame's octets out. */
  copyTo(target: Uint8Array, at: number): void {
    copyOctets(this.octets, this.position, target, at, this.length);
  }

  /** Consumer: is done with the next frame; its room is free. */
  advance(): void {
    Atomics.store(this.words, HEAD, this.end);
  }

  /**
   * Consumer: says that it is about to sleep. False when a frame came meanwhile: it must not. The producer either sees
   * the word, or has stored its tail before we look at it again.
   */
  sleep(): boolean {
    Atomics.store(this.words, ASLEEP, 1);
    if (Atomics.load(this.words, TAIL) === this.words[HEAD]) return true;
    Atomics.store(this.words, ASLEEP, 0);
    return false;
  }

  /** Producer: whether the consumer sleeps and is to be woken now; true once a sleep. */
  takeSleeper(): boolean {
    return Atomics.load(this.words, ASLEEP) === 1 && Atomics.exchange(this.words, ASLEEP, 0) === 1;
  }

  /** Producer: wakes a consumer that waits by `wait`. */
  wakeWaiter(): void {
    if (this.takeSleeper()) Atomics.notify(this.words, ASLEEP);
  }

  /**
   * Consumer on an event loop: resolves when there may be a frame, or after `timeoutMs`. Needs no descriptor, and does
   * not keep the process alive.
   */
  async wait(timeoutMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (!this.sleep()) return;
    await Atomics.waitAsync(this.words, ASLEEP, 1, timeoutMs).value;
  }
}
