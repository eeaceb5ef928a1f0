/**
 * The services that the switch runs for machines: where names are answered, what machines are told of that, and the endpoint
 * of the metadata. Pure.
 *
 * Names are answered at a subnet's gateway where that is the switch itself: an address of a router of ours, or one that the
 * address service answers for. A gateway that is a machine or stands behind an uplink has a port 53 of its own, which is left
 * alone; then, and in a subnet without a gateway, names are answered at the DHCP server's address, of IPv6 at the link-local
 * address that advertisements come from.
 *
 * Machines are told of it (DHCP, DHCPv6, RDNSS) where the configuration names no resolver of its own and settings.dns says who
 * answers the rest: a resolver that refuses the world must not replace one that machines may have.
 */
import { IPV4_SIZE, ipText, parseIp } from '../wire/address.js';
import { ipv4Number } from './address-range.js';
import { type ConfigFault, own } from './config-path.js';
import { portWith, routersAt } from './resolve-subnets.js';
import type { ResolvedServices } from './resolved.js';
import type { ResolvedDhcp, ResolvedNames, ResolvedSubnet } from './resolved-subnet.js';
import type { Config, SubnetConfig } from './schema.js';
import { linkLocalOf, virtualMac } from './virtual-mac.js';

/** Where machines of every cloud ask for their metadata, and its IPv6 counterpart as OpenStack has it. */
export const METADATA_ADDRESS = Uint8Array.of(169, 254, 169, 254);
export const METADATA_ADDRESS6 = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa9, 0xfe, 0xa9, 0xfe);

export function resolveServices({ settings }: Config, faults: ConfigFault[]): ResolvedServices {
  const { dns, metadata } = settings;
  if (metadata !== undefined && !isEndpoint(metadata.endpoint)) {
    const message = `${metadata.endpoint} is not the URL of a server; write http://HOST:PORT, without a query`;
    faults.push({ path: ['settings', 'metadata', 'endpoint'], message });
  }
  return {
    forward: (dns?.forward ?? []).map((text) => ipText(parseIp(text) ?? new Uint8Array(IPV4_SIZE))),
    ...(metadata !== undefined && {
      metadata: { endpoint: metadata.endpoint, ...(metadata.secret !== undefined && { secret: metadata.secret }) },
    }),
  };
}

function isEndpoint(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) return false;
  return url.search === '' && url.hash === '' && url.username === '' && url.password === '';
}

/** The subnets with what services add to them. */
export function serveSubnets(
  config: Config,
  subnets: ReadonlyMap<string, ResolvedSubnet>,
  { forward, metadata }: ResolvedServices,
): Map<string, ResolvedSubnet> {
  const served = new Map<string, ResolvedSubnet>();
  for (const [name, subnet] of subnets) {
    const written = own(config.subnets, name);
    const names = written?.names === false ? undefined : namesOf(config, written, subnet);
    const told = names !== undefined && forward.length > 0 ? tellResolver(subnet, names.server) : subnet;
    const routed = metadata === undefined ? told : routeMetadata(told);
    served.set(name, { ...routed, ...(names !== undefined && { names }) });
  }
  return served;
}

function namesOf(config: Config, written: SubnetConfig | undefined, subnet: ResolvedSubnet): ResolvedNames | undefined {
  const { gateway, dhcp, dhcp6, ra, network, prefix } = subnet;
  if (written === undefined) return undefined;
  if (gateway !== undefined && routersAt(config, network, gateway)) return { server: gateway, isAnswered: false };
  if (prefix.address.length === IPV4_SIZE) return dhcp && namesAtServer(config, network, dhcp);
  if (dhcp6 === undefined && ra === undefined) return undefined;
  const isFree =
    gateway !== undefined &&
    own(config.networks, network)?.uplink === undefined &&
    portWith(config, network, gateway) === undefined;
  return isFree
    ? { server: gateway, isAnswered: true }
    : { server: linkLocalOf(virtualMac(network)), isAnswered: false };
}

/** The server stands at the gateway unless it is told otherwise; and answers ARP, or is a router's address. */
function namesAtServer(
  config: Config,
  network: string,
  { server, answersArp }: ResolvedDhcp,
): ResolvedNames | undefined {
  return answersArp || routersAt(config, network, server) ? { server, isAnswered: false } : undefined;
}

function tellResolver(subnet: ResolvedSubnet, server: Uint8Array): ResolvedSubnet {
  const { dhcp, dhcp6, ra } = subnet;
  return {
    ...subnet,
    ...(dhcp !== undefined && dhcp.dns.length === 0 && { dhcp: { ...dhcp, dns: [ipv4Number(server)] } }),
    ...(dhcp6 !== undefined && dhcp6.dns.length === 0 && { dhcp6: { ...dhcp6, dns: [server] } }),
    ...(ra !== undefined && ra.rdnss.length === 0 && { ra: { ...ra, rdnss: [server] } }),
  };
}

/** A host route by the server (RFC 3442), for machines without a default route: whatever MAC it leads to, the switch hears. */
function routeMetadata(subnet: ResolvedSubnet): ResolvedSubnet {
  const { dhcp } = subnet;
  if (dhcp === undefined) return subnet;
  const destination = ipv4Number(METADATA_ADDRESS);
  if (dhcp.routes.some((route) => route.destination === destination && route.prefixLength === 32)) return subnet;
  const route = { destination, prefixLength: 32, via: ipv4Number(dhcp.server) };
  return { ...subnet, dhcp: { ...dhcp, routes: [route, ...dhcp.routes] } };
}
