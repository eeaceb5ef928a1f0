import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ID_HAS_FLOW, ID_WORDS, memberOfTunnelId, tunnelIdTable } from '../../src/pipeline/tunnel-ids.js';

/** A table in an array of several, as a snapshot has it. */
function placed(members: ReadonlyMap<number, number>) {
  const table = tunnelIdTable(members);
  const first = 3;
  const all = new Int32Array(first * ID_WORDS + table.length + 8).fill(77);
  all.set(table, first * ID_WORDS);
  return (id: number) => memberOfTunnelId(all, first, table.length / ID_WORDS - 1, id | 0);
}

const ids = fc.oneof(
  fc.integer({ min: 0, max: 0xff_ffff }),
  fc.integer({ min: 0, max: 700 }),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.constantFrom(0, -1, 0xff, 0x100, 0xffff_ff00 | 0, 2 ** 31 - 1, -(2 ** 31)),
);

describe('a table of tunnel ids', () => {
  test('finds each id of the configuration, and none that is not in it', () => {
    fc.assert(
      fc.property(fc.uniqueArray(ids, { maxLength: 300 }), fc.array(ids), (named, others) => {
        const members = new Map(named.map((id, index) => [id, index * 3]));
        const memberOf = placed(members);
        for (const id of [...named, ...others]) expect(memberOf(id)).toBe(members.get(id) ?? -1);
      }),
    );
  });

  test('takes every flow of a VSID for its network’s, and of a plain key none', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 0xff_ffff }), { maxLength: 50 }), (vsids) => {
        // Every second one is a plain key that ends in the same octet as a VSID without flow does.
        const members = new Map(
          vsids.map((vsid, index) => [(vsid << 8) | 0, index % 2 === 0 ? index | ID_HAS_FLOW : index]),
        );
        const memberOf = placed(members);
        for (const [index, vsid] of vsids.entries()) {
          expect(memberOf(vsid << 8)).toBe(index);
          for (const flow of [1, 0x80, 0xff]) expect(memberOf((vsid << 8) | flow)).toBe(index % 2 === 0 ? index : -1);
        }
      }),
    );
  });

  test('without an id has nobody', () => {
    const memberOf = placed(new Map());
    for (const id of [0, 1, -1, 0xff_ffff]) expect(memberOf(id)).toBe(-1);
  });

  test('is at least half empty, so that ids in use lie in short runs and others are soon not found', () => {
    for (const step of [1, 2, 256, 4096, 40_503]) {
      const members = new Map(Array.from({ length: 10_000 }, (_, index) => [(index * step) | 0, index]));
      const table = tunnelIdTable(members);
      const rows = table.length / ID_WORDS;
      expect(rows).toBeGreaterThanOrEqual(20_000);
      let longest = 0;
      for (let row = 0, run = 0; row < rows * 2; row++) {
        run = table[(row % rows) * ID_WORDS + 1] === -1 ? 0 : run + 1;
        longest = Math.max(longest, run);
      }
      expect(longest, `ids ${step} apart`).toBeLessThan(100);
    }
  });
});
