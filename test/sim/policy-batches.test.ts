/**
 * What frames of a batch share with each other, so that neighbours cost less (stages/anti-spoof, last-match.ts), is no verdict:
 * a batch of frames that are as near to each other as can be ends as it does frame by frame, to the last hit of a rule.
 * With fragments, which wait and come back, and with another configuration between batches.
 */
import { expect, test } from 'vitest';
import { FRAGMENT_NONE, PacketReader } from '../../src/wire/packet.js';
import type { TestSwitch } from '../pipeline/test-switch.js';
import { alike, forgetful, makeSwitch, type Seen } from './policy-alike.js';
import { changedDocument } from './policy-documents.js';
import { GroupsReference } from './policy-groups-reference.js';
import type { Frame, PolicyDocument } from './policy-model.js';
import { frameOctets } from './policy-octets.js';
import { served } from './policy-simulator.js';
import { PolicyTraffic } from './policy-traffic.js';
import { Random } from './random.js';

const DOCUMENTS = 60;
const CONFIGURATIONS = 3;
const TARGETS = 12;
const ALIKE = 3;
const RULES = 4000;
/** Longer than fragments wait. */
const FRAGMENT_TIMEOUT_MS = 16_000;

const reader = new PacketReader();

/** Takes what a switch does to frames in batches of so many. */
function run(made: TestSwitch, frames: readonly Seen[], size: number): string[] {
  const sent: string[] = [];
  for (let first = 0; first < frames.length; first += size) {
    for (const frame of frames.slice(first, first + size))
      if (!made.receive(frame)) throw new Error('the pool is full');
    made.runBatch();
    // What the switch tells senders is limited by time, so it is left out.
    for (const { port, octets, isGenerated } of made.sent.splice(0))
      if (!isGenerated) sent.push(`${port} ${Buffer.from(octets).toString('hex')}`);
  }
  // Fragments whose first one never came end, too.
  made.now += FRAGMENT_TIMEOUT_MS;
  made.run();
  return sent.sort();
}

function hits({ machine }: TestSwitch): string[] {
  return Array.from({ length: RULES }, (_, rule) => machine.ruleCounters.read(rule))
    .map(({ frames, bytes }, rule) => `${rule}: ${frames} ${bytes}`)
    .filter((text) => !text.endsWith(': 0 0'));
}

function isFragment(octets: Uint8Array, { tags }: Frame): boolean {
  const network = 14 + tags.length * 4;
  reader.read(octets, (octets[network - 2] << 8) | octets[network - 1], network, octets.length);
  return reader.fragment !== FRAGMENT_NONE;
}

/**
 * Runs of frames alike, some of a run from another port or of another target, in an order that mixes some of them. Fragments
 * stand once and in their order: what becomes of one that contradicts or repeats another is a history that is asked for.
 */
function neighbours(random: Random, traffic: PolicyTraffic): Seen[] {
  const frames: Seen[] = [];
  const movable: number[] = [];
  for (let index = 0; index < TARGETS; index++) {
    const frame = traffic.next();
    const target = { port: frame.port, octets: frameOctets(frame) };
    const whole = [target, target, ...alike(random, target, frame, ALIKE), target].filter(
      ({ octets }) => !isFragment(octets, frame),
    );
    for (const each of whole) movable.push(frames.push(each) - 1);
    if (isFragment(target.octets, frame)) frames.push(target);
  }
  for (let index = 0; index < TARGETS; index++) {
    const [one, other] = [random.pick(movable), random.pick(movable)];
    [frames[one], frames[other]] = [frames[other], frames[one]];
  }
  return frames;
}

test('a batch ends as its frames do one by one', { timeout: 240_000 }, () => {
  const groups = new GroupsReference();
  let delivered = 0;
  let matched = 0;
  for (let seed = 0; seed < DOCUMENTS; seed++) {
    const random = new Random(seed);
    let document: PolicyDocument = forgetful(random);
    const traffic = new PolicyTraffic(random, document, groups);
    const together = makeSwitch(document);
    const alone = makeSwitch(document);
    for (let part = 0; part < CONFIGURATIONS; part++) {
      const frames = neighbours(random, traffic);
      const expected = run(alone, frames, 1);
      expect(run(together, frames, frames.length), `seed ${seed}, part ${part}`).toEqual(expected);
      expect(together.drops(), `seed ${seed}, part ${part}`).toEqual(alone.drops());
      expect(hits(together), `seed ${seed}, part ${part}`).toEqual(hits(alone));
      delivered += expected.length;
      matched += hits(alone).length;
      document = changedDocument(random, document, served);
      for (const made of [together, alone]) made.configure(document);
      traffic.reconfigure(document);
    }
  }
  expect(delivered).toBeGreaterThan(1000);
  expect(matched).toBeGreaterThan(1000);
});
