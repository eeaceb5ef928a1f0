/** The classifier against a slow reference, over random rules and keys, and each condition by name. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileRules } from '../../src/control/compile-rules.js';
import type { RuleConditions } from '../../src/control/rule-conditions.js';
import { firstMatch } from '../../src/pipeline/classifier.js';
import { referenceMatch, type Subject } from '../control/rule-reference.js';
import { conditions, keyOf, subject } from './rule-arbitraries.js';

/** Whom the classifier says, given the address sets as a groups' stage gives them. */
function classify(rules: readonly RuleConditions[], subjects: readonly Subject[]): number[] {
  const compiled = compileRules(rules);
  return subjects.map((subject) => {
    const places = (subject.remoteSets ?? []).map((set) => compiled.remoteSets.indexOf(set)).filter((at) => at >= 0);
    return firstMatch(compiled, keyOf(subject), Int32Array.from([places.length, ...places]));
  });
}

describe('the classifier', () => {
  it('finds the rule that a slow reference finds, for random rules and frames', () => {
    const property = fc.property(
      fc.array(conditions, { maxLength: 40 }),
      fc.array(subject, { minLength: 10, maxLength: 30 }),
      (rules, subjects) => {
        expect(classify(rules, subjects)).toEqual(subjects.map((one) => referenceMatch(rules, one)));
      },
    );
    fc.assert(property, { numRuns: 400 });
  });

  it('finds the same in sets of so many rules that they are sorted into sections', () => {
    const property = fc.property(
      fc.array(conditions, { minLength: 50, maxLength: 80 }),
      fc.array(subject, { minLength: 40, maxLength: 60 }),
      fc.integer(),
      (some, subjects, seed) => {
        const rules = Array.from(
          { length: 3000 },
          (_, index) => some[Math.abs(Math.imul(index, 7919) ^ seed) % some.length],
        );
        // So that early rules don't hide all others.
        const sparse = rules.map((rule, index) => (index % 50 === 0 ? rule : { ...rule, vlan: 4000 + (index % 90) }));
        expect(classify(sparse, subjects)).toEqual(subjects.map((one) => referenceMatch(sparse, one)));
      },
    );
    fc.assert(property, { numRuns: 25 });
  });
});
