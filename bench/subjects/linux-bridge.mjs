/** The kernel's own bridge between two veth pairs. It has no process: its work is done on its guests' account. */
import { execFileSync } from 'node:child_process';
import { DEVICE_A, DEVICE_B } from '../testbed.mjs';

export function ethtoolAbsence() {
  try {
    execFileSync('ethtool', ['--version'], { stdio: 'ignore' });
    return null;
  } catch {
    return 'ethtool is missing (apt-get install ethtool)';
  }
}

/**
 * Turns features of an interface off, by ethtool's names.
 * @param {string} namespace @param {string} device @param {string[]} features
 */
export function turnOff(namespace, device, features) {
  const off = ['-K', device, ...features.flatMap((feature) => [feature, 'off'])];
  execFileSync('ip', ['netns', 'exec', namespace, 'ethtool', ...off], { stdio: 'ignore' });
}

/** @type {import('./subject.mjs').Subject} */
export const linuxBridge = {
  name: 'linux-bridge',
  title: 'Linux bridge, veth (kernel)',
  absence: ethtoolAbsence,
  async start(testbed, { offload }) {
    const inside = (/** @type {string[]} */ ...args) => testbed.hostIp('a', ...args);
    inside('link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
    inside('link', 'set', 'br0', 'up');
    for (const [device, side] of /** @type {const} */ ([
      [DEVICE_A, 'a'],
      [DEVICE_B, 'b'],
    ])) {
      inside('link', 'add', device, 'type', 'veth', 'peer', 'name', `br-${side}`);
      inside('link', 'set', `br-${side}`, 'master', 'br0', 'up');
      testbed.attach(device, side);
      if (offload) continue;
      turnOff(testbed.namespaces[side], device, ['tx', 'tso', 'gro']);
    }
    // It vanishes with its namespace.
    return { pids: [], stop: async () => {} };
  },
};
