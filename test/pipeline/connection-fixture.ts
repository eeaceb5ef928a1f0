/** A switch whose one network is tracked, and packets for it: runs the stages up to `connections` and commits what is new. */
import { Batch } from '../../src/dataplane/batch.js';
import { memoryFrame } from '../../src/dataplane/ports/memory-queue.js';
import {
  CLASS_COUNT,
  COMMITTED,
  CONNECTION_ESTABLISHED,
  CONNECTION_INVALID,
  CONNECTION_NEW,
  CONNECTION_RELATED,
  CONNECTION_REPLY,
  STATE_MASK,
  V_STATE,
} from '../../src/pipeline/connection-table.js';
import { POLICY_TRACKED } from '../../src/pipeline/snapshot.js';
import { classify } from '../../src/pipeline/stages/classify.js';
import { connections } from '../../src/pipeline/stages/connections.js';
import { dissect } from '../../src/pipeline/stages/dissect.js';
import { parse } from '../../src/pipeline/stages/parse.js';
import { tcpStateNames } from '../../src/pipeline/tcp-tracking.js';
import { parseIp } from '../../src/wire/address.js';
import { TestSwitch, vm } from './test-switch.js';

export interface Seen {
  /** `new`, `original`, `reply`, `related`, `invalid`, `untracked`; with `+` when the connection is established. */
  readonly what: string;
  readonly entry: number;
  readonly result: number;
}

/** Shares in percent. */
export interface Conntrack {
  readonly perPort?: number;
  readonly perNetwork?: number;
  readonly midstream?: boolean;
}

export const EPOCH = 77;

/** Idle times that let no connection be over. */
export const NEVER = new Int32Array(CLASS_COUNT).fill(0x7fff_ffff);

/** Where packets from a port go to. */
const otherEnd: Readonly<Record<string, string>> = { a: 'b', b: 'a', x: 'y', y: 'x' };

export class TrackedSwitch {
  readonly tested: TestSwitch;
  private readonly batch = new Batch(256);

  constructor(conntrack: Conntrack = {}, connectionEntries = 64) {
    const networks = { red: { type: 'local' }, blue: { type: 'local' } } as const;
    const ports = {
      a: vm({ network: 'red' }),
      b: vm({ network: 'red' }),
      c: vm({ network: 'red' }),
      x: vm({ network: 'blue' }),
      y: vm({ network: 'blue' }),
    };
    this.tested = new TestSwitch({ networks, ports }, { connectionEntries });
    const share = (percent = 100) => Math.max(1, Math.floor((connectionEntries * percent) / 100));
    Object.assign(this.tested.snapshot, {
      policies: 1,
      connectionsPerPort: share(conntrack.perPort),
      connectionsPerNetwork: share(conntrack.perNetwork),
      connectionMidstream: conntrack.midstream === true ? 1 : 0,
    });
    this.tested.snapshot.networkPolicy.fill(POLICY_TRACKED);
  }

  get table() {
    return this.tested.connections;
  }

  /** Lets the stages look at the frames, as one batch, and commits what is new; `charged` is the port of the sender. */
  look(frames: readonly (readonly [port: string, octets: Uint8Array])[], commits = true): Seen[] {
    const { machine, pool } = this.tested;
    machine.setTime(this.tested.now);
    for (const [port, octets] of frames) this.batch.push(memoryFrame(pool, this.tested.index(port), octets));
    for (const stage of [parse, classify, dissect, connections]) stage.run(machine, this.batch);
    const slots = [...this.batch.slots.subarray(0, this.batch.count)];
    const states = slots.map((slot) => wordOf(pool.connection[slot], pool.connectionState[slot]));
    const places = slots.map((slot, index) => {
      if (!commits || states[index] !== 'new') return -1;
      return machine.newConnections.push(
        slot,
        pool.ingressPort[slot],
        this.tested.index(otherEnd[frames[index]![0]] ?? 'c'),
      );
    });
    this.table.commit(pool, machine.newConnections, machine.snapshot, EPOCH, machine.nowSeconds);
    const seen = slots.map((slot, index) => ({
      what: states[index],
      entry: pool.connection[slot],
      result: places[index] < 0 ? COMMITTED : machine.newConnections.results[places[index]],
    }));
    for (const slot of slots) pool.release(slot);
    this.batch.count = 0;
    return seen;
  }

  one(port: string, octets: Uint8Array, commits = true): Seen {
    return this.look([[port, octets]], commits)[0];
  }

  what(port: string, octets: Uint8Array): string {
    return this.one(port, octets).what;
  }

  pass(seconds: number): void {
    this.tested.now += seconds * 1000;
  }

  tcpState(entry: number): string {
    return tcpStateNames[this.table.table.valueWord(entry, V_STATE) & STATE_MASK] ?? '?';
  }
}

function wordOf(connection: number, state: number): string {
  if ((state & CONNECTION_INVALID) !== 0) return 'invalid';
  if ((state & CONNECTION_NEW) !== 0) return 'new';
  if (connection === 0) return 'untracked';
  if ((state & CONNECTION_RELATED) !== 0)
    return (state & CONNECTION_REPLY) !== 0 ? 'related reply' : 'related original';
  const direction = (state & CONNECTION_REPLY) !== 0 ? 'reply' : 'original';
  return (state & CONNECTION_ESTABLISHED) !== 0 ? `${direction}+` : direction;
}

// ---- packets ------------------------------------------------------------------------------------------------------

export interface PacketRecipe {
  readonly from?: string;
  readonly to?: string;
  readonly protocol: number;
  readonly payload: Uint8Array;
  /** Of IPv4: the fragment field as it stands in the header. */
  readonly fragment?: number;
  readonly toMac?: string;
}

/** An Ethernet frame with an IPv4 or IPv6 packet, by its addresses. Checksums are left at 0: nobody here looks at them. */
export function packet({
  from = '192.0.2.1',
  to = '192.0.2.2',
  protocol,
  payload,
  fragment = 0,
  toMac = '525400000002',
}: PacketRecipe): Uint8Array {
  const isIpv6 = from.includes(':');
  const header = isIpv6 ? new Uint8Array(40) : new Uint8Array(20);
  const view = new DataView(header.buffer);
  header[0] = isIpv6 ? 0x60 : 0x45;
  if (isIpv6) {
    view.setUint16(4, payload.length);
    header[6] = protocol;
    header[7] = 64;
    header.set(addressOctets(from), 8);
    header.set(addressOctets(to), 24);
  } else {
    view.setUint16(2, 20 + payload.length);
    view.setUint16(6, fragment);
    header[8] = 64;
    header[9] = protocol;
    header.set(addressOctets(from), 12);
    header.set(addressOctets(to), 16);
  }
  const ethernet = Buffer.from(`${toMac}525400000001${isIpv6 ? '86dd' : '0800'}`, 'hex');
  return new Uint8Array(Buffer.concat([ethernet, header, payload]));
}

function addressOctets(text: string): Uint8Array {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

export interface Segment {
  readonly flags: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly win?: number;
  readonly length?: number;
  /** Window scale option; undefined: no options. */
  readonly scale?: number;
  readonly ports?: readonly [number, number];
  readonly from?: string;
  readonly to?: string;
}

const FLAGS = 'FSRPAUEW';

/** The TCP header and payload of a segment. */
export function tcpOctets({
  flags,
  seq = 0,
  ack = 0,
  win = 1000,
  length = 0,
  scale,
  ports = [1234, 80],
}: Segment): Uint8Array {
  const options = scale === undefined ? 0 : 4;
  const octets = new Uint8Array(20 + options + length).fill(0x11);
  const view = new DataView(octets.buffer);
  view.setUint16(0, ports[0]);
  view.setUint16(2, ports[1]);
  view.setUint32(4, seq >>> 0);
  view.setUint32(8, ack >>> 0);
  octets[12] = ((20 + options) / 4) << 4;
  octets[13] = [...flags].reduce((bits, letter) => bits | (1 << FLAGS.indexOf(letter)), 0);
  view.setUint16(14, win);
  view.setUint32(16, 0);
  if (scale !== undefined) octets.set([3, 3, scale, 1], 20);
  return octets;
}

export function segment(recipe: Segment): Uint8Array {
  const { from = '192.0.2.1', to = '192.0.2.2' } = recipe;
  return packet({ from, to, protocol: 6, payload: tcpOctets(recipe) });
}

/** The other direction: ports and addresses turned round. */
export function answer(recipe: Segment): Uint8Array {
  const { from = '192.0.2.1', to = '192.0.2.2', ports = [1234, 80] } = recipe;
  return segment({ ...recipe, from: to, to: from, ports: [ports[1], ports[0]] });
}

export function udp(from: string, to: string, ports: readonly [number, number], length = 4, protocol = 17): Uint8Array {
  const payload = new Uint8Array(8 + length);
  const view = new DataView(payload.buffer);
  view.setUint16(0, ports[0]);
  view.setUint16(2, ports[1]);
  view.setUint16(4, payload.length);
  // DCCP has its header's length there, in words.
  if (protocol === 33) payload[4] = payload.length >> 2;
  return packet({ from, to, protocol, payload });
}

export function icmp(
  from: string,
  to: string,
  type: number,
  id: number,
  rest: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const payload = new Uint8Array(8 + rest.length);
  payload[0] = type;
  new DataView(payload.buffer).setUint16(4, id);
  payload.set(rest, 8);
  return packet({ from, to, protocol: from.includes(':') ? 58 : 1, payload });
}

/** A frame without its Ethernet header, cut to `size`: what an ICMP error quotes. */
export function quoted(frame: Uint8Array, size = frame.length): Uint8Array {
  return frame.slice(14, 14 + size);
}
