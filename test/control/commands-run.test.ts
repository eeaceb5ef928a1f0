import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CliOptions, type Outcome, runCli } from './cli-fixture.js';
import {
  fakeDrops,
  fakeNeighbors,
  fakeNetworks,
  fakePorts,
  fakeRouter,
  fakeTrace,
  fakeTunnels,
} from './fake-switch.js';
import { RpcFixture, until } from './rpc-fixture.js';

let fixture: RpcFixture;
let directory: string;
beforeEach(async () => {
  fixture = new RpcFixture();
  directory = mkdtempSync(join(tmpdir(), 'weft-cli-'));
  await fixture.listen();
});
afterEach(async () => {
  rmSync(directory, { recursive: true, force: true });
  await fixture.end();
});

const weft = (words: string[], options: CliOptions = {}) => runCli(words, { socket: fixture.path, ...options });
const json = async (...words: string[]): Promise<unknown> => {
  const { status, out, err } = await weft([...words, '--json']);
  expect({ status, err }).toEqual({ status: 0, err: '' });
  return JSON.parse(out);
};
const errorsOf = ({ err }: Outcome) =>
  (JSON.parse(err) as { errors: { code: string; message: string; path?: string }[] }).errors;

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

describe('--json', () => {
  it('prints exactly the shapes that tools rely on, and nothing else', async () => {
    expect(await json('port', 'list')).toEqual(fakePorts);
    expect(await json('network', 'list')).toEqual(fakeNetworks);
    expect(await json('drops')).toEqual(fakeDrops);
    expect(await json('fdb', 'list')).toEqual(fixture.control.fdb);
    expect(await json('trace', '--port', 'vm1', 'icmp')).toEqual(fakeTrace);
    expect(await json('status')).toEqual(JSON.parse(JSON.stringify(await fixture.control.status())));
    expect(await json('stats', 'vm1')).toMatchObject({
      ports: [{ name: 'vm1', rx: { frames: 1000, forwarded: 997 } }],
    });
    expect(await json('tunnel', 'list')).toEqual(fakeTunnels);
    expect(await json('router', 'list')).toEqual(await fixture.control.routerList());
    expect(await json('router', 'show', 'r1')).toEqual(fakeRouter);
    expect(await json('neighbor', 'list')).toEqual(fakeNeighbors);
    expect(await json('acl', 'list')).toEqual(await fixture.control.aclList());
    expect(await json('acl', 'show', 'a1')).toEqual(await fixture.control.aclShow('a1'));
    expect(await json('tunnel', 'show', 'overlay')).toEqual(await fixture.control.tunnelShow('overlay'));
    expect(await json('config', 'show')).toEqual(await fixture.control.configShow());
    expect(await json('top')).toMatchObject({ status: { pid: 4242 }, ports: fakePorts, drops: fakeDrops });
  });

  it('puts errors on stderr in one form, whatever went wrong', async () => {
    const refused = await weft(['port', 'show', 'vm9', '--json']);
    expect([refused.status, refused.out]).toEqual([1, '']);
    expect(errorsOf(refused)).toEqual([
      { code: 'not-found', message: 'no port named vm9', path: 'ports.vm9', fix: 'See: weft port list' },
    ]);
    const wrong = await weft(['port', 'lsit', '--json']);
    expect([wrong.status, wrong.out, errorsOf(wrong)[0]?.code]).toEqual([2, '', 'bad-request']);
    const nobody = await weft(['status', '--json', '--socket', join(directory, 'none.sock')]);
    expect([nobody.status, nobody.out, errorsOf(nobody)[0]?.code]).toEqual([3, '', 'no-daemon']);
  });

  it('is one line for a program and indented for a person', async () => {
    expect((await weft(['status', '--json'])).out).not.toContain('\n');
    expect((await weft(['status', '--json'], { interactive: true })).out).toContain('\n  "pid": 4242');
  });
});

describe('the exit status', () => {
  it.each<[string, number, string[]]>([
    ['0 when done', 0, ['status']],
    ['1 when the daemon refuses', 1, ['port', 'show', 'vm9']],
    ['2 without a command', 2, []],
    ['2 for an unknown command', 2, ['stauts']],
    ['2 for a noun alone', 2, ['port']],
    ['2 for an unknown verb', 2, ['port', 'lst']],
    ['2 for an unknown option', 2, ['status', '--jsn']],
    ['2 for a missing argument', 2, ['port', 'show']],
    ['2 for one argument too many', 2, ['status', 'now']],
    ['2 for a missing option', 2, ['trace', 'icmp']],
    ['2 for an option without its value', 2, ['fdb', 'list', '--network']],
    ['2 for a number that is none', 2, ['fdb', 'list', '--limit', '-1']],
    ['2 for a name that can be none', 2, ['port', 'show', 'VM 1']],
    ['2 for a MAC address that is none', 2, ['fdb', 'add', 'red', 'zz', 'vm1']],
    ['2 for a pair without =', 2, ['port', 'add', 'vm9', 'tap']],
    ['2 for an unknown configuration key', 2, ['port', 'add', 'vm9', 'knid=tap']],
    ['2 for the same key twice', 2, ['port', 'set', 'vm1', 'mtu=1500', 'mtu=9000']],
    ['2 for a file that is not there', 2, ['apply', '/nonexistent.yaml']],
    ['2 for a daemon option out of its range', 2, ['daemon', '--config', 'x', '--workers', '99']],
    ['0 for help', 0, ['port', 'add', '--help']],
    ['0 for the version', 0, ['--version']],
  ])('is %s', async (_what, status, words) => {
    const outcome = await weft(words);
    expect(outcome.status).toBe(status);
    if (status === 0) expect(outcome.err).toBe('');
    else expect([outcome.out, outcome.err === '']).toEqual(['', false]);
  });

  it('is 3 when no daemon answers, and says how to start one', async () => {
    const outcome = await weft(['port', 'list'], { socket: join(directory, 'none.sock') });
    expect([outcome.status, outcome.out]).toEqual([3, '']);
    expect(outcome.err).toContain('weft daemon --config');
  });

  it('is 3 when the daemon goes away in the middle', async () => {
    const dying = createServer((socket) => socket.once('data', () => socket.destroy()));
    const socket = join(directory, 'dying.sock');
    await new Promise<void>((resolve) => dying.listen(socket, resolve));
    const { status, out, err } = await weft(['status'], { socket });
    dying.close();
    expect([status, out]).toEqual([3, '']);
    expect(err).toContain('closed the connection before it answered');
  });

  it('of config diff is 0 when equal and 1 when not', async () => {
    expect((await weft(['config', 'diff', file('same.yaml', 'same: 1')])).status).toBe(0);
    expect((await weft(['config', 'diff', file('other.yaml', 'other: 1')])).status).toBe(1);
  });
});

describe('suggestions', () => {
  it.each([
    [['prot', 'list'], 'port'],
    [['port', 'shwo', 'x'], 'show'],
    [['drops', '--wacth'], '--watch'],
    [['port', 'set', 'vm1', 'netwrok=red'], 'network'],
    [['port', 'set', 'vm1', 'acl.ingres=a1'], 'ingress'],
    [['network', 'add', 'n', 'tpye=local'], 'type'],
  ])('for %j name %s', async (words, meant) => {
    expect((await weft(words)).err).toMatch(new RegExp(`did you mean ${meant}\\?`, 'i'));
  });
});

describe('add and set', () => {
  it('send nested keys, lists and JSON as configuration', async () => {
    await weft([
      'port',
      'add',
      'fw',
      'kind=tap',
      'trunk=["red",{"network":"blue","vlan":7}]',
      'native=10',
      'acl.ingress=a1',
    ]);
    await weft([
      'port',
      'set',
      'vm1',
      'groups=web,db',
      'storm.broadcast=500pps',
      'isolated=true',
      'mtu=9000',
      'mac=null',
    ]);
    await weft(['network', 'set', 'lab', 'macAge=60s', 'macLimit=100']);
    expect(fixture.control.calls).toEqual([
      [
        'portAdd',
        'fw',
        { kind: 'tap', trunk: ['red', { network: 'blue', vlan: 7 }], native: '10', acl: { ingress: 'a1' } },
      ],
      [
        'portSet',
        'vm1',
        { groups: ['web', 'db'], storm: { broadcast: '500pps' }, isolated: true, mtu: 9000, mac: null },
      ],
      ['networkSet', 'lab', { macAge: '60s', macLimit: 100 }],
    ]);
  });

  it.each([
    ['trunk=auto', { trunk: 'auto' }],
    ['trunk=red', { trunk: ['red'] }],
    ['groups=', { groups: [] }],
    ['groups=[]', { groups: [] }],
    ['addresses=10.0.0.5/24', { addresses: ['10.0.0.5/24'] }],
    ['tunnel.allowed=100,200', { tunnel: { allowed: [100, 200] } }],
    ['network=10', { network: '10' }],
    ['device=a=b', { device: 'a=b' }],
  ])('read %s', async (pair, config) => {
    await weft(['port', 'set', 'vm1', pair]);
    expect(fixture.control.calls).toEqual([['portSet', 'vm1', config]]);
  });

  it('lower the letters of a MAC address', async () => {
    await weft(['fdb', 'add', 'red', '52-54-00-AB-CD-EF', 'vm1']);
    expect(fixture.control.calls).toEqual([['fdbAdd', 'red', '52:54:00:ab:cd:ef', 'vm1']]);
  });

  it('takes the far end of a tunnel, which must be an address', async () => {
    const pinned = await weft(['fdb', 'add', 'red', '52:54:00:ab:cd:ef', 'u0', '2001:db8::2']);
    expect([pinned.status, pinned.out]).toEqual([0, '52:54:00:ab:cd:ef in red is pinned to u0 at 2001:db8::2']);
    const refused = await weft(['fdb', 'add', 'red', '52:54:00:ab:cd:ef', 'u0', 'host2']);
    expect([refused.status, refused.err]).toEqual([2, expect.stringContaining('expected an IP address')]);
    expect(fixture.control.calls).toEqual([['fdbAdd', 'red', '52:54:00:ab:cd:ef', 'u0', '2001:db8::2']]);
  });
});

describe('apply and config', () => {
  it('apply sends a file that is larger than a message, its name with it', async () => {
    const text = `# ${'x'.repeat(300_000)}\nversion: 1\n`;
    const path = file('large.yaml', text);
    const { status, out } = await weft(['apply', path, '--dry-run']);
    expect([status, out.split('\n').at(-1)]).toEqual([0, '3 changes, not applied']);
    expect(fixture.control.calls).toEqual([['configApply', { text, file: path }, true]]);
  });

  it('apply reads stdin for -', async () => {
    await weft(['apply', '-'], { input: 'version: 1' });
    expect(fixture.control.calls).toEqual([['configApply', { text: 'version: 1', file: '-' }, false]]);
  });

  it('apply prints every fault with its path and line', async () => {
    const outcome = await weft(['apply', file('a.yaml', 'broken')]);
    expect(outcome).toEqual({
      status: 1,
      out: '',
      err: 'weft: ports.vm1.acl.ingress, line 12: no ACL named a3 (did you mean a1?)\nweft: ports.vm1.colour, line 13: unknown key',
    });
  });

  it('config save writes YAML, or JSON after the name, and leaves no draft', async () => {
    const yaml = join(directory, 'saved.yaml');
    const asJson = join(directory, 'saved.json');
    expect((await weft(['config', 'save', yaml])).status).toBe(0);
    expect((await weft(['config', 'save', asJson])).status).toBe(0);
    expect(readFileSync(yaml, 'utf8')).toBe(`${(await weft(['config', 'show'])).out}\n`);
    expect(JSON.parse(readFileSync(asJson, 'utf8'))).toEqual(await fixture.control.configShow());
    expect(readdirSync(directory).sort()).toEqual(['saved.json', 'saved.yaml']);
    expect((await weft(['config', 'save', join(directory, 'none', 'x.yaml')])).status).toBe(2);
  });
});

describe('check and schema', () => {
  const valid = 'version: 1\nnetworks:\n  lab: { type: local }\nports:\n  vm1: { kind: tap, network: lab }\n';

  it('check says what a valid file holds, without a daemon', async () => {
    const options = { socket: join(directory, 'none.sock') };
    const path = file('a.yaml', valid);
    expect(await weft(['check', path], options)).toEqual({
      status: 0,
      out: `${path} is valid: 1 network, 1 port`,
      err: '',
    });
    const asJson = await weft(['check', path, '--json'], options);
    expect(JSON.parse(asJson.out)).toEqual({ valid: true, networks: 1, ports: 1 });
  });

  it('check prints every fault with path and line and exits 1', async () => {
    const path = file('a.yaml', `${valid}  vm2: { kind: tap, network: lba }\n  vm3: { kind: tpa, network: lab }\n`);
    const outcome = await weft(['check', path, '--json']);
    expect([outcome.status, outcome.out]).toEqual([1, '']);
    const faults = errorsOf(outcome);
    expect(faults).toEqual([
      expect.objectContaining({
        path: 'ports.vm2.network',
        line: 6,
        message: expect.stringContaining('did you mean lab?'),
      }),
      expect.objectContaining({ path: 'ports.vm3.kind', line: 7 }),
    ]);
  });

  it("check exits 2 for a file that can't be read", async () => {
    expect((await weft(['check', join(directory, 'none.yaml')])).status).toBe(2);
    expect((await weft(['check', directory])).status).toBe(2);
  });

  it('schema prints a JSON Schema that documents every key of a port', async () => {
    const { status, out } = await weft(['schema']);
    const schema = JSON.parse(out) as {
      properties: { ports: { additionalProperties: { properties: Record<string, { description?: string }> } } };
    };
    const keys = schema.properties.ports.additionalProperties.properties;
    expect(status).toBe(0);
    expect(Object.keys(keys)).toEqual(expect.arrayContaining(['kind', 'trunk', 'tunnel', 'storm']));
    for (const key of Object.values(keys)) expect(key.description).toBeTruthy();
  });
});

describe('lists that are longer than an answer', () => {
  it('are asked for in parts and printed whole', async () => {
    fixture.control.fdb = Array.from({ length: 25_000 }, (_, index) => ({
      network: 'red',
      mac: `52:54:00:${(index >> 16).toString(16).padStart(2, '0')}:${((index >> 8) & 255).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}`,
      port: 'vm1',
      static: false,
      ageSeconds: 1,
    }));
    expect(await json('fdb', 'list', '--network', 'red')).toEqual(fixture.control.fdb);
    expect(fixture.control.calls.map(([, selection]) => selection)).toEqual([
      { network: 'red', offset: 0, limit: 10_000 },
      { network: 'red', offset: 10_000, limit: 10_000 },
      { network: 'red', offset: 20_000, limit: 10_000 },
    ]);
    expect(await json('fdb', 'list', '--limit', '3', '--offset', '7')).toEqual(fixture.control.fdb.slice(7, 10));
  });
});

describe('trace', () => {
  /** A pcap file of two frames, little-endian, microseconds. */
  function capture(...frames: Buffer[]): Buffer {
    const header = Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex');
    const records = frames.map((frame) => {
      const record = Buffer.alloc(16);
      record.writeUInt32LE(frame.length, 8);
      record.writeUInt32LE(frame.length, 12);
      return Buffer.concat([record, frame]);
    });
    return Buffer.concat([header, ...records]);
  }

  it('sends the frame of a capture file that was asked for, in hex', async () => {
    const path = file('two.pcap', capture(Buffer.alloc(60, 0xa5), Buffer.alloc(64, 0x5a)));
    expect((await weft(['trace', '--port', 'vm1', `pcap:${path}#2`])).status).toBe(0);
    expect(fixture.control.calls).toEqual([['trace', 'vm1', '5a'.repeat(64)]]);
  });

  it.each([
    ['#3', /has 2 frames/],
    ['#0', /has 2 frames/],
    ['', /expected pcap:FILE#N/],
  ])('refuses pcap:FILE%s', async (number, message) => {
    const path = file('two.pcap', capture(Buffer.alloc(60, 0xa5), Buffer.alloc(64, 0x5a)));
    const { status, err } = await weft(['trace', '--port', 'vm1', `pcap:${path}${number}`]);
    expect(status).toBe(2);
    expect(err).toMatch(message);
  });

  it('refuses a file that is no capture', async () => {
    const { status, err } = await weft(['trace', '--port', 'vm1', `pcap:${file('x', 'hello world')}#1`]);
    expect([status, err.includes('not a capture file')]).toEqual([2, true]);
  });

  it('sends a super-frame that is longer than a message in pieces, and refuses more than a frame can be', async () => {
    const path = file('long.pcap', capture(Buffer.alloc(65_000, 0xa5), Buffer.alloc(65_601, 0xa5)));
    expect((await weft(['trace', '--port', 'vm1', `pcap:${path}#1`])).status).toBe(0);
    expect(fixture.control.calls).toEqual([['trace', 'vm1', 'a5'.repeat(65_000)]]);
    expect((await weft(['trace', '--port', 'vm1', `pcap:${path}#2`])).status).toBe(1);
  });

  it('sends a description as it was written, quoted or not', async () => {
    await weft(['trace', '--port', 'vm1', 'icmp', '192.0.2.1', '>', '192.0.2.2']);
    expect(fixture.control.calls).toEqual([['trace', 'vm1', 'icmp 192.0.2.1 > 192.0.2.2']]);
  });
});

describe('drops --watch', () => {
  it('prints what there is, then what grows and by how much, until the operator ends it', async () => {
    let stop = () => {};
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const printed: string[] = [];
    const running = weft(['drops', '--watch'], { stopped, printed });
    await until(() => fixture.control.subscribers.size === 1, 'the subscription');
    for (const notify of fixture.control.subscribers) notify([{ ...fakeDrops[0]!, count: 10 }]);
    await until(() => printed.join().includes('+7'), 'what grew is printed');
    stop();
    const { status, out } = await running;
    expect(status).toBe(0);
    expect(out).toContain('watching');
    expect(out.split('\n').at(-1)).toBe(
      'vm1  vlan_not_allowed  +7 (10 in all, of frame): The frame carries a VLAN that this port does not carry.',
    );
    await until(() => fixture.control.subscribers.size === 0, 'the end of the subscription');
  });
});

describe('the daemon and the demo', () => {
  it('get their options, with the defaults of the reference', async () => {
    const started: CliOptions['started'] = [];
    await weft(['daemon', '--config', 'a.yaml'], { started, environment: {} });
    await weft(
      [
        'daemon',
        '--config',
        'a.yaml',
        '--workers',
        '2',
        '--io',
        'poll',
        '--metrics',
        'off',
        '--log-level',
        'debug',
        '--state-dir',
        '/x',
        '--socket',
        '/y',
      ],
      { started },
    );
    await weft(['demo', '--fast', '--keep'], { started });
    const common = { config: 'a.yaml' };
    expect(started).toEqual([
      {
        ...common,
        workers: 'auto',
        io: 'auto',
        metrics: '127.0.0.1:9617',
        logLevel: 'info',
        socket: '/run/weft/control.sock',
      },
      { ...common, workers: 2, io: 'poll', metrics: 'off', logLevel: 'debug', stateDir: '/x', socket: '/y' },
      { json: false, fast: true, keep: true },
    ]);
  });
});
