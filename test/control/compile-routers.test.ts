/** Routers as tables: what is kept from one snapshot to the next, hops, MACs of interfaces. */
import { describe, expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { RouterCompiler } from '../../src/control/compile-routers.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { longestPrefix4, longestPrefix6, NO_PREFIX } from '../../src/pipeline/prefix-tree.js';
import {
  ADDRESS_WORDS,
  HOP_BLACKHOLE,
  HOP_CONNECTED,
  HOP_LOCAL,
  HOP_SHARED,
  HOP_VIA,
  type RoutingTables,
} from '../../src/pipeline/routing-tables.js';
import { ipWordsText, macText, macWordsText, parseIp } from '../../src/wire/address.js';
import { swap32 } from '../../src/wire/octets.js';

const networks = { red: { type: 'local' }, blue: { type: 'local', mtu: 1400 }, ext: { type: 'local' } };
const compiler = new RouterCompiler();

function compiled(routers: Record<string, unknown>, by = compiler): RoutingTables {
  const document = { version: 1, networks, routers } as unknown as JsonValue;
  const { resolved } = checkDocument(documentOf(document));
  const indices = new Indices().allocate(resolved);
  return by.compile(resolved, indices, 3, (network) => resolved.networks.get(network)?.mtu ?? 1500);
}

const interfaces = { red: ['192.0.2.1/24', '2001:db8:a::1/64'], blue: '198.51.100.1/24' };

function hop(tables: RoutingTables, router: number, address: string): number {
  const octets = parseIp(address) ?? new Uint8Array(4);
  return octets.length === 4
    ? longestPrefix4(tables.trees, tables.routerTree4[router]!, octets, 0)
    : longestPrefix6(tables.trees, tables.routerTree6[router]!, octets, 0);
}

/** The address of a hop, in words of network order. */
function addressAt(words: Int32Array, number: number): string {
  const at = number * ADDRESS_WORDS;
  return ipWordsText(words.slice(at, at + ADDRESS_WORDS).map((word) => swap32(word)));
}

const macAt = (tables: RoutingTables, index: number) =>
  macWordsText(tables.interfaceMacHigh[index]!, tables.interfaceMacLow[index]!);

describe('the trees of prefixes', () => {
  test('are kept while prefixes and hops are the same, and made anew when they are not', () => {
    const routes = [{ to: '203.0.113.0/24', via: '198.51.100.9' }];
    const first = compiled({ r: { interfaces, routes } });
    expect(compiled({ r: { interfaces, routes } }).trees).toBe(first.trees);
    expect(compiled({ r: { interfaces, routes: [] } }).trees).not.toBe(first.trees);
  });

  test('that are kept lead to the hops of today, also when only a next hop has changed', () => {
    const via = (address: string) => ({ r: { interfaces, routes: [{ to: '203.0.113.0/24', via: address }] } });
    const before = compiled(via('198.51.100.9'));
    const after = compiled(via('198.51.100.8'));
    expect(addressAt(before.hopAddress, hop(before, 0, '203.0.113.1'))).toBe('198.51.100.9');
    expect(addressAt(after.hopAddress, hop(after, 0, '203.0.113.1'))).toBe('198.51.100.8');
  });

  test('are of each router its own', () => {
    const tables = compiled({ r: { interfaces }, s: { interfaces: { ext: '203.0.113.1/24' } } });
    expect(hop(tables, 0, '203.0.113.9')).toBe(NO_PREFIX);
    expect(tables.hopKind[hop(tables, 1, '203.0.113.9')]).toBe(HOP_CONNECTED);
    expect(hop(tables, 1, '2001:db8:a::1')).toBe(NO_PREFIX);
  });
});

describe('hops', () => {
  test('of own addresses come before networks, those before routes', () => {
    const routes = [
      { to: '198.51.100.0/24', via: 'blackhole' },
      { to: '198.51.100.1/32', via: 'blackhole' },
      { to: '198.51.100.77/32', via: 'blackhole' },
    ];
    const tables = compiled({ r: { interfaces, routes } });
    const kind = (address: string) => tables.hopKind[hop(tables, 0, address)];
    expect(kind('198.51.100.1')).toBe(HOP_LOCAL);
    expect(kind('198.51.100.9')).toBe(HOP_CONNECTED);
    expect(kind('198.51.100.77')).toBe(HOP_BLACKHOLE);
    expect(kind('2001:db8:a::1')).toBe(HOP_LOCAL);
    expect(kind('2001:db8:a::9')).toBe(HOP_CONNECTED);
  });

  test('that share a route lie one after another behind the one that stands for them', () => {
    const routes = [{ to: '0.0.0.0/0', via: ['198.51.100.9', '192.0.2.9'] }];
    const tables = compiled({ r: { interfaces, routes } });
    const all = hop(tables, 0, '203.0.113.1');
    expect([tables.hopKind[all], tables.hopCount[all]]).toEqual([HOP_SHARED, 2]);
    const first = tables.hopInterface[all]!;
    const found = [first, first + 1].map((one) => {
      const network = tables.interfaceNetwork[tables.hopInterface[one]!];
      return [tables.hopKind[one], network, addressAt(tables.hopAddress, one), addressAt(tables.hopSource, one)];
    });
    expect(found).toEqual([
      [HOP_VIA, 1, '198.51.100.9', '198.51.100.1'],
      [HOP_VIA, 0, '192.0.2.9', '192.0.2.1'],
    ]);
  });
});

describe('interfaces', () => {
  test('of the first router inside a network have the MAC of its gateway, on every host; of the second another', () => {
    const tables = compiled({ r: { interfaces: { red: '192.0.2.1/24' } }, s: { interfaces: { red: '192.0.2.2/24' } } });
    expect([tables.networkInterfaces[0], tables.networkInterfaceCount[0]]).toEqual([0, 2]);
    expect(macAt(tables, 0)).toBe(macText(virtualMac('red')));
    expect(macAt(tables, 1)).toBe(macText(virtualMac('red', 's')));
    expect(macAt(tables, 1)).not.toBe(macAt(tables, 0));
  });

  test('towards the outside have the MAC of this host: another address, another MAC', () => {
    const router = (address: string) => ({
      r: { interfaces, external: { network: 'ext', addresses: [address], snat: false } },
    });
    const [one, other] = ['203.0.113.1/24', '203.0.113.2/24'].map((address) => compiled(router(address)));
    const ext = one!.networkInterfaces[2]!;
    expect(macAt(one!, ext)).not.toBe(macAt(other!, ext));
    expect(macAt(one!, ext)).not.toBe(macText(virtualMac('ext')));
  });

  test('have the MTU of their network', () => {
    const tables = compiled({ r: { interfaces } });
    expect(Array.from(tables.interfaceMtu)).toEqual([1500, 1400]);
  });
});
