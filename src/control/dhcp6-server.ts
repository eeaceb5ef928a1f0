/**
 * The DHCPv6 server (RFC 8415 section 18.3): what is answered, and what becomes of leases. Pure, as dhcp-server.ts is. Main
 * thread.
 *
 * Each IA_NA gets one address: an IA of a port with `addresses` in the subnet one of those, any other one of the pool. A
 * client is its port, DUID and IAID. Prefixes (IA_PD) and temporary addresses are not given. Relay agents are not served.
 */
import { IPV6_SIZE, ipText } from '../wire/address.js';
import { domainNames, word32 } from '../wire/dhcp-message.js';
import {
  associationOption,
  DHCP6_ADVERTISE,
  DHCP6_CONFIRM,
  DHCP6_DECLINE,
  DHCP6_INFORMATION_REQUEST,
  DHCP6_REBIND,
  DHCP6_RELEASE,
  DHCP6_RENEW,
  DHCP6_REPLY,
  DHCP6_REQUEST,
  DHCP6_SOLICIT,
  type Dhcp6Message,
  type IdentityAssociation,
  OPTION6_CLIENT_ID,
  OPTION6_DNS,
  OPTION6_IA_NA,
  OPTION6_IA_PD,
  OPTION6_INFORMATION_REFRESH,
  OPTION6_RAPID_COMMIT,
  OPTION6_SEARCH,
  OPTION6_SERVER_ID,
  type Option6,
  STATUS_NO_ADDRESSES,
  STATUS_NO_BINDING,
  STATUS_NO_PREFIX,
  STATUS_NOT_ON_LINK,
  STATUS_SUCCESS,
  STATUS_USE_MULTICAST,
  statusOption,
  writeDhcp6,
} from '../wire/dhcp6-message.js';
import { addressNumber, addressOctets, isIn, rangeOf } from './address-range.js';
import { DECLINE_S, type LeaseChange, OFFER_S } from './dhcp-server.js';
import type { Lease, LeaseHolder, LeasePool, LeaseTable } from './lease-table.js';
import type { ResolvedDhcp6, ResolvedSubnet } from './resolved-subnet.js';

/** A subnet with a DHCPv6 server. */
export interface Dhcp6Subnet extends ResolvedSubnet {
  readonly name: string;
  readonly dhcp6: ResolvedDhcp6;
}

export interface Dhcp6Asker {
  readonly port: string;
  readonly mac: string;
  /** Numbers of the port's IPv6 addresses, if it is the port's machine that asks. */
  readonly addresses: readonly bigint[];
  /** The message came to an address of ours, not to the group of servers. */
  readonly isUnicast: boolean;
}

export interface Dhcp6Decision {
  readonly text: string;
  /** The message to send back. */
  readonly reply?: Uint8Array;
  readonly changes: readonly LeaseChange[];
}

/** IAs in one message that are looked at; no client has more interfaces than that on one link. */
const ASSOCIATIONS_MAX = 8;
/** RFC 8415 section 21.23: 24 hours, as without the option; less where leases are shorter. */
const REFRESH_MAX_S = 86_400;
const REFRESH_MIN_S = 600;

interface Case {
  readonly message: Dhcp6Message;
  readonly asker: Dhcp6Asker;
  readonly subnets: readonly Dhcp6Subnet[];
  readonly duid: Uint8Array;
  readonly leases: LeaseTable;
  readonly nowMs: number;
}

const silence = (text: string): Dhcp6Decision => ({ text, changes: [] });

/** `subnets`: the network's, at least one. `duid`: the server's. */
export function decideDhcp6(
  message: Dhcp6Message,
  asker: Dhcp6Asker,
  subnets: readonly Dhcp6Subnet[],
  duid: Uint8Array,
  leases: LeaseTable,
  nowMs: number,
): Dhcp6Decision {
  const question = { message, asker, subnets, duid, leases, nowMs };
  const fault = faultOf(question);
  if (fault !== undefined) return silence(fault);
  const stateful = subnets.filter(({ dhcp6 }) => dhcp6.stateful);
  if (message.type === DHCP6_INFORMATION_REQUEST) return inform(question);
  if (stateful.length === 0) return silence('no subnet here gives addresses by DHCPv6');
  const needsMulticast = [DHCP6_REQUEST, DHCP6_RENEW, DHCP6_RELEASE, DHCP6_DECLINE].includes(message.type);
  // RFC 8415 18.4: unicast was not offered.
  if (asker.isUnicast) {
    if (!needsMulticast) return silence('it should have gone to the group of servers');
    return answer(question, DHCP6_REPLY, [statusOption(STATUS_USE_MULTICAST, 'use ff02::1:2')], [], 'UseMulticast');
  }
  switch (message.type) {
    case DHCP6_SOLICIT:
      return message.rapidCommit ? grantAll(question, 'rapid') : grantAll(question, 'offer');
    case DHCP6_REQUEST:
      return grantAll(question, 'request');
    case DHCP6_RENEW:
    case DHCP6_REBIND:
      return grantAll(question, 'renew');
    case DHCP6_CONFIRM:
      return confirm(question);
    default:
      return giveBack(question);
  }
}

/** RFC 8415 section 16: what each message must have, and must not. */
function faultOf({ message, duid }: Case): string | undefined {
  const { type, clientId, serverId } = message;
  if ([DHCP6_ADVERTISE, DHCP6_REPLY, 10].includes(type)) return 'not a message of a client';
  if (clientId === undefined && type !== DHCP6_INFORMATION_REQUEST) return 'the client does not say who it is';
  const mustName = [DHCP6_REQUEST, DHCP6_RENEW, DHCP6_RELEASE, DHCP6_DECLINE].includes(type);
  if (mustName && serverId === undefined) return 'it names no server';
  const mayName = mustName || type === DHCP6_INFORMATION_REQUEST;
  if (!mayName && serverId !== undefined) return 'it names a server, and must not';
  if (serverId !== undefined && Buffer.compare(serverId, duid) !== 0) return 'it is for another server';
  return undefined;
}

function answer(
  question: Case,
  type: number,
  options: readonly Option6[],
  changes: readonly LeaseChange[],
  text: string,
): Dhcp6Decision {
  const { message, duid } = question;
  const ids: Option6[] = [
    ...(message.clientId === undefined ? [] : [{ code: OPTION6_CLIENT_ID, value: message.clientId }]),
    { code: OPTION6_SERVER_ID, value: duid },
  ];
  return { text, changes, reply: writeDhcp6(type, message.xid, [...ids, ...options]) };
}

/** What the client wants to know besides addresses. */
function settings({ message, subnets }: Case): Option6[] {
  const { requested } = message;
  const options: Option6[] = [];
  const dns = subnets.flatMap(({ dhcp6 }) => dhcp6.dns);
  const search = [...new Set(subnets.flatMap(({ dhcp6 }) => dhcp6.search))];
  if (dns.length > 0 && requested.includes(OPTION6_DNS))
    options.push({ code: OPTION6_DNS, value: Uint8Array.from(dns.flatMap((address) => [...address])) });
  if (search.length > 0 && requested.includes(OPTION6_SEARCH))
    options.push({ code: OPTION6_SEARCH, value: domainNames(search) });
  for (const [code, value] of subnets.flatMap(({ dhcp6 }) => [...dhcp6.options]))
    if (requested.includes(code)) options.push({ code, value });
  return options;
}

function inform(question: Case): Dhcp6Decision {
  const { message, subnets } = question;
  if (message.associations.length > 0) return silence('an INFORMATION-REQUEST for addresses');
  const shortest = Math.min(...subnets.map(({ dhcp6 }) => dhcp6.leaseSeconds), REFRESH_MAX_S);
  const refresh = { code: OPTION6_INFORMATION_REFRESH, value: word32(Math.max(shortest, REFRESH_MIN_S)) };
  return answer(question, DHCP6_REPLY, [...settings(question), refresh], [], 'REPLY with what there is to know');
}

/** What the IAs of a message before this one get. */
interface SoFar {
  readonly used: Set<bigint>;
  /** Of pools, that their port does not have as lasting leases. */
  planned: number;
}

type Purpose = 'offer' | 'rapid' | 'request' | 'renew';

/** An answer for each IA. */
function grantAll(question: Case, purpose: Purpose): Dhcp6Decision {
  const { message } = question;
  const changes: LeaseChange[] = [];
  const options: Option6[] = purpose === 'rapid' ? [{ code: OPTION6_RAPID_COMMIT, value: new Uint8Array(0) }] : [];
  const given: string[] = [];
  const so: SoFar = { used: new Set(), planned: 0 };
  for (const association of message.associations.slice(0, ASSOCIATIONS_MAX)) {
    const [option, change] = grantOne(question, association, purpose, so);
    options.push(option);
    if (change === undefined || !('put' in change)) continue;
    changes.push(change);
    given.push(ipText(addressOctets(change.put.address, IPV6_SIZE)));
  }
  for (const iaid of message.prefixAssociations.slice(0, ASSOCIATIONS_MAX))
    options.push(refusal(OPTION6_IA_PD, iaid, STATUS_NO_PREFIX, 'no prefixes are delegated'));
  const type = purpose === 'offer' ? DHCP6_ADVERTISE : DHCP6_REPLY;
  const word = purpose === 'offer' ? 'ADVERTISE' : 'REPLY';
  const text = given.length === 0 ? `${word}: no address for this client` : `${word} ${given.join(', ')}`;
  return answer(question, type, [...options, ...settings(question)], changes, text);
}

function refusal(code: number, iaid: number, status: number, text: string): Option6 {
  return associationOption(code, iaid, { renewSeconds: 0, rebindSeconds: 0 }, [], statusOption(status, text));
}

function grantOne(
  question: Case,
  { iaid, addresses }: IdentityAssociation,
  purpose: Purpose,
  so: SoFar,
): [Option6, LeaseChange?] {
  const found = find(question, iaid, addresses.map(addressNumber), so);
  // RFC 8415 18.3.4: only with a binding, or the wish to make one, is a renewal answered with an address.
  if (found === undefined) {
    const isRenewal = purpose === 'renew';
    const status = isRenewal ? STATUS_NO_BINDING : STATUS_NO_ADDRESSES;
    return [refusal(OPTION6_IA_NA, iaid, status, isRenewal ? 'nothing is known of it' : 'no address is free')];
  }
  const { subnet, holder, address, fixed, pool } = found;
  so.used.add(address);
  const held = question.leases.at(subnet.name, address);
  const isHeld = held?.state === 'bound' && held.client === holder.client && held.port === holder.port;
  if (pool !== undefined && !(isHeld && question.leases.isActive(held, question.nowMs))) so.planned++;
  const validSeconds = subnet.dhcp6.leaseSeconds;
  const granted = [{ address: addressOctets(address, IPV6_SIZE), preferredSeconds: validSeconds, validSeconds }];
  // What the client had and can't have any more is told to be over (RFC 8415 18.3.4).
  const over = addresses
    .filter((one) => purpose === 'renew' && addressNumber(one) !== address)
    .map((one) => ({ address: one, preferredSeconds: 0, validSeconds: 0 }));
  const times = { renewSeconds: Math.floor(validSeconds / 2), rebindSeconds: Math.floor(validSeconds * 0.8) };
  const option = associationOption(OPTION6_IA_NA, iaid, times, [...granted, ...over]);
  const isOffer = purpose === 'offer';
  if (isOffer && isHeld) return [option];
  const state = isOffer ? 'offered' : 'bound';
  const expiresMs = question.nowMs + (isOffer ? OFFER_S : validSeconds) * 1000;
  return [option, { put: { ...holder, address, state, expiresMs, fixed }, ...(pool !== undefined && { pool }) }];
}

interface Found {
  readonly subnet: Dhcp6Subnet;
  readonly holder: LeaseHolder;
  readonly address: bigint;
  readonly fixed: boolean;
  readonly pool?: LeasePool;
}

/** The address for an IA: one of the port's that no other IA of it has, else out of the first pool that has one. */
function find(question: Case, iaid: number, named: readonly bigint[], { used, planned }: SoFar): Found | undefined {
  const { subnets, asker, leases, nowMs } = question;
  const stateful = subnets.filter(({ dhcp6 }) => dhcp6.stateful);
  for (const subnet of stateful) {
    const range = rangeOf(subnet.prefix);
    const own = asker.addresses.filter((address) => isIn(range, address) && !used.has(address));
    const holder = holderOf(question, subnet, iaid);
    const [first] = own;
    if (first === undefined) continue;
    const had = leases.of(holder).find(({ address }) => own.includes(address))?.address;
    return { subnet, holder, address: own.find((one) => named.includes(one)) ?? had ?? first, fixed: true };
  }
  for (const subnet of stateful) {
    const { pool: range, perPort } = subnet.dhcp6;
    if (range === undefined) continue;
    const pool = { range, taken: subnet.taken, perPort };
    const holder = holderOf(question, subnet, iaid);
    const wanted = named.find((one) => isIn(range, one));
    const address = leases.choose(holder, pool, wanted, nowMs, planned);
    if (address !== undefined && !used.has(address)) return { subnet, holder, address, fixed: false, pool };
  }
  return undefined;
}

function holderOf({ message, asker }: Case, subnet: Dhcp6Subnet, iaid: number): LeaseHolder {
  const client = `${Buffer.from(message.clientId ?? []).toString('hex')}-${iaid.toString(16)}`;
  return { subnet: subnet.name, port: asker.port, client, mac: asker.mac };
}

/** RFC 8415 18.3.3: whether the addresses are right for this link, whoever has them. */
function confirm(question: Case): Dhcp6Decision {
  const named = question.message.associations.flatMap(({ addresses }) => addresses.map(addressNumber));
  if (named.length === 0) return silence('a CONFIRM of nothing');
  const isHere = named.every((one) => question.subnets.some(({ prefix }) => isIn(rangeOf(prefix), one)));
  const status = isHere
    ? statusOption(STATUS_SUCCESS, 'on link')
    : statusOption(STATUS_NOT_ON_LINK, 'not on this link');
  return answer(question, DHCP6_REPLY, [status], [], isHere ? 'REPLY: on link' : 'REPLY: not on link');
}

/** RELEASE and DECLINE (RFC 8415 18.3.7, 18.3.8). */
function giveBack(question: Case): Dhcp6Decision {
  const { message } = question;
  const changes: LeaseChange[] = [];
  const options: Option6[] = [statusOption(STATUS_SUCCESS, 'done')];
  for (const { iaid, addresses } of message.associations.slice(0, ASSOCIATIONS_MAX)) {
    const found = addresses.map((address) => giveBackOne(question, iaid, addressNumber(address)));
    const known = found.filter((change) => change !== undefined);
    changes.push(...known);
    if (known.length === 0) options.push(refusal(OPTION6_IA_NA, iaid, STATUS_NO_BINDING, 'nothing is known of it'));
  }
  const text = message.type === DHCP6_RELEASE ? 'the lease is released' : 'the address is in use by somebody';
  return answer(question, DHCP6_REPLY, options, changes, text);
}

function giveBackOne(question: Case, iaid: number, address: bigint): LeaseChange | undefined {
  const { message, subnets, leases, nowMs } = question;
  for (const subnet of subnets) {
    const { client, port } = holderOf(question, subnet, iaid);
    const lease = leases.at(subnet.name, address);
    if (lease === undefined || lease.client !== client || lease.port !== port || lease.state !== 'bound') continue;
    if (message.type === DHCP6_RELEASE) return { put: { ...lease, state: 'released' } };
    return { put: declinedOf(lease, nowMs) };
  }
  return undefined;
}

/** A fixed address stays the port's. */
function declinedOf(lease: Lease, nowMs: number): Lease {
  if (lease.fixed) return { ...lease, state: 'released' };
  return { ...lease, state: 'declined', expiresMs: nowMs + DECLINE_S * 1000 };
}
