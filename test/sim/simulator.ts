/**
 * One seeded run of the switch: a random configuration, random traffic, and whatever can happen to a switch (changed
 * configuration, ports that vanish and return, devices that refuse or fail, workers that die), under a virtual clock.
 * After each breath the frames that left are compared with what the reference switch says, and whenever nothing is in
 * flight, so are all counters, the FDB and the pool: every frame is accounted for and every slot has come back.
 */
import { Counters } from '../../src/dataplane/counters.js';
import { dropReasonNumber } from '../../src/dataplane/drop-reason.js';
import { DropSamples } from '../../src/dataplane/drop-samples.js';
import { BATCH_SIZE } from '../../src/limits.js';
import { difference, hex } from './arrived-frame.js';
import { type FrameRecord, Ledger } from './ledger.js';
import { Random } from './random.js';
import { type Copy, ReferenceSwitch, type SentFrame, type Station } from './reference-switch.js';
import {
  type Character,
  changeDocument,
  PORT_NAMES,
  randomCharacter,
  randomDevice,
  randomDocument,
} from './scenario.js';
import { SimControl } from './sim-control.js';
import { SimulatedDeath, SimWorker } from './sim-worker.js';
import { randomFrame, STATIONS, startNumbering, type TrafficFrame } from './traffic.js';

const BREATHS = 40;
/** Enough that copies find a slot while SLOTS_LEAST are free: a batch, a round of clones of it, segments. */
const SLOTS = 2048;
const SLOTS_LEAST = 1600;
const SMALL_SLOTS = 24;
/** Away-and-back moves of stations in a second: too few for a loop. */
const MOVES_PER_SECOND = 4;

const samples = new DropSamples();
const counters = new Counters();

interface Expected {
  readonly record: FrameRecord;
  readonly frame: SentFrame;
}

export class Simulator {
  private readonly random: Random;
  private readonly character: Character;
  private readonly control: SimControl;
  private readonly model: ReferenceSwitch;
  private readonly ledger: Ledger;
  private workers: SimWorker[];
  /** What queues have been given and not yet shown, in order; by worker and port index. */
  private readonly expected = new Map<SimWorker, Map<number, Expected[]>>();
  private readonly homes = new Map<string, string>();
  private now: number;
  private second = 0;
  private moves = 0;
  private loopPorts: string[] = [];

  constructor(seed: number) {
    this.random = new Random(seed);
    this.character = randomCharacter(this.random);
    this.now = this.random.below(1_000_000) + this.random.pick([0, 0.5]);
    startNumbering();
    counters.values.fill(0);
    this.ledger = new Ledger(counters, PORT_NAMES.length);
    this.control = new SimControl();
    this.model = new ReferenceSwitch({
      gone: (candidates) => this.gone(candidates),
      moved: (port) => this.ledger.add(this.control.portIndex(port), 'STATION_MOVES'),
      notLearned: (port) => this.ledger.add(this.control.portIndex(port), 'NOT_LEARNED'),
    });
    while (!this.control.change(randomDocument(this.random, this.character)));
    for (const port of Object.keys(this.control.document.ports))
      this.control.devices.set(port, randomDevice(this.random));
    this.workers = Array.from({ length: this.character.workers }, (_, index) => this.startWorker(index));
    this.publish();
    for (const station of STATIONS) this.homes.set(station, this.random.pick(PORT_NAMES));
  }

  run(): void {
    for (let breath = 0; breath < BREATHS; breath++) {
      this.passTime();
      if (this.random.oneIn(4)) this.disturb();
      this.breathe(this.random.pick(this.workers));
      if (this.random.oneIn(4)) this.comeToRest();
      if (this.workers.every((worker) => this.isAtRest(worker))) this.check();
    }
    this.comeToRest();
    this.check();
  }

  // ---- what happens -----------------------------------------------------------------------------------------------

  private passTime(): void {
    const { random } = this;
    this.now += this.character.loops ? random.pick([0, 5, 10]) : random.pick([0, 0, 1, 7, 30, 200, 900, 2500]);
    if (!this.character.loops && random.oneIn(50)) this.now += 400_000;
    const second = Math.floor(this.now / 1000);
    if (second !== this.second) this.moves = 0;
    this.second = second;
    this.sweep();
  }

  private sweep(): void {
    this.control.fdb.sweep(this.second, this.control.snapshot.networkMacAge, 4096);
    this.model.setTime(this.now);
  }

  private disturb(): void {
    const { random, control } = this;
    const { devices, document } = control;
    const port = random.pick(Object.keys(document.ports));
    const kind = random.below(12);
    if (kind < 3) {
      // Who removes a port waits until its queues have let go.
      this.comeToRest();
      if (control.change(changeDocument(random, document, this.character))) this.publish();
    } else if (port === undefined) return;
    else if (kind < 6) {
      if (devices.has(port) && random.oneIn(2)) devices.delete(port);
      else devices.set(port, randomDevice(random));
      this.failQueues(port);
      this.publish();
    } else if (kind === 6) this.losePort(port);
    else if (kind < 9) this.changeStations(port);
    else if (kind === 9) this.killWorker(random.below(this.workers.length));
    else this.slowDown(port);
  }

  /** The queue is gone, and workers forward by a snapshot that does not know it yet. */
  private losePort(port: string): void {
    const device = this.control.devices.get(port);
    // A copy for which there is neither a slot nor a queue may be dropped for either.
    if (device === undefined || this.character.smallPool) return;
    this.failQueues(port);
    this.control.devices.set(port, { ...device, attached: false });
    this.publish();
  }

  private slowDown(port: string): void {
    const { random } = this;
    for (const worker of this.workers) {
      const queue = worker.queues.get(this.control.portIndex(port));
      if (queue !== undefined && this.isAtRest(worker)) queue.isSlow = !queue.isSlow && random.oneIn(2);
    }
  }

  private changeStations(port: string): void {
    const { random, control, model } = this;
    const mac = random.pick(STATIONS);
    const network = random.pick(model.ports.get(port)!.members)?.network;
    if (network === undefined) return;
    const kind = random.below(4);
    if (kind === 0) {
      control.addStatic(network, mac, port);
      model.addStatic(network, mac, port);
    } else if (kind === 1) {
      control.removeStation(network, mac);
      model.forget((station) => station.network === network && station.mac === mac);
    } else if (kind === 2) {
      control.fdb.flush({ port: control.portIndex(port) });
      model.forget((station) => station.port === port && !station.isStatic);
    } else {
      control.fdb.flush({ network: control.networkIndex(network) });
      model.forget((station) => station.network === network && !station.isStatic);
    }
  }

  private startWorker(index: number): SimWorker {
    const { control } = this;
    const slots = this.character.smallPool ? SMALL_SLOTS : SLOTS;
    const { tunnels, neighbors, connections, fragments, storm, loops } = control;
    const parts = {
      counters,
      samples,
      fdb: control.workerFdb(index),
      tunnels,
      neighbors,
      connections,
      fragments,
      storm,
      loops,
    };
    const worker = new SimWorker(index, slots, parts, control.snapshot, () => this.now);
    this.expected.set(worker, new Map());
    return worker;
  }

  /** The worker's frames are lost uncounted; what it shares with others stays. */
  private killWorker(index: number): void {
    // Copies without a slot are counted at once and noticed late: what others hold must be settled before counting anew.
    if (this.character.smallPool) this.comeToRest();
    this.expected.delete(this.workers[index]);
    this.workers[index] = this.startWorker(index);
    this.control.fdb.breakLock(index);
    this.ledger.adopt();
    this.publish();
  }

  /** Brings every worker and the model to the document and devices as they are. */
  private publish(): void {
    const { control, model } = this;
    control.publish((snapshot) => {
      for (const worker of this.workers) worker.machine.snapshot = snapshot;
      for (const worker of this.workers) this.syncQueues(worker);
    });
    model.configure(control.document, control.devices);
    this.sweep();
  }

  private syncQueues(worker: SimWorker): void {
    const { control } = this;
    const open = new Set<number>();
    for (const name of Object.keys(control.document.ports)) {
      if (control.devices.get(name)?.attached) open.add(control.portIndex(name));
    }
    for (const port of worker.queues.keys()) if (!open.has(port)) worker.closeQueue(port);
    for (const port of open) if (!worker.queues.has(port)) worker.openQueue(port);
  }

  // ---- a breath ---------------------------------------------------------------------------------------------------

  private breathe(worker: SimWorker): void {
    const { random, control } = this;
    if (!this.character.smallPool && worker.pool.available < SLOTS_LEAST) this.comeToRest();
    const frames = this.makeFrames();
    worker.inbox = frames.map((frame) => ({ frame, port: control.portIndex(frame.port) }));
    const rooms = this.makeRooms(worker);
    const mayDie = !this.character.smallPool && random.oneIn(60);
    worker.livesFor = mayDie ? random.below(12) : Number.POSITIVE_INFINITY;
    let died = false;
    try {
      worker.breathe();
    } catch (error) {
      if (!(error instanceof SimulatedDeath)) throw error;
      died = true;
    }
    worker.livesFor = Number.POSITIVE_INFINITY;
    const taken = frames.slice(0, worker.taken);
    const outcomes = this.model.receive(taken);
    for (const [index, { reason, copies }] of outcomes.entries()) {
      const { port, octets } = taken[index];
      const record: FrameRecord = {
        port: control.portIndex(port),
        octets: octets.length,
        reason,
        open: 0,
        sent: 0,
        failures: new Set(),
      };
      for (const copy of copies) this.expectCopy(worker, record, copy, rooms);
      if (record.open === 0 && !died) this.ledger.settle(record);
    }
    for (const port of worker.queues.keys()) this.compareArrived(worker, port, died);
    if (died) this.killWorker(this.workers.indexOf(worker));
    for (const queue of worker.queues.values()) queue.room = Number.POSITIVE_INFINITY;
  }

  private makeFrames(): TrafficFrame[] {
    const { random, character, control } = this;
    const ports = Object.keys(control.document.ports);
    if (ports.length === 0) return [];
    if (character.loops && random.below(4) !== 0) return this.makeLoop(ports);
    const count = character.smallTables ? 1 : random.pick([1, 5, 20, 60, character.storms ? BATCH_SIZE : 30]);
    const favourite = random.pick(ports);
    const rules = {
      homes: this.homes,
      superFrames: !character.smallPool && !character.storms,
      mayMove: () => this.mayMove(),
    };
    return Array.from({ length: count }, () => {
      const port = character.storms && random.below(4) !== 0 ? favourite : random.pick(ports);
      return randomFrame(random, port, rules);
    });
  }

  /** One station, seen behind two ports by turns. */
  private makeLoop(ports: readonly string[]): TrafficFrame[] {
    this.loopPorts = this.loopPorts.filter((port) => ports.includes(port));
    if (this.loopPorts.length < 2) this.loopPorts = [...new Set([this.random.pick(ports), this.random.pick(ports)])];
    this.loopPorts.reverse();
    const octets = Uint8Array.from(Buffer.from('ffffffffffff0200000000aa88b5'.padEnd(120, '0'), 'hex'));
    return [{ port: this.loopPorts[0], octets }];
  }

  private mayMove(): boolean {
    return !this.character.loops && this.moves++ < MOVES_PER_SECOND;
  }

  /** Some queues take only so many frames in this breath. */
  private makeRooms(worker: SimWorker): Map<number, number> {
    const rooms = new Map<number, number>();
    if (this.character.smallPool || !this.random.oneIn(4)) return rooms;
    for (const [port, queue] of worker.queues) {
      if (!this.random.oneIn(3)) continue;
      queue.room = this.random.below(20);
      rooms.set(port, queue.room);
    }
    return rooms;
  }

  private expectCopy(worker: SimWorker, record: FrameRecord, copy: Copy, rooms: Map<number, number>): void {
    const port = this.control.portIndex(copy.port);
    if (copy.reason !== undefined) {
      this.ledger.copyDropped(record, port, copy.reason);
      return;
    }
    const room = rooms.get(port) ?? Number.POSITIVE_INFINITY;
    const fitting = Math.min(room, copy.frames.length);
    rooms.set(port, room - fitting);
    // A super-frame of which not even the first segment fits is one copy that failed; else each segment counts.
    const refused = fitting === 0 ? 1 : copy.frames.length - fitting;
    for (let index = 0; index < refused; index++) this.ledger.copyDropped(record, port, 'tx_full');
    const list = this.expectedOf(worker, port);
    for (const frame of copy.frames.slice(0, fitting)) {
      list.push({ record, frame });
      record.open++;
    }
  }

  private expectedOf(worker: SimWorker, port: number): Expected[] {
    const ports = this.expected.get(worker)!;
    const list = ports.get(port) ?? [];
    ports.set(port, list);
    return list;
  }

  // ---- comparing --------------------------------------------------------------------------------------------------

  /** What a queue has shown is what it was expected to, in that order. `died`: the rest will never come. */
  private compareArrived(worker: SimWorker, port: number, died = false): void {
    const list = this.expectedOf(worker, port);
    const arrived = worker.arrived.get(port)!;
    for (const frame of arrived.splice(0)) {
      let next = list.shift();
      let fault = next === undefined ? 'nothing' : difference(frame, next.frame);
      while (this.character.smallPool && next !== undefined && fault !== undefined) {
        this.finish(next, port, 'no_slot');
        next = list.shift();
        fault = next === undefined ? 'nothing' : difference(frame, next.frame);
      }
      if (next === undefined || fault !== undefined) {
        throw new Error(`port ${this.control.portName(port)} sent ${hex(frame.octets)}, expected ${fault}`);
      }
      this.finish(next, port);
    }
    if (!worker.queues.get(port)?.isSlow && !died) this.nothingLeft(list, port);
  }

  private nothingLeft(list: Expected[], port: number): void {
    for (const missing of list.splice(0)) {
      if (!this.character.smallPool) {
        const frame = hex(missing.frame.octets);
        throw new Error(`port ${this.control.portName(port)} did not send ${frame}`);
      }
      this.finish(missing, port, 'no_slot');
    }
  }

  private finish({ record, frame }: Expected, port: number, reason?: 'no_slot' | 'port_down'): void {
    if (reason === undefined) this.ledger.sent(record, port, frame.octets.length);
    else this.ledger.copyDropped(record, port, reason);
    record.open--;
    if (record.open === 0) this.ledger.settle(record);
  }

  private isAtRest(worker: SimWorker): boolean {
    return [...this.expected.get(worker)!.values()].every((list) => list.length === 0);
  }

  /** Slow queues finish, some of them in pieces. */
  private comeToRest(): void {
    for (const worker of this.workers) {
      for (const [port, queue] of worker.queues) {
        queue.complete(this.random.below(8));
        queue.complete();
        const { isSlow } = queue;
        queue.isSlow = false;
        this.compareArrived(worker, port);
        queue.isSlow = isSlow;
      }
    }
  }

  /** What the port's queues still hold never leaves. */
  private failQueues(port: string): void {
    const index = this.control.portIndex(port);
    for (const worker of this.workers) {
      const queue = worker.queues.get(index);
      if (queue === undefined) continue;
      if (this.character.smallPool) queue.complete();
      else queue.failure = dropReasonNumber.port_down;
      queue.complete();
      queue.failure = 0;
      queue.isSlow = false;
      if (!this.character.smallPool)
        for (const lost of this.expectedOf(worker, index).splice(0)) this.finish(lost, index, 'port_down');
      this.compareArrived(worker, index);
    }
  }

  private check(): void {
    const faults = this.ledger.differences();
    for (const [index, { pool }] of this.workers.entries()) {
      if (pool.available !== pool.slotCount)
        faults.push(`worker ${index}: ${pool.slotCount - pool.available} slots are lost`);
    }
    faults.push(...this.control.compareStations([...this.model.stations.values()], this.second));
    for (const port of this.model.ports.keys()) {
      const actual = this.control.loops.blockedUntil(this.control.portIndex(port)) > this.now;
      if (actual !== this.model.blockedUntil(port) > this.now) faults.push(`port ${port}: blocked is ${actual}`);
    }
    if (faults.length > 0) throw new Error(faults.join('\n'));
  }

  /** The one of the candidates that gave way in the real FDB. */
  private gone(candidates: readonly Station[]): Station {
    const found = candidates.find((station) => !this.control.isThere(station.network, station.mac, this.second));
    if (found === undefined) {
      throw new Error(`none of ${candidates.map(({ mac, port }) => `${mac} at ${port}`).join(', ')} gave way`);
    }
    return found;
  }
}
