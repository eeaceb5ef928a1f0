/**
 * Open vSwitch's userspace datapath between two TAPs that it makes itself (interface type `tap`), with a database,
 * sockets and processes of our own: an Open vSwitch that the host runs is neither used nor disturbed. With offloads it
 * is given userspace TSO, without which it carries plain frames only.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { sleep } from '../child.mjs';
import { DEVICE_A, DEVICE_B } from '../testbed.mjs';

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const START_TIMEOUT_MS = 5000;
const QUIET = ['-vconsole:off', '-vsyslog:off'];

export function openVswitchVersion() {
  try {
    return execFileSync('ovs-vswitchd', ['--version'], { encoding: 'utf8' }).split('\n')[0].split(' ').pop() ?? null;
  } catch {
    return null;
  }
}

export function openVswitchAbsence() {
  if (openVswitchVersion() === null) return 'Open vSwitch is not installed (apt-get install openvswitch-switch)';
  return existsSync(SCHEMA) ? null : `Open vSwitch has no ${SCHEMA}`;
}

/** @param {() => boolean} holds @param {string} what */
async function until(holds, what) {
  for (const deadline = Date.now() + START_TIMEOUT_MS; !holds(); await sleep(20)) {
    if (Date.now() > deadline) throw new Error(`Open vSwitch: ${what} within ${START_TIMEOUT_MS} ms`);
  }
}

/** A bridge of the userspace datapath, as arguments of ovs-vsctl. @param {string} name */
export const addBridge = (name) => ['--', 'add-br', name, '--', 'set', 'bridge', name, 'datapath_type=netdev'];

/** A port with an interface's columns, likewise. @param {string} bridge @param {string} name @param {string[]} columns */
export const addPort = (bridge, name, columns = []) => [
  ...['--', 'add-port', bridge, name],
  ...(columns.length === 0 ? [] : ['--', 'set', 'interface', name, ...columns]),
];

/** One Open vSwitch on one host of a testbed. */
export class OpenVswitch {
  /** @param {import('../testbed.mjs').Testbed} testbed @param {import('../testbed.mjs').Side} side */
  constructor(testbed, side) {
    this.testbed = testbed;
    this.side = side;
    this.directory = `${testbed.directory}/ovs-${side}`;
    this.database = `${this.directory}/db.sock`;
    this.environment = { OVS_RUNDIR: this.directory, OVS_LOGDIR: this.directory, OVS_DBDIR: this.directory };
    /** @type {import('../child.mjs').Child[]} */
    this.children = [];
    rmSync(this.directory, { recursive: true, force: true });
    mkdirSync(this.directory);
  }

  /** @param {string[]} args */
  configure(args) {
    const to = [`--db=unix:${this.database}`, '--timeout=5', '--no-wait', '-vsyslog:off'];
    execFileSync('ovs-vsctl', [...to, ...args], { stdio: 'pipe' });
  }

  /** Asks the running switch. @param {string[]} args */
  command(args) {
    execFileSync('ovs-appctl', ['-t', this.control, ...args], { stdio: 'pipe' });
  }

  /** Replaces a bridge's flows. @param {string} bridge @param {string[]} flows as ovs-ofctl reads them */
  flows(bridge, flows) {
    const to = [`unix:${this.directory}/${bridge}.mgmt`, '-'];
    execFileSync('ovs-ofctl', ['-vsyslog:off', '-O', 'OpenFlow14', 'replace-flows', ...to], {
      input: flows.join('\n'),
      stdio: 'pipe',
    });
  }

  /** @private */
  get control() {
    return `${this.directory}/vswitchd.ctl`;
  }

  /** Starts it. @param {string[]} settings of ovs-vsctl @param {string[]} devices it is ready when it has made these */
  async start(settings, devices) {
    const { testbed, side, environment, directory } = this;
    execFileSync('ovsdb-tool', ['create', `${directory}/conf.db`, SCHEMA]);
    const remote = [`--remote=punix:${this.database}`, `--unixctl=${directory}/server.ctl`];
    const server = testbed.host(['ovsdb-server', `${directory}/conf.db`, ...remote, ...QUIET], { side, environment });
    await until(() => existsSync(this.database), 'ovsdb-server made no socket');
    this.configure(['init']);
    this.configure(settings);
    const command = ['ovs-vswitchd', `unix:${this.database}`, `--unixctl=${this.control}`, ...QUIET];
    const daemon = testbed.host(command, { side, environment });
    this.children.push(daemon, server);
    const present = (/** @type {string} */ device) => testbed.hostIp(side, '-o', 'link').includes(` ${device}:`);
    await until(() => devices.every(present), `ovs-vswitchd did not make ${devices.join(' and ')}`);
    await sleep(200);
  }

  /** The process that forwards. */
  get pid() {
    return this.children[0].pid;
  }

  async stop() {
    for (const child of this.children) await child.stop();
  }
}

/**
 * One bridge with the guests' TAPs on host a; who asked for it attaches them. With flows it is one that tracks connections.
 * @param {import('../testbed.mjs').Testbed} testbed @param {boolean} offload
 * @param {{ flows: string[], connections: number }} [stateful] connections: how many it may keep
 */
export async function startBetweenGuests(testbed, offload, stateful) {
  const ovs = new OpenVswitch(testbed, 'a');
  const tso = offload ? ['--', 'set', 'Open_vSwitch', '.', 'other_config:userspace-tso-enable=true'] : [];
  const taps = [DEVICE_A, DEVICE_B].flatMap((device) => addPort('br0', device, ['type=tap']));
  await ovs.start([...tso, ...addBridge('br0'), ...taps], [DEVICE_A, DEVICE_B]);
  if (stateful !== undefined) {
    ovs.flows('br0', stateful.flows);
    ovs.command(['dpctl/ct-set-maxconns', String(stateful.connections)]);
  }
  return ovs;
}

/** @type {import('./subject.mjs').Subject} */
export const openVswitch = {
  name: 'ovs',
  title: 'Open vSwitch, userspace',
  absence: openVswitchAbsence,
  async start(testbed, { offload }) {
    const ovs = await startBetweenGuests(testbed, offload);
    testbed.attach(DEVICE_A, 'a');
    testbed.attach(DEVICE_B, 'b');
    return {
      pids: [ovs.pid],
      facts: { version: openVswitchVersion(), userspaceTso: offload },
      stop: () => ovs.stop(),
    };
  },
};
