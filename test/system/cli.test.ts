/**
 * Every command as an operator types it, against a living daemon with traffic at its ports: exit status, what stands on
 * stdout and stderr, and the field names that tools outside this repository rely on.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type {
  ChangeResult,
  DropRow,
  ErrorsShape,
  FdbRow,
  JsonObject,
  PortRow,
  StatsResult,
  TraceResult,
} from '../../src/control/shapes.js';
import { macText } from '../../src/wire/address.js';
import { readCapture } from '../../src/wire/pcap-file.js';
import { Child, type Ending } from './harness/child.js';
import { Daemon } from './harness/daemon.js';
import { Machine } from './harness/machine.js';
import { probeFrame } from './harness/probe.js';
import { Testbed, WEFT_ENTRY } from './harness/testbed.js';
import { until } from './harness/wait.js';

const METRICS = '127.0.0.1:9617';
const anyNumber = expect.any(Number) as number;
const anyText = expect.any(String) as string;

const config: JsonObject = {
  version: 1,
  networks: { red: { type: 'vlan', id: 10, uplink: 'up' }, lab: { type: 'local' } },
  ports: {
    vm1: { kind: 'tap', device: 'tap-vm1', network: 'red', mac: '52:54:00:00:00:01' },
    vm2: { kind: 'tap', device: 'tap-vm2', network: 'red' },
    fw: { kind: 'tap', device: 'tap-fw', trunk: [{ network: 'red', vlan: 7 }], native: 'lab' },
    up: { kind: 'netdev', device: 'veth-up', trunk: 'auto' },
  },
};

let testbed: Testbed;
let daemon: Daemon;
let one: Machine;
let two: Machine;

beforeAll(async () => {
  testbed = new Testbed();
  daemon = await Daemon.start(testbed, config, { metrics: METRICS });
  one = new Machine(testbed, 'one', 1).take('tap-vm1');
  two = new Machine(testbed, 'two', 2).take('tap-vm2');
  await until('both machines hear each other', async () => (await one.train(two.ipv4, async () => {})).lost === 0);
}, 60_000);

afterAll(() => testbed?.dispose());

/** Runs a command; with its complaints in the message if it does not end with this status. */
async function weft(status: number, ...words: string[]): Promise<Ending> {
  const ending = await daemon.weft(...words);
  expect(ending.status, `weft ${words.join(' ')}: ${ending.stdout}${ending.stderr}`).toBe(status);
  return ending;
}

/** Runs a command to its good end where no daemon answers. */
async function alone(...words: string[]): Promise<Ending> {
  const nobody = { WEFT_SOCKET: join(testbed.directory, 'nobody.sock') };
  const ending = await new Child(undefined, [process.execPath, WEFT_ENTRY, ...words], nobody).end();
  expect(ending.status, `weft ${words.join(' ')}: ${ending.stdout}${ending.stderr}`).toBe(0);
  return ending;
}

/** What a command prints for a program: one line of JSON on stdout, nothing on stderr. */
async function json<Result>(...words: string[]): Promise<Result> {
  const { stdout, stderr } = await weft(0, ...words, '--json');
  expect({ stderr, lines: stdout.trimEnd().split('\n').length }).toEqual({ stderr: '', lines: 1 });
  return JSON.parse(stdout) as Result;
}

/** What a refused command says for a program: faults on stderr, nothing on stdout. */
async function faults(status: number, ...words: string[]): Promise<ErrorsShape['errors']> {
  const { stdout, stderr } = await weft(status, ...words, '--json');
  expect(stdout).toBe('');
  const { errors } = JSON.parse(stderr) as ErrorsShape;
  for (const fault of errors) expect(fault).toMatchObject({ code: anyText, message: anyText });
  expect(errors.length).toBeGreaterThan(0);
  return errors;
}

function file(name: string, content: string | JsonObject): string {
  const path = join(testbed.directory, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

/** Index of the first captured frame that is addressed to this machine alone. */
function numberTo(machine: Machine, pcap: string): number {
  const { frames } = readCapture(readFileSync(pcap));
  const index = frames.findIndex(({ octets }) => macText(octets) === machine.mac);
  expect(index, 'a frame to the machine').toBeGreaterThanOrEqual(0);
  return index;
}

describe('looking', () => {
  test('status says what runs', async () => {
    expect(await json('status')).toMatchObject({
      version: anyText,
      uptimeSeconds: anyNumber,
      pid: daemon.pid,
      ready: true,
      io: expect.stringMatching(/^(uring|poll)$/),
      ioReason: anyText,
      workers: [{ index: 0, state: 'running', restarts: 0, framesPerSecond: anyNumber, busyShare: anyNumber }],
      ports: { up: 3, down: 0, waiting: 1 },
    });
    expect((await weft(0, 'status')).stdout).toMatch(/ready[\s\S]*3 up, 0 down, 1 waiting/);
  });

  test('stats counts every frame, for all ports or one', async () => {
    const numbers = { frames: anyNumber, bytes: anyNumber, dropped: anyNumber };
    const rx = { ...numbers, forwarded: anyNumber, consumed: anyNumber };
    const { ports, workers } = await json<StatsResult>('stats');
    expect(ports.map(({ name }) => name).sort()).toEqual(['fw', 'up', 'vm1', 'vm2']);
    for (const port of ports) expect(port).toMatchObject({ rx, tx: { ...numbers, generated: anyNumber } });
    expect(workers).toHaveLength(1);
    const alone = await json<StatsResult>('stats', 'vm1');
    expect(alone.ports.map(({ name }) => name)).toEqual(['vm1']);
    expect(alone.ports[0]?.rx.frames).toBeGreaterThan(0);
    expect((await weft(0, 'stats')).stdout).toMatch(/vm1/);
    expect(await faults(1, 'stats', 'nobody')).toMatchObject([{ code: 'not-found' }]);
  });

  test('port list and show have trunks, natives and why a port waits', async () => {
    const counters = { rxFrames: anyNumber, rxBytes: anyNumber, txFrames: anyNumber, txBytes: anyNumber };
    const common = { ...counters, rxDrops: anyNumber, txDrops: anyNumber, mtu: 1500 };
    const rows = await json<PortRow[]>('port', 'list');
    expect(rows.find(({ name }) => name === 'vm1')).toMatchObject({
      ...common,
      kind: 'tap',
      device: 'tap-vm1',
      network: 'red',
      state: 'up',
      mac: anyText,
    });
    expect(rows.find(({ name }) => name === 'fw')).toMatchObject({
      ...common,
      network: null,
      trunk: [{ network: 'red', vlan: 7 }],
      native: 'lab',
    });
    expect(rows.find(({ name }) => name === 'up')).toMatchObject({
      network: null,
      trunk: [{ network: 'red', vlan: 10 }],
      state: 'waiting',
      reason: 'no interface veth-up',
    });
    expect((await weft(0, 'port', 'list')).stdout).toContain('waiting: no interface veth-up');
    expect(await json('port', 'show', 'vm1')).toMatchObject({ name: 'vm1', config: { kind: 'tap', network: 'red' } });
    expect((await weft(0, 'port', 'show', 'vm1')).stdout).toContain('tap-vm1');
    expect(await faults(1, 'port', 'show', 'vm9')).toMatchObject([{ code: 'not-found' }]);
  });

  test('network list and show have types, ids and ports', async () => {
    const rows = await json<{ name: string; ports: string[] }[]>('network', 'list');
    expect(rows.find(({ name }) => name === 'red')).toMatchObject({ type: 'vlan', id: 10, mtu: 1500 });
    expect(
      rows
        .find(({ name }) => name === 'red')
        ?.ports.slice()
        .sort(),
    ).toEqual(['fw', 'up', 'vm1', 'vm2']);
    expect(await json('network', 'show', 'lab')).toMatchObject({ name: 'lab', type: 'local', ports: ['fw'] });
    expect((await weft(0, 'network', 'list')).stdout).toMatch(/red/);
    await faults(1, 'network', 'show', 'nowhere');
  });

  test('drops tells reasons, counts and the last frame, and trace explains that very frame', async () => {
    const frame = probeFrame(1, one.mac, 'ff:ff:ff:ff:ff:ff', '8100:99');
    const station = await testbed.peer('one', 'station', 'eth0').ready();
    station.write(`${frame.toString('hex')}\n`);
    // Others may have died while the machines came up; this one is told by its port and reason.
    const isIt = (row: DropRow) => row.port === 'vm1' && row.reason === 'vlan_not_allowed';
    await until('the drop is counted', async () => (await daemon.drops()).some(isIt));
    station.kill();
    const row = (await json<DropRow[]>('drops')).find(isIt);
    const lastFrame = { hex: frame.toString('hex'), atSeconds: anyNumber };
    expect(row).toEqual({ reason: 'vlan_not_allowed', port: 'vm1', of: 'frame', count: 1, text: anyText, lastFrame });
    expect((await weft(0, 'drops')).stdout).toContain('vlan_not_allowed');
    const trace = await json<TraceResult>('trace', '--port', 'vm1', row?.lastFrame?.hex ?? '');
    expect(trace).toMatchObject({ verdict: 'drop', reason: 'vlan_not_allowed', outputs: [] });
    expect(trace.stages.at(-1)).toMatchObject({ stage: anyText, decision: 'drop', text: anyText });
  });

  test('drops --watch prints what grows, until its reader is gone', async () => {
    const watch = testbed.start('s', [
      process.execPath,
      WEFT_ENTRY,
      'drops',
      '--watch',
      '--json',
      '--socket',
      daemon.socket,
    ]);
    const lines: string[] = [];
    watch.onLine((line) => lines.push(line));
    const station = await testbed.peer('two', 'station', 'eth0').ready();
    await until('a drop is told', () => {
      station.write(`${probeFrame(2, two.mac, 'ff:ff:ff:ff:ff:ff', '8100:98').toString('hex')}\n`);
      return lines.some((line) => line.includes('vlan_not_allowed') && line.includes('vm2'));
    });
    station.kill();
    watch.signal('SIGINT');
    expect((await watch.end()).status).toBe(0);
  });

  test('trace tells every stage and output, of a description, of hex and of a captured frame', async () => {
    const described = await json<TraceResult>('trace', '--port', 'vm1', `arp who-has ${two.ipv4} tell ${one.ipv4}`);
    expect(described).toMatchObject({
      verdict: 'flood',
      outputs: expect.arrayContaining([{ port: 'fw', tags: [anyText] }]),
    });
    for (const stage of described.stages)
      expect(stage).toMatchObject({ stage: anyText, decision: anyText, text: anyText });
    const hex = probeFrame(3, one.mac, two.mac, '').toString('hex');
    expect(await json('trace', '--port', 'vm1', hex)).toMatchObject({
      verdict: 'forward',
      outputs: [{ port: 'vm2', tags: [] }],
    });
    const pcap = join(testbed.directory, 'one.pcap');
    const capture = await one.peer('capture', 'eth0', pcap).ready();
    await two.expectPings(one.ipv4, '56');
    await capture.stop();
    // What vm2 happens to ask everybody (ARP, neighbour discovery) may have been captured before its pings.
    const own = `pcap:${pcap}#${1 + numberTo(one, pcap)}`;
    expect(await json('trace', '--port', 'vm2', own)).toMatchObject({ verdict: 'forward' });
    await faults(2, 'trace', '--port', 'vm2', `pcap:${pcap}`);
    expect((await weft(0, 'trace', '--port', 'vm1', hex)).stdout).toContain('FORWARDED to vm2 (untagged)');
    await faults(1, 'trace', '--port', 'vm9', hex);
    await faults(1, 'trace', '--port', 'vm1', 'nonsense');
    await faults(2, 'trace', hex);
  });

  test('top prints one picture where there is no terminal', async () => {
    expect((await weft(0, 'top')).stdout).toMatch(/vm1[\s\S]*vm2|vm2[\s\S]*vm1/);
    expect(await json('top')).toMatchObject({
      status: { ready: true },
      ports: expect.any(Array),
      drops: expect.any(Array),
    });
  });
});

describe('the FDB', () => {
  test('lists, pins, forgets and flushes stations', async () => {
    const rows = await json<FdbRow[]>('fdb', 'list');
    expect(rows).toContainEqual({ network: 'red', mac: one.mac, port: 'vm1', static: false, ageSeconds: anyNumber });
    const pinned = { network: 'red', mac: '52:54:00:00:00:99', port: 'vm2', static: true, ageSeconds: anyNumber };
    expect(await json('fdb', 'add', 'red', pinned.mac, 'vm2')).toEqual(pinned);
    expect(await json<FdbRow[]>('fdb', 'list', '--network', 'red', '--port', 'vm2')).toContainEqual(pinned);
    expect(await json('fdb', 'list', '--network', 'lab')).toEqual([]);
    expect((await json<FdbRow[]>('fdb', 'list', '--limit', '1')).length).toBe(1);
    expect((await json<{ flushed: number }>('fdb', 'flush', '--port', 'vm1')).flushed).toBeGreaterThan(0);
    expect(await json<FdbRow[]>('fdb', 'list')).toContainEqual(pinned);
    expect(await json('fdb', 'remove', 'red', pinned.mac)).toMatchObject({ mac: pinned.mac });
    await faults(1, 'fdb', 'remove', 'red', pinned.mac);
    await faults(1, 'fdb', 'add', 'lab', pinned.mac, 'vm2');
    await faults(2, 'fdb', 'add', 'red', 'nonsense', 'vm2');
  });
});

describe('changing', () => {
  test('ports are added, set, taken back to defaults and removed; every refusal says where and changes nothing', async () => {
    const added = await json<ChangeResult>('port', 'add', 'vm3', 'kind=tap', 'device=tap-vm3', 'network=red');
    expect(added).toMatchObject({ applied: true, changes: [{ path: 'ports.vm3', op: 'add', to: { kind: 'tap' } }] });
    expect(testbed.ip('s', '-o', 'link')).toContain('tap-vm3');
    expect(await json('port', 'set', 'vm3', 'storm.broadcast=500pps', 'isolated=true')).toMatchObject({
      changes: expect.arrayContaining([{ path: 'ports.vm3.isolated', op: 'change', from: false, to: true }]),
    });
    expect(await json('port', 'set', 'vm3', 'isolated=null')).toMatchObject({
      changes: [{ path: 'ports.vm3.isolated', op: 'change', from: true, to: false }],
    });
    expect(await json('port', 'set', 'vm3', 'network=null', 'trunk=["red",{"network":"lab","vlan":9}]')).toMatchObject({
      applied: true,
    });
    expect(await json<PortRow>('port', 'show', 'vm3')).toMatchObject({
      network: null,
      trunk: [
        { network: 'red', vlan: 10 },
        { network: 'lab', vlan: 9 },
      ],
    });
    expect(await faults(1, 'port', 'add', 'vm3', 'kind=tap', 'network=red')).toMatchObject([{ code: 'exists' }]);
    expect(await faults(1, 'port', 'set', 'vm3', 'native=nowhere')).toMatchObject([{ path: 'ports.vm3.native' }]);
    await faults(2, 'port', 'set', 'vm3', 'nonsense=1');
    await faults(2, 'port', 'set', 'vm3');
    const both = await faults(1, 'port', 'add', 'vm4', 'kind=tap', 'network=nowhere', 'device=much-too-long-a-name');
    expect(both.map(({ path }) => path).sort()).toEqual(['ports.vm4.device', 'ports.vm4.network']);
    expect(await json('port', 'remove', 'vm3')).toMatchObject({ changes: [{ path: 'ports.vm3', op: 'remove' }] });
    expect(testbed.ip('s', '-o', 'link')).not.toContain('tap-vm3');
    await faults(1, 'port', 'remove', 'vm3');
  });

  test('networks are added, set and removed, but not while a port carries them', async () => {
    expect(await json('network', 'add', 'blue', 'type=vlan', 'id=20', 'uplink=up')).toMatchObject({ applied: true });
    expect(await json('port', 'show', 'up')).toMatchObject({
      trunk: expect.arrayContaining([{ network: 'blue', vlan: 20 }]),
    });
    expect(await json('network', 'set', 'blue', 'macAge=5s')).toMatchObject({
      changes: [{ path: 'networks.blue.macAge', op: 'change', from: '300s', to: '5s' }],
    });
    await faults(1, 'network', 'add', 'green', 'type=vlan', 'id=20', 'uplink=up');
    await faults(1, 'network', 'set', 'blue', 'id=4095');
    const inUse = await faults(1, 'network', 'remove', 'red');
    expect(inUse.map(({ path }) => path).sort()).toEqual(
      expect.arrayContaining(['ports.vm1.network', 'ports.vm2.network']),
    );
    expect(await json('network', 'remove', 'blue')).toMatchObject({ applied: true });
  });

  test('apply, diff, show and save agree on what runs', async () => {
    const saved = join(testbed.directory, 'saved.yaml');
    await weft(0, 'config', 'save', saved);
    expect(parse(readFileSync(saved, 'utf8'))).toEqual(await json('config', 'show'));
    expect(parse((await weft(0, 'config', 'show')).stdout)).toEqual(await json('config', 'show'));
    expect(await json('config', 'diff', saved)).toEqual({ changes: [], applied: false });
    const ports = { ...(config.ports as JsonObject), extra: { kind: 'tap', device: 'tap-extra', network: 'lab' } };
    const more = file('more.json', { ...config, ports });
    const expected = [{ path: 'ports.extra', op: 'add', to: expect.objectContaining({ device: 'tap-extra' }) }];
    const differs = await weft(1, 'config', 'diff', more, '--json');
    expect(JSON.parse(differs.stdout)).toEqual({ changes: expected, applied: false });
    expect(await json('apply', more, '--dry-run')).toEqual({ changes: expected, applied: false });
    expect((await json<PortRow[]>('port', 'list')).map(({ name }) => name)).not.toContain('extra');
    expect(await json('apply', more)).toEqual({ changes: expected, applied: true });
    expect((await json<PortRow[]>('port', 'list')).map(({ name }) => name)).toContain('extra');
    expect(await json('apply', more)).toEqual({ changes: [], applied: true });
    expect((await weft(0, 'apply', saved)).stdout).toContain('ports.extra');
    expect((await json<PortRow[]>('port', 'list')).map(({ name }) => name)).not.toContain('extra');
  });

  test('a file with faults is refused as a whole, each fault with its path and line', async () => {
    const broken = file(
      'broken.yaml',
      [
        'version: 1',
        'networks:',
        '  red: { type: vlan, id: 5000, uplink: up }',
        'ports:',
        '  vm1: { kind: tap, network: rde }',
        '  vm2: { kind: tap, network: red, isolatd: true }',
        '  up: { kind: netdev, trunk: auto }',
      ].join('\n'),
    );
    const before = await json('config', 'show');
    const wanted = [
      { path: 'networks.red.id', line: 3 },
      { path: 'ports.vm2.isolatd', line: 6 },
    ];
    for (const words of [
      ['check', broken],
      ['apply', broken],
      ['apply', broken, '--dry-run'],
      ['config', 'diff', broken],
    ]) {
      expect(await faults(1, ...words)).toEqual(
        expect.arrayContaining(wanted.map((fault) => expect.objectContaining(fault))),
      );
    }
    expect(await faults(1, 'check', broken)).toContainEqual(
      expect.objectContaining({ path: 'ports.vm1.network', line: 5 }),
    );
    const { stderr } = await weft(1, 'check', broken);
    expect(stderr).toContain('did you mean red?');
    expect(stderr).toContain('did you mean isolated?');
    expect(await json('config', 'show')).toEqual(before);
    await faults(2, 'check', join(testbed.directory, 'absent.yaml'));
    await faults(2, 'apply', join(testbed.directory, 'absent.yaml'));
    await weft(0, 'check', daemon.configFile);
  });
});

describe('around it', () => {
  test('help, version, schema and completion need no daemon', async () => {
    expect((await alone('--version')).stdout.trim()).toMatch(/^\d+\.\d+\.\d+/);
    expect((await alone('--help')).stdout).toMatch(/^ +trace +\S/m);
    const schema = JSON.parse((await alone('schema')).stdout) as JsonObject;
    expect(schema.properties).toMatchObject({ networks: {}, ports: {} });
    const words = [
      'apply',
      'check',
      'config',
      'daemon',
      'drops',
      'fdb',
      'network',
      'port',
      'stats',
      'status',
      'top',
      'trace',
    ];
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { stdout } = await alone('completion', shell);
      for (const word of words) expect(stdout).toContain(word);
    }
    for (const word of words) expect((await alone(word, '--help')).stdout).toContain(`weft ${word}`);
    expect((await alone('check', daemon.configFile)).stderr).toBe('');
    await weft(2, 'completion', 'tcsh');
  });

  test('wrong usage is 2, no daemon is 3', async () => {
    await faults(2, 'frobnicate');
    await faults(2, 'port', 'list', '--bogus');
    await faults(2, 'port', 'show');
    expect((await daemon.weft()).status).toBe(2);
    expect(await faults(3, 'status', '--socket', join(testbed.directory, 'nobody.sock'))).toMatchObject([
      { code: 'no-daemon' },
    ]);
    expect((await weft(3, 'status', '--socket', join(testbed.directory, 'nobody.sock'))).stderr).toContain('weft:');
  });

  test('completion asks the daemon for names', async () => {
    expect((await weft(0, 'complete', 'port')).stdout.trim().split('\n').sort()).toEqual(['fw', 'up', 'vm1', 'vm2']);
  });

  test('metrics and health are told to whoever asks on the address', async () => {
    const fetched = async (path: string) => {
      const script = `const r = await fetch('http://${METRICS}${path}'); console.log(r.status); console.log(await r.text())`;
      return (await testbed.start('s', [process.execPath, '--input-type=module', '-e', script]).end()).stdout;
    };
    const text = await fetched('/metrics');
    expect(text).toMatch(/^200\n/);
    expect(text).toMatch(/^weft_port_frames_total\{(?=.*port="vm1")(?=.*direction="rx").*\} [1-9]/m);
    expect(text).toMatch(/^weft_port_bytes_total\{(?=.*port="vm1")(?=.*direction="tx").*\} [1-9]/m);
    expect(text).toMatch(/^weft_drops_total\{(?=.*port="vm1")(?=.*reason="vlan_not_allowed").*\} 1$/m);
    expect(await fetched('/healthz')).toMatch(/^200\n/);
    expect(await fetched('/elsewhere')).toMatch(/^404\n/);
  });

  test('the control socket is its user’s alone', () => {
    expect(existsSync(daemon.socket)).toBe(true);
    expect(testbed.run('s', 'stat', '-c', '%a', daemon.socket).trim()).toBe('600');
  });

  test('every frame of all these tests is accounted for', async () => {
    await daemon.expectConservation();
  });
});
