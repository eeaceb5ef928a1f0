/**
 * A verdict never depends on history that the configuration did not ask for (DESIGN 3.1; threats 6, 13, 14): whatever came
 * before, as near to the frame as can be (its own octets with bits turned, cut, padded, of protocol 0 and every other, ND
 * with odd codes), the frame reaches the same ports for the same reason as in a switch that has seen nothing. No networks
 * that learn, no stateful groups and no fragments here: those are the histories that are asked for.
 */
import { expect, test } from 'vitest';
import { dropReasons } from '../../src/dataplane/drop-reason.js';
import type { TestSwitch } from '../pipeline/test-switch.js';
import { alike, forgetful, makeSwitch, type Seen } from './policy-alike.js';
import { GroupsReference } from './policy-groups-reference.js';
import { frameOctets } from './policy-octets.js';
import { PolicyTraffic } from './policy-traffic.js';
import { Random } from './random.js';

const DOCUMENTS = 30;
const TARGETS = 16;
const HISTORY = 40;

/** Who received the frame, or why nobody did. */
function verdict(made: TestSwitch, frame: Seen): string {
  made.now += 100;
  if (!made.receive(frame)) throw new Error('the pool is full');
  const [slot] = made.received;
  made.runBatch();
  const to = made.sent.splice(0).filter(({ original, isGenerated }) => original === slot && !isGenerated);
  const { reason, copyFailure } = made.pool;
  return to.length > 0 ? to.map(({ port }) => port).join(' ') : dropReasons[reason[slot] || copyFailure[slot]];
}

test('a frame meets the same verdict whatever came before it', { timeout: 120_000 }, () => {
  const groups = new GroupsReference();
  let compared = 0;
  for (let seed = 0; seed < DOCUMENTS; seed++) {
    const random = new Random(seed);
    const document = forgetful(random);
    const traffic = new PolicyTraffic(random, document, groups);
    const old = makeSwitch(document);
    for (let index = 0; index < TARGETS; index++) {
      const frame = traffic.next();
      if (frame.content.kind === 'ip' && frame.content.fragment !== 'none') continue;
      const target = { port: frame.port, octets: frameOctets(frame) };
      const before = alike(random, target, frame, HISTORY);
      for (const each of before) verdict(old, each);
      const name = `seed ${seed}, ${target.port}: ${Buffer.from(target.octets).toString('hex')}`;
      const later = verdict(old, target);
      expect(`${name}: ${later}`).toBe(`${name}: ${verdict(makeSwitch(document), target)}`);
      compared++;
    }
  }
  expect(compared).toBeGreaterThan((DOCUMENTS * TARGETS) / 2);
});
