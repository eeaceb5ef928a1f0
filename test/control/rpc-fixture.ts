/** A server of the control socket over a fake switch, and clients that send what they like. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { rpcMethods } from '../../src/control/commands/registry.js';
import { RpcClient } from '../../src/control/rpc-client.js';
import { RpcServer } from '../../src/control/rpc-server.js';
import { FakeSwitch } from './fake-switch.js';

const WAIT_MS = 20_000;

export interface Answer {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: { readonly stream: unknown; readonly drops: readonly unknown[] };
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: object };
}

export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export class RawClient {
  readonly answers: Answer[] = [];
  isClosed = false;
  readonly socket: Socket;
  private rest = '';

  constructor(path: string, allowHalfOpen = false) {
    this.socket = createConnection({ path, allowHalfOpen });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isClosed = true;
    });
    this.socket.setEncoding('utf8').on('data', (text) => {
      const lines = (this.rest + String(text)).split('\n');
      this.rest = lines.pop() ?? '';
      for (const line of lines) this.answers.push(JSON.parse(line) as Answer);
    });
  }

  /** Sends a line and waits for the next answer. */
  async ask(text: string | Uint8Array): Promise<Answer> {
    const count = this.answers.length;
    this.socket.write(text);
    this.socket.write('\n');
    await until(() => this.answers.length > count, 'an answer');
    return this.answers[count]!;
  }
}

export function request(method: string, params: object = {}, id: unknown = 1): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params });
}

export class RpcFixture {
  readonly directory = mkdtempSync(join(tmpdir(), 'weft-rpc-'));
  readonly path = join(this.directory, 'run', 'control.sock');
  readonly control = new FakeSwitch();
  readonly defects: unknown[] = [];
  private readonly servers: RpcServer[] = [];
  private readonly clients: RawClient[] = [];

  async listen(options: { path?: string; stallMs?: number } = {}): Promise<RpcServer> {
    const server = await RpcServer.listen({
      path: this.path,
      control: this.control,
      methods: rpcMethods,
      version: '0.1.0',
      log: { error: (detail) => this.defects.push(detail) },
      ...options,
    });
    this.servers.push(server);
    return server;
  }

  raw(allowHalfOpen = false): RawClient {
    const client = new RawClient(this.path, allowHalfOpen);
    this.clients.push(client);
    return client;
  }

  /** A well-behaved client gets its answer: what every hostile test ends with. */
  async expectServing(): Promise<void> {
    const client = await RpcClient.connect(this.path);
    expect(await client.call('status')).toMatchObject({ version: '0.1.0' });
    client.close();
    expect(this.defects).toEqual([]);
  }

  async end(): Promise<void> {
    for (const client of this.clients) client.socket.destroy();
    for (const server of this.servers) await server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
