import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nestingDepth, parseMessage } from '../../src/control/rpc-message.js';
import type { RpcServer } from '../../src/control/rpc-server.js';
import { CONTROL_CLIENTS_MAX, CONTROL_DEPTH_MAX, CONTROL_MESSAGE_SIZE_MAX } from '../../src/limits.js';
import { type RawClient, RpcFixture, request, until } from './rpc-fixture.js';

let fixture: RpcFixture;
let server: RpcServer;
beforeEach(async () => {
  fixture = new RpcFixture();
  server = await fixture.listen();
});
afterEach(() => fixture.end());

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const withParams = (params: string) => `{"jsonrpc":"2.0","id":1,"method":"status","params":${params}}`;

async function connected(count: number): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let index = 0; index < count; index++) {
    const client = fixture.raw();
    clients.push(client);
    await until(() => !client.socket.connecting, 'a connection');
  }
  await until(() => server.clientCount >= Math.min(count, CONTROL_CLIENTS_MAX), 'all clients accepted');
  return clients;
}

describe('a hostile message', () => {
  it.each([
    ['not JSON', 'hello', -32700],
    ['an unfinished object', '{"jsonrpc":"2.0"', -32700],
    ['NaN', withParams('{"a":NaN}'), -32700],
    ['a bare value', '42', -32600],
    ['a batch', `[${withParams('{}')}]`, -32600],
    ['no version', '{"id":1,"method":"status"}', -32600],
    ['a method that is no string', '{"jsonrpc":"2.0","id":1,"method":{}}', -32600],
    ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"status"}', -32600],
    ['an id of 1e400', '{"jsonrpc":"2.0","id":1e400,"method":"status"}', -32600],
    [
      'an id above 2^53, which would be echoed wrong',
      '{"jsonrpc":"2.0","id":9007199254740993,"method":"status"}',
      -32600,
    ],
    ['parameters in a list', withParams('[]'), -32602],
    ['parameters that are null', withParams('null'), -32602],
    ['a number of 1e400', '{"jsonrpc":"2.0","id":1,"method":"fdb.list","params":{"limit":1e400}}', -32602],
    ['a negative zero limit', '{"jsonrpc":"2.0","id":1,"method":"fdb.list","params":{"limit":-0}}', -32602],
    ['a method of the object prototype', '{"jsonrpc":"2.0","id":1,"method":"constructor"}', -32601],
    ['a method called __proto__', '{"jsonrpc":"2.0","id":1,"method":"__proto__"}', -32601],
    ['NULs in a name', '{"jsonrpc":"2.0","id":1,"method":"port.show","params":{"name":"vm\\u00001"}}', -32602],
    ['a lone surrogate in a name', '{"jsonrpc":"2.0","id":1,"method":"port.show","params":{"name":"\\ud800"}}', -32602],
    ['a NUL between tokens', `${withParams('{}')}\u0000`, -32700],
  ])('%s gets its error', async (_what, text, code) => {
    expect((await fixture.raw().ask(text)).error?.code).toBe(code);
    await fixture.expectServing();
  });

  it('that is not UTF-8 is refused', async () => {
    const answer = await fixture.raw().ask(Buffer.from('7b22ff227d', 'hex'));
    expect(answer.error?.code).toBe(-32700);
  });

  it('of depth 32 is taken, of depth 33 or 60,000 refused, brackets in strings not counted', async () => {
    const deepest = `{"jsonrpc":"2.0","id":1,"method":"port.add","params":{"name":"a","x":${nested(CONTROL_DEPTH_MAX - 2)}}}`;
    const client = fixture.raw();
    expect((await client.ask(deepest)).error).toBeUndefined();
    const deeper = await client.ask(withParams(`{"x":${nested(CONTROL_DEPTH_MAX - 1)}}`));
    expect(deeper.error).toMatchObject({ code: -32600, message: expect.stringContaining('deeper') });
    expect((await client.ask('['.repeat(60_000))).error?.code).toBe(-32600);
    expect((await client.ask(withParams(`{"x":"${'['.repeat(1000)}\\"{{"}`))).error?.code).toBe(-32602);
    await fixture.expectServing();
  });

  it('of exactly 64 KiB is taken and of one octet more refused, and the client can go on', async () => {
    const frame = request('trace', { port: 'vm1', frame: '' }).length;
    const padded = (size: number) => request('trace', { port: 'vm1', frame: 'icmp' }) + ' '.repeat(size - frame - 4);
    const client = fixture.raw();
    expect((await client.ask(padded(CONTROL_MESSAGE_SIZE_MAX))).result).toMatchObject({ verdict: 'drop' });
    const refused = await client.ask(padded(CONTROL_MESSAGE_SIZE_MAX + 1));
    expect(refused.error).toMatchObject({ code: -32600, message: expect.stringContaining('65536') });
    expect((await client.ask(request('status', {}, 'after'))).id).toBe('after');
  });

  it('with __proto__ and constructor changes no prototype and is served as if they were not there', async () => {
    const client = fixture.raw();
    expect((await client.ask(withParams('{"__proto__":{"polluted":1}}'))).result).toMatchObject({ pid: 4242 });
    const add =
      '{"name":"a","acl":{"__proto__":{"polluted":1},"ingress":"a1"},"constructor":{"prototype":{"polluted":1}}}';
    await client.ask(`{"jsonrpc":"2.0","id":1,"method":"port.add","params":${add}}`);
    const [, , config] = fixture.control.calls[0] as [string, string, Record<string, object>];
    expect(Object.hasOwn(config.acl!, '__proto__')).toBe(false);
    expect((config.acl as { polluted?: unknown }).polluted).toBeUndefined();
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    await fixture.expectServing();
  });

  it('with thousands of keys, or one key many times, is refused without harm', async () => {
    const many = `{${Array.from({ length: 8000 }, (_, index) => `"k${index}":1`).join()}}`.slice(0, 60_000);
    const whole = many.endsWith('}') ? many : `${many.slice(0, many.lastIndexOf(','))}}`;
    expect((await fixture.raw().ask(withParams(whole))).error?.code).toBe(-32602);
    const repeated = `{${Array.from({ length: 6000 }, () => '"a":1').join()}}`;
    expect((await fixture.raw().ask(withParams(repeated))).error?.code).toBe(-32602);
    await fixture.expectServing();
  });

  it('of any text or octets, 50,000 of them, is answered or refused and never throws', () => {
    const words = fc.constantFrom('jsonrpc', '2.0', 'id', 'method', 'params', 'status', '__proto__', 'name', '\u0000');
    const value = fc.letrec((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        fc.constant(null),
        fc.double(),
        words,
        fc.boolean(),
        fc.array(tie('node')),
        fc.dictionary(words, tie('node')),
      ),
    })).node;
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 64 }).map((octets) => Buffer.from(octets)),
      fc.string({ unit: 'binary', maxLength: 64 }).map((text) => Buffer.from(text)),
      value.map((json) => Buffer.from(JSON.stringify(json))),
      fc
        .record({ jsonrpc: fc.constant('2.0'), id: value, method: words, params: value })
        .map((json) => Buffer.from(JSON.stringify(json))),
    );
    fc.assert(
      fc.property(message, (octets) => {
        const parsed = parseMessage(octets);
        if (parsed.type === 'request') expect(typeof parsed.request.method).toBe('string');
        else expect([-32700, -32600, -32602]).toContain(parsed.failure.code);
      }),
      { numRuns: 50_000, seed: 2 },
    );
  });

  it('of valid JSON is measured as deep as it is', () => {
    const depthOf = (json: unknown): number =>
      typeof json !== 'object' || json === null ? 0 : 1 + Math.max(0, ...Object.values(json).map(depthOf));
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (json) => {
        expect(nestingDepth(Buffer.from(JSON.stringify(json)), 100)).toBe(depthOf(json));
      }),
    );
  });
});

describe('a hostile client', () => {
  it('that floods with 50,000 mutated requests harms nobody', async () => {
    const flood = fixture.raw();
    const valid = request('port.add', { name: 'a', kind: 'tap', network: 'red' });
    let state = 12_345;
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let count = 0; count < 50_000; count++) {
      const octets = Buffer.from(`${valid}\n`);
      for (let edits = random(4); edits >= 0; edits--) octets[random(octets.length)] = random(256);
      flood.socket.write(octets);
    }
    flood.socket.write(`\n${request('status', {}, 'last')}\n`);
    await until(() => flood.answers.at(-1)?.id === 'last', 'the last answer');
    expect(flood.answers.length).toBeGreaterThan(40_000);
    expect(new Set(flood.answers.map(({ error }) => error?.code)).size).toBeGreaterThan(3);
    await fixture.expectServing();
  });

  it('that sends 100,000 requests without reading is held back, and others are served meanwhile', async () => {
    const flood = fixture.raw();
    flood.socket.pause();
    const line = `${request('port.list')}\n`;
    for (let count = 0; count < 100; count++) flood.socket.write(line.repeat(1000));
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (let count = 0; count < 20; count++) await fixture.expectServing();
    // What it has not been able to send is still its own: the server reads no more than it may answer.
    expect(flood.socket.writableLength).toBeGreaterThan(0);
  });

  it('that never reads its answers is closed after a while, and its memory freed', async () => {
    await server.close();
    server = await fixture.listen({ stallMs: 200 });
    const client = fixture.raw();
    client.socket.pause();
    client.socket.write(`${request('port.list')}\n`.repeat(20_000));
    await until(() => server.clientCount === 0, 'the client closed');
    await fixture.expectServing();
  });

  it('that streams but never reads is closed, and its subscription ended', async () => {
    const client = fixture.raw();
    await client.ask(request('drops', { watch: true }));
    client.socket.pause();
    const rows = Array.from({ length: 1000 }, () => fixture.control.dropRows[0]!);
    for (let count = 0; count < 200 && fixture.control.subscribers.size > 0; count++) {
      for (const notify of [...fixture.control.subscribers]) notify(rows);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(fixture.control.subscribers.size).toBe(0);
    await until(() => server.clientCount === 0, 'the client closed');
  });

  it('that sends megabytes without a newline is cut off', async () => {
    const client = fixture.raw();
    const piece = 'x'.repeat(256 * 1024);
    for (let count = 0; count < 40 && !client.isClosed; count++) {
      client.socket.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => client.isClosed, 'the connection cut');
    await fixture.expectServing();
  });

  it('that stops in the middle of a message, or sends an octet at a time, keeps nobody waiting', async () => {
    const half = fixture.raw();
    half.socket.write(request('status').slice(0, 20));
    const slow = fixture.raw();
    for (const octet of request('status').slice(0, 30)) slow.socket.write(octet);
    await fixture.expectServing();
    expect([half.isClosed, slow.isClosed]).toEqual([false, false]);
  });

  it('that goes away before its answer costs nothing', async () => {
    let finish = () => {};
    fixture.control.beforeStatus = () => new Promise((resolve) => (finish = resolve));
    const client = fixture.raw();
    client.socket.write(`${request('status')}\n`);
    await until(() => server.clientCount === 1, 'the client accepted');
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.socket.destroy();
    finish();
    fixture.control.beforeStatus = async () => {};
    await fixture.expectServing();
    await until(() => server.clientCount === 0, 'both gone');
  });

  it('among 1,000 idle ones does not keep a good client from its answer', async () => {
    for (let round = 0; round < 10; round++) {
      await connected(100);
      await fixture.expectServing();
    }
    expect(server.clientCount).toBeLessThanOrEqual(CONTROL_CLIENTS_MAX);
  });

  it('that is the 65th closes the longest idle one, not one that streams or asked lately', async () => {
    const clients = await connected(CONTROL_CLIENTS_MAX);
    const [streaming, active, victim] = clients as [RawClient, RawClient, RawClient];
    await streaming.ask(request('drops', { watch: true }));
    await active.ask(request('status'));
    const newcomer = fixture.raw();
    await newcomer.ask(request('status'));
    await until(() => victim.isClosed, 'the longest idle one closed');
    expect(clients.filter(({ isClosed }) => isClosed)).toEqual([victim]);
  });

  it('is told to wait when all 64 are streaming', async () => {
    const clients = await connected(CONTROL_CLIENTS_MAX);
    for (const client of clients) await client.ask(request('drops', { watch: true }));
    const newcomer = fixture.raw();
    await until(() => newcomer.isClosed, 'the newcomer refused');
    expect(newcomer.answers[0]?.error).toMatchObject({ code: -32000, data: { code: 'limit' } });
    expect(clients.some(({ isClosed }) => isClosed)).toBe(false);
  });

  it('has a bounded number of streams', async () => {
    const client = fixture.raw();
    for (let count = 0; count < 8; count++)
      expect((await client.ask(request('drops', { watch: true }))).error).toBeUndefined();
    expect((await client.ask(request('drops', { watch: true }))).error).toMatchObject({
      code: -32000,
      data: { code: 'limit' },
    });
    expect(fixture.control.subscribers.size).toBe(8);
  });

  it('that begins many documents keeps no other from sending one', async () => {
    const client = fixture.raw();
    for (let count = 0; count < 100; count++) await client.ask(request('document.begin'));
    const { RpcClient } = await import('../../src/control/rpc-client.js');
    const good = await RpcClient.connect(fixture.path);
    const upload = await good.sendDocument('version: 1');
    expect(await good.call('config.diff', { upload })).toMatchObject({ applied: false });
    good.close();
  });
});
