import { describe, expect, test } from 'vitest';
import {
  BFD_FRAME_SIZE,
  bfdPacketEnd,
  bfdPacketStart,
  isBfdFrame,
  isBfdPacket,
  writeBfdFrame,
} from '../../src/wire/bfd-frame.js';
import { type BfdFrameRecipe, bfdFrame, downPacket } from './bfd-frames.js';

const AT = 16;
const IPV4 = 0x0800;

/** The frame at AT of an arena full of something else. */
function arena(frame: Uint8Array): Uint8Array {
  const octets = new Uint8Array(AT + frame.length + 16).fill(0xa5);
  octets.set(frame, AT);
  return octets;
}

const packetOf = (recipe: BfdFrameRecipe) => {
  const frame = bfdFrame(recipe);
  return isBfdPacket(arena(frame), IPV4, AT + 14, AT + frame.length);
};
const frameOf = (recipe: BfdFrameRecipe) => {
  const frame = bfdFrame(recipe);
  return isBfdFrame(arena(frame), AT, IPV4, AT + 14, AT + frame.length);
};
const startOf = (recipe: BfdFrameRecipe) => {
  const frame = bfdFrame(recipe);
  return bfdPacketStart(arena(frame), AT, AT + frame.length);
};

test('a frame is written as Open vSwitch writes it, with right checksums, and nothing around it', () => {
  const octets = new Uint8Array(AT + BFD_FRAME_SIZE + 8).fill(0xa5);
  const mac = Uint8Array.from(Buffer.from('023344556677', 'hex'));
  writeBfdFrame(octets, AT, mac, Uint8Array.from(downPacket));
  expect([...octets.subarray(AT, AT + BFD_FRAME_SIZE)]).toEqual([...bfdFrame()]);
  expect([...octets.subarray(0, AT), ...octets.subarray(AT + BFD_FRAME_SIZE)]).toEqual(new Array(AT + 8).fill(0xa5));
});

describe('a frame for the switch', () => {
  test('is read, with or without padding behind it', () => {
    for (const padding of [0, 20]) {
      const frame = bfdFrame({ padding });
      const octets = arena(frame);
      const start = bfdPacketStart(octets, AT, AT + frame.length);
      expect([...octets.subarray(start, bfdPacketEnd(octets, start))]).toEqual(downPacket);
    }
  });

  test('cut off at any octet is none', () => {
    const octets = arena(bfdFrame());
    for (let end = AT; end < AT + BFD_FRAME_SIZE; end++) {
      expect(bfdPacketStart(octets, AT, end)).toBe(-1);
      expect(isBfdFrame(octets, AT, IPV4, AT + 14, end)).toBe(false);
    }
  });

  test.each([
    ['another address', { to: '002320000002' }],
    ['another vendor', { to: '002420000001' }],
    ['another UDP port', { port: 3785 }],
    ['another protocol', { protocol: 6 }],
    ['a later fragment', { fragment: 1 }],
  ] as const)('is not one with %s', (_, recipe) => {
    expect(frameOf(recipe)).toBe(false);
    expect(startOf(recipe)).toBe(-1);
  });

  test.each([
    ['a TTL that is not 255', { ttl: 254 }],
    ['a wrong header checksum', { headerChecksum: 0x1234 }],
    ['more fragments to come', { fragment: 0x2000 }],
  ] as const)('is taken but not believed with %s', (_, recipe) => {
    expect(frameOf(recipe)).toBe(true);
    expect(startOf(recipe)).toBe(-1);
  });

  test('whose UDP length lies is not believed', () => {
    for (const length of [0, 7, 33, 0xffff]) {
      const octets = arena(bfdFrame());
      octets.set([length >> 8, length & 0xff], AT + 38);
      expect(bfdPacketStart(octets, AT, AT + BFD_FRAME_SIZE)).toBe(-1);
    }
  });
});

describe('a packet that a machine must not send into a watched tunnel', () => {
  test('is BFD for any MAC, also as a first fragment', () => {
    expect(packetOf({})).toBe(true);
    expect(packetOf({ to: '525400000001', fragment: 0x2000, ttl: 1 })).toBe(true);
  });

  test('is not anything else', () => {
    expect(packetOf({ port: 53 })).toBe(false);
    expect(packetOf({ protocol: 6 })).toBe(false);
    expect(packetOf({ fragment: 3 })).toBe(false);
    const frame = bfdFrame();
    expect(isBfdPacket(arena(frame), 0x86dd, AT + 14, AT + frame.length)).toBe(false);
  });
});
