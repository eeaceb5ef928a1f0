import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commands, rpcMethods } from '../../src/control/commands/registry.js';
import { RpcClient, type RpcError } from '../../src/control/rpc-client.js';
import { fakeDrops } from './fake-switch.js';
import { RpcFixture, request, until } from './rpc-fixture.js';

let fixture: RpcFixture;
beforeEach(async () => {
  fixture = new RpcFixture();
  await fixture.listen();
});
afterEach(() => fixture.end());

const refusalOf = (call: Promise<unknown>): Promise<RpcError> =>
  call.then(
    () => expect.unreachable('was not refused'),
    (error: unknown) => error as RpcError,
  );

describe('the control socket', () => {
  it('answers a method with its result and the id that was sent', async () => {
    const client = fixture.raw();
    const answer = await client.ask(request('port.list', {}, 'one'));
    expect(answer).toMatchObject({ jsonrpc: '2.0', id: 'one', result: [{ name: 'vm1' }, { name: 'fw' }] });
  });

  it.each([7, -1, 1.5, 'text', '\ud800', null])('echoes the id %j', async (id) => {
    expect((await fixture.raw().ask(request('status', {}, id))).id).toBe(id);
  });

  it('answers pipelined requests in their order', async () => {
    const client = fixture.raw();
    client.socket.write(
      Array.from({ length: 500 }, (_, id) => request('status', {}, id))
        .join('\n')
        .concat('\n'),
    );
    await until(() => client.answers.length === 500, '500 answers');
    expect(client.answers.map(({ id }) => id)).toEqual(Array.from({ length: 500 }, (_, id) => id));
  });

  it('takes a message that arrives octet by octet, and several in one piece', async () => {
    const client = fixture.raw();
    for (const octet of request('status', {}, 'slow')) {
      client.socket.write(octet);
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.socket.write(`\r\n\n  \n${request('status', {}, 'a')}\n${request('status', {}, 'b')}\n`);
    await until(() => client.answers.length === 3, 'three answers');
    expect(client.answers.map(({ id }) => id)).toEqual(['slow', 'a', 'b']);
  });

  it('serves a notification without an answer', async () => {
    const client = fixture.raw();
    client.socket.write('{"jsonrpc":"2.0","method":"port.remove","params":{"name":"vm1"}}\n');
    expect((await client.ask(request('status', {}, 'next'))).id).toBe('next');
    expect(fixture.control.calls).toEqual([['portRemove', 'vm1']]);
  });

  it('answers everything that was asked before the client closed its side', async () => {
    const client = fixture.raw(true);
    client.socket.end(`${request('status', {}, 1)}\n${request('port.list', {}, 2)}\n`);
    await until(() => client.isClosed || client.answers.length === 2, 'two answers');
    expect(client.answers.map(({ id }) => id)).toEqual([1, 2]);
    await until(() => client.isClosed, 'the end of the connection');
  });

  it('lists its methods with the schemas of their parameters', async () => {
    const client = await RpcClient.connect(fixture.path);
    const { methods } = (await client.call('rpc.discover')) as {
      methods: { name: string; summary: string; params: { type: string } }[];
    };
    const names = methods.map(({ name }) => name);
    for (const { name } of rpcMethods) expect(names).toContain(name);
    expect(names).toEqual(expect.arrayContaining(['rpc.discover', 'document.begin', 'document.append']));
    for (const method of methods)
      expect(method).toMatchObject({ summary: expect.stringMatching(/\.$/), params: { type: 'object' } });
    client.close();
  });

  it('has a method for every command that is not local', () => {
    const names = rpcMethods.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const local = ['daemon', 'top', 'demo', 'completion', 'complete', 'check', 'schema'];
    for (const { words } of commands.filter((command) => !local.includes(command.words))) {
      expect(names).toContain(words === 'apply' ? 'config.apply' : words.replaceAll(' ', '.'));
    }
  });

  it('refuses with the code, path and fix of the only fault', async () => {
    const client = await RpcClient.connect(fixture.path);
    const answer = await fixture.raw().ask(request('port.show', { name: 'vm9' }));
    expect(answer.error).toMatchObject({
      code: -32000,
      message: 'no port named vm9',
      data: { code: 'not-found', path: 'ports.vm9', fix: 'See: weft port list' },
    });
    const error = await refusalOf(client.call('port.show', { name: 'vm9' }));
    expect(error).toMatchObject({ rpcCode: -32000, faults: [{ code: 'not-found', path: 'ports.vm9' }] });
    client.close();
  });

  it('refuses with every fault when there are several', async () => {
    const answer = await fixture.raw().ask(request('config.apply', { document: 'broken: true', file: 'a.yaml' }));
    expect(answer.error).toMatchObject({
      code: -32000,
      data: {
        code: 'bad-config',
        errors: [
          { path: 'ports.vm1.acl.ingress', line: 12 },
          { path: 'ports.vm1.colour', line: 13 },
        ],
      },
    });
  });

  it('says which parameter is wrong and which was meant', async () => {
    const client = await RpcClient.connect(fixture.path);
    const wrongName = await refusalOf(client.call('fdb.list', { netwrok: 'red' }));
    expect(wrongName).toMatchObject({
      rpcCode: -32602,
      faults: [{ message: expect.stringContaining('did you mean network?') }],
    });
    const wrongType = await refusalOf(client.call('port.show', { name: 7 }));
    expect(wrongType).toMatchObject({ rpcCode: -32602, faults: [{ path: 'name' }] });
    const wrongMethod = await refusalOf(client.call('port.lst'));
    expect(wrongMethod).toMatchObject({ rpcCode: -32601, message: expect.stringContaining('did you mean port.list?') });
    client.close();
  });

  it('answers a defect with -32603, tells the daemon, and tells the client nothing of its inside', async () => {
    fixture.control.beforeStatus = async () => {
      throw new TypeError('secret detail');
    };
    const answer = await fixture.raw().ask(request('status'));
    expect(answer.error?.code).toBe(-32603);
    expect(JSON.stringify(answer)).not.toContain('secret');
    expect(fixture.defects).toHaveLength(1);
    fixture.control.beforeStatus = async () => {};
    fixture.defects.length = 0;
    await fixture.expectServing();
  });

  it('takes a document of several megabytes in pieces, characters of every width intact', async () => {
    const client = await RpcClient.connect(fixture.path);
    const text = `# ${'ä漢😀"\\\n'.repeat(200_000)}`;
    const upload = await client.sendDocument(text);
    await client.call('config.apply', { upload, file: 'large.yaml', dryRun: true });
    expect(fixture.control.calls).toEqual([['configApply', { text, file: 'large.yaml' }, true]]);
    const again = await refusalOf(client.call('config.apply', { upload, file: 'large.yaml' }));
    expect(again.faults[0]?.code).toBe('not-found');
    client.close();
  });

  it('takes a small document in one message, as text or as JSON', async () => {
    const client = await RpcClient.connect(fixture.path);
    await client.call('config.apply', { document: 'version: 1' });
    await client.call('config.diff', { document: { version: 1 } });
    expect(fixture.control.calls).toEqual([
      ['configApply', { text: 'version: 1', file: 'the document' }, false],
      ['configDiff', { text: '{"version":1}', file: 'the document' }],
    ]);
    expect((await refusalOf(client.call('config.apply', {}))).rpcCode).toBe(-32602);
    client.close();
  });

  it('refuses a document above 16 MiB', async () => {
    const client = await RpcClient.connect(fixture.path);
    const refused = await refusalOf(client.sendDocument('x'.repeat(16 * 1024 * 1024 + 1)));
    expect(refused.faults[0]).toMatchObject({ code: 'limit' });
    client.close();
    await fixture.expectServing();
  });

  it("keeps a client from another's document", async () => {
    const owner = await RpcClient.connect(fixture.path);
    const other = await RpcClient.connect(fixture.path);
    const upload = await owner.sendDocument('version: 1');
    expect((await refusalOf(other.call('config.diff', { upload }))).faults[0]?.code).toBe('not-found');
    expect(await owner.call('config.diff', { upload })).toMatchObject({ applied: false });
    owner.close();
    other.close();
  });

  it('streams drops to who asked, after the first answer, until the client closes', async () => {
    const client = fixture.raw();
    expect((await client.ask(request('drops', { watch: true }, 'w'))).result).toEqual(fakeDrops);
    await until(() => fixture.control.subscribers.size === 1, 'a subscription');
    for (const notify of fixture.control.subscribers) notify(fakeDrops);
    await until(() => client.answers.length === 2, 'a notification');
    expect(client.answers[1]).toEqual({ jsonrpc: '2.0', method: 'drops', params: { stream: 'w', drops: fakeDrops } });
    expect((await client.ask(request('status', {}, 2))).id).toBe(2);
    client.socket.destroy();
    await until(() => fixture.control.subscribers.size === 0, 'the end of the subscription');
  });

  it('ends streams and lets a request finish when the daemon ends', async () => {
    const server = await fixture.listen({ path: `${fixture.directory}/run/second.sock` });
    const client = await RpcClient.connect(`${fixture.directory}/run/second.sock`);
    await client.call('drops', { watch: true });
    const finish: (() => void)[] = [];
    fixture.control.beforeStatus = () => new Promise((resolve) => finish.push(resolve));
    const answer = client.call('status');
    await until(() => finish.length === 1, 'the request in service');
    const closing = server.close();
    finish[0]?.();
    expect(await answer).toMatchObject({ pid: 4242 });
    await closing;
    await client.closed();
    expect(fixture.control.subscribers.size).toBe(0);
  });
});
