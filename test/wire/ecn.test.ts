import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseIp } from '../../src/wire/address.js';
import { combineEcn, innerTrafficClass } from '../../src/wire/ecn.js';
import { buildEthernet, buildIp, buildUdp, type Tag } from '../../src/wire/frame-build.js';
import { referenceSum } from '../kernels/reference.js';

const NOT_ECT = 0b00;
const ECT_1 = 0b01;
const ECT_0 = 0b10;
const CE = 0b11;
const DROP = -1;
const START = 32;

/** RFC 6040 figure 4: the row is the inner header's codepoint, the column the outer one's. */
const columns = [NOT_ECT, ECT_0, ECT_1, CE];
const figure4 = new Map([
  [NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, DROP]],
  [ECT_0, [ECT_0, ECT_0, ECT_1, CE]],
  [ECT_1, [ECT_1, ECT_1, ECT_1, CE]],
  [CE, [CE, CE, CE, CE]],
]);
const cells = [...figure4].flatMap(([inner, row]) =>
  row.map((result, index) => ({ inner, outer: columns[index], result })),
);

const tagLists: readonly (readonly Tag[])[] = [
  [],
  [{ vid: 5, priority: 0, tpid: 0x8100 }],
  [
    { vid: 6, priority: 7, tpid: 0x88a8 },
    { vid: 0, priority: 0, tpid: 0x8100 },
  ],
];
const families = ['IPv4', 'IPv6'] as const;
type Family = (typeof families)[number];

const addresses = {
  IPv4: ['192.0.2.1', '198.51.100.2'],
  IPv6: ['2001:db8::1', '2001:db8::2'],
};

function frameOf(family: Family, trafficClass: number, tags: readonly Tag[] = []): Uint8Array {
  const [source, destination] = addresses[family].map((text) => parseIp(text) as Uint8Array);
  const packet = buildIp({ source, destination, protocol: 17, ttl: 64 }, buildUdp(1000, 2000, 30));
  const macs = { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2], tags };
  const frame = buildEthernet(macs, family === 'IPv4' ? 0x0800 : 0x86dd, packet);
  setTrafficClass(frame, 14 + 4 * tags.length, trafficClass);
  return frame;
}

function setTrafficClass(frame: Uint8Array, network: number, trafficClass: number): void {
  const view = new DataView(frame.buffer);
  if (frame[network] >> 4 === 6) {
    view.setUint32(network, 0x6000_0000 + trafficClass * 2 ** 20 + 0x5_4321);
    return;
  }
  view.setUint8(network + 1, trafficClass);
  view.setUint16(network + 10, 0);
  view.setUint16(network + 10, 0xffff - referenceSum(frame, network, 20));
}

/** The frame after it came in a datagram of this traffic class; undefined: it was to be dropped. */
function combine(frame: Uint8Array, outer: number, length = frame.length): Uint8Array | undefined {
  const arena = new Uint8Array(256).fill(0xa5);
  arena.set(frame, START);
  const isKept = combineEcn(arena, START, START + length, outer);
  expect([...arena.subarray(0, START), ...arena.subarray(START + frame.length)]).toEqual(
    new Array(256 - frame.length).fill(0xa5),
  );
  return isKept ? arena.slice(START, START + frame.length) : undefined;
}

describe.each(families)('%s out of a tunnel', (family) => {
  describe.each(tagLists.map((tags) => ({ tags, count: tags.length })))('behind $count tags', ({ tags }) => {
    test.each(cells)('says $result for inner $inner and outer $outer', ({ inner, outer, result }) => {
      for (const dscp of [0, 0b101110, 0b111111]) {
        const found = combine(frameOf(family, (dscp << 2) | inner, tags), (0b001010 << 2) | outer);
        expect(found).toEqual(result === DROP ? undefined : frameOf(family, (dscp << 2) | result, tags));
      }
    });
  });

  test('that is cut off inside its header is left as it is', () => {
    const whole = frameOf(family, CE - 1);
    const headerEnd = 14 + (family === 'IPv4' ? 20 : 40);
    for (let length = 14; length <= whole.length; length++) {
      const found = combine(whole, CE, length);
      expect(found, `${length} octets`).toEqual(length < headerEnd ? whole : frameOf(family, CE));
    }
  });

  test('whose version is not the one its ethertype says is left as it is', () => {
    const frame = frameOf(family, NOT_ECT);
    frame[14] ^= 0x10;
    expect(combine(frame, CE)).toEqual(frame);
  });

  test('has the traffic class that its header has, and none where it is cut off', () => {
    fc.assert(
      fc.property(fc.nat(255), (trafficClass) => {
        const frame = frameOf(family, trafficClass);
        const ethertype = family === 'IPv4' ? 0x0800 : 0x86dd;
        const headerEnd = 14 + (family === 'IPv4' ? 20 : 40);
        expect(innerTrafficClass(frame, ethertype, 14, frame.length)).toBe(trafficClass);
        expect(innerTrafficClass(frame, ethertype, 14, headerEnd - 1)).toBe(0);
        expect(innerTrafficClass(frame, 0x88b5, 14, frame.length)).toBe(0);
      }),
    );
  });
});

test('an IPv4 header with options keeps a right checksum, and one with a wrong checksum a wrong one', () => {
  const frame = frameOf('IPv4', ECT_0);
  frame[14] = 0x47;
  setTrafficClass(frame, 14, ECT_0);
  const view = new DataView(frame.buffer);
  view.setUint16(24, 0);
  view.setUint16(24, 0xffff - referenceSum(frame, 14, 28));
  const right = combine(frame, CE) as Uint8Array;
  expect(referenceSum(right, 14, 28)).toBe(0xffff);
  frame[25] ^= 0x40;
  const wrong = combine(frame, CE) as Uint8Array;
  expect(referenceSum(wrong, 14, 28)).not.toBe(0xffff);
});

test('a frame that is no IP packet has nothing to say, whatever the outer header says', () => {
  const macs = { destination: [255, 255, 255, 255, 255, 255], source: [2, 0, 0, 0, 0, 2], tags: [] };
  for (const ethertype of [0x0806, 0x88b5, 46]) {
    const frame = buildEthernet(macs, ethertype, new Uint8Array(46).fill(0x45));
    for (const outer of columns) expect(combine(frame, outer)).toEqual(frame);
  }
});
