/**
 * From datagrams to frames: what underlay ports received is unpacked before the first stage sees it. The source must be a
 * remote of the network or in allowFrom, the header sound, its id a network's. A slot whose first datagram fails goes on
 * with the reason set, so that the runner counts it; any other datagram that fails is counted here and takes no slot. One slot may hold many datagrams of one sender (UDP_GRO); TCP segments that follow each
 * other are put together to one super-frame again, where they lie. @hot
 *
 * Slots: the first frame of a message stays in the slot it came in; others get slots of their own, and the message's slot
 * is held until its last datagram is unpacked. Every slot of `frames` is held once for the runner, as received ones are.
 *
 * What an attacker can do: a datagram from elsewhere costs two look-ups and the rows of allowFrom, whatever is in it, and where
 * those of many tunnels come mixed with it, the reading of its header.
 */
import type { Batch } from '../dataplane/batch.js';
import { TUNNEL_RX_BYTES, TUNNEL_RX_FRAMES } from '../dataplane/counters.js';
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import type { FramePool } from '../dataplane/frame-pool.js';
import { touchRows } from '../dataplane/touch.js';
import { BATCH_SIZE, FRAME_SIZE_MIN } from '../limits.js';
import { tunnelKinds } from '../tunnels/registry.js';
import type { TunnelHeader } from '../tunnels/tunnel.js';
import { combineEcn, ECN_MASK } from '../wire/ecn.js';
import { Merger } from '../wire/gro.js';
import { swap32 } from '../wire/octets.js';
import { adoptOffload } from '../wire/offload.js';
import type { Machine } from './machine.js';
import { ALLOW_WORDS, PORT_UNDERLAY, type Snapshot } from './snapshot.js';
import { ID_WORDS, memberOfTunnelId, rowOfTunnelId } from './tunnel-ids.js';
import { anyNetwork } from './tunnel-table.js';

/** Octets of the longest header that is recognized by its octets, a multiple of four: all but those with many options. */
const SAME_HEADER_MAX = 16;
/** As many datagrams of a batch that were not like the one before, from who may send, make it worth while to read ahead in the next one. */
const READ_AHEAD_MIN = 16;

export class Decapsulator {
  private readonly machine: Machine;
  private readonly merger: Merger;
  private readonly header: TunnelHeader = { id: 0, hasId: false, isSummed: false };
  /** Slots of `received` that are done with, and the position of the next datagram in the one after; 0: not begun. */
  private done = 0;
  private at = 0;
  private end = 0;
  /** Octets of each of its datagrams but the last. */
  private size = 0;
  /** What `open` found. */
  private member = -1;
  private tunnel = 0;
  /**
   * What was found last, good for one batch (no snapshot is replaced meanwhile): the port, -1: nothing, a source that it hears,
   * the header of its datagram (octets: 0 where it must be read again), and whose that is. Datagrams of one remote in one
   * network come in runs, and mostly have the same header.
   */
  private lastPort = -1;
  private readonly lastAddress = new Int32Array(4);
  private readonly lastHeader = new Int32Array(SAME_HEADER_MAX >> 2);
  private lastSize = 0;
  private lastMember = -1;
  private lastTunnel = 0;
  /** Datagrams of the batch that were not like the last one, from who may send: a flood from elsewhere is not read ahead. */
  private searched = 0;
  /**
   * What `readAhead` found, by place in the batch, up to the place `ahead`: octets of the header (0: it was not read) and
   * the member that it names; and the tunnels that they will most likely come through.
   */
  private ahead = 0;
  private readonly aheadSize = new Int32Array(BATCH_SIZE);
  private readonly aheadMember = new Int32Array(BATCH_SIZE);
  private readonly aheadRows = new Int32Array(BATCH_SIZE);
  private countedTunnel = 0;
  private countedFrames = 0;
  private countedOctets = 0;

  constructor(machine: Machine) {
    this.machine = machine;
    this.merger = new Merger(machine.pool, machine.kernels);
  }

  /** Whether any of it came by an underlay port. Without, there is nothing to unpack. */
  concerns(received: Batch): boolean {
    const { snapshot, pool } = this.machine;
    for (let index = 0; index < received.count; index++)
      if (isUnderlay(snapshot, pool.ingressPort[received.slots[index]])) return true;
    return false;
  }

  /** Fills `frames` from `received`. True when there is more: then it is called again once `frames` is empty. */
  next(received: Batch, frames: Batch): boolean {
    const { machine, merger } = this;
    this.lastPort = -1;
    if (this.done === 0 && this.at === 0) {
      this.ahead = 0;
      if (this.searched > READ_AHEAD_MIN) this.readAhead(received);
      this.searched = 0;
    }
    merger.begin();
    while (this.done < received.count && !frames.full) {
      const slot = received.slots[this.done];
      if (!isUnderlay(machine.snapshot, machine.pool.ingressPort[slot])) frames.push(slot);
      else if (this.at === 0 && isLone(machine.pool, slot)) this.takeLone(slot, frames);
      else if (!this.unpack(slot, frames)) break;
      this.done++;
    }
    merger.finish();
    this.settleCounts();
    if (this.done < received.count) return true;
    this.done = 0;
    received.count = 0;
    return false;
  }

  /**
   * Reads the headers of the whole batch at once, and gets the tunnels that they most likely name into the cache: so what
   * many tunnels' datagrams wait for overlaps. It decides nothing; who may send is asked later. A checksum of the whole
   * datagram is too much for that: such a header ends it.
   */
  private readAhead(received: Batch): void {
    const { machine, aheadSize, aheadMember, aheadRows } = this;
    const { snapshot, pool, tunnels, counters } = machine;
    this.readHeaders(received);
    let count = 0;
    for (let index = 0; index < this.ahead; index++) {
      if (aheadSize[index] === 0) continue;
      const slot = received.slots[index];
      const port = pool.ingressPort[slot];
      const { portIdTable, portIdMask } = snapshot;
      const member = memberOfTunnelId(snapshot.tunnelIds, portIdTable[port], portIdMask[port], aheadMember[index]);
      aheadMember[index] = member;
      aheadRows[count++] = tunnels.guess(member, pool.sourceAddress[(slot << 2) + 3]);
    }
    tunnels.touch(aheadRows, count);
    counters.touchTunnels(aheadRows, count);
  }

  private readHeaders(received: Batch): void {
    const { machine, header, aheadSize, aheadMember, aheadRows } = this;
    const { snapshot, pool } = machine;
    let count = 0;
    let index = 0;
    for (; index < received.count; index++) {
      const slot = received.slots[index];
      const port = pool.ingressPort[slot];
      aheadSize[index] = 0;
      if (!isUnderlay(snapshot, port) || !isLone(pool, slot)) continue;
      const at = pool.offset[slot];
      const size = this.read(port, at, at + pool.length[slot]);
      if (header.isSummed) break;
      if (size < 0 || !header.hasId) continue;
      aheadSize[index] = size;
      aheadMember[index] = header.id;
      aheadRows[count++] = rowOfTunnelId(snapshot.portIdTable[port], snapshot.portIdMask[port], header.id);
    }
    this.ahead = index;
    touchRows(snapshot.tunnelIds, aheadRows, count, ID_WORDS);
  }

  /** False when `frames` is full before the slot is empty. */
  private unpack(slot: number, frames: Batch): boolean {
    const { pool } = this.machine;
    if (this.at === 0) {
      this.at = pool.offset[slot];
      this.end = this.at + pool.length[slot];
      this.size = pool.datagramSize[slot];
      pool.holds[slot]++;
    }
    const start = pool.frameStart(slot);
    while (this.at < this.end) {
      if (frames.full) return false;
      const at = this.at;
      this.at = Math.min(at + this.size, this.end);
      this.take(slot, at, this.at, at === start, frames);
    }
    this.at = 0;
    this.machine.letGo(slot);
    return true;
  }

  /** The only datagram of its message: what reception has set of the slot stays, and there is room for it in `frames`. */
  private takeLone(slot: number, frames: Batch): void {
    const { machine, merger } = this;
    const { pool } = machine;
    const at = pool.offset[slot];
    const end = at + pool.length[slot];
    const opened = this.open(slot, pool.ingressPort[slot], at, end);
    pool.ingressMember[slot] = this.member;
    if (opened < 0) {
      pool.reason[slot] = -opened;
      frames.push(slot);
      return;
    }
    const length = end - at - opened;
    this.count(length);
    const into = merger.append(at + opened, length, this.tunnel);
    if (into >= 0) {
      pool.receivedLength[into] += length;
      this.giveUp(slot);
      return;
    }
    pool.offset[slot] = at + opened;
    pool.length[slot] = length;
    pool.receivedLength[slot] = length;
    pool.tunnel[slot] = this.tunnel;
    pool.network[slot] = machine.snapshot.memberNetwork[this.member];
    frames.push(slot);
    if (!adoptOffload(pool, slot, machine.snapshot.memberMtu[this.member])) merger.open(slot, this.tunnel);
  }

  /** One of a message's datagrams: its frame joins the super-frame it continues, or becomes a frame of the batch. */
  private take(slot: number, at: number, end: number, isFirst: boolean, frames: Batch): void {
    const { machine, merger } = this;
    const { pool } = machine;
    const port = pool.ingressPort[slot];
    const opened = this.open(slot, port, at, end);
    const frame = opened < 0 ? at : at + opened;
    const length = end - frame;
    if (opened >= 0) {
      this.count(length);
      const into = merger.append(frame, length, this.tunnel);
      if (into >= 0) {
        pool.receivedLength[into] += length;
        if (isFirst) this.giveUp(slot);
        return;
      }
    }
    let own = slot;
    let where = frame;
    if (!isFirst) {
      own = opened < 0 ? -1 : pool.allocate();
      if (own < 0) {
        this.lose(slot, port, opened < 0 ? -opened : dropReasonNumber.no_slot, frame, length);
        return;
      }
      where = pool.frameStart(own);
      machine.kernels.copy(frame, where, length);
    }
    pool.receive(own, port, length);
    pool.offset[own] = where;
    pool.ingressMember[own] = this.member;
    pool.tunnel[own] = this.tunnel;
    frames.push(own);
    if (opened < 0) pool.reason[own] = -opened;
    else {
      pool.network[own] = machine.snapshot.memberNetwork[this.member];
      merger.open(own, this.tunnel);
    }
  }

  /** Datagrams come in runs, so a tunnel's are added up before they are written down. */
  private count(octets: number): void {
    if (this.tunnel !== this.countedTunnel) this.settleCounts();
    this.countedTunnel = this.tunnel;
    this.countedFrames++;
    this.countedOctets += octets;
  }

  private settleCounts(): void {
    const { counters } = this.machine;
    if (this.countedFrames === 0) return;
    counters.addTunnel(this.countedTunnel, TUNNEL_RX_FRAMES, this.countedFrames);
    counters.addTunnel(this.countedTunnel, TUNNEL_RX_BYTES, this.countedOctets);
    this.countedFrames = 0;
    this.countedOctets = 0;
  }

  /** A datagram in the middle of the slot ends here. The slot may be a frame of the batch already, and stays as it is. */
  private lose(slot: number, port: number, reason: number, at: number, length: number): void {
    const { pool } = this.machine;
    const firstAt = pool.offset[slot];
    const firstLength = pool.length[slot];
    pool.offset[slot] = at;
    pool.length[slot] = length;
    this.machine.loseFrame(slot, port, reason, length);
    pool.offset[slot] = firstAt;
    pool.length[slot] = firstLength;
  }

  /** The slot's first datagram went into another slot's frame, with which it is counted: the runner won't see this one. */
  private giveUp(slot: number): void {
    this.machine.pool.isGenerated[slot] = 1;
    this.machine.letGo(slot);
  }

  /** Octets of the datagram's headers in front of its frame, or the negated number of a drop reason. */
  private open(slot: number, port: number, at: number, end: number): number {
    const { pool } = this.machine;
    this.member = -1;
    this.tunnel = 0;
    const isLastSource = port === this.lastPort && this.isLastAddress(pool.sourceAddress, slot << 2);
    const isLast = isLastSource && this.isLastHeader(at, end);
    const size = isLast ? this.lastSize : this.find(slot, port, at, end, isLastSource);
    if (size < 0) return size;
    this.member = this.lastMember;
    this.tunnel = this.lastTunnel;
    const trafficClass = pool.trafficClass[slot];
    if ((trafficClass & ECN_MASK) !== 0 && trafficClass >= 0)
      if (!combineEcn(pool.octets, at + size, end, trafficClass)) return -dropReasonNumber.tunnel_ecn;
    return size;
  }

  /** As `open`, for a datagram that is not known to be like the last one; what it finds is the last then. */
  private find(slot: number, port: number, at: number, end: number, isKnown: boolean): number {
    const { machine, header } = this;
    const { snapshot } = machine;
    if (!isKnown && !this.isKnownSource(slot, port)) return -dropReasonNumber.tunnel_unknown_source;
    this.searched++;
    const isRead = this.done < this.ahead && this.aheadSize[this.done] !== 0;
    const size = isRead ? this.aheadSize[this.done] : this.read(port, at, end);
    if (size < 0) return size;
    const member = isRead ? this.aheadMember[this.done] : memberOfId(snapshot, port, header);
    if (member < 0) return -dropReasonNumber.tunnel_unknown_id;
    if (end - at - size < FRAME_SIZE_MIN) return -dropReasonNumber.runt;
    const tunnel = isKnown && member === this.lastMember ? this.lastTunnel : this.tunnelOf(slot, port, member);
    if (tunnel < 0) return -dropReasonNumber.tunnel_unknown_source;
    if (!isKnown) this.rememberSource(slot, port);
    this.rememberHeader(at, size);
    this.lastMember = member;
    this.lastTunnel = tunnel;
    return size;
  }

  private read(port: number, at: number, end: number): number {
    const kind = tunnelKinds[this.machine.snapshot.portTunnelKind[port]];
    return kind.read(this.machine.pool.octets, at, end, this.header);
  }

  /** Whether the datagram begins with the header that was read last, octet for octet, and has room for a frame behind it. */
  private isLastHeader(at: number, end: number): boolean {
    const { lastSize, lastHeader } = this;
    const { words } = this.machine.pool;
    if (lastSize === 0 || (at & 3) !== 0 || end - at - lastSize < FRAME_SIZE_MIN) return false;
    for (let word = 0; word < lastSize >> 2; word++) if (words[(at >> 2) + word] !== lastHeader[word]) return false;
    return true;
  }

  private rememberSource(slot: number, port: number): void {
    const { sourceAddress } = this.machine.pool;
    for (let word = 0; word < 4; word++) this.lastAddress[word] = sourceAddress[(slot << 2) + word];
    this.lastPort = port;
  }

  /** Of a datagram that is sound so far. */
  private rememberHeader(at: number, size: number): void {
    const { words } = this.machine.pool;
    const isRecognized = (at & 3) === 0 && size <= SAME_HEADER_MAX && !this.header.isSummed;
    this.lastSize = isRecognized ? size : 0;
    for (let word = 0; word < this.lastSize >> 2; word++) this.lastHeader[word] = words[(at >> 2) + word];
  }

  /** Whether any network of the port may hear this address at all: asked first, so that others cost little. */
  private isKnownSource(slot: number, port: number): boolean {
    const { machine } = this;
    const words = machine.pool.sourceAddress;
    const from = slot << 2;
    const everyone = anyNetwork(port);
    if (machine.tunnels.find(everyone, words[from], words[from + 1], words[from + 2], words[from + 3]) !== 0)
      return true;
    return isAllowed(machine.snapshot, port, words, from);
  }

  /**
   * The tunnel from the slot's source to the member that its header names; learned if it is new; 0: there was no room; -1: the
   * source may speak in other networks of the port, but not in this one.
   */
  private tunnelOf(slot: number, port: number, member: number): number {
    const { tunnels, pool, snapshot, nowSeconds } = this.machine;
    const words = pool.sourceAddress;
    const from = slot << 2;
    let tunnel = tunnels.find(member, words[from], words[from + 1], words[from + 2], words[from + 3]);
    // A learned one is no licence: allowFrom may have been narrowed since.
    if ((tunnel === 0 || !tunnels.isConfigured(tunnel)) && !isAllowed(snapshot, port, words, from)) return -1;
    if (tunnel === 0)
      tunnel = tunnels.learn(member, words[from], words[from + 1], words[from + 2], words[from + 3], nowSeconds);
    else tunnels.refresh(tunnel, nowSeconds);
    return tunnel;
  }

  private isLastAddress(words: Int32Array, from: number): boolean {
    const last = this.lastAddress;
    return (
      words[from + 3] === last[3] &&
      words[from + 2] === last[2] &&
      words[from + 1] === last[1] &&
      words[from] === last[0]
    );
  }
}

/** Whether the slot holds one datagram, be it empty. */
function isLone(pool: FramePool, slot: number): boolean {
  const size = pool.datagramSize[slot];
  return size === 0 || pool.length[slot] <= size;
}

function isUnderlay(snapshot: Snapshot, port: number): boolean {
  return port < snapshot.portMode.length && snapshot.portMode[port] === PORT_UNDERLAY;
}

/** The member of the network that a header's id names on this port; -1: none does. */
function memberOfId(snapshot: Snapshot, port: number, header: TunnelHeader): number {
  if (!header.hasId) return snapshot.portUntaggedMember[port];
  return memberOfTunnelId(snapshot.tunnelIds, snapshot.portIdTable[port], snapshot.portIdMask[port], header.id);
}

/**
 * Whether the address lies in one of the port's prefixes and is not the underlay's own, which only a loop or a forger sends
 * from. Words are in memory's order, so octets are compared from the lowest.
 */
function isAllowed(snapshot: Snapshot, port: number, words: Int32Array, from: number): boolean {
  const { allowFrom, portLocal } = snapshot;
  const own = port << 2;
  if (
    words[from + 3] === portLocal[own + 3] &&
    words[from + 2] === portLocal[own + 2] &&
    words[from + 1] === portLocal[own + 1] &&
    words[from] === portLocal[own]
  )
    return false;
  const first = snapshot.portAllowStart[port];
  const last = first + snapshot.portAllowCount[port];
  for (let row = first; row < last; row++) if (isInPrefix(allowFrom, row * ALLOW_WORDS, words, from)) return true;
  return false;
}

function isInPrefix(rows: Int32Array, row: number, words: Int32Array, from: number): boolean {
  let bits = rows[row + 4];
  for (let word = 0; bits > 0; word++, bits -= 32) {
    const difference = rows[row + word] ^ words[from + word];
    if (difference === 0) continue;
    if (bits >= 32) return false;
    if (swap32(difference) >>> (32 - bits) !== 0) return false;
  }
  return true;
}
