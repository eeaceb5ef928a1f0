/** The control plane of the simulator: the real checking, resolving, compiling and numbering, with the controller's order of steps. */
import { checkDocument } from '../../src/control/check.js';
import { compile } from '../../src/control/compile.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import type { ResolvedConfig } from '../../src/control/resolved.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { UserError } from '../../src/errors.js';
import { ConnectionTable, connectionTableSize } from '../../src/pipeline/connection-table.js';
import { Fdb, fdbSize } from '../../src/pipeline/fdb.js';
import { FdbControl } from '../../src/pipeline/fdb-control.js';
import { FragmentTable, fragmentTableSize } from '../../src/pipeline/fragment-table.js';
import { LOOP_GUARD_SIZE, LoopGuard } from '../../src/pipeline/loop-guard.js';
import { NeighborTable, neighborTableSize } from '../../src/pipeline/neighbor-table.js';
import type { Snapshot } from '../../src/pipeline/snapshot.js';
import { TOKEN_BUCKETS_SIZE, TokenBuckets } from '../../src/pipeline/token-bucket.js';
import { TUNNEL_TABLE_SIZE, TunnelTable } from '../../src/pipeline/tunnel-table.js';
import type { Station } from './reference-switch.js';
import type { Device, SwitchDocument } from './switch-document.js';

const FDB_ENTRIES = 256;

/** Memory that one run after the other uses. */
const fdbMemory = new SharedArrayBuffer(fdbSize(FDB_ENTRIES));
const stormMemory = new SharedArrayBuffer(TOKEN_BUCKETS_SIZE);
const loopMemory = new SharedArrayBuffer(LOOP_GUARD_SIZE);
const neighborMemory = new SharedArrayBuffer(neighborTableSize(1));
const connectionMemory = new SharedArrayBuffer(connectionTableSize(1));
const fragmentMemory = new SharedArrayBuffer(fragmentTableSize(1));
const tunnelMemory = new SharedArrayBuffer(TUNNEL_TABLE_SIZE);

export class SimControl {
  readonly fdb: FdbControl;
  readonly storm: TokenBuckets;
  readonly loops: LoopGuard;
  /** Empty: the simulated switches have no tunnels. */
  readonly tunnels = new TunnelTable(tunnelMemory, 1);
  /** Empty: their networks answer nothing. */
  readonly neighbors = new NeighborTable(neighborMemory, 1, { capacity: 1 });
  /** Empty: their networks track nothing. */
  readonly connections = new ConnectionTable(connectionMemory, 1, { capacity: 1 });
  /** Empty: nobody there asks for ports. */
  readonly fragments = new FragmentTable(fragmentMemory, 1, { capacity: 1 });
  readonly devices = new Map<string, Device>();
  document: SwitchDocument = { version: 1, networks: {}, ports: {} };
  snapshot: Snapshot;
  private resolved: ResolvedConfig;
  private published: ResolvedConfig;
  private indices = new Indices();
  private epoch = 1;

  constructor() {
    for (const memory of [fdbMemory, stormMemory, loopMemory]) new Uint8Array(memory).fill(0);
    this.fdb = new FdbControl(fdbMemory, { capacity: FDB_ENTRIES, seed: [0x12345678, 0x0badcafe] });
    this.storm = new TokenBuckets(stormMemory);
    this.loops = new LoopGuard(loopMemory);
    this.resolved = checkDocument(documentOf({ version: 1 })).resolved;
    this.published = this.resolved;
    this.snapshot = compile(this.resolved, this.indices, () => undefined, 1);
  }

  workerFdb(index: number): Fdb {
    return new Fdb(fdbMemory, index + 1, { capacity: FDB_ENTRIES });
  }

  /** False, and nothing is different, when the document contradicts itself. */
  change(document: SwitchDocument): boolean {
    try {
      this.resolved = checkDocument(documentOf(document as unknown as JsonValue)).resolved;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return false;
    }
    this.document = document;
    this.indices = this.indices.allocate(this.resolved);
    for (const port of this.devices.keys()) if (document.ports[port] === undefined) this.devices.delete(port);
    return true;
  }

  /** Publishes, then forgets what is gone or down, then lets go of indices: in the controller's order. */
  publish(swap: (snapshot: Snapshot) => void): void {
    const { fdb } = this;
    this.snapshot = compile(this.resolved, this.indices, (name) => this.devices.get(name), ++this.epoch);
    swap(this.snapshot);
    const kept = this.indices.release(this.resolved);
    for (const [key, member] of this.indices.members) if (!kept.members.has(key)) fdb.releaseMember(member);
    for (const [port, index] of this.indices.ports) if (!kept.ports.has(port)) this.forgetPort(index);
    this.indices = kept;
    for (const [name, index] of kept.ports) {
      if (!this.devices.has(name) || this.document.ports[name].enabled === false) fdb.flush({ port: index });
    }
    for (const [name, { learning }] of this.resolved.networks) {
      if (!learning && this.published.networks.get(name)?.learning !== false)
        fdb.flush({ network: this.networkIndex(name) });
    }
    this.published = this.resolved;
  }

  private forgetPort(index: number): void {
    this.loops.unblock(index);
    this.storm.forgetPort(index);
  }

  portIndex(name: string): number {
    return this.indices.port(name) ?? -1;
  }

  portName(index: number): string {
    return [...this.indices.ports].find(([, number]) => number === index)?.[0] ?? `${index}`;
  }

  networkIndex(name: string): number {
    return this.indices.network(name) ?? -1;
  }

  addStatic(network: string, mac: string, port: string): void {
    const member = this.indices.member(port, network) ?? -1;
    this.fdb.addStatic(this.networkIndex(network), high(mac), low(mac), member, this.portIndex(port));
  }

  removeStation(network: string, mac: string): void {
    this.fdb.remove(this.networkIndex(network), high(mac), low(mac));
  }

  isThere(network: string, mac: string, second: number): boolean {
    const index = this.networkIndex(network);
    return this.fdb.find(index, high(mac), low(mac), second, this.snapshot.networkMacAge[index]) !== -1;
  }

  /** In what the FDB differs from the model's, in words. */
  compareStations(stations: readonly Station[], second: number): string[] {
    const say = (network: number, mac: string, port: string, isStatic: boolean, age: number) =>
      `${network} ${mac} at ${port} ${isStatic ? 'static' : `${age} s`}`;
    const actual = new Set<string>();
    for (const { network, macHigh, macLow, member, isStatic, ageSeconds } of this.fdb.list(
      second,
      this.snapshot.networkMacAge,
    )) {
      const mac = macHigh.toString(16).padStart(4, '0') + (macLow >>> 0).toString(16).padStart(8, '0');
      actual.add(say(network, mac, this.portName(this.snapshot.memberPort[member]), isStatic, ageSeconds));
    }
    const expected = new Set(
      stations
        .filter(
          ({ network, isStatic, seen }) =>
            isStatic || second - seen <= this.snapshot.networkMacAge[this.networkIndex(network)],
        )
        .map(({ network, mac, port, isStatic, seen }) =>
          say(this.networkIndex(network), mac, port, isStatic, second - seen),
        ),
    );
    return [
      ...[...actual].filter((entry) => !expected.has(entry)).map((entry) => `the FDB has ${entry}, not expected`),
      ...[...expected].filter((entry) => !actual.has(entry)).map((entry) => `the FDB lacks ${entry}`),
    ];
  }
}

const high = (mac: string) => Number.parseInt(mac.slice(0, 4), 16);
const low = (mac: string) => Number.parseInt(mac.slice(4), 16) | 0;
