/**
 * A client of the control socket, as the command line uses it: calls, notifications, large documents. Runs in the
 * operator's process, never in the daemon. Trusts the daemon (it is reached through a directory that only its user can
 * write), so answers are not bounded here.
 */
import { createConnection, type Socket } from 'node:net';
import { CONTROL_MESSAGE_SIZE_MAX } from '../limits.js';
import type { FaultShape } from './shapes.js';
import { errorCode } from './socket-path.js';

/** Characters of a document in one piece: at most three octets each, twice that when JSON escapes them. */
const PIECE_LENGTH = Math.floor(CONTROL_MESSAGE_SIZE_MAX / 8);

/** No daemon answers at the socket, or it went away before it answered. */
export class NoDaemonError extends Error {
  override readonly name = 'NoDaemonError';
}

/** The daemon answered with an error. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly rpcCode: number;
  readonly faults: readonly FaultShape[];
  constructor(rpcCode: number, message: string, faults: readonly FaultShape[]) {
    super(message);
    this.rpcCode = rpcCode;
    this.faults = faults;
  }
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

interface Incoming {
  readonly id?: number | null;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: {
    readonly code: number;
    readonly message: string;
    readonly data?: Partial<FaultShape> & { readonly errors?: readonly FaultShape[] };
  };
}

export class RpcClient {
  private readonly socket: Socket;
  private readonly path: string;
  private readonly waiting = new Map<number, Waiting>();
  private readonly listeners = new Map<string, (params: unknown) => void>();
  private readonly closing: (() => void)[] = [];
  private nextId = 1;
  private pieces: string[] = [];

  private constructor(socket: Socket, path: string) {
    this.socket = socket;
    this.path = path;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.receive(text));
    socket.on('error', () => this.lose());
    socket.on('close', () => this.lose());
  }

  /** Connects; a NoDaemonError says why it can't be done and what to do. */
  static async connect(path: string): Promise<RpcClient> {
    return await new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.once('connect', () => {
        socket.removeAllListeners('error');
        resolve(new RpcClient(socket, path));
      });
      socket.once('error', (error) => reject(new NoDaemonError(whyNot(path, errorCode(error)))));
    });
  }

  async call(method: string, params: object = {}): Promise<unknown> {
    const id = this.nextId++;
    const text = JSON.stringify({ jsonrpc: '2.0', id, method, params });
    return await new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      if (this.socket.destroyed) this.lose();
      else this.socket.write(`${text}\n`);
    });
  }

  /** Sends a document in pieces; returns what to name it by in `upload`. */
  async sendDocument(text: string): Promise<string> {
    const { document } = (await this.call('document.begin')) as { document: string };
    for (let start = 0; start < text.length; ) {
      let end = Math.min(text.length, start + PIECE_LENGTH);
      // A pair of surrogates stays together: half of one is not a character.
      if (end < text.length && /[\ud800-\udbff]/.test(text.charAt(end - 1))) end++;
      await this.call('document.append', { document, text: text.slice(start, end) });
      start = end;
    }
    return document;
  }

  /** Notifications of this method go to `callback`. */
  onNotification(method: string, callback: (params: unknown) => void): void {
    this.listeners.set(method, callback);
  }

  /** Resolves when the connection is over, whoever ended it. */
  async closed(): Promise<void> {
    if (this.socket.destroyed) return;
    await new Promise<void>((resolve) => this.closing.push(resolve));
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(text: string): void {
    const end = text.lastIndexOf('\n');
    if (end === -1) {
      this.pieces.push(text);
      return;
    }
    const whole = this.pieces.join('') + text.slice(0, end);
    this.pieces = end + 1 < text.length ? [text.slice(end + 1)] : [];
    for (const line of whole.split('\n')) if (line !== '') this.handle(JSON.parse(line) as Incoming);
  }

  private handle(message: Incoming): void {
    if (message.method !== undefined) {
      const { method, params } = message;
      // Later than the promise of an answer that came with it: a stream's first notification follows its answer.
      setImmediate(() => this.listeners.get(method)?.(params));
      return;
    }
    if (typeof message.id !== 'number') {
      // Not an answer to one call: the server refuses this client as a whole.
      if (message.error !== undefined) for (const id of [...this.waiting.keys()]) this.settle(id, message);
      return;
    }
    this.settle(message.id, message);
  }

  private settle(id: number, message: Incoming): void {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    const { error } = message;
    if (error === undefined) waiting?.resolve(message.result);
    else waiting?.reject(new RpcError(error.code, error.message, faultsOf(error)));
  }

  private lose(): void {
    for (const { reject } of this.waiting.values()) {
      reject(new NoDaemonError(`the daemon at ${this.path} closed the connection before it answered`));
    }
    this.waiting.clear();
    for (const done of this.closing.splice(0)) done();
  }
}

function faultsOf(error: NonNullable<Incoming['error']>): readonly FaultShape[] {
  const { data } = error;
  if (data?.errors !== undefined) return data.errors;
  const fault = { code: 'bad-request', message: error.message };
  if (data === undefined) return [fault];
  const { code, path, line, fix } = data;
  return [
    {
      ...fault,
      ...(code === undefined ? {} : { code }),
      ...(path === undefined ? {} : { path }),
      ...(line === undefined ? {} : { line }),
      ...(fix === undefined ? {} : { fix }),
    },
  ];
}

function whyNot(path: string, code: string): string {
  if (code === 'EACCES') return `not allowed to connect to ${path}: run as the daemon's user or root`;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return `no daemon answers at ${path}: start one with 'weft daemon --config FILE', or name its socket with --socket`;
  }
  return `cannot connect to ${path} (${code})`;
}
