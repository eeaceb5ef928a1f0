/** The connections stage guesses by a few bits of a key where its connection is. A guess that is wrong must cost time only. */
import { expect, test } from 'vitest';
import { TrackedSwitch, udp } from './connection-fixture.js';

const ONE = '192.0.2.1';
const TWO = '192.0.2.2';
const FLOWS = 400;

/** Ports whose bits meet in the same place of the hints, whatever `flow` is. */
const portsOf = (flow: number): [number, number] => [1000 ^ flow, 2000 ^ flow];
const forth = (flow: number) => udp(ONE, TWO, portsOf(flow));
const back = (flow: number) => {
  const [source, destination] = portsOf(flow);
  return udp(TWO, ONE, [destination, source]);
};

function tracked(): { tracked: TrackedSwitch; entries: number[] } {
  const one = new TrackedSwitch({}, 1024);
  const entries = Array.from({ length: FLOWS }, (_, flow) => one.one('a', forth(flow)).entry);
  expect(new Set(entries).size).toBe(FLOWS);
  return { tracked: one, entries };
}

test('of connections that share a hint each frame finds its own, in both directions and in any order', () => {
  const { tracked: one, entries } = tracked();
  for (let step = 0; step < 3 * FLOWS; step++) {
    const flow = (step * 149) % FLOWS;
    const isReply = step % 3 === 0;
    const seen = one.one(isReply ? 'b' : 'a', isReply ? back(flow) : forth(flow));
    expect(seen.entry, `${step}`).toBe(entries[flow]);
  }
});

test('whole batches of them do as well, also while the hints are not trusted', () => {
  const { tracked: one, entries } = tracked();
  for (let round = 0; round < 40; round++) {
    const flows = Array.from({ length: 256 }, (_, index) => (index * 7 + round * 31) % FLOWS);
    const seen = one.look(flows.map((flow) => ['a', forth(flow)] as const));
    expect(seen.map(({ entry }) => entry)).toEqual(flows.map((flow) => entries[flow]));
  }
});

test('a hint to an entry that was removed, or is another connection’s by now, is not believed', () => {
  const { tracked: one, entries } = tracked();
  const last = FLOWS - 1;
  const entry = entries[last] as number;
  expect(one.one('a', forth(last)).entry).toBe(entry);
  one.table.remove(entry, one.table.table.stampOf(entry));
  expect(one.one('a', forth(last), false).what).toBe('new');
  expect(one.one('a', forth(FLOWS + 5)), 'it takes the free entry').toMatchObject({ what: 'new', entry });
  expect(one.one('b', back(FLOWS + 5))).toMatchObject({ what: 'reply+', entry });
  expect(one.one('a', forth(last), false).what).toBe('new');
  expect(one.one('b', back(last), false).what).toBe('new');
});
