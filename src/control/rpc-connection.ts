/**
 * One client of the control socket: lines in, answers and notifications out. Main thread.
 *
 * Requests of a client are served one after the other, in order. While one is served, or while more than
 * CONTROL_OUT_PAUSE octets wait for the client, nothing is read from it: its flood stays in its own kernel buffer.
 * After CONTROL_SLICE_MS of its requests the event loop turns, so that other clients get their answers.
 *
 * What a hostile client can do: hold CONTROL_MESSAGE_SIZE_MAX octets of a message it never finishes, one reply it
 * never reads until CONTROL_STALL_MS are over, and its place until another client needs it.
 */
import type { Socket } from 'node:net';
import {
  CONTROL_MESSAGE_SIZE_MAX,
  CONTROL_OUT_PAUSE,
  CONTROL_OUT_STREAM_MAX,
  CONTROL_REPLY_SIZE_MAX,
  CONTROL_SKIP_MAX,
  CONTROL_SLICE_MS,
} from '../limits.js';
import { LineReader } from './line-reader.js';
import { Outbox } from './outbox.js';
import { INVALID_REQUEST, parseMessage, REFUSED, type RpcFailure, type RpcId, type RpcRequest } from './rpc-message.js';

export type Answer = { readonly resultJson: string } | { readonly failure: Omit<RpcFailure, 'id'> };

/** What a connection asks of the server: to serve a request, and to be told of its state. */
export interface ConnectionHost {
  /** Resolves to the result as JSON, or to the failure to answer with. Never rejects. */
  serve(request: RpcRequest, connection: Connection): Promise<Answer>;
  sent(connection: Connection): void;
  closed(connection: Connection): void;
}

export class Connection {
  /** When the last whole message arrived, or the client connected (milliseconds, monotonic). */
  lastRequestMs = performance.now();
  busy = false;
  readonly outbox: Outbox;
  private readonly socket: Socket;
  private readonly host: ConnectionHost;
  private readonly reader = new LineReader(CONTROL_MESSAGE_SIZE_MAX);
  private readonly streamEnds = new Set<() => void>();
  /** Streams that start once the answer being made is on its way. */
  private starting: (() => void)[] = [];
  private ended = false;
  private isClosed = false;
  private pumping = false;

  constructor(socket: Socket, host: ConnectionHost) {
    this.socket = socket;
    this.host = host;
    this.outbox = new Outbox(socket);
    socket.on('data', (chunk: Buffer) => {
      this.reader.feed(chunk);
      this.serveLines();
    });
    socket.on('end', () => {
      this.ended = true;
      this.serveLines();
    });
    socket.on('error', () => this.close());
    socket.on('close', () => this.close());
  }

  get streamCount(): number {
    return this.streamEnds.size + this.starting.length;
  }

  /** Registers a stream that starts after the current answer. */
  stream(method: string, id: RpcId | undefined, start: (notify: (params: object) => void) => () => void): void {
    const notify = (params: object) => this.notify(method, { stream: id ?? null, ...params });
    this.starting.push(() => this.streamEnds.add(start(notify)));
  }

  /** Ends the connection at once; what waits is lost. Idempotent. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const end of this.streamEnds) end();
    this.streamEnds.clear();
    this.outbox.close();
    this.socket.destroy();
    this.host.closed(this);
  }

  /** Says why, then closes as soon as that is on its way. */
  refuse(message: string): void {
    this.send({ jsonrpc: '2.0', id: null, error: { code: REFUSED, message, data: { code: 'limit', message } } });
    this.socket.end(() => this.close());
  }

  /** Lets the request being served finish and its answer leave, at most `withinMs`; then closes. */
  async finish(withinMs: number): Promise<void> {
    this.socket.pause();
    const deadline = performance.now() + withinMs;
    while (!this.isClosed && (this.busy || this.outbox.size > 0) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.close();
  }

  private serveLines(): void {
    if (this.pumping) return;
    this.pumping = true;
    // What could fail here is a defect in a stream's start; it costs its client the connection, not the switch its life.
    this.pump().catch(() => this.close());
  }

  private async pump(): Promise<void> {
    this.socket.pause();
    let sliceEnd = performance.now() + CONTROL_SLICE_MS;
    for (let line = this.reader.next(); line !== undefined && !this.isClosed; line = this.reader.next()) {
      if (line === 'too-long') this.answerTooLong();
      else await this.handle(line);
      if (this.outbox.size > CONTROL_OUT_PAUSE) await this.outbox.drainedTo(CONTROL_OUT_PAUSE);
      if (performance.now() < sliceEnd) continue;
      await new Promise((resolve) => setImmediate(resolve));
      sliceEnd = performance.now() + CONTROL_SLICE_MS;
    }
    this.pumping = false;
    this.afterPump();
  }

  private afterPump(): void {
    if (this.isClosed) return;
    if (this.reader.skipped > CONTROL_SKIP_MAX || (this.ended && this.streamCount > 0)) {
      this.close();
    } else if (!this.ended) {
      this.socket.resume();
    } else {
      // The client sends no more (`echo … | nc -U`): it still gets every answer.
      void this.outbox.drainedTo(0).then(() => this.socket.end(() => this.close()));
    }
  }

  private answerTooLong(): void {
    const message = `a message is at most ${CONTROL_MESSAGE_SIZE_MAX} octets; send a large document with document.begin`;
    this.send({ jsonrpc: '2.0', id: null, error: { code: INVALID_REQUEST, message } });
  }

  private async handle(line: Uint8Array): Promise<void> {
    const parsed = parseMessage(line);
    this.lastRequestMs = performance.now();
    if (parsed.type === 'failure') {
      const { id, ...error } = parsed.failure;
      this.send({ jsonrpc: '2.0', id, error });
      return;
    }
    this.busy = true;
    const answer = await this.host.serve(parsed.request, this);
    this.busy = false;
    this.lastRequestMs = performance.now();
    const { id } = parsed.request;
    if (id !== undefined) {
      if ('failure' in answer) this.send({ jsonrpc: '2.0', id, error: answer.failure });
      else this.sendResult(id, answer.resultJson);
    }
    const starting = this.starting;
    this.starting = [];
    if (!this.isClosed) for (const start of starting) start();
  }

  private sendResult(id: RpcId, resultJson: string): void {
    if (resultJson.length <= CONTROL_REPLY_SIZE_MAX) {
      this.sendText(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${resultJson}}`);
      return;
    }
    const message = `the answer is longer than ${CONTROL_REPLY_SIZE_MAX} octets`;
    const data = { code: 'limit', message, fix: 'Ask for a part of it with offset and limit.' };
    this.send({ jsonrpc: '2.0', id, error: { code: REFUSED, message, data } });
  }

  /** A stream's client that does not keep up is closed: what it would get is stale, and it would not know what it missed. */
  private notify(method: string, params: object): void {
    if (this.isClosed) return;
    if (this.outbox.size > CONTROL_OUT_STREAM_MAX) this.close();
    else this.send({ jsonrpc: '2.0', method, params });
  }

  private send(message: object): void {
    this.sendText(JSON.stringify(message));
  }

  private sendText(text: string): void {
    if (this.isClosed || this.socket.destroyed) return;
    this.outbox.push(`${text}\n`);
    this.host.sent(this);
  }
}
