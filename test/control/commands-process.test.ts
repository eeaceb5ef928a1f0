import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BuiltCli, buildCli } from './built-cli.js';
import { RpcFixture, until } from './rpc-fixture.js';

let built: BuiltCli;
let fixture: RpcFixture;
beforeAll(() => {
  built = buildCli();
});
afterAll(() => built.remove());
beforeEach(async () => {
  fixture = new RpcFixture();
  await fixture.listen();
});
afterEach(() => fixture.end());

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

function start(words: readonly string[], socket = fixture.path): ChildProcess {
  return spawn(process.execPath, [built.script, ...words], { env: { ...process.env, WEFT_SOCKET: socket } });
}

async function end(child: ChildProcess): Promise<Ended> {
  const texts = { out: '', err: '' };
  child.stdout?.on('data', (octets) => (texts.out += String(octets)));
  child.stderr?.on('data', (octets) => (texts.err += String(octets)));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, ...texts };
}

describe('the weft executable', () => {
  it('exits with the status of the command: 0, 1, 2, 3', async () => {
    const outcomes = await Promise.all([
      end(start(['port', 'list', '--json'])),
      end(start(['port', 'show', 'vm9'])),
      end(start(['prot'])),
      end(start(['status'], '/nonexistent/control.sock')),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([0, 1, 2, 3]);
    expect(JSON.parse(outcomes[0]!.out)).toHaveLength(2);
    expect(outcomes[0]!.err).toBe('');
    for (const { out, err } of outcomes.slice(1)) expect([out, err === '']).toEqual(['', false]);
  });

  it('prints the version of the package', async () => {
    expect(await end(start(['--version']))).toEqual({ status: 0, out: '0.1.0\n', err: '' });
  });

  it('is quiet when nobody reads on: weft fdb list | head', async () => {
    fixture.control.fdb = Array.from({ length: 50_000 }, (_, index) => ({
      network: 'red',
      mac: `52:54:00:${[16, 8, 0].map((shift) => ((index >> shift) & 255).toString(16).padStart(2, '0')).join(':')}`,
      port: 'vm1',
      static: false,
      ageSeconds: 1,
    }));
    const child = start(['fdb', 'list']);
    child.stdout?.once('data', () => child.stdout?.destroy());
    let err = '';
    child.stderr?.on('data', (octets) => (err += String(octets)));
    const [status] = (await once(child, 'exit')) as [number | null];
    expect({ status, err }).toEqual({ status: 0, err: '' });
  });

  it('writes all of a long output before it ends', async () => {
    fixture.control.fdb = Array.from({ length: 30_000 }, () => ({
      network: 'red',
      mac: '52:54:00:00:00:01',
      port: 'vm1',
      static: false,
      ageSeconds: 1,
    }));
    const { status, out } = await end(start(['fdb', 'list', '--json']));
    expect([status, (JSON.parse(out) as unknown[]).length]).toEqual([0, 30_000]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('ends drops --watch well on %s', async (signal) => {
    const child = start(['drops', '--watch']);
    const ended = end(child);
    await until(() => fixture.control.subscribers.size === 1, 'the subscription');
    await new Promise((resolve) => setTimeout(resolve, 50));
    child.kill(signal);
    expect(await ended).toMatchObject({ status: 0, err: '' });
    await until(() => fixture.control.subscribers.size === 0, 'the end of the subscription');
  });

  it('exits with 3 when the daemon ends while it watches', async () => {
    const server = await fixture.listen({ path: `${fixture.directory}/run/second.sock` });
    const child = start(['drops', '--watch'], `${fixture.directory}/run/second.sock`);
    const ended = end(child);
    await until(() => fixture.control.subscribers.size === 1, 'the subscription');
    await server.close();
    expect(await ended).toMatchObject({ status: 3, err: 'weft: the daemon went away\n' });
  });

  it.each(['q', '\u0003'])('gives the terminal back when top ends by the key %j', async (key) => {
    // script(1) of bsdutils, an essential package of Debian, gives it a terminal of its own.
    const command = `stty rows 24 cols 80; '${process.execPath}' '${built.script}' top; echo "status $?"; stty -a`;
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: { ...process.env, WEFT_SOCKET: fixture.path, SHELL: '/bin/sh' },
    });
    let out = '';
    child.stdout.on('data', (octets) => (out += String(octets)));
    const ended = once(child, 'close');
    await until(() => out.includes('q quits'), 'a picture');
    child.stdin.write(key);
    await until(() => out.includes('status '), 'the end of top');
    child.stdin.end();
    await ended;
    const [screen = '', after = ''] = out.split('\u001b[?25h\u001b[?1049l');
    expect(screen).toContain('\u001b[?1049h');
    expect(after).toContain('status 0');
    // The modes of a terminal that shows what is typed and sends signals.
    expect(after).toMatch(/[^-]icanon/);
    expect(after).toMatch(/[^-]isig/);
    expect(after).toMatch(/[^-]echo /);
  });
});
