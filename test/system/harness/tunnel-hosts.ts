/**
 * Hosts on an underlay, each with one machine in one network that tunnels carry: weft's, and those of the kernel's own VXLAN
 * device. All networks have the same id, all machines the addresses of their number.
 */
import type { JsonObject } from '../../../src/control/shapes.js';
import { Daemon, type DaemonFlags } from './daemon.js';
import { DEVICE, Machine } from './machine.js';
import { ip, type Testbed } from './testbed.js';
import { type Family, UNDERLAY_DEVICE, type Underlay } from './underlay.js';
import { until } from './wait.js';

export type TunnelName = 'vxlan' | 'geneve' | 'gre';

export const NETWORK = 'lab';
export const UNDERLAY = 'u0';
export const NETWORK_ID = 5010;

export interface Tunnels {
  readonly type: TunnelName;
  readonly family: Family;
  /** GRE only: without a key. */
  readonly keyless?: boolean;
}

/** Numbers of hosts are those of their underlay addresses, and of their machines. */
export const hostLabel = (number: number): string => `h${number}`;
export const machineLabel = (number: number): string => `vm${number}`;

const noStorm: JsonObject = { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' };

export interface WeftHostOptions {
  readonly network?: JsonObject;
  readonly underlay?: JsonObject;
  readonly flags?: DaemonFlags;
  /** Further ports, taken by nobody. */
  readonly ports?: JsonObject;
}

export interface WeftHost {
  readonly label: string;
  readonly daemon: Daemon;
  readonly machine: Machine;
  readonly config: JsonObject;
}

/** What a weft host is configured with to reach the hosts of these numbers. */
export function weftConfig(
  underlay: Underlay,
  { type, family, keyless }: Tunnels,
  number: number,
  remotes: readonly number[],
  options: WeftHostOptions = {},
): JsonObject {
  const network = {
    type,
    ...(keyless ? {} : { id: NETWORK_ID }),
    underlay: UNDERLAY,
    remotes: remotes.map((remote) => underlay.address(remote, family)),
    ...options.network,
  };
  const queues = options.flags?.workers ?? 1;
  return {
    version: 1,
    networks: { [NETWORK]: network },
    underlays: { [UNDERLAY]: { local: underlay.address(number, family), ...options.underlay } },
    ports: {
      vm: { kind: 'tap', device: tapDevice(number), network: NETWORK, queues, storm: noStorm },
      ...options.ports,
    },
  };
}

export const tapDevice = (number: number): string => `tap-vm${number}`;

/** A weft on its host, ready, with its machine on port `vm`. */
export async function startWeftHost(
  testbed: Testbed,
  underlay: Underlay,
  tunnels: Tunnels,
  number: number,
  remotes: readonly number[],
  options: WeftHostOptions = {},
): Promise<WeftHost> {
  const label = hostLabel(number);
  underlay.attach(label, number);
  const config = weftConfig(underlay, tunnels, number, remotes, options);
  const daemon = await Daemon.start(testbed, config, { ...options.flags, host: label });
  const machine = new Machine(testbed, machineLabel(number), number).take(tapDevice(number), label);
  await until(`${label} carries frames`, async () => {
    const { state, reason } = await daemon.port('vm');
    return state === 'up' && reason === undefined;
  });
  return { label, daemon, machine, config };
}

/** A kernel with a VXLAN device, which is the machine's only interface. `more`: words of ip-link(8). */
export function startKernelHost(
  testbed: Testbed,
  underlay: Underlay,
  family: Family,
  number: number,
  remote: number,
  more: readonly string[] = [],
): Machine {
  const label = hostLabel(number);
  underlay.attach(label, number);
  const ends = ['local', underlay.address(number, family), 'remote', underlay.address(remote, family)];
  // By the device the kernel reckons the MTU.
  const vxlan = ['type', 'vxlan', 'id', String(NETWORK_ID), 'dev', UNDERLAY_DEVICE, ...ends, 'dstport', '4789'];
  testbed.ip(label, 'link', 'add', 'vxlan0', ...vxlan, ...more);
  return new Machine(testbed, machineLabel(number), number).take('vxlan0', label);
}

/** The MTU that a machine's kernel holds itself to. */
export function machineMtu(machine: Machine): number {
  const found = / mtu (\d+) /.exec(ip('-n', machine.namespace, '-o', 'link', 'show', DEVICE));
  return Number(found?.[1]);
}

export function setMachineMtu(machine: Machine, mtu: number): void {
  ip('-n', machine.namespace, 'link', 'set', DEVICE, 'mtu', String(mtu));
}
