import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BFD_SIZE, type BfdFault, type BfdPacket, readBfd, writeBfd } from '../../src/wire/bfd.js';

const START = 12;
const words = fc.nat(0xffff_ffff);
const packets: fc.Arbitrary<BfdPacket> = fc
  .record({
    diagnostic: fc.nat(31),
    state: fc.nat(3),
    isPoll: fc.boolean(),
    isFinal: fc.boolean(),
    isControlPlaneIndependent: fc.boolean(),
    isDemand: fc.boolean(),
    multiplier: fc.integer({ min: 1, max: 255 }),
    myDiscriminator: fc.integer({ min: 1, max: 0xffff_ffff }),
    yourDiscriminator: words,
    desiredMinTxUs: words,
    requiredMinRxUs: words,
    requiredMinEchoRxUs: words,
  })
  .filter((packet) => packet.yourDiscriminator !== 0 || packet.state <= 1);

const up: BfdPacket = {
  diagnostic: 1,
  state: 3,
  isPoll: true,
  isFinal: false,
  isControlPlaneIndependent: false,
  isDemand: false,
  multiplier: 3,
  myDiscriminator: 0x89ab_cdef,
  yourDiscriminator: 0x0102_0304,
  desiredMinTxUs: 300_000,
  requiredMinRxUs: 1_000_000,
  requiredMinEchoRxUs: 0,
};
/** `up`, by hand. */
const upOctets = [
  ...[0x21, 0xe0, 3, 24, 0x89, 0xab, 0xcd, 0xef, 1, 2, 3, 4],
  ...[0, 0x04, 0x93, 0xe0, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0],
];

function written(packet: BfdPacket): Uint8Array {
  const arena = new Uint8Array(START + BFD_SIZE + 12).fill(0xa5);
  writeBfd(arena, START, packet);
  expect([...arena.subarray(0, START), ...arena.subarray(START + BFD_SIZE)]).toEqual(new Array(START + 12).fill(0xa5));
  return arena.slice(START, START + BFD_SIZE);
}

/** `up` with some octets changed, and some behind it. */
function changed(changes: Readonly<Record<number, number>>, behind: readonly number[] = []): BfdPacket | BfdFault {
  const octets = Uint8Array.of(...upOctets, ...behind);
  for (const [at, value] of Object.entries(changes)) octets[Number(at)] = value;
  return readBfd(octets, 0, octets.length);
}

describe('a BFD control packet', () => {
  test('is written as section 4.1 of RFC 5880 draws it', () => {
    expect([...written(up)]).toEqual(upOctets);
  });

  test('is read as it was written', () => {
    fc.assert(
      fc.property(packets, (packet) => {
        expect(readBfd(written(packet), 0, BFD_SIZE)).toEqual(packet);
      }),
    );
  });

  test.each([
    ['isPoll', 0x20],
    ['isFinal', 0x10],
    ['isControlPlaneIndependent', 0x08],
    ['isDemand', 0x02],
  ] as const)('has a bit of its own for %s', (name, bit) => {
    const none = { ...up, isPoll: false };
    expect(written({ ...none, [name]: true })[1]).toBe(written(none)[1] | bit);
    expect(changed({ 1: 0xc0 | bit })).toEqual({ ...none, [name]: true });
  });

  test('that is cut off at any octet is refused', () => {
    for (let length = 0; length < BFD_SIZE; length++) {
      expect(readBfd(Uint8Array.from(upOctets), 0, length), `${length} octets`).toBe('length');
    }
  });

  test('that pads its UDP payload is read all the same', () => {
    expect(changed({}, [1, 2, 3, 4])).toEqual(up);
    expect(changed({ 3: 28 }, [1, 2, 3, 4])).toEqual(up);
  });
});

describe('of what section 6.8.6 discards', () => {
  test.each([0, 2, 3, 4, 5, 6, 7])('version %i is', (version) => {
    expect(changed({ 0: version << 5 })).toBe('version');
  });

  test('a length that is too short, or longer than the datagram, is', () => {
    for (let length = 0; length < 256; length++) {
      const expected = length < 24 || length > 30 ? 'length' : up;
      expect(changed({ 3: length }, [0, 0, 0, 0, 0, 0])).toEqual(expected);
    }
    expect(changed({ 1: 0xc4, 3: 25 }, [0, 0])).toBe('length');
  });

  test('a detection multiplier of zero is', () => {
    expect(changed({ 2: 0 })).toBe('multiplier');
  });

  test('a multipoint bit is', () => {
    expect(changed({ 1: 0xe1 })).toBe('multipoint');
  });

  test('a discriminator of the sender of zero is', () => {
    expect(changed({ 4: 0, 5: 0, 6: 0, 7: 0 })).toBe('discriminator');
  });

  test('your discriminator of zero is in states Init and Up only', () => {
    const zero = { 8: 0, 9: 0, 10: 0, 11: 0 };
    expect([0, 1, 2, 3].map((state) => typeof changed({ ...zero, 1: state << 6 }))).toEqual([
      'object',
      'object',
      'string',
      'string',
    ]);
    expect(changed({ ...zero, 1: 0x80 })).toBe('discriminator');
  });

  test('authentication is, since none is in use', () => {
    expect(changed({ 1: 0xc4, 3: 26 }, [1, 2])).toBe('authentication');
  });

  test('any octets are refused with a word or read, and what is read writes the same first 24 of them', () => {
    const octets = fc
      .tuple(fc.uint8Array({ maxLength: 60 }), fc.array(fc.tuple(fc.nat(23), fc.nat(255)), { maxLength: 3 }))
      .map(([tail, changes]) => {
        const head = Uint8Array.from(upOctets);
        for (const [at, value] of changes) head[at] = value;
        return changes.length === 0 ? tail : Uint8Array.of(...head, ...tail);
      });
    fc.assert(
      fc.property(octets, (datagram) => {
        const found = readBfd(datagram, 0, datagram.length);
        if (typeof found === 'string') return;
        const again = written(found);
        again[3] = datagram[3];
        expect([...again]).toEqual([...datagram.subarray(0, 24)]);
      }),
      { numRuns: 500 },
    );
  });
});
