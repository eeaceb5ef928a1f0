/** weft on both hosts, as an operator runs it: a network with the other host as its remote, the guest's TAP in it. */
import { DEVICE_A, DEVICE_B, SIDES, UNDERLAY_DEVICE, underlay } from '../testbed.mjs';
import { startDaemon, weftAbsence } from './weft.mjs';

/** @typedef {'vxlan' | 'geneve' | 'gre'} TunnelType */

/** VNI and key of every subject's network. */
export const TUNNEL_ID = 5010;

/**
 * @param {import('../testbed.mjs').Testbed} testbed @param {import('../testbed.mjs').Side} side
 * @param {TunnelType} type @param {boolean} offload @param {object} more
 */
async function startHost(testbed, side, type, offload, more) {
  const device = side === 'a' ? DEVICE_A : DEVICE_B;
  const remote = underlay[side === 'a' ? 'b' : 'a'].address;
  testbed.addressHost(side, UNDERLAY_DEVICE);
  const config = {
    version: 1,
    underlays: { u0: { local: underlay[side].address, ...more } },
    // 1450 octets for every kind, though GRE would leave more: all carry the same segments.
    networks: { lab: { type, id: TUNNEL_ID, underlay: 'u0', remotes: [remote], mtu: testbed.guestMtu } },
    ports: { guest: { kind: 'tap', device, network: 'lab', offload: offload ? 'auto' : 'off' } },
  };
  const running = await startDaemon(testbed, config, { side });
  testbed.attach(device, side);
  return running;
}

/**
 * @param {TunnelType} type @param {string} title @param {string} [driver] of the underlay
 * @returns {import('./subject.mjs').Subject}
 */
function overlayWeft(type, title, driver) {
  return {
    name: `weft-${type}${driver === undefined ? '' : `-${driver}`}`,
    title: `weft, ${title}`,
    optional: driver !== undefined,
    against: null,
    absence: weftAbsence,
    async start(testbed, { offload }) {
      /** @type {Awaited<ReturnType<typeof startHost>>[]} */
      const hosts = [];
      for (const side of SIDES)
        hosts.push(await startHost(testbed, side, type, offload, driver === undefined ? {} : { driver }));
      const { version, io, ioReason } = hosts[0].status;
      return {
        pids: hosts.map(({ daemon }) => daemon.pid),
        facts: { version, io, ioReason },
        async stop() {
          for (const { daemon } of hosts) await daemon.stop();
        },
      };
    },
  };
}

export const weftVxlan = overlayWeft('vxlan', 'VXLAN');
export const weftGeneve = overlayWeft('geneve', 'Geneve');
export const weftGre = overlayWeft('gre', 'GRE');
/** Its helper processes' CPU time is not counted. */
export const weftGreRawSocket = overlayWeft('gre', 'GRE by the package raw-socket', 'raw-socket');
