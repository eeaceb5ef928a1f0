import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { diff, withoutDefaults } from '../../src/control/diff.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { check, checkValue, validDocument } from './configs.js';

const config = (networks: string, ports = '', rest = '') =>
  check(
    `version: 1\nnetworks: { red: { type: vlan, id: 10 }, blue: { type: vlan, id: 20 }${networks} }\nports: { ${ports} }\n${rest}`,
  ).config;
const changes = (from: string, to: string) => diff(config('', from), config('', to));

describe('the difference', () => {
  test('of equal documents is nothing', () => {
    fc.assert(
      fc.property(validDocument(), (document) => {
        expect(diff(checkValue(document).config, checkValue(structuredClone(document)).config)).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  test('does not depend on the order of keys', () => {
    expect(
      changes(
        'a: { kind: tap, network: red }, b: { kind: tap, network: red }',
        'b: { network: red, kind: tap }, a: { kind: tap, network: red }',
      ),
    ).toEqual([]);
  });

  test('sees no change in a default that is written out, or a quantity that is written differently', () => {
    expect(
      changes(
        'a: { kind: tap, network: red }',
        'a: { kind: tap, network: red, queues: 1, isolated: false, storm: {} }',
      ),
    ).toEqual([]);
    expect(diff(config(', n: { type: local }'), config(', n: { type: local, macAge: 5m }'))).toEqual([]);
    const tunnel = (tpid: string) => `a: { kind: tap, tunnel: { network: red, tpid: ${tpid} } }`;
    expect(changes(tunnel('0x8100'), tunnel('"0x8100"'))).toEqual([]);
    expect(
      changes(
        'a: { kind: tap, network: red, storm: { broadcast: 2000pps } }',
        'a: { kind: tap, network: red, storm: { broadcast: 2kpps } }',
      ),
    ).toEqual([]);
  });

  test('takes a name for a name, though it looks like a quantity', () => {
    const names = ', 300s: { type: local }, 5m: { type: local }';
    const on = (network: string) => config(names, `a: { kind: tap, network: ${network} }`);
    expect(diff(on('300s'), on('5m'))).toEqual([{ path: 'ports.a.network', op: 'change', from: '300s', to: '5m' }]);
  });

  test('says what changed, down to the key', () => {
    expect(
      changes(
        'a: { kind: tap, network: red, storm: { multicast: 5pps } }',
        'a: { kind: tap, network: blue, storm: { multicast: none }, mtu: 9000 }',
      ),
    ).toEqual([
      { path: 'ports.a.mtu', op: 'add', to: 9000 },
      { path: 'ports.a.network', op: 'change', from: 'red', to: 'blue' },
      { path: 'ports.a.storm.multicast', op: 'change', from: '5pps', to: 'none' },
    ]);
  });

  test('says what came and went, without its defaults', () => {
    expect(changes('a: { kind: tap, network: red }', 'b: { kind: tap, network: blue, isolated: true }')).toEqual([
      { path: 'ports.a', op: 'remove', from: { kind: 'tap', network: 'red' } },
      { path: 'ports.b', op: 'add', to: { kind: 'tap', network: 'blue', isolated: true } },
    ]);
  });

  test('has a list as one value', () => {
    expect(
      changes('a: { kind: tap, trunk: [red] }', 'a: { kind: tap, trunk: [red, { network: blue, vlan: 7 }] }'),
    ).toEqual([{ path: 'ports.a.trunk', op: 'change', from: ['red'], to: ['red', { network: 'blue', vlan: 7 }] }]);
  });

  test('is in the order of the reference, names by the alphabet', () => {
    const from = config('', 'a: { kind: tap, network: red }, c: { kind: tap, network: red }');
    const to = config(
      ', n: { type: local }',
      'b: { kind: tap, network: red }, a: { kind: tap, network: blue, queues: 2 }',
      'settings: { workers: 2 }',
    );
    expect(diff(from, to).map(({ path, op }) => `${op} ${path}`)).toEqual([
      'change settings.workers',
      'add networks.n',
      'change ports.a.queues',
      'change ports.a.network',
      'add ports.b',
      'remove ports.c',
    ]);
  });

  test('has a mirror image: adds are removes, from is to', () => {
    fc.assert(
      fc.property(validDocument(), validDocument(), (left, right) => {
        const [a, b] = [checkValue(left).config, checkValue(right).config];
        const mirrored = diff(b, a).map(({ path, op, from, to }) => ({
          path,
          op: op === 'add' ? 'remove' : op === 'remove' ? 'add' : op,
          ...(to !== undefined && { from: to }),
          ...(from !== undefined && { to: from }),
        }));
        expect(mirrored).toEqual(diff(a, b));
      }),
      { numRuns: 50 },
    );
  });
});

test('a configuration without its defaults is the same configuration', () => {
  fc.assert(
    fc.property(validDocument(), (document) => {
      const full = checkValue(document).config;
      const short = withoutDefaults([], full as unknown as JsonValue);
      expect(JSON.stringify(short).length).toBeLessThan(JSON.stringify(full).length);
      expect(checkValue(short).config).toEqual(full);
    }),
    { numRuns: 50 },
  );
});
