/**
 * Frames that are as near to another as can be (its own octets with bits turned, cut, padded, of protocol 0 and every other),
 * and switches in which nothing is remembered that they could leave behind.
 */
import { TestSwitch } from '../pipeline/test-switch.js';
import { randomDocument, STATIONS } from './policy-documents.js';
import type { Frame, PolicyDocument } from './policy-model.js';
import { served } from './policy-simulator.js';
import type { Random } from './random.js';

export interface Seen {
  readonly port: string;
  readonly octets: Uint8Array;
}

/** Without the histories that a configuration can ask for. */
export function forgetful(random: Random): PolicyDocument {
  const document = randomDocument(random, served);
  for (const network of Object.values(document.networks)) network.learning = false;
  for (const group of Object.values(document.groups)) group.stateful = false;
  return document;
}

export function makeSwitch(document: PolicyDocument): TestSwitch {
  const made = new TestSwitch(document, { fdbEntries: 64, slots: 256 });
  for (const { network, mac, port } of STATIONS) {
    const high = Number.parseInt(mac.slice(0, 4), 16);
    const low = Number.parseInt(mac.slice(4), 16) | 0;
    made.fdb.addStatic(made.network(network), high, low, made.member(port, network), made.index(port));
  }
  return made;
}

/** Frames like the target, each in one respect another. */
export function alike(random: Random, { port, octets }: Seen, { tags, content }: Frame, count: number): Seen[] {
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
  return Array.from({ length: count }, (_, index) => ({
    port: random.oneIn(4) ? random.pick(STATIONS).port : port,
    octets: index === 0 ? change(protocol, 0) : random.pick(makers)(),
  }));
}
