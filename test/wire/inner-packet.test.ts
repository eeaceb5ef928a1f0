/** One reading of a packet must say what the three functions say that it stands for, whatever is in the frame. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseIp } from '../../src/wire/address.js';
import { innerTrafficClass } from '../../src/wire/ecn.js';
import { flowHash } from '../../src/wire/flow-hash.js';
import { buildEthernet, buildIp, buildTcp, buildUdp } from '../../src/wire/frame-build.js';
import { InnerPacket } from '../../src/wire/inner-packet.js';
import { tunnelPortOf } from '../../src/wire/nested-tunnel.js';

const macs = { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2], tags: [] };
const GRE = 47;

function packetOf(family: 4 | 6, protocol: number, options: number): Uint8Array {
  const upper =
    protocol === 6
      ? buildTcp({ sourcePort: 5, destinationPort: 4789, sequence: 1, acknowledgement: 1, flags: 16, window: 9 }, 20)
      : buildUdp(50_000, 4789, 20);
  const [source, destination] = family === 4 ? ['192.0.2.1', '198.51.100.2'] : ['2001:db8::1', '2001:db8:1::2'];
  const plain = buildIp(
    { source: parseIp(source) as Uint8Array, destination: parseIp(destination) as Uint8Array, protocol, ttl: 64 },
    upper,
  );
  if (family === 6 || options === 0) return plain;
  const octets = Uint8Array.of(...plain.subarray(0, 20), ...new Array(options).fill(1), ...plain.subarray(20));
  octets[0] = 0x45 + options / 4;
  octets[3] += options;
  return octets;
}

/** Reads the frame at `start` of an arena whose other octets are `fill`. */
function compare(frame: Uint8Array, length: number, start: number, tags: number, fill: number): void {
  const octets = new Uint8Array(512).fill(fill);
  octets.set(frame.subarray(0, length), start);
  const network = start + 14 + 4 * tags;
  const ethertype = (frame[12 + 4 * tags] << 8) | frame[13 + 4 * tags];
  const before = octets.slice();
  const inner = new InnerPacket();
  inner.flow = -7;
  inner.trafficClass = -7;
  inner.tunnelPort = -7;
  const end = start + length;
  inner.read(octets, new Int32Array(octets.buffer), start, ethertype, network, end);
  expect(Buffer.compare(octets, before), 'reading writes nothing').toBe(0);
  expect([inner.flow, inner.trafficClass, inner.tunnelPort]).toEqual([
    flowHash(octets, start, ethertype, network, end),
    innerTrafficClass(octets, ethertype, network, end),
    tunnelPortOf(octets, ethertype, network, end),
  ]);
}

const cases = ([4, 6] as const).flatMap((family) =>
  [6, 17, GRE, 132, 1, 0].flatMap((protocol) =>
    (family === 4 ? [0, 4, 40] : [0]).flatMap((options) =>
      [0, 1, 2].map((tags) => ({ family, protocol, options, tags })),
    ),
  ),
);

describe.each(cases)('IPv$family, protocol $protocol, $options octets of options, $tags tags', (packet) => {
  const octets = packetOf(packet.family, packet.protocol, packet.options);
  const ethertype = packet.family === 4 ? 0x0800 : 0x86dd;
  const bare = buildEthernet(macs, ethertype, octets);
  const frame = Uint8Array.of(
    ...bare.subarray(0, 12),
    ...new Array<number[]>(packet.tags).fill([0x81, 0, 0, 5]).flat(),
    ...bare.subarray(12),
  );

  test('is read as the three functions read it, wherever it lies and wherever it is cut off', () => {
    for (const start of [64, 65, 66, 67])
      for (let length = 14 + 4 * packet.tags; length <= frame.length; length++)
        for (const fill of [0, 0xa5, 0xff]) compare(frame, length, start, packet.tags, fill);
  });

  test('is read so with any octets changed', () => {
    const changes = fc.array(fc.tuple(fc.nat(frame.length - 1), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(changes, fc.constantFrom(64, 66, 68), (list, start) => {
        const changed = frame.slice();
        for (const [at, value] of list) if (at >= 14 + 4 * packet.tags) changed[at] = value;
        compare(changed, changed.length, start, packet.tags, 0xa5);
      }),
    );
  });
});
