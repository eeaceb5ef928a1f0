/**
 * The DHCPv4 server (RFC 2131 section 4.3): what is answered to a message, and what becomes of the lease. Pure: it changes
 * nothing; `weft trace` asks it the same question. Main thread.
 *
 * A client is served from its port's `addresses` (fixed: nobody else can have them, and whatever the client calls itself, it
 * gets the same), else from the subnet's pool, if that serves unknown clients; else there is silence. One subnet is chosen
 * of those its network has. Of a client's messages:
 *
 *   DISCOVER            an OFFER that holds the address for OFFER_S; the ACK at once if the client asks for that (RFC 4039)
 *   REQUEST, selecting  ACK if the server is this one; if it is another, what was offered is free again
 *   REQUEST, rebooting  ACK if the address is the client's, NAK if it can't be; silence about clients nobody knows
 *   REQUEST, renewing   ACK as long as the client has it, or could have it; else NAK
 *   DECLINE             the address rests for DECLINE_S: somebody has it without asking. A fixed one stays the port's
 *   RELEASE             the lease ends; the address is kept for its client as long as nobody else needs it
 *   INFORM              ACK with all but an address
 */

import { ipv4Text, macText } from '../wire/address.js';
import {
  DHCP_ACK,
  DHCP_DECLINE,
  DHCP_DISCOVER,
  DHCP_INFORM,
  DHCP_NAK,
  DHCP_OFFER,
  DHCP_RELEASE,
  DHCP_REQUEST,
  type DhcpMessage,
  OPTION_CLIENT_ID,
  OPTION_RAPID_COMMIT,
  OPTION_REQUESTED_IP,
  OPTION_SERVER_ID,
  readWord32,
} from '../wire/dhcp-message.js';
import { ipv4Number, ipv4Octets, isIn, rangeOf } from './address-range.js';
import type { Lease, LeaseHolder, LeasePool, LeaseTable } from './lease-table.js';
import type { ResolvedDhcp, ResolvedSubnet } from './resolved-subnet.js';

/** How long an offer, and an address that a client found in use, is given to nobody else. */
export const OFFER_S = 60;
export const DECLINE_S = 600;

/** A subnet with a DHCPv4 server. */
export interface DhcpSubnet extends ResolvedSubnet {
  readonly name: string;
  readonly dhcp: ResolvedDhcp;
}

/** Who asks: the port as configuration has it. */
export interface DhcpAsker {
  readonly port: string;
  readonly mac?: string;
  /** Numbers of its IPv4 addresses. */
  readonly addresses: readonly number[];
}

export interface DhcpAnswer {
  readonly type: typeof DHCP_OFFER | typeof DHCP_ACK | typeof DHCP_NAK;
  readonly subnet: DhcpSubnet;
  /** 0: none (NAK, or ACK of an INFORM). */
  readonly address: number;
  /** The ACK of a DISCOVER: it says so. */
  readonly isRapid?: boolean;
}

/** What is to be done with the table before the answer leaves. */
export type LeaseChange =
  | { readonly put: Lease; readonly pool?: LeasePool }
  | { readonly remove: { readonly subnet: string; readonly address: bigint } };

export interface DhcpDecision {
  /** One sentence for `weft trace`. */
  readonly text: string;
  readonly answer?: DhcpAnswer;
  readonly change?: LeaseChange;
  /** The address comes out of the pool for a client that did not have it: somebody else may use it without asking. */
  readonly isNew?: boolean;
}

/** What a message is judged by. */
interface Case {
  readonly message: DhcpMessage;
  readonly asker: DhcpAsker;
  readonly subnet: DhcpSubnet;
  readonly holder: LeaseHolder;
  /** The port's own addresses in the subnet. */
  readonly own: readonly bigint[];
  readonly leases: LeaseTable;
  readonly nowMs: number;
}

const silence = (text: string): DhcpDecision => ({ text });

/** `subnets`: those that may serve who asks there. */
export function decideDhcp(
  message: DhcpMessage,
  asker: DhcpAsker,
  subnets: readonly DhcpSubnet[],
  leases: LeaseTable,
  nowMs: number,
): DhcpDecision {
  const subnet = chooseSubnet(message, asker, subnets, leases);
  if (subnet === undefined) return silence('no subnet here serves this client');
  const holder: LeaseHolder = {
    subnet: subnet.name,
    port: asker.port,
    client: clientOf(message),
    mac: macText(message.chaddr),
  };
  const question = { message, asker, subnet, holder, own: ownAddresses(message, asker, subnet), leases, nowMs };
  switch (message.type) {
    case DHCP_DISCOVER:
      return discover(question);
    case DHCP_REQUEST:
      return request(question);
    case DHCP_DECLINE:
      return decline(question);
    case DHCP_RELEASE:
      return release(question);
    case DHCP_INFORM:
      return inform(question);
    default:
      return silence('not a message of a client');
  }
}

/** RFC 2131 4.2: the identifier if it gives one, else its hardware address. */
function clientOf({ options, hardwareType, chaddr }: DhcpMessage): string {
  const identifier = options.get(OPTION_CLIENT_ID);
  if (identifier !== undefined && identifier.length >= 2)
    return Buffer.from(identifier.subarray(0, 255)).toString('hex');
  return Buffer.from([hardwareType, ...chaddr.subarray(0, 6)]).toString('hex');
}

/** Known by its port, and by its MAC where the port has one: another machine behind the port is not the port's. */
function ownAddresses({ chaddr }: DhcpMessage, asker: DhcpAsker, subnet: DhcpSubnet): bigint[] {
  if (asker.mac !== undefined && asker.mac !== macText(chaddr)) return [];
  const range = rangeOf(subnet.prefix);
  return asker.addresses.map(BigInt).filter((address) => isIn(range, address));
}

/**
 * The one with the server that the client speaks to; else that of an address of the port, or that it names; else that it has
 * a lease in; else the first that serves anybody.
 */
function chooseSubnet(
  message: DhcpMessage,
  asker: DhcpAsker,
  subnets: readonly DhcpSubnet[],
  leases: LeaseTable,
): DhcpSubnet | undefined {
  const server = readWord32(message.options.get(OPTION_SERVER_ID));
  const spoken = subnets.find(({ dhcp }) => ipv4Number(dhcp.server) === server);
  if (spoken !== undefined) return spoken;
  const named = BigInt(message.ciaddr || readWord32(message.options.get(OPTION_REQUESTED_IP)) || 0);
  const fixed = subnets.filter((subnet) => ownAddresses(message, asker, subnet).length > 0);
  if (fixed.length > 0) return fixed.find(({ prefix }) => isIn(rangeOf(prefix), named)) ?? fixed[0];
  const client = clientOf(message);
  const serving = subnets.filter(({ dhcp }) => dhcp.servesUnknown);
  return (
    subnets.find(({ name }) => leases.of({ subnet: name, port: asker.port, client }).length > 0) ??
    serving.find(({ prefix }) => isIn(rangeOf(prefix), named)) ??
    serving[0]
  );
}

function discover(question: Case): DhcpDecision {
  const { message, subnet } = question;
  const address = choose(question, readWord32(message.options.get(OPTION_REQUESTED_IP)));
  if (address === undefined) return silence(`${subnet.name} has no address for this client`);
  const held = question.leases.at(subnet.name, address);
  const isHeld = held !== undefined && isHeldBy(question, held);
  const isNew = !isHeld && !question.own.includes(address);
  if (message.options.has(OPTION_RAPID_COMMIT)) {
    const { leaseSeconds } = subnet.dhcp;
    return {
      text: `ACK ${textOf(address)} of ${subnet.name} for ${leaseSeconds} s, at once`,
      answer: { type: DHCP_ACK, subnet, address: Number(address), isRapid: true },
      change: putOf(question, address, 'bound', leaseSeconds),
      isNew,
    };
  }
  return {
    text: `OFFER ${textOf(address)} of ${subnet.name}`,
    answer: { type: DHCP_OFFER, subnet, address: Number(address) },
    // Who asks again has not lost what he has.
    ...(isHeld && held.state === 'bound' ? {} : { change: putOf(question, address, 'offered', OFFER_S) }),
    isNew,
  };
}

/** The address for the client: one of its port's, else out of the pool. */
function choose(question: Case, wanted: number | undefined): bigint | undefined {
  const { own, subnet, holder, leases, nowMs } = question;
  const named = wanted === undefined ? undefined : BigInt(wanted);
  if (own.length > 0) {
    const isOthers = (address: bigint) => {
      const lease = leases.at(subnet.name, address);
      return lease !== undefined && leases.isActive(lease, nowMs) && lease.mac !== holder.mac;
    };
    const had = leases.of(holder).find(({ address }) => own.includes(address))?.address;
    return own.find((address) => address === named) ?? had ?? own.find((address) => !isOthers(address)) ?? own[0];
  }
  const pool = poolOf(subnet);
  return pool === undefined ? undefined : leases.choose(holder, pool, named, nowMs);
}

function poolOf({ dhcp, taken }: DhcpSubnet): LeasePool | undefined {
  if (dhcp.pool === undefined || !dhcp.servesUnknown) return undefined;
  return { range: dhcp.pool, taken, perPort: dhcp.perPort };
}

function putOf(question: Case, address: bigint, state: Lease['state'], seconds: number): LeaseChange {
  const { holder, own, subnet, nowMs } = question;
  const fixed = own.includes(address);
  const pool = fixed ? undefined : poolOf(subnet);
  const put = { ...holder, address, state, expiresMs: nowMs + seconds * 1000, fixed };
  return { put, ...(pool !== undefined && { pool }) };
}

/** Whether the client may use the address: it is its port's, or leased to it. */
function isHeldBy({ holder, own, nowMs, leases }: Case, lease: Lease): boolean {
  if (own.includes(lease.address)) return true;
  const isOwn = lease.port === holder.port && lease.client === holder.client;
  return isOwn && lease.state !== 'declined' && leases.isActive(lease, nowMs);
}

function request(question: Case): DhcpDecision {
  const { message, subnet, leases } = question;
  const server = message.options.get(OPTION_SERVER_ID);
  const named = readWord32(message.options.get(OPTION_REQUESTED_IP));
  if (server !== undefined && readWord32(server) !== ipv4Number(subnet.dhcp.server)) return chosenAnother(question);
  if (server !== undefined) {
    // SELECTING: ciaddr is zero, option 50 says what was offered.
    return grant(question, named ?? message.ciaddr, true);
  }
  if (message.ciaddr === 0) {
    // INIT-REBOOT.
    if (named === undefined) return silence('a REQUEST without an address');
    const isKnown = question.own.length > 0 || leases.of(question.holder).length > 0;
    const isHere = isIn(rangeOf(subnet.prefix), BigInt(named));
    // RFC 2131 4.3.2: of a client it has no record of the server says nothing, but that it is in the wrong network.
    if (!isKnown && isHere) return silence('a client that nobody knows asks for what it had elsewhere');
    return grant(question, named, false);
  }
  // RENEWING and REBINDING. A server that lost its leases goes by what the client says, if it can be so.
  return grant(question, message.ciaddr, false);
}

/** The client took another server's offer: ours is free again. */
function chosenAnother({ holder, leases }: Case): DhcpDecision {
  const offer = leases.of(holder).find(({ state }) => state === 'offered');
  const text = 'the client has chosen another server';
  if (offer === undefined) return silence(text);
  return { text, change: { remove: { subnet: offer.subnet, address: offer.address } } };
}

function grant(question: Case, wanted: number, selecting: boolean): DhcpDecision {
  const { subnet, own, leases, nowMs } = question;
  const address = BigInt(wanted);
  const nak: DhcpDecision = {
    text: `NAK: ${textOf(address)} is not this client's`,
    answer: { type: DHCP_NAK, subnet, address: 0 },
  };
  const held = leases.at(subnet.name, address);
  const isHeld = held !== undefined && isHeldBy(question, held);
  if (!isHeld && !own.includes(address)) {
    // What nobody else has it may go on with, but not two addresses at once.
    if (own.length > 0 || choose(question, wanted) !== address) return nak;
    if (held !== undefined && leases.isActive(held, nowMs)) return nak;
  }
  return {
    text: `ACK ${textOf(address)} of ${subnet.name} for ${subnet.dhcp.leaseSeconds} s${selecting ? '' : ', again'}`,
    answer: { type: DHCP_ACK, subnet, address: wanted },
    change: putOf(question, address, 'bound', subnet.dhcp.leaseSeconds),
  };
}

function decline(question: Case): DhcpDecision {
  const { message, subnet, leases, own } = question;
  const named = readWord32(message.options.get(OPTION_REQUESTED_IP));
  const lease = named === undefined ? undefined : leases.at(subnet.name, BigInt(named));
  if (lease === undefined || !isHeldBy(question, lease)) return silence('DECLINE of what the client does not have');
  const text = `${textOf(lease.address)} is in use by somebody, says the client`;
  if (own.includes(lease.address)) return silence(`${text}; it stays its port's`);
  return { text, change: putOf(question, lease.address, 'declined', DECLINE_S) };
}

function release(question: Case): DhcpDecision {
  const { message, subnet, leases, holder } = question;
  const lease = leases.at(subnet.name, BigInt(message.ciaddr));
  // Also of a fixed address only by who has it: another machine behind the port may not end it.
  if (lease === undefined || lease.port !== holder.port || lease.client !== holder.client || lease.state !== 'bound')
    return silence('RELEASE of what the client does not have');
  return { text: `${textOf(lease.address)} is released`, change: { put: { ...lease, state: 'released' } } };
}

function inform(question: Case): DhcpDecision {
  const { message, subnet, own } = question;
  const address = BigInt(message.ciaddr);
  if (!isIn(rangeOf(subnet.prefix), address)) return silence('INFORM from another network');
  if (own.length === 0 && !subnet.dhcp.servesUnknown) return silence('a client that is not known');
  return { text: `ACK of INFORM, by ${subnet.name}`, answer: { type: DHCP_ACK, subnet, address: 0 } };
}

function textOf(address: bigint): string {
  return ipv4Text(ipv4Octets(Number(address & 0xffff_ffffn)));
}
