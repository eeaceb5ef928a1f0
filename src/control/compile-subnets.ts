/**
 * What workers know of subnets: in which networks the address service and the services for machines are asked, and at which
 * addresses; and which addresses are the switch's own, routers' with them. Pure.
 */
import { SERVICE_METADATA, SERVICE_NAMES } from '../pipeline/guest-service.js';
import { makeOwnAddresses, OWN_LOCAL, OWN_ROUTER, type OwnAddress } from '../pipeline/own-addresses.js';
import {
  NETWORK_ADVERTISES,
  NETWORK_GUEST_SERVICES,
  NETWORK_SERVES,
  NETWORK_SERVES_DHCP4,
  NETWORK_SERVES_DHCP6,
  type Snapshot,
} from '../pipeline/snapshot.js';
import { ipWords, macWords } from '../wire/address.js';
import { routerAddresses } from './compile-routers.js';
import type { Indices } from './indices.js';
import { METADATA_ADDRESS, METADATA_ADDRESS6 } from './resolve-services.js';
import type { ResolvedConfig } from './resolved.js';
import type { ResolvedSubnet } from './resolved-subnet.js';
import { linkLocalOf, virtualMac } from './virtual-mac.js';

/** NETWORK_SERVES_... bits of a network, and whether machines find services there. */
export function servesFlags(network: string, config: ResolvedConfig): number {
  let flags = 0;
  for (const subnet of config.subnets.values()) {
    if (subnet.network !== network) continue;
    if (subnet.dhcp !== undefined) flags |= NETWORK_SERVES_DHCP4;
    if (subnet.dhcp6 !== undefined) flags |= NETWORK_SERVES_DHCP6;
    if (subnet.ra !== undefined) flags |= NETWORK_ADVERTISES;
    if (subnet.names !== undefined || config.services.metadata !== undefined) flags |= NETWORK_GUEST_SERVICES;
  }
  return flags;
}

export function compileSubnets(
  config: ResolvedConfig,
  indices: Indices,
): Pick<Snapshot, 'servingNetworks' | 'ownAddresses' | 'serverAddresses' | 'guestServices'> {
  const serving = [...config.networks.keys()].filter((name) => (servesFlags(name, config) & NETWORK_SERVES) !== 0);
  const own: OwnAddress[] = [];
  const servers: OwnAddress[] = [];
  const services: OwnAddress[] = [];
  for (const subnet of config.subnets.values()) {
    const network = indices.network(subnet.network);
    if (network === undefined) continue;
    const { high, low } = macWords(virtualMac(subnet.network));
    const rowOf = (address: Uint8Array, flags: number): OwnAddress => {
      return { network, address: ipWords(address), macHigh: high, macLow: low, flags };
    };
    for (const { address, isAnswered, flags } of addressesOf(subnet)) {
      servers.push(rowOf(address, flags));
      if (isAnswered) own.push(rowOf(address, flags));
    }
    for (const { address, service, isAnswered } of servicesOf(subnet, config)) {
      services.push(rowOf(address, service));
      if (isAnswered) own.push(rowOf(address, OWN_LOCAL));
    }
  }
  return {
    servingNetworks: serving.length,
    // Of two subnets in one network, one that makes it a router decides.
    ownAddresses: makeOwnAddresses([
      ...routerAddresses(config, indices),
      ...own.sort((left, right) => right.flags - left.flags),
    ]),
    serverAddresses: makeOwnAddresses(servers),
    guestServices: makeOwnAddresses(services),
  };
}

interface ServiceAddress {
  readonly address: Uint8Array;
  readonly isAnswered: boolean;
  readonly flags: number;
}

function addressesOf({ network, dhcp, dhcp6, ra }: ResolvedSubnet): ServiceAddress[] {
  const addresses: ServiceAddress[] = [];
  if (dhcp !== undefined) addresses.push({ address: dhcp.server, isAnswered: dhcp.answersArp, flags: OWN_LOCAL });
  if (dhcp6 !== undefined || ra !== undefined) {
    const isRouter = ra !== undefined && ra.lifetimeSeconds > 0;
    const address = linkLocalOf(virtualMac(network));
    addresses.push({ address, isAnswered: true, flags: OWN_LOCAL | (isRouter ? OWN_ROUTER : 0) });
  }
  return addresses;
}

/** Where machines of the subnet's network find what the switch serves. */
function servicesOf(
  { names }: ResolvedSubnet,
  { services }: ResolvedConfig,
): { readonly address: Uint8Array; readonly service: number; readonly isAnswered: boolean }[] {
  const found = [];
  if (names !== undefined) found.push({ address: names.server, service: SERVICE_NAMES, isAnswered: names.isAnswered });
  if (services.metadata !== undefined)
    for (const address of [METADATA_ADDRESS, METADATA_ADDRESS6])
      found.push({ address, service: SERVICE_METADATA, isAnswered: true });
  return found;
}
