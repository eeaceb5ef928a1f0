/** `weft trace` through a router that translates: each rewrite before and after, and nothing changed by the trace itself. */
import { expect, test } from 'vitest';
import type { TraceOutcome } from '../../src/pipeline/tracer.js';
import { out, SERVER } from './nat-flows.js';
import { ADDRESSES, MACS, NatSwitch, OUTSIDE } from './nat-switch.js';
import { traced } from './traced.js';

const changesOf = ({ stages }: TraceOutcome) =>
  stages.flatMap(({ stage, changes }) => changes.map((one) => `${stage}: ${one}`));

test('shows each rewrite of SNAT before and after, and begins no connection', () => {
  const tested = new NatSwitch({ external: { pool: '5000' } });
  const outcome = traced(tested, 'a', tested.frame('a', out('tcp')));
  expect(outcome.verdict).toBe('forward');
  expect(changesOf(outcome)).toEqual([
    `route: destination MAC ${tested.gateway('a')} -> ${MACS.o}`,
    `route: source MAC ${MACS.a} -> ${tested.gateway('o')}`,
    `route: source address ${ADDRESSES.a} -> ${OUTSIDE}`,
    'route: TTL 64 -> 63',
    'route: source port 4000 -> 5000',
  ]);
  expect(tested.connections.used).toBe(0);
  expect(tested.connections.ports.countTaken(1)).toBe(0);
});

test('shows both ends of a hairpin, and the identifier of a ping', () => {
  const tested = new NatSwitch({ floating: { '203.0.113.20': ADDRESSES.b }, external: { pool: '5000' } });
  const hairpin = traced(tested, 'a', tested.frame('a', out('udp', { dst: '203.0.113.20' })));
  expect(changesOf(hairpin)).toEqual(
    expect.arrayContaining([
      `route: source address ${ADDRESSES.a} -> ${OUTSIDE}`,
      `route: destination address 203.0.113.20 -> ${ADDRESSES.b}`,
      'route: source port 4000 -> 5000',
    ]),
  );
  const ping = traced(tested, 'a', tested.frame('a', out('icmp')));
  expect(changesOf(ping)).toContain('route: identifier 4000 -> 5000');
});

test('shows what an error and the packet in it become', () => {
  const tested = new NatSwitch({ external: { pool: '5000' } });
  tested.say('a', out('udp'));
  const outcome = traced(tested, 'o', tested.error(out('udp'), { outside: 5000 }));
  expect(changesOf(outcome)).toEqual(
    expect.arrayContaining([
      `route: destination address ${OUTSIDE} -> ${ADDRESSES.a}`,
      `route: quoted source address ${OUTSIDE} -> ${ADDRESSES.a}`,
      'route: quoted source port 5000 -> 4000',
    ]),
  );
  expect(changesOf(outcome).join()).not.toContain('quoted destination');
});

test('shows no change of a frame that is switched or dropped', () => {
  const tested = new NatSwitch();
  const dropped = traced(tested, 'o', tested.frame('o', out('tcp', { src: SERVER, dst: OUTSIDE })));
  expect(dropped).toMatchObject({ verdict: 'drop', reason: 'nat_filtered' });
  expect(changesOf(dropped)).toEqual([]);
});
