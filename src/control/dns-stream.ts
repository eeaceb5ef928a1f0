/**
 * DNS by TCP (RFC 7766): messages behind their lengths, answered one after the other. Main thread.
 *
 * A segment may hold many questions, which the workers' rate counts as one frame: so they are answered at the port's rate
 * (limits.dns), all of its connections together, and of all ports no more than by UDP, one port after the other
 * (fair-turns.ts). They wait until it is their turn. A message longer than any question is a lie, and ends the connection.
 */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { NAMES_TOTAL_PER_SECOND } from '../limits.js';
import { read16, write16 } from '../wire/octets.js';
import { FairTurns } from './fair-turns.js';
import type { Asker, NameService } from './name-service.js';

/** Of a question with all that may come with it. */
const QUERY_SIZE_MAX = 4096;

export class DnsStreams {
  private readonly names: Pick<NameService, 'answer'>;
  private readonly clock: () => number;
  /** By port: when its next question may be answered. */
  private readonly turns = new Map<string, number>();
  private readonly ofAll: FairTurns;
  private rate = 1;

  constructor(names: Pick<NameService, 'answer'>, clock: () => number) {
    this.names = names;
    this.clock = clock;
    this.ofAll = new FairTurns(NAMES_TOTAL_PER_SECOND, clock);
  }

  /** Questions a second from one port. */
  follow(rate: number): void {
    this.rate = rate;
    this.turns.clear();
  }

  /** Serves the connection to its end. */
  accept(stream: Duplex, asker: Asker): void {
    this.serve(stream, asker).catch(() => stream.destroy());
  }

  private async serve(stream: Duplex, asker: Asker): Promise<void> {
    let waiting = new Uint8Array(0);
    for await (const piece of stream as AsyncIterable<Uint8Array>) {
      waiting = Uint8Array.from([...waiting, ...piece]);
      for (let whole = wholeSize(waiting); waiting.length >= whole; whole = wholeSize(waiting)) {
        if (whole - 2 > QUERY_SIZE_MAX) throw new RangeError('no question is that long');
        const message = waiting.slice(2, whole);
        waiting = waiting.slice(whole);
        await this.waitForTurn(asker.port);
        await this.ofAll.take(asker.port, () => stream.destroyed);
        const answer = await this.names.answer(message, asker);
        if (answer !== undefined) await send(stream, answer);
      }
      if (wholeSize(waiting) - 2 > QUERY_SIZE_MAX) throw new RangeError('no question is that long');
    }
    stream.end();
  }

  private async waitForTurn(port: string): Promise<void> {
    const now = this.clock();
    const turn = Math.max(this.turns.get(port) ?? 0, now);
    this.turns.set(port, turn + 1000 / this.rate);
    if (turn > now) await sleep(turn - now);
  }
}

/** Octets of the first message with its length; more than there are while that is not known. */
function wholeSize(octets: Uint8Array): number {
  return octets.length < 2 ? 2 + 1 : 2 + read16(octets, 0);
}

async function send(stream: Duplex, message: Uint8Array): Promise<void> {
  const octets = new Uint8Array(2 + message.length);
  write16(octets, 0, message.length);
  octets.set(message, 2);
  if (stream.destroyed) return;
  if (!stream.write(octets)) await once(stream, 'drain');
}
