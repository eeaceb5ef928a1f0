/**
 * Stations that routers of one worker wait for: the addresses that were asked for and not answered yet, and the packets that
 * are kept meanwhile (the first one of a connection is held, not lost). @hot
 *
 * A kept packet has not been changed: when the answer has come, or no more is expected, it goes through all policy and
 * stages/route.ts once more, which finds the station or a pending address that has failed: what is in force now counts. Its slot has one hold, which is this list's; its
 * `reason` is WAITING_FOR_HOP, so nobody counts it.
 *
 * What another router of the switch has sent (between-routers.ts) has passed all policy and was changed by that one: it comes
 * back to where it was, on its way from router to router.
 *
 * A station that was known and answers no more is given up as well (`askAgain`), long before its binding ends. That is kept
 * with its entry among the neighbours: what is sent to other stations, of whatever network, says nothing about it.
 *
 * What an attacker can do: have his own packets forgotten. One port causes at most PENDING_HOPS_PER_PORT questions at a time,
 * one a second for each; for one address the configured number of packets is kept, the oldest gives way. An address
 * where nobody is (RFC 6583) has its place until it was given up, and longer only if nobody else behind the port wants it.
 * Ports that have all places, or all that is kept, give way to one with fewer (port-shares.ts): a few keep nobody out.
 */
import type { Batch } from '../dataplane/batch.js';
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import type { FramePool } from '../dataplane/frame-pool.js';
import {
  NEIGHBOR_QUESTIONS_MAX,
  PENDING_HOPS_MAX,
  PENDING_HOPS_PER_PORT,
  PENDING_PACKETS_MAX,
  PENDING_PACKETS_PER_PORT,
} from '../limits.js';
import { BY_ROUTER } from './between-routers.js';
import { askWhoHas, findStation, type HopHost, nextAddress, STALE, UNKNOWN } from './next-hop.js';
import { PortShares } from './port-shares.js';
import { isPortOpen, isStillThere } from './returning.js';
import { interfaceOf } from './router-interface.js';
import { ADDRESS_WORDS } from './routing-tables.js';

/** In a slot's `reason`: the packet has not ended. It is held, and comes back when its station was found or given up. */
export const WAITING_FOR_HOP = -3;

/** What `wait` did. */
export const WAITS = 0;
/** Nobody answers at this address. */
export const FAILED = 1;
/** Too much is waited for already. */
export const NO_ROOM = 2;

const NONE = -1;
/** A second before all others. */
const NEVER = -1;
const QUESTION_PERIOD_MS = 1000;

export class PendingHops {
  /** Addresses that are waited for, the failed ones included. */
  count = 0;
  /** Packets that are kept for them. */
  packets = 0;
  /** By place, the first `count` in use: the interface's network, its number, the hop, the port that caused it. */
  private readonly networks = new Int32Array(PENDING_HOPS_MAX);
  private readonly addresses = new Int32Array(PENDING_HOPS_MAX * ADDRESS_WORDS);
  private readonly interfaces = new Int32Array(PENDING_HOPS_MAX);
  private readonly hops = new Int32Array(PENDING_HOPS_MAX);
  private readonly ports = new Int32Array(PENDING_HOPS_MAX);
  private readonly questions = new Int32Array(PENDING_HOPS_MAX);
  private readonly askedTick = new Int32Array(PENDING_HOPS_MAX);
  private readonly kept = new Int32Array(PENDING_HOPS_MAX);
  private readonly first = new Int32Array(PENDING_HOPS_MAX);
  private readonly last = new Int32Array(PENDING_HOPS_MAX);
  /** By slot: the next packet for the same address. */
  private readonly following: Int32Array;
  /** The ports that caused the addresses, and those that the packets came by. */
  private readonly placeShares = new PortShares(PENDING_HOPS_PER_PORT);
  private readonly packetShares = new PortShares(PENDING_PACKETS_PER_PORT);
  /** By place, 1: a packet was refused there since it was asked last. */
  private readonly wanted = new Int32Array(PENDING_HOPS_MAX);
  private lookedTick = 0;
  /** By entry of the neighbours: the second in which the station was asked again, and how many times it has not answered. */
  private readonly staleAsked: Int32Array;
  private readonly staleQuestions: Uint8Array;

  constructor(pool: FramePool, neighborCapacity: number) {
    this.following = new Int32Array(pool.slotCount);
    this.staleAsked = new Int32Array(neighborCapacity + 1).fill(NEVER);
    this.staleQuestions = new Uint8Array(neighborCapacity + 1);
  }

  /**
   * Keeps a packet for `nextAddress`, which is unknown, and asks for it if that was not done. Only on WAITS the slot has been
   * taken.
   */
  wait(machine: HopHost, slot: number, routerInterface: number, hop: number, queue: number): number {
    const { pool, snapshot } = machine;
    const network = snapshot.routing.interfaceNetwork[routerInterface];
    const port = pool.ingressPort[slot];
    let place = this.find(network);
    if (place !== NONE && this.questions[place] > NEIGHBOR_QUESTIONS_MAX) {
      this.wanted[place] = 1;
      this.hops[place] = hop;
      return FAILED;
    }
    if (this.packetShares.of(port) >= PENDING_PACKETS_PER_PORT) return NO_ROOM;
    if (place === NONE) place = this.add(machine, network, routerInterface, hop, port);
    if (place === NONE) return NO_ROOM;
    if (this.kept[place] >= queue) {
      // One port's packets for an address don't make another's give way.
      if (pool.ingressPort[this.first[place]] !== port) return NO_ROOM;
      this.end(machine, this.takeFirst(pool, place));
    }
    // Last, so that nobody's packet goes for one that is not kept.
    if (this.packets >= PENDING_PACKETS_MAX && !this.dropOneOfMost(machine, port)) return NO_ROOM;
    this.append(pool, place, slot);
    pool.holds[slot]++;
    pool.reason[slot] = WAITING_FOR_HOP;
    return WAITS;
  }

  /** Asks for `nextAddress`, which is unknown, without keeping a packet. */
  ask(machine: HopHost, slot: number, routerInterface: number, hop: number): void {
    const { pool, snapshot } = machine;
    const network = snapshot.routing.interfaceNetwork[routerInterface];
    const place = this.find(network);
    if (place === NONE) this.add(machine, network, routerInterface, hop, pool.ingressPort[slot]);
    else this.wanted[place] = 1;
  }

  /**
   * A station that is known but was not heard for a while (`findStation` found it so) is asked whether it is still there, once a
   * second at most, while packets go on to it. False: it has not answered as many times as others are asked, and is no more.
   */
  askAgain(machine: HopHost, routerInterface: number, hop: number): boolean {
    const { staleAsked, staleQuestions } = this;
    const { nowSeconds, neighbors, snapshot } = machine;
    // The way may have been found earlier in the batch, and another station since.
    const state = findStation(machine, snapshot.routing.interfaceNetwork[routerInterface], neighbors.foundEntry);
    if (state !== STALE) return true;
    const entry = neighbors.foundEntry;
    if (staleAsked[entry] !== nowSeconds) {
      // An entry that is another station's by now was heard since, too.
      const hasAnswered = nowSeconds - neighbors.foundAge >= staleAsked[entry];
      if (hasAnswered) staleQuestions[entry] = 1;
      else if (staleQuestions[entry] <= NEIGHBOR_QUESTIONS_MAX) staleQuestions[entry]++;
      staleAsked[entry] = nowSeconds;
      askWhoHas(machine, routerInterface, hop);
    }
    return staleQuestions[entry] <= NEIGHBOR_QUESTIONS_MAX;
  }

  private find(network: number): number {
    for (let place = 0; place < this.count; place++)
      if (this.networks[place] === network && this.isAt(place)) return place;
    return NONE;
  }

  private isAt(place: number): boolean {
    const at = place * ADDRESS_WORDS;
    for (let word = 0; word < ADDRESS_WORDS; word++) if (this.addresses[at + word] !== nextAddress[word]) return false;
    return true;
  }

  /** Asks, and remembers that. NONE: there is no room. */
  private add(machine: HopHost, network: number, routerInterface: number, hop: number, port: number): number {
    if (!this.makeRoom(machine, port)) return NONE;
    const place = this.count++;
    this.networks[place] = network;
    this.addresses.set(nextAddress, place * ADDRESS_WORDS);
    this.interfaces[place] = routerInterface;
    this.hops[place] = hop;
    this.ports[place] = port;
    this.questions[place] = 1;
    this.askedTick[place] = machine.nowTick;
    this.kept[place] = 0;
    this.wanted[place] = 0;
    this.first[place] = NONE;
    this.last[place] = NONE;
    this.placeShares.take(port);
    askWhoHas(machine, routerInterface, hop);
    return place;
  }

  /** Whether the port may have one more address, now. */
  private makeRoom(machine: HopHost, port: number): boolean {
    const hasShare = this.placeShares.of(port) >= PENDING_HOPS_PER_PORT;
    if (!hasShare && this.count < PENDING_HOPS_MAX) return true;
    return this.removeGivenUp(port) || (!hasShare && this.removeOldestOfMost(machine, port));
  }

  /** One of the port's addresses that were given up makes room. False: there is none. What is asked for just now stays. */
  private removeGivenUp(port: number): boolean {
    for (let place = 0; place < this.count; place++)
      if (this.ports[place] === port && this.questions[place] > NEIGHBOR_QUESTIONS_MAX && this.kept[place] === 0) {
        this.remove(place);
        return true;
      }
    return false;
  }

  /** What the port with most asks for since longest makes room for `port`, and what is kept for it ends. False: none has more. */
  private removeOldestOfMost(machine: HopHost, port: number): boolean {
    const { placeShares, ports, questions, askedTick } = this;
    if (!placeShares.mayTakeFromMost(port)) return false;
    let oldest = NONE;
    for (let place = 0; place < this.count; place++) {
      if (placeShares.of(ports[place]) !== placeShares.most) continue;
      const later = oldest === NONE ? 1 : questions[place] - questions[oldest];
      if (later > 0 || (later === 0 && ((askedTick[place] - askedTick[oldest]) | 0) < 0)) oldest = place;
    }
    while (this.kept[oldest] !== 0) this.end(machine, this.takeFirst(machine.pool, oldest));
    this.remove(oldest);
    return true;
  }

  /** A packet of the port with most makes room for one of `port`. False: none has more. */
  private dropOneOfMost(machine: HopHost, port: number): boolean {
    const { packetShares, first, following } = this;
    const { pool } = machine;
    if (!packetShares.mayTakeFromMost(port)) return false;
    for (let place = 0; place < this.count; place++) {
      let before = NONE;
      for (let slot = first[place]; slot !== NONE; slot = following[slot]) {
        if (packetShares.of(pool.ingressPort[slot]) === packetShares.most) {
          this.end(machine, this.takeBehind(pool, place, before));
          return true;
        }
        before = slot;
      }
    }
    return false;
  }

  private append(pool: FramePool, place: number, slot: number): void {
    this.packetShares.take(pool.ingressPort[slot]);
    this.following[slot] = NONE;
    if (this.first[place] === NONE) this.first[place] = slot;
    else this.following[this.last[place]] = slot;
    this.last[place] = slot;
    this.kept[place]++;
    this.packets++;
  }

  private takeFirst(pool: FramePool, place: number): number {
    return this.takeBehind(pool, place, NONE);
  }

  /** Takes the packet behind `before`, another one of the place; NONE: the first one. */
  private takeBehind(pool: FramePool, place: number, before: number): number {
    const slot = before === NONE ? this.first[place] : this.following[before];
    const next = this.following[slot];
    if (before === NONE) this.first[place] = next;
    else this.following[before] = next;
    if (next === NONE) this.last[place] = before;
    this.kept[place]--;
    this.packets--;
    this.packetShares.leave(pool.ingressPort[slot]);
    return slot;
  }

  private end(machine: HopHost, slot: number): void {
    machine.pool.reason[slot] = dropReasonNumber.neighbor_unresolved;
    machine.letGo(slot);
  }

  /**
   * Once a breath: moves into the empty `batch` the packets whose station was found or given up, asks again for the others
   * when it is time. Looks at most once a millisecond.
   */
  release(machine: HopHost, batch: Batch): void {
    if (this.count === 0 || machine.nowTick === this.lookedTick) return;
    for (let place = 0; place < this.count && !batch.full; place++) {
      // What is removed gives its place to the last one, which is looked at next.
      if (this.isOver(machine, place, batch)) this.remove(place--);
    }
    if (!batch.full) this.lookedTick = machine.nowTick;
  }

  /** Whether nothing is waited for at this place any more. */
  private isOver(machine: HopHost, place: number, batch: Batch): boolean {
    const { snapshot, nowTick } = machine;
    const routerInterface = this.interfaces[place];
    // The interface went with its configuration: its packets find their way anew, or none.
    const isGone = snapshot.routing.interfaceNetwork[routerInterface] !== this.networks[place];
    for (let word = 0; word < ADDRESS_WORDS; word++) nextAddress[word] = this.addresses[place * ADDRESS_WORDS + word];
    if (isGone || findStation(machine, this.networks[place], 0) !== UNKNOWN) return this.moveAll(machine, place, batch);
    if (((nowTick - this.askedTick[place]) | 0) < QUESTION_PERIOD_MS) return false;
    const isGivenUp = this.questions[place] > NEIGHBOR_QUESTIONS_MAX;
    // Then packets to it are refused at once, and it is asked on as long as there are any.
    if (isGivenUp && this.wanted[place] === 0) return this.moveAll(machine, place, batch);
    this.wanted[place] = 0;
    this.askedTick[place] = nowTick;
    if (!isGivenUp) this.questions[place]++;
    if (this.questions[place] > NEIGHBOR_QUESTIONS_MAX) this.moveAll(machine, place, batch);
    if (isGivenUp || this.questions[place] <= NEIGHBOR_QUESTIONS_MAX)
      askWhoHas(machine, routerInterface, this.hops[place]);
    return false;
  }

  /** Moves what is kept at this place into the batch; false: not all had room. */
  private moveAll(machine: HopHost, place: number, batch: Batch): boolean {
    const { pool, betweenRouters } = machine;
    while (this.kept[place] !== 0 && !batch.full && !betweenRouters.full) {
      const slot = this.takeFirst(pool, place);
      if (pool.ingressMember[slot] === BY_ROUTER) {
        // The router that it was sent to went with its configuration.
        if (isPortOpen(machine.snapshot, pool, slot) && interfaceOf(machine, slot) >= 0)
          betweenRouters.push(pool, slot);
        else this.end(machine, slot);
        continue;
      }
      if (!isStillThere(machine.snapshot, pool, slot)) {
        this.end(machine, slot);
        continue;
      }
      pool.reason[slot] = 0;
      pool.policy[slot] = 0;
      batch.push(slot);
    }
    return this.kept[place] === 0;
  }

  private remove(place: number): void {
    this.placeShares.leave(this.ports[place]);
    const from = --this.count;
    if (from === place) return;
    for (const row of [this.networks, this.interfaces, this.hops, this.ports, this.questions, this.askedTick])
      row[place] = row[from];
    for (const row of [this.kept, this.first, this.last, this.wanted]) row[place] = row[from];
    this.addresses.copyWithin(place * ADDRESS_WORDS, from * ADDRESS_WORDS, (from + 1) * ADDRESS_WORDS);
  }

  /** The port leaves this worker (or, without one, everything ends): what came by it ends now, not counted later as another's. */
  abandon(machine: HopHost, port?: number): void {
    for (let place = 0; place < this.count; place++) {
      let left = this.kept[place];
      for (; left > 0; left--) {
        const slot = this.takeFirst(machine.pool, place);
        if (port !== undefined && machine.pool.ingressPort[slot] !== port) this.append(machine.pool, place, slot);
        else this.end(machine, slot);
      }
    }
  }
}
