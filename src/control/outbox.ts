/**
 * What waits to be sent to one client of the control socket. Written in pieces, one at a time, so that it is known how
 * much waits and whether the client takes anything at all: a socket's own buffer tells neither. Main thread.
 */
import type { Socket } from 'node:net';

const PIECE_SIZE = 128 * 1024;

export class Outbox {
  /** Octets waiting. */
  size = 0;
  /** When the client last took something, or when the box was last empty (milliseconds, monotonic). */
  lastProgressMs = performance.now();
  private readonly socket: Socket;
  private readonly pieces: Buffer[] = [];
  private writing = false;
  private waiter: { below: number; resolve: () => void } | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  push(text: string): void {
    const octets = Buffer.from(text);
    if (this.size === 0) this.lastProgressMs = performance.now();
    this.size += octets.length;
    for (let start = 0; start < octets.length; start += PIECE_SIZE) {
      this.pieces.push(octets.subarray(start, start + PIECE_SIZE));
    }
    this.writeNext();
  }

  /** Resolves when at most `size` octets wait, or the outbox is closed. One waiter at a time. */
  async drainedTo(size: number): Promise<void> {
    if (this.size <= size) return;
    await new Promise<void>((resolve) => {
      this.waiter = { below: size, resolve };
    });
  }

  /** Forgets what waits. */
  close(): void {
    this.pieces.length = 0;
    this.size = 0;
    this.wake();
  }

  private writeNext(): void {
    if (this.writing || this.pieces.length === 0) return;
    const piece = this.pieces.shift();
    if (piece === undefined) return;
    this.writing = true;
    this.socket.write(piece, (error) => {
      this.writing = false;
      if (error) {
        this.close();
        return;
      }
      this.size = Math.max(0, this.size - piece.length);
      this.lastProgressMs = performance.now();
      this.wake();
      this.writeNext();
    });
  }

  private wake(): void {
    const waiter = this.waiter;
    if (waiter === undefined || this.size > waiter.below) return;
    this.waiter = undefined;
    waiter.resolve();
  }
}
