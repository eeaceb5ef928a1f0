/** What the guard found, for `weft trace`: the pair that let a frame pass, or who it claimed to be. Not hot; main thread. */
import { type DropReason, dropReasons } from '../dataplane/drop-reason.js';
import { ipText, macWordsText } from '../wire/address.js';
import { ARP_SENDER_IP, ARP_SENDER_MAC } from '../wire/arp.js';
import { ETHERNET_SOURCE, macHighAt, macLowAt } from '../wire/ethernet.js';
import { IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import { read32 } from '../wire/octets.js';
import { PACKET_ARP, PACKET_IPV4, PACKET_IPV6, PACKET_OTHER } from '../wire/packet.js';
import {
  findIpv4,
  findIpv6,
  findStation,
  GUARD_ORIGIN_ADDRESS,
  GUARD_ORIGIN_BITS,
  GUARD_ORIGIN_LINK_LOCAL,
  GUARD_ORIGIN_PAIR,
  STATION_HIGH,
  STATION_LOW,
  STATION_WORDS,
} from './guard-table.js';
import type { Machine } from './machine.js';
import { POLICY_GUARD } from './snapshot.js';
import type { Names } from './stage.js';

/** Who a frame says it is from: a MAC, and an address where it has one. */
interface Sender {
  readonly high: number;
  readonly low: number;
  readonly address?: Uint8Array;
}

/** For a frame that passed. */
export function allowedText(machine: Machine, slot: number, names: Names): string {
  const sender = senderOf(machine, slot);
  const mac = macWordsText(sender.high, sender.low);
  if (sender.address === undefined) return `${mac} is the port's own, and may send this`;
  const origin = originOf(machine, slot, sender);
  const port = names.port(machine.pool.ingressPort[slot]);
  const pair = `${ipText(sender.address)} with ${mac}`;
  return origin < 0 ? `${pair}: a host that has no address yet` : `${pair} is own: ${originText(port, origin)}`;
}

/** For a frame that was dropped; the reason has been said. */
export function deniedText(machine: Machine, slot: number, names: Names): string {
  const { pool } = machine;
  const sender = senderOf(machine, slot);
  const port = names.port(pool.ingressPort[slot]);
  const mac = macWordsText(sender.high, sender.low);
  const reason: DropReason = dropReasons[pool.reason[slot]];
  if (reason === 'spoof_mac') return `${mac} is none of ${port}'s: ${ownMacs(machine, slot)}.`;
  if (reason === 'ethertype_not_allowed' || reason === 'llc_snap')
    return `Its ethertype is 0x${pool.ethertype[slot].toString(16).padStart(4, '0')}.`;
  if (sender.address === undefined) return `It came from ${mac}.`;
  const pair = `${ipText(sender.address)} with ${mac}`;
  const origin = originOf(machine, slot, sender);
  return origin < 0 ? `${pair} is no pair of ${port}'s.` : `Its sender, ${pair}, is own: ${originText(port, origin)}.`;
}

/** What decided: the pair that let the frame pass, or that the port is guarded. */
export function guardRule(machine: Machine, slot: number, names: Names): string | undefined {
  const { pool } = machine;
  if ((pool.policy[slot] & POLICY_GUARD) === 0) return undefined;
  const port = names.port(pool.ingressPort[slot]);
  if (pool.reason[slot] !== 0) return `ports.${port}.antiSpoof`;
  if (pool.packetKind[slot] === PACKET_OTHER) return `ports.${port}.allowEthertypes`;
  const sender = senderOf(machine, slot);
  const origin = sender.address === undefined ? -1 : originOf(machine, slot, sender);
  return origin < 0 || kindOf(origin) === GUARD_ORIGIN_LINK_LOCAL ? undefined : originText(port, origin);
}

function senderOf({ pool }: Machine, slot: number): Sender {
  const { octets } = pool;
  const frame = pool.offset[slot] + ETHERNET_SOURCE;
  const packet = pool.networkHeader[slot];
  const kind = pool.packetKind[slot];
  const isArp = kind === PACKET_ARP && pool.packetFault[slot] === 0;
  const at = isArp ? packet + ARP_SENDER_MAC : frame;
  const mac = { high: macHighAt(octets, at), low: macLowAt(octets, at) };
  if (isArp) return { ...mac, address: octets.slice(packet + ARP_SENDER_IP, packet + ARP_SENDER_IP + 4) };
  if (pool.packetFault[slot] !== 0) return mac;
  if (kind === PACKET_IPV4) return { ...mac, address: octets.slice(packet + IPV4_SOURCE, packet + IPV4_SOURCE + 4) };
  if (kind === PACKET_IPV6) return { ...mac, address: octets.slice(packet + IPV6_SOURCE, packet + IPV6_SOURCE + 16) };
  return mac;
}

function originOf({ pool, snapshot }: Machine, slot: number, { high, low, address }: Sender): number {
  const station = findStation(snapshot.guard, pool.ingressPort[slot], high, low);
  if (station < 0 || address === undefined) return -1;
  return address.length === 4
    ? findIpv4(snapshot.guard, station, read32(address, 0))
    : findIpv6(snapshot.guard, station, address, 0);
}

function kindOf(origin: number): number {
  return origin & ((1 << GUARD_ORIGIN_BITS) - 1);
}

/** As a path of the configuration: entries of lists are counted from 1. */
function originText(port: string, origin: number): string {
  const entry = (origin >> GUARD_ORIGIN_BITS) + 1;
  const kind = kindOf(origin);
  if (kind === GUARD_ORIGIN_ADDRESS) return `ports.${port}.addresses[${entry}]`;
  return kind === GUARD_ORIGIN_PAIR
    ? `ports.${port}.allowedPairs[${entry}]`
    : "the link-local address of the port's MAC";
}

function ownMacs({ pool, snapshot }: Machine, slot: number): string {
  const { guard } = snapshot;
  const start = guard.portStations[pool.ingressPort[slot]];
  const texts: string[] = [];
  for (let station = start; station < start + guard.portStationCount[pool.ingressPort[slot]]; station++) {
    const at = station * STATION_WORDS;
    texts.push(macWordsText(guard.stations[at + STATION_HIGH], guard.stations[at + STATION_LOW]));
  }
  return texts.length === 1 ? `it has ${texts[0]}` : `it has ${texts.join(', ')}`;
}
