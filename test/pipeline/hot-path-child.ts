/**
 * Run by hot-path.test.ts in a process of its own: a worker's loop over memory queues with every kind of traffic there
 * is, first until everything is compiled, then with the tracing of deoptimisations and garbage collections switched on.
 * What V8 then prints is the finding. With `spoil` it allocates and changes types on purpose, to show that this is seen.
 */
import { setFlagsFromString } from 'node:v8';
import { checkDocument } from '../../src/control/check.js';
import { compile } from '../../src/control/compile.js';
import { AclCompiler } from '../../src/control/compile-acls.js';
import { GroupCompiler } from '../../src/control/compile-groups.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import { RuleNumbers } from '../../src/control/rule-numbers.js';
import type { Batch } from '../../src/dataplane/batch.js';
import {
  Counters,
  DROP_OF_COPY,
  DROP_OF_FRAME,
  RX_CONSUMED,
  RX_FORWARDED,
  RX_FRAMES,
  TUNNEL_RX_FRAMES,
  TX_FRAMES,
} from '../../src/dataplane/counters.js';
import { type DropReason, dropReasonNumber } from '../../src/dataplane/drop-reason.js';
import { DropSamples } from '../../src/dataplane/drop-samples.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { allocateFrameRing } from '../../src/dataplane/frame-ring.js';
import type { IoEngine, PortQueue } from '../../src/dataplane/io-engine.js';
import { MemoryQueue, memoryFrame } from '../../src/dataplane/ports/memory-queue.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { RULE_LOG_RING_SIZE } from '../../src/limits.js';
import { ConnectionTable, connectionTableSize } from '../../src/pipeline/connection-table.js';
import { Fdb, fdbSize } from '../../src/pipeline/fdb.js';
import { FragmentTable, fragmentTableSize } from '../../src/pipeline/fragment-table.js';
import { LOOP_GUARD_SIZE, LoopGuard } from '../../src/pipeline/loop-guard.js';
import { Machine } from '../../src/pipeline/machine.js';
import { NeighborTable, neighborTableSize } from '../../src/pipeline/neighbor-table.js';
import { RULE_COUNTERS_SIZE, RuleCounters } from '../../src/pipeline/rule-counters.js';
import { RuleLog } from '../../src/pipeline/rule-log.js';
import { POLICY_FRAGMENTS, type Snapshot } from '../../src/pipeline/snapshot.js';
import { TOKEN_BUCKETS_SIZE, TokenBuckets } from '../../src/pipeline/token-bucket.js';
import { TunnelControl } from '../../src/pipeline/tunnel-control.js';
import { TUNNEL_TABLE_SIZE, TunnelTable } from '../../src/pipeline/tunnel-table.js';
import { WorkerLoop } from '../../src/pipeline/worker-loop.js';
import { macText } from '../../src/wire/address.js';
import { fragmentFrame } from '../wire/fragment-frames.js';
import { advertisement, arpFrame, ndFrame } from '../wire/neighbor-frames.js';
import { buildSuperFrame } from '../wire/super-frame.js';
import { makeTranslated, natDocument } from './hot-path-nat.js';
import { makePolicyTemplate, policyDocument } from './hot-path-policy.js';
import { makeRouted, routingDocument } from './hot-path-routing.js';
import {
  type Arrival,
  internRemotes,
  makeTunnelTemplate,
  SwallowingQueue,
  tunnelDocument,
} from './hot-path-tunnels.js';

/** What policy drops here, each for its reason. */
const policyReasons = [
  ...(['acl_deny', 'group_deny', 'conntrack_invalid'] as const),
  ...(['spoof_mac', 'spoof_ip', 'spoof_arp', 'dhcp_server', 'router_advertisement'] as const),
];

const [WARM_UP, STEADY] = [2_000_000, 1_000_000];
const [TEMPLATES, TUNNEL_TEMPLATES, FRAGMENT_TEMPLATES, POLICY_TEMPLATES, ROUTED_TEMPLATES, NAT_TEMPLATES] = [
  2048, 1024, 512, 1536, 1024, 1024,
];
const FDB_ENTRIES = 16_384;
const CONNECTION_ENTRIES = 1024;
const offloads = { checksum: true, tcp4: true, tcp6: true, udp: true };
const none = { checksum: false, tcp4: false, tcp6: false, udp: false };
const forwarded = { stp: 'forward' };

const document = {
  version: 1,
  networks: {
    red: { type: 'vlan', id: 10, arpSuppression: true },
    blue: { type: 'vlan', id: 20, macLimit: 64 },
    still: { type: 'local', learning: false },
    ...tunnelDocument.networks,
    ...policyDocument.networks,
    ...routingDocument.networks,
    ...natDocument.networks,
  },
  underlays: tunnelDocument.underlays,
  ports: {
    a: { kind: 'tap', network: 'red', controlFrames: forwarded },
    b: { kind: 'tap', network: 'red', storm: { broadcast: '50pps' } },
    c: { kind: 'tap', network: 'red', isolated: true },
    d: { kind: 'tap', network: 'red', isolated: true, macLimit: 20 },
    trunk: { kind: 'netdev', trunk: ['red', 'blue', { network: 'still', vlan: 30 }] },
    native: { kind: 'netdev', trunk: ['blue'], native: 'red' },
    tunnel: { kind: 'tap', tunnel: { network: 'blue', allowed: [0, 5, 6] } },
    still: { kind: 'tap', network: 'still' },
    ...tunnelDocument.ports,
    ...policyDocument.ports,
    ...routingDocument.ports,
    ...natDocument.ports,
  },
  routers: { ...routingDocument.routers, ...natDocument.routers },
  acls: policyDocument.acls,
  groups: policyDocument.groups,
  // So that connections end and begin all the time.
  settings: {
    conntrack: { capacity: CONNECTION_ENTRIES, timeouts: { udp: '8s', udpStream: '8s', icmp: '8s', tcpSyn: '8s' } },
  },
};

interface Template {
  readonly port: number;
  readonly octets: Uint8Array;
  readonly size: number;
  readonly gsoType: number;
  readonly transport: number;
  readonly payload: number;
  readonly arrival: Arrival | undefined;
}

const plain = { size: 0, gsoType: 0, transport: 0, payload: 0, arrival: undefined };

let state = 1;
function below(count: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return (state >>> 8) % count;
}

const station = (port: number, number: number) => `5254000${port.toString(16)}${number.toString(16).padStart(4, '0')}`;

function makeTemplate(ports: number): Template {
  const port = below(ports);
  const kind = below(100);
  const from = station(port, kind < 5 ? below(4000) : below(24));
  // Now and then a station is seen behind another port.
  const source = below(500) === 0 ? station(0, 1) : from;
  let to = station(below(ports), below(24));
  if (kind < 10) to = 'ffffffffffff';
  else if (kind < 13) to = '01005e000001';
  else if (kind < 16) to = '0180c2000000';
  else if (kind < 18) to = '525400999999';
  const vid = [0, 5, 10, 20, 30, 40, 4095][below(7)];
  const tags =
    below(2) === 0 ? '' : (below(3) === 0 ? '88a8' : '8100') + (below(8) * 8192 + vid).toString(16).padStart(4, '0');
  if (kind >= 80) return makeOffloaded(port, to, source, tags);
  if (kind > 20 && kind < 26) return makeNeighbor(port, source, `${below(ports)}.${below(24)}`, below(4));
  const size = kind === 20 ? below(20) : [60, 60, 60, 60, 594, 1514, 1518, 1600][below(8)];
  const octets = new Uint8Array(Math.max(size, 40)).fill(0x11);
  octets.set(Buffer.from(`${to}${source}${tags}88b5`, 'hex'));
  return { port, octets: octets.slice(0, size), ...plain };
}

/** Of some datagrams, in any order: of a few the first never comes, some overlap. Their port is followed. */
function makeFragment(port: number): Template {
  const id = below(24);
  const start = below(40) === 0 ? 8 : id < 4 ? 32 : below(4) * 16;
  const octets = fragmentFrame({
    from: station(port, below(24)).replace(/(..)(?!$)/g, '$1:'),
    to: `52:54:00:0${below(8)}:00:${below(24).toString(16).padStart(2, '0')}`,
    isIpv6: below(2) === 0,
    id,
    start,
    size: start === 48 ? 20 : 16,
    isLast: start === 48,
  });
  return { port, octets, ...plain };
}

/** Says where its station's address is, or asks for another's; of many stations, two have the same. */
function makeNeighbor(port: number, source: string, target: string, kind: number): Template {
  const from = source.replace(/(..)(?!$)/g, '$1:');
  const own = `${Number.parseInt(source[7], 16)}.${Number.parseInt(source.slice(-2), 16)}`;
  const [four, six] = [`192.0.${own}`, `2001:db8::192.0.${own}`];
  const octets =
    kind === 0
      ? arpFrame({ from, sender: four, target: `192.0.${target}` })
      : kind === 1
        ? arpFrame({ from, sender: four, target: four })
        : kind === 2
          ? ndFrame({ from, source: six, target: `2001:db8::192.0.${target}` })
          : advertisement({ from, source: six });
  return { port, octets, ...plain };
}

function makeOffloaded(port: number, to: string, from: string, tags: string): Template {
  const size = below(2) === 0 ? 0 : [1000, 1448][below(2)];
  const { octets, layout } = buildSuperFrame({
    isIpv4: below(2) === 0,
    isUdp: false,
    tags: tags.length / 8,
    options: 0,
    tcpOptions: 3,
    flags: 0x10,
    id: 1,
    sequence: 1,
    payloadSize: size === 0 ? 700 : 5000,
    size,
    seed: 1,
  });
  octets.set(Buffer.from(to + from + tags, 'hex'));
  const { transport, payload } = layout;
  const gsoType = size === 0 ? 0 : layout.isIpv4 ? 1 : 4;
  return { port, octets, size, gsoType, transport, payload, arrival: undefined };
}

/** Fills every batch from the templates. */
class Scene implements IoEngine {
  readonly kind = 'poll';
  readonly wakeFd = -1;
  readonly ringFd = -1;
  readonly mappings = [];
  private readonly pool: FramePool;
  private readonly templates: readonly Template[];
  private next = 0;

  constructor(pool: FramePool, templates: readonly Template[]) {
    this.pool = pool;
    this.templates = templates;
  }

  receive(batch: Batch): void {
    const { pool, templates } = this;
    while (!batch.full) {
      const template = templates[this.next];
      this.next = (this.next + 1) % templates.length;
      const slot = memoryFrame(pool, template.port, template.octets);
      const { size, gsoType, transport, payload, arrival } = template;
      if (transport !== 0) pool.offload(slot, 1, gsoType, payload, size, transport, gsoType === 5 ? 6 : 16);
      if (arrival !== undefined) {
        const { address } = arrival;
        pool.datagramSize[slot] = arrival.datagramSize;
        pool.trafficClass[slot] = arrival.trafficClass;
        for (let word = 0; word < 4; word++) pool.sourceAddress[slot * 4 + word] = address[word];
      }
      batch.push(slot);
    }
  }

  submit(): void {}
  hasWork(): boolean {
    return true;
  }
  close(): void {}
  watch(): void {}
  unwatch(): void {}
  detach(): void {}
  isIdle(): boolean {
    return true;
  }
  attach(): PortQueue {
    throw new Error('not here');
  }
}

/** Of the router's interface in the network outside. */
function outerMacOf({ routing }: Snapshot): string {
  const at = routing.interfaceExternal.indexOf(1);
  const octets = new Uint8Array(6);
  new DataView(octets.buffer).setUint16(0, routing.interfaceMacHigh[at]!);
  new DataView(octets.buffer).setInt32(2, routing.interfaceMacLow[at]!);
  return macText(octets);
}

function build() {
  const { resolved } = checkDocument(documentOf(document));
  const indices = new Indices().allocate(resolved);
  const takesAll = (name: string) => ['a', 'native', 'e1', 'h1'].includes(name);
  const tunnelMemory = new SharedArrayBuffer(TUNNEL_TABLE_SIZE);
  const upPort = (name: string) => ({ mtu: 1500, features: takesAll(name) ? offloads : none });
  const ruleCounters = new RuleCounters(new ArrayBuffer(RULE_COUNTERS_SIZE));
  const compilers = [new GroupCompiler(), new AclCompiler(new RuleNumbers([ruleCounters]))] as const;
  const remotesOf = internRemotes(new TunnelControl(tunnelMemory), indices);
  const snapshot = compile(resolved, indices, upPort, 1, remotesOf, ...compilers);
  const followed = indices.port('still') ?? -1;
  snapshot.portPolicy[followed] = POLICY_FRAGMENTS;
  const pool = new FramePool(4096);
  const counters = new Counters();
  const machine = new Machine(
    {
      pool,
      counters,
      kernels: new Kernels(pool.memory),
      samples: new DropSamples(),
      fdb: new Fdb(new SharedArrayBuffer(fdbSize(FDB_ENTRIES)), 1, { capacity: FDB_ENTRIES, seed: [1, 2] }),
      tunnels: new TunnelTable(tunnelMemory, 1),
      connections: new ConnectionTable(new SharedArrayBuffer(connectionTableSize(CONNECTION_ENTRIES)), 1, {
        capacity: CONNECTION_ENTRIES,
      }),
      neighbors: new NeighborTable(new SharedArrayBuffer(neighborTableSize(1024)), 1, { capacity: 1024 }),
      fragments: new FragmentTable(new SharedArrayBuffer(fragmentTableSize(256)), 1, { capacity: 256 }),
      storm: new TokenBuckets(new SharedArrayBuffer(TOKEN_BUCKETS_SIZE)),
      loops: new LoopGuard(new SharedArrayBuffer(LOOP_GUARD_SIZE)),
      ruleCounters,
      ruleLog: new RuleLog(allocateFrameRing(RULE_LOG_RING_SIZE)),
    },
    snapshot,
  );
  const isUnderlay = (name: string) => name.includes('/');
  const underlays: SwallowingQueue[] = [];
  for (const [name, port] of indices.ports) {
    if (isUnderlay(name)) underlays.push(new SwallowingQueue(port, pool, machine));
    machine.queues[port] = underlays.find((queue) => queue.port === port) ?? new MemoryQueue(port, pool, machine);
  }
  const others = [tunnelDocument.ports, policyDocument.ports, routingDocument.ports, natDocument.ports].flatMap(
    (some) => Object.keys(some),
  );
  const localPorts = Object.keys(document.ports).length - others.length;
  const ofTunnels = (): Template => {
    const template = makeTunnelTemplate(below);
    return { ...template, port: indices.port(template.port) ?? -1 };
  };
  const ofPolicy = (): Template => {
    const { port, octets } = makePolicyTemplate(below);
    return { port: indices.port(port) ?? -1, octets, ...plain };
  };
  const ofRouters = (): Template => {
    const { port, octets } = makeRouted(below);
    return { port: indices.port(port) ?? -1, octets, ...plain };
  };
  const outerMac = outerMacOf(snapshot);
  const ofNat = (): Template => {
    const { port, octets } = makeTranslated(below, outerMac);
    return { port: indices.port(port) ?? -1, octets, ...plain };
  };
  const templates = [
    ...Array.from({ length: TEMPLATES }, () => makeTemplate(localPorts)),
    ...Array.from({ length: TUNNEL_TEMPLATES }, ofTunnels),
    ...Array.from({ length: FRAGMENT_TEMPLATES }, () => makeFragment(followed)),
    ...Array.from({ length: POLICY_TEMPLATES }, ofPolicy),
    ...Array.from({ length: ROUTED_TEMPLATES }, ofRouters),
    ...Array.from({ length: NAT_TEMPLATES }, ofNat),
  ];
  // Mixed, with the same seed as all else.
  for (let index = templates.length - 1; index > 0; index--) {
    const other = below(index + 1);
    [templates[index], templates[other]] = [templates[other], templates[index]];
  }
  let clock = 1000;
  const loop = new WorkerLoop(
    machine,
    new Scene(pool, templates),
    { isPending: () => true, isMainComputing: () => false, yieldCpu: () => {} },
    () => {
      clock += 20.3;
      return clock;
    },
  );
  const guarded = Object.keys(policyDocument.ports).map((name) => indices.port(name) ?? -1);
  const [near = -1, far = -1, inner = -1, outer = -1] = ['near', 'far', 'inner', 'outer'].map((name) =>
    indices.port(name),
  );
  return {
    near,
    far,
    inner,
    outer,
    loop,
    pool,
    machine,
    followed,
    guarded,
    counters,
    underlays,
    snapshot,
    ports: indices.ports.size,
  };
}

const { near, far, inner, outer, loop, pool, machine, followed, guarded, counters, underlays, snapshot, ports } =
  build();

function breathe(frames: number): void {
  for (let done = 0; done < frames; ) done += loop.breathe();
}

const kept: unknown[] = [];
function spoil(value: unknown): void {
  kept[0] = [value, String(value)];
}

function increment(value: number): number {
  return value + 1;
}

/**
 * A function of its own: a loop in the module's body is compiled on the way, and leaving it would be a finding. Compiled
 * for numbers, it is deoptimised by texts; keeping what `spoil` makes collects garbage.
 */
function spoilAll(values: readonly unknown[]): void {
  for (let count = 0; count < 1_000_000; count++) spoil(increment(values[count & 1] as number));
}

breathe(WARM_UP);
for (let round = 0; round < 3; round++) spoilAll([1, 2]);
setFlagsFromString('--trace-deopt');
setFlagsFromString('--trace-gc');
breathe(STEADY);
if (process.argv[2] === 'spoil') spoilAll(['1', '2']);
setFlagsFromString('--no-trace-deopt');
setFlagsFromString('--no-trace-gc');

let received = 0;
let sent = 0;
let answered = 0;
for (let port = 0; port < ports; port++) {
  received += counters.portValue(port, RX_FRAMES);
  sent += counters.portValue(port, RX_FORWARDED);
  answered += counters.portValue(port, RX_CONSUMED);
}
const encapsulated = underlays.reduce((sum, { sentDatagrams }) => sum + sentDatagrams, 0);
const decapsulated = snapshot.remotes.reduce((sum, tunnel) => sum + counters.tunnelValue(tunnel, TUNNEL_RX_FRAMES), 0);
const lost = pool.slotCount - pool.available - machine.waiting.count - machine.pending.packets;
const fragmentDrops = (['fragment_timeout', 'fragment_overlap', 'fragment_limit'] as const).map((reason) =>
  counters.dropValue(followed, dropReasonNumber[reason], DROP_OF_FRAME),
);
const guardedSent = guarded.reduce((sum, port) => sum + counters.portValue(port, RX_FORWARDED), 0);
const policyDrops = Object.fromEntries(
  policyReasons.map((reason) => [
    reason,
    guarded.reduce(
      (sum, port) =>
        sum +
        counters.dropValue(port, dropReasonNumber[reason], DROP_OF_FRAME) +
        counters.dropValue(port, dropReasonNumber[reason], DROP_OF_COPY),
      0,
    ),
  ]),
);
const connections = machine.connections.table.used;
const routed = counters.portValue(far, TX_FRAMES);
const routerDrops = (
  ['ttl_exceeded', 'blackhole', 'no_route', 'mtu_exceeded', 'neighbor_unresolved', 'routing_loop'] as const
).map((reason) => counters.dropValue(near, dropReasonNumber[reason], DROP_OF_FRAME));
const dropsAt = (port: number, reasons: readonly DropReason[]) =>
  Object.fromEntries(
    reasons.map((reason) => [reason, counters.dropValue(port, dropReasonNumber[reason], DROP_OF_FRAME)]),
  );
const nat = {
  out: counters.portValue(outer, TX_FRAMES),
  in: counters.portValue(inner, TX_FRAMES),
  drops: {
    ...dropsAt(inner, ['nat_exhausted', 'nat_limit', 'nat_protocol']),
    ...dropsAt(outer, ['nat_filtered']),
  },
};
const result = {
  nat,
  ...{ routed, routerDrops },
  ...{ received, sent, answered, encapsulated, decapsulated, lost, fragmentDrops },
  ...{ guardedSent, policyDrops, connections },
};
console.log(`RESULT ${JSON.stringify(result)}`);
