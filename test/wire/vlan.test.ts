import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { read16 } from '../../src/wire/octets.js';
import { ethertypePosition, isTpid, popTag, pushTag, TPID_CUSTOMER, TPID_SERVICE } from '../../src/wire/vlan.js';

const START = 64;
const frames = fc.uint8Array({ minLength: 14, maxLength: 80 });
const tags = fc.record({
  tpid: fc.constantFrom(TPID_CUSTOMER, TPID_SERVICE),
  tci: fc.integer({ min: 0, max: 0xffff }),
});

const wordsOf = (arena: Uint8Array) => new Int32Array(arena.buffer);

function arenaWith(frame: Uint8Array): Uint8Array {
  const arena = new Uint8Array(256).fill(0xa5);
  arena.set(frame, START);
  return arena;
}

describe('a tag', () => {
  test('that is pushed lies between addresses and ethertype, and nothing else moves', () => {
    fc.assert(
      fc.property(frames, tags, (frame, { tpid, tci }) => {
        const arena = arenaWith(frame);
        const start = pushTag(wordsOf(arena), START, tpid, tci);
        const tag = [tpid >> 8, tpid & 0xff, tci >> 8, tci & 0xff];
        expect(start).toBe(START - 4);
        expect([...arena.subarray(start, START + frame.length)]).toEqual([
          ...frame.subarray(0, 12),
          ...tag,
          ...frame.subarray(12),
        ]);
        expect(arena.subarray(0, start).every((octet) => octet === 0xa5)).toBe(true);
        expect(arena.subarray(START + frame.length).every((octet) => octet === 0xa5)).toBe(true);
        expect(read16(arena, start + 14)).toBe(tci);
      }),
    );
  });

  test('that is pushed and popped leaves the frame as it was, however many there are', () => {
    fc.assert(
      fc.property(frames, fc.array(tags, { maxLength: 4 }), (frame, pushed) => {
        const arena = arenaWith(frame);
        let start = START;
        for (const { tpid, tci } of pushed) start = pushTag(wordsOf(arena), start, tpid, tci);
        for (const { tci } of pushed.toReversed()) {
          expect(read16(arena, start + 14)).toBe(tci);
          start = popTag(wordsOf(arena), start);
        }
        expect(start).toBe(START);
        expect([...arena.subarray(start, start + frame.length)]).toEqual([...frame]);
      }),
    );
  });

  test('is told by its TPID', () => {
    expect([0x8100, 0x88a8, 0x9100, 0x0800, 0].map(isTpid)).toEqual([true, true, false, false, false]);
  });
});

describe('the ethertype', () => {
  const frame = Uint8Array.of(...new Array(12).fill(2), 0x88, 0xa8, 0, 10, 0x81, 0, 0, 20, 0x08, 0x00, 1, 2, 3, 4);

  test('is found behind as many tags as are looked at', () => {
    expect([0, 1, 2, 3].map((tagsMax) => ethertypePosition(frame, 0, frame.length, tagsMax))).toEqual([12, 16, 20, 20]);
  });

  test('is never looked for behind the end of the frame', () => {
    const arena = arenaWith(frame);
    for (let length = 14; length <= frame.length; length++) {
      const position = ethertypePosition(arena, START, START + length, 2);
      expect(position + 2).toBeLessThanOrEqual(START + length);
      const expected = length < 18 ? 12 : length < 22 ? 16 : 20;
      expect(position - START).toBe(expected);
    }
  });
});
