/**
 * What the kernel reads of a datagram on its way out: message header, vector, address and control messages, in blocks of
 * memory that does not move. Not the slot's, because one slot may be on its way to many addresses at once. One thread. @hot
 *
 * A message leaves by one submission, or by one for each of its datagrams where the kernel can't cut it (GRE): its parts.
 * Its first block, which `prepare` gives, stands for the message until `complete` has been told of every part; parts may
 * have blocks of their own (`preparePart`), which end with them.
 *
 *   words  0 msghdr (14)   16 iovec (4)   20 sockaddr_in or sockaddr_in6 (7)   28 traffic class (6)   34 UDP_SEGMENT (6)
 *
 * Formats: sendmsg(2), cmsg(3), udp(7), ip(7), ipv6(7), on 64-bit little-endian machines.
 */
import type { FramePool } from './frame-pool.js';
import * as native from './native.js';
import type { DatagramTransport } from './port.js';
import { carry } from './receive-buffers.js';

const BLOCK_WORDS = 48;
const IOVEC = 16;
const NAME = 20;
const CLASS = 28;
const SEGMENT = 34;
/** CMSG_SPACE of one number. */
const CONTROL_SIZE = 24;
const NAME_WORDS = 7;
const CONTROL_WORDS = 6;

const AF_INET = 2;
const AF_INET6 = 10;
const SOL_IP = 0;
const SOL_UDP = 17;
const SOL_IPV6 = 41;
const IP_TOS = 1;
const IPV6_TCLASS = 67;
const UDP_SEGMENT = 103;

/** What all messages of a queue have in common. */
export interface DatagramFamily {
  readonly isIpv6: boolean;
  /** First word of the socket address: family, and the port in network order. */
  readonly familyAndPort: number;
}

export function datagramFamily(transport: DatagramTransport): DatagramFamily {
  const port = ((transport.remotePort & 0xff) << 8) | (transport.remotePort >> 8);
  const isIpv6 = transport.family === 6;
  return { isIpv6, familyAndPort: (isIpv6 ? AF_INET6 : AF_INET) | (port << 16) };
}

export class DatagramMessages {
  /** By a message's first block: its slot, what of it is on its way, and the error number of a part that failed. */
  readonly slot: Int32Array;
  private readonly parts: Int32Array;
  private readonly failure: Int32Array;
  /** By block: the first one of its message. */
  private readonly first: Int32Array;
  private readonly pool: FramePool;
  private readonly words: Int32Array;
  private readonly address: number;
  private readonly arena: number;
  private readonly arenaLow: number;
  private readonly arenaHigh: number;
  private readonly free: Int32Array;
  private freeCount: number;

  constructor(pool: FramePool, count: number) {
    this.pool = pool;
    // ArrayBuffers lie outside V8's heap and never move.
    const memory = new ArrayBuffer(count * BLOCK_WORDS * 4);
    this.words = new Int32Array(memory);
    this.address = native.addressOf(memory);
    const arena = native.addressOf(pool.memory.buffer);
    this.arena = arena;
    this.arenaLow = arena | 0;
    this.arenaHigh = Math.floor(arena / 2 ** 32);
    this.slot = new Int32Array(count);
    this.parts = new Int32Array(count);
    this.failure = new Int32Array(count);
    this.first = new Int32Array(count);
    this.free = new Int32Array(count);
    this.freeCount = count;
    for (let block = 0; block < count; block++) {
      this.free[block] = count - 1 - block;
      this.initialize(block);
    }
  }

  /** Blocks that no message has. */
  get available(): number {
    return this.freeCount;
  }

  /** Address of the block's struct msghdr. */
  addressOf(block: number): number {
    return this.address + block * (BLOCK_WORDS * 4);
  }

  /** Address of its socket address, and the octets of that. */
  nameOf(block: number): number {
    return this.addressOf(block) + NAME * 4;
  }

  nameSize(block: number): number {
    return this.words[block * BLOCK_WORDS + 2];
  }

  /**
   * Describes the slot's octets as a message; see DatagramQueue.sendTo for the parameters. Returns the block, or -1 when all
   * are on their way.
   */
  prepare(
    slot: number,
    segmentSize: number,
    trafficClass: number,
    family: DatagramFamily,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
  ): number {
    if (this.freeCount === 0) return -1;
    const block = this.free[--this.freeCount];
    this.slot[block] = slot;
    this.first[block] = block;
    this.parts[block] = 1;
    this.failure[block] = 0;
    const { pool, words } = this;
    const at = block * BLOCK_WORDS;
    this.point(block, pool.offset[slot], pool.length[slot]);
    const name = at + NAME;
    words[name] = family.familyAndPort;
    if (family.isIpv6) {
      words[at + 2] = 28;
      words[name + 1] = 0;
      words[name + 2] = address0;
      words[name + 3] = address1;
      words[name + 4] = address2;
      words[name + 5] = address3;
    } else {
      words[at + 2] = 16;
      words[name + 1] = address3;
    }
    this.writeControl(block, segmentSize, trafficClass, family.isIpv6);
    return block;
  }

  /** Another part of the message: `length` octets at arena position `position`. Its block, or -1. */
  preparePart(first: number, position: number, length: number): number {
    if (this.freeCount === 0) return -1;
    const block = this.free[--this.freeCount];
    const { words } = this;
    const from = first * BLOCK_WORDS;
    const to = block * BLOCK_WORDS;
    for (let word = 0; word < NAME_WORDS; word++) words[to + NAME + word] = words[from + NAME + word];
    for (let word = 0; word < CONTROL_WORDS; word++) words[to + CLASS + word] = words[from + CLASS + word];
    words[to + 2] = words[from + 2];
    putAddress(words, to + 8, this.addressOf(block) + CLASS * 4);
    words[to + 10] = words[from + 10];
    this.point(block, position, length);
    this.first[block] = first;
    this.parts[first]++;
    return block;
  }

  /** Makes the block's vector these octets. */
  point(block: number, position: number, length: number): void {
    const { words } = this;
    const at = block * BLOCK_WORDS + IOVEC;
    const low = (this.arenaLow + position) | 0;
    words[at] = low;
    words[at + 1] = this.arenaHigh + carry(this.arenaLow, low);
    words[at + 2] = length;
  }

  /** Address of an arena position. */
  addressAt(position: number): number {
    return this.arena + position;
  }

  /** What has not been handed over yet of the message will not be. */
  failPart(first: number, errno: number): void {
    this.failure[first] = errno;
  }

  /** Counts a part that goes by the message's first block. */
  addPart(first: number): void {
    this.parts[first]++;
  }

  /**
   * A part of the message is done; `errno` is 0 when it was sent. Returns the message's first block when that was the last
   * one, for the caller to read and then `release`; -1 while others are on their way.
   */
  complete(block: number, errno: number): number {
    const first = this.first[block];
    if (errno !== 0) this.failure[first] = errno;
    if (block !== first) this.release(block);
    return --this.parts[first] === 0 ? first : -1;
  }

  /** Error number of a part that failed; 0: the whole message was sent. */
  failureOf(first: number): number {
    return this.failure[first];
  }

  isSegmented(block: number): boolean {
    return this.words[block * BLOCK_WORDS + SEGMENT + 4] !== 0;
  }

  release(block: number): void {
    this.free[this.freeCount++] = block;
  }

  /** Each control message costs the kernel some work, so there is none for what is the sockets' default. */
  private writeControl(block: number, segmentSize: number, trafficClass: number, isIpv6: boolean): void {
    const { words } = this;
    const at = block * BLOCK_WORDS;
    const first = trafficClass > 0 ? CLASS : SEGMENT;
    words[at + CLASS + 2] = isIpv6 ? SOL_IPV6 : SOL_IP;
    words[at + CLASS + 3] = isIpv6 ? IPV6_TCLASS : IP_TOS;
    words[at + CLASS + 4] = trafficClass;
    words[at + SEGMENT + 4] = segmentSize;
    putAddress(words, at + 8, this.addressOf(block) + first * 4);
    words[at + 10] = (trafficClass > 0 ? CONTROL_SIZE : 0) + (segmentSize !== 0 ? CONTROL_SIZE : 0);
  }

  /** What is the same in every message that the block will be. */
  private initialize(block: number): void {
    const { words } = this;
    const at = block * BLOCK_WORDS;
    const address = this.addressOf(block);
    putAddress(words, at, address + NAME * 4);
    putAddress(words, at + 4, address + IOVEC * 4);
    words[at + 6] = 1;
    // CMSG_LEN of an int and of a 16-bit number.
    words[at + CLASS] = 20;
    words[at + SEGMENT] = 18;
    words[at + SEGMENT + 2] = SOL_UDP;
    words[at + SEGMENT + 3] = UDP_SEGMENT;
  }
}

function putAddress(words: Int32Array, at: number, address: number): void {
  words[at] = address | 0;
  words[at + 1] = Math.floor(address / 2 ** 32);
}
