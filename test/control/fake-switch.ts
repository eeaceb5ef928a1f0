/** A switch that answers from fixed values and remembers what it was asked, for tests of the operator's interface. */

import type {
  AclDetail,
  AclRow,
  ChangeResult,
  ConntrackRow,
  ConntrackStats,
  DhcpLeaseRow,
  DropRow,
  FdbRow,
  GroupDetail,
  GroupRow,
  HealthResult,
  JsonObject,
  NatRow,
  NatStatsRow,
  NeighborRow,
  NetworkDetail,
  NetworkRow,
  PortDetail,
  PortRow,
  RouterDetail,
  RouterRow,
  StatsResult,
  StatusResult,
  TraceResult,
  TunnelDetail,
  TunnelRow,
} from '../../src/control/shapes.js';
import type { FdbSelection, SubmittedDocument, SwitchControl } from '../../src/control/switch-control.js';
import { UserError } from '../../src/errors.js';

const rate = { framesPerSecond: 1_234_567, bitsPerSecond: 3_400_000_000 };

export const fakePorts: readonly PortRow[] = [
  {
    name: 'vm1',
    kind: 'tap',
    device: 'tap-vm1',
    network: 'red',
    state: 'up',
    mtu: 1500,
    mac: '52:54:00:00:00:01',
    rxFrames: 1000,
    rxBytes: 64_000,
    txFrames: 12_345_678,
    txBytes: 18_518_517_000,
    rxDrops: 3,
    txDrops: 0,
  },
  {
    name: 'fw',
    kind: 'netdev',
    device: 'vnet3',
    network: null,
    trunk: [
      { network: 'red', vlan: 10 },
      { network: 'blue', vlan: 20 },
    ],
    native: 'lab',
    state: 'waiting',
    reason: 'no interface vnet3',
    mtu: 1500,
    rxFrames: 0,
    rxBytes: 0,
    txFrames: 0,
    txBytes: 0,
    rxDrops: 0,
    txDrops: 0,
  },
];

export const fakeDrops: readonly DropRow[] = [
  {
    reason: 'vlan_not_allowed',
    port: 'vm1',
    of: 'frame',
    count: 3,
    text: 'The frame carries a VLAN that this port does not carry.',
    lastFrame: { hex: 'ffffffffffff5254000000018100000a0800', atSeconds: 4 },
  },
];

export const fakeNetworks: readonly NetworkRow[] = [
  { name: 'red', type: 'vlan', id: 10, mtu: 1500, ports: ['vm1', 'fw'] },
  { name: 'lab', type: 'local', mtu: 1500, ports: [] },
];

export const fakeRouter: RouterDetail = {
  name: 'r1',
  interfaces: [
    { network: 'red', addresses: ['10.0.0.1/24', 'fd00::1/64'], mac: '06:00:00:00:00:01' },
    { network: 'ext', addresses: ['203.0.113.10/24'], mac: '06:00:00:00:00:02' },
  ],
  routes: [
    { to: '0.0.0.0/0', via: ['203.0.113.1', '203.0.113.2'], state: 'reachable' },
    { to: '192.0.2.0/24', via: 'blackhole', state: 'blackhole' },
  ],
  external: { network: 'ext', addresses: ['203.0.113.10/24'], snat: true },
  floating: { '203.0.113.20': '10.0.0.5' },
  forwards: [{ proto: 'tcp', port: '8080', to: '10.0.0.5:80' }],
};

export const fakeNeighbors: readonly NeighborRow[] = [
  { router: 'r1', network: 'red', address: '10.0.0.5', mac: '52:54:00:00:00:01', state: 'static', ageSeconds: 0 },
  {
    router: 'r1',
    network: 'red',
    address: '10.0.0.6',
    mac: '52:54:00:00:00:02',
    state: 'stale',
    port: 'vm2',
    contested: true,
    ageSeconds: 70,
  },
];

export const fakeGroup: GroupDetail = {
  name: 'web',
  stateful: true,
  default: 'deny',
  hits: 12,
  rules: [
    {
      index: 1,
      direction: 'ingress',
      action: 'permit',
      text: 'proto tcp port 80',
      frames: 12,
      bytes: 720,
      lastHitSeconds: 2.4,
    },
    { index: 2, direction: 'egress', action: 'permit', text: 'anything', frames: 0, bytes: 0 },
  ],
  ports: ['vm1'],
  members: ['10.0.0.5', '10.0.0.48/28'],
};

export const fakeAcl: AclDetail = {
  name: 'a1',
  default: 'permit',
  hits: 1005,
  rules: [
    { index: 1, action: 'deny', text: 'deny proto tcp dstPort 22-25 log', frames: 5, bytes: 300, lastHitSeconds: 2.4 },
    { index: 2, action: 'permit', text: 'permit dst 10.0.0.0/8', frames: 1000, bytes: 64_000, lastHitSeconds: 0 },
    { index: 3, action: 'reject', text: 'reject family ipv6', frames: 0, bytes: 0 },
  ],
  defaultFrames: 12,
  defaultBytes: 720,
  usedBy: ['ports.vm1.acl.ingress'],
};

export const fakeTunnels: readonly TunnelRow[] = [
  {
    network: 'overlay',
    type: 'vxlan',
    local: '192.0.2.1',
    remote: '192.0.2.2',
    id: 5010,
    state: 'up',
    rxFrames: 10,
    txFrames: 20,
    rxBytes: 1000,
    txBytes: 2000,
    mtu: 1450,
    heardSeconds: 3,
  },
  {
    network: 'overlay',
    type: 'vxlan',
    local: '192.0.2.1',
    remote: '192.0.2.3',
    id: 5010,
    state: 'down',
    reason: 'no route',
    rxFrames: 0,
    txFrames: 1,
    rxBytes: 0,
    txBytes: 100,
    mtu: 1450,
  },
  {
    network: 'overlay',
    type: 'vxlan',
    local: '192.0.2.1',
    remote: '192.0.2.77',
    id: 5010,
    state: 'up',
    rxFrames: 5,
    txFrames: 6,
    rxBytes: 500,
    txBytes: 600,
    mtu: 1450,
    heardSeconds: 59,
    learned: true,
  },
];

export const fakeConnections: readonly ConntrackRow[] = [
  {
    zone: 'red',
    proto: 'tcp',
    state: 'established',
    original: { src: '192.0.2.1', dst: '192.0.2.2', srcPort: 1234, dstPort: 80 },
    reply: { src: '192.0.2.2', dst: '192.0.2.1', srcPort: 80, dstPort: 1234 },
    timeoutSeconds: 7499,
    port: 'vm1',
  },
  {
    zone: 'red',
    proto: 'icmpv6',
    state: 'unreplied',
    original: { src: '2001:db8::1', dst: '2001:db8::2', icmpId: 7 },
    reply: { src: '2001:db8::2', dst: '2001:db8::1', icmpId: 7 },
    timeoutSeconds: 59,
    port: 'vm1',
  },
];

export const fakeConntrackStats: ConntrackStats = {
  capacity: 262_144,
  used: 2,
  byPort: [{ port: 'fw', used: 2, limit: 65_536 }],
  byState: { tcpEstablished: 1, icmp: 1 },
  created: 12,
  expired: 10,
  evicted: 0,
  removed: 0,
  refused: { full: 3, port: 0, network: 0, busy: 0 },
};

export const fakeNatStats: readonly NatStatsRow[] = [
  {
    router: 'r1',
    ports: [{ external: '203.0.113.10', proto: 'tcp', used: 3, size: 64_511 }],
    refused: { exhausted: 2, limit: 1 },
  },
];

export const fakeChange: ChangeResult = {
  changes: [
    { path: 'ports.vm1.network', op: 'change', from: 'red', to: 'blue' },
    { path: 'ports.vm2', op: 'add', to: { kind: 'tap', network: 'red' } },
    { path: 'networks.old', op: 'remove' },
  ],
  applied: true,
};

export const fakeTrace: TraceResult = {
  verdict: 'drop',
  reason: 'vlan_not_allowed',
  outputs: [],
  stages: [
    { stage: 'parse', decision: 'ok', text: 'IPv4 behind one tag, VID 10.' },
    {
      stage: 'classify',
      decision: 'drop',
      text: 'vm1 is an access port of red.',
      rule: 'ports.vm1',
      changes: ['tag kept'],
    },
  ],
};

export class FakeSwitch implements SwitchControl {
  /** Method and arguments of every call, in order. */
  readonly calls: (readonly unknown[])[] = [];
  healthy = true;
  ports: readonly PortRow[] = fakePorts;
  dropRows: readonly DropRow[] = fakeDrops;
  fdb: readonly FdbRow[] = [
    { network: 'red', mac: '52:54:00:00:00:01', port: 'vm1', static: false, ageSeconds: 12 },
    { network: 'red', mac: '52:54:00:00:00:02', port: 'fw', static: true, ageSeconds: 0 },
  ];
  readonly subscribers = new Set<(rows: readonly DropRow[]) => void>();
  /** Runs before each status: a test may delay it or make it fail. */
  beforeStatus: () => Promise<void> = async () => {};

  async status(): Promise<StatusResult> {
    await this.beforeStatus();
    return {
      version: '0.1.0',
      uptimeSeconds: 93_784,
      pid: 4242,
      ready: true,
      io: 'uring',
      ioReason: 'the kernel has io_uring with multishot reads',
      workers: [
        {
          index: 0,
          state: 'running',
          restarts: 1,
          lastExit: 'assertion',
          framesPerSecond: 1_234_567,
          busyShare: 0.42,
          lastBreathSeconds: 0.01,
          ioFailures: [
            { operation: 'receive', errno: 'EINVAL', count: 3 },
            { operation: 'send', errno: 'EAGAIN', count: 12_345 },
          ],
        },
      ],
      ports: { up: 1, down: 0, waiting: 1 },
      rates: { rx: rate, tx: rate },
      fdb: { entries: this.fdb.length, capacity: 1_048_576 },
      connections: { used: 2, capacity: 262_144 },
      services: {
        names: { queries: 12, answered: 7, forwarded: 3, refused: 1, failed: 0, malformed: 1, outstanding: 2 },
        metadata: { requests: 9, answered: 6, refused: 2, failed: 1, outstanding: 1 },
        connections: 3,
      },
      epoch: 7,
    };
  }

  async stats(port?: string): Promise<StatsResult> {
    this.calls.push(['stats', port]);
    if (port !== undefined && !this.ports.some(({ name }) => name === port)) throw unknownPort(port);
    return {
      ports: this.ports
        .filter(({ name }) => port === undefined || name === port)
        .map(({ name, rxFrames, rxBytes, rxDrops, txFrames, txBytes, txDrops }) => ({
          name,
          rx: { frames: rxFrames, bytes: rxBytes, forwarded: rxFrames - rxDrops, consumed: 0, dropped: rxDrops },
          tx: { frames: txFrames, bytes: txBytes, generated: 0, dropped: txDrops },
          notLearned: 0,
          stationMoves: 2,
        })),
      workers: [
        {
          index: 0,
          breaths: 5000,
          frames: 12_000,
          batches: 1000,
          busySeconds: 7.5,
          slotsFree: 16_000,
          lastBreathSeconds: 0.01,
        },
      ],
    };
  }

  async health(): Promise<HealthResult> {
    return { healthy: this.healthy, workers: [{ index: 0, breathing: this.healthy, lastBreathSeconds: 0.01 }] };
  }

  async portList(): Promise<readonly PortRow[]> {
    return this.ports;
  }

  async portShow(name: string): Promise<PortDetail> {
    const port = this.ports.find((row) => row.name === name);
    if (port === undefined) throw unknownPort(name);
    return { ...port, rates: { rx: rate, tx: rate }, config: { kind: port.kind }, fdbEntries: 1, drops: this.dropRows };
  }

  async portAdd(name: string, config: JsonObject): Promise<ChangeResult> {
    this.calls.push(['portAdd', name, config]);
    return fakeChange;
  }

  async portSet(name: string, config: JsonObject): Promise<ChangeResult> {
    this.calls.push(['portSet', name, config]);
    return fakeChange;
  }

  async portRemove(name: string): Promise<ChangeResult> {
    this.calls.push(['portRemove', name]);
    return fakeChange;
  }

  async networkList(): Promise<readonly NetworkRow[]> {
    return fakeNetworks;
  }

  async networkShow(name: string): Promise<NetworkDetail> {
    this.calls.push(['networkShow', name]);
    return { ...fakeNetworks[0]!, config: { type: 'vlan', id: 10 }, fdb: { entries: 2, limit: 8192 } };
  }

  async networkAdd(name: string, config: JsonObject): Promise<ChangeResult> {
    this.calls.push(['networkAdd', name, config]);
    return fakeChange;
  }

  async networkSet(name: string, config: JsonObject): Promise<ChangeResult> {
    this.calls.push(['networkSet', name, config]);
    return fakeChange;
  }

  async networkRemove(name: string): Promise<ChangeResult> {
    this.calls.push(['networkRemove', name]);
    return fakeChange;
  }

  async fdbList({ offset = 0, limit = Number.POSITIVE_INFINITY, ...rest }: FdbSelection): Promise<readonly FdbRow[]> {
    this.calls.push(['fdbList', { offset, limit, ...rest }]);
    return this.fdb.slice(offset, offset + limit);
  }

  async fdbAdd(network: string, mac: string, port: string, remote?: string): Promise<FdbRow> {
    this.calls.push(['fdbAdd', network, mac, port, ...(remote === undefined ? [] : [remote])]);
    return { network, mac, port, ...(remote === undefined ? {} : { remote }), static: true, ageSeconds: 0 };
  }

  async fdbRemove(network: string, mac: string): Promise<FdbRow> {
    this.calls.push(['fdbRemove', network, mac]);
    return { network, mac, port: 'vm1', static: false, ageSeconds: 1 };
  }

  async fdbFlush(selection: { readonly network?: string; readonly port?: string }): Promise<number> {
    this.calls.push(['fdbFlush', selection]);
    return 5;
  }

  async conntrackList(port: string | undefined, limit: number): Promise<readonly ConntrackRow[]> {
    this.calls.push(['conntrackList', port, limit]);
    return fakeConnections.slice(0, limit);
  }

  async conntrackFlush(port?: string): Promise<number> {
    this.calls.push(['conntrackFlush', port]);
    return fakeConnections.length;
  }

  async conntrackStats(): Promise<ConntrackStats> {
    return fakeConntrackStats;
  }

  async natList(): Promise<readonly NatRow[]> {
    this.calls.push(['natList']);
    return [];
  }

  async natStats(): Promise<readonly NatStatsRow[]> {
    return fakeNatStats;
  }

  async dhcpLeases(): Promise<readonly DhcpLeaseRow[]> {
    return [
      { subnet: 'red4', mac: '52:54:00:00:00:01', address: '10.0.0.5', port: 'vm1', expiresSeconds: 3600, fixed: true },
      {
        subnet: 'red4',
        mac: '52:54:00:00:00:02',
        address: '10.0.0.100',
        port: 'vm2',
        expiresSeconds: 90,
        fixed: false,
      },
    ];
  }

  async routerList(): Promise<readonly RouterRow[]> {
    const { name, interfaces, routes } = fakeRouter;
    return [{ name, interfaces, routeCount: routes.length, external: 'ext' }];
  }

  async routerShow(name: string): Promise<RouterDetail> {
    this.calls.push(['routerShow', name]);
    return { ...fakeRouter, name };
  }

  async neighborList(): Promise<readonly NeighborRow[]> {
    return fakeNeighbors;
  }

  async groupList(): Promise<readonly GroupRow[]> {
    const { name, stateful, hits, rules, ports } = fakeGroup;
    return [{ name, stateful, ruleCount: rules.length, hits, ports }];
  }

  async groupShow(name: string): Promise<GroupDetail> {
    this.calls.push(['groupShow', name]);
    return { ...fakeGroup, name };
  }

  async aclList(): Promise<readonly AclRow[]> {
    const { name, hits, usedBy, rules } = fakeAcl;
    return [{ name, default: fakeAcl.default, ruleCount: rules.length, hits, usedBy }];
  }

  async aclShow(name: string): Promise<AclDetail> {
    this.calls.push(['aclShow', name]);
    return { ...fakeAcl, name };
  }

  async tunnelList(): Promise<readonly TunnelRow[]> {
    return fakeTunnels;
  }

  async tunnelShow(network: string): Promise<TunnelDetail> {
    this.calls.push(['tunnelShow', network]);
    return {
      network,
      type: 'vxlan',
      id: 5010,
      underlay: 'u0',
      local: '192.0.2.1',
      state: 'up',
      mtu: 1400,
      reckoning: [
        { what: 'MTU of the underlay', octets: 1500 },
        { what: 'IPv4 header', octets: -20 },
        { what: 'UDP header', octets: -8 },
        { what: 'vxlan header', octets: -8 },
        { what: 'inner Ethernet header', octets: -14 },
        { what: 'fits', octets: 1450 },
        { what: 'configured', octets: 1400 },
        { what: 'MTU of the network', octets: 1400 },
      ],
      tunnels: fakeTunnels,
    };
  }

  async drops(): Promise<readonly DropRow[]> {
    return this.dropRows;
  }

  subscribeDrops(callback: (rows: readonly DropRow[]) => void): () => void {
    this.subscribers.add(callback);
    return () => this.subscribers.delete(callback);
  }

  async trace(port: string, frame: string): Promise<TraceResult> {
    this.calls.push(['trace', port, frame]);
    return fakeTrace;
  }

  async configApply(document: SubmittedDocument, dryRun: boolean): Promise<ChangeResult> {
    this.calls.push(['configApply', document, dryRun]);
    if (document.text.includes('broken')) {
      throw new UserError([
        { code: 'bad-config', message: 'no ACL named a3 (did you mean a1?)', path: 'ports.vm1.acl.ingress', line: 12 },
        { code: 'bad-config', message: 'unknown key', path: 'ports.vm1.colour', line: 13 },
      ]);
    }
    return dryRun ? { ...fakeChange, applied: false } : fakeChange;
  }

  async configDiff(document: SubmittedDocument): Promise<ChangeResult> {
    this.calls.push(['configDiff', document]);
    return { changes: document.text.includes('same') ? [] : fakeChange.changes, applied: false };
  }

  async configShow(): Promise<JsonObject> {
    return { version: 1, networks: { red: { type: 'vlan', id: 10, uplink: 'eth0' } } };
  }
}

function unknownPort(name: string): UserError {
  return new UserError([
    { code: 'not-found', message: `no port named ${name}`, path: `ports.${name}`, fix: 'See: weft port list' },
  ]);
}
