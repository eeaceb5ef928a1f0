/** What the FDB does where a limit is reached: what expired goes first, and a lowered limit is come down to. */
import { describe, expect, it } from 'vitest';
import { LEARNED, REFUSED_PORT_LIMIT } from '../../src/pipeline/fdb.js';
import type { FdbControl } from '../../src/pipeline/fdb-control.js';
import { makeFdb, testPolicy, whereIs } from './fdb-fixture.js';

const NETWORK = 1;
const HIGH = 0x0200;

/** Members 1..count of the network learn `each` stations of their own each. */
function populate(fdb: FdbControl, count: number, each: number, now: number): void {
  const policy = testPolicy();
  for (let member = 1; member <= count; member++)
    for (let station = 0; station < each; station++)
      expect(fdb.learn(NETWORK, HIGH, member * 1000 + station, member, now, policy)).toBe(LEARNED);
}

describe('an expired entry that was not swept yet', () => {
  it.each(['network', 'table'])('is taken before a living one is evicted from a full %s, whosever it is', (full) => {
    const fdb = makeFdb(full === 'table' ? 40 : 100);
    const policy = testPolicy();
    if (full === 'network') policy.networkMacLimit[NETWORK] = 40;
    fdb.learn(NETWORK, HIGH, 1, 1, 100, policy);
    fdb.learn(NETWORK, HIGH, 2, 2, 100, policy);
    for (let station = 0; station < 38; station++) fdb.learn(NETWORK, HIGH, 3000 + station, 3, 350, policy);
    expect(fdb.learn(NETWORK, HIGH, 4000, 4, 401, policy)).toBe(LEARNED);
    expect(fdb.learn(NETWORK, HIGH, 5000, 5, 401, policy)).toBe(LEARNED);
    expect([fdb.learnedByMember(1), fdb.learnedByMember(2), fdb.learnedByMember(3)]).toEqual([0, 0, 38]);
    expect(fdb.counts()).toMatchObject({ expired: 2, evicted: 0 });
    fdb.learn(NETWORK, HIGH, 5001, 5, 401, policy);
    expect(fdb.counts()).toMatchObject({ expired: 2, evicted: 1 });
  });

  it("of another network gives way in a full table, by that network's own age", () => {
    const fdb = makeFdb(2);
    const policy = testPolicy();
    policy.networkMacAge[2] = 10;
    fdb.learn(NETWORK, HIGH, 1, 1, 100, policy);
    fdb.learn(2, HIGH, 2, 2, 105, policy);
    expect(fdb.learn(NETWORK, HIGH, 3, 3, 120, policy)).toBe(LEARNED);
    expect([whereIs(fdb, NETWORK, 1, 120), fdb.learnedByMember(2)]).toEqual([1, 0]);
  });

  it('makes room for another of the members of its port', () => {
    const fdb = makeFdb(16);
    const policy = testPolicy();
    policy.memberPort[4] = 3;
    policy.portMacLimit[3] = 1;
    fdb.learn(NETWORK, HIGH, 1, 3, 100, policy);
    expect(fdb.learn(2, HIGH, 2, 4, 400, policy)).toBe(REFUSED_PORT_LIMIT);
    expect(fdb.learn(2, HIGH, 2, 4, 401, policy)).toBe(LEARNED);
  });

  it('makes room for a station that moves to its port', () => {
    const fdb = makeFdb(16);
    const policy = testPolicy();
    policy.portMacLimit[3] = 1;
    fdb.learn(NETWORK, HIGH, 1, 3, 100, policy);
    fdb.learn(NETWORK, HIGH, 2, 4, 400, policy);
    fdb.learn(NETWORK, HIGH, 2, 3, 401, policy);
    expect(whereIs(fdb, NETWORK, 2, 401)).toBe(3);
  });

  it('is found behind stations of its member that were listed earlier and seen again since', () => {
    const fdb = makeFdb(200);
    const policy = testPolicy();
    populate(fdb, 1, 101, 100);
    for (let station = 0; station < 100; station++) fdb.refresh(fdb.find(NETWORK, HIGH, 1000 + station, 200, 300), 200);
    policy.portMacLimit[1] = 101;
    const results = [1, 2, 3].map((mac) => fdb.learn(NETWORK, HIGH, mac, 1, 450, policy));
    expect(results).toContain(LEARNED);
    expect(whereIs(fdb, NETWORK, 1000, 450)).toBe(1);
  });

  it('is found by one learning or a later one, of so many members that one does not look at all', () => {
    const fdb = makeFdb(300);
    const policy = testPolicy();
    const memberPort = Int32Array.from({ length: 300 }, (_, member) => member);
    const wide = { ...policy, memberPort, portMacLimit: new Int32Array(300) };
    for (let member = 1; member <= 200; member++)
      fdb.learn(NETWORK, HIGH, member, member, member === 150 ? 100 : 400, wide);
    policy.networkMacLimit[NETWORK] = 200;
    for (let mac = 1001; mac <= 1004; mac++) fdb.learn(NETWORK, HIGH, mac, 201, 450, wide);
    expect(fdb.learnedByMember(150)).toBe(0);
    expect(fdb.counts().expired).toBe(1);
  });

  it('makes room for a static entry in a full table', () => {
    const fdb = makeFdb(3);
    const policy = testPolicy();
    fdb.learn(NETWORK, HIGH, 1, 1, 100, policy);
    fdb.learn(NETWORK, HIGH, 2, 2, 300, policy);
    fdb.learn(NETWORK, HIGH, 3, 2, 300, policy);
    const expiry = { nowSeconds: 401, networkMacAge: policy.networkMacAge };
    expect(fdb.addStatic(NETWORK, HIGH, 9, 3, 3, expiry)).toBe(true);
    expect([1, 2, 3].map((mac) => whereIs(fdb, NETWORK, mac, 401))).toEqual([-1, 2, 2]);
  });
});

describe('after a macLimit was lowered from 100 to 10', () => {
  const stations = (fdb: FdbControl, member: number, now: number) =>
    Array.from({ length: 100 }, (_, station) => station).filter(
      (station) => whereIs(fdb, NETWORK, member * 1000 + station, now) === member,
    );
  const newest = [90, 91, 92, 93, 94, 95, 96, 97, 98, 99];

  /** One member with stations 1000..1099, the later the newer. */
  function hundred(): FdbControl {
    const fdb = makeFdb(1000);
    const policy = testPolicy();
    for (let station = 0; station < 100; station++) fdb.learn(NETWORK, HIGH, 1000 + station, 1, 100 + station, policy);
    return fdb;
  }

  it.each(['port', 'network'] as const)('of the %s, trimming leaves the newest ten', (of) => {
    const fdb = hundred();
    const policy = testPolicy();
    if (of === 'port') policy.portMacLimit[1] = 10;
    else policy.networkMacLimit[NETWORK] = 10;
    expect(fdb.trim(policy, 30)).toBe(30);
    expect(fdb.learnedByPort(1)).toBe(70);
    expect([fdb.trim(policy, 1000), fdb.trim(policy, 1000)]).toEqual([60, 0]);
    expect(stations(fdb, 1, 200)).toEqual(newest);
    expect(fdb.counts().evicted).toBe(90);
  });

  it('those that were seen again last stay', () => {
    const fdb = hundred();
    const policy = testPolicy();
    for (let station = 0; station < 10; station++)
      fdb.refresh(fdb.find(NETWORK, HIGH, 1000 + station, 250, 300), 250 + station);
    policy.portMacLimit[1] = 10;
    fdb.trim(policy, 1000);
    expect(stations(fdb, 1, 260)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('of a port with many members, the newest of all of them stay', () => {
    const fdb = makeFdb(1000);
    const policy = testPolicy();
    policy.memberPort.fill(7);
    for (let station = 0; station < 100; station++)
      fdb.learn(1 + (station % 5), HIGH, station, 1 + (station % 5), 100 + station, policy);
    policy.portMacLimit[7] = 10;
    fdb.trim(policy, 1000);
    const left = [...fdb.list(200, policy.networkMacAge)].map(({ macLow }) => macLow);
    expect(left.sort((a, b) => a - b)).toEqual(newest);
  });

  it('of a network, learning comes down to it too, four steps at a time, and keeps what it learns', () => {
    const fdb = hundred();
    const policy = testPolicy();
    policy.networkMacLimit[NETWORK] = 10;
    let before = 100;
    for (let station = 0; station < 40; station++) {
      expect(fdb.learn(NETWORK, HIGH, 2000 + station, 2, 200 + station, policy)).toBe(LEARNED);
      expect(whereIs(fdb, NETWORK, 2000 + station, 200 + station)).toBe(2);
      const now = fdb.learnedInNetwork(NETWORK);
      expect(before - now).toBe(before > 10 ? Math.min(3, before - 10) : 0);
      before = now;
    }
    expect(before).toBe(10);
  });

  it('does not touch static entries, and nothing where no limit is exceeded', () => {
    const fdb = hundred();
    const policy = testPolicy();
    policy.portMacLimit[1] = 100;
    fdb.addStatic(NETWORK, HIGH, 5, 1, 1);
    expect(fdb.trim(policy, 1000)).toBe(0);
    policy.portMacLimit[1] = 10;
    expect(fdb.trim(policy, 1000)).toBe(90);
    expect(whereIs(fdb, NETWORK, 5, 10_000)).toBe(1);
  });
});
