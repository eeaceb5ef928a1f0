/** A station that sends and sees raw frames on one interface; tags stand in the frame as on the wire. */
import type { Child } from './child.js';
import type { Testbed } from './testbed.js';

export class Station {
  /** Frames received so far, in order. */
  readonly frames: Buffer[] = [];
  private readonly child: Child;
  private refusal: string | undefined;

  private constructor(child: Child) {
    this.child = child;
    child.onLine((line) => {
      if (line.startsWith('!')) this.refusal = line;
      else if (line !== 'ready') this.frames.push(Buffer.from(line, 'hex'));
    });
  }

  static async open(testbed: Testbed, label: string, device: string): Promise<Station> {
    const station = new Station(testbed.peer(label, 'station', device));
    await station.child.ready();
    return station;
  }

  send(frame: Uint8Array): void {
    if (this.refusal !== undefined) throw new Error(`a test frame could not be sent: ${this.refusal}`);
    this.child.write(`${Buffer.from(frame).toString('hex')}\n`);
  }

  /** Forgets and returns what was received. */
  take(): Buffer[] {
    return this.frames.splice(0);
  }

  close(): void {
    this.child.kill();
  }
}
