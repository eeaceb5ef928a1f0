/** Random configurations of routers that translate, and the documents that say them. */

import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { type TestDocument, vm } from '../pipeline/test-switch.js';
import {
  type Forward,
  GATEWAYS,
  HALVES,
  type Half,
  type NatConfig,
  networkOf,
  OWN6,
  portOf,
  type Range,
  STATIONS,
} from './nat-model.js';
import { TCP, UDP } from './nat-octets.js';
import type { Random } from './random.js';

export type Configs = Readonly<Record<Half, NatConfig>>;

const range = (first: number, last = first): Range => ({ first, last });
const POOLS: readonly (readonly Range[])[] = [
  [range(1024, 65_535)],
  [range(1024, 65_535)],
  [range(4000, 4007)],
  [range(5000, 5003), range(6001, 6007)],
  [range(512, 1535)],
];
const EXTERNAL = ['203.0.113.10', '203.0.113.11'];
const FLOATING = ['203.0.113.20', '203.0.113.21'];
const FORWARDED = '203.0.113.30';
const INSIDE = ['192.0.2.5', '192.0.2.6', '198.51.100.5'];
const FORWARDS: readonly Forward[] = [
  { protocol: TCP, address: EXTERNAL[0]!, ports: range(8080), to: '192.0.2.5', toPorts: range(80) },
  { protocol: UDP, address: EXTERNAL[0]!, ports: range(4000, 4003), to: '192.0.2.6', toPorts: range(5000, 5003) },
  { protocol: UDP, address: FORWARDED, ports: range(4000, 4001), to: '198.51.100.5', toPorts: range(80) },
  { protocol: TCP, address: FORWARDED, ports: range(80), to: '192.0.2.6', toPorts: range(80) },
];

export function randomConfig(random: Random): NatConfig {
  const floating = new Map<string, string>();
  const free = [...INSIDE];
  for (const outside of random.some(FLOATING)) floating.set(outside, free.splice(random.below(free.length), 1)[0]!);
  if (random.oneIn(2)) floating.set('2001:db8:e::20', random.pick(['2001:db8:a::5', '2001:db8:a::6']));
  return {
    addresses: random.oneIn(2) ? EXTERNAL : EXTERNAL.slice(0, 1),
    snat: !random.oneIn(6),
    pool: random.pick(POOLS),
    mapping: random.oneIn(4) ? 'endpoint-dependent' : 'endpoint-independent',
    filtering: random.pick(['endpoint-dependent', 'address-dependent', 'endpoint-independent'] as const),
    perVm: random.pick([3, 6, 4096, 4096]),
    floating,
    forwards: random.some(FORWARDS),
  };
}

/** The same with something else in it. */
export function changedConfig(random: Random, config: NatConfig): NatConfig {
  const other = randomConfig(random);
  const keys = Object.keys(config) as (keyof NatConfig)[];
  const key = random.pick(keys);
  return { ...config, [key]: other[key] };
}

const rangeText = ({ first, last }: Range) => (first === last ? `${first}` : `${first}-${last}`);

function router(half: Half, config: NatConfig): unknown {
  const { addresses, snat, pool, mapping, filtering, perVm } = config;
  const own = [...addresses.map((address) => `${address}/24`), `${OWN6}/64`];
  const forwards = config.forwards.map(({ protocol, address, ports, to, toPorts }) => ({
    proto: protocol === TCP ? 'tcp' : 'udp',
    address,
    port: rangeText(ports),
    to: `${to}:${rangeText(toPorts)}`,
  }));
  return {
    interfaces: { [networkOf(half, 'red')]: GATEWAYS.red, [networkOf(half, 'blue')]: GATEWAYS.blue },
    routes: [
      { to: '0.0.0.0/0', via: '203.0.113.1' },
      { to: '::/0', via: '2001:db8:e::1' },
    ],
    external: {
      network: networkOf(half, 'ext'),
      addresses: own,
      snat,
      pool: pool.map(rangeText),
      mapping,
      filtering,
      perVm,
    },
    floating: Object.fromEntries(config.floating),
    forwards,
  };
}

export function natDocument(configs: Configs): TestDocument {
  const names = ['red', 'blue', 'ext'];
  const networks = HALVES.flatMap((half) =>
    names.map((name) => [networkOf(half, name), { type: 'local' as const }] as const),
  );
  const ports = HALVES.flatMap((half) =>
    STATIONS.map(({ name, network }) => [portOf(half, name), vm({ network: networkOf(half, network) })] as const),
  );
  return {
    networks: Object.fromEntries(networks),
    ports: Object.fromEntries(ports),
    routers: Object.fromEntries(HALVES.map((half) => [half, router(half, configs[half])])),
  };
}

/** As the product reads it; throws when it refuses. */
export function resolvedDocument(document: TestDocument) {
  return checkDocument(documentOf({ version: 1, ...document } as unknown as JsonValue)).resolved;
}
