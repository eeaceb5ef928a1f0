/** Subnets once everything about them is settled (resolve-subnets.ts): what the address service works from. Plain data. */
import type { Prefix } from '../wire/address.js';
import type { ClasslessRoute } from '../wire/dhcp-message.js';
import type { AddressRange } from './address-range.js';

export interface ResolvedSubnet {
  readonly network: string;
  /** Host bits are clear. */
  readonly prefix: Prefix;
  readonly gateway?: Uint8Array;
  /** Numbers of addresses in it that are never given to whoever asks: the subnet's own, the gateway's, of ports, of routers. */
  readonly taken: ReadonlySet<bigint>;
  /** IPv4 only. */
  readonly dhcp?: ResolvedDhcp;
  /** IPv6 only. */
  readonly dhcp6?: ResolvedDhcp6;
  readonly ra?: ResolvedRa;
  /** Where the names of its network's machines are answered; absent: nowhere. */
  readonly names?: ResolvedNames;
}

export interface ResolvedNames {
  readonly server: Uint8Array;
  /** The switch answers ARP and ND for it, because nothing else does. */
  readonly isAnswered: boolean;
}

export interface ResolvedDhcp {
  readonly server: Uint8Array;
  /** The address service answers ARP for it: nobody else has it. */
  readonly answersArp: boolean;
  readonly pool?: AddressRange;
  /** Whether clients without an address of their own are served. */
  readonly servesUnknown: boolean;
  readonly leaseSeconds: number;
  readonly dns: readonly number[];
  readonly domain?: string;
  readonly search: readonly string[];
  readonly ntp: readonly number[];
  readonly routes: readonly ClasslessRoute[];
  readonly options: ReadonlyMap<number, Uint8Array>;
  readonly perPort: number;
}

export interface ResolvedDhcp6 {
  readonly pool?: AddressRange;
  /** Whether it gives addresses, not only what else there is to know. */
  readonly stateful: boolean;
  readonly leaseSeconds: number;
  readonly dns: readonly Uint8Array[];
  readonly search: readonly string[];
  readonly options: ReadonlyMap<number, Uint8Array>;
  readonly perPort: number;
}

export interface ResolvedRa {
  readonly mode: 'slaac' | 'stateless' | 'stateful';
  /** 0: the subnet has no gateway, so this is nobody's default router. */
  readonly lifetimeSeconds: number;
  readonly intervalSeconds: number;
  readonly rdnss: readonly Uint8Array[];
  readonly search: readonly string[];
}
