/** What a kernel leaves to the receiver of a frame without a virtio-net header, told by the partial checksum alone. */
import { describe, expect, test } from 'vitest';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { pseudoHeaderSum4, pseudoHeaderSum6 } from '../../src/wire/checksum.js';
import { adoptOffload } from '../../src/wire/offload.js';
import { fillOctets } from '../kernels/reference.js';

const pool = new FramePool(1);
const NETWORK = 14;

interface Sent {
  readonly family: 4 | 6;
  readonly protocol: 6 | 17;
  readonly payload: number;
  readonly partial: boolean;
  readonly flags?: number;
  readonly fragment?: number;
  readonly padding?: number;
}

/** Puts the frame into slot 0; returns where its transport header lies, from the frame's start. */
function receive({ family, protocol, payload, partial, flags = 0x10, fragment = 0, padding = 0 }: Sent): number {
  const headerSize = family === 4 ? 20 : 40;
  const transportSize = protocol === 6 ? 20 : 8;
  const frame = new Uint8Array(NETWORK + headerSize + transportSize + payload + padding);
  fillOctets(frame, 7);
  const view = new DataView(frame.buffer);
  view.setUint16(12, family === 4 ? 0x0800 : 0x86dd);
  const size = transportSize + payload;
  if (family === 4) {
    frame[NETWORK] = 0x45;
    view.setUint16(NETWORK + 2, headerSize + size);
    view.setUint16(NETWORK + 6, fragment);
    frame[NETWORK + 9] = protocol;
  } else {
    frame[NETWORK] = 0x60;
    view.setUint16(NETWORK + 4, size);
    frame[NETWORK + 6] = protocol;
  }
  const transport = NETWORK + headerSize;
  if (protocol === 6) {
    frame[transport + 12] = 0x50;
    frame[transport + 13] = flags;
  } else view.setUint16(transport + 4, size);
  const pseudo = family === 4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  const sum = pseudo(frame, NETWORK, protocol, size);
  view.setUint16(transport + (protocol === 6 ? 16 : 6), partial ? sum : sum ^ 0x0001);
  pool.octets.fill(0xa5, pool.frameStart(0), pool.frameStart(0) + frame.length + 64);
  pool.octets.set(frame, pool.frameStart(0));
  pool.receive(0, 0, frame.length);
  return transport;
}

const positions = () => ({
  start: pool.checksumStart[0] - pool.offset[0],
  gso: pool.gsoType[0],
  size: pool.gsoSize[0],
  headersEnd: pool.headersEnd[0] - pool.offset[0],
});

describe.each([
  ['IPv4', 4, 1],
  ['IPv6', 6, 4],
] as const)('a frame over %s from a kernel that left its work to the receiver', (_, family, gsoType) => {
  test('has its partial TCP or UDP checksum completed here', () => {
    for (const protocol of [6, 17] as const) {
      const transport = receive({ family, protocol, payload: 100, partial: true });
      expect(adoptOffload(pool, 0, 1450)).toBe(true);
      expect(positions()).toMatchObject({ start: transport, gso: 0 });
      expect(pool.checksumOffset[0]).toBe(protocol === 6 ? 16 : 6);
    }
  });

  test('is a super-frame of segments that just fit when it is longer than the MTU', () => {
    const transport = receive({ family, protocol: 6, payload: 9000, partial: true });
    expect(adoptOffload(pool, 0, 1450)).toBe(true);
    const headers = transport - NETWORK + 20;
    expect(positions()).toEqual({ start: transport, gso: gsoType, size: 1450 - headers, headersEnd: transport + 20 });
  });

  test('of exactly the MTU is a plain frame', () => {
    const headers = (family === 4 ? 20 : 40) + 20;
    receive({ family, protocol: 6, payload: 1450 - headers, partial: true });
    expect(adoptOffload(pool, 0, 1450)).toBe(true);
    expect(positions().gso).toBe(0);
  });

  test('is left alone when its checksum is anything else', () => {
    for (const protocol of [6, 17] as const) {
      receive({ family, protocol, payload: 9000, partial: false });
      expect(adoptOffload(pool, 0, 1450)).toBe(false);
      expect([pool.checksumStart[0], pool.gsoType[0]]).toEqual([0, 0]);
    }
  });

  test('is no super-frame with SYN, with padding, or as UDP: the MTU then decides', () => {
    for (const odd of [{ flags: 0x12 }, { padding: 2 }, { protocol: 17 as const }]) {
      receive({ family, protocol: 6, payload: 9000, partial: true, ...odd });
      adoptOffload(pool, 0, 1450);
      expect(positions().gso).toBe(0);
    }
  });
});

test('a fragment and a frame that is cut off are left alone', () => {
  receive({ family: 4, protocol: 17, payload: 100, partial: true, fragment: 0x2000 });
  expect(adoptOffload(pool, 0, 1450)).toBe(false);
  const transport = receive({ family: 4, protocol: 6, payload: 100, partial: true });
  for (let length = 14; length < transport + 120; length++) {
    pool.length[0] = length;
    expect(adoptOffload(pool, 0, 1450)).toBe(false);
  }
});
