/**
 * A verdict never depends on history that the configuration did not ask for (DESIGN 3.1; threats 6, 13, 14): whatever came
 * before, as near to the frame as can be (its own octets with bits turned, cut, padded, of protocol 0 and every other, ND
 * with odd codes), the frame reaches the same ports for the same reason as in a switch that has seen nothing. No networks
 * that learn, no stateful groups and no fragments here: those are the histories that are asked for.
 */
import { expect, test } from 'vitest';
import { dropReasons } from '../../src/dataplane/drop-reason.js';
import { TestSwitch } from '../pipeline/test-switch.js';
import { randomDocument, STATIONS } from './policy-documents.js';
import { GroupsReference } from './policy-groups-reference.js';
import type { Frame, PolicyDocument } from './policy-model.js';
import { frameOctets } from './policy-octets.js';
import { served } from './policy-simulator.js';
import { PolicyTraffic } from './policy-traffic.js';
import { Random } from './random.js';

const DOCUMENTS = 30;
const TARGETS = 16;
const HISTORY = 40;

interface Seen {
  readonly port: string;
  readonly octets: Uint8Array;
}

function forgetful(random: Random): PolicyDocument {
  const document = randomDocument(random, served);
  for (const network of Object.values(document.networks)) network.learning = false;
  for (const group of Object.values(document.groups)) group.stateful = false;
  return document;
}

function makeSwitch(document: PolicyDocument): TestSwitch {
  const made = new TestSwitch(document, { fdbEntries: 64, slots: 256 });
  for (const { network, mac, port } of STATIONS) {
    const high = Number.parseInt(mac.slice(0, 4), 16);
    const low = Number.parseInt(mac.slice(4), 16) | 0;
    made.fdb.addStatic(made.network(network), high, low, made.member(port, network), made.index(port));
  }
  return made;
}

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

/** Frames like the target, each in one respect another. */
function history(random: Random, { port, octets }: Seen, { tags, content }: Frame): Seen[] {
  const network = 14 + tags.length * 4;
  const protocol = network + (content.kind === 'ip' && content.source.family === 6 ? 6 : 9);
  const change = (at: number, value: number) => {
    const changed = octets.slice();
    if (at < changed.length) changed[at] = value;
    return changed;
  };
  const makers: readonly (() => Uint8Array)[] = [
    () => change(protocol, 0),
    () => change(protocol, random.below(256)),
    () => change(network + random.pick([20, 21, 40, 41]), random.below(256)),
    () => octets.slice(0, random.between(14, octets.length)),
    () => Uint8Array.from([...octets, ...new Array<number>(random.below(200)).fill(0)]),
    () => {
      const at = random.between(12, octets.length - 1);
      return change(at, octets[at] ^ (1 << random.below(8)));
    },
    () => change(random.below(6), random.below(256)),
    () => change(random.between(network, octets.length - 1), random.below(256)),
  ];
  return Array.from({ length: HISTORY }, (_, index) => ({
    port: random.oneIn(4) ? random.pick(STATIONS).port : port,
    octets: index === 0 ? change(protocol, 0) : random.pick(makers)(),
  }));
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
      const before = history(random, target, frame);
      for (const each of before) verdict(old, each);
      const name = `seed ${seed}, ${target.port}: ${Buffer.from(target.octets).toString('hex')}`;
      const later = verdict(old, target);
      expect(`${name}: ${later}`).toBe(`${name}: ${verdict(makeSwitch(document), target)}`);
      compared++;
    }
  }
  expect(compared).toBeGreaterThan((DOCUMENTS * TARGETS) / 2);
});
