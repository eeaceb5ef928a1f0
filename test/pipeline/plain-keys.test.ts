/** Datagrams and segments whose connections stand and go on take a short way. It must say and note what the long one does. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FrozenEntries, hasTail } from '../../src/pipeline/connection-entries.js';
import { AS_JUDGED, KEY_ZONE, V_ORIGINAL, V_STATE, V_WINDOWS } from '../../src/pipeline/connection-entry.js';
import { EPOCH, packet, type Segment, segment, TrackedSwitch, tcpOctets, udp } from './connection-fixture.js';

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
  (flow) => ['a', udp(A, '224.0.0.9', [...ports[flow % FLOWS]!])],
  (flow) => ['a', udp(A, '255.255.255.255', [...ports[flow % FLOWS]!])],
  (flow) => ['a', packet({ protocol: 17, payload: Uint8Array.of(0, flow, 0, 99, 0, 8), from: A, to: B })],
  (flow) => ['b', udp('2001:db8::2', '2001:db8::1', [...ports[flow % FLOWS]!])],
];

/** A segment of one of three connections, by numbers near each other: from the beginning of its direction. */
const tcp = fc
  .record({
    flow: fc.nat({ max: 2 }),
    isBack: fc.boolean(),
    flags: fc.constantFrom('A', 'A', 'A', 'PA', 'PA', 'UA', 'S', 'SA', 'FA', 'RA', 'R', 'FS', 'EWA'),
    seq: fc.constantFrom(1, 1, 1, 11, 21, 0, -1, 990, 1010, 70_000, -70_000),
    ack: fc.constantFrom(1, 1, 1, 11, 21, 0, -1, 990, 1010, 70_000, -70_000),
    length: fc.constantFrom(0, 10, 10, 1400),
    win: fc.constantFrom(1000, 1000, 0, 1, 65_535),
  })
  .map(({ flow, isBack, ...segmentParts }) => tcpFrame(flow, isBack, segmentParts));

function tcpFrame(flow: number, isBack: boolean, more: Omit<Segment, 'ports'>): readonly [string, Uint8Array] {
  const forthPorts = [5000 + flow, 80] as const;
  if (!isBack) return ['a', segment({ ports: forthPorts, from: A, to: B, ...more })];
  return ['b', segment({ ports: [80, 5000 + flow], from: B, to: A, ...more })];
}

/** Three connections that stand, the second with scaled windows. */
const opening = [0, 1, 2].flatMap((flow) => {
  const scale = flow === 1 ? { scale: 7 } : {};
  return [
    tcpFrame(flow, false, { flags: 'S', seq: 0, ...scale }),
    tcpFrame(flow, true, { flags: 'SA', seq: 0, ack: 1, ...scale }),
    tcpFrame(flow, false, { flags: 'A', seq: 1, ack: 1 }),
  ];
});

const udpFrame = fc
  .tuple(fc.constantFrom(0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 5, 6), fc.nat({ max: FLOWS - 1 }))
  .map(([kind, flow]) => frames[kind]!(flow));

const batch = fc.record({
  /** Seconds since the one before: of UDP that was answered connections live longer. */
  pass: fc.constantFrom(0, 0, 0, 1, 29, 40, 200),
  /** A connection that somebody removes meanwhile, if it is there; most often none. */
  removed: fc.constantFrom(0, 0, 0, 1, 2, 3),
  epoch: fc.constantFrom(EPOCH, EPOCH, EPOCH, EPOCH + 1),
  sent: fc.array(fc.oneof(udpFrame, tcp), { minLength: 1, maxLength: 40 }),
});

let judged = 0;

const windows = Array.from({ length: V_WINDOWS + 1 - V_ORIGINAL }, (_, index) => V_ORIGINAL + index);

/** Everything that the stage says of slots, and what the table says of its entries. */
function stateOf({ tested, table }: TrackedSwitch) {
  const { connection, connectionState, connectionEpoch, connectionPorts } = tested.pool;
  const entries = Array.from({ length: 63 }, (_, index) => index + 1).filter((entry) => table.table.isLive(entry));
  judged += connectionState.filter((state) => (state & AS_JUDGED) !== 0).length;
  return {
    slots: [connection, connectionState, connectionEpoch, connectionPorts].map((field) => [...field]),
    entries: entries.map((entry) => [
      ...[entry, table.table.lastSeen(entry), table.table.groupOf(entry), table.table.valueWord(entry, V_STATE)],
      // Of what has no windows they mean nothing.
      ...(hasTail((table.table.keyWord(entry, KEY_ZONE) >>> 8) & 0xff) ? windows : []).map((word) =>
        table.table.valueWord(entry, word),
      ),
    ]),
  };
}

it('says of every frame, and notes of every connection, what the long way does', () => {
  fc.assert(
    fc.property(fc.array(batch, { minLength: 4, maxLength: 12 }), (batches) => {
      const short = new TrackedSwitch();
      const long = new TrackedSwitch();
      Object.assign(long.table.table, { showStanding: FrozenEntries.prototype.showStanding });
      // Each frame by itself: what one begins, the next one of a batch does not know yet.
      for (const one of [short, long]) for (const frame of opening) one.look([frame]);
      for (const { pass, removed, epoch, sent } of batches) {
        const seen = [short, long].map((one) => {
          one.pass(pass);
          Object.assign(one.tested.snapshot, { groups: { ...one.tested.snapshot.groups, epoch } });
          if (removed !== 0 && one.table.table.isLive(removed))
            one.table.remove(removed, one.table.table.stampOf(removed));
          return one.look(sent);
        });
        expect(seen[0]).toEqual(seen[1]);
        expect(stateOf(short)).toEqual(stateOf(long));
      }
    }),
    { numRuns: 150 },
  );
  expect(judged).toBeGreaterThan(1000);
});

it('takes segments in their order where a fragment is among them, which goes the long way', () => {
  const one = new TrackedSwitch();
  for (const frame of opening) one.look([frame]);
  const beyond = tcpFrame(0, false, { flags: 'A', seq: 100_000, ack: 1 });
  // How far a fragment reaches is not known, so windows behind one are not checked any more.
  const payload = tcpOctets({ flags: 'A', seq: 1, ack: 1, length: 12, ports: [5000, 80] });
  const fragment = ['a', packet({ protocol: 6, payload, from: A, to: B, fragment: 0x2000 })] as const;
  expect(one.look([beyond, fragment, beyond]).map(({ what }) => what)).toEqual(['invalid', 'original+', 'original+']);
});

it('leaves the short way for one frame at a time', () => {
  const one = new TrackedSwitch();
  for (const frame of opening) one.look([frame]);
  const { table } = one.table;
  const showStanding = table.showStanding.bind(table);
  const ways: number[] = [];
  Object.assign(table, {
    showStanding: (...given: Parameters<typeof showStanding>) => {
      const next = showStanding(...given);
      ways.push(next - given[4]);
      return next;
    },
  });
  const data = tcpFrame(0, false, { flags: 'A', seq: 1, ack: 1, length: 10 });
  const begins = tcpFrame(2, false, { flags: 'S', seq: 9 });
  one.look([data, data, begins, data, begins, begins, data, data, data]);
  expect(ways).toEqual([2, 1, 0, 3]);
});
