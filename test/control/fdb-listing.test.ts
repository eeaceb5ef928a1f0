import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { FdbListing } from '../../src/control/fdb-listing.js';
import type { FdbRow } from '../../src/control/shapes.js';
import { monotonicMs } from '../../src/dataplane/clock.js';
import type { FdbControl } from '../../src/pipeline/fdb-control.js';
import type { Snapshot } from '../../src/pipeline/snapshot.js';
import { makeFdb, testPolicy } from '../pipeline/fdb-fixture.js';

const ALL = { offset: 0, limit: Number.POSITIVE_INFINITY };
/** Names whose order is not that of the indices. */
const NETWORKS = ['', 'red', 'blue', 'amber'];
const names = {
  port: (index: number) => `port${index}`,
  network: (index: number) => NETWORKS[index] ?? '',
  remote: (tunnel: number) => `remote${tunnel}`,
  rule: (number: number) => `rule${number}`,
};
// The part of a snapshot that a listing reads.
const snapshot = testPolicy() as unknown as Snapshot;
const nowSeconds = () => Math.floor(monotonicMs() / 1000);

const listings: FdbListing[] = [];
afterEach(() => {
  for (const listing of listings.splice(0)) listing.close();
});
function listingOf(fdb: FdbControl): FdbListing {
  const listing = new FdbListing(fdb);
  listings.push(listing);
  return listing;
}

/** The listing as it was first written: everything made into rows and sorted at once. */
function slowly(fdb: FdbControl, port?: number): FdbRow[] {
  const rows = [...fdb.list(nowSeconds(), snapshot.networkMacAge)].map((entry) => ({
    network: names.network(entry.network),
    mac: [entry.macHigh >> 8, entry.macHigh, entry.macLow >> 24, entry.macLow >> 16, entry.macLow >> 8, entry.macLow]
      .map((octet) => (octet & 255).toString(16).padStart(2, '0'))
      .join(':'),
    port: names.port(entry.member),
    static: entry.isStatic,
    ageSeconds: entry.ageSeconds,
  }));
  return rows
    .filter((row) => port === undefined || row.port === names.port(port))
    .sort((left, right) => {
      if (left.network !== right.network) return left.network < right.network ? -1 : 1;
      return left.mac < right.mac ? -1 : 1;
    });
}

const withoutAge = (rows: readonly FdbRow[]) => rows.map(({ network, mac, port }) => `${network} ${mac} ${port}`);

describe('a listing of the FDB', () => {
  it('is in order of network name and address, whatever was learned in which order', async () => {
    const station = fc.record({
      network: fc.integer({ min: 1, max: 3 }),
      high: fc.constantFrom(0, 2, 0x0200, 0xfe00, 0xfffe),
      low: fc.integer(),
      port: fc.integer({ min: 1, max: 4 }),
      isStatic: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(station, { maxLength: 300 }), async (stations) => {
        const fdb = makeFdb(512);
        for (const { network, high, low, port, isStatic } of stations) {
          if (isStatic) fdb.addStatic(network, high, low, port, port);
          else fdb.learn(network, high, low, port, nowSeconds(), testPolicy());
        }
        const listing = listingOf(fdb);
        expect(withoutAge(await listing.page(ALL, snapshot, names))).toEqual(withoutAge(slowly(fdb)));
        const ofPort = await listing.page({ ...ALL, ports: [2] }, snapshot, names);
        expect(withoutAge(ofPort)).toEqual(withoutAge(slowly(fdb, 2)));
      }),
      { numRuns: 30 },
    );
  });

  it('says what is static and how old the rest is, and leaves out what expired', async () => {
    const fdb = makeFdb(16);
    const now = nowSeconds();
    fdb.learn(1, 0x0200, 1, 1, now - 1000, testPolicy());
    fdb.learn(1, 0x0200, 2, 1, now - 100, testPolicy());
    fdb.addStatic(1, 0x0200, 3, 2, 2);
    const rows = await listingOf(fdb).page(ALL, snapshot, names);
    expect(rows.map(({ mac, static: isStatic }) => [mac, isStatic])).toEqual([
      ['02:00:00:00:00:02', false],
      ['02:00:00:00:00:03', true],
    ]);
    expect(rows[0]!.ageSeconds).toBeGreaterThanOrEqual(100);
    expect(rows[1]!.ageSeconds).toBe(0);
  });

  it('shows each station once in its pages, also when others are learned and forgotten in between', async () => {
    const fdb = makeFdb(4096);
    for (let station = 0; station < 2500; station++) fdb.learn(1, 0x0200, station * 2, 1, nowSeconds(), testPolicy());
    const expected = withoutAge(slowly(fdb));
    const listing = listingOf(fdb);
    const shown: string[] = [];
    for (let offset = 0; ; offset += 1000) {
      const rows = await listing.page({ offset, limit: 1000 }, snapshot, names);
      shown.push(...withoutAge(rows));
      if (rows.length < 1000) break;
      fdb.remove(1, 0x0200, offset);
      fdb.learn(1, 0x0200, offset + 1, 1, nowSeconds(), testPolicy());
    }
    expect(shown).toEqual(expected);
    const again = await listing.page(ALL, snapshot, names);
    expect(withoutAge(again)).toEqual(withoutAge(slowly(fdb)));
    expect(withoutAge(again)).not.toEqual(expected);
  });

  it('answers pages of different questions, and two askers at once, each with its own', async () => {
    const fdb = makeFdb(64);
    for (let station = 0; station < 30; station++)
      fdb.learn(1 + (station % 3), 0x0200, station, 1 + (station % 3), nowSeconds(), testPolicy());
    const listing = listingOf(fdb);
    const first = await listing.page({ offset: 0, limit: 5, network: 1 }, snapshot, names);
    const [second, other] = await Promise.all([
      listing.page({ offset: 5, limit: 5, network: 1 }, snapshot, names),
      listing.page({ offset: 5, limit: 2, network: 2 }, snapshot, names),
    ]);
    const of = (network: string) => slowly(fdb).filter((row) => row.network === network);
    expect(withoutAge([...first, ...second])).toEqual(withoutAge(of('red')));
    expect(withoutAge(other)).toEqual(withoutAge(of('blue').slice(5, 7)));
    expect(await listing.page({ offset: 1000, limit: 5 }, snapshot, names)).toEqual([]);
  });

  it('of a large table leaves the event loop its turn all the time', async () => {
    const fdb = makeFdb(262_144);
    for (let station = 0; station < 200_000; station++)
      fdb.learn(1 + (station % 3), 0x0200, Math.imul(station, 0x9e37_79b1), station % 60, nowSeconds(), testPolicy());
    let longest = 0;
    let turns = 0;
    let before = monotonicMs();
    let goesOn = true;
    const watch = () => {
      const now = monotonicMs();
      longest = Math.max(longest, now - before);
      before = now;
      turns++;
      if (goesOn) setImmediate(watch);
    };
    const began = monotonicMs();
    setImmediate(watch);
    const rows = await listingOf(fdb).page(ALL, snapshot, names);
    const total = monotonicMs() - began;
    goesOn = false;
    longest = Math.max(longest, monotonicMs() - before);
    expect(rows.length).toBe(200_000);
    expect(withoutAge(rows)).toEqual(withoutAge(slowly(fdb)));
    expect(turns).toBeGreaterThan(10);
    expect(longest).toBeLessThan(total / 4);
  });
});
