/** Ports and networks as the control socket shows them: the configuration with what they do now. Main thread. */
import { monotonicMs } from '../dataplane/clock.js';
import type { Running } from './controller.js';
import type { Dataplane } from './dataplane.js';
import { networkMtu } from './overlay-mtu.js';
import type { ResolvedNetwork, ResolvedPort } from './resolved.js';
import type { NetworkRow, PortRow } from './shapes.js';
import { isUnderlayPort } from './shown-name.js';

const ETHERNET_MTU = 1500;

/** What is read of the dataplane. */
type Tables = Pick<Dataplane, 'loops' | 'ports' | 'snapshot' | 'statistics'>;

export function portRow(dataplane: Tables, running: Running, name: string, port: ResolvedPort): PortRow {
  const index = running.indices.port(name) ?? -1;
  const status = dataplane.ports.status(index);
  const stats = dataplane.statistics.port(index, name);
  const blockedMs = dataplane.loops.blockedUntil(index) - monotonicMs();
  const reason = !port.enabled
    ? 'disabled'
    : blockedMs > 0
      ? `loop: blocked for ${Math.ceil(blockedMs / 1000)} s`
      : status.reason;
  const tagged = port.members.flatMap(({ network, vid }) => (vid === undefined ? [] : [{ network, vlan: vid }]));
  const native = port.members.find(({ untagged }) => untagged)?.network;
  return {
    name,
    kind: port.intent.kind,
    device: port.intent.device,
    network: port.mode === 'trunk' ? null : (port.members[0]?.network ?? null),
    ...(port.mode === 'trunk' ? { trunk: tagged } : {}),
    ...(port.mode === 'trunk' && native !== undefined ? { native } : {}),
    state: port.enabled ? status.state : 'down',
    ...(reason === undefined ? {} : { reason }),
    mtu: dataplane.snapshot.portMtu[index] || (status.open?.mtu ?? port.intent.mtu ?? 0),
    ...portMac(port, status.open?.mac),
    rxFrames: stats.rx.frames,
    rxBytes: stats.rx.bytes,
    txFrames: stats.tx.frames,
    txBytes: stats.tx.bytes,
    rxDrops: stats.rx.dropped,
    txDrops: stats.tx.dropped,
  };
}

export function networkRow(dataplane: Tables, running: Running, name: string, network: ResolvedNetwork): NetworkRow {
  const { resolved } = running.checked;
  const members = [...resolved.ports].filter(
    ([port, { members }]) => !isUnderlayPort(port) && members.some((member) => member.network === name),
  );
  const underlayMtu = (port: string) => dataplane.ports.status(running.indices.port(port) ?? -1).open?.mtu;
  return {
    name,
    type: network.type,
    ...(network.id === undefined ? {} : { id: network.id }),
    mtu: networkMtu(network, resolved, underlayMtu) ?? ETHERNET_MTU,
    ports: members.map(([port]) => port),
    ...(network.tunnel === undefined ? {} : { remotes: network.tunnel.remotes }),
  };
}

function portMac(port: ResolvedPort, device: string | undefined): { mac?: string } {
  const mac = port.mac ?? device;
  return mac === undefined ? {} : { mac };
}
