/** What the log says of connections that NAT refused. */
import { beforeEach, expect, test } from 'vitest';
import type { Log } from '../../src/control/log.js';
import { NatRefusalLog } from '../../src/control/nat-refusal-log.js';
import { natTotals } from '../../src/control/nat-statistics.js';
import { NatRefusals } from '../../src/pipeline/nat-refusals.js';
import { out, outFrom } from '../pipeline/nat-flows.js';
import { NatSwitch, OUTSIDE } from '../pipeline/nat-switch.js';

let lines: [detail: unknown, text: unknown][];
const log = {
  warn: (detail: unknown, text: unknown) => lines.push([detail, text]),
} as unknown as Log;
beforeEach(() => {
  lines = [];
});

const open = (tested: NatSwitch) =>
  new NatRefusalLog(
    log,
    tested.connections.refusals,
    (index) => `router ${index}`,
    (index) => (index === tested.index('a') ? 'a' : 'another'),
  );

test('exhaustion is one line a second, with the router and both addresses of the last connection', () => {
  const tested = new NatSwitch({ external: { pool: '5000' } });
  const told = open(tested);
  told.tick();
  expect(lines).toEqual([]);
  for (let port = 1; port <= 100; port++) tested.say('a', outFrom(port));
  told.tick();
  told.tick();
  expect(lines).toHaveLength(1);
  const last = {
    router: 'router 0',
    external: OUTSIDE,
    proto: 'udp',
    internal: '192.0.2.5',
    internalPort: 100,
    port: 'a',
  };
  expect(lines[0]).toEqual([{ exhausted: 99, limit: 0, ...last }, expect.stringContaining('nat_exhausted')]);
  tested.say('a', outFrom(101));
  told.tick();
  expect(lines[1]?.[0]).toMatchObject({ exhausted: 1, internalPort: 101 });
});

test('a share that is used up is told as such', () => {
  const tested = new NatSwitch({ external: { perVm: 1 } });
  const told = open(tested);
  for (const port of [1, 2, 3]) tested.say('a', out('icmp', { sport: port }));
  told.tick();
  expect(lines).toEqual([
    [
      expect.objectContaining({ exhausted: 0, limit: 2, proto: 'icmp', internalPort: 3 }),
      expect.stringMatching(/nat_limit/),
    ],
  ]);
});

test('what was refused before the daemon started is not told again, nor to who gets the number', () => {
  const tested = new NatSwitch({ external: { pool: '5000' } });
  for (const port of [1, 2, 3]) tested.say('a', outFrom(port));
  const { refusals } = tested.connections;
  expect([refusals.count(0, 0), refusals.count(0, 1)]).toEqual([2, 0]);
  const told = open(tested);
  tested.connections.keepOnly(
    () => true,
    () => false,
  );
  expect(refusals.count(0, 0)).toBe(0);
  told.tick();
  expect(lines).toEqual([]);
  tested.say('a', outFrom(1));
  tested.say('a', outFrom(2));
  told.tick();
  expect(lines[0]?.[0]).toMatchObject({ exhausted: 1 });
});

test('a trace counts nothing', () => {
  const tested = new NatSwitch({ external: { pool: '5000' } });
  const frozen = tested.connections.frozen();
  frozen.refusals.add(0, 16_384, 17, 1, new Int32Array(4), 1, new Int32Array(4), 0);
  expect(tested.connections.refusals.count(0, 0)).toBe(0);
  expect(frozen.refusals).toBeInstanceOf(NatRefusals);
});

test('weft status has the sums, or nothing where no router translates', () => {
  const row = (router: string) => ({
    router,
    ports: [{ external: OUTSIDE, proto: 'tcp', used: 2, size: 10 }],
    refused: { exhausted: 3, limit: 4 },
  });
  expect(natTotals([])).toEqual({});
  expect(natTotals([row('r1'), row('r2')])).toEqual({ nat: { ports: 4, refused: { exhausted: 6, limit: 8 } } });
});
