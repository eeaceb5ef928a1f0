import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { FdbControl } from '../../src/pipeline/fdb-control.js';
import { makeFdb, testPolicy, whereIs } from './fdb-fixture.js';
import { FdbModel, type ModelEntry } from './fdb-model.js';

const HIGH = 0x0200;
/** Ages with which `list` shows also what expired. */
const FOREVER = new Int32Array(64).fill(0x7fffffff);
const AGES = [300, 20, 5];

/** Members 1..8: two networks (odd and even) on each of four ports. */
const networkOf = (member: number) => 1 + (member & 1);
const member = fc.integer({ min: 1, max: 8 });
const mac = fc.integer({ min: -6, max: 12 });

const command = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('learn' as const), member, mac }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('refresh' as const), member, mac }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('static' as const), member, mac }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), member, mac }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sweep' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('flush' as const),
      by: fc.constantFrom('member', 'port', 'network'),
      member,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), member }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('recover' as const) }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

class Comparison {
  readonly fdb: FdbControl;
  readonly model: FdbModel;
  readonly policy = testPolicy();
  now = 1000;

  constructor(capacity: number, portLimit: number, networkLimit: number) {
    for (let index = 1; index <= 8; index++) this.policy.memberPort[index] = (index + 1) >> 1;
    this.policy.portMacLimit.fill(portLimit);
    this.policy.networkMacLimit.fill(networkLimit);
    this.policy.networkMacAge.set(AGES, 0);
    this.fdb = makeFdb(capacity);
    this.model = new FdbModel(capacity, this.policy);
  }

  all() {
    return [...this.fdb.list(this.now, FOREVER)];
  }

  /** Runs a change of the FDB, and gives the model to know which entry went. */
  private changed<T>(change: () => T): { result: T; gone: (among: ModelEntry[]) => ModelEntry } {
    const result = change();
    const left = new Set(this.all().map((entry) => FdbModel.key(entry.network, entry.macLow)));
    const gone = (among: ModelEntry[]) => {
      const which = among.filter((entry) => !left.has(FdbModel.key(entry.network, entry.mac)));
      expect(which, 'one of those that may give way gave way').not.toEqual([]);
      return which[0]!;
    };
    return { result, gone };
  }

  run(step: Command): void {
    const { fdb, model, policy, now } = this;
    if (step.do === 'wait') this.now += step.seconds;
    else if (step.do === 'recover') fdb.recover();
    else if (step.do === 'sweep')
      expect(fdb.sweep(now, policy.networkMacAge, 1000)).toBe(
        model.forgetWhere((entry) => model.isExpired(entry, now)),
      );
    else this.runOn(step, networkOf(step.member));
  }

  private runOn(step: Exclude<Command, { do: 'wait' | 'recover' | 'sweep' }>, network: number): void {
    const { fdb, model, policy, now } = this;
    if (step.do === 'learn') {
      const { result, gone } = this.changed(() => fdb.learn(network, HIGH, step.mac, step.member, now, policy));
      expect(result).toBe(model.learn(network, step.mac, step.member, now, gone));
    } else if (step.do === 'static') {
      const port = policy.memberPort[step.member]!;
      const expiry = { nowSeconds: now, networkMacAge: policy.networkMacAge };
      const { result, gone } = this.changed(() => fdb.addStatic(network, HIGH, step.mac, step.member, port, expiry));
      expect(result).toBe(model.addStatic(network, step.mac, step.member, now, gone));
    } else if (step.do === 'refresh') this.refresh(network, step.mac);
    else if (step.do === 'remove')
      expect(fdb.remove(network, HIGH, step.mac)).toBe(model.entries.delete(FdbModel.key(network, step.mac)));
    else if (step.do === 'release')
      expect(fdb.releaseMember(step.member)).toBe(model.forgetWhere((entry) => entry.member === step.member));
    else this.flush(step.by, step.member, network);
  }

  private refresh(network: number, mac: number): void {
    const found = this.fdb.find(network, HIGH, mac, this.now, this.policy.networkMacAge[network]!);
    const expected = this.model.entries.get(FdbModel.key(network, mac));
    expect(found !== -1).toBe(expected !== undefined && !this.model.isExpired(expected, this.now));
    if (found === -1 || expected === undefined) return;
    this.fdb.refresh(found, this.now);
    expected.lastSeen = this.now;
  }

  private flush(by: string, member: number, network: number): void {
    const port = this.policy.memberPort[member]!;
    const selector = by === 'member' ? { member } : by === 'port' ? { port } : { network };
    const expected = this.model.forgetWhere((entry) => {
      if (entry.isStatic) return false;
      if (by === 'network') return entry.network === network;
      return by === 'member' ? entry.member === member : this.policy.memberPort[entry.member] === port;
    });
    expect(this.fdb.flush(selector)).toBe(expected);
  }

  check(): void {
    const { fdb, model, now, policy } = this;
    const entries = [...model.entries.values()];
    const shown = this.all().map((entry) => [
      entry.network,
      entry.macLow,
      entry.member,
      entry.isStatic,
      entry.ageSeconds,
    ]);
    const wanted = entries.map((entry) => [
      entry.network,
      entry.mac,
      entry.member,
      entry.isStatic,
      entry.isStatic ? 0 : now - entry.lastSeen,
    ]);
    expect(shown.sort()).toEqual(wanted.sort());
    expect(fdb.counts().entries).toBe(entries.length);
    for (let port = 1; port <= 4; port++)
      expect(fdb.learnedByPort(port)).toBe(model.learned((entry) => policy.memberPort[entry.member] === port).length);
    for (const network of [1, 2])
      expect(fdb.learnedInNetwork(network)).toBe(model.learned((entry) => entry.network === network).length);
    for (const entry of entries) {
      const where = model.isExpired(entry, now) ? -1 : entry.member;
      expect(whereIs(fdb, entry.network, entry.mac, now, policy.networkMacAge[entry.network]!)).toBe(where);
    }
  }
}

it.each([
  { capacity: 1, portLimit: 0, networkLimit: 100 },
  { capacity: 2, portLimit: 0, networkLimit: 100 },
  { capacity: 7, portLimit: 0, networkLimit: 100 },
  { capacity: 64, portLimit: 3, networkLimit: 100 },
  { capacity: 64, portLimit: 0, networkLimit: 4 },
  { capacity: 10, portLimit: 4, networkLimit: 6 },
  { capacity: 64, portLimit: 0, networkLimit: 0 },
])(
  'the FDB does what a plain Map would, with $capacity entries, $portLimit a port and $networkLimit a network',
  (sizes) => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 60 }), (commands) => {
        const comparison = new Comparison(sizes.capacity, sizes.portLimit, sizes.networkLimit);
        for (const step of commands) {
          comparison.run(step);
          comparison.check();
        }
      }),
      { numRuns: 60 },
    );
  },
);
