/**
 * Switches that enforce a policy between the two guests: guest a may only send as itself, an ACL of 100 rules of which frames match the
 * last alone, and stateful groups: guest b takes new connections from a alone, everything else that passes
 * belongs to a connection. The same rules on each switch, as it writes them.
 */
import { execFileSync } from 'node:child_process';
import { DEVICE_A, DEVICE_B } from '../testbed.mjs';
import { linuxBridge } from './linux-bridge.mjs';
import { openVswitchAbsence, openVswitchVersion, startBetweenGuests } from './open-vswitch.mjs';
import { startDaemon, weftAbsence } from './weft.mjs';

/** What the generator sends from; see reference/generator.c and workloads/frames.mjs. */
const GUEST_A = { mac: '02:00:00:00:01:0a', address: '192.0.2.1' };
const GUEST_B = { mac: '02:00:00:00:01:0b', address: '192.0.2.2' };
const ACL_RULES = 100;
/** More than a run of the workload with new connections makes. */
const CONNECTIONS = 4_000_000;

/** What each denies: a prefix and a port that no frame has. */
const denied = Array.from({ length: ACL_RULES - 1 }, (_, index) => ({
  proto: index % 2 === 0 ? 'tcp' : 'udp',
  dst: `198.51.${index}.0/24`,
  dstPort: String(1000 + index),
}));

/** @type {import('./subject.mjs').Subject} */
export const weftPolicy = {
  name: 'weft-policy',
  title: 'weft: anti-spoof, ACL, stateful groups',
  against: null,
  absence: weftAbsence,
  async start(testbed, { offload }) {
    const port = (/** @type {string} */ device, /** @type {typeof GUEST_A} */ guest, /** @type {string} */ group) => ({
      ...{ kind: 'tap', device, network: 'lab', offload: offload ? 'auto' : 'off', antiSpoof: true },
      ...{ mac: guest.mac, addresses: [`${guest.address}/24`], groups: [group], acl: { ingress: 'hundred' } },
    });
    const conntrack = { capacity: CONNECTIONS, perPort: '100%' };
    const config = {
      version: 1,
      settings: { conntrack },
      networks: { lab: { type: 'local' } },
      ports: { a: port(DEVICE_A, GUEST_A, 'client'), b: port(DEVICE_B, GUEST_B, 'server') },
      acls: {
        hundred: {
          default: 'deny',
          rules: [...denied.map((rule) => ({ action: 'deny', ...rule })), { action: 'permit' }],
        },
      },
      groups: {
        client: { rules: [{ direction: 'egress' }] },
        server: { rules: [{ direction: 'ingress', proto: 'udp', remoteGroup: 'client' }] },
      },
    };
    const { daemon, status } = await startDaemon(testbed, config);
    testbed.attach(DEVICE_A, 'a');
    testbed.attach(DEVICE_B, 'b');
    return {
      pids: [daemon.pid],
      facts: { version: status.version, io: status.io, aclRules: ACL_RULES },
      stop: () => daemon.stop(),
    };
  },
};

/** Flows that say the same: table 0 anti-spoof, 1 the ACL, 2 to 3 connection tracking. */
function openVswitchFlows() {
  const from = (/** @type {string} */ device, /** @type {typeof GUEST_A} */ { mac, address }) => [
    `table=0,priority=100,in_port=${device},dl_src=${mac},ip,nw_src=${address},actions=goto_table:1`,
    `table=0,priority=100,in_port=${device},dl_src=${mac},arp,arp_spa=${address},arp_sha=${mac},actions=NORMAL`,
  ];
  const acl = denied.map(
    ({ proto, dst, dstPort }, index) =>
      `table=1,priority=${1000 - index},${proto},nw_dst=${dst},tp_dst=${dstPort},actions=drop`,
  );
  return [
    ...['table=0,priority=0,actions=drop', ...from(DEVICE_A, GUEST_A), ...from(DEVICE_B, GUEST_B)],
    ...[...acl, 'table=1,priority=1,ip,actions=ct(table=2,zone=1)'],
    'table=2,priority=10,ct_state=+trk+est,actions=NORMAL',
    `table=2,priority=9,in_port=${DEVICE_A},ct_state=+trk+new,udp,nw_src=${GUEST_A.address},actions=ct(commit,zone=1),NORMAL`,
    'table=2,priority=0,actions=drop',
  ];
}

/** @type {import('./subject.mjs').Subject} */
export const openVswitchConntrack = {
  name: 'ovs-policy',
  title: 'Open vSwitch, userspace: flows and ct()',
  against: 'weft-policy',
  absence: openVswitchAbsence,
  async start(testbed, { offload }) {
    const stateful = { flows: openVswitchFlows(), connections: CONNECTIONS };
    const ovs = await startBetweenGuests(testbed, offload, stateful);
    testbed.attach(DEVICE_A, 'a');
    testbed.attach(DEVICE_B, 'b');
    return { pids: [ovs.pid], facts: { version: openVswitchVersion() }, stop: () => ovs.stop() };
  },
};

/**
 * Who may send, and the ACL, at the bridge; connections where packets would be routed: kernels without nf_conntrack_bridge
 * (as the one the benchmark was written on) track them on a bridge only so, by br_netfilter.
 */
function nftRules() {
  const acl = denied.map(({ proto, dst, dstPort }) => `ip daddr ${dst} ${proto} dport ${dstPort} drop`);
  return `table bridge weft_bench {
    chain forward {
      type filter hook forward priority 0; policy drop;
      iifname "br-a" ether saddr != ${GUEST_A.mac} drop
      iifname "br-b" ether saddr != ${GUEST_B.mac} drop
      ether type arp accept
      iifname "br-a" ip saddr != ${GUEST_A.address} drop
      iifname "br-b" ip saddr != ${GUEST_B.address} drop
      ${acl.join('\n      ')}
      accept
    }
  }
  table inet weft_bench {
    chain forward {
      type filter hook forward priority 0; policy drop;
      ct state established accept
      ct state new ip saddr ${GUEST_A.address} meta l4proto udp accept
    }
  }`;
}

export function nftAbsence() {
  try {
    execFileSync('nft', ['--version'], { stdio: 'ignore' });
    return linuxBridge.absence();
  } catch {
    return 'nftables is missing (apt-get install nftables)';
  }
}

/** @type {import('./subject.mjs').Subject} */
export const linuxBridgeNftables = {
  name: 'linux-policy',
  title: 'Linux bridge with nftables (kernel)',
  against: 'weft-policy',
  absence: nftAbsence,
  async start(testbed, how) {
    const running = await linuxBridge.start(testbed, how);
    const inside = ['netns', 'exec', testbed.hosts.a];
    execFileSync('ip', [...inside, 'nft', '-f', '-'], { input: nftRules(), stdio: ['pipe', 'ignore', 'pipe'] });
    const settings = ['net.bridge.bridge-nf-call-iptables=1', `net.netfilter.nf_conntrack_max=${CONNECTIONS}`];
    for (const setting of settings) execFileSync('ip', [...inside, 'sysctl', '-qw', setting], { stdio: 'pipe' });
    return { ...running, facts: { rules: ACL_RULES } };
  },
};
