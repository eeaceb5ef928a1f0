/**
 * An io_uring as the engine uses it: its mappings, the submission and completion queues as typed arrays, the one system
 * call that hands over and collects, and what is registered with it by number: descriptors and buffer rings. Knows nothing
 * of frames or ports. Made and used by one thread: SINGLE_ISSUER and DEFER_TASKRUN make the kernel work for the ring only
 * inside our own enter. @hot
 *
 * Formats: linux/io_uring.h.
 */
import { OperatingError } from '../errors.js';
import { RECEIVE_BUFFERS_MAX, RING_COMPLETIONS, RING_SUBMISSIONS } from '../limits.js';
import * as native from './native.js';

const SETUP_CQSIZE = 1 << 3;
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_TASKRUN_FLAG = 1 << 9;
const SETUP_SINGLE_ISSUER = 1 << 12;
const SETUP_DEFER_TASKRUN = 1 << 13;
const FEATURE_SINGLE_MMAP = 1;
const FEATURE_EXT_ARG = 1 << 8;
const OFFSET_SQES = 0x1000_0000;
const ENTER_GETEVENTS = 1;
const ENTER_EXT_ARG = 1 << 3;
const REGISTER_FILES_UPDATE = 6;
const REGISTER_PROBE = 8;
const REGISTER_FILES2 = 13;
const FILES_SPARSE = 1;
const REGISTER_PBUF_RING = 22;
const UNREGISTER_PBUF_RING = 23;
const SQ_CQ_OVERFLOW = 2;
const SQ_TASKRUN_OR_OVERFLOW = 4 | SQ_CQ_OVERFLOW;
/** Operations a probe tells of, and the octets of its answer: a head of 16, eight for each. */
const PROBE_OPERATIONS = 64;
const PROBE_SUPPORTED = 1;
const OP_READ_MULTISHOT = 49;

/** A page each, as the kernel wants buffer rings to begin at one. */
export const BUFFER_RING_SIZE = RECEIVE_BUFFERS_MAX * 16;
/** Descriptors and buffer rings. The latter lie in one mapping made at start, which is address space only until used. */
const NUMBERS_MAX = 8192;
const NUMBERS_MIN = 64;
/** Tries to hand over a full submission queue; the kernel refuses only while it has no memory. */
const HAND_OVER_TRIES = 1000;

/** Where things lie in the scratch mapping that the kernel reads at its leisure. */
const SCRATCH_REGISTER = 64;
const SCRATCH_WAIT_ARGUMENT = 128;
const SCRATCH_TIMESPEC = 160;
const SCRATCH_FILE = 200;
/** From here on the scratch mapping is its owner's. */
const SCRATCH_FREE = 1024;
const SCRATCH_SIZE = 4096;

export class Uring {
  readonly fd: number;
  readonly mappings: readonly native.Mapping[];
  /** Both queues; `cqes` is the word where the completions begin, four words each. */
  readonly words: Int32Array;
  readonly cqes: number;
  readonly cqMask: number;
  /** Submission entries of 16 words. */
  readonly sqes: Int32Array;
  readonly sqMask: number;
  /** The buffer rings, as words and half-words; ring n begins BUFFER_RING_SIZE * n octets in. */
  readonly bufferWords: Int32Array;
  readonly bufferHalves: Uint16Array;
  /** How many descriptors and buffer rings can be registered. */
  readonly numbersMax: number;
  /** Memory that never moves, for the owner's structures; `scratchAddress` is that of its first word. */
  readonly scratch: Int32Array;
  readonly scratchAddress: number;
  /** Entries filled so far, those the kernel had taken when last asked, and completions taken: all modulo 2^32. */
  queued = 0;
  completed = 0;
  private consumed = 0;

  private readonly sqEntries: number;
  private readonly sqHead: number;
  private readonly sqTail: number;
  private readonly sqFlags: number;
  private readonly cqHead: number;
  private readonly cqTail: number;
  private readonly bufferRings: native.Mapping;
  private readonly scratchMapping: native.Mapping;
  private readonly scratchWords: Int32Array;

  /** Throws an OperatingError when the kernel has no usable io_uring. */
  constructor() {
    const { fd, offsets, mappings } = openRing();
    const [queues, entries, bufferRings, scratch] = mappings;
    this.fd = fd;
    this.mappings = mappings;
    this.sqEntries = offsets[0];
    this.words = new Int32Array(queues.buffer, 0, queues.size >> 2);
    this.sqes = new Int32Array(entries.buffer);
    this.sqHead = offsets[10] >> 2;
    this.sqTail = offsets[11] >> 2;
    this.sqMask = this.words[offsets[12] >> 2];
    this.sqFlags = offsets[14] >> 2;
    const array = offsets[16] >> 2;
    for (let index = 0; index < this.sqEntries; index++) this.words[array + index] = index;
    this.cqHead = offsets[20] >> 2;
    this.cqTail = offsets[21] >> 2;
    this.cqMask = this.words[offsets[22] >> 2];
    this.cqes = offsets[25] >> 2;

    this.bufferRings = bufferRings;
    this.bufferWords = new Int32Array(this.bufferRings.buffer);
    this.bufferHalves = new Uint16Array(this.bufferRings.buffer);
    this.scratchMapping = scratch;
    this.scratchWords = new Int32Array(this.scratchMapping.buffer);
    this.scratch = new Int32Array(this.scratchMapping.buffer, SCRATCH_FREE);
    this.scratchAddress = this.scratchMapping.address + SCRATCH_FREE;
    try {
      this.numbersMax = this.registerFileTable();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    closeRing(this.fd, this.mappings);
  }

  /**
   * Whether completions wait, or the kernel has work to do in the next enter. Plain loads: Atomics.load is a call of 20 ns,
   * and here an old value only means another look. Where something is taken from the ring because of what a load said
   * (`tail`), the load is an acquiring one.
   */
  hasWork(): boolean {
    const words = this.words;
    return words[this.cqTail] !== this.completed || (words[this.sqFlags] & SQ_TASKRUN_OR_OVERFLOW) !== 0;
  }

  /** Whether completions wait here or, for want of room, in the kernel. */
  hasCompletions(): boolean {
    return this.tail() !== this.completed || (this.words[this.sqFlags] & SQ_CQ_OVERFLOW) !== 0;
  }

  /** End of the completions that may be read, from `completed` on. */
  tail(): number {
    return Atomics.load(this.words, this.cqTail);
  }

  /** Gives back the completions before this one. */
  complete(head: number): void {
    this.completed = head;
    Atomics.store(this.words, this.cqHead, head);
  }

  /** Whether an entry can be filled; if not, hands over what there is and looks again. */
  hasRoom(): boolean {
    if (((this.queued - this.consumed) | 0) < this.sqEntries) return true;
    this.handOver(0);
    return ((this.queued - this.consumed) | 0) < this.sqEntries;
  }

  /** A cleared submission entry with the given first word, descriptor and user data; its word position in `sqes`. */
  nextEntry(first: number, fd: number, userLow: number, userHigh: number): number {
    for (let tries = 0; !this.hasRoom(); tries++) {
      if (tries === HAND_OVER_TRIES) throw new Error('the kernel takes no submissions');
    }
    const entry = (this.queued & this.sqMask) << 4;
    this.sqes.fill(0, entry, entry + 16);
    this.sqes[entry] = first;
    this.sqes[entry + 1] = fd;
    this.sqes[entry + 8] = userLow;
    this.sqes[entry + 9] = userHigh;
    this.queued = (this.queued + 1) | 0;
    return entry;
  }

  /** Writes an absolute address into two words of `sqes`. */
  putAddress(word: number, address: number): void {
    this.sqes[word] = address | 0;
    this.sqes[word + 1] = Math.floor(address / 2 ** 32);
  }

  /**
   * Hands over everything queued, also what the kernel left the last time (it takes fewer only while it has no memory), and
   * lets it do its work. With `waitMs` > 0 sleeps until there is a completion, or so long.
   */
  handOver(waitMs: number): void {
    const pending = (this.queued - this.consumed) | 0;
    const isWaiting = waitMs > 0 && Atomics.load(this.words, this.cqTail) === this.completed;
    Atomics.store(this.words, this.sqTail, this.queued);
    if (isWaiting) this.enterAndWait(pending, waitMs);
    else if (pending !== 0 || this.hasWork()) native.ioUringEnter(this.fd, pending, 0, ENTER_GETEVENTS, 0, 0);
    this.consumed = Atomics.load(this.words, this.sqHead);
  }

  private enterAndWait(pending: number, waitMs: number): void {
    // struct io_uring_getevents_arg: sigmask, its size, minimum wait, address of a timespec.
    const words = this.scratchWords;
    const timespec = this.scratchMapping.address + SCRATCH_TIMESPEC;
    words[SCRATCH_TIMESPEC >> 2] = Math.floor(waitMs / 1000);
    words[(SCRATCH_TIMESPEC + 8) >> 2] = (waitMs % 1000) * 1_000_000;
    words[(SCRATCH_WAIT_ARGUMENT + 16) >> 2] = timespec | 0;
    words[(SCRATCH_WAIT_ARGUMENT + 20) >> 2] = Math.floor(timespec / 2 ** 32);
    const argument = this.scratchMapping.address + SCRATCH_WAIT_ARGUMENT;
    native.ioUringEnter(this.fd, pending, 1, ENTER_GETEVENTS | ENTER_EXT_ARG, argument, 24);
  }

  /**
   * Makes a descriptor known by number (-1 takes it out), which spares each request a reference taken and given back. A
   * registered descriptor stays open until it is taken out.
   */
  registerFile(number: number, fd: number): void {
    // struct io_uring_files_update: offset, reserved, address of the descriptors.
    this.scratchWords[SCRATCH_FILE >> 2] = fd;
    const place = this.scratchMapping.address + SCRATCH_FILE;
    const result = this.register(REGISTER_FILES_UPDATE, [number, 0, place | 0, Math.floor(place / 2 ** 32)], 1);
    native.check('registering a descriptor', result);
  }

  /** Makes ring `number` of `bufferWords` the buffers of its group. Empty at first. */
  registerBufferRing(number: number): void {
    const address = this.bufferRings.address + number * BUFFER_RING_SIZE;
    this.bufferHalves[(number * BUFFER_RING_SIZE) / 2 + 7] = 0;
    // struct io_uring_buf_reg: address, entries, group and flags.
    const words = [address | 0, Math.floor(address / 2 ** 32), RECEIVE_BUFFERS_MAX, number];
    native.check('registering a buffer ring', this.register(REGISTER_PBUF_RING, words, 1));
  }

  unregisterBufferRing(number: number): void {
    this.register(UNREGISTER_PBUF_RING, [0, 0, 0, number], 1);
  }

  private registerFileTable(): number {
    // struct io_uring_rsrc_register; the table may be no larger than the process's limit of open files.
    for (let size = NUMBERS_MAX; ; size >>= 1) {
      const result = this.register(REGISTER_FILES2, [size, FILES_SPARSE], 32);
      if (result >= 0) return size;
      if (size <= NUMBERS_MIN) native.check('registering descriptors', result, 'raise the limit of open files');
    }
  }

  /** A registration whose argument is these words, then zeros. */
  private register(operation: number, words: readonly number[], count: number): number {
    const base = SCRATCH_REGISTER >> 2;
    this.scratchWords.fill(0, base, base + 12);
    this.scratchWords.set(words, base);
    return native.ioUringRegister(this.fd, operation, this.scratchMapping.address + SCRATCH_REGISTER, count);
  }
}

type RingMappings = readonly [
  queues: native.Mapping,
  entries: native.Mapping,
  bufferRings: native.Mapping,
  scratch: native.Mapping,
];

/** A ring, the words of struct io_uring_params that describe it, and its mappings. On failure nothing stays open or mapped. */
function openRing(): { fd: number; offsets: Uint32Array; mappings: RingMappings } {
  const parameters = new Uint8Array(120);
  const offsets = new Uint32Array(parameters.buffer);
  offsets[1] = RING_COMPLETIONS;
  offsets[2] = SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_TASKRUN_FLAG | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN;
  const fd = native.check('io_uring_setup', native.ioUringSetup(RING_SUBMISSIONS, parameters));
  const made: native.Mapping[] = [];
  const map = (from: number, size: number, offset = 0, populate = false): native.Mapping => {
    const mapping = native.map(from, size, offset, populate);
    made.push(mapping);
    return mapping;
  };
  try {
    requireFeatures(fd, offsets[5]);
    const size = Math.max(offsets[16] + offsets[0] * 4, offsets[25] + offsets[1] * 16);
    const mappings: RingMappings = [
      map(fd, size, 0, true),
      map(fd, offsets[0] * 64, OFFSET_SQES, true),
      map(-1, NUMBERS_MAX * BUFFER_RING_SIZE),
      map(-1, SCRATCH_SIZE),
    ];
    return { fd, offsets, mappings };
  } catch (error) {
    closeRing(fd, made);
    throw error;
  }
}

/** The descriptor first: only when no ring refers to them may the mappings go. */
function closeRing(fd: number, mappings: readonly native.Mapping[]): void {
  native.close(fd);
  for (const { address, size } of mappings) native.unmap(address, size);
}

/** Throws if the kernel lacks what is needed: multishot reads are of Linux 6.7. */
function requireFeatures(fd: number, features: number): void {
  const answer = new Uint8Array(16 + PROBE_OPERATIONS * 8);
  const result = native.ioUringRegister(fd, REGISTER_PROBE, native.addressOf(answer.buffer), PROBE_OPERATIONS);
  const hasReads = result >= 0 && (answer[16 + OP_READ_MULTISHOT * 8 + 2] & PROBE_SUPPORTED) !== 0;
  if ((features & FEATURE_SINGLE_MMAP) !== 0 && (features & FEATURE_EXT_ARG) !== 0 && hasReads) return;
  throw new OperatingError('io_uring of this kernel has no multishot reads (Linux 6.7 has)', {
    code: 'no-kernel-feature',
  });
}
