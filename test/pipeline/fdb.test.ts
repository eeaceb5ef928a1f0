import { describe, expect, it } from 'vitest';
import {
  BUSY,
  fdbSize,
  LEARNED,
  MOVED,
  REFUSED_FULL,
  REFUSED_PORT_LIMIT,
  REFUSED_STATIC,
} from '../../src/pipeline/fdb.js';
import { FdbControl } from '../../src/pipeline/fdb-control.js';
import { makeFdb, testPolicy, whereIs, workerFdb } from './fdb-fixture.js';

const NETWORK = 1;
const HIGH = 0x0200;

describe('the FDB', () => {
  it('finds a station behind the member it was learned from, in its own network only', () => {
    const fdb = makeFdb(16);
    expect(fdb.learn(NETWORK, HIGH, -5, 3, 100, testPolicy())).toBe(LEARNED);
    expect(whereIs(fdb, NETWORK, -5, 100)).toBe(3);
    expect(whereIs(fdb, 2, -5, 100)).toBe(-1);
    expect(fdb.find(NETWORK, HIGH + 1, -5, 100, 300)).toBe(-1);
  });

  it('finds the all-zero key of network 0 only after it was added', () => {
    const fdb = makeFdb(16);
    expect(fdb.find(0, 0, 0, 0, 300)).toBe(-1);
    expect(fdb.learn(0, 0, 0, 0, 0, testPolicy())).toBe(LEARNED);
    expect(fdb.find(0, 0, 0, 0, 300)).toBe(1);
  });

  it('keeps apart networks up to the highest index', () => {
    const fdb = makeFdb(16);
    const policy = {
      ...testPolicy(),
      networkMacLimit: new Int32Array(16_384).fill(9),
      networkMacAge: new Int32Array(16_384).fill(9),
    };
    fdb.learn(16_383, 0xffff, -1, 7, 5, policy);
    expect(fdb.find(16_383, 0xffff, -1, 5, 9)).toBe(1);
    expect([...fdb.list(5, policy.networkMacAge)]).toEqual([
      { network: 16_383, macHigh: 0xffff, macLow: -1, member: 7, remote: 0, isStatic: false, ageSeconds: 0 },
    ]);
  });

  it('does not find a station later than its age after it was last seen, swept or not', () => {
    const fdb = makeFdb(16);
    const policy = testPolicy();
    fdb.learn(NETWORK, HIGH, 1, 3, 100, policy);
    expect(whereIs(fdb, NETWORK, 1, 400)).toBe(3);
    expect(whereIs(fdb, NETWORK, 1, 401)).toBe(-1);
    expect([...fdb.list(401, policy.networkMacAge)]).toEqual([]);
    expect(fdb.counts().entries).toBe(1);
    expect(fdb.sweep(401, policy.networkMacAge, 100)).toBe(1);
    expect(fdb.counts()).toMatchObject({ entries: 0, expired: 1 });
    expect(fdb.learnedByPort(3)).toBe(0);
  });

  it('keeps a station that is seen again', () => {
    const fdb = makeFdb(16);
    fdb.learn(NETWORK, HIGH, 1, 3, 100, testPolicy());
    fdb.refresh(fdb.find(NETWORK, HIGH, 1, 300, 300), 300);
    expect(whereIs(fdb, NETWORK, 1, 600)).toBe(3);
  });

  it('moves a station, and says where it was', () => {
    const fdb = makeFdb(16);
    const policy = testPolicy();
    fdb.learn(NETWORK, HIGH, 1, 3, 100, policy);
    expect(fdb.learn(NETWORK, HIGH, 1, 4, 101, policy)).toBe(MOVED);
    expect(fdb.movedFrom).toBe(3);
    expect(whereIs(fdb, NETWORK, 1, 101)).toBe(4);
    expect([fdb.learnedByPort(3), fdb.learnedByPort(4), fdb.learnedInNetwork(NETWORK)]).toEqual([0, 1, 1]);
  });

  it('takes a station whose entry expired elsewhere for a new one, not for a move', () => {
    const fdb = makeFdb(16);
    const policy = testPolicy();
    fdb.learn(NETWORK, HIGH, 1, 3, 100, policy);
    expect(fdb.learn(NETWORK, HIGH, 1, 4, 500, policy)).toBe(LEARNED);
    expect(whereIs(fdb, NETWORK, 1, 500)).toBe(4);
    expect(fdb.counts().moved).toBe(0);
  });

  it('keeps a static entry where it is, forever', () => {
    const fdb = makeFdb(16);
    const policy = testPolicy();
    fdb.learn(NETWORK, HIGH, 1, 3, 100, policy);
    expect(fdb.addStatic(NETWORK, HIGH, 1, 5, 5)).toBe(true);
    expect(fdb.learn(NETWORK, HIGH, 1, 3, 101, policy)).toBe(REFUSED_STATIC);
    expect(fdb.learn(NETWORK, HIGH, 1, 5, 101, policy)).toBe(LEARNED);
    fdb.refresh(fdb.find(NETWORK, HIGH, 1, 200, 300), 200);
    expect(fdb.find(NETWORK, HIGH, 1, 1_000_000, 300)).toBeGreaterThan(0);
    expect([fdb.foundMember, fdb.foundStatic]).toEqual([5, true]);
    expect(fdb.flush()).toBe(0);
    expect(fdb.learnedByPort(5)).toBe(0);
    expect(fdb.remove(NETWORK, HIGH, 1)).toBe(true);
    expect(fdb.remove(NETWORK, HIGH, 1)).toBe(false);
    expect(whereIs(fdb, NETWORK, 1, 200)).toBe(-1);
  });

  it('learns no more addresses behind a port than its limit, over all networks of the port', () => {
    const fdb = makeFdb(16);
    const policy = testPolicy();
    policy.memberPort[3] = 9;
    policy.memberPort[4] = 9;
    policy.portMacLimit[9] = 2;
    expect(fdb.learn(NETWORK, HIGH, 1, 3, 100, policy)).toBe(LEARNED);
    expect(fdb.learn(2, HIGH, 1, 4, 100, policy)).toBe(LEARNED);
    expect(fdb.learn(NETWORK, HIGH, 2, 3, 100, policy)).toBe(REFUSED_PORT_LIMIT);
    fdb.learn(NETWORK, HIGH, 7, 5, 100, policy);
    expect(fdb.learn(NETWORK, HIGH, 7, 3, 100, policy)).toBe(REFUSED_PORT_LIMIT);
    expect(whereIs(fdb, NETWORK, 7, 100)).toBe(5);
  });

  it('forgets what expired behind a member before it refuses that member a new address', () => {
    const fdb = makeFdb(16);
    const policy = testPolicy();
    policy.portMacLimit[3] = 1;
    fdb.learn(NETWORK, HIGH, 1, 3, 100, policy);
    expect(fdb.learn(NETWORK, HIGH, 2, 3, 401, policy)).toBe(LEARNED);
  });

  it.each(['the network is full', 'the table is full'])('takes room from who holds most when %s', (what) => {
    const fdb = makeFdb(what === 'the table is full' ? 10 : 100);
    const policy = testPolicy();
    if (what === 'the network is full') policy.networkMacLimit[NETWORK] = 10;
    for (let port = 1; port <= 5; port++)
      for (let station = 0; station < 2; station++) fdb.learn(NETWORK, HIGH, port * 10 + station, port, 100, policy);
    for (let station = 0; station < 16; station++)
      expect(fdb.learn(NETWORK, HIGH, 600 + station, 6, 101, policy)).toBe(LEARNED);
    expect(fdb.learnedByMember(6)).toBe(3);
    expect([1, 2, 3, 4, 5].map((member) => fdb.learnedByMember(member)).sort()).toEqual([1, 1, 1, 2, 2]);
    expect(fdb.learnedInNetwork(NETWORK)).toBe(10);
    expect([613, 614, 615].map((mac) => whereIs(fdb, NETWORK, mac, 101))).toEqual([6, 6, 6]);
  });

  it('gives up the entry of a member that was not seen for longest', () => {
    const fdb = makeFdb(4);
    const policy = testPolicy();
    for (let station = 0; station < 4; station++) fdb.learn(NETWORK, HIGH, station, 2, 100 + station, policy);
    fdb.refresh(fdb.find(NETWORK, HIGH, 0, 104, 300), 104);
    fdb.learn(NETWORK, HIGH, 9, 3, 105, policy);
    expect([0, 1, 2, 3, 9].map((mac) => whereIs(fdb, NETWORK, mac, 105))).toEqual([2, -1, 2, 2, 3]);
  });

  it('refuses when nothing learned can give way', () => {
    const fdb = makeFdb(2);
    const policy = testPolicy();
    fdb.addStatic(NETWORK, HIGH, 1, 2, 2);
    fdb.addStatic(NETWORK, HIGH, 2, 2, 2);
    expect(fdb.learn(NETWORK, HIGH, 3, 3, 100, policy)).toBe(REFUSED_FULL);
    expect(fdb.addStatic(NETWORK, HIGH, 3, 3, 3)).toBe(false);
    policy.networkMacLimit[2] = 0;
    expect(makeFdb(2).learn(2, HIGH, 3, 3, 100, policy)).toBe(REFUSED_FULL);
  });

  it('lets a network that has no entry yet have room from the member that holds most of a full table', () => {
    const fdb = makeFdb(8);
    const policy = testPolicy();
    for (let station = 0; station < 8; station++) fdb.learn(NETWORK, HIGH, station, 2, 100, policy);
    expect(fdb.learn(2, HIGH, 1, 3, 100, policy)).toBe(LEARNED);
    expect(fdb.evictedFrom).toBe(2);
  });

  it('flushes by network, port and member, and keeps what is static until the member goes', () => {
    const fdb = makeFdb(64);
    const policy = testPolicy();
    policy.memberPort[11] = 10;
    for (let station = 0; station < 5; station++) {
      fdb.learn(NETWORK, HIGH, station, 10, 100, policy);
      fdb.learn(2, HIGH, station, 11, 100, policy);
      fdb.learn(2, HIGH, 100 + station, 12, 100, policy);
    }
    fdb.addStatic(2, HIGH, 999, 12, 12);
    expect(fdb.flush({ network: NETWORK, port: 12 })).toBe(0);
    expect(fdb.flush({ network: NETWORK })).toBe(5);
    expect(fdb.flush({ port: 10 })).toBe(5);
    expect(fdb.flush({ member: 12 })).toBe(5);
    expect(fdb.counts().entries).toBe(1);
    expect(fdb.releaseMember(12)).toBe(1);
    expect(fdb.counts().entries).toBe(0);
  });

  it('does not wait for another thread that is writing', () => {
    const memory = new SharedArrayBuffer(fdbSize(8));
    const fdb = new FdbControl(memory, { capacity: 8 });
    const other = workerFdb(memory, 8, 0);
    const table = (other as unknown as { table: { tryLock(owner: number): boolean } }).table;
    expect(table.tryLock(1)).toBe(true);
    expect(fdb.learn(NETWORK, HIGH, 1, 1, 100, testPolicy())).toBe(BUSY);
    expect(() => fdb.remove(NETWORK, HIGH, 1)).toThrow(/thread 1/);
    expect(fdb.breakLock(1)).toBe(false);
    expect(fdb.breakLock(0)).toBe(true);
    expect(fdb.learn(NETWORK, HIGH, 1, 1, 100, testPolicy())).toBe(LEARNED);
    expect(whereIs(other, NETWORK, 1, 100)).toBe(1);
  });

  it('learns into a copy without changing the original', () => {
    const fdb = makeFdb(8);
    const policy = testPolicy();
    fdb.learn(NETWORK, HIGH, 1, 1, 100, policy);
    const copy = fdb.copy();
    expect(copy.learn(NETWORK, HIGH, 1, 2, 100, policy)).toBe(MOVED);
    expect(copy.learn(NETWORK, HIGH, 2, 2, 100, policy)).toBe(LEARNED);
    expect([whereIs(fdb, NETWORK, 1, 100), whereIs(fdb, NETWORK, 2, 100)]).toEqual([1, -1]);
    expect(fdb.learn(NETWORK, HIGH, 3, 1, 100, policy)).toBe(LEARNED);
  });

  it('tells apart the far ends of one tunnel member', () => {
    const fdb = makeFdb(8);
    const policy = testPolicy();
    fdb.learn(NETWORK, HIGH, 1, 1, 100, policy, 7);
    expect(fdb.learn(NETWORK, HIGH, 1, 1, 100, policy, 8)).toBe(MOVED);
    expect(whereIs(fdb, NETWORK, 1, 100)).toBe(1);
    expect(fdb.foundRemote).toBe(8);
    expect(fdb.learnedByMember(1)).toBe(1);
    policy.portMacLimit[1] = 1;
    expect(fdb.learn(NETWORK, HIGH, 1, 1, 100, policy, 9)).toBe(MOVED);
    expect(fdb.learn(NETWORK, HIGH, 2, 1, 100, policy, 9)).toBe(REFUSED_PORT_LIMIT);
  });

  it('takes over what an earlier process learned under other numbers', () => {
    const old = makeFdb(16);
    const policy = testPolicy();
    for (let station = 0; station < 4; station++) old.learn(NETWORK, HIGH, station, station, 100 + station, policy);
    const fdb = makeFdb(3);
    const memberNetwork = new Int32Array(64).fill(5);
    const taken = fdb.adopt(old, (member) => (member === 0 ? -1 : member + 20), {
      memberPort: policy.memberPort,
      memberNetwork,
    });
    expect(taken).toBe(3);
    expect([0, 1, 2, 3].map((mac) => whereIs(fdb, 5, mac, 110))).toEqual([-1, 21, 22, 23]);
    expect(fdb.learnedByPort(21)).toBe(1);
  });
});
