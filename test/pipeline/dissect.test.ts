/** The short way of the dissect stage, for plain packets, against the reader of all packets. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { dissectFrame } from '../../src/pipeline/stages/dissect.js';
import { ETHERTYPE_IPV4 } from '../../src/wire/ethernet.js';
import { PacketReader } from '../../src/wire/packet.js';
import { segment, udp } from './connection-fixture.js';

const ETHERNET = 14;
const pool = new FramePool(4);
const bases = [
  udp('192.0.2.1', '198.51.100.2', [1234, 53], 20),
  udp('192.0.2.1', '198.51.100.2', [1234, 53], 0),
  segment({ flags: 'PA', seq: 1, ack: 2, length: 30 }),
  segment({ flags: 'S', scale: 7 }),
];

const seen = { sound: 0, faulty: 0 };

/** Octets of the headers that say how the rest is read: changed to what may be anything. */
const change = fc.tuple(fc.integer({ min: ETHERNET, max: ETHERNET + 39 }), fc.integer({ min: 0, max: 255 }));

it('reads plain packets as the reader does, whatever of their headers is changed and wherever they are cut off', () => {
  const reader = new PacketReader();
  fc.assert(
    fc.property(
      fc.constantFrom(...bases),
      fc.array(change, { maxLength: 2 }),
      fc.integer({ min: ETHERNET, max: 120 }),
      fc.boolean(),
      (base, changes, size, isCut) => {
        const slot = pool.allocate();
        const at = pool.frameStart(slot);
        const length = isCut ? size : base.length;
        pool.octets.fill(0xa5, at, at + 200);
        pool.octets.set(base, at);
        for (const [place, value] of changes) pool.octets[at + place] = value;
        pool.receive(slot, 0, length);
        pool.ethertype[slot] = ETHERTYPE_IPV4;
        pool.networkHeader[slot] = at + ETHERNET;
        dissectFrame(pool, slot);
        reader.read(pool.octets, ETHERTYPE_IPV4, at + ETHERNET, at + length);
        const { kind, fault, protocol, fragment, transport, end, ports } = reader;
        const found = {
          kind: pool.packetKind[slot],
          isSound: pool.packetFault[slot] === 0,
          protocol: pool.protocol[slot],
          fragment: pool.fragment[slot],
          transport: pool.transport[slot],
          end: pool.packetEnd[slot],
          ports: pool.ports[slot],
          connection: [pool.connection[slot], pool.connectionState[slot]],
        };
        const isSound = fault === 0;
        seen[isSound ? 'sound' : 'faulty']++;
        expect(found).toEqual({ kind, isSound, protocol, fragment, transport, end, ports, connection: [0, 0] });
        pool.release(slot);
      },
    ),
    { numRuns: 5000 },
  );
  expect(Math.min(seen.sound, seen.faulty)).toBeGreaterThan(500);
});
