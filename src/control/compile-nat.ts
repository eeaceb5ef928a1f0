/** Routers that translate as the tables that workers translate by (pipeline/nat-tables.ts). Pure; main thread. */
import { NETWORKS_MAX } from '../limits.js';
import {
  A_ADDRESS,
  A_FORWARD_COUNT,
  A_FORWARDS,
  A_KIND,
  A_PEER,
  ADDRESS_ROW_WORDS,
  HAS_FLOATING,
  IS_FLOATING,
  IS_OWN,
  NAT_DEPENDENT_MAPPING,
  NAT_FILTERS_ADDRESSES,
  NAT_FILTERS_NOT,
  NAT_ON,
  NAT_SNAT,
  type NatTables,
  NO_NAT,
  natAddressHash,
} from '../pipeline/nat-tables.js';
import { IPV4_SIZE, ipText } from '../wire/address.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { read32 } from '../wire/octets.js';
import { hidingAddresses, type Indices } from './indices.js';
import type { NumberRange, ResolvedConfig, ResolvedForward, ResolvedRouter } from './resolved.js';

/** In the order of MAP_.... */
const MAP_PROTOCOLS = [PROTOCOL_TCP, PROTOCOL_UDP, undefined] as const;

/** Zone of a router's connections. */
export function routerZone(index: number): number {
  return NETWORKS_MAX + index;
}

/** Whether the router translates anything. */
export function translates({ external, floating, forwards }: ResolvedRouter): boolean {
  return external?.snat === true || floating.length > 0 || forwards.length > 0;
}

/** Networks of routers that translate. */
export function natNetworks(config: ResolvedConfig, indices: Indices): number[] {
  const names = [...config.routers.values()].filter(translates).flatMap(({ interfaces }) => interfaces);
  return names.flatMap(({ network }) => indices.network(network) ?? []);
}

/** Outside addresses that the router has besides those of its interface: floating ones and those of forwards. */
export function moreOutsides({ interfaces, floating, forwards }: ResolvedRouter): Uint8Array[] {
  const own = new Set(interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => ipText(address))));
  const all = new Map([...floating, ...forwards].map(({ outside }) => [ipText(outside), outside]));
  return [...all.values()].filter((address) => !own.has(ipText(address)));
}

export function compileNat(config: ResolvedConfig, indices: Indices): NatTables {
  const routers = [...config.routers];
  if (!routers.some(([, router]) => translates(router))) return NO_NAT;
  const hiding = routers.map(([name, router]) => hidingOf(name, router, indices));
  const rows = new AddressRows();
  for (const [position, [, router]] of routers.entries()) rows.add(position, router);
  let outsides = 0;
  const first = hiding.map(({ length }) => {
    outsides += length;
    return outsides - length;
  });
  const all = hiding.flat();
  return {
    routerFlags: shared(routers.map(([, router]) => flagsOf(router))),
    routerZone: shared(routers.map(([name]) => routerZone(indices.router(name) ?? 0))),
    routerPerVm: shared(routers.map(([, { external }]) => external?.perVm ?? 0)),
    routerOutsides: shared(first),
    routerOutsideCount: shared(hiding.map(({ length }) => length)),
    outsideAddress: shared(all.flatMap(({ address }) => natWords(address))),
    outsideNumber: shared(all.map(({ number }) => number)),
    ...rangeTables(all.flatMap(({ ranges }) => ranges)),
    ...rows.tables(),
  };
}

function flagsOf(router: ResolvedRouter): number {
  if (!translates(router)) return 0;
  const { external } = router;
  return (
    NAT_ON |
    (external?.snat === true ? NAT_SNAT : 0) |
    (external?.mapping === 'endpoint-dependent' ? NAT_DEPENDENT_MAPPING : 0) |
    (external?.filtering === 'endpoint-independent' ? NAT_FILTERS_NOT : 0) |
    (external?.filtering === 'address-dependent' ? NAT_FILTERS_ADDRESSES : 0)
  );
}

interface Hiding {
  readonly address: Uint8Array;
  readonly number: number;
  /** By MAP_.... */
  readonly ranges: readonly (readonly NumberRange[])[];
}

function hidingOf(name: string, router: ResolvedRouter, indices: Indices): Hiding[] {
  return hidingAddresses(router).flatMap((address) => {
    const number = indices.outside(name, address);
    if (number === undefined) return [];
    const taken = router.forwards.filter(({ outside }) => ipText(outside) === ipText(address));
    const pool = router.external?.pool ?? [];
    const ranges = MAP_PROTOCOLS.map((protocol) =>
      without(
        pool,
        taken.filter((one) => one.protocol === protocol).map(({ ports }) => ports),
      ),
    );
    return [{ address, number, ranges }];
  });
}

/** What of the ranges is in none of `taken`: a forwarded port is nobody's mapping. */
function without(ranges: readonly NumberRange[], taken: readonly NumberRange[]): NumberRange[] {
  return taken.reduce<NumberRange[]>(
    (left, { first, last }) =>
      left.flatMap((range) => {
        if (last < range.first || first > range.last) return [range];
        const before = { first: range.first, last: first - 1 };
        const after = { first: last + 1, last: range.last };
        return [before, after].filter((part) => part.first <= part.last);
      }),
    [...ranges],
  );
}

function rangeTables(lists: readonly (readonly NumberRange[])[]) {
  let position = 0;
  const start = lists.map(({ length }) => {
    position += length;
    return position - length;
  });
  return {
    rangeStart: shared(start),
    rangeCount: shared(lists.map(({ length }) => length)),
    ranges: shared(lists.flat().flatMap(({ first, last }) => [first, last])),
  };
}

interface AddressRow {
  readonly router: number;
  readonly words: readonly number[];
  kind: number;
  peer: number;
  readonly forwards: ResolvedForward[];
}

/** Collects what addresses of routers mean. */
class AddressRows {
  private readonly rows = new Map<string, AddressRow>();
  private readonly peers: number[][] = [];

  add(position: number, router: ResolvedRouter): void {
    for (const address of hidingAddresses(router)) this.row(position, address).kind |= IS_OWN;
    for (const { outside, inside } of router.floating) {
      const outer = this.row(position, outside);
      outer.kind |= IS_FLOATING;
      outer.peer = this.peer(inside);
      const inner = this.row(position, inside);
      inner.kind |= HAS_FLOATING;
      inner.peer = this.peer(outside);
    }
    for (const forward of router.forwards) this.row(position, forward.outside).forwards.push(forward);
  }

  private row(router: number, address: Uint8Array): AddressRow {
    const key = `${router} ${ipText(address)}`;
    const row = this.rows.get(key) ?? { router, words: natWords(address), kind: 0, peer: -1, forwards: [] };
    this.rows.set(key, row);
    return row;
  }

  private peer(address: Uint8Array): number {
    return this.peers.push(natWords(address)) - 1;
  }

  tables() {
    let capacity = 4;
    while (capacity < this.rows.size * 2) capacity *= 2;
    const table = new Int32Array(new SharedArrayBuffer(capacity * ADDRESS_ROW_WORDS * Int32Array.BYTES_PER_ELEMENT));
    const forwards: number[][] = [];
    for (const { router, words, kind, peer, forwards: own } of this.rows.values()) {
      let index = natAddressHash(router, Int32Array.from(words)) & (capacity - 1);
      while (table[index * ADDRESS_ROW_WORDS] !== 0) index = (index + 1) & (capacity - 1);
      const at = index * ADDRESS_ROW_WORDS;
      table[at] = router + 1;
      table.set(words, at + A_ADDRESS);
      table[at + A_KIND] = kind;
      table[at + A_PEER] = peer;
      table[at + A_FORWARDS] = forwards.length;
      table[at + A_FORWARD_COUNT] = own.length;
      const sorted = own.toSorted((one, other) => one.protocol - other.protocol || one.ports.first - other.ports.first);
      for (const { protocol, ports, inside, port, follows } of sorted)
        forwards.push([protocol, ports.first, ports.last, this.peer(inside), port, follows ? 1 : 0]);
    }
    return { addresses: table, forwards: shared(forwards.flat()), peers: shared(this.peers.flat()) };
  }
}

/** ADDRESS_WORDS in network order, IPv4 mapped. */
export function natWords(address: Uint8Array): number[] {
  if (address.length === IPV4_SIZE) return [0, 0, 0xffff, read32(address, 0)];
  return [0, 4, 8, 12].map((at) => read32(address, at));
}

function shared(words: readonly number[]): Int32Array {
  const array = new Int32Array(new SharedArrayBuffer(words.length * Int32Array.BYTES_PER_ELEMENT));
  array.set(words);
  return array;
}
