import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ND_MESSAGE_SIZE_MAX } from '../../src/limits.js';
import { macHighAt, macLowAt } from '../../src/wire/ethernet.js';
import { NEIGHBOR_ADVERTISEMENT_FRAME_SIZE, NeighborMessage, writeNeighborAdvertisement } from '../../src/wire/nd.js';
import { advertisement, icmp6Sum, linkLayer, mac, type NdRecipe, ndFrame } from './neighbor-frames.js';
import { concatenate } from './reference.js';

const A = '52:54:00:00:00:0a';
const B = '52:54:00:00:00:0b';
const NETWORK = 14;
const ask: NdRecipe = { from: A, source: '2001:db8::a', target: '2001:db8::b' };

/** Reads the frame where memory behind it is 0xa5. */
function read(frame: Uint8Array, end = frame.length): NeighborMessage | undefined {
  const octets = new Uint8Array(4096).fill(0xa5);
  octets.set(frame);
  const message = new NeighborMessage();
  return message.read(octets, NETWORK, end) ? message : undefined;
}

function option(type: number, units: number, size = units * 8): Uint8Array {
  const octets = new Uint8Array(Math.max(size, 0)).fill(0x5a);
  octets.set([type, units].slice(0, octets.length));
  return octets;
}

describe('a solicitation', () => {
  test('tells its target and its sender', () => {
    const found = read(ndFrame(ask));
    expect(found).toMatchObject({ isSolicitation: true, target: 62, mac: 80, flags: 0 });
  });

  test('without a source option tells no MAC', () => {
    expect(read(ndFrame({ ...ask, options: new Uint8Array(0) }))?.mac).toBe(0);
    expect(read(ndFrame({ ...ask, options: linkLayer(2, A) }))?.mac).toBe(0);
  });

  test('from :: is sound only to the solicited-node group and without a MAC', () => {
    const probe = { ...ask, source: '::', options: new Uint8Array(0) };
    expect(read(ndFrame(probe))?.mac).toBe(0);
    expect(read(ndFrame({ ...probe, options: linkLayer(1, A) }))).toBeUndefined();
    expect(read(ndFrame({ ...probe, destination: 'ff02::1' }))).toBeUndefined();
    expect(read(ndFrame({ ...probe, destination: '2001:db8::b' }))).toBeUndefined();
  });
});

describe('an advertisement', () => {
  test('tells its target, its MAC and its flags', () => {
    const found = read(advertisement({ from: B, source: '2001:db8::b', flags: 0xa0 }));
    expect(found).toMatchObject({ isSolicitation: false, target: 62, mac: 80, flags: 0xa0 });
  });

  test('that is solicited yet goes to a group is thrown away', () => {
    expect(read(advertisement({ from: B, source: '2001:db8::b', flags: 0x60 }))).toBeUndefined();
    expect(
      read(advertisement({ from: B, source: '2001:db8::b', flags: 0x60, destination: '2001:db8::a' })),
    ).toBeDefined();
  });
});

describe('what a host would throw away is not read', () => {
  const unsound: Record<string, Uint8Array> = {
    'a hop limit below 255': ndFrame({ ...ask, hopLimit: 254 }),
    'a code': ndFrame({ ...ask, code: 1 }),
    'a wrong checksum': ndFrame({ ...ask, checksumError: 1 }),
    'a group as target': ndFrame({ ...ask, target: 'ff02::1', destination: '2001:db8::b' }),
    'another ICMPv6 type': ndFrame({ ...ask, type: 134 }),
    'an option without length': ndFrame({ ...ask, options: option(1, 0, 8) }),
    'an option without length behind a sound one': ndFrame({
      ...ask,
      options: concatenate(linkLayer(1, A), option(14, 0, 8)),
    }),
    'an option that ends behind the message': ndFrame({ ...ask, options: option(1, 2, 8) }),
    'an option as long as can be said': ndFrame({ ...ask, options: option(1, 255, 8) }),
    'half an option header': ndFrame({ ...ask, options: concatenate(linkLayer(1, A), option(1, 1, 1)) }),
    'a message too long to be looked at': ndFrame({ ...ask, options: option(14, (ND_MESSAGE_SIZE_MAX - 24) / 8 + 1) }),
  };
  test.each(Object.entries(unsound))('%s', (_, frame) => {
    expect(read(frame)).toBeUndefined();
  });

  test('a payload length that ends inside the message, or behind the frame', () => {
    for (const length of [0, 23, 33, 0xffff]) {
      const frame = ndFrame(ask);
      frame.set([length >> 8, length & 0xff], NETWORK + 4);
      expect(read(frame), `${length}`).toBeUndefined();
    }
  });

  test('any octet that is not as it was sent, but for those that neither checksum nor rules cover', () => {
    const frame = ndFrame(ask);
    const uncovered = new Set([...Array(NETWORK).keys(), NETWORK, NETWORK + 1, NETWORK + 2, NETWORK + 3]);
    for (let at = NETWORK; at < frame.length; at++) {
      if (uncovered.has(at)) continue;
      const damaged = frame.slice();
      damaged[at] ^= 0x10;
      expect(read(damaged), `octet ${at}`).toBeUndefined();
    }
  });

  test('a frame cut short anywhere', () => {
    const frame = ndFrame(ask);
    for (let end = NETWORK; end < frame.length; end++) expect(read(frame, end)).toBeUndefined();
  });
});

test('the longest message that is looked at is read', () => {
  const filler = option(14, (ND_MESSAGE_SIZE_MAX - 24) / 8 - 1);
  expect(read(ndFrame({ ...ask, options: concatenate(filler, linkLayer(1, A)) }))?.mac).toBe(80 + filler.length);
});

test('the first of several MACs counts, and one of another length is no MAC', () => {
  expect(read(ndFrame({ ...ask, options: concatenate(linkLayer(1, A), linkLayer(1, B)) }))?.mac).toBe(80);
  expect(read(ndFrame({ ...ask, options: concatenate(option(1, 2), linkLayer(1, B)) }))?.mac).toBe(96);
});

test('no options, however they lie, make the reader look behind the message', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (options) => {
      const frame = ndFrame({ ...ask, options });
      const found = read(frame);
      if (found === undefined) return;
      expect(found.mac === 0 || (found.mac >= 80 && found.mac + 6 <= frame.length)).toBe(true);
    }),
    { numRuns: 500 },
  );
});

/** The advertisement written into memory full of 0xa5. */
function answer(frame: Uint8Array, answerer: string, isRouter: boolean): Uint8Array {
  const octets = new Uint8Array(4096).fill(0xa5);
  octets.set(frame);
  const to = 2048;
  const words = mac(answerer);
  writeNeighborAdvertisement(octets, 0, NETWORK, to, macHighAt(words, 0), macLowAt(words, 0), isRouter);
  const end = to + NEIGHBOR_ADVERTISEMENT_FRAME_SIZE;
  const beside = [...octets.subarray(to - 64, to), ...octets.subarray(end, end + 64)];
  expect(beside.every((octet) => octet === 0xa5)).toBe(true);
  return octets.slice(to, end);
}

test.each([
  { kind: 'host', isRouter: false, flags: 0x60 },
  { kind: 'router', isRouter: true, flags: 0xe0 },
])('an advertisement for a $kind is, octet by octet, what its owner would send', ({ isRouter, flags }) => {
  const target = { source: '2001:db8::b', destination: '2001:db8::a', flags };
  const expected = advertisement({ from: B, to: A, ...target });
  expect(Buffer.compare(answer(ndFrame(ask), B, isRouter), expected)).toBe(0);
});

test('every advertisement reads back, with a checksum that is right', () => {
  const groups = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 6, maxLength: 6 });
  const address = groups.map((words) => `2001:db8:${words.map((word) => word.toString(16)).join(':')}`);
  const station = fc
    .array(fc.integer({ min: 0, max: 255 }), { minLength: 5, maxLength: 5 })
    .map((octets) => `02:${octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':')}`);
  fc.assert(
    fc.property(address, address, station, station, fc.boolean(), (source, target, from, owner, isRouter) => {
      const found = answer(ndFrame({ from, source, target }), owner, isRouter);
      expect(icmp6Sum(found)).toBe(0xffff);
      const message = read(found);
      expect(message).toMatchObject({ isSolicitation: false, flags: isRouter ? 0xe0 : 0x60, mac: 80 });
      expect(Buffer.compare(found.slice(80, 86), mac(owner))).toBe(0);
    }),
  );
});
