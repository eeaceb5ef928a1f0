/**
 * Frames that can be told apart: each carries a number, so that what comes out of every port can be laid beside what went
 * in by which. Tags are written `8100:10`, with priority `8100:10p5`, with drop eligible indication `8100:10p5d`.
 */
import { expect } from 'vitest';
import type { DropRow, TraceResult } from '../../../src/control/shapes.js';
import type { Daemon } from './daemon.js';
import { Station } from './station.js';
import type { Testbed } from './testbed.js';
import { until } from './wait.js';

/** Local experimental ethertype (IEEE 802): what follows is payload to everybody. */
const ETHERTYPE = 0x88b5;
const SIZE_MIN = 60;
const TAG = /^([0-9a-f]{4}):(\d+)(?:p(\d))?(d)?$/;
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';

/** One frame that is sent: by which port, with which tags (outermost first). */
export interface Probe {
  readonly port: string;
  readonly tags: string;
  readonly destination?: string;
  readonly source?: string;
}

const macOctets = (text: string): number[] => text.split(':').map((part) => Number.parseInt(part, 16));

function tagOctets(text: string): number[] {
  const [, tpid, vid, pcp, dei] = TAG.exec(text) ?? [];
  if (tpid === undefined) throw new Error(`${text} is no tag`);
  const tci = (Number(pcp ?? 0) << 13) | (dei === undefined ? 0 : 0x1000) | Number(vid);
  const type = Number.parseInt(tpid, 16);
  return [type >> 8, type & 255, tci >> 8, tci & 255];
}

export function probeFrame(number: number, source: string, destination: string, tags: string): Buffer {
  const head = [...macOctets(destination), ...macOctets(source), ...tags.split(' ').filter(Boolean).flatMap(tagOctets)];
  const body = [ETHERTYPE >> 8, ETHERTYPE & 255, number >> 8, number & 255];
  const frame = Buffer.alloc(Math.max(SIZE_MIN, head.length + body.length + 20), 0xa5);
  frame.set([...head, ...body]);
  return frame;
}

/** Number and tags of a probe that arrived; undefined if it is another's frame. */
export function readProbe(frame: Buffer): { number: number; tags: string; rest: string } | undefined {
  const tags: string[] = [];
  let at = 12;
  for (; at + 4 <= frame.length; at += 4) {
    const type = frame.readUInt16BE(at);
    if (type === ETHERTYPE) break;
    if (type !== 0x8100 && type !== 0x88a8) return undefined;
    const tci = frame.readUInt16BE(at + 2);
    const priority = (tci >> 13 === 0 ? '' : `p${tci >> 13}`) + ((tci & 0x1000) === 0 ? '' : 'd');
    tags.push(`${type.toString(16)}:${tci & 0xfff}${priority}`);
  }
  if (at + 4 > frame.length) return undefined;
  return { number: frame.readUInt16BE(at + 2), tags: tags.join(' '), rest: frame.subarray(at + 4).toString('hex') };
}

/** What came of a probe: `port tags` for each output, in order of the ports' names. */
export type Outputs = readonly string[];

/** Stations at all ports of a daemon. */
export class ProbeField {
  private readonly daemon: Daemon;
  private readonly stations = new Map<string, Station>();
  private next = 1;

  private constructor(daemon: Daemon) {
    this.daemon = daemon;
  }

  /** `places`: by port, the namespace's label and the device of its far end. */
  static async open(
    testbed: Testbed,
    daemon: Daemon,
    places: Readonly<Record<string, readonly [label: string, device: string]>>,
  ): Promise<ProbeField> {
    const field = new ProbeField(daemon);
    for (const [port, [label, device]] of Object.entries(places)) {
      field.stations.set(port, await Station.open(testbed, label, device));
    }
    return field;
  }

  /** The address that the station at a port sends from if not told otherwise. */
  macOf(port: string): string {
    const index = [...this.stations.keys()].indexOf(port);
    return `02:00:00:00:01:${index.toString(16).padStart(2, '0')}`;
  }

  /** Sends probes one after the other; what came out of each, when everything that was sent has arrived. */
  async send(probes: readonly Probe[]): Promise<Outputs[]> {
    const first = this.next;
    const frames = probes.map((probe) => this.frameOf(probe));
    const before = await this.counts();
    probes.forEach(({ port }, index) => {
      this.station(port).send(frames[index] as Buffer);
    });
    await until('all probes went through the switch', async () => {
      const now = await this.counts();
      if (now.received - before.received !== probes.length) return false;
      return [...now.sent].every(
        ([port, count]) => this.station(port).frames.length === count - (before.sent.get(port) ?? 0),
      );
    });
    return this.collect(first, frames);
  }

  /** What the switch says it would do with a probe, and what it then does, must be the same. */
  async expectAsTraced(probe: Probe): Promise<{ outputs: Outputs; reason: string | undefined }> {
    const hex = this.frameOf(probe).toString('hex');
    const before = await this.dropsAt(probe.port);
    const trace = await this.daemon.call<TraceResult>('trace', { port: probe.port, frame: hex });
    const [outputs = []] = await this.send([probe]);
    const told = trace.outputs.map(({ port }) => port).sort();
    expect({ probe, ports: outputs.map((output) => output.split(' ')[0]) }).toEqual({ probe, ports: told });
    const after = await this.dropsAt(probe.port);
    const died = [...after].filter(([reason, count]) => count !== (before.get(reason) ?? 0)).map(([reason]) => reason);
    expect({ probe, died }).toEqual({ probe, died: trace.verdict === 'drop' ? [trace.reason] : [] });
    return { outputs, reason: died[0] };
  }

  private frameOf({ port, tags, source, destination }: Probe): Buffer {
    return probeFrame(this.next++, source ?? this.macOf(port), destination ?? BROADCAST, tags);
  }

  private collect(first: number, frames: readonly Buffer[]): Outputs[] {
    const outputs: string[][] = frames.map(() => []);
    for (const port of [...this.stations.keys()].sort()) {
      for (const frame of this.station(port).take()) {
        const probe = readProbe(frame);
        if (probe === undefined) throw new Error(`a foreign frame at ${port}: ${frame.toString('hex')}`);
        const sent = frames[probe.number - first];
        if (sent === undefined) throw new Error(`a frame nobody sent at ${port}: ${frame.toString('hex')}`);
        expect(frame.subarray(0, 12)).toEqual(sent.subarray(0, 12));
        expect(probe.rest).toBe(readProbe(sent)?.rest);
        outputs[probe.number - first]?.push(`${port} ${probe.tags}`.trim());
      }
    }
    return outputs;
  }

  private station(port: string): Station {
    const station = this.stations.get(port);
    if (station === undefined) throw new Error(`there is no station at ${port}`);
    return station;
  }

  private async counts(): Promise<{ received: number; sent: Map<string, number> }> {
    const { ports } = await this.daemon.stats();
    const mine = ports.filter(({ name }) => this.stations.has(name));
    const received = mine.reduce((sum, { rx }) => sum + rx.frames, 0);
    return { received, sent: new Map(mine.map(({ name, tx }) => [name, tx.frames])) };
  }

  private async dropsAt(port: string): Promise<Map<string, number>> {
    const rows: readonly DropRow[] = await this.daemon.drops();
    const frames = rows.filter((row) => row.port === port && row.of === 'frame');
    return new Map(frames.map(({ reason, count }) => [reason, count]));
  }
}
