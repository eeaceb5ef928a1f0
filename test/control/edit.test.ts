import { describe, expect, test } from 'vitest';
import { editDocument } from '../../src/control/edit.js';
import type { JsonObject } from '../../src/control/shapes.js';
import { checkValue, faultsOf } from './configs.js';

const document: JsonObject = {
  version: 1,
  networks: { red: { type: 'vlan', id: 10 }, lab: { type: 'local' } },
  ports: {
    vm1: { kind: 'tap', network: 'red', storm: { broadcast: '5pps', multicast: '6pps' } },
    vm2: { kind: 'tap', network: 'red' },
  },
};
const before = JSON.stringify(document);

function set(values: JsonObject, name = 'vm1'): unknown {
  const edited = editDocument(document, { op: 'set', section: 'ports', name, values });
  return (edited.ports as JsonObject)[name];
}

describe('an edit', () => {
  test('adds an object and leaves everything else as it is', () => {
    const values = { kind: 'tap', network: 'lab' };
    const edited = editDocument(document, { op: 'add', section: 'ports', name: 'vm3', values });
    expect(edited).toEqual({ ...document, ports: { ...(document.ports as JsonObject), vm3: values } });
    expect(checkValue(edited).resolved.ports.size).toBe(3);
    expect(JSON.stringify(document)).toBe(before);
  });

  test('adds to a section that is not there yet', () => {
    const edit = { op: 'add', section: 'networks', name: 'n', values: { type: 'local' } } as const;
    expect(editDocument({ version: 1 }, edit)).toEqual({ version: 1, networks: { n: { type: 'local' } } });
  });

  test('changes one key and keeps the others', () => {
    expect(set({ network: 'lab', mtu: 9000 })).toEqual({
      kind: 'tap',
      network: 'lab',
      mtu: 9000,
      storm: { broadcast: '5pps', multicast: '6pps' },
    });
    expect(JSON.stringify(document)).toBe(before);
  });

  test.each([
    ['nested', { storm: { broadcast: '9pps' } }, { broadcast: '9pps', multicast: '6pps' }],
    ['dotted', { 'storm.broadcast': '9pps' }, { broadcast: '9pps', multicast: '6pps' }],
    ['null inside', { 'storm.broadcast': null }, { multicast: '6pps' }],
    ['every key null', { storm: { broadcast: null, multicast: null } }, undefined],
    ['null itself', { storm: null }, undefined],
  ])('merges what is nested key by key: %s', (_how, values, storm) => {
    expect((set(values) as JsonObject).storm).toEqual(storm);
  });

  test('replaces lists', () => {
    expect(set({ network: null, trunk: ['red'] }, 'vm2')).toEqual({ kind: 'tap', trunk: ['red'] });
  });

  test('removes an object', () => {
    const edited = editDocument(document, { op: 'remove', section: 'ports', name: 'vm1' });
    expect(Object.keys(edited.ports as JsonObject)).toEqual(['vm2']);
  });

  test('handles objects whose names JavaScript knows', () => {
    const edit = { op: 'remove', section: 'ports', name: 'constructor' } as const;
    expect(faultsOf(() => editDocument(document, edit))[0].code).toBe('not-found');
    const values = { kind: 'tap', network: 'red' };
    const added = editDocument(document, { op: 'add', section: 'ports', name: 'constructor', values });
    expect(Object.hasOwn(added.ports as JsonObject, 'constructor')).toBe(true);
    expect(Object.keys(editDocument(added, edit).ports as JsonObject)).toEqual(['vm1', 'vm2']);
  });

  test('can not reach a prototype', () => {
    const values = JSON.parse('{"__proto__": {"admin": true}, "a.__proto__.admin": true}');
    const edited = editDocument(document, { op: 'set', section: 'ports', name: 'vm1', values });
    expect(({} as Record<string, unknown>).admin).toBeUndefined();
    expect(faultsOf(() => checkValue(edited)).length).toBeGreaterThan(0);
  });

  test.each([
    [
      { op: 'add', section: 'ports', name: 'vm1', values: {} },
      'exists',
      'ports.vm1',
      'a port named vm1 is there already; change it with port set',
    ],
    [
      { op: 'set', section: 'ports', name: 'vn1', values: {} },
      'not-found',
      'ports.vn1',
      'no port named vn1 (did you mean vm1?)',
    ],
    [
      { op: 'remove', section: 'networks', name: 'rde' },
      'not-found',
      'networks.rde',
      'no network named rde (did you mean red?)',
    ],
  ] as const)('%j is refused', (edit, code, path, message) => {
    expect(faultsOf(() => editDocument(document, edit))).toEqual([{ code, path, message }]);
  });

  test('that breaks something elsewhere is found when the whole is checked', () => {
    const edited = editDocument(document, { op: 'remove', section: 'networks', name: 'red' });
    expect(faultsOf(() => checkValue(edited)).map(({ path, message }) => `${path}: ${message}`)).toEqual([
      'ports.vm1.network: no network named red',
      'ports.vm2.network: no network named red',
    ]);
  });
});
