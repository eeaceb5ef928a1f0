/**
 * Routers: a frame whose destination is the MAC of a router's interface in its network goes on as a packet: to the router
 * itself, or by the longest prefix to a station or another router in a network of that router (RFC 1812; RFC 8200). What
 * leaves is a frame in another network, from the interface there; `forward` finds its member as for any other. @hot
 *
 * Comes after learn, so that stations are learned where they are, and after the responders, who learn who is at which address.
 * A packet that is not sent on is told its sender by an ICMP error, at most `limits.icmpErrors` a second for a port, where
 * RFC 1812 4.3 allows. A packet whose next station is not known waits (pending-hops.ts) and comes through all policy and here
 * once more: nothing of it is changed before everything is decided.
 *
 * What is for another router of the switch is routed once more, by that one (between-routers.ts).
 *
 * What an attacker can do: use up his own port's errors and questions. A loop of routes ends with the TTL.
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { BATCH_SIZE } from '../../limits.js';
import { ipWords, ipWordsText } from '../../wire/address.js';
import { updateChecksum } from '../../wire/checksum.js';
import { flowHash } from '../../wire/flow-hash.js';
import { IPV4_CHECKSUM, IPV4_DESTINATION, IPV4_TTL } from '../../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HOP_LIMIT } from '../../wire/ipv6.js';
import { read16, read32, write16, write32 } from '../../wire/octets.js';
import { PACKET_ARP, PACKET_IPV4, PACKET_IPV6 } from '../../wire/packet.js';
import { GSO_TYPE_MASK } from '../../wire/virtio-net.js';
import { TO_ROUTER } from '../between-routers.js';
import { keepHop, routeKnown } from '../known-routes.js';
import { CONSUMED, type Machine } from '../machine.js';
import { translate } from '../nat-commit.js';
import { planTranslation } from '../nat-errors.js';
import { asksTranslations, beginKeys, noteKnown } from '../nat-keys.js';
import { natPlan } from '../nat-plan.js';
import { translationText } from '../nat-text.js';
import { nextAddress, STALE } from '../next-hop.js';
import { FAILED, WAITING_FOR_HOP, WAITS } from '../pending-hops.js';
import { longestPrefix4, longestPrefix6, NO_PREFIX } from '../prefix-tree.js';
import { HINT_HOP, hintRow, hintsOf, NOT_ASKED, routeHints } from '../route-hints.js';
import { answerLocal } from '../router-answers.js';
import { enterNetwork, leaveNetwork, ROUTED } from '../router-crossing.js';
import { sayHostUnreachable, sayNoRoute, sayTimeExceeded, sayTooBig, sayUntranslated } from '../router-errors.js';
import { mayBeCut } from '../router-fragments.js';
import { interfaceOf } from '../router-interface.js';
import { isAddress6, isLinkLocal, packetProblem } from '../router-packets.js';
import { ADDRESS_WORDS, HOP_BLACKHOLE, HOP_LOCAL, HOP_SHARED, HOP_VIA, type RoutingTables } from '../routing-tables.js';
import { setIpv4 } from '../rule-key.js';
import { STORM_UNKNOWN_UNICAST } from '../snapshot.js';
import type { Names, Stage } from '../stage.js';
import {
  beginWays,
  NO_WAY,
  OF_ROUTER,
  WAY_ENTRY,
  WAY_HEADER,
  WAY_MEMBER,
  WAY_MTU,
  WAY_STATE,
  ways,
  wayTo,
} from '../station-ways.js';
import { BUCKETS_PER_PORT } from '../token-bucket.js';

export const route: Stage = {
  name: 'route',

  run(machine: Machine, batch: Batch): void {
    const { pool, snapshot } = machine;
    const { routing } = snapshot;
    if (routing.interfaceCount === 0) return;
    hintsOf(routing);
    beginWays();
    const count = listPackets(machine, batch);
    if (snapshot.nat.routerFlags.length === 0) {
      for (let place = 0; place < count; place++)
        pool.reason[slots[place]] = routePacket(machine, slots[place], interfaces[place], place);
    } else routeTranslated(machine, count);
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot } = machine;
    if (snapshot.routing.interfaceCount === 0) return 'there is no router';
    if (pool.reason[slot] === CONSUMED) return 'for the router itself, which answers what it knows';
    if (pool.reason[slot] === WAITING_FOR_HOP) return `waits: it is not known who is at ${ipWordsText(shownAddress())}`;
    if (pool.ingressMember[slot] !== ROUTED && pool.reason[slot] !== TO_ROUTER) return 'not addressed to a router';
    const translation = translationText(machine, pool.protocol[slot]);
    const whose = pool.reason[slot] === TO_ROUTER ? ", another router's, by which it goes on" : '';
    return `routed into ${names.network(pool.network[slot])}, to ${ipWordsText(shownAddress())}${whose}${translation}`;
  },
};

/** Of the packet routed last, for explanations. */
function shownAddress(): Int32Array {
  const octets = new Uint8Array(16);
  for (const [index, word] of nextAddress.entries()) new DataView(octets.buffer).setInt32(index * 4, word);
  return ipWords(octets);
}

/** Packets to route, and by which interface each came in. One list a thread. */
const slots = new Int32Array(BATCH_SIZE);
const interfaces = new Int32Array(BATCH_SIZE);
/** Places of those of which not all is known. */
const left = new Int32Array(BATCH_SIZE);

/** Routes the packets that are listed where some router translates: first those of which all is known. */
function routeTranslated(machine: Machine, count: number): void {
  beginKeys(machine, slots, interfaces, count);
  let leftCount = count;
  if (asksTranslations()) {
    leftCount = routeKnown(machine, slots, interfaces, count, left);
    noteKnown(count - leftCount);
  } else for (let place = 0; place < count; place++) left[place] = place;
  for (let index = 0; index < leftCount; index++) {
    const place = left[index];
    machine.pool.reason[slots[place]] = routePacket(machine, slots[place], interfaces[place], place);
  }
}

/** Lists the packets that routers take, and ends what else is addressed to them. Returns how many are listed. */
function listPackets(machine: Machine, batch: Batch): number {
  const { pool } = machine;
  let count = 0;
  for (let index = 0; index < batch.count; index++) {
    const slot = batch.slots[index];
    if (pool.reason[slot] !== 0) continue;
    const from = interfaceOf(machine, slot);
    if (from < 0) continue;
    pool.reason[slot] = refusalOf(machine, slot, from);
    if (pool.reason[slot] !== 0) continue;
    slots[count] = slot;
    interfaces[count++] = from;
  }
  return count;
}

/** Returns the drop reason's number, CONSUMED, or 0 for a packet that may be routed. */
function refusalOf(machine: Machine, slot: number, from: number): number {
  const kind = machine.pool.packetKind[slot];
  // What it says was learned; a question was answered before.
  if (kind === PACKET_ARP) return CONSUMED;
  return kind === PACKET_IPV4 || kind === PACKET_IPV6
    ? packetProblem(machine, slot, from)
    : dropReasonNumber.not_routed;
}

/** Returns the drop reason's number, CONSUMED, or 0 for what goes on. */
function routePacket(machine: Machine, slot: number, from: number, place: number): number {
  const { pool } = machine;
  const kind = pool.packetKind[slot];
  if (kind === PACKET_IPV6 && isLinkLocal(pool.octets, pool.networkHeader[slot] + IPV6_DESTINATION))
    return isOwnLinkLocal(machine, slot, from) ? answerLocal(machine, slot, from) : dropReasonNumber.martian;
  const planned = planTranslation(machine, slot, from, place);
  if (planned !== 0) return planned;
  const hop = hopOf(machine, slot, from);
  if (hop === NO_PREFIX) return sayNoRoute(machine, slot, from);
  const { routing } = machine.snapshot;
  const way = routing.hopKind[hop];
  if (way === HOP_LOCAL) return answerLocal(machine, slot, from);
  if (way === HOP_BLACKHOLE) return dropReasonNumber.blackhole;
  const packet = pool.networkHeader[slot];
  const ttl = pool.octets[packet + (kind === PACKET_IPV4 ? IPV4_TTL : IPV6_HOP_LIMIT)];
  if (ttl <= 1) return sayTimeExceeded(machine, slot, from);
  if (way === HOP_VIA) setVia(routing, hop);
  return sendOn(machine, slot, from, hop);
}

/** Whether the packet is to the link-local address of the interface it came in by. */
function isOwnLinkLocal({ pool, snapshot }: Machine, slot: number, from: number): boolean {
  const at = pool.networkHeader[slot] + IPV6_DESTINATION;
  return isAddress6(pool.octets, at, snapshot.routing.interfaceLinkLocal, from * ADDRESS_WORDS);
}

const destinationOctets = new Uint8Array(16);

/** The hop of the packet's destination: the one that this flow takes where several share it. Sets `nextAddress` to that address. */
function hopOf({ pool, snapshot }: Machine, slot: number, from: number): number {
  const { routing } = snapshot;
  const router = routing.interfaceRouter[from];
  const isIpv4 = pool.packetKind[slot] === PACKET_IPV4;
  setDestination(pool.octets, pool.networkHeader[slot], isIpv4);
  const row = hintRow(router, isIpv4, nextAddress);
  let hop = routeHints[row + HINT_HOP];
  if (hop === NOT_ASKED) {
    hop = longestPrefixOf(routing, router, isIpv4);
    routeHints[row + HINT_HOP] = hop;
  }
  if (hop === NO_PREFIX || routing.hopKind[hop] !== HOP_SHARED) return hop;
  const packet = pool.networkHeader[slot];
  const hash = flowHash(pool.octets, pool.offset[slot], pool.ethertype[slot], packet, pool.packetEnd[slot]);
  return routing.hopInterface[hop] + (hash % routing.hopCount[hop]);
}

/** Where the packet goes: what is translated, to the destination that it gets. */
function setDestination(octets: Uint8Array, packet: number, isIpv4: boolean): void {
  if (natPlan.movesDestination) for (let word = 0; word < ADDRESS_WORDS; word++) nextAddress[word] = natPlan.to[word];
  else if (isIpv4) setIpv4(nextAddress, 0, read32(octets, packet + IPV4_DESTINATION));
  else
    for (let word = 0; word < ADDRESS_WORDS; word++)
      nextAddress[word] = read32(octets, packet + IPV6_DESTINATION + word * 4);
}

function longestPrefixOf(routing: RoutingTables, router: number, isIpv4: boolean): number {
  const { trees } = routing;
  if (isIpv4) {
    write32(destinationOctets, 0, nextAddress[3]);
    return longestPrefix4(trees, routing.routerTree4[router], destinationOctets, 0);
  }
  for (let word = 0; word < ADDRESS_WORDS; word++) write32(destinationOctets, word * 4, nextAddress[word]);
  return longestPrefix6(trees, routing.routerTree6[router], destinationOctets, 0);
}

/** The next router's address, or the packet's own destination. */
function setNextAddress({ pool, snapshot }: Machine, slot: number, hop: number): void {
  if (snapshot.routing.hopKind[hop] === HOP_VIA) setVia(snapshot.routing, hop);
  else setDestination(pool.octets, pool.networkHeader[slot], pool.packetKind[slot] === PACKET_IPV4);
}

function setVia({ hopAddress }: RoutingTables, hop: number): void {
  for (let word = 0; word < ADDRESS_WORDS; word++) nextAddress[word] = hopAddress[hop * ADDRESS_WORDS + word];
}

/** To the hop's station, at `nextAddress`, if it is known. */
function sendOn(machine: Machine, slot: number, from: number, hop: number): number {
  const { routing } = machine.snapshot;
  const to = routing.hopInterface[hop];
  const way = wayTo(machine, to);
  if (way !== NO_WAY) {
    if (!isAnswering(machine, way, to, hop)) return divert(machine, slot, from, hop);
    const refusal = sendBy(machine, slot, from, to, way);
    if (refusal === 0) keepHop(machine, from, hop);
    return refusal;
  }
  const waits = machine.pending.wait(machine, slot, to, hop, machine.snapshot.neighborQueue);
  if (waits === WAITS) return machine.pool.reason[slot];
  return waits === FAILED ? divert(machine, slot, from, hop) : dropReasonNumber.neighbor_unresolved;
}

/**
 * Nobody answers at the hop. One that shares the way and is known takes its packets until somebody does; the others are asked,
 * for the packets to come: this one has waited enough.
 */
function divert(machine: Machine, slot: number, from: number, hop: number): number {
  const { routing } = machine.snapshot;
  const group = routing.hopGroup[hop];
  const count = group < 0 ? 1 : routing.hopCount[group];
  for (let step = 1; step < count; step++) {
    const first = routing.hopInterface[group];
    const other = first + ((hop - first + step) % count);
    const to = routing.hopInterface[other];
    setNextAddress(machine, slot, other);
    const way = wayTo(machine, to);
    if (way === NO_WAY) machine.pending.ask(machine, slot, to, other);
    else if (isAnswering(machine, way, to, other)) return sendBy(machine, slot, from, to, way);
  }
  return sayHostUnreachable(machine, slot, from);
}

/** Whether the hop's station is still there, as far as is known: who was not heard lately is asked again. */
function isAnswering(machine: Machine, way: number, to: number, hop: number): boolean {
  return ways[way + WAY_STATE] !== STALE || machine.pending.askAgain(machine, to, hop);
}

/** Out by an interface, the known way to the station there, if the packet fits. */
function sendBy(machine: Machine, slot: number, from: number, to: number, way: number): number {
  const { pool } = machine;
  const { routing } = machine.snapshot;
  const member = ways[way + WAY_MEMBER];
  if (member < 0) {
    const problem = problemOfUnseen(machine, slot, member);
    if (problem !== 0) return problem;
  }
  const mtu = ways[way + WAY_MTU];
  // What may be fragmented is cut behind the policy of the port that it leaves by (egress/fit.ts).
  if (packetSize(machine, slot) > mtu && !mayBeCut(pool, slot)) return sayTooBig(machine, slot, from, mtu);
  const refusal = leaveNetwork(machine, slot, from, member);
  if (refusal !== 0) return refusal;
  const untranslated = translate(machine, slot, from, to, member);
  if (untranslated !== 0) return sayUntranslated(machine, slot, from, untranslated);
  countDown(machine, slot);
  // Frames begin at multiples of four.
  const frame = pool.offset[slot] >> 2;
  pool.words[frame] = ways[way + WAY_HEADER];
  pool.words[frame + 1] = ways[way + WAY_HEADER + 1];
  pool.words[frame + 2] = ways[way + WAY_HEADER + 2];
  enterNetwork(machine, slot, routing.interfaceNetwork[to]);
  if (member === OF_ROUTER) return giveToRouter(machine, slot);
  pool.destinationMember[slot] = member;
  pool.destinationEntry[slot] = ways[way + WAY_ENTRY];
  return 0;
}

/** Of a packet that goes behind no known member: the drop reason's number, 0: it may. */
function problemOfUnseen(machine: Machine, slot: number, member: number): number {
  if (member === OF_ROUTER) return machine.betweenRouters.isLoop ? dropReasonNumber.routing_loop : 0;
  return mayFlood(machine, slot) ? 0 : dropReasonNumber.storm;
}

/** The packet goes on when this batch is done. */
function giveToRouter({ pool, betweenRouters }: Machine, slot: number): number {
  pool.holds[slot]++;
  betweenRouters.push(pool, slot);
  return TO_ROUTER;
}

/** A station that is at an address but in no FDB is looked for by a flood, which the port it came in by has a rate for. */
function mayFlood({ pool, snapshot, storm, nowTick }: Machine, slot: number): boolean {
  const port = pool.ingressPort[slot];
  const rate = snapshot.portStormRate[port * 3 + STORM_UNKNOWN_UNICAST];
  return rate === 0 || storm.take(port * BUCKETS_PER_PORT + STORM_UNKNOWN_UNICAST, rate, nowTick);
}

/** Octets of the packet, or of the longest segment of a super-frame. */
function packetSize({ pool }: Machine, slot: number): number {
  const packet = pool.networkHeader[slot];
  if ((pool.gsoType[slot] & GSO_TYPE_MASK) !== 0) return pool.headersEnd[slot] - packet + pool.gsoSize[slot];
  return pool.packetEnd[slot] - packet;
}

/** One from TTL or hop limit. */
function countDown({ pool }: Machine, slot: number): void {
  const { octets } = pool;
  const packet = pool.networkHeader[slot];
  if (pool.packetKind[slot] === PACKET_IPV6) {
    octets[packet + IPV6_HOP_LIMIT]--;
    return;
  }
  const before = read16(octets, packet + IPV4_TTL);
  octets[packet + IPV4_TTL]--;
  const checksum = updateChecksum(read16(octets, packet + IPV4_CHECKSUM), before, before - 0x100);
  write16(octets, packet + IPV4_CHECKSUM, checksum);
}
