/**
 * Open vSwitch's userspace datapath as a host's switch, with a database, sockets and processes of its own: one that this
 * machine runs is neither used nor disturbed. Its tunnels need the underlay's interface and addresses on a bridge of the
 * same datapath (Open vSwitch's manual, "Connecting VMs using tunnels, userspace").
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from './machine.js';
import type { Testbed } from './testbed.js';
import { hostLabel, machineLabel, NETWORK_ID, type Tunnels } from './tunnel-hosts.js';
import { UNDERLAY_DEVICE, type Underlay } from './underlay.js';
import { until } from './wait.js';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const PHYSICAL = 'br-phy';
const INTEGRATION = 'br-int';

export interface OpenVswitchHost {
  readonly machine: Machine;
  /** ovs-ofctl on the bridge with the tunnel. */
  ofctl(command: string, ...words: string[]): string;
  appctl(...words: string[]): string;
}

export async function startOpenVswitchHost(
  testbed: Testbed,
  underlay: Underlay,
  tunnels: Tunnels,
  number: number,
  remote: number,
  options: readonly string[] = [],
): Promise<OpenVswitchHost> {
  if (!existsSync(SCHEMA)) throw new Error(`no ${SCHEMA}: apt-get install openvswitch-switch`);
  const label = hostLabel(number);
  const directory = join(testbed.directory, `ovs-${label}`);
  const environment = { OVS_RUNDIR: directory, OVS_LOGDIR: directory, OVS_DBDIR: directory };
  const database = join(directory, 'db.sock');
  const quiet = ['-vconsole:off', '-vsyslog:off'];
  mkdirSync(directory);
  underlay.attach(label, number, false);
  const machine = new Machine(testbed, machineLabel(number), number);
  testbed.ip(label, 'link', 'add', 'vm', 'type', 'veth', 'peer', 'name', 'vm-end');
  testbed.ip(label, 'link', 'set', 'vm', 'up');
  machine.take('vm-end', label);
  // It takes no frame whose checksum is left to it.
  machine.withoutOffloads();

  execFileSync('ovsdb-tool', ['create', join(directory, 'conf.db'), SCHEMA]);
  const control = (name: string) => `--unixctl=${join(directory, name)}`;
  const server = ['ovsdb-server', join(directory, 'conf.db'), `--remote=punix:${database}`, control('server.ctl')];
  testbed.start(label, [...server, ...quiet], environment);
  await until('ovsdb-server makes its socket', () => existsSync(database));
  const vsctl = (...words: string[]) =>
    execFileSync('ovs-vsctl', [`--db=unix:${database}`, '--timeout=5', '--no-wait', '-vsyslog:off', ...words], {
      stdio: 'pipe',
    });
  const bridge = (name: string, ...more: string[]) =>
    vsctl('add-br', name, '--', 'set', 'bridge', name, 'datapath_type=netdev', ...more);
  vsctl('init');
  bridge(PHYSICAL, `other_config:hwaddr=02:00:00:00:10:${number.toString(16).padStart(2, '0')}`);
  bridge(INTEGRATION);
  vsctl('add-port', PHYSICAL, UNDERLAY_DEVICE);
  vsctl('add-port', INTEGRATION, 'vm');
  const key = tunnels.keyless ? [] : [`options:key=${NETWORK_ID}`];
  const ends = [`options:remote_ip=${underlay.address(remote, tunnels.family)}`, ...key, ...options];
  vsctl('add-port', INTEGRATION, 'tun', '--', 'set', 'interface', 'tun', `type=${tunnels.type}`, ...ends);
  testbed.start(label, ['ovs-vswitchd', `unix:${database}`, control('vswitchd.ctl'), ...quiet], environment);

  await until('ovs-vswitchd makes its bridges', () => testbed.ip(label, '-o', 'link').includes(`${PHYSICAL}:`));
  testbed.run(label, 'sysctl', '-qw', `net.ipv6.conf.${PHYSICAL}.disable_ipv6=0`);
  testbed.ip(label, 'link', 'set', PHYSICAL, 'up');
  underlay.addAddresses(label, PHYSICAL, number);
  const inDirectory = { encoding: 'utf8', stdio: 'pipe', env: { ...process.env, ...environment } } as const;
  const appctl = (...words: string[]) =>
    execFileSync('ovs-appctl', ['-t', join(directory, 'vswitchd.ctl'), ...words], inDirectory);
  await until('it knows the way', () => appctl('ovs/route/show').includes(underlay.address(number, tunnels.family)));
  return {
    machine,
    appctl,
    ofctl: (command, ...words) =>
      execFileSync('ovs-ofctl', [command, `unix:${join(directory, `${INTEGRATION}.mgmt`)}`, ...words], inDirectory),
  };
}
