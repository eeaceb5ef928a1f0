import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Indices, readIndices } from '../../src/control/indices.js';
import type { ResolvedConfig } from '../../src/control/resolved.js';
import { checkValue, faultsOf, validDocument } from './configs.js';

const none = new Indices();

/** A switch whose ports are all in one network. */
function ports(...names: string[]): ResolvedConfig {
  const entries = names.map((name) => [name, { kind: 'memory', network: 'n' }]);
  return checkValue({ version: 1, networks: { n: { type: 'local' } }, ports: Object.fromEntries(entries) }).resolved;
}

describe('indices', () => {
  test('are the lowest that are free', () => {
    const first = none.allocate(ports('a', 'b', 'c'));
    expect([first.port('a'), first.port('b'), first.port('c')]).toEqual([0, 1, 2]);
    const second = first.release(ports('a', 'c')).allocate(ports('a', 'c', 'd', 'e'));
    expect([second.port('a'), second.port('d'), second.port('c'), second.port('e')]).toEqual([0, 1, 2, 3]);
  });

  test('of what was removed are not given away before they are released', () => {
    const first = none.allocate(ports('a'));
    const second = first.allocate(ports('b'));
    expect(second.port('b')).toBe(1);
    expect(second.member('b', 'n')).toBe(1);
    expect(second.port('a')).toBe(0);
    const third = second.release(ports('b'));
    expect(third.port('a')).toBeUndefined();
    expect(third.member('a', 'n')).toBeUndefined();
    expect(third.port('b')).toBe(1);
  });

  test('of what comes back before it was released are the old ones', () => {
    const first = none.allocate(ports('a', 'b'));
    expect(first.allocate(ports('b')).allocate(ports('a', 'b')).toJSON()).toEqual(first.toJSON());
  });

  test('never change in place: a refused change leaves nothing behind', () => {
    const first = none.allocate(ports('a'));
    first.allocate(ports('a', 'b'));
    first.release(ports('b'));
    expect([...first.ports]).toEqual([['a', 0]]);
    expect(none.ports.size).toBe(0);
  });

  test('come to an end with a message', () => {
    const names = Array.from({ length: 4096 }, (_, index) => `p${index}`);
    const full = none.allocate(ports(...names));
    const [fault] = faultsOf(() => full.allocate(ports(...names.slice(1), 'one-more')));
    expect(fault.code).toBe('limit');
    expect(fault.message).toBe('no room for more ports: at most 4096, counting those being removed just now');
  });

  test('survive being saved', () => {
    const indices = none.allocate(ports('a', 'b', 'c')).release(ports('a', 'c'));
    const saved = JSON.parse(JSON.stringify(indices));
    expect(saved.ports).toEqual(['a', null, 'c']);
    expect(readIndices(saved)?.toJSON()).toEqual(indices.toJSON());
  });

  test.each([
    null,
    [],
    { ports: ['a'] },
    { ports: ['a', 'a'], networks: [], members: [] },
    { ports: [1], networks: [], members: [] },
    { ports: new Array(5000).fill(null), networks: [], members: [] },
  ])('that are not ours are not read: %j', (saved) => {
    expect(readIndices(saved)).toBeUndefined();
  });

  test('stay with what stays and are never shared, through any sequence of changes', () => {
    fc.assert(
      fc.property(fc.array(validDocument(), { minLength: 1, maxLength: 5 }), (documents) => {
        let indices = none;
        for (const document of documents) {
          const { resolved } = checkValue(document);
          const next = indices.allocate(resolved);
          for (const kind of ['ports', 'networks', 'members'] as const) {
            for (const [name, index] of indices[kind]) expect(next[kind].get(name)).toBe(index);
            expect(new Set(next[kind].values()).size).toBe(next[kind].size);
          }
          indices = next.release(resolved);
          expect([...indices.ports.keys()].sort()).toEqual([...resolved.ports.keys()].sort());
        }
      }),
      { numRuns: 50 },
    );
  });
});
