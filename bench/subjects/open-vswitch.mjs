/**
 * Open vSwitch's userspace datapath between two TAPs that it makes itself (interface type `tap`), with a database,
 * sockets and processes of our own: an Open vSwitch that the host runs is neither used nor disturbed. With offloads it
 * is given userspace TSO, without which it carries plain frames only.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { sleep } from '../child.mjs';
import { DEVICE_A, DEVICE_B, ip } from '../testbed.mjs';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const START_TIMEOUT_MS = 5000;

export function openVswitchVersion() {
  try {
    return execFileSync('ovs-vswitchd', ['--version'], { encoding: 'utf8' }).split('\n')[0].split(' ').pop() ?? null;
  } catch {
    return null;
  }
}

/** @param {() => boolean} holds @param {string} what */
async function until(holds, what) {
  for (const deadline = Date.now() + START_TIMEOUT_MS; !holds(); await sleep(20)) {
    if (Date.now() > deadline) throw new Error(`Open vSwitch: ${what} within ${START_TIMEOUT_MS} ms`);
  }
}

/** @type {import('./subject.mjs').Subject} */
export const openVswitch = {
  name: 'ovs',
  title: 'Open vSwitch, userspace',
  absence() {
    if (openVswitchVersion() === null) return 'Open vSwitch is not installed (apt-get install openvswitch-switch)';
    return existsSync(SCHEMA) ? null : `Open vSwitch has no ${SCHEMA}`;
  },
  async start(testbed, { offload }) {
    const directory = `${testbed.directory}/ovs`;
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory);
    const environment = { OVS_RUNDIR: directory, OVS_LOGDIR: directory, OVS_DBDIR: directory };
    const database = `${directory}/db.sock`;
    const quiet = ['-vconsole:off', '-vsyslog:off'];
    const vsctl = (/** @type {string[]} */ ...args) =>
      execFileSync('ovs-vsctl', [`--db=unix:${database}`, '--timeout=5', '--no-wait', '-vsyslog:off', ...args], {
        stdio: 'pipe',
      });

    execFileSync('ovsdb-tool', ['create', `${directory}/conf.db`, SCHEMA]);
    const server = testbed.host(
      [
        'ovsdb-server',
        `${directory}/conf.db`,
        `--remote=punix:${database}`,
        `--unixctl=${directory}/server.ctl`,
        ...quiet,
      ],
      environment,
    );
    await until(() => existsSync(database), 'ovsdb-server made no socket');
    vsctl('init');
    if (offload) vsctl('set', 'Open_vSwitch', '.', 'other_config:userspace-tso-enable=true');
    const port = (/** @type {string} */ device) => [
      '--',
      'add-port',
      'br0',
      device,
      '--',
      'set',
      'interface',
      device,
      'type=tap',
    ];
    vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev', ...port(DEVICE_A), ...port(DEVICE_B));
    const daemon = testbed.host(
      ['ovs-vswitchd', `unix:${database}`, `--unixctl=${directory}/vswitchd.ctl`, ...quiet],
      environment,
    );

    const present = (/** @type {string} */ device) =>
      ip('-n', testbed.switchNamespace, '-o', 'link').includes(` ${device}:`);
    await until(() => present(DEVICE_A) && present(DEVICE_B), 'ovs-vswitchd made no TAPs');
    await sleep(200);
    testbed.attach(DEVICE_A, 'a');
    testbed.attach(DEVICE_B, 'b');
    return {
      pids: [daemon.pid],
      facts: { version: openVswitchVersion(), userspaceTso: offload },
      async stop() {
        await daemon.stop();
        await server.stop();
      },
    };
  },
};
