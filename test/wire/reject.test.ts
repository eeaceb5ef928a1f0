/** What a sender is told of a packet that an ACL rejects: built octet by octet, sums checked by arithmetic of this file's own. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { writeReject } from '../../src/wire/reject.js';
import { fragmentFrame } from './fragment-frames.js';
import { ip, mac } from './neighbor-frames.js';
import { concatenate } from './reference.js';

const pool = new FramePool(2);
const kernels = new Kernels(pool.memory);
const FROM = pool.frameStart(0);
const TO = pool.frameStart(1);
const ETHERNET = 14;

const [FIN, SYN, RST, PSH, ACK] = [1, 2, 4, 8, 16];
const CLIENT = '52:54:00:00:00:01';
const SERVER = '52:54:00:00:00:02';

interface Family {
  readonly name: string;
  readonly type: number;
  readonly source: string;
  readonly destination: string;
  readonly headers: number;
  /** Protocol, type and code of "administratively prohibited", and octets that the longest such packet has. */
  readonly refusal: readonly [number, number, number];
  readonly longest: number;
}
const four: Family = {
  name: 'IPv4',
  type: 0x0800,
  source: '192.0.2.1',
  destination: '198.51.100.2',
  headers: 20,
  refusal: [1, 3, 13],
  longest: 576,
};
const six: Family = {
  name: 'IPv6',
  type: 0x86dd,
  source: '2001:db8::1',
  destination: '2001:db8:1::2',
  headers: 40,
  refusal: [58, 1, 1],
  longest: 1280,
};
const families = [four, six];

const word = (value: number) => [(value >>> 8) & 255, value & 255];
const long = (value: number) => [...word(value >>> 16), ...word(value)];
const read = (octets: Uint8Array, at: number, size: number) =>
  octets.subarray(at, at + size).reduce((number, octet) => number * 256 + octet, 0);

/** RFC 1071, as it is said there. */
function sumOf(...parts: readonly Uint8Array[]): number {
  const octets = concatenate(...parts);
  let sum = 0;
  for (let at = 0; at < octets.length; at += 2) sum += (octets[at] ?? 0) * 256 + (octets[at + 1] ?? 0);
  while (sum > 0xffff) sum = Math.floor(sum / 65_536) + (sum % 65_536);
  return sum;
}

function packet(family: Family, protocol: number, payload: Uint8Array, ends: Partial<Family> = {}): Uint8Array {
  const { source, destination } = { ...family, ...ends };
  const head =
    family.type === 0x0800
      ? [0x45, 0, ...word(20 + payload.length), 0, 7, 0, 0, 64, protocol, 0, 0]
      : [0x60, 0, 0, 0, ...word(payload.length), protocol, 64];
  return concatenate(Uint8Array.from(head), ip(source), ip(destination), payload);
}

interface Segment {
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly payload?: number;
  /** Words of options. */
  readonly options?: number;
}

function segment({ flags, sequence = 1000, acknowledgement = 0, payload = 0, options = 0 }: Segment): Uint8Array {
  const head = [...word(40_000), ...word(22), ...long(sequence), ...long(acknowledgement)];
  const rest = [(5 + options) << 4, flags, ...word(1024), 0, 0, 0, 0];
  return concatenate(Uint8Array.from([...head, ...rest]), new Uint8Array(4 * options + payload).fill(1));
}

interface Around {
  readonly to?: string;
  readonly from?: string;
  readonly tags?: readonly number[];
  readonly padding?: number;
}

function frameOf({ type }: Family, inner: Uint8Array, around: Around = {}): Uint8Array {
  const { to = SERVER, from = CLIENT, tags = [], padding = 0 } = around;
  const link = [...mac(to), ...mac(from), ...tags, ...word(type)];
  return concatenate(Uint8Array.from(link), inner, new Uint8Array(padding).fill(0xa5));
}

/** The answer to the frame; undefined: there is none, and nothing was written. */
function answerTo(frame: Uint8Array, type: number, linkSize = ETHERNET): Uint8Array | undefined {
  pool.octets.fill(0xa5, FROM, FROM + 2000);
  pool.octets.fill(0xa5, TO, TO + 2000);
  pool.octets.set(frame, FROM);
  const size = writeReject(pool.octets, FROM, type, FROM + linkSize, FROM + frame.length, TO, kernels);
  expect(pool.octets.subarray(FROM, FROM + frame.length)).toEqual(frame);
  expect(pool.octets.subarray(TO + size, TO + 2000).every((octet) => octet === 0xa5)).toBe(true);
  return size === 0 ? undefined : pool.octets.slice(TO, TO + size);
}

/** Checks what every answer has, and returns its upper layer. */
function upperOf(family: Family, answer: Uint8Array | undefined, protocol: number, linkSize = ETHERNET): Uint8Array {
  if (answer === undefined) throw new Error('there is no answer');
  expect(answer.subarray(0, 6)).toEqual(mac(CLIENT));
  expect(answer.subarray(6, 12)).toEqual(mac(SERVER));
  const network = answer.subarray(linkSize);
  const upper = network.subarray(family.headers);
  const isIpv4 = family === four;
  const addresses = network.subarray(isIpv4 ? 12 : 8, family.headers);
  expect(addresses).toEqual(concatenate(ip(family.destination), ip(family.source)));
  if (isIpv4) {
    expect(network[0]).toBe(0x45);
    expect(read(network, 2, 2)).toBe(network.length);
    expect(read(network, 6, 2)).toBe(0x4000);
    expect(network[9]).toBe(protocol);
    expect(sumOf(network.subarray(0, 20))).toBe(0xffff);
  } else {
    expect(read(network, 0, 4)).toBe(0x6000_0000);
    expect(read(network, 4, 2)).toBe(upper.length);
    expect(network[6]).toBe(protocol);
  }
  expect(network[isIpv4 ? 8 : 7]).toBe(64);
  const pseudo = concatenate(addresses, Uint8Array.from([...long(upper.length), ...long(protocol)]));
  expect(protocol === 1 ? sumOf(upper) : sumOf(pseudo, upper)).toBe(0xffff);
  return upper;
}

/** Of a reset: its sequence and acknowledgement number and its flags; the rest is what it must be. */
function resetOf(family: Family, asked: Segment, around: Around = {}): number[] {
  const linkSize = ETHERNET + (around.tags?.length ?? 0);
  const answer = answerTo(frameOf(family, packet(family, 6, segment(asked)), around), family.type, linkSize);
  const upper = upperOf(family, answer, 6, linkSize);
  expect(answer?.subarray(12, linkSize - 2)).toEqual(Uint8Array.from(around.tags ?? []));
  expect(upper).toHaveLength(20);
  expect([read(upper, 0, 2), read(upper, 2, 2)]).toEqual([22, 40_000]);
  expect([upper[12], read(upper, 14, 2), read(upper, 18, 2)]).toEqual([0x50, 0, 0]);
  return [read(upper, 4, 4), read(upper, 8, 4), upper[13] ?? 0];
}

describe.each(families)('TCP over $name', (family) => {
  test('without ACK: sequence number zero, and what it took is acknowledged (RFC 9293 3.10.7.1)', () => {
    expect(resetOf(family, { flags: SYN, sequence: 1000 })).toEqual([0, 1001, RST | ACK]);
    expect(resetOf(family, { flags: SYN, sequence: 1000, payload: 5, options: 5 })).toEqual([0, 1006, RST | ACK]);
    expect(resetOf(family, { flags: SYN | FIN, sequence: 1000, payload: 5 })).toEqual([0, 1007, RST | ACK]);
    expect(resetOf(family, { flags: FIN | PSH, sequence: 1000 })).toEqual([0, 1001, RST | ACK]);
    expect(resetOf(family, { flags: 0, sequence: 1000, payload: 9 })).toEqual([0, 1009, RST | ACK]);
    expect(resetOf(family, { flags: SYN, sequence: 0xffff_ffff, payload: 1 })).toEqual([0, 1, RST | ACK]);
  });

  test('with ACK: the sequence number it acknowledged, and no acknowledgement', () => {
    const acknowledgement = 0x8000_0001;
    for (const flags of [ACK, SYN | ACK, FIN | ACK, PSH | ACK])
      expect(resetOf(family, { flags, acknowledgement, payload: 3 })).toEqual([acknowledgement, 0, RST]);
  });

  test("bears the sender's tags, and padding behind the segment is none of its octets", () => {
    const tags = [0x88, 0xa8, 0x60, 6, 0x81, 0, 0, 7];
    expect(resetOf(family, { flags: SYN, payload: 4 }, { tags, padding: 30 })).toEqual([0, 1005, RST | ACK]);
  });

  test('is not answered where no answer may be given', () => {
    const syn = packet(family, 6, segment({ flags: SYN }));
    const silent: [what: string, frame: Uint8Array][] = [
      ['a reset', frameOf(family, packet(family, 6, segment({ flags: RST })))],
      ['a reset with ACK', frameOf(family, packet(family, 6, segment({ flags: RST | ACK })))],
      ['to a group', frameOf(family, syn, { to: 'ff:ff:ff:ff:ff:ff' })],
      ['from a group', frameOf(family, syn, { from: '33:33:00:00:00:01' })],
      ['cut off', frameOf(family, syn.subarray(0, syn.length - 1))],
      [
        'a header that is longer than the segment',
        frameOf(family, packet(family, 6, segment({ flags: SYN }).fill(0xf0, 12, 13))),
      ],
    ];
    for (const [what, frame] of silent) expect(answerTo(frame, family.type), what).toBeUndefined();
    for (const source of family === four ? ['0.0.0.0', '224.0.0.1', '255.255.255.255'] : ['::', 'ff02::1']) {
      for (const ends of [{ source }, { destination: source }]) {
        const frame = frameOf(family, packet(family, 6, segment({ flags: SYN }), ends));
        expect(answerTo(frame, family.type), JSON.stringify(ends)).toBeUndefined();
      }
    }
  });

  test('of any flags, numbers and length is answered as the RFC has it', () => {
    const numbers = fc.nat({ max: 0xffff_ffff });
    const anything = fc.record({
      flags: fc.nat({ max: 255 }).filter((flags) => (flags & RST) === 0),
      sequence: numbers,
      acknowledgement: numbers,
      payload: fc.nat({ max: 1400 }),
      options: fc.nat({ max: 10 }),
    });
    fc.assert(
      fc.property(anything, (asked) => {
        const { flags, sequence, acknowledgement, payload } = asked;
        const taken = payload + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
        const expected = (flags & ACK) !== 0 ? [acknowledgement, 0, RST] : [0, (sequence + taken) % 2 ** 32, RST | ACK];
        expect(resetOf(family, asked)).toEqual(expected);
      }),
    );
  });
});

describe.each(families)('other packets of $name', (family) => {
  const [protocol, type, code] = family.refusal;

  test.each([17, 47, 50, 132, 200])(
    'of protocol %d are told "administratively prohibited", with as much of them as fits',
    (asked) => {
      for (const size of [20, 21, 500, 1400]) {
        const payload = new Uint8Array(size).fill(0x11);
        if (asked === 17) payload.set([...word(5), ...word(6), ...word(size), 0, 0]);
        const inner = packet(family, asked, payload);
        const answer = answerTo(frameOf(family, inner, { padding: 3 }), family.type);
        const upper = upperOf(family, answer, protocol);
        expect([upper[0], upper[1], read(upper, 4, 4)]).toEqual([type, code, 0]);
        const room = family.longest - family.headers - 8;
        expect(upper.subarray(8)).toEqual(inner.subarray(0, Math.min(room, inner.length)));
      }
    },
  );

  test('that are echo requests are told, errors are not', () => {
    const icmp = (of: number) => packet(family, protocol, Uint8Array.from([of, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4]));
    const ask = (of: number) => answerTo(frameOf(family, icmp(of)), family.type);
    expect(ask(family === four ? 8 : 128)).toBeDefined();
    for (const error of family === four ? [3, 4, 5, 11, 12] : [1, 2, 3, 4, 100, 127, 137])
      expect(ask(error)).toBeUndefined();
  });

  test('that are fragments: the first is told, though it is TCP, and later ones are not', () => {
    const isIpv6 = family === six;
    const fragment = (start: number) =>
      fragmentFrame({
        ...{ isIpv6, from: CLIENT, to: SERVER, source: family.source, destination: family.destination },
        ...{ protocol: 6, start, size: 48, head: segment({ flags: SYN }) },
      });
    const upper = upperOf(family, answerTo(fragment(0), family.type), protocol);
    expect([upper[0], upper[1]]).toEqual([type, code]);
    expect(answerTo(fragment(48), family.type)).toBeUndefined();
  });
});

test('what is no IP is not answered, and nothing that is cut off anywhere throws', () => {
  expect(answerTo(frameOf({ ...four, type: 0x0806 }, new Uint8Array(28)), 0x0806)).toBeUndefined();
  for (const family of families) {
    const whole = frameOf(family, packet(family, 6, segment({ flags: SYN })));
    for (let size = ETHERNET; size < whole.length; size++)
      expect(answerTo(whole.slice(0, size), family.type), `${family.name} of ${size} octets`).toBeUndefined();
  }
});
