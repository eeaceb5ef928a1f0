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
 * What an attacker can do: use up his own port's errors and questions. A loop of routes ends with the TTL.
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { ipWords, ipWordsText } from '../../wire/address.js';
import { updateChecksum } from '../../wire/checksum.js';
import { ETHERNET_DESTINATION, ETHERNET_SOURCE, writeMac } from '../../wire/ethernet.js';
import { flowHash } from '../../wire/flow-hash.js';
import { IPV4_CHECKSUM, IPV4_DESTINATION, IPV4_TTL } from '../../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HOP_LIMIT } from '../../wire/ipv6.js';
import { read16, read32, write16 } from '../../wire/octets.js';
import { PACKET_ARP, PACKET_IPV4, PACKET_IPV6 } from '../../wire/packet.js';
import { GSO_TYPE_MASK } from '../../wire/virtio-net.js';
import { CONSUMED, type Machine } from '../machine.js';
import { translate } from '../nat-commit.js';
import { planTranslation } from '../nat-errors.js';
import { natPlan } from '../nat-plan.js';
import { translationText } from '../nat-text.js';
import { findStation, KNOWN, nextAddress, STALE, UNKNOWN } from '../next-hop.js';
import { FAILED, WAITING_FOR_HOP, WAITS } from '../pending-hops.js';
import { longestPrefix4, longestPrefix6, NO_PREFIX } from '../prefix-tree.js';
import { answerLocal } from '../router-answers.js';
import { enterNetwork, leaveNetwork, ROUTED } from '../router-crossing.js';
import { sayHostUnreachable, sayNoRoute, sayTimeExceeded, sayTooBig } from '../router-errors.js';
import { mayBeCut } from '../router-fragments.js';
import { interfaceOf } from '../router-interface.js';
import { isAddress6, isLinkLocal, packetProblem } from '../router-packets.js';
import { ADDRESS_WORDS, HOP_BLACKHOLE, HOP_LOCAL, HOP_SHARED, HOP_VIA } from '../routing-tables.js';
import { setIpv4 } from '../rule-key.js';
import { STORM_UNKNOWN_UNICAST } from '../snapshot.js';
import type { Names, Stage } from '../stage.js';
import { BUCKETS_PER_PORT } from '../token-bucket.js';
import { memberInUse } from './lookup.js';

export const route: Stage = {
  name: 'route',

  run(machine: Machine, batch: Batch): void {
    const { pool, snapshot } = machine;
    const { routing } = snapshot;
    if (routing.interfaceCount === 0) return;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const at = interfaceOf(machine, slot);
      if (at >= 0) pool.reason[slot] = routeFrame(machine, slot, at);
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot } = machine;
    if (snapshot.routing.interfaceCount === 0) return 'there is no router';
    if (pool.reason[slot] === CONSUMED) return 'for the router itself, which answers what it knows';
    if (pool.reason[slot] === WAITING_FOR_HOP) return `waits: it is not known who is at ${ipWordsText(shownAddress())}`;
    if (pool.ingressMember[slot] !== ROUTED) return 'not addressed to a router';
    const translation = translationText(pool.protocol[slot]);
    return `routed into ${names.network(pool.network[slot])}, to ${ipWordsText(shownAddress())}${translation}`;
  },
};

/** Of the packet routed last, for explanations. */
function shownAddress(): Int32Array {
  const octets = new Uint8Array(16);
  for (const [index, word] of nextAddress.entries()) new DataView(octets.buffer).setInt32(index * 4, word);
  return ipWords(octets);
}

/** Returns the drop reason's number, CONSUMED, or 0 for what goes on. */
function routeFrame(machine: Machine, slot: number, from: number): number {
  const { pool } = machine;
  const kind = pool.packetKind[slot];
  // What it says was learned; a question was answered before.
  if (kind === PACKET_ARP) return CONSUMED;
  if (kind !== PACKET_IPV4 && kind !== PACKET_IPV6) return dropReasonNumber.not_routed;
  const problem = packetProblem(machine, slot, from);
  if (problem !== 0) return problem;
  if (kind === PACKET_IPV6 && isLinkLocal(pool.octets, pool.networkHeader[slot] + IPV6_DESTINATION))
    return isOwnLinkLocal(machine, slot, from) ? answerLocal(machine, slot, from) : dropReasonNumber.martian;
  const planned = planTranslation(machine, slot, from);
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
  return sendOn(machine, slot, from, hop);
}

/** Whether the packet is to the link-local address of the interface it came in by. */
function isOwnLinkLocal({ pool, snapshot }: Machine, slot: number, from: number): boolean {
  const at = pool.networkHeader[slot] + IPV6_DESTINATION;
  return isAddress6(pool.octets, at, snapshot.routing.interfaceLinkLocal, from * ADDRESS_WORDS);
}

/** The hop of the packet's destination: the one that this flow takes where several share it. */
function hopOf({ pool, snapshot }: Machine, slot: number, from: number): number {
  const { routing } = snapshot;
  const packet = pool.networkHeader[slot];
  const router = routing.interfaceRouter[from];
  const isIpv4 = pool.packetKind[slot] === PACKET_IPV4;
  // What is translated goes by the destination that it gets.
  const octets = natPlan.movesDestination ? natPlan.toOctets : pool.octets;
  const at = natPlan.movesDestination ? 0 : packet + (isIpv4 ? IPV4_DESTINATION : IPV6_DESTINATION);
  const hop = isIpv4
    ? longestPrefix4(routing.trees, routing.routerTree4[router], octets, at)
    : longestPrefix6(routing.trees, routing.routerTree6[router], octets, at);
  if (hop === NO_PREFIX || routing.hopKind[hop] !== HOP_SHARED) return hop;
  const hash = flowHash(pool.octets, pool.offset[slot], pool.ethertype[slot], packet, pool.packetEnd[slot]);
  return routing.hopInterface[hop] + (hash % routing.hopCount[hop]);
}

/** The next router's address, or the packet's own destination. */
function setNextAddress({ pool, snapshot }: Machine, slot: number, hop: number): void {
  const { routing } = snapshot;
  const packet = pool.networkHeader[slot];
  if (routing.hopKind[hop] === HOP_VIA)
    for (let word = 0; word < ADDRESS_WORDS; word++) nextAddress[word] = routing.hopAddress[hop * ADDRESS_WORDS + word];
  else if (natPlan.movesDestination)
    for (let word = 0; word < ADDRESS_WORDS; word++) nextAddress[word] = natPlan.to[word];
  else if (pool.packetKind[slot] === PACKET_IPV4)
    setIpv4(nextAddress, 0, read32(pool.octets, packet + IPV4_DESTINATION));
  else
    for (let word = 0; word < ADDRESS_WORDS; word++)
      nextAddress[word] = read32(pool.octets, packet + IPV6_DESTINATION + word * 4);
}

/** To the hop's station, if it is known. */
function sendOn(machine: Machine, slot: number, from: number, hop: number): number {
  const { routing } = machine.snapshot;
  const to = routing.hopInterface[hop];
  setNextAddress(machine, slot, hop);
  const found = findStation(machine, routing.interfaceNetwork[to]);
  if (found === KNOWN) return sendBy(machine, slot, from, to);
  if (found === STALE)
    return machine.pending.askAgain(machine, to, hop)
      ? sendBy(machine, slot, from, to)
      : divert(machine, slot, from, hop);
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
    const found = findStation(machine, routing.interfaceNetwork[to]);
    if (found === KNOWN || (found === STALE && machine.pending.askAgain(machine, to, other)))
      return sendBy(machine, slot, from, to);
    if (found === UNKNOWN) machine.pending.ask(machine, slot, to, other);
  }
  return sayHostUnreachable(machine, slot, from);
}

/** Out by an interface to the station that was found, if the packet fits. */
function sendBy(machine: Machine, slot: number, from: number, to: number): number {
  const { pool, neighbors } = machine;
  const { routing } = machine.snapshot;
  const network = routing.interfaceNetwork[to];
  const member = memberOf(machine, slot, network);
  if (member < 0 && !mayFlood(machine, slot)) return dropReasonNumber.storm;
  const mtu = mtuOf(machine, member, to);
  // What may be fragmented is cut behind the policy of the port that it leaves by (egress/fit.ts).
  if (packetSize(machine, slot) > mtu && !mayBeCut(pool, slot)) return sayTooBig(machine, slot, from, mtu);
  const refusal = leaveNetwork(machine, slot);
  if (refusal !== 0) return refusal;
  const untranslated = translate(machine, slot, from, to);
  if (untranslated !== 0) return untranslated;
  countDown(machine, slot);
  const frame = pool.offset[slot];
  writeMac(pool.octets, frame + ETHERNET_DESTINATION, neighbors.foundHigh, neighbors.foundLow);
  writeMac(pool.octets, frame + ETHERNET_SOURCE, routing.interfaceMacHigh[to], routing.interfaceMacLow[to]);
  enterNetwork(machine, slot, network);
  pool.destinationMember[slot] = member;
  return 0;
}

/** A station that is at an address but in no FDB is looked for by a flood, which the port it came in by has a rate for. */
function mayFlood({ pool, snapshot, storm, nowTick }: Machine, slot: number): boolean {
  const port = pool.ingressPort[slot];
  const rate = snapshot.portStormRate[port * 3 + STORM_UNKNOWN_UNICAST];
  return rate === 0 || storm.take(port * BUCKETS_PER_PORT + STORM_UNKNOWN_UNICAST, rate, nowTick);
}

/**
 * Of the way to the station that `memberOf` found behind this member (-1: unknown), perhaps by a tunnel. A port that is down
 * has no MTU, and is not the packet's fault.
 */
function mtuOf({ snapshot, tunnels, fdb }: Machine, member: number, to: number): number {
  const most = snapshot.routing.interfaceMtu[to];
  if (member < 0 || snapshot.memberMtu[member] === 0) return most;
  const mtu = Math.min(snapshot.memberMtu[member], most);
  return fdb.foundRemote === 0 ? mtu : tunnels.narrowed(fdb.foundRemote, mtu);
}

/** The member behind which the station found last is, -1: unknown; its FDB entry says by which tunnel. */
function memberOf(machine: Machine, slot: number, network: number): number {
  const { fdb, neighbors, pool, snapshot, nowSeconds } = machine;
  const age = snapshot.networkMacAge[network];
  const entry = fdb.find(network, neighbors.foundHigh, neighbors.foundLow, nowSeconds, age);
  pool.destinationEntry[slot] = entry;
  return entry < 0 ? -1 : memberInUse(snapshot, fdb.foundMember);
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
