/**
 * ICMP errors through a router that translates (RFC 5508 REQ-3 to 7): an error about a translated packet quotes it as it left,
 * and is to reach who sent it as that one had sent it. So addresses, ports and checksums inside the quotation go back, and the
 * error's own addresses with them: what inside router or station it is from is hidden like the rest. An error opens, keeps and
 * ends nothing. @hot
 *
 * What an attacker can do: nothing he could not without: the quoted packet must be one of a connection, sent by whom the error
 * goes to. An error whose checksum is wrong is dropped, since its checksum is made anew. Who is outside and says that he is
 * inside is not believed, whatever he sends; nor is who is inside and says that he is outside, or in another inside network.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { pseudoHeaderSum6, sumOctets } from '../wire/checksum.js';
import { ICMP_CHECKSUM, ICMP_HEADER_SIZE, ICMP_SOURCE_QUENCH, ICMP_TYPE } from '../wire/icmp.js';
import { PROTOCOL_ICMPV6 } from '../wire/ip-protocol.js';
import { ipv4HeaderSize } from '../wire/ipv4.js';
import { write16 } from '../wire/octets.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import {
  CONNECTION_KEY_WORDS,
  CONNECTION_VALUE_WORDS,
  IS_TRANSLATED_REPLY,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_ZONE,
  LOWER_IS_ORIGINAL,
  V_LINK,
  V_STATE,
} from './connection-entry.js';
import { keyOfError, quotedUpper } from './connection-key.js';
import { isReplyOf } from './connection-tracking.js';
import type { Machine } from './machine.js';
import {
  IS_ERROR,
  isToFloating,
  moveDestination,
  natPlan,
  PLAN_ERROR,
  PLAN_FOREIGN,
  PLAN_KNOWN,
  PLAN_NEW,
  PLAN_NONE,
  planConnection,
  recallTuple,
  setTuple,
} from './nat-plan.js';
import { rewriteAddresses, rewriteQuoted } from './nat-rewrite.js';
import { isSourceInside, isWayBack } from './nat-source.js';
import { A_KIND, findNatAddress, HAS_FLOATING, NAT_SNAT } from './nat-tables.js';
import { ADDRESS_WORDS } from './routing-tables.js';
import { NO_HOP, NO_TRANSLATION, T_EPOCH, T_FROM, T_HOP, T_NEW_SOURCE, T_SOURCE } from './translation-rows.js';

/** Of what the error in hand is about. */
const natKey = new Int32Array(CONNECTION_KEY_WORDS);
/** The connection's other entry. */
const otherWords = new Int32Array(CONNECTION_KEY_WORDS + CONNECTION_VALUE_WORDS);
/** What the quoted packet's addresses become. */
const quotedSource = new Int32Array(ADDRESS_WORDS);
const quotedDestination = new Int32Array(ADDRESS_WORDS);
let quotedPorts = 0;

/** As `planConnection`, also of errors. Returns 0, or the drop reason's number. */
export function planTranslation(machine: Machine, slot: number, from: number, place: number): number {
  let planned = planConnection(machine, slot, from, place);
  if (planned === IS_ERROR) planned = planError(machine, slot);
  if (planned !== 0 || natPlan.kind === PLAN_NONE) return planned;
  const isFromOutside = machine.snapshot.routing.interfaceExternal[from] !== 0;
  if (!isFromOutside) return isAstray(machine, slot, from) ? dropReasonNumber.martian : 0;
  if (isImpostor(machine, slot)) return dropReasonNumber.martian;
  return isBesideFloating(machine) ? dropReasonNumber.nat_filtered : 0;
}

/**
 * Whether a packet from outside is for the own address of a machine that has a floating one (where there is no SNAT, or of
 * IPv6). Its answer would leave from the floating address, where the asker does not expect it.
 */
function isBesideFloating({ snapshot }: Machine): boolean {
  if (natPlan.kind !== PLAN_NEW || natPlan.movesDestination) return false;
  const row = findNatAddress(snapshot.nat.addresses, natPlan.router, natPlan.destination);
  return row >= 0 && (snapshot.nat.addresses[row + A_KIND] & HAS_FLOATING) !== 0;
}

/**
 * Whether a packet from inside came by another interface than the way back to its source leads to: then it would answer for
 * somebody outside, or speak for a machine of another network. Of a connection with a row that is asked once a snapshot.
 */
function isAstray(machine: Machine, slot: number, from: number): boolean {
  const { translation } = natPlan;
  if (translation === NO_TRANSLATION) return !isWayBack(machine, slot, from);
  const { rows } = machine.translations;
  const { epoch } = machine.snapshot;
  if (rows[translation + T_FROM] === from && rows[translation + T_EPOCH] === epoch) return false;
  if (!isWayBack(machine, slot, from)) return true;
  rows[translation + T_FROM] = from;
  rows[translation + T_EPOCH] = epoch;
  rows[translation + T_HOP] = NO_HOP;
  return false;
}

/**
 * Whether a packet from outside says that it is from inside, or from an outside address of the router's own (RFC 2827). Of a connection
 * only the half that comes from inside has its source rewritten, where there is SNAT: the other half need not be looked up.
 */
function isImpostor(machine: Machine, slot: number): boolean {
  const { snapshot } = machine;
  const isHidden = (snapshot.nat.routerFlags[natPlan.router] & NAT_SNAT) !== 0;
  if (natPlan.kind === PLAN_KNOWN) {
    if (isHidden && !movesSource(machine)) return false;
    recallTuple(machine);
  }
  const row = findNatAddress(snapshot.nat.addresses, natPlan.router, natPlan.source);
  const isOwn = row >= 0 && snapshot.nat.addresses[row + A_KIND] !== HAS_FLOATING;
  return isOwn || isSourceInside(machine, slot);
}

/** Whether the packet, of a known connection, gets another source. */
function movesSource(machine: Machine): boolean {
  const { rows } = machine.translations;
  const { translation, from, source } = natPlan;
  if (translation !== NO_TRANSLATION) return rows[translation + T_NEW_SOURCE] !== rows[translation + T_SOURCE];
  recallTuple(machine);
  let differs = 0;
  for (let word = 0; word < ADDRESS_WORDS; word++) differs |= from[word] ^ source[word];
  return differs !== 0;
}

/** Plans for the slot's ICMP error. Returns 0 or a drop reason's number. */
function planError(machine: Machine, slot: number): number {
  const { pool, connections } = machine;
  const { table } = connections;
  natPlan.kind = PLAN_FOREIGN;
  const side = pool.transport[slot] === 0 ? -1 : keyOfError(natKey, 0, pool, slot, natPlan.zone);
  const entry = side < 0 ? -1 : table.find(table.hashKey(natKey, 0), natKey, 0);
  if (entry === -1 || !isAboutReply(machine, entry, side))
    return isToFloating(machine) ? dropReasonNumber.nat_filtered : 0;
  if (isSourceQuench(machine, slot)) return dropReasonNumber.nat_filtered;
  if (!isIcmpSumRight(machine, slot) || !isQuotedSumRight(machine, slot)) return dropReasonNumber.bad_checksum;
  natPlan.kind = PLAN_ERROR;
  planQuotation(table.found[V_STATE]);
  moveDestination();
  return 0;
}

/** Whether the quoted packet left as an answer to what the entry, whose value is `found`, is found by; reads the other entry. */
function isAboutReply({ connections, snapshot, nowSeconds }: Machine, entry: number, side: number): boolean {
  const { table } = connections;
  const { found } = table;
  const link = found[V_LINK];
  if (link === 0 || !isReplyOf(found[V_STATE], side)) return false;
  if (!table.read(link, otherWords) || otherWords[CONNECTION_KEY_WORDS + V_LINK] !== entry) return false;
  const isReply = (found[V_STATE] & IS_TRANSLATED_REPLY) !== 0;
  const state = isReply ? otherWords[CONNECTION_KEY_WORDS + V_STATE] : found[V_STATE];
  return !connections.isOver(isReply ? link : entry, state, snapshot.connectionTimeouts, nowSeconds);
}

/** `state`: of the entry that `natKey` found. */
function planQuotation(state: number): void {
  const { from, to, source } = natPlan;
  setTuple(otherWords, otherWords[CONNECTION_KEY_WORDS + V_STATE]);
  const { newPorts } = natPlan;
  quotedPorts = (newPorts << 16) | (newPorts >>> 16);
  const quoted = (state & LOWER_IS_ORIGINAL) !== 0 ? KEY_LOWER : KEY_HIGHER;
  let isHidden = false;
  for (let word = 0; word < ADDRESS_WORDS; word++) {
    quotedSource[word] = to[word];
    quotedDestination[word] = from[word];
    if (from[word] !== natKey[quoted + word]) isHidden = true;
  }
  // Nobody's address stands for those behind the one that the packet was for: a router on the way has its own.
  if (!isHidden) for (let word = 0; word < ADDRESS_WORDS; word++) from[word] = source[word];
}

/** Whether the error's checksum is right; one that is still to be made can't be. */
function isIcmpSumRight({ pool, kernels }: Machine, slot: number): boolean {
  if (pool.checksumStart[slot] !== 0) return false;
  const message = pool.transport[slot];
  const size = pool.packetEnd[slot] - message;
  const isIpv4 = pool.packetKind[slot] === PACKET_IPV4;
  const pseudo = isIpv4 ? 0 : pseudoHeaderSum6(pool.octets, pool.networkHeader[slot], PROTOCOL_ICMPV6, size);
  return kernels.checksum(message, size, pseudo) === 0xffff;
}

/** Whether the quoted IPv4 header's checksum is right (RFC 5508 REQ-3a): changed by differences, a wrong one would stay so. */
function isQuotedSumRight({ pool }: Machine, slot: number): boolean {
  if (pool.packetKind[slot] !== PACKET_IPV4) return true;
  const quoted = pool.transport[slot] + ICMP_HEADER_SIZE;
  return sumOctets(pool.octets, quoted, ipv4HeaderSize(pool.octets, quoted), 0) === 0xffff;
}

/** RFC 5508 REQ-10c, RFC 6633: nobody makes them any more but to slow others down. */
function isSourceQuench({ pool }: Machine, slot: number): boolean {
  return pool.packetKind[slot] === PACKET_IPV4 && pool.octets[pool.transport[slot] + ICMP_TYPE] === ICMP_SOURCE_QUENCH;
}

/** Writes what `planError` decided. */
export function rewriteError({ pool, kernels }: Machine, slot: number): void {
  const { octets } = pool;
  const isIpv4 = pool.packetKind[slot] === PACKET_IPV4;
  const packet = pool.networkHeader[slot];
  const message = pool.transport[slot];
  const quoted = message + ICMP_HEADER_SIZE;
  const end = pool.packetEnd[slot];
  const protocol = (natKey[KEY_ZONE] >>> 8) & 0xff;
  const upper = quotedUpper(octets, quoted, end, !isIpv4);
  rewriteQuoted(octets, quoted, upper, end, protocol, quotedSource, quotedDestination, quotedPorts, isIpv4);
  rewriteAddresses(octets, packet, isIpv4, natPlan.from, natPlan.to);
  write16(octets, message + ICMP_CHECKSUM, 0);
  const pseudo = isIpv4 ? 0 : pseudoHeaderSum6(octets, packet, PROTOCOL_ICMPV6, end - message);
  write16(octets, message + ICMP_CHECKSUM, ~kernels.checksum(message, end - message, pseudo) & 0xffff);
}
