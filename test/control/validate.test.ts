/** What was found to fit is not looked at again while it is the same object; that must never show. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { editDocument } from '../../src/control/edit.js';
import type { JsonObject, JsonValue } from '../../src/control/shapes.js';
import { matchSchema } from '../../src/control/validate.js';

const document: JsonObject = {
  version: 1,
  networks: { red: { type: 'vlan', id: 10, uplink: 'up' }, lab: { type: 'local' } },
  ports: {
    up: { kind: 'netdev', trunk: 'auto' },
    ...Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`vm${index}`, { kind: 'tap', network: 'lab' }])),
  },
  acls: { a1: { default: 'deny', rules: [{ action: 'permit', proto: 'tcp', dstPort: '22' }] } },
};

const anew = (value: JsonValue) => matchSchema(structuredClone(value));

test('an edited document fits, or has the faults, as if nothing of it had been seen before', () => {
  const values = fc.constantFrom<JsonObject>(
    { isolated: true },
    { isolated: null, network: 'lab' },
    { kind: 'qemu', path: '/run/x' },
    { knd: 'tap' },
    { kind: 'tap', macLimit: 'many' },
    { 'storm.broadcast': '5pps' },
    { 'storm.broadcast': null },
  );
  const edit = fc.record({
    name: fc.constantFrom('vm0', 'vm7', 'up', 'new', 'Bad name'),
    values,
    removes: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 6 }), (edits) => {
      let current: JsonObject = document;
      for (const { name, values, removes } of edits) {
        const isThere = Object.hasOwn(current.ports as object, name);
        const one =
          removes && isThere
            ? { op: 'remove' as const }
            : { op: isThere ? ('set' as const) : ('add' as const), values };
        const edited = editDocument(current, { ...one, section: 'ports', name } as Parameters<typeof editDocument>[1]);
        const matched = matchSchema(edited);
        expect(matched).toEqual(anew(edited));
        if (!('config' in matched)) continue;
        expect(Object.keys(matched.config.ports)).toEqual(Object.keys(edited.ports as object));
        current = edited;
      }
    }),
    { numRuns: 300 },
  );
});

test('what is left as it was is the same object in both configurations', () => {
  const before = matchSchema(document);
  const after = matchSchema(
    editDocument(document, { op: 'set', section: 'ports', name: 'vm3', values: { isolated: true } }),
  );
  if (!('config' in before && 'config' in after)) throw new Error('both fit');
  expect(after.config.ports.vm4).toBe(before.config.ports.vm4);
  expect(after.config.acls.a1).toBe(before.config.acls.a1);
  expect(after.config.ports.vm3).toEqual({ ...before.config.ports.vm3, isolated: true });
});

test('an object is another entry under another name or in another section', () => {
  const port = { kind: 'tap', network: 'lab' };
  const named = (ports: JsonObject) => matchSchema({ version: 1, networks: { lab: { type: 'local' } }, ports });
  expect(named({ good: port })).toHaveProperty('config');
  expect(named({ 'Not good': port })).toHaveProperty('faults');
  expect(matchSchema({ version: 1, networks: { lab: { type: 'local' }, good: port } })).toHaveProperty('faults');
  expect(matchSchema({ version: 1, networks: { good: port } })).toEqual(anew({ version: 1, networks: { good: port } }));
});

test('one object may be several entries, in any order and again', () => {
  const port = { kind: 'tap', network: 'lab' };
  for (const names of [
    ['a', 'b', 'c'],
    ['c', 'a'],
    ['a', 'b', 'c'],
    ['b', 'a', 'd', 'c'],
  ]) {
    const ports = Object.fromEntries(names.map((name) => [name, port]));
    const document = { version: 1, networks: { lab: { type: 'local' } }, ports };
    expect(matchSchema(document)).toEqual(anew(document));
  }
});
