/**
 * The kernel's own VXLAN on both hosts: a bridge with the guest's veth and a vxlan device, as distributions and Neutron's
 * Linux bridge agent set it up. It has no process: its work is done on its guests' account.
 */
import { execFileSync } from 'node:child_process';
import { DEVICE_A, DEVICE_B, SIDES, UNDERLAY_DEVICE, underlay } from '../testbed.mjs';
import { ethtoolAbsence, turnOff } from './linux-bridge.mjs';
import { TUNNEL_ID } from './overlay-weft.mjs';

const VXLAN_PORT = '4789';

function absence() {
  try {
    // In a namespace of its own, which ends with it.
    const device = ['link', 'add', 'probe', 'type', 'vxlan', 'id', '1', 'dstport', VXLAN_PORT];
    execFileSync('unshare', ['--net', 'ip', ...device], { stdio: 'ignore' });
  } catch {
    return 'the kernel makes no vxlan devices (modprobe vxlan)';
  }
  return ethtoolAbsence();
}

/**
 * @param {import('../testbed.mjs').Testbed} testbed @param {import('../testbed.mjs').Side} side @param {boolean} offload
 */
function startHost(testbed, side, offload) {
  const device = side === 'a' ? DEVICE_A : DEVICE_B;
  const inside = (/** @type {string[]} */ ...args) => testbed.hostIp(side, ...args);
  const remote = underlay[side === 'a' ? 'b' : 'a'].address;
  testbed.addressHost(side, UNDERLAY_DEVICE);
  inside('link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
  inside('link', 'set', 'br0', 'up');
  const ends = ['local', underlay[side].address, 'remote', remote, 'dstport', VXLAN_PORT, 'dev', UNDERLAY_DEVICE];
  inside('link', 'add', 'vxlan0', 'type', 'vxlan', 'id', String(TUNNEL_ID), ...ends);
  inside('link', 'set', 'vxlan0', 'master', 'br0', 'up');
  inside('link', 'add', device, 'type', 'veth', 'peer', 'name', 'guest');
  inside('link', 'set', 'guest', 'mtu', String(testbed.guestMtu), 'master', 'br0', 'up');
  testbed.attach(device, side);
  if (offload) return;
  turnOff(testbed.namespaces[side], device, ['tx', 'tso', 'gro']);
  // The vxlan device puts received segments together (GRO), which hosts leave on; the guest is to get them singly.
  turnOff(testbed.hosts[side], 'guest', ['tx', 'tso']);
}

/** @type {import('./subject.mjs').Subject} */
export const kernelVxlan = {
  name: 'kernel-vxlan',
  title: 'Linux kernel, VXLAN',
  against: 'weft-vxlan',
  absence,
  async start(testbed, { offload }) {
    for (const side of SIDES) startHost(testbed, side, offload);
    // It vanishes with its namespaces.
    return { pids: [], stop: async () => {} };
  },
};
