/**
 * Open vSwitch's userspace datapath as the oracle for VLANs: the same octets go into the same port of both switches, and
 * what leaves every other port must be the same, or stand in `differences` with its reason.
 *
 * Each switch has a network namespace with TAPs that the test holds and the switch opens as existing interfaces, by
 * AF_PACKET: so tags travel out of band on the switches' side, while the test reads and writes whole frames. Open vSwitch
 * runs with a database and sockets of its own; one that the host runs is neither used nor disturbed.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setInterfaceUp } from '../../src/dataplane/interface.js';
import * as native from '../../src/dataplane/native.js';
import { openTapQueues } from '../../src/dataplane/ports/tap-device.js';
import { sleep, until } from '../suites/bench-worker.js';
import { TestNamespace } from '../suites/namespace.js';
import { differences } from './ovs-differences.js';

const WEFT_ENTRY = fileURLToPath(new URL('../../dist/weft.js', import.meta.url));
const OVS_SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

// Ports: every mode twice, one that frames go into and one where they come out; and an access port of the other network.

const OWN = 10;
const OTHER = 20;
const SERVICE = 30;
const UNKNOWN = 99;

const modes = ['access', 'trunk', 'native-untagged', 'native-tagged', 'tunnel'] as const;
type Mode = (typeof modes)[number];

interface Plan {
  readonly name: string;
  /** The interface. */
  readonly device: string;
  readonly mode: Mode;
  readonly vlan: number;
}

const networkOf = (mode: Mode): number => (mode === 'tunnel' ? SERVICE : OWN);
const plans: readonly Plan[] = [
  ...modes.flatMap((mode, index) => [
    { name: `in ${mode}`, device: `in${index}`, mode, vlan: networkOf(mode) },
    { name: mode, device: `out${index}`, mode, vlan: networkOf(mode) },
  ]),
  { name: 'access-other', device: 'out9', mode: 'access', vlan: OTHER },
];

/** Leads to the provider's network: tunnelled frames leave it with an 88a8 tag. */
const TRUNK_OUT = 'out1';

const weftModes: Record<Mode, (vlan: number) => object> = {
  access: (vlan) => ({ network: `n${vlan}` }),
  trunk: () => ({ trunk: [`n${OWN}`, `n${OTHER}`, `n${SERVICE}`] }),
  'native-untagged': (vlan) => ({ trunk: [`n${OTHER}`], native: `n${vlan}` }),
  'native-tagged': (vlan) => ({ trunk: [`n${OTHER}`], native: `n${vlan}`, nativeTagged: true }),
  tunnel: (vlan) => ({ tunnel: { network: `n${vlan}` } }),
};

const ovsModes: Record<Mode, (vlan: number) => string[]> = {
  access: (vlan) => ['vlan_mode=access', `tag=${vlan}`],
  trunk: () => ['vlan_mode=trunk', `trunks=${OWN},${OTHER},${SERVICE}`],
  'native-untagged': (vlan) => ['vlan_mode=native-untagged', `tag=${vlan}`, `trunks=${vlan},${OTHER}`],
  'native-tagged': (vlan) => ['vlan_mode=native-tagged', `tag=${vlan}`, `trunks=${vlan},${OTHER}`],
  tunnel: (vlan) => ['vlan_mode=dot1q-tunnel', `tag=${vlan}`, 'other_config:qinq-ethtype=802.1ad'],
};

// Frames.

type Tag = readonly [tpid: number, vid: number];

const C = 0x8100;
const S = 0x88a8;
const INNER_PCP = 2;
const frames: Readonly<Record<string, readonly Tag[]>> = {
  untagged: [],
  'VID 0': [[C, 0]],
  'own VID': [[C, OWN]],
  'other VID': [[C, OTHER]],
  'service VID': [[C, SERVICE]],
  'unknown VID': [[C, UNKNOWN]],
  '8100 own + 8100 other': [
    [C, OWN],
    [C, OTHER],
  ],
  '8100 VID 0 + 8100 other': [
    [C, 0],
    [C, OTHER],
  ],
  '88a8 own + 8100 other': [
    [S, OWN],
    [C, OTHER],
  ],
  '88a8 service + 8100 other': [
    [S, SERVICE],
    [C, OTHER],
  ],
  '88a8 service': [[S, SERVICE]],
};

interface Case {
  readonly ingress: Mode;
  readonly frame: string;
  readonly pcp: number;
}

const cases: readonly Case[] = modes.flatMap((ingress) =>
  Object.keys(frames).flatMap((frame) => (frame === 'untagged' ? [0] : [0, 5]).map((pcp) => ({ ingress, frame, pcp }))),
);
/** Case numbers of frames that only show that a switch is ready or done. */
const SENTINEL = 0x8000;

const BODY_SIZE = 100;
const ADDRESSES_SIZE = 12;

/** Broadcast from the documentation's range; the case's number is its last two octets. */
function buildFrame(tags: readonly Tag[], pcp: number, station: number, number: number): Buffer {
  const words = tags.map(([tpid, vid], depth) => {
    const octets = Buffer.alloc(4);
    octets.writeUInt16BE(tpid, 0);
    octets.writeUInt16BE(((depth === 0 ? pcp : INNER_PCP) << 13) | vid, 2);
    return octets;
  });
  const source = Buffer.from([0x02, 0x00, 0x5e, 0x00, 0x53, station]);
  return Buffer.concat([Buffer.alloc(6, 0xff), source, ...words, bodyOf(number)]);
}

function bodyOf(number: number): Buffer {
  const body = Buffer.alloc(BODY_SIZE, 0xa5);
  body.writeUInt16BE(0x88b5, 0);
  body.writeUInt16BE(number, BODY_SIZE - 2);
  return body;
}

const numberOf = (frame: Buffer): number => frame.readUInt16BE(frame.length - 2);

/** `trunk 8100:5:10 8100:2:20`: the port and TPID:PCP:VID of its tags; octets that are not as they were sent stand there too. */
function describeOutput(port: string, frame: Buffer, sent: Buffer): string {
  const words = [port];
  let at = ADDRESSES_SIZE;
  for (; frame.readUInt16BE(at) === C || frame.readUInt16BE(at) === S; at += 4) {
    const control = frame.readUInt16BE(at + 2);
    const dei = control & 0x1000 ? '+dei' : '';
    words.push(`${frame.readUInt16BE(at).toString(16)}:${control >> 13}${dei}:${control & 0xfff}`);
  }
  if (!frame.subarray(0, ADDRESSES_SIZE).equals(sent.subarray(0, ADDRESSES_SIZE))) words.push('other addresses');
  if (!frame.subarray(at).equals(bodyOf(numberOf(sent)))) words.push(`other octets ${frame.toString('hex')}`);
  if (words.length === 1) words.push('untagged');
  return words.join(' ');
}

// The two switches.

const VNET_HEADER_SIZE = 10;

/** The far side of a switch's port: a TAP's descriptor, whose frames are whole. */
class Station {
  readonly plan: Plan;
  private readonly fd: number;
  private readonly buffer = Buffer.alloc(4096, 0xa5);

  constructor(plan: Plan, namespace: TestNamespace) {
    this.plan = plan;
    this.fd = openTapQueues(plan.device, 1, namespace.fd)[0]!;
    namespace.silence(plan.device);
    setInterfaceUp(plan.device, true, namespace.fd);
  }

  send(frame: Buffer): void {
    const message = new Uint8Array(VNET_HEADER_SIZE + frame.length);
    message.set(frame, VNET_HEADER_SIZE);
    native.check('sending a test frame', native.write(this.fd, native.addressOf(message.buffer), message.length));
  }

  receive(): Buffer | undefined {
    const address = native.addressOf(this.buffer.buffer) + this.buffer.byteOffset;
    const size = native.read(this.fd, address, this.buffer.length);
    return size < 0 ? undefined : Buffer.from(this.buffer.subarray(VNET_HEADER_SIZE, size));
  }

  close(): void {
    native.close(this.fd);
  }
}

abstract class SwitchUnderTest {
  protected readonly directory = mkdtempSync(join(tmpdir(), 'weft-differential-'));
  protected readonly namespace = new TestNamespace();
  private readonly stations: Station[] = [];
  private readonly children: ChildProcess[] = [];
  /** What arrived, by the case's number. */
  private readonly heard = new Map<number, { port: string; frame: Buffer }[]>();

  abstract start(): Promise<void>;

  protected addStations(): void {
    for (const plan of plans) this.stations.push(new Station(plan, this.namespace));
  }

  /** Each of the words before `command` replaces itself by what follows; the process dies with this one. */
  protected run(command: readonly string[], environment: NodeJS.ProcessEnv = {}): void {
    const [program, ...rest] = [
      'ip',
      'netns',
      'exec',
      this.namespace.name,
      'setpriv',
      '--pdeathsig',
      'KILL',
      ...command,
    ];
    const child = spawn(program!, rest, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, ...environment },
    });
    this.children.push(child);
  }

  private station(name: string): Station {
    return this.stations.find(({ plan }) => plan.name === name)!;
  }

  private listen(): void {
    for (const station of this.stations) {
      for (let frame = station.receive(); frame !== undefined; frame = station.receive()) {
        const number = numberOf(frame);
        const sofar = this.heard.get(number) ?? [];
        this.heard.set(number, [...sofar, { port: station.plan.name, frame }]);
      }
    }
  }

  /** Sends until it arrives: before the first, a port may not be open yet. */
  private async passes(from: string, to: string, tags: readonly Tag[]): Promise<void> {
    const end = performance.now() + 10_000;
    this.heard.delete(SENTINEL);
    for (;;) {
      this.station(from).send(buildFrame(tags, 0, 0xff, SENTINEL));
      for (let round = 0; round < 20; round++) {
        await sleep(5);
        this.listen();
        if (this.heard.get(SENTINEL)?.some(({ port }) => port === to)) return;
      }
      if (performance.now() > end) throw new Error(`${this.constructor.name}: nothing passes from ${from} to ${to}`);
    }
  }

  async isReady(): Promise<void> {
    for (const mode of modes) {
      const tags: Tag[] = mode === 'trunk' ? [[C, OWN]] : [];
      await this.passes(`in ${mode}`, mode, tags);
      await this.passes(mode, `in ${mode}`, tags);
    }
    await this.passes('in trunk', 'access-other', [[C, OTHER]]);
  }

  /** What leaves which egress port for each case, sorted. */
  async outputs(): Promise<string[][]> {
    for (const mode of modes) {
      for (const [number, { ingress, frame, pcp }] of cases.entries()) {
        if (ingress !== mode) continue;
        this.station(`in ${mode}`).send(buildFrame(frames[frame]!, pcp, modes.indexOf(mode), number));
        await sleep(2);
        this.listen();
      }
      await this.passes(`in ${mode}`, mode, mode === 'trunk' ? [[C, OWN]] : []);
    }
    await sleep(200);
    this.listen();
    return cases.map(({ ingress, frame, pcp }, number) => {
      const sent = buildFrame(frames[frame]!, pcp, modes.indexOf(ingress), number);
      const heard = (this.heard.get(number) ?? []).filter(({ port }) => !port.startsWith('in '));
      return heard.map((output) => describeOutput(output.port, output.frame, sent)).sort();
    });
  }

  async close(): Promise<void> {
    const ended = this.children.map((child) => {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return undefined;
      return new Promise((resolve) => child.once('exit', resolve));
    });
    for (const child of this.children) child.kill('SIGKILL');
    await Promise.all(ended);
    for (const station of this.stations) station.close();
    this.namespace.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

class Weft extends SwitchUnderTest {
  async start(): Promise<void> {
    this.addStations();
    const networks = [OWN, OTHER, SERVICE].map((id) => [`n${id}`, { type: 'vlan', id, uplink: TRUNK_OUT }]);
    const ports = plans.map(({ device, mode, vlan }) => [device, { kind: 'netdev', ...weftModes[mode](vlan) }]);
    const config = join(this.directory, 'weft.json');
    const document = { version: 1, networks: Object.fromEntries(networks), ports: Object.fromEntries(ports) };
    writeFileSync(config, JSON.stringify(document));
    const places = [
      '--config',
      config,
      '--socket',
      join(this.directory, 's'),
      '--state-dir',
      join(this.directory, 'd'),
    ];
    const settings = ['--metrics', 'off', '--workers', '1', '--log-level', 'warn'];
    this.run([process.execPath, WEFT_ENTRY, 'daemon', ...places, ...settings]);
    await this.isReady();
  }
}

class OpenVswitch extends SwitchUnderTest {
  async start(): Promise<void> {
    this.addStations();
    const directory = this.directory;
    const environment = { OVS_RUNDIR: directory, OVS_LOGDIR: directory, OVS_DBDIR: directory };
    const database = join(directory, 'db.sock');
    const conf = join(directory, 'conf.db');
    const quiet = ['-vconsole:off', '-vsyslog:off'];
    execFileSync('ovsdb-tool', ['create', conf, OVS_SCHEMA]);
    const control = (name: string) => `--unixctl=${join(directory, name)}`;
    this.run(['ovsdb-server', conf, `--remote=punix:${database}`, control('server.ctl'), ...quiet], environment);
    await until('ovsdb-server makes its socket', () => existsSync(database));
    const vsctl = (...words: string[]) =>
      execFileSync('ovs-vsctl', [`--db=unix:${database}`, '--timeout=5', '--no-wait', '-vsyslog:off', ...words]);
    vsctl('init');
    // One tag is for the switch, the others are payload, as weft has it. With 2, a tunnel port of Open vSwitch 3.1 loses
    // the inner of two tags of a frame: a flow has room for two, and its own is one of them.
    vsctl('set', 'Open_vSwitch', '.', 'other_config:vlan-limit=1');
    vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev');
    for (const { device, mode, vlan } of plans) {
      vsctl('add-port', 'br0', device, '--', 'set', 'port', device, ...ovsModes[mode](vlan));
    }
    this.run(['ovs-vswitchd', `unix:${database}`, control('vswitchd.ctl'), ...quiet], environment);
    await this.isReady();
  }
}

function demandWhatIsNeeded(): void {
  if (process.getuid?.() !== 0) throw new Error('this test makes real interfaces: run it as root (sudo npm test)');
  if (!existsSync(WEFT_ENTRY)) throw new Error('dist/weft.js is not there: npm run build');
  try {
    execFileSync('ovs-vswitchd', ['--version'], { stdio: 'ignore' });
  } catch {
    throw new Error('Open vSwitch is not installed: apt-get install openvswitch-switch (npm test does so)');
  }
  if (!existsSync(OVS_SCHEMA)) throw new Error(`Open vSwitch has no ${OVS_SCHEMA}: apt-get install openvswitch-switch`);
}

describe('VLANs as Open vSwitch has them', () => {
  const open: SwitchUnderTest[] = [];
  let weft: readonly string[][] = [];
  let ovs: readonly string[][] = [];

  async function outputsOf(Kind: typeof Weft | typeof OpenVswitch): Promise<string[][]> {
    const subject = new Kind();
    open.push(subject);
    await subject.start();
    return subject.outputs();
  }

  beforeAll(async () => {
    demandWhatIsNeeded();
    weft = await outputsOf(Weft);
    ovs = await outputsOf(OpenVswitch);
  }, 50_000);

  afterAll(async () => {
    for (const subject of open) await subject.close();
  });

  it('were compared with frames that got through', () => {
    expect(ovs.filter((outputs) => outputs.length > 0).length).toBeGreaterThan(cases.length / 3);
    expect(weft.filter((outputs) => outputs.length > 0).length).toBeGreaterThan(cases.length / 3);
  });

  it('differ only where the matrix has a case', () => {
    const known = cases.map(({ ingress, frame, pcp }) => `${ingress} < ${frame} < ${pcp}`);
    const named = differences.flatMap(({ ingress, frame, pcps }) =>
      pcps.map((pcp) => `${ingress} < ${frame} < ${pcp}`),
    );
    expect(named.filter((name) => !known.includes(name))).toEqual([]);
    expect(new Set(named).size).toBe(named.length);
  });

  it.each(cases.map((each, number) => ({ ...each, number })))(
    'are the same, or known to differ: $frame with PCP $pcp into a port of mode $ingress',
    ({ ingress, frame, pcp, number }) => {
      const known = differences.find(
        (entry) => entry.ingress === ingress && entry.frame === frame && entry.pcps.includes(pcp),
      );
      const [here, there] = [weft[number]!, ovs[number]!];
      const found = {
        weftOnly: here.filter((output) => !there.includes(output)),
        ovsOnly: there.filter((output) => !here.includes(output)),
        twice: [...here, ...there].length - new Set(here).size - new Set(there).size,
      };
      const withPcp = (texts: readonly string[]) => texts.map((text) => text.replaceAll('PCP', String(pcp))).sort();
      const expected = { weftOnly: withPcp(known?.weftOnly ?? []), ovsOnly: withPcp(known?.ovsOnly ?? []), twice: 0 };
      expect(found, known?.reason ?? 'no difference is known here').toEqual(expected);
    },
  );
});
