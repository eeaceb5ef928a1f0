/**
 * The address service: gives machines their addresses, routes and MTU. Hears what workers hand over (stages/address-service.ts),
 * asks the DHCPv4 server, the DHCPv6 server or the advertiser, keeps the leases, and has a worker send the answer. Main thread.
 *
 * A lease out of a pool is told its client once it is durable: an answer waits for the save, and one save carries all answers
 * that came since the last. What fails to be saved is not answered; clients ask again. Fixed addresses follow from the
 * configuration, so they wait for nothing and are given with a full disk, too.
 *
 * Before an address of a pool is offered to who did not have it, the network is asked whether somebody uses it (address-probes.ts);
 * then it rests for a while, and another is tried. Who answers for addresses so, has them counted as his: his port's quota is
 * what he can keep from others, beyond that he is not believed.
 *
 * What is answered to is bounded by the workers (limits.dhcp a port); leases by each port's quota; answers that wait by
 * WAITING_MAX.
 */

import { TO_STATIONS } from '../pipeline/egress-batch.js';
import { PUNT_ADDRESS_SERVICE, type PuntedFrame } from '../pipeline/punt-ring.js';
import { IPV4_SIZE, IPV6_SIZE, ipText, macText, parsePrefix, prefixContains } from '../wire/address.js';
import { DHCP_SERVER_PORT, DHCP6_CLIENT_PORT, DHCP6_SERVER_PORT } from '../wire/dhcp.js';
import { BOOT_REQUEST, type DhcpMessage, HARDWARE_ETHERNET, readDhcp } from '../wire/dhcp-message.js';
import { duidOf, readDhcp6 } from '../wire/dhcp6-message.js';
import { ETHERNET_HEADER_SIZE, ETHERTYPE_IPV4, ETHERTYPE_IPV6, MAC_SIZE } from '../wire/ethernet.js';
import { buildEthernet, buildIp, buildUdpOf } from '../wire/frame-build.js';
import { PROTOCOL_ICMPV6, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { ipv4PayloadStart } from '../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_SIZE,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
} from '../wire/ipv6.js';
import { read16 } from '../wire/octets.js';
import { readRouterSolicitation } from '../wire/router-advertisement.js';
import { isUdpHeader, UDP_HEADER_SIZE, udpLength } from '../wire/udp.js';
import { AddressProbes, type Claimant, type ProbeParts } from './address-probes.js';
import { addressNumber, addressOctets, ipv4Octets, isIn } from './address-range.js';
import { Advertiser } from './advertiser.js';
import { dhcpReply } from './dhcp-reply.js';
import {
  DECLINE_S,
  type DhcpAsker,
  type DhcpDecision,
  type DhcpSubnet,
  decideDhcp,
  type LeaseChange,
} from './dhcp-server.js';
import { type Dhcp6Asker, type Dhcp6Subnet, decideDhcp6 } from './dhcp6-server.js';
import { hostName } from './host-name.js';
import type { Indices } from './indices.js';
import type { LeaseStore } from './lease-store.js';
import { type Lease, LeaseTable } from './lease-table.js';
import type { Log } from './log.js';
import { type Place, placesOf } from './member-places.js';
import type { ResolvedConfig, ResolvedPort } from './resolved.js';
import type { DhcpLeaseRow } from './shapes.js';
import { linkLocalOf, virtualMac } from './virtual-mac.js';

/** Answers that wait for a save. */
const WAITING_MAX = 4096;
/** Addresses in use that are found for one message; then the client has to ask again. */
const IN_USE_MAX = 3;
/** A save that took long is followed by a pause of so many times that, or a slow disk would have all of the thread's time. */
const SAVE_PAUSE_FACTOR = 4;
const NETWORK_MTU_DEFAULT = 1500;
const TTL = 64;
/** RFC 4861 6.1.2. */
const ND_HOP_LIMIT = 255;
const ALL_NODES = Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);

export interface AddressServiceParts {
  readonly store: LeaseStore;
  readonly log: Log;
  readonly clock: () => number;
  /** From [0, 1). */
  readonly random: () => number;
  /** Has the worker send the frame; `member` may be TO_STATIONS. */
  readonly send: (worker: number, frame: Uint8Array, network: number, member: number) => void;
  /** What may leave by the member, 0 when it is not known. */
  readonly memberMtu: (member: number) => number;
  /** Of a network in tunnels: what fits; 0 for others. */
  readonly tunnelMtu: (network: number) => number;
  readonly probes: Pick<ProbeParts, 'claimant' | 'later'>;
}

/** A decision, whatever the protocol, ready to be carried out. */
interface Outcome {
  readonly text: string;
  readonly changes: readonly LeaseChange[];
  readonly frame?: Uint8Array;
  /** The address that a client of this network is offered, and whether somebody may have it meanwhile. */
  readonly offered?: { readonly address: number; readonly isNew: boolean; readonly mac: string };
}

export class AddressService {
  private readonly parts: AddressServiceParts;
  private readonly leases = new LeaseTable();
  private readonly advertiser: Advertiser;
  private readonly probes: AddressProbes;
  private config: ResolvedConfig | undefined;
  private indices: Indices | undefined;
  private places = new Map<number, Place>();
  private readonly waiting: (() => void)[] = [];
  private saving: Promise<void> | undefined;
  private isDirty = false;
  private hasFailed = false;

  constructor(parts: AddressServiceParts) {
    this.parts = parts;
    this.advertiser = new Advertiser(parts.random);
    const send = (frame: Uint8Array, network: number, destination: number) =>
      parts.send(0, frame, network, destination);
    this.probes = new AddressProbes({ ...parts.probes, clock: parts.clock, send });
    const { leases, damaged } = parts.store.load();
    for (const lease of leases) this.leases.put(lease);
    if (damaged !== undefined) parts.log.warn({}, `saved leases are not used: ${damaged}`);
  }

  /** Serves by this configuration from now on; leases it has no place for end. */
  follow(config: ResolvedConfig, indices: Indices): void {
    this.config = config;
    this.indices = indices;
    this.places = placesOf(config, indices);
    if (this.leases.prune((lease) => hasPlace(lease, config))) this.keep();
    const over = this.advertiser.follow(config.subnets.values(), this.parts.clock());
    for (const [network, message] of over) this.advertise(network, message);
  }

  /** About once a second: unsolicited router advertisements. */
  tick(): void {
    for (const network of this.advertiser.due(this.parts.clock())) {
      const message = this.advertiser.advertisement(network, this.mtuOf(network));
      if (message !== undefined) this.advertise(network, message);
    }
  }

  /** A frame that a worker handed over. */
  hear(worker: number, frame: PuntedFrame): void {
    const place = this.places.get(frame.member);
    if (frame.kind !== PUNT_ADDRESS_SERVICE || place === undefined) return;
    this.serve(worker, place, frame.octets.slice(), 0);
  }

  /** `inUse`: addresses that were found in use for this message already. */
  private serve(worker: number, place: Place, octets: Uint8Array, inUse: number): void {
    const outcome = this.decide(place, octets);
    const { changes, offered } = outcome;
    // Who repeats himself meanwhile hears the answer to what he said first.
    if (offered !== undefined && this.probes.isUnderWay(place.network, offered.address)) return;
    for (const change of changes) this.carryOut(change);
    const finish = () => this.finish(worker, place, outcome);
    if (offered?.isNew !== true) {
      finish();
      return;
    }
    const tell = (claimant: Claimant | undefined) => {
      if (this.places.get(place.member) !== place) return;
      if (claimant === undefined || !this.keepFrom(place, changes, claimant)) finish();
      else if (inUse + 1 < IN_USE_MAX) this.serve(worker, place, octets, inUse + 1);
    };
    const client = { port: place.portName, mac: offered.mac };
    if (!this.probes.begin(place.network, offered.address, virtualMac(place.networkName), client, tell)) finish();
  }

  /** Keeps what was to be leased from clients for a while, in the name of who uses it. False: he has claimed too much already. */
  private keepFrom(place: Place, changes: readonly LeaseChange[], { port, mac }: Claimant): boolean {
    const expiresMs = this.parts.clock() + DECLINE_S * 1000;
    for (const change of changes) {
      if (!('put' in change) || change.pool === undefined) continue;
      const { subnet, address } = change.put;
      const holder = { subnet, port, client: `arp${mac.replaceAll(':', '')}`, mac };
      this.leases.remove(subnet, address);
      if (!this.leases.hasRoom(holder, change.pool, this.parts.clock())) {
        this.carryOut(change);
        return false;
      }
      this.carryOut({ pool: change.pool, put: { ...holder, address, state: 'declined', expiresMs, fixed: false } });
      const shown = { network: place.networkName, address: ipText(addressOctets(address, IPV4_SIZE)), port, mac };
      this.parts.log.info(shown, 'an address of a pool is in use by a machine that has no lease of it');
    }
    this.keep();
    return true;
  }

  private finish(worker: number, place: Place, { changes, frame }: Outcome): void {
    const mustWait = changes.some((change) => 'put' in change && change.put.state === 'bound' && !change.put.fixed);
    if (changes.some((change) => !('put' in change) || change.put.state !== 'offered')) this.keep();
    if (frame === undefined) return;
    const send = () => this.parts.send(worker, frame, place.network, place.member);
    if (!mustWait) send();
    else if (this.waiting.length < WAITING_MAX) this.waiting.push(send);
  }

  /** What the service would do with a frame that a stage takes for it; changes nothing. */
  explain(member: number, octets: Uint8Array): string {
    const place = this.places.get(member);
    return place === undefined ? 'nobody is known there' : this.decide(place, octets).text;
  }

  /** Addresses that somebody has now. */
  list(): DhcpLeaseRow[] {
    const now = this.parts.clock();
    return this.held()
      .sort((left, right) => compare(left, right))
      .map((lease) => ({
        subnet: lease.subnet,
        mac: lease.mac,
        address: ipText(addressOctets(lease.address, lease.address > 0xffff_ffffn ? IPV6_SIZE : IPV4_SIZE)),
        port: lease.port,
        expiresSeconds: Math.round((lease.expiresMs - now) / 1000),
        fixed: lease.fixed,
      }));
  }

  /** Grows when an address is given to another port, or to none. */
  get revision(): number {
    return this.leases.revision;
  }

  /** Addresses that were given to somebody, for those who name them; the time of some may be over. */
  given(): Lease[] {
    return [...this.leases.list()].filter(({ state }) => state === 'bound');
  }

  /** Until when somebody has the address, by the service's clock. */
  expiryMs(subnet: string, address: bigint): number {
    return this.leases.at(subnet, address)?.expiresMs ?? 0;
  }

  /** Addresses that somebody has now. */
  held(): Lease[] {
    const now = this.parts.clock();
    return [...this.leases.list()].filter((lease) => lease.state === 'bound' && this.leases.isActive(lease, now));
  }

  /** Resolves when what is to be saved is. */
  async close(): Promise<void> {
    await this.saving;
  }

  private carryOut(change: LeaseChange): void {
    if ('remove' in change) {
      this.leases.remove(change.remove.subnet, change.remove.address);
      return;
    }
    const { put, pool } = change;
    if (pool !== undefined) this.leases.makeRoom(put, pool, put.address, this.parts.clock());
    this.leases.put(put);
  }

  /** Saves soon, once for all that changes meanwhile. */
  private keep(): void {
    this.isDirty = true;
    this.saving ??= this.save().finally(() => {
      this.saving = undefined;
      if (this.isDirty) this.keep();
    });
  }

  private async save(): Promise<void> {
    // What is heard in the same turn is saved together.
    await Promise.resolve();
    this.isDirty = false;
    const answers = this.waiting.splice(0);
    const began = this.parts.clock();
    try {
      await this.parts.store.save(this.leases.list());
      this.hasFailed = false;
      for (const send of answers) send();
    } catch (error) {
      if (!this.hasFailed) this.parts.log.error({ err: error }, 'leases could not be saved: new ones are not given');
      this.hasFailed = true;
    }
    const pauseMs = Math.min(1000, SAVE_PAUSE_FACTOR * (this.parts.clock() - began));
    if (pauseMs >= 1) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }

  private decide(place: Place, octets: Uint8Array): Outcome {
    const type = octets.length < ETHERNET_HEADER_SIZE ? 0 : read16(octets, ETHERNET_HEADER_SIZE - 2);
    if (type === ETHERTYPE_IPV4) return this.decideIpv4(place, octets);
    if (type === ETHERTYPE_IPV6) return this.decideIpv6(place, octets);
    return { text: 'not for the address service', changes: [] };
  }

  private decideIpv4(place: Place, octets: Uint8Array): Outcome {
    const udp = ipv4PayloadStart(octets, ETHERNET_HEADER_SIZE, octets.length);
    const isWhole = udp >= 0 && isUdpHeader(octets, udp, octets.length);
    const message = isWhole ? readDhcp(octets, udp + UDP_HEADER_SIZE, udp + udpLength(octets, udp)) : undefined;
    if (message === undefined || !isClients(message)) return { text: 'DHCP: malformed, no answer', changes: [] };
    const subnets = this.subnetsFor(place, message);
    const asker = this.askerOf(place, message);
    const decision = decideDhcp(message, asker, subnets, this.leases, this.parts.clock());
    const changes = decision.change === undefined ? [] : [decision.change];
    const frame = this.dhcpFrame(place, message, decision, asker, octets);
    const offered = message.giaddr === 0 && decision.isNew !== undefined && decision.answer !== undefined;
    return {
      text: `DHCP: ${decision.text}`,
      changes,
      ...(frame !== undefined && { frame }),
      ...(offered && {
        offered: { address: decision.answer.address, isNew: decision.isNew, mac: macText(message.chaddr) },
      }),
    };
  }

  private dhcpFrame(
    place: Place,
    message: DhcpMessage,
    { answer }: DhcpDecision,
    asker: DhcpAsker,
    octets: Uint8Array,
  ): Uint8Array | undefined {
    if (answer === undefined) return undefined;
    const port = this.config?.ports.get(asker.port);
    const isPortsOwn = asker.addresses.includes(answer.address);
    const client = {
      mtu: this.mtuOf(answer.subnet.network, message.giaddr === 0 ? place.member : -1),
      options: port?.dhcpOptions ?? new Map<number, Uint8Array>(),
      ...(isPortsOwn && { hostName: hostName(asker.port) }),
    };
    const reply = dhcpReply(message, answer, client, octets.slice(MAC_SIZE, 2 * MAC_SIZE));
    const datagram = buildUdpOf(DHCP_SERVER_PORT, reply.destinationPort, reply.payload);
    const [source, destination] = [ipv4Octets(reply.source), ipv4Octets(reply.destination)];
    const packet = buildIp({ source, destination, protocol: PROTOCOL_UDP, ttl: TTL }, datagram);
    const addresses = { destination: reply.destinationMac, source: virtualMac(place.networkName), tags: [] };
    return buildEthernet(addresses, ETHERTYPE_IPV4, packet);
  }

  /**
   * Those of the network; of a relayed message, that which the agent's address is in (RFC 2131 4.3.1), in networks that the
   * uplink it came by carries as well.
   */
  private subnetsFor({ networkName, port }: Place, { giaddr }: DhcpMessage): DhcpSubnet[] {
    const carried = new Set(port.members.map(({ network }) => network));
    const subnets: DhcpSubnet[] = [];
    for (const [name, subnet] of this.config?.subnets ?? []) {
      const { dhcp, network, prefix } = subnet;
      const isRelayed = port.uplink && carried.has(network) && prefixContains(prefix, ipv4Octets(giaddr));
      const isHere = giaddr === 0 ? network === networkName : isRelayed;
      if (dhcp !== undefined && isHere) subnets.push({ ...subnet, name, dhcp });
    }
    return subnets;
  }

  /** Behind a relay agent, the port whose machine it is by its MAC; else the port that the message came in by. */
  private askerOf({ portName, port }: Place, { giaddr, chaddr }: DhcpMessage): DhcpAsker {
    if (giaddr === 0) return dhcpAsker(portName, port);
    const mac = macText(chaddr);
    const carried = new Set(port.members.map(({ network }) => network));
    const isThere = (one: ResolvedPort) => one.mac === mac && one.members.some(({ network }) => carried.has(network));
    const known = [...(this.config?.ports ?? [])].find(([, one]) => isThere(one));
    return known === undefined ? { port: portName, addresses: [] } : dhcpAsker(...known);
  }

  private decideIpv6(place: Place, octets: Uint8Array): Outcome {
    const ip = ETHERNET_HEADER_SIZE;
    const upper = ip + IPV6_HEADER_SIZE;
    const silence = { text: 'malformed, no answer', changes: [] };
    if (upper + UDP_HEADER_SIZE > octets.length) return silence;
    const end = upper + read16(octets, ip + IPV6_PAYLOAD_LENGTH);
    if (end > octets.length) return silence;
    if (octets[ip + IPV6_NEXT_HEADER] === PROTOCOL_ICMPV6) return this.decideSolicitation(place, octets, upper, end);
    return isUdpHeader(octets, upper, end) ? this.decideDhcp6(place, octets, upper) : silence;
  }

  private decideDhcp6(place: Place, octets: Uint8Array, udp: number): Outcome {
    const { networkName, port, portName } = place;
    const message = readDhcp6(octets, udp + UDP_HEADER_SIZE, udp + udpLength(octets, udp));
    const client = sourceOf(octets);
    const subnets = [...(this.config?.subnets ?? [])].flatMap(([name, subnet]): Dhcp6Subnet[] =>
      subnet.network === networkName && subnet.dhcp6 !== undefined ? [{ ...subnet, name, dhcp6: subnet.dhcp6 }] : [],
    );
    if (message === undefined || subnets.length === 0 || !isLinkLocal(client))
      return { text: 'DHCPv6: malformed, no answer', changes: [] };
    const mac = macText(octets, MAC_SIZE);
    const asker: Dhcp6Asker = {
      port: portName,
      mac,
      addresses: port.mac === undefined || port.mac === mac ? addressesOf(port, IPV6_SIZE) : [],
      isUnicast: octets[ETHERNET_HEADER_SIZE + IPV6_DESTINATION] !== 0xff,
    };
    const duid = duidOf(virtualMac(networkName));
    const { text, reply, changes } = decideDhcp6(message, asker, subnets, duid, this.leases, this.parts.clock());
    if (reply === undefined) return { text: `DHCPv6: ${text}`, changes };
    const datagram = buildUdpOf(DHCP6_SERVER_PORT, DHCP6_CLIENT_PORT, reply);
    const frame = frameIpv6(networkName, client, octets.slice(MAC_SIZE, 2 * MAC_SIZE), PROTOCOL_UDP, TTL, datagram);
    return { text: `DHCPv6: ${text}`, changes, frame };
  }

  private decideSolicitation({ networkName, member }: Place, octets: Uint8Array, start: number, end: number): Outcome {
    const solicitation = readRouterSolicitation(octets, start, end);
    const source = sourceOf(octets);
    const isUnspecified = source.every((octet) => octet === 0);
    const message = this.advertiser.advertisement(networkName, this.mtuOf(networkName, member));
    // RFC 4861 6.1.1: who has no address tells no MAC.
    if (solicitation === undefined || message === undefined || (isUnspecified && solicitation.mac !== undefined))
      return { text: 'router solicitation: malformed, no answer', changes: [] };
    const asker = octets.slice(MAC_SIZE, 2 * MAC_SIZE);
    const to = isUnspecified ? ALL_NODES : source;
    const frame = frameIpv6(networkName, to, asker, PROTOCOL_ICMPV6, ND_HOP_LIMIT, message);
    return { text: 'answers the solicitation with an advertisement', changes: [], frame };
  }

  /** Tells all stations of the network on this host. */
  private advertise(networkName: string, message: Uint8Array): void {
    const network = this.indices?.network(networkName);
    if (network === undefined) return;
    const frame = frameIpv6(networkName, ALL_NODES, ALL_NODES_MAC, PROTOCOL_ICMPV6, ND_HOP_LIMIT, message);
    this.parts.send(0, frame, network, TO_STATIONS);
  }

  /** The network's, and what the station's own port lets pass, if that is less. */
  private mtuOf(networkName: string, member = -1): number {
    const network = this.config?.networks.get(networkName);
    const tunnelMtu = this.parts.tunnelMtu(this.indices?.network(networkName) ?? -1);
    const mtu = tunnelMtu > 0 ? tunnelMtu : (network?.mtu ?? NETWORK_MTU_DEFAULT);
    const memberMtu = member < 0 ? 0 : this.parts.memberMtu(member);
    return memberMtu > 0 ? Math.min(mtu, memberMtu) : mtu;
  }
}

/** Whether the configuration still gives the address to that port. */
function hasPlace({ subnet, address, port, fixed }: Lease, config: ResolvedConfig): boolean {
  const found = config.subnets.get(subnet);
  const owner = config.ports.get(port);
  const server = found?.dhcp ?? found?.dhcp6;
  if (found === undefined || owner === undefined || server === undefined) return false;
  if (fixed) return addressesOf(owner, found.prefix.address.length).includes(address);
  return server.pool !== undefined && isIn(server.pool, address) && !found.taken.has(address);
}

function addressesOf({ addresses }: ResolvedPort, size: number): bigint[] {
  return addresses.flatMap((text) => {
    const address = parsePrefix(text)?.address;
    return address?.length === size ? [addressNumber(address)] : [];
  });
}

function dhcpAsker(name: string, port: ResolvedPort): DhcpAsker {
  const addresses = addressesOf(port, IPV4_SIZE).map(Number);
  return { port: name, addresses, ...(port.mac !== undefined && { mac: port.mac }) };
}

/** An Ethernet client's request. */
function isClients({ op, hardwareType, hardwareSize, chaddr }: DhcpMessage): boolean {
  if (op !== BOOT_REQUEST || hardwareType !== HARDWARE_ETHERNET || hardwareSize !== MAC_SIZE) return false;
  return (chaddr[0] & 1) === 0 && chaddr.subarray(0, MAC_SIZE).some((octet) => octet !== 0);
}

function sourceOf(octets: Uint8Array): Uint8Array {
  const at = ETHERNET_HEADER_SIZE + IPV6_SOURCE;
  return octets.slice(at, at + IPV6_SIZE);
}

function isLinkLocal(address: Uint8Array): boolean {
  return address[0] === 0xfe && (address[1] & 0xc0) === 0x80;
}

function frameIpv6(
  network: string,
  destination: Uint8Array,
  destinationMac: Uint8Array,
  protocol: number,
  ttl: number,
  payload: Uint8Array,
): Uint8Array {
  const mac = virtualMac(network);
  const packet = buildIp({ source: linkLocalOf(mac), destination, protocol, ttl }, payload);
  return buildEthernet({ destination: destinationMac, source: mac, tags: [] }, ETHERTYPE_IPV6, packet);
}

function compare(left: Lease, right: Lease): number {
  if (left.subnet !== right.subnet) return left.subnet < right.subnet ? -1 : 1;
  return left.address < right.address ? -1 : 1;
}
