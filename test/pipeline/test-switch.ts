/**
 * A switch for tests: the real configuration code, machine and pipeline over memory queues. Every run checks that each
 * frame ended exactly once and that every slot came back, whatever else the test looks at.
 */
import { expect } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { compile } from '../../src/control/compile.js';
import { AclCompiler } from '../../src/control/compile-acls.js';
import { GroupCompiler } from '../../src/control/compile-groups.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import { allowedTranslations } from '../../src/control/nat-connections.js';
import type { ResolvedConfig } from '../../src/control/resolved.js';
import { RuleNumbers } from '../../src/control/rule-numbers.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { staticNeighbors } from '../../src/control/static-neighbors.js';
import { Batch } from '../../src/dataplane/batch.js';
import {
  Counters,
  DROP_OF_COPY,
  DROP_OF_FRAME,
  RX_CONSUMED,
  RX_DROPPED,
  RX_FORWARDED,
  RX_FRAMES,
} from '../../src/dataplane/counters.js';
import { type DropReason, dropReasonNumber, dropReasons } from '../../src/dataplane/drop-reason.js';
import { DropSamples } from '../../src/dataplane/drop-samples.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import type { PortFeatures } from '../../src/dataplane/port.js';
import { MemoryQueue, memoryFrame } from '../../src/dataplane/ports/memory-queue.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { BATCH_SIZE } from '../../src/limits.js';
import { ConnectionControl } from '../../src/pipeline/connection-control.js';
import { connectionTableSize } from '../../src/pipeline/connection-table.js';
import { fdbSize } from '../../src/pipeline/fdb.js';
import { FdbControl } from '../../src/pipeline/fdb-control.js';
import { FragmentTable, fragmentTableSize } from '../../src/pipeline/fragment-table.js';
import type { InjectionRing } from '../../src/pipeline/injection-ring.js';
import { LOOP_GUARD_SIZE, LoopGuard } from '../../src/pipeline/loop-guard.js';
import { Machine } from '../../src/pipeline/machine.js';
import { NeighborControl } from '../../src/pipeline/neighbor-control.js';
import { neighborTableSize } from '../../src/pipeline/neighbor-table.js';
import { Pipeline } from '../../src/pipeline/pipeline.js';
import type { Punt } from '../../src/pipeline/punt-ring.js';
import { RULE_COUNTERS_SIZE, RuleCounters } from '../../src/pipeline/rule-counters.js';
import type { RuleLog } from '../../src/pipeline/rule-log.js';
import type { Snapshot } from '../../src/pipeline/snapshot.js';
import { TOKEN_BUCKETS_SIZE, TokenBuckets } from '../../src/pipeline/token-bucket.js';
import { TunnelControl } from '../../src/pipeline/tunnel-control.js';
import { anyNetwork, TUNNEL_TABLE_SIZE } from '../../src/pipeline/tunnel-table.js';
import { ipWords, ipWordsText, parseIp } from '../../src/wire/address.js';
import type { NetworkDocument, PortDocument, SwitchDocument } from '../sim/switch-document.js';
import type { VnetHeader } from '../sim/traffic.js';
import { MemoryDatagramQueue, type SentMessage } from './memory-datagram-queue.js';

export const NO_FEATURES: PortFeatures = { checksum: false, tcp4: false, tcp6: false, udp: false };
export const ALL_FEATURES: PortFeatures = { checksum: true, tcp4: true, tcp6: true, udp: true };

export interface TestDevice {
  readonly mtu?: number;
  readonly features?: PortFeatures;
}

export interface Received {
  /** Its name, or an index that no snapshot knows. */
  readonly port: string | number;
  readonly octets: Uint8Array;
  readonly vnet?: VnetHeader;
  /** Of what an underlay port receives: the sender's address, the size of each datagram in it, the outer TOS. */
  readonly from?: string;
  readonly datagramSize?: number;
  readonly trafficClass?: number;
}

/** Networks that tunnels carry, and what carries those. */
export interface OverlayNetworkDocument extends Omit<NetworkDocument, 'type'> {
  readonly type: NetworkDocument['type'] | 'vxlan' | 'geneve' | 'gre';
  readonly underlay?: string;
  readonly remotes?: readonly string[];
  readonly arpSuppression?: boolean;
  readonly mssClamp?: boolean;
  readonly acl?: { readonly ingress?: string; readonly egress?: string };
  readonly options?: Readonly<Record<string, unknown>>;
}

export interface UnderlayDocument {
  readonly local: string;
  readonly checksum?: boolean;
  readonly port?: number;
  readonly allowFrom?: readonly string[];
  readonly dscp?: number | 'inherit';
  readonly bfd?: { readonly inside?: boolean };
}

export interface TestDocument {
  readonly networks: Readonly<Record<string, OverlayNetworkDocument>>;
  readonly ports: SwitchDocument['ports'];
  readonly underlays?: Readonly<Record<string, UnderlayDocument>>;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly subnets?: Readonly<Record<string, unknown>>;
  readonly acls?: Readonly<Record<string, AclDocument>>;
  readonly routers?: Readonly<Record<string, unknown>>;
}

export interface AclDocument {
  readonly default: 'permit' | 'deny';
  readonly rules?: readonly object[];
}

export interface Sent {
  readonly port: string;
  readonly octets: Uint8Array;
  /** Position of the partial checksum relative to the frame, 0 when it is complete. */
  readonly checksumStart: number;
  readonly gsoSize: number;
  /** Slot the queue was given, and the received frame's that it is a copy of. */
  readonly slot: number;
  readonly original: number;
  /** The switch made it. */
  readonly isGenerated: boolean;
  /** What left by an underlay port: the datagrams' remote end and what they were sent with. */
  readonly message?: SentMessage;
}

export interface TestSwitchOptions {
  readonly slots?: number;
  /** Down when 'down'; 1500 octets without offloads when absent. */
  readonly devices?: Readonly<Record<string, TestDevice | 'down'>>;
  readonly fdbEntries?: number;
  readonly neighborEntries?: number;
  readonly connectionEntries?: number;
  /** Of a switch that lives beside another one, which must not count into the same memory. */
  readonly counters?: Counters;
  readonly fragments?: FragmentTable;
  /** Where frames for the main thread go. */
  readonly punt?: Punt;
  /** Where matches of rules with log go. */
  readonly ruleLog?: RuleLog;
}

/** Arenas are expensive to map: tests one after the other share them. */
const pools = new Map<number, { pool: FramePool; kernels: Kernels }>();
const counterMemory = new Counters();
/** Of switches without tunnels. */
const noTunnels = new TunnelControl(new SharedArrayBuffer(TUNNEL_TABLE_SIZE), 0, [5, 6]);

export class TestSwitch {
  readonly pool: FramePool;
  readonly machine: Machine;
  readonly fdb: FdbControl;
  readonly tunnels: TunnelControl;
  readonly neighbors: NeighborControl;
  readonly connections: ConnectionControl;
  readonly counters: Counters;
  readonly queues = new Map<string, MemoryQueue>();
  readonly underlays = new Map<string, MemoryDatagramQueue>();
  snapshot: Snapshot;
  readonly rules: RuleNumbers;
  private readonly acls: AclCompiler;
  /** What left since it was last looked at. */
  sent: Sent[] = [];
  /** Messages as the queues of underlays were given them. */
  readonly messages: SentMessage[] = [];
  /** Milliseconds; move it between runs. */
  now = 1_000_000;
  private indices: Indices;
  private readonly groupCompiler = new GroupCompiler();
  private readonly devices: NonNullable<TestSwitchOptions['devices']>;
  private readonly batch = new Batch(BATCH_SIZE);
  private readonly pipeline: Pipeline;

  constructor(document: TestDocument, options: TestSwitchOptions = {}) {
    const { slots = 1024, devices = {}, fdbEntries = 1024, neighborEntries = 64 } = options;
    const { pool, kernels } = poolOf(slots);
    const { resolved } = checkDocument(documentOf({ version: 1, ...document } as unknown as JsonValue));
    this.devices = devices;
    this.indices = new Indices().allocate(resolved);
    const hasTunnels = [...resolved.ports.values()].some(({ underlay }) => underlay !== undefined);
    this.tunnels = hasTunnels ? new TunnelControl(new SharedArrayBuffer(TUNNEL_TABLE_SIZE), 0, [5, 6]) : noTunnels;
    const ruleCounters = new RuleCounters(document.acls && new ArrayBuffer(RULE_COUNTERS_SIZE));
    this.rules = new RuleNumbers([ruleCounters]);
    this.acls = new AclCompiler(this.rules);
    this.snapshot = this.compile(resolved, 1);
    this.pool = pool;
    this.counters = options.counters ?? counterMemory;
    this.fdb = new FdbControl(new SharedArrayBuffer(fdbSize(fdbEntries)), { capacity: fdbEntries, seed: [1, 2] });
    const neighborMemory = new SharedArrayBuffer(neighborTableSize(neighborEntries));
    this.neighbors = new NeighborControl(neighborMemory, { capacity: neighborEntries, seed: [7, 8] });
    this.neighbors.settle(staticNeighbors(resolved, this.indices), this.snapshot.networkFlags);
    const { capacity } = resolved.conntrack;
    const { connectionEntries = Math.min(capacity, 64) } = options;
    const connectionMemory = new SharedArrayBuffer(connectionTableSize(connectionEntries));
    this.connections = new ConnectionControl(connectionMemory, { capacity: connectionEntries, seed: [9, 10] });
    this.counters.values.fill(0);
    const parts = {
      pool,
      kernels,
      counters: this.counters,
      samples: new DropSamples(),
      fdb: this.fdb,
      tunnels: this.tunnels,
      neighbors: this.neighbors,
      connections: this.connections,
      fragments:
        options.fragments ?? new FragmentTable(new SharedArrayBuffer(fragmentTableSize(64)), 1, { capacity: 64 }),
      storm: new TokenBuckets(new SharedArrayBuffer(TOKEN_BUCKETS_SIZE)),
      loops: new LoopGuard(new SharedArrayBuffer(LOOP_GUARD_SIZE)),
      ...(options.punt === undefined ? {} : { punt: options.punt }),
      ruleCounters,
      ...(options.ruleLog === undefined ? {} : { ruleLog: options.ruleLog }),
    };
    this.machine = new Machine(parts, this.snapshot);
    this.pipeline = new Pipeline(this.machine);
    for (const name of resolved.ports.keys()) if (devices[name] !== 'down') this.attach(name);
  }

  /** Another configuration, in force from the next batch on. Ports that are gone are detached, new ones attached. */
  configure(document: TestDocument): void {
    const { resolved } = checkDocument(documentOf({ version: 1, ...document } as unknown as JsonValue));
    const before = this.indices;
    this.indices = before.allocate(resolved);
    this.snapshot = this.compile(resolved, this.snapshot.epoch + 1);
    this.machine.snapshot = this.snapshot;
    for (const [name, index] of before.ports) {
      if (resolved.ports.has(name)) continue;
      this.machine.queues[index] = undefined;
      this.queues.delete(name);
    }
    for (const name of resolved.ports.keys()) if (!before.ports.has(name)) this.attach(name);
    this.indices = this.indices.release(resolved);
    this.connections.keepTranslations(allowedTranslations(resolved, this.indices));
  }

  private compile(resolved: ResolvedConfig, epoch: number): Snapshot {
    const remotesOf = (member: number, remotes: readonly string[]) =>
      remotes.map((remote) => this.addRemote(member, remote));
    return compile(
      resolved,
      this.indices,
      (name) => upDevice(this.devices[name]),
      epoch,
      remotesOf,
      this.groupCompiler,
      this.acls,
    );
  }

  index(port: string): number {
    const index = this.indices.port(port);
    if (index === undefined) throw new Error(`no port ${port}`);
    return index;
  }

  network(name: string): number {
    return this.indices.network(name) ?? -1;
  }

  member(port: string, network: string): number {
    return this.indices.member(port, network) ?? -1;
  }

  /** As the main thread does for the configuration's remotes. */
  private addRemote(member: number, remote: string): number {
    const address = addressWords(remote);
    for (const [key, index] of this.indices.members)
      if (index === member) this.tunnels.intern(anyNetwork(this.index(key.slice(0, key.indexOf(' ')))), address);
    return this.tunnels.intern(member, address);
  }

  /** Number of the tunnel from the network to the remote; 0: there is none. */
  tunnel(network: string, remote: string): number {
    const member =
      [...this.underlays.keys()].map((port) => this.member(port, network)).find((found) => found >= 0) ?? -1;
    const [word0, word1, word2, word3] = addressWords(remote);
    return this.tunnels.find(member, word0, word1, word2, word3);
  }

  tunnelValue(network: string, remote: string, field: number): number {
    return this.counters.tunnelValue(this.tunnel(network, remote), field);
  }

  attach(name: string): void {
    if (name.includes('/')) {
      const index = this.index(name);
      const keepMessage = (message: SentMessage) => this.keepMessage(name, message);
      const underlay = new MemoryDatagramQueue(index, this.pool, this.machine, keepMessage);
      this.underlays.set(name, underlay);
      this.machine.queues[index] = underlay;
      return;
    }
    const queue = new MemoryQueue(this.index(name), this.pool, this.machine, (slot) => this.keep(name, slot));
    this.queues.set(name, queue);
    this.machine.queues[this.index(name)] = queue;
  }

  detach(name: string): void {
    this.machine.queues[this.index(name)] = undefined;
  }

  queue(name: string): MemoryQueue {
    const queue = this.queues.get(name);
    if (queue === undefined) throw new Error(`port ${name} is down`);
    return queue;
  }

  underlay(name: string): MemoryDatagramQueue {
    const queue = this.underlays.get(name);
    if (queue === undefined) throw new Error(`underlay ${name} is down`);
    return queue;
  }

  /** Runs the frames as one batch; what left is returned. */
  run(...frames: readonly Received[]): Sent[] {
    for (const frame of frames) if (!this.receive(frame)) throw new Error('the batch or the pool is full');
    this.runBatch();
    const queues = [...this.queues.values(), ...this.underlays.values()];
    if (queues.every((queue) => !queue.isSlow)) this.expectConservation();
    return this.sent.splice(0);
  }

  /** Slots of the frames in the batch. */
  get received(): Int32Array {
    return this.batch.slots.slice(0, this.batch.count);
  }

  /** Sends what the main thread gave; what left is returned. */
  inject(injections: InjectionRing): Sent[] {
    this.machine.setTime(this.now);
    for (let hasMore = true; hasMore; ) {
      hasMore = injections.take(this.machine);
      this.pipeline.runReplies();
    }
    this.expectConservation();
    return this.sent.splice(0);
  }

  /** Puts a frame into the batch; false when there is no slot, or no room. */
  receive({ port, octets, vnet, from, datagramSize = 0, trafficClass = -1 }: Received): boolean {
    const slot = this.batch.full
      ? -1
      : memoryFrame(this.pool, typeof port === 'number' ? port : this.index(port), octets);
    if (slot < 0) return false;
    if (vnet !== undefined) {
      this.pool.offload(slot, vnet.flags, vnet.gsoType, vnet.headerLength, vnet.gsoSize, vnet.start, vnet.offset);
    }
    if (from !== undefined) {
      this.pool.datagramSize[slot] = datagramSize;
      this.pool.trafficClass[slot] = trafficClass;
      this.pool.sourceAddress.set(addressWords(from), slot * 4);
    }
    this.batch.push(slot);
    return true;
  }

  runBatch(): void {
    this.machine.setTime(this.now);
    this.pipeline.run(this.batch);
  }

  value(port: string, field: number): number {
    return this.counters.portValue(this.index(port), field);
  }

  /** Every drop there was, as `port reason` with its count; those of copies as `port reason of copy`. */
  drops(): Record<string, number> {
    const found: Record<string, number> = {};
    for (const [name, index] of this.indices.ports) {
      for (const reason of dropReasons) {
        const ofFrame = this.counters.dropValue(index, dropReasonNumber[reason], DROP_OF_FRAME);
        const ofCopy = this.counters.dropValue(index, dropReasonNumber[reason], DROP_OF_COPY);
        if (ofFrame !== 0) found[`${name} ${reason}`] = ofFrame;
        if (ofCopy !== 0) found[`${name} ${reason} of copy`] = ofCopy;
      }
    }
    return found;
  }

  dropped(port: string, reason: DropReason): number {
    return this.counters.dropValue(this.index(port), dropReasonNumber[reason], DROP_OF_FRAME);
  }

  copiesDropped(port: string, reason: DropReason): number {
    return this.counters.dropValue(this.index(port), dropReasonNumber[reason], DROP_OF_COPY);
  }

  /** At rest: each received frame ended once, and every slot is free but those of fragments that wait for their first, and of packets for a station. */
  expectConservation(): void {
    expect(this.pool.available).toBe(this.pool.slotCount - this.machine.waiting.count - this.machine.pending.packets);
    for (const name of this.indices.ports.keys()) {
      const ended = this.value(name, RX_FORWARDED) + this.value(name, RX_CONSUMED) + this.value(name, RX_DROPPED);
      expect(this.value(name, RX_FRAMES)).toBe(ended);
      const dropped = dropReasons.reduce((sum, reason) => sum + this.dropped(name, reason), 0);
      expect(this.value(name, RX_DROPPED)).toBe(dropped);
    }
  }

  /** A message of datagrams that were joined is one for each of them: who looks at frames need not know how they travelled. */
  private keepMessage(port: string, message: SentMessage): void {
    const { riders } = this.machine;
    this.messages.push(message);
    if (riders[message.slot] === 0) {
      this.keepDatagrams(port, message);
      return;
    }
    let slot = message.slot;
    for (const octets of message.datagrams) {
      this.keepDatagrams(port, { ...message, slot, octets, datagrams: [octets], segmentSize: 0 });
      slot = riders[slot] - 1;
    }
    if (slot !== -1) throw new Error('there are more riders in a message than datagrams');
  }

  private keepDatagrams(port: string, message: SentMessage): void {
    const { octets } = message;
    this.sent.push({ port, octets, checksumStart: 0, gsoSize: 0, ...this.originOf(message.slot), message });
  }

  private keep(port: string, slot: number): void {
    const { pool } = this;
    const start = pool.offset[slot];
    this.sent.push({
      port,
      octets: pool.octets.slice(start, start + pool.length[slot]),
      checksumStart: pool.checksumStart[slot] === 0 ? 0 : pool.checksumStart[slot] - start,
      gsoSize: pool.gsoType[slot] === 0 ? 0 : pool.gsoSize[slot],
      ...this.originOf(slot),
    });
  }

  private originOf(slot: number): Pick<Sent, 'slot' | 'original' | 'isGenerated'> {
    const original = this.pool.original[slot];
    return { slot, original, isGenerated: this.pool.isGenerated[original] !== 0 };
  }
}

function poolOf(slots: number): { pool: FramePool; kernels: Kernels } {
  let found = pools.get(slots);
  if (found === undefined || found.pool.available !== slots) {
    const pool = new FramePool(slots);
    found = { pool, kernels: new Kernels(pool.memory) };
    pools.set(slots, found);
  }
  for (let slot = 0; slot < slots; slot++) {
    const start = found.pool.frameStart(slot);
    found.pool.octets.fill(0xa5, start - 64, start + 192);
  }
  return found;
}

export function addressWords(text: string): Int32Array {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return ipWords(address);
}

export function addressText(words: ArrayLike<number>): string {
  return ipWordsText(Int32Array.from(words));
}

function upDevice(device: TestDevice | 'down' | undefined): { mtu: number; features: PortFeatures } | undefined {
  if (device === 'down') return undefined;
  return { mtu: device?.mtu ?? 1500, features: device?.features ?? NO_FEATURES };
}

// ---- frames and documents -----------------------------------------------------------------------------------------

export const A = '525400000001';
export const B = '525400000002';
export const C = '525400000003';
export const BROADCAST = 'ffffffffffff';

export interface FrameRecipe {
  readonly to?: string;
  readonly from?: string;
  /** Each TPID << 16 | TCI. */
  readonly tags?: readonly number[];
  readonly type?: number;
  readonly size?: number;
}

/** A frame with `size` octets behind its ethertype. */
export function frame({ to = B, from = A, tags = [], type = 0x88b5, size = 46 }: FrameRecipe = {}): Uint8Array {
  const words = [...tags.flatMap((tag) => [tag >>> 16, tag & 0xffff]), type];
  const head = to + from + words.map((word) => word.toString(16).padStart(4, '0')).join('');
  return new Uint8Array(Buffer.concat([Buffer.from(head, 'hex'), new Uint8Array(size).fill(0x11)]));
}

/** A tag as `frame` wants it. */
export function tag(vid: number, pcp = 0, tpid = 0x8100): number {
  return ((tpid << 16) | (pcp << 13) | vid) >>> 0;
}

/** A VM port without storm limits, unless said otherwise. */
export function vm(port: Partial<PortDocument>): PortDocument {
  const storm = { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' };
  return { kind: 'tap', storm, ...port };
}

/** Who got what: `port: hex of the addresses, tags and ethertype`. */
export function summary(sent: readonly Sent[]): string[] {
  return sent.map(({ port, octets }) => `${port} ${headText(octets)}`).sort();
}

/** The tags in front of the payload, as `8100:000a`. */
function headText(octets: Uint8Array): string {
  const view = Buffer.from(octets);
  const tags: string[] = [];
  let at = 12;
  while (at + 4 <= view.length && (view.readUInt16BE(at) === 0x8100 || view.readUInt16BE(at) === 0x88a8)) {
    tags.push(`${view.toString('hex', at, at + 2)}:${view.toString('hex', at + 2, at + 4)}`);
    at += 4;
  }
  return tags.length === 0 ? 'untagged' : tags.join(' ');
}
