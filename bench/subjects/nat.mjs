/**
 * Routers that hide guest a behind an address of their own: guest b is in another network, and whom guest a sends to
 * (192.0.2.2, as in every other measurement) is routed there. The same addresses on each.
 */
import { execFileSync } from 'node:child_process';
import { DEVICE_A, DEVICE_B, ip } from '../testbed.mjs';
import { STATION_A, STATION_B } from '../workloads/frames.mjs';
import { turnOff } from './linux-bridge.mjs';
import { openVswitchAbsence, openVswitchVersion, startBetweenGuests } from './open-vswitch.mjs';
import { nftAbsence } from './policy.mjs';
import { startDaemon, weftAbsence } from './weft.mjs';

const INSIDE = '192.0.2.254';
const OUTSIDE = '203.0.113.10';
const GUEST_A = '192.0.2.1';
/** Guest b as a neighbour of the router's, and as what guest a sends to. */
const NEIGHBOR = '203.0.113.1';
const SERVER = '192.0.2.2';
/** Of routers whose MACs can be chosen. */
const MACS = { a: '02:00:00:00:03:0a', b: '02:00:00:00:03:0b' };
/** The guests' own, as testbed.mjs gives them. */
const KERNEL_A = '02:00:00:00:00:0a';
const KERNEL_B = '02:00:00:00:00:0b';
/** More than a run of the workload with new connections makes. */
const CONNECTIONS = 4_000_000;

/** Hands the interfaces over, and tells the guests who is behind the router. @param {import('../testbed.mjs').Testbed} testbed */
function attachRouted(testbed) {
  testbed.attach(DEVICE_A, 'a');
  testbed.attach(DEVICE_B, 'b');
  const { a, b } = testbed.namespaces;
  ip('-n', a, 'route', 'add', `${SERVER}/32`, 'via', INSIDE);
  ip('-n', b, 'address', 'flush', 'dev', DEVICE_B);
  ip('-n', b, 'address', 'add', `${NEIGHBOR}/24`, 'dev', DEVICE_B);
  ip('-n', b, 'address', 'add', `${SERVER}/32`, 'dev', DEVICE_B);
}

/** The MAC that a guest finds a router's address at. @param {string} namespace @param {string} address */
function macAt(namespace, address) {
  execFileSync('ip', ['netns', 'exec', namespace, 'ping', '-c', '1', '-W', '5', address], { stdio: 'ignore' });
  const mac = /lladdr (\S+)/.exec(ip('-n', namespace, 'neighbor', 'show', address))?.[1];
  if (mac === undefined) throw new Error(`nobody answers at ${address}`);
  return mac;
}

const guests = { a: GUEST_A, b: NEIGHBOR };

/** @type {import('./subject.mjs').Subject} */
export const weftNat = {
  name: 'weft-nat',
  title: 'weft: router with SNAT',
  against: null,
  absence: weftAbsence,
  async start(testbed, { offload }) {
    const port = (/** @type {string} */ device, /** @type {string} */ network) => ({
      ...{ kind: 'tap', device, network, offload: offload ? 'auto' : 'off' },
    });
    const config = {
      version: 1,
      settings: { conntrack: { capacity: CONNECTIONS, perPort: '100%' } },
      networks: { lan: { type: 'local' }, ext: { type: 'local' } },
      ports: { a: port(DEVICE_A, 'lan'), b: port(DEVICE_B, 'ext') },
      routers: {
        r: {
          interfaces: { lan: `${INSIDE}/24` },
          external: { network: 'ext', addresses: [`${OUTSIDE}/24`], snat: true, perVm: 1_000_000 },
          routes: [{ to: `${SERVER}/32`, via: NEIGHBOR }],
        },
      },
    };
    const { daemon, status } = await startDaemon(testbed, config);
    attachRouted(testbed);
    const { a, b } = testbed.namespaces;
    return {
      pids: [daemon.pid],
      facts: { version: status.version, io: status.io },
      router: { macs: { a: macAt(a, INSIDE), b: macAt(b, OUTSIDE) }, outside: OUTSIDE, guests },
      stop: () => daemon.stop(),
    };
  },
};

/** Table 0: whose packets; table 1: what connection tracking makes of them. UDP is for the stations of the generator. */
function openVswitchFlows() {
  const leave = (/** @type {string} */ to) => `mod_dl_src:${MACS.b},mod_dl_dst:${to},output:${DEVICE_B}`;
  const enter = (/** @type {string} */ to) => `mod_dl_src:${MACS.a},mod_dl_dst:${to},output:${DEVICE_A}`;
  const ends = /** @type {const} */ ([
    ['udp', STATION_A, STATION_B],
    ['tcp', KERNEL_A, KERNEL_B],
  ]);
  return [
    'table=0,priority=0,actions=drop',
    `table=0,priority=10,in_port=${DEVICE_A},ip,dl_dst=${MACS.a},actions=ct(table=1,zone=1,nat)`,
    `table=0,priority=10,in_port=${DEVICE_B},ip,dl_dst=${MACS.b},actions=ct(table=1,zone=1,nat)`,
    'table=1,priority=0,actions=drop',
    ...ends.flatMap(([proto, a, b]) => [
      `table=1,priority=10,in_port=${DEVICE_A},${proto},ct_state=+trk+est,actions=dec_ttl,${leave(b)}`,
      `table=1,priority=9,in_port=${DEVICE_A},${proto},ct_state=+trk+new,actions=dec_ttl,ct(commit,zone=1,nat(src=${OUTSIDE})),${leave(b)}`,
      `table=1,priority=10,in_port=${DEVICE_B},${proto},ct_state=+trk+est,actions=dec_ttl,${enter(a)}`,
    ]),
  ];
}

/** @type {import('./subject.mjs').Subject} */
export const openVswitchNat = {
  name: 'ovs-nat',
  title: 'Open vSwitch, userspace: flows and ct(nat)',
  against: 'weft-nat',
  absence: openVswitchAbsence,
  async start(testbed, { offload }) {
    const stateful = { flows: openVswitchFlows(), connections: CONNECTIONS };
    const ovs = await startBetweenGuests(testbed, offload, stateful);
    attachRouted(testbed);
    const { a, b } = testbed.namespaces;
    ip('-n', a, 'neighbor', 'replace', INSIDE, 'lladdr', MACS.a, 'dev', DEVICE_A);
    ip('-n', b, 'neighbor', 'replace', OUTSIDE, 'lladdr', MACS.b, 'dev', DEVICE_B);
    return {
      pids: [ovs.pid],
      facts: { version: openVswitchVersion() },
      router: { macs: MACS, outside: OUTSIDE, guests },
      stop: () => ovs.stop(),
    };
  },
};

/** Neighbours may claim addresses that were not asked for, and what they claimed holds as long as a measurement. */
const settings = [
  ...['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.arp_accept=1', 'net.ipv4.conf.default.arp_accept=1'],
  `net.netfilter.nf_conntrack_max=${CONNECTIONS}`,
];
const deviceSettings = ['a', 'b'].map((side) => `net.ipv4.neigh.router-${side}.delay_first_probe_time=60`);
const MASQUERADE = `table ip weft_bench {
  chain postrouting {
    type nat hook postrouting priority 100;
    oifname "router-b" masquerade
  }
}`;

/** @type {import('./subject.mjs').Subject} */
export const kernelNat = {
  name: 'kernel-nat',
  title: 'Linux router, veth, nftables masquerade (kernel)',
  against: 'weft-nat',
  absence: nftAbsence,
  async start(testbed, { offload }) {
    const inside = ['netns', 'exec', testbed.hosts.a];
    execFileSync('ip', [...inside, 'nft', '-f', '-'], { input: MASQUERADE, stdio: ['pipe', 'ignore', 'pipe'] });
    const set = (/** @type {string} */ setting) =>
      execFileSync('ip', [...inside, 'sysctl', '-qw', setting], { stdio: 'pipe' });
    settings.forEach(set);
    for (const [device, side] of /** @type {const} */ ([
      [DEVICE_A, 'a'],
      [DEVICE_B, 'b'],
    ])) {
      testbed.hostIp('a', 'link', 'add', device, 'type', 'veth', 'peer', 'name', `router-${side}`);
      testbed.hostIp('a', 'link', 'set', `router-${side}`, 'address', MACS[side], 'up');
    }
    deviceSettings.forEach(set);
    testbed.hostIp('a', 'address', 'add', `${INSIDE}/24`, 'dev', 'router-a');
    testbed.hostIp('a', 'address', 'add', `${OUTSIDE}/24`, 'dev', 'router-b');
    testbed.hostIp('a', 'route', 'add', `${SERVER}/32`, 'via', NEIGHBOR);
    attachRouted(testbed);
    if (!offload) {
      turnOff(testbed.namespaces.a, DEVICE_A, ['tx', 'tso', 'gro']);
      turnOff(testbed.namespaces.b, DEVICE_B, ['tx', 'tso', 'gro']);
    }
    // It vanishes with its namespace.
    return { pids: [], router: { macs: MACS, outside: OUTSIDE, guests }, stop: async () => {} };
  },
};
