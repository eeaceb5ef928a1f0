/** Routers of the configuration: every fault with its path, and what is accepted. */
import { describe, expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { UserError } from '../../src/errors.js';
import { ipText, prefixText } from '../../src/wire/address.js';

const networks = { red: { type: 'local' }, blue: { type: 'local' }, ext: { type: 'local' } };

function resolved(routers: Record<string, unknown>) {
  const document = { version: 1, networks, routers } as unknown as JsonValue;
  return checkDocument(documentOf(document)).resolved.routers;
}

function faults(routers: Record<string, unknown>): string[] {
  try {
    resolved(routers);
  } catch (error) {
    if (error instanceof UserError) return error.faults.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}

const red = (...addresses: string[]) => ({ interfaces: { red: addresses } });
const inside = { interfaces: { red: '192.0.2.1/24' } };
const external = { network: 'ext', addresses: ['203.0.113.1/24'], snat: false };

describe('a router is refused', () => {
  test.each([
    ['the network as its address', red('192.0.2.0/24'), 'interfaces.red', 'it is the network 192.0.2.0/24'],
    ['the broadcast address', red('192.0.2.255/24'), 'interfaces.red', 'it is the broadcast address of 192.0.2.0/24'],
    ['a broadcast address within an octet', red('192.0.2.127/25'), 'interfaces.red', 'it is the broadcast address'],
    ['a group', red('224.0.0.1/24'), 'interfaces.red', 'it is not one host’s'],
    ['an IPv6 group', red('ff02::1/64'), 'interfaces.red', 'it is not one host’s'],
    ['the loopback', red('127.0.0.1/8'), 'interfaces.red', 'it is not one host’s'],
    ['one address twice', red('192.0.2.1/24', '192.0.2.1/25'), 'interfaces.red', '192.0.2.1 in red is there twice'],
    [
      'prefixes that overlap in two networks',
      { interfaces: { red: '192.0.2.1/24', blue: '192.0.2.130/25' } },
      'interfaces',
      '192.0.2.128/25 in blue and 192.0.2.0/24 in red overlap',
    ],
    [
      'an outside that is an inside',
      { ...inside, external: { ...external, network: 'red' } },
      'external.network',
      "red is one of the router's inside networks already",
    ],
    [
      'an outside prefix that is inside, too',
      { ...inside, external: { ...external, addresses: ['192.0.2.9/24'] } },
      'interfaces',
      'overlap',
    ],
    [
      'a next hop nobody can reach',
      { ...inside, routes: [{ to: '0.0.0.0/0', via: '198.51.100.1' }] },
      'routes[1].via',
      "198.51.100.1 is in none of the router's networks",
    ],
    [
      'itself as next hop',
      { ...inside, routes: [{ to: '0.0.0.0/0', via: ['192.0.2.9', '192.0.2.1'] }] },
      'routes[1].via',
      "192.0.2.1 is the router's own address",
    ],
    [
      'a next hop of the other version',
      {
        ...inside,
        routes: [
          { to: '0.0.0.0/0', via: 'blackhole' },
          { to: '::/0', via: '192.0.2.9' },
        ],
      },
      'routes[2].via',
      'is of the other IP version',
    ],
  ])('with %s', (_, router, path, message) => {
    const found = faults({ r: router });
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`routers.r.${path}: `);
    expect(found[0]).toContain(message);
  });

  test("with an address that is another's in the same network", () => {
    expect(faults({ r: inside, s: inside })).toEqual(["routers.s.interfaces.red: 192.0.2.1 in red is r's already"]);
    const outside = {
      interfaces: { red: '192.0.2.2/24' },
      external: { ...external, addresses: ['198.51.100.1/24'], network: 'blue' },
    };
    expect(faults({ r: { interfaces: { blue: '198.51.100.1/24' } }, s: outside })).toEqual([
      "routers.s.external.addresses: 198.51.100.1 in blue is r's already",
    ]);
  });

  test('with all its faults at once', () => {
    const routes = [{ to: '0.0.0.0/0', via: '198.51.100.1' }];
    expect(faults({ r: { interfaces: { red: '192.0.2.0/24', blue: '224.0.0.1/24' }, routes } })).toHaveLength(3);
  });
});

describe('a router is accepted', () => {
  test('with hosts of the shortest prefixes: /31, /32, /127 and /128', () => {
    expect(faults({ r: red('192.0.2.0/31', '198.51.100.255/32', '2001:db8::/127', '2001:db8:1::1/128') })).toEqual([]);
  });

  test('with the same prefixes as another in other networks', () => {
    expect(faults({ r: inside, s: { interfaces: { blue: '192.0.2.1/24' } } })).toEqual([]);
  });

  test('with another router of the switch as its next hop', () => {
    const other = { interfaces: { red: '192.0.2.2/24', blue: '198.51.100.1/24' } };
    expect(faults({ r: { ...inside, routes: [{ to: '0.0.0.0/0', via: '192.0.2.2' }] }, s: other })).toEqual([]);
  });

  test('and its routes are prefixes without host bits, with their hops in order', () => {
    const routes = [
      { to: '203.0.113.77/24', via: ['192.0.2.9', '192.0.2.8'] },
      { to: '2001:db8::/32', via: 'blackhole' },
    ];
    const router = resolved({ r: { ...inside, routes } }).get('r');
    const found = router?.routes.map(({ to, via }) => [prefixText(to), ...via.map(ipText)]);
    expect(found).toEqual([['203.0.113.0/24', '192.0.2.9', '192.0.2.8'], ['2001:db8::/32']]);
  });
});
