/** What one frame spares the next in the lookup of rules changes no answer: against the lookup that knows of no frame before. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileRules } from '../../src/control/compile-rules.js';
import { firstMatch } from '../../src/pipeline/classifier.js';
import { LastMatch } from '../../src/pipeline/last-match.js';
import { KEY_PROTOCOL, KEY_WORDS } from '../../src/pipeline/rule-key.js';
import { conditions, keyOf, subject } from './rule-arbitraries.js';

/** Rules without sets of addresses, as ACLs have them. */
const rules = fc.array(
  conditions.map(({ remoteSet, ...rest }) => rest),
  { maxLength: 40 },
);

describe('the last match', () => {
  it('gives the answer of the lookup without it, for random frames one after another', () => {
    const property = fc.property(rules, fc.array(subject, { minLength: 20, maxLength: 60 }), (some, subjects) => {
      const compiled = compileRules(some);
      const last = new LastMatch();
      const keys = subjects.map(keyOf);
      expect(keys.map((key) => last.find(compiled, key))).toEqual(keys.map((key) => firstMatch(compiled, key)));
    });
    fc.assert(property, { numRuns: 300 });
  });

  it('gives it for frames that differ from the one before in a word or none', () => {
    const change = fc.record({
      word: fc.nat({ max: KEY_WORDS - 1 }),
      bit: fc.nat({ max: 31 }),
      like: fc.option(fc.nat({ max: 9 })),
    });
    const property = fc.property(
      rules,
      fc.array(subject, { minLength: 10, maxLength: 10 }),
      fc.array(change, { minLength: 50, maxLength: 100 }),
      (some, subjects, changes) => {
        const compiled = compileRules(some);
        const last = new LastMatch();
        const keys = subjects.map(keyOf);
        let key = keys[0];
        for (const { word, bit, like } of changes) {
          // The kind stays one of the four, and what a packet has not stays -1.
          const isFlipped = like === null && word > 8 && key[word] >= 0;
          key = like === null ? key.slice() : keys[like].slice();
          if (isFlipped) key[word] ^= (1 << bit) & 0xff;
          expect(last.find(compiled, key)).toBe(firstMatch(compiled, key));
        }
      },
    );
    fc.assert(property, { numRuns: 200 });
  });

  it('takes nothing from one set of rules to another, in whatever order they are asked', () => {
    const property = fc.property(
      fc.array(rules, { minLength: 2, maxLength: 4 }),
      fc.array(fc.tuple(fc.nat({ max: 3 }), subject), { minLength: 20, maxLength: 60 }),
      (sets, asked) => {
        const compiled = sets.map(compileRules);
        const last = new LastMatch();
        for (const [index, one] of asked) {
          const set = compiled[index % compiled.length];
          const key = keyOf(one);
          expect(last.find(set, key)).toBe(firstMatch(set, key));
        }
      },
    );
    fc.assert(property, { numRuns: 200 });
  });

  it('knows a set that was compiled anew from the one of the snapshot before, though all else is equal', () => {
    const before = compileRules([{ protocol: 6 }, {}]);
    const after = compileRules([{ protocol: 17 }, {}]);
    const last = new LastMatch();
    const key = keyOf({
      ...{ sourceMac: 1, destinationMac: 2, ethertype: 0x800, vlan: 0, priority: 0, kind: 'ipv4', protocol: 6 },
      ...{ source: Uint8Array.of(192, 0, 2, 1), destination: Uint8Array.of(192, 0, 2, 2) },
    });
    expect([last.find(before, key), last.find(after, key), last.find(before, key)]).toEqual([0, 1, 0]);
    key[KEY_PROTOCOL] = 17;
    expect([last.find(before, key), last.find(after, key)]).toEqual([1, 0]);
  });
});
