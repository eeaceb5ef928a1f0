/** Datagrams whose connections stay as they are take a short way. It must say and note what the long one does. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FrozenEntries } from '../../src/pipeline/connection-entries.js';
import { AS_JUDGED } from '../../src/pipeline/connection-entry.js';
import { EPOCH, packet, segment, TrackedSwitch, udp } from './connection-fixture.js';

const A = '192.0.2.1';
const B = '192.0.2.2';
const FLOWS = 6;
/** The last one is the same from both sides; those below 548 are looked at twice. */
const ports: readonly (readonly [number, number])[] = [
  [1000, 2000],
  [2000, 1000],
  [547, 548],
  [548, 53],
  [40_000, 60_000],
  [3000, 3000],
];
const forth = (flow: number) => udp(A, B, [...ports[flow % FLOWS]!]);
const back = (flow: number) => udp(B, A, [...ports[flow % FLOWS]!].reverse() as [number, number]);

const frames: readonly ((flow: number) => readonly [string, Uint8Array])[] = [
  (flow) => ['a', forth(flow)],
  (flow) => ['b', back(flow)],
  (flow) => ['x', forth(flow)],
  (flow) => ['a', segment({ flags: flow % 2 === 0 ? 'S' : 'A', ports: [...ports[flow % FLOWS]!] })],
  (flow) => ['a', udp(A, '224.0.0.9', [...ports[flow % FLOWS]!])],
  (flow) => ['a', udp(A, '255.255.255.255', [...ports[flow % FLOWS]!])],
  (flow) => ['a', packet({ protocol: 17, payload: Uint8Array.of(0, flow, 0, 99, 0, 8), from: A, to: B })],
  (flow) => ['b', udp('2001:db8::2', '2001:db8::1', [...ports[flow % FLOWS]!])],
];

const batch = fc.record({
  /** Seconds since the one before: of UDP that was answered connections live longer. */
  pass: fc.constantFrom(0, 0, 0, 1, 29, 40, 200),
  /** A connection that somebody removes meanwhile; most often none. */
  removed: fc.constantFrom(0, 0, 0, 1, 2, 3),
  epoch: fc.constantFrom(EPOCH, EPOCH, EPOCH, EPOCH + 1),
  sent: fc.array(fc.tuple(fc.constantFrom(0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7), fc.nat({ max: FLOWS - 1 })), {
    minLength: 1,
    maxLength: 40,
  }),
});

let judged = 0;

/** Everything that the stage says of slots, and what the table says of its entries. */
function stateOf({ tested, table }: TrackedSwitch) {
  const { connection, connectionState, connectionEpoch, connectionPorts } = tested.pool;
  const entries = Array.from({ length: 63 }, (_, index) => index + 1).filter((entry) => table.table.isLive(entry));
  judged += connectionState.filter((state) => (state & AS_JUDGED) !== 0).length;
  return {
    slots: [connection, connectionState, connectionEpoch, connectionPorts].map((field) => [...field]),
    entries: entries.map((entry) => [entry, table.table.lastSeen(entry), table.table.groupOf(entry)]),
  };
}

it('says of every frame, and notes of every connection, what the long way does', () => {
  fc.assert(
    fc.property(fc.array(batch, { minLength: 4, maxLength: 12 }), (batches) => {
      const short = new TrackedSwitch();
      const long = new TrackedSwitch();
      Object.assign(long.table.table, { showUnchanging: FrozenEntries.prototype.showUnchanging });
      for (const { pass, removed, epoch, sent } of batches) {
        const seen = [short, long].map((one) => {
          one.pass(pass);
          Object.assign(one.tested.snapshot, { groups: { ...one.tested.snapshot.groups, epoch } });
          if (removed !== 0) one.table.remove(removed, one.table.table.stampOf(removed));
          return one.look(sent.map(([kind, flow]) => frames[kind]!(flow)));
        });
        expect(seen[0]).toEqual(seen[1]);
        expect(stateOf(short)).toEqual(stateOf(long));
      }
    }),
    { numRuns: 150 },
  );
  expect(judged).toBeGreaterThan(1000);
});
