/**
 * Open vSwitch's userspace datapath with userspace tunnelling on both hosts, as its documentation sets it up
 * (howto/userspace-tunneling): a bridge with the guest's TAP and the tunnel, and one with the underlay's device and the
 * host's address. Without userspace TSO: its tunnels drop super-frames in the versions that Debian has (3.1), so its guests'
 * kernels cut them in front of the TAP.
 */
import { DEVICE_A, DEVICE_B, SIDES, UNDERLAY_DEVICE, underlay } from '../testbed.mjs';
import { addBridge, addPort, OpenVswitch, openVswitchAbsence, openVswitchVersion } from './open-vswitch.mjs';
import { TUNNEL_ID } from './overlay-weft.mjs';

const UNDERLAY_BRIDGE = 'br-u';

/** @param {import('../testbed.mjs').Side} side */
const other = (side) => (side === 'a' ? 'b' : 'a');

/**
 * @param {import('../testbed.mjs').Testbed} testbed @param {import('../testbed.mjs').Side} side
 * @param {import('./overlay-weft.mjs').TunnelType} type
 */
async function startHost(testbed, side, type) {
  const ovs = new OpenVswitch(testbed, side);
  const device = side === 'a' ? DEVICE_A : DEVICE_B;
  const remote = underlay[other(side)];
  const options = [`options:remote_ip=${remote.address}`, `options:key=${TUNNEL_ID}`];
  const tunnel = addPort('br0', 'tunnel0', [`type=${type}`, ...options]);
  const underlayBridge = [...addBridge(UNDERLAY_BRIDGE), `other_config:hwaddr=${underlay[side].mac}`];
  const ports = [...addPort('br0', device, ['type=tap']), ...tunnel, ...addPort(UNDERLAY_BRIDGE, UNDERLAY_DEVICE)];
  await ovs.start([...addBridge('br0'), ...underlayBridge, ...ports], [device, UNDERLAY_BRIDGE]);
  const bridgeUp = ['link', 'set', UNDERLAY_BRIDGE, 'up'];
  testbed.hostIp(side, ...bridgeUp);
  testbed.addressHost(side, UNDERLAY_BRIDGE);
  // Or the first frames wait for ARP.
  ovs.command(['tnl/neigh/set', UNDERLAY_BRIDGE, remote.address, remote.mac]);
  testbed.attach(device, side);
  return ovs;
}

/** @param {import('./overlay-weft.mjs').TunnelType} type @param {string} title @returns {import('./subject.mjs').Subject} */
function overlayOpenVswitch(type, title) {
  return {
    name: `ovs-${type}`,
    title: `Open vSwitch, ${title}`,
    against: `weft-${type}`,
    absence: openVswitchAbsence,
    async start(testbed) {
      /** @type {OpenVswitch[]} */
      const hosts = [];
      for (const side of SIDES) hosts.push(await startHost(testbed, side, type));
      return {
        pids: hosts.map(({ pid }) => pid),
        facts: { version: openVswitchVersion(), userspaceTso: false },
        async stop() {
          for (const host of hosts) await host.stop();
        },
      };
    },
  };
}

export const openVswitchVxlan = overlayOpenVswitch('vxlan', 'VXLAN');
export const openVswitchGeneve = overlayOpenVswitch('geneve', 'Geneve');
export const openVswitchGre = overlayOpenVswitch('gre', 'GRE');
