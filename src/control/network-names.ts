/**
 * The names of machines: `<port>.<domain>` for each port's addresses in a network, fixed ones and leases in force, and back
 * from address to name. Main thread.
 *
 * A network's names are its own: who asks in one is told nothing of another's. The domains are those of its subnets
 * (`dhcp.domain`); all below them that is no machine's does not exist, and is asked nobody else. A network without a domain has
 * names of one label, and all else is somebody else's. A port is known by its name and by the host name that DHCP gives its
 * machine. Names are made by network, for the first question in it. Addresses that machines make themselves (SLAAC) are not known here, nor are machines of other hosts.
 */
import { IPV4_SIZE, ipText, type Prefix, parseIp, parsePrefix, prefixContains } from '../wire/address.js';
import { addressNumber, addressOctets } from './address-range.js';
import { hostName } from './host-name.js';
import type { ResolvedConfig } from './resolved.js';

/**
 * A network's names are made anew once in this time, and a few times before that: who gets and releases leases has no more of
 * the thread, and a machine that has just booted is found at once where nobody does.
 */
const MAKING_PAUSE_MS = 1000;
const MAKINGS_AHEAD_MS = 4 * MAKING_PAUSE_MS;

/** A lease as far as names go. */
export interface NamedLease {
  readonly subnet: string;
  readonly address: bigint;
  readonly port: string;
}

export interface NamedLeases {
  /** Grows when an address is given to another port, or to none; not by what only lengthens a lease. */
  readonly revision: number;
  /** Those that were given; the time of some may be over. */
  given(): Iterable<NamedLease>;
  expiryMs(subnet: string, address: bigint): number;
}

interface NamedAddress {
  readonly octets: Uint8Array;
  /** Undefined: it is the port's own. */
  readonly lease?: NamedLease;
}

/** What is known of a name; `zone`: the domain it belongs to, whose word it is. */
export type Known =
  | { readonly zone: string; readonly kind: 'none' }
  | { readonly zone: string; readonly kind: 'host'; readonly addresses: readonly Uint8Array[] }
  | { readonly zone: string; readonly kind: 'pointer'; readonly name: string | undefined };

/** One network's. */
interface Names {
  readonly revision: number;
  /** Until then their makings had the time that is theirs. */
  readonly paidMs: number;
  readonly domains: readonly string[];
  /** By name without domain. */
  readonly hosts: Map<string, NamedAddress[]>;
  /** What lies between a name of several labels and its domain: it exists, and has nothing. */
  readonly between: Set<string>;
  /** By address. */
  readonly pointers: Map<string, NamedAddress & { readonly name: string }>;
  readonly prefixes: readonly Prefix[];
}

export class NetworkNames {
  private readonly config: ResolvedConfig;
  private readonly leases: NamedLeases;
  /** Those that were asked for. */
  private readonly networks = new Map<string, Names>();
  /** Names of ports by network. */
  private readonly ports = new Map<string, Set<string>>();

  constructor(config: ResolvedConfig, leases: NamedLeases) {
    this.config = config;
    this.leases = leases;
    for (const { network, names } of config.subnets.values())
      if (names !== undefined) this.ports.set(network, new Set());
    for (const [port, { members }] of config.ports)
      for (const { network } of members) this.ports.get(network)?.add(port);
  }

  /** Of a name in lower case; undefined: it is none of ours. */
  find(network: string, name: string, nowMs: number): Known | undefined {
    const names = this.current(network, nowMs);
    if (names === undefined) return undefined;
    const pointer = this.findPointer(names, name, nowMs);
    if (pointer !== undefined) return pointer;
    for (const domain of names.domains) {
      const host = relativeTo(domain, name);
      if (host === undefined) continue;
      const addresses = (names.hosts.get(host) ?? []).filter((address) => this.isInForce(address, nowMs));
      const exists = addresses.length > 0 || names.between.has(host) || (host === '' && domain !== '');
      if (!exists && domain === '') continue;
      const octets = addresses.map((address) => address.octets);
      return exists ? { zone: domain, kind: 'host', addresses: octets } : { zone: domain, kind: 'none' };
    }
    return undefined;
  }

  /** Made when they are asked for, and anew when somebody was given an address since, or has one no more. */
  private current(network: string, nowMs: number): Names | undefined {
    const ports = this.ports.get(network);
    if (ports === undefined) return undefined;
    const known = this.networks.get(network);
    const paidMs = Math.max(nowMs, known?.paidMs ?? nowMs);
    if (known !== undefined && (known.revision === this.leases.revision || paidMs - nowMs > MAKINGS_AHEAD_MS))
      return known;
    const names = this.begin(network, paidMs + MAKING_PAUSE_MS);
    for (const port of ports)
      for (const text of this.config.ports.get(port)?.addresses ?? []) addFixed(names, port, text);
    for (const lease of this.leases.given()) {
      const subnet = this.config.subnets.get(lease.subnet);
      if (subnet?.names === undefined || subnet.network !== network) continue;
      add(names, lease.port, { octets: addressOctets(lease.address, subnet.prefix.address.length), lease });
    }
    this.networks.set(network, names);
    return names;
  }

  /** As it is now: that a lease was renewed makes no names anew. */
  private isInForce({ lease }: NamedAddress, nowMs: number): boolean {
    return lease === undefined || this.leases.expiryMs(lease.subnet, lease.address) > nowMs;
  }

  private begin(network: string, paidMs: number): Names {
    const subnets = [...this.config.subnets.values()].filter(
      (one) => one.network === network && one.names !== undefined,
    );
    const domains = subnets.flatMap(({ dhcp }) => (dhcp?.domain === undefined ? [] : [plain(dhcp.domain)]));
    // The longest first: one may lie in another.
    const sorted = [...new Set(domains)].sort((left, right) => right.length - left.length);
    return {
      revision: this.leases.revision,
      paidMs,
      domains: sorted.length > 0 ? sorted : [''],
      hosts: new Map(),
      between: new Set(),
      pointers: new Map(),
      prefixes: subnets.map(({ prefix }) => prefix),
    };
  }

  private findPointer(names: Names, name: string, nowMs: number): Known | undefined {
    const address = addressOf(name);
    const prefix = address && names.prefixes.find((one) => contains(one, address));
    if (address === undefined || prefix === undefined) return undefined;
    const found = names.pointers.get(ipText(address));
    const [domain] = names.domains;
    const host =
      found !== undefined && this.isInForce(found, nowMs)
        ? `${found.name}${domain === '' ? '' : `.${domain}`}`
        : undefined;
    return { zone: reverseZone(prefix), kind: 'pointer', name: host };
  }
}

function addFixed(names: Names, port: string, text: string): void {
  const address = parsePrefix(text)?.address;
  if (address === undefined || !names.prefixes.some((prefix) => contains(prefix, address))) return;
  add(names, port, { octets: address });
}

function add({ hosts, between, pointers }: Names, port: string, address: NamedAddress): void {
  const text = ipText(address.octets);
  for (const name of new Set([port, hostName(port)])) {
    const known = hosts.get(name);
    if (known === undefined) hosts.set(name, [address]);
    else if (!known.some(({ octets }) => ipText(octets) === text)) known.push(address);
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) between.add(name.slice(dot + 1));
  }
  if (!pointers.has(text)) pointers.set(text, { ...address, name: port });
}

function contains(prefix: Prefix, address: Uint8Array): boolean {
  return prefix.address.length === address.length && prefixContains(prefix, address);
}

/** The name in front of the domain, empty for the domain itself; undefined: it is not in it. */
function relativeTo(domain: string, name: string): string | undefined {
  if (domain === '') return name;
  if (name === domain) return '';
  return name.endsWith(`.${domain}`) ? name.slice(0, -domain.length - 1) : undefined;
}

function plain(domain: string): string {
  return domain.toLowerCase().replace(/\.$/, '');
}

const REVERSE4 = '.in-addr.arpa';
const REVERSE6 = '.ip6.arpa';

/** The address that a name of RFC 1035 3.5 or RFC 3596 2.5 is about. */
function addressOf(name: string): Uint8Array | undefined {
  if (name.endsWith(REVERSE4)) {
    const labels = name.slice(0, -REVERSE4.length).split('.');
    return labels.length === IPV4_SIZE ? parseIp(labels.reverse().join('.')) : undefined;
  }
  if (!name.endsWith(REVERSE6)) return undefined;
  const digits = name.slice(0, -REVERSE6.length).split('.').reverse();
  if (digits.length !== 32 || digits.some((digit) => !/^[0-9a-f]$/.test(digit))) return undefined;
  return Uint8Array.from({ length: 16 }, (_, index) =>
    Number.parseInt(`${digits[2 * index]}${digits[2 * index + 1]}`, 16),
  );
}

/** The zone of whole octets, or digits of IPv6, that has all of the prefix. */
function reverseZone({ address, length }: Prefix): string {
  if (address.length === IPV4_SIZE) {
    const labels = [...address.subarray(0, Math.floor(length / 8))].reverse();
    return `${labels.map((octet) => `${octet}.`).join('')}${REVERSE4.slice(1)}`;
  }
  const digits = addressNumber(address)
    .toString(16)
    .padStart(32, '0')
    .slice(0, Math.floor(length / 4));
  return `${[...digits]
    .reverse()
    .map((digit) => `${digit}.`)
    .join('')}${REVERSE6.slice(1)}`;
}
