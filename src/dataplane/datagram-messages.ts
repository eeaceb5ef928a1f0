/**
 * What the kernel reads of a datagram on its way out: message header, vector, address and control messages, in blocks of
 * memory that does not move. A block belongs to one message from `prepare` until `release`, which the engine calls when it
 * saw the completion. Not the slot's, because one slot may be on its way to many addresses at once. One thread. @hot
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
  /** The slot of each block's message. */
  readonly slot: Int32Array;
  private readonly pool: FramePool;
  private readonly words: Int32Array;
  private readonly address: number;
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
    this.arenaLow = arena | 0;
    this.arenaHigh = Math.floor(arena / 2 ** 32);
    this.slot = new Int32Array(count);
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
    const { pool, words } = this;
    const at = block * BLOCK_WORDS;
    const low = (this.arenaLow + pool.offset[slot]) | 0;
    words[at + IOVEC] = low;
    words[at + IOVEC + 1] = this.arenaHigh + carry(this.arenaLow, low);
    words[at + IOVEC + 2] = pool.length[slot];
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
