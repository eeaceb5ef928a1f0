import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.js';
import { LINK_TYPE_ETHERNET, readCapture } from '../../src/wire/pcap-file.js';

const frames = [Uint8Array.of(1, 2, 3), Uint8Array.of(), new Uint8Array(61).fill(7)];

function words(littleEndian: boolean, ...values: readonly number[]): Buffer {
  const octets = Buffer.alloc(4 * values.length);
  const view = new DataView(octets.buffer, octets.byteOffset, octets.length);
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, littleEndian);
  return octets;
}

function pcap(littleEndian: boolean, magic = 0xa1b2c3d4): Uint8Array {
  const extra = magic === 0xa1b2cd34 ? [0, 0] : [];
  const records = frames.map((frame) =>
    Buffer.concat([words(littleEndian, 1, 2, frame.length, frame.length + 5, ...extra), frame]),
  );
  return new Uint8Array(Buffer.concat([words(littleEndian, magic, 0, 0, 0, 65_535, 1), ...records]));
}

function block(littleEndian: boolean, type: number, body: Uint8Array): Buffer {
  const padding = Buffer.alloc((4 - (body.length % 4)) % 4);
  const size = 12 + body.length + padding.length;
  return Buffer.concat([words(littleEndian, type, size), body, padding, words(littleEndian, size)]);
}

function pcapngSection(littleEndian: boolean, linkType: number, snapLength = 0): Uint8Array {
  const interfaceBody = words(littleEndian, littleEndian ? linkType : linkType << 16, snapLength);
  const packets = frames.map((frame) =>
    block(littleEndian, 6, Buffer.concat([words(littleEndian, 0, 0, 0, frame.length, frame.length + 5), frame])),
  );
  return new Uint8Array(
    Buffer.concat([
      block(littleEndian, 0x0a0d0d0a, words(littleEndian, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff)),
      block(littleEndian, 1, interfaceBody),
      block(littleEndian, 5, Buffer.alloc(12)),
      ...packets,
      block(littleEndian, 3, Buffer.concat([words(littleEndian, frames[2].length), frames[2]])),
    ]),
  );
}

describe('a pcap file', () => {
  test.each([
    [true, 0xa1b2c3d4],
    [false, 0xa1b2c3d4],
    [true, 0xa1b23c4d],
    [false, 0xa1b2cd34],
  ])('is read (little-endian %s, magic %i)', (littleEndian, magic) => {
    const capture = readCapture(pcap(littleEndian, magic));
    expect(capture.fault).toBeUndefined();
    expect(capture.frames.map((frame) => [...frame.octets])).toEqual(frames.map((frame) => [...frame]));
    expect(capture.frames.map((frame) => frame.originalLength)).toEqual([8, 5, 66]);
    expect(capture.frames.every((frame) => frame.linkType === LINK_TYPE_ETHERNET)).toBe(true);
  });

  test('whose record claims more than there is gives the frames before it and says so', () => {
    const file = pcap(true);
    new DataView(file.buffer).setUint32(24 + 16 + 3 + 8, 0xffffffff, true);
    const capture = readCapture(file);
    expect(capture.frames.length).toBe(1);
    expect(capture.fault).toBe('record 2 is longer than the file');
  });
});

describe('a pcapng file', () => {
  test.each([true, false])('is read with both kinds of packet blocks (little-endian: %s)', (littleEndian) => {
    const capture = readCapture(pcapngSection(littleEndian, 1));
    expect(capture.fault).toBeUndefined();
    expect(capture.frames.map((frame) => [...frame.octets])).toEqual([...frames, frames[2]].map((frame) => [...frame]));
    expect(capture.frames.every((frame) => frame.linkType === 1)).toBe(true);
  });

  test('may have sections of different byte order and link type', () => {
    const capture = readCapture(new Uint8Array(Buffer.concat([pcapngSection(true, 1), pcapngSection(false, 113)])));
    expect(capture.fault).toBeUndefined();
    expect(capture.frames.map((frame) => frame.linkType)).toEqual([1, 1, 1, 1, 113, 113, 113, 113]);
  });

  test("keeps a simple packet to the interface's snap length", () => {
    const capture = readCapture(pcapngSection(true, 1, 20));
    expect(capture.frames.at(-1)?.octets.length).toBe(20);
    expect(capture.frames.at(-1)?.originalLength).toBe(61);
  });

  test.each([
    ['a block of no length', 4, 0],
    ['a block of odd length', 4, 29],
    ['a block longer than the file', 4, 0xfffffffc],
    ['an unknown byte order', 8, 0x12345678],
  ])('with %s ends there and says so', (_, position, value) => {
    const file = pcapngSection(true, 1);
    new DataView(file.buffer).setUint32(position, value, true);
    const capture = readCapture(file);
    expect(capture.frames).toEqual([]);
    expect(capture.fault).toMatch(/^block at octet 0 /);
  });

  test('with a packet of an interface that was not described ends there', () => {
    const section = block(true, 0x0a0d0d0a, words(true, 0x1a2b3c4d, 1, 0, 0));
    const packet = block(true, 6, words(true, 0, 0, 0, 0, 0));
    const capture = readCapture(new Uint8Array(Buffer.concat([section, packet])));
    expect(capture).toEqual({ frames: [], fault: 'block at octet 28 contradicts itself' });
  });
});

describe('any file', () => {
  const whole = [pcap(true), pcap(false), pcapngSection(true, 1), pcapngSection(false, 1)];

  test('cut off at any octet gives the frames that are whole, or is refused as no capture', () => {
    for (const file of whole) {
      const all = readCapture(file).frames;
      for (let length = 0; length < file.length; length++) {
        try {
          const { frames: found } = readCapture(file.slice(0, length));
          expect(found).toEqual(all.slice(0, found.length));
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
          expect(length).toBeLessThan(24);
        }
      }
    }
  });

  test('with octets changed anywhere is read without harm, its frames inside it', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(fc.constantFrom(...whole), changes, (file, edits) => {
        const lying = file.slice();
        for (const [position, value] of edits) lying[position % lying.length] = value;
        try {
          const total = readCapture(lying).frames.reduce((sum, frame) => sum + frame.octets.length, 0);
          expect(total).toBeLessThanOrEqual(lying.length);
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('that is no capture is refused with a hint', () => {
    expect(() => readCapture(new TextEncoder().encode('version: 1\nnetworks: {}\n'))).toThrow(/not a capture file/);
  });
});
