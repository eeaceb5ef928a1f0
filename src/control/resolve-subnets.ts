/** What must hold for subnets beyond the schema, and subnets with their addresses and numbers settled. Pure. */
import {
  IPV4_SIZE,
  IPV6_SIZE,
  ipText,
  networkOf,
  type Prefix,
  parseIp,
  parsePrefix,
  prefixContains,
  prefixText,
} from '../wire/address.js';
import {
  addressNumber,
  addressOctets,
  doOverlap,
  ipv4Number,
  isIn,
  parseAddressRange,
  rangeOf,
} from './address-range.js';
import { type ConfigFault, type ConfigPath, own } from './config-path.js';
import { dhcpOptionValue, isDomainName } from './dhcp-option-text.js';
import type { ResolvedDhcp, ResolvedDhcp6, ResolvedRa, ResolvedSubnet } from './resolved-subnet.js';
import type { Config, SubnetConfig } from './schema.js';
import { quantity } from './units.js';

/** RFC 8319: the router lifetime's field has room for it. */
const RA_LIFETIME_MAX_S = 65_535;
/** RFC 4861 6.2.1, MaxRtrAdvInterval. */
const RA_INTERVAL_MAX_S = 1800;
/** RFC 4862 5.5.3: interface identifiers of Ethernet have 64 bits, and so has the prefix. */
const SLAAC_PREFIX_LENGTH = 64;

/** One subnet on its way. */
interface Subject {
  readonly name: string;
  readonly path: ConfigPath;
  readonly subnet: SubnetConfig;
  readonly config: Config;
  readonly prefix: Prefix;
  readonly isIpv4: boolean;
  readonly gateway: Uint8Array | undefined;
  readonly faults: ConfigFault[];
}

export function resolveSubnets(config: Config, faults: ConfigFault[]): Map<string, ResolvedSubnet> {
  const resolved = new Map<string, ResolvedSubnet>();
  for (const [name, subnet] of Object.entries(config.subnets)) {
    const written = parsePrefix(subnet.cidr);
    if (written === undefined || own(config.networks, subnet.network) === undefined) continue;
    const subject = subjectOf(name, subnet, written, config, faults);
    checkOverlap(subject, resolved);
    resolved.set(name, resolveSubnet(subject));
  }
  return resolved;
}

function subjectOf(
  name: string,
  subnet: SubnetConfig,
  written: Prefix,
  config: Config,
  faults: ConfigFault[],
): Subject {
  const path = ['subnets', name];
  const prefix = networkOf(written);
  if (prefixText(prefix) !== prefixText(written)) {
    const message = `${subnet.cidr} has bits behind its prefix; write ${prefixText(prefix)}`;
    faults.push({ path: [...path, 'cidr'], message });
  }
  const gateway = subnet.gateway === undefined ? undefined : parseIp(subnet.gateway);
  const isIpv4 = prefix.address.length === IPV4_SIZE;
  const subject = { name, path, subnet, config, prefix, isIpv4, gateway, faults };
  checkFamilies(subject);
  if (gateway !== undefined) checkGateway(subject, gateway);
  return subject;
}

function resolveSubnet(subject: Subject): ResolvedSubnet {
  const { subnet, prefix, gateway, isIpv4 } = subject;
  const taken = takenAddresses(subject);
  const dhcp = subnet.dhcp !== undefined && isIpv4 ? resolveDhcp(subject, taken) : undefined;
  if (dhcp !== undefined) taken.add(addressNumber(dhcp.server));
  const ra = subnet.ra !== undefined && !isIpv4 ? resolveRa(subject) : undefined;
  const dhcp6 = isIpv4 ? undefined : resolveDhcp6(subject, ra);
  return {
    network: subnet.network,
    prefix,
    taken,
    ...(gateway !== undefined && { gateway }),
    ...(dhcp !== undefined && { dhcp }),
    ...(dhcp6 !== undefined && { dhcp6 }),
    ...(ra !== undefined && { ra }),
  };
}

function checkOverlap({ path, subnet, prefix, faults }: Subject, others: Map<string, ResolvedSubnet>): void {
  for (const [other, { network, prefix: known }] of others) {
    if (network !== subnet.network || known.address.length !== prefix.address.length) continue;
    if (!doOverlap(rangeOf(known), rangeOf(prefix))) continue;
    const message = `${prefixText(prefix)} overlaps ${prefixText(known)} of ${other} in network ${network}`;
    faults.push({ path: [...path, 'cidr'], message });
  }
}

function checkFamilies({ path, subnet, isIpv4, faults }: Subject): void {
  const misplaced = { dhcp: !isIpv4, dhcp6: isIpv4, ra: isIpv4 };
  const instead = { dhcp: 'write dhcp6', dhcp6: 'write dhcp', ra: 'remove it' };
  for (const key of ['dhcp', 'dhcp6', 'ra'] as const) {
    if (subnet[key] === undefined || !misplaced[key]) continue;
    const family = isIpv4 ? 'an IPv4' : 'an IPv6';
    faults.push({ path: [...path, key], message: `${family} subnet has no ${key}; ${instead[key]}` });
  }
}

/** A router's address on the link may be a link-local one (RFC 4861 2.3), which is in no prefix. */
function checkGateway({ path, prefix, isIpv4, faults }: Subject, gateway: Uint8Array): void {
  const isLinkLocal = !isIpv4 && gateway[0] === 0xfe && (gateway[1] & 0xc0) === 0x80;
  const at = [...path, 'gateway'];
  if (!prefixContains(prefix, gateway) && !isLinkLocal)
    faults.push({ path: at, message: `${ipText(gateway)} is not in ${prefixText(prefix)}` });
  else if (isReserved(prefix, addressNumber(gateway)))
    faults.push({ path: at, message: `${ipText(gateway)} is the address of the subnet itself` });
}

/** The first address of a prefix, and of IPv4 the last, are no host's (RFC 1122 3.2.1.3), but in /31 and /32 (RFC 3021). */
function isReserved(prefix: Prefix, number: bigint): boolean {
  const { first, last } = rangeOf(prefix);
  if (last - first < 2n) return false;
  return number === first || (prefix.address.length === IPV4_SIZE && number === last);
}

/** Addresses in the subnet that somebody has: nobody else is given them. */
function takenAddresses({ subnet, config, prefix, gateway }: Subject): Set<bigint> {
  const { first, last } = rangeOf(prefix);
  const taken = new Set<bigint>([first, last].filter((number) => isReserved(prefix, number)));
  const take = (text: string) => {
    const address = parsePrefix(text)?.address ?? parseIp(text);
    if (address !== undefined && prefixContains(prefix, address)) taken.add(addressNumber(address));
  };
  if (gateway !== undefined) take(ipText(gateway));
  for (const { addresses = [] } of Object.values(config.ports)) for (const address of addresses) take(address);
  for (const router of Object.values(config.routers)) {
    const inside = own(router.interfaces, subnet.network);
    if (inside !== undefined) for (const address of [inside].flat()) take(address);
    if (router.external?.network !== subnet.network) continue;
    for (const address of router.external.addresses) take(address);
    for (const address of Object.keys(router.floating ?? {})) take(address);
  }
  return taken;
}

function resolveDhcp(subject: Subject, taken: ReadonlySet<bigint>): ResolvedDhcp {
  const { subnet, path, faults } = subject;
  const dhcp = subnet.dhcp ?? { lease: '24h', perPort: 8 };
  const at = [...path, 'dhcp'];
  const pool = poolOf(subject, dhcp.pool, [...at, 'pool']);
  if (dhcp.unknown === 'serve' && dhcp.pool === undefined)
    faults.push({ path: [...at, 'unknown'], message: 'serving unknown machines needs a pool' });
  checkNames(subject, [...(dhcp.domain === undefined ? [] : [dhcp.domain]), ...(dhcp.search ?? [])], at);
  const server = serverAddress(subject, pool, taken);
  const routes = (dhcp.routes ?? []).flatMap(({ to, via }, index) => {
    const prefix = parsePrefix(to);
    const [hop] = addressList(subject, [via], [...at, 'routes', index, 'via']);
    if (prefix === undefined || hop === undefined) return [];
    if (prefix.address.length !== IPV4_SIZE) {
      faults.push({ path: [...at, 'routes', index, 'to'], message: `${to} is not an IPv4 prefix` });
      return [];
    }
    const destination = ipv4Number(networkOf(prefix).address);
    return [{ destination, prefixLength: prefix.length, via: ipv4Number(hop) }];
  });
  return {
    server,
    answersArp: answersArp(subject, server),
    ...(pool !== undefined && { pool }),
    servesUnknown: pool !== undefined && dhcp.unknown !== 'ignore',
    leaseSeconds: Math.ceil(quantity('duration', dhcp.lease) / 1000),
    dns: addressList(subject, dhcp.dns, [...at, 'dns']).map(ipv4Number),
    ...(dhcp.domain !== undefined && { domain: dhcp.domain }),
    search: dhcp.search ?? [],
    ntp: addressList(subject, dhcp.ntp, [...at, 'ntp']).map(ipv4Number),
    routes,
    options: dhcpOptions(dhcp.options, [...at, 'options'], faults),
    perPort: dhcp.perPort,
  };
}

function poolOf({ prefix, faults }: Subject, text: string | undefined, path: ConfigPath) {
  if (text === undefined) return undefined;
  const pool = parseAddressRange(text);
  if (pool === undefined) {
    faults.push({ path, message: `${text} runs backwards` });
    return undefined;
  }
  const whole = rangeOf(prefix);
  if (pool.size !== prefix.address.length || !isIn(whole, pool.first) || !isIn(whole, pool.last)) {
    faults.push({ path, message: `${text} is not in ${prefixText(prefix)}` });
    return undefined;
  }
  return { first: pool.first, last: pool.last };
}

/** As it is written, else the gateway, else the first address that is nobody's and in no pool. */
function serverAddress(
  { subnet, path, prefix, gateway, config, faults }: Subject,
  pool: { first: bigint; last: bigint } | undefined,
  taken: ReadonlySet<bigint>,
): Uint8Array {
  const written = subnet.dhcp?.server === undefined ? undefined : parseIp(subnet.dhcp.server);
  const at = [...path, 'dhcp', 'server'];
  if (written !== undefined) {
    const isInside = prefixContains(prefix, written) && !isReserved(prefix, addressNumber(written));
    if (!isInside) faults.push({ path: at, message: `${ipText(written)} is no address in ${prefixText(prefix)}` });
    const owner = portWith(config, subnet.network, written);
    if (owner !== undefined) faults.push({ path: at, message: `${ipText(written)} is an address of port ${owner}` });
    return written.length === IPV4_SIZE ? written : prefix.address;
  }
  if (gateway !== undefined) return gateway;
  const { first, last } = rangeOf(prefix);
  for (let number = first; number <= last; number++) {
    // A pool as large as the subnet gives up its first address.
    const isInPool = pool !== undefined && isIn(pool, number) && !(pool.first <= first + 1n && pool.last >= last - 1n);
    if (!taken.has(number) && !isInPool) return addressOctets(number, IPV4_SIZE);
    if (isInPool) number = pool?.last ?? number;
  }
  faults.push({ path: [...path, 'dhcp'], message: 'there is no free address for the server; write server: IP' });
  return prefix.address;
}

/**
 * A gateway that is no router of ours may be a machine behind an uplink or one of the ports: two that answer for one address
 * would cut stations off. Then the service is still found, by broadcast and by what is sent to that address.
 */
function answersArp({ subnet, config, gateway }: Subject, server: Uint8Array): boolean {
  if (routersAt(config, subnet.network, server)) return false;
  if (gateway === undefined || ipText(gateway) !== ipText(server)) return true;
  return (
    own(config.networks, subnet.network)?.uplink === undefined && portWith(config, subnet.network, server) === undefined
  );
}

/** Whether a router of ours has the address in the network. */
export function routersAt(config: Config, network: string, address: Uint8Array): boolean {
  return Object.values(config.routers).some((router) =>
    [own(router.interfaces, network) ?? [], router.external?.network === network ? router.external.addresses : []]
      .flat()
      .some((one) => ipText(parsePrefix(one)?.address ?? address) === ipText(address)),
  );
}

/** The port of the network that owns the address. */
export function portWith(config: Config, network: string, address: Uint8Array): string | undefined {
  const text = ipText(address);
  const has = ({ addresses = [] }: { readonly addresses?: readonly string[] | undefined }) =>
    addresses.some((one) => ipText(parsePrefix(one)?.address ?? new Uint8Array(IPV4_SIZE)) === text);
  return Object.entries(config.ports).find(([, port]) => has(port) && carries(port, network))?.[0];
}

function carries(port: Config['ports'][string], network: string): boolean {
  if (port.network === network || port.native === network || port.tunnel?.network === network) return true;
  if (!Array.isArray(port.trunk)) return port.trunk === 'auto';
  return port.trunk.some((entry) => (typeof entry === 'string' ? entry : entry.network) === network);
}

function resolveDhcp6(subject: Subject, ra: ResolvedRa | undefined): ResolvedDhcp6 | undefined {
  const { subnet, path, faults } = subject;
  const isAsked = ra !== undefined && ra.mode !== 'slaac';
  if (subnet.dhcp6 === undefined && !isAsked) return undefined;
  const dhcp6 = subnet.dhcp6 ?? { lease: '24h', perPort: 8 };
  const at = [...path, 'dhcp6'];
  const pool = poolOf(subject, dhcp6.pool, [...at, 'pool']);
  checkNames(subject, dhcp6.search ?? [], at);
  const dns = addressList(subject, dhcp6.dns, [...at, 'dns']);
  return {
    ...(pool !== undefined && { pool }),
    // The flags of an advertisement and what the server does must not contradict each other.
    stateful: ra === undefined || ra.mode === 'stateful',
    leaseSeconds: Math.ceil(quantity('duration', dhcp6.lease) / 1000),
    dns: dns.length > 0 ? dns : (ra?.rdnss ?? []),
    search: dhcp6.search ?? [],
    options: options6(dhcp6.options, [...at, 'options'], faults),
    perPort: dhcp6.perPort,
  };
}

function resolveRa(subject: Subject): ResolvedRa {
  const { subnet, path, prefix, gateway, config, faults } = subject;
  const ra = subnet.ra ?? { mode: 'slaac' as const, lifetime: '30m', interval: '200s' };
  const at = [...path, 'ra'];
  const lifetime = Math.ceil(quantity('duration', ra.lifetime) / 1000);
  const interval = Math.ceil(quantity('duration', ra.interval) / 1000);
  if (lifetime > RA_LIFETIME_MAX_S)
    faults.push({ path: [...at, 'lifetime'], message: `is too long; at most ${RA_LIFETIME_MAX_S}s fit` });
  if (interval > RA_INTERVAL_MAX_S)
    faults.push({ path: [...at, 'interval'], message: `is too long; at most ${RA_INTERVAL_MAX_S}s` });
  else if (lifetime < interval)
    faults.push({
      path: [...at, 'lifetime'],
      message: `is shorter than interval (${interval}s): routes would come and go`,
    });
  if (ra.mode !== 'stateful' && prefix.length !== SLAAC_PREFIX_LENGTH) {
    const message = `machines make themselves addresses in a /64 only, not in a /${prefix.length}; write stateful, with dhcp6`;
    faults.push({ path: [...at, 'mode'], message });
  }
  const isRouted = Object.values(config.routers).some((router) =>
    [own(router.interfaces, subnet.network) ?? []].flat().some((address) => address.includes(':')),
  );
  return {
    mode: ra.mode,
    lifetimeSeconds: gateway === undefined && !isRouted ? 0 : lifetime,
    intervalSeconds: interval,
    rdnss: addressList(subject, ra.rdnss, [...at, 'rdnss']),
    search: subnet.dhcp6?.search ?? [],
  };
}

/** Parsed, of the subnet's family. */
function addressList(
  { isIpv4, faults }: Subject,
  texts: readonly string[] | undefined,
  path: ConfigPath,
): Uint8Array[] {
  const size = isIpv4 ? IPV4_SIZE : IPV6_SIZE;
  return (texts ?? []).flatMap((text) => {
    const address = parseIp(text);
    if (address?.length === size) return [address];
    faults.push({ path, message: `${text} is not an ${isIpv4 ? 'IPv4' : 'IPv6'} address` });
    return [];
  });
}

function checkNames({ faults }: Subject, names: readonly string[], path: ConfigPath): void {
  for (const name of names) if (!isDomainName(name)) faults.push({ path, message: `"${name}" is not a domain name` });
}

/** DHCPv4 options as octets, by number; also of ports. */
export function dhcpOptions(
  options: Readonly<Record<string, string>> | undefined,
  path: ConfigPath,
  faults: ConfigFault[],
): Map<number, Uint8Array> {
  const parsed = new Map<number, Uint8Array>();
  for (const [code, text] of Object.entries(options ?? {})) {
    const value = dhcpOptionValue(Number(code), text);
    if (typeof value === 'string') faults.push({ path: [...path, code], message: value });
    else parsed.set(Number(code), value);
  }
  return parsed;
}

/** DHCPv6 options: text, or octets behind hex:. The server's own are not to be set. */
function options6(
  options: Readonly<Record<string, string>> | undefined,
  path: ConfigPath,
  faults: ConfigFault[],
): Map<number, Uint8Array> {
  const parsed = new Map<number, Uint8Array>();
  for (const [code, text] of Object.entries(options ?? {})) {
    if (Number(code) < 15) faults.push({ path: [...path, code], message: `option ${code} is not one that can be set` });
    // Option 12 is text in DHCPv4, and all are here.
    const value = text.startsWith('hex:') ? dhcpOptionValue(12, text) : Uint8Array.from(Buffer.from(text));
    if (typeof value === 'string') faults.push({ path: [...path, code], message: value });
    else parsed.set(Number(code), value);
  }
  return parsed;
}
