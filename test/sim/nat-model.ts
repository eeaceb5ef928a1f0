/**
 * The world of the simulator of NAT. Twice the same one, on other networks: a router between red, blue and ext, with the same
 * machines at the same addresses, so that whatever gets from one into the other is seen. Each router has a configuration of its
 * own.
 */
import type { Endpoint } from './nat-octets.js';

export const HALVES = ['left', 'right'] as const;
export type Half = (typeof HALVES)[number];

export interface Station {
  readonly name: 'a' | 'b' | 'c' | 'o' | 'p';
  readonly network: 'red' | 'blue' | 'ext';
  readonly mac: string;
  readonly addresses: readonly string[];
}

export const STATIONS: readonly Station[] = [
  { name: 'a', network: 'red', mac: '52:54:00:00:00:0a', addresses: ['192.0.2.5', '2001:db8:a::5'] },
  { name: 'b', network: 'red', mac: '52:54:00:00:00:0b', addresses: ['192.0.2.6', '2001:db8:a::6'] },
  { name: 'c', network: 'blue', mac: '52:54:00:00:00:0c', addresses: ['198.51.100.5'] },
  { name: 'o', network: 'ext', mac: '52:54:00:00:00:0d', addresses: ['203.0.113.1', '2001:db8:e::1'] },
  { name: 'p', network: 'ext', mac: '52:54:00:00:00:0e', addresses: ['203.0.113.2', '2001:db8:e::2'] },
];

/** The router's own addresses inside. */
export const GATEWAYS = { red: ['192.0.2.1/24', '2001:db8:a::1/64'], blue: ['198.51.100.1/25'] } as const;
export const OWN6 = '2001:db8:e::a';
/** Machines of the world, behind o. */
export const REMOTES = ['198.51.100.200', '198.51.100.201', '203.0.113.2'] as const;

export const portOf = (half: Half, name: string) => `${name}-${half}`;
export const networkOf = (half: Half, name: string) => `${name}-${half}`;

/** Written out from the prefixes above: who is inside is not asked of anything that the product has. */
export function isInside(address: string): boolean {
  if (address.startsWith('192.0.2.') || address.startsWith('2001:db8:a:')) return true;
  return address.startsWith('198.51.100.') && Number(address.slice('198.51.100.'.length)) < 128;
}

/** Who hears what is sent to the address: himself, or o for the world behind him. */
export function stationOf(address: string): Station | undefined {
  const found = STATIONS.find(({ addresses }) => addresses.includes(address));
  if (found !== undefined || isInside(address)) return found;
  const isOnLink = address.includes(':') || address.startsWith('203.0.113.');
  return isOnLink ? undefined : STATIONS.find(({ name }) => name === 'o');
}

export interface Range {
  readonly first: number;
  readonly last: number;
}

export interface Forward {
  readonly protocol: number;
  readonly address: string;
  readonly ports: Range;
  readonly to: string;
  readonly toPorts: Range;
}

export interface NatConfig {
  /** IPv4, in order. */
  readonly addresses: readonly string[];
  readonly snat: boolean;
  readonly pool: readonly Range[];
  readonly mapping: 'endpoint-independent' | 'endpoint-dependent';
  readonly filtering: 'endpoint-independent' | 'address-dependent' | 'endpoint-dependent';
  readonly perVm: number;
  readonly floating: ReadonlyMap<string, string>;
  readonly forwards: readonly Forward[];
}

export const isIn = ({ first, last }: Range, port: number) => port >= first && port <= last;
export const same = (one: Endpoint, other: Endpoint) => one.address === other.address && one.port === other.port;
