/**
 * ARP and ND suppression (the idea of RFC 9161): in networks that ask for it, the switch remembers which MAC stations say
 * their addresses are at, and answers who asks for one of them, so that the question is not flooded to every host. @hot
 *
 * Learned is what a station says of itself in a frame that was accepted: the sender of an ARP message, the target of an
 * advertisement that overrides (one that doesn't is a proxy's, or of an anycast address), the source of a solicitation;
 * always a MAC that is the frame's own source. Answered is a question to a group address from a local station, for an
 * address whose MAC the FDB knows right now behind another member: a dead host is not vouched for. Everything else goes on
 * as usual: what asks for its own address or has none yet (RFC 5227, RFC 4862 5.4: duplicates must be found), questions to
 * one station (is it alive?), what came through a tunnel (the asker's own switch had no answer; here the station itself
 * gives it), and what would be over the port's rate.
 *
 * Frames with a tag of their own (of 802.1ad tunnel ports) are passed by: their addresses are of another network than ours.
 */
import type { Batch } from '../../dataplane/batch.js';
import { NEIGHBORS_LEARNED_PER_SECOND, NEIGHBORS_PER_UNDERLAY } from '../../limits.js';
import { macWordsText } from '../../wire/address.js';
import {
  ARP_OPERATION,
  ARP_REPLY,
  ARP_REPLY_FRAME_SIZE,
  ARP_REQUEST,
  ARP_SENDER_IP,
  ARP_SENDER_MAC,
  ARP_TARGET_IP,
  isArp,
  writeArpReply,
} from '../../wire/arp.js';
import {
  ETHERNET_HEADER_SIZE,
  ETHERNET_SOURCE,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV6,
  isGroupAt,
  macHighAt,
  macLowAt,
} from '../../wire/ethernet.js';
import { isHostIpv4 } from '../../wire/ipv4.js';
import { IPV6_SOURCE, isHostIpv6, MAPPED_WORD } from '../../wire/ipv6.js';
import {
  isSameIpv6,
  ND_OVERRIDE,
  ND_ROUTER,
  NEIGHBOR_ADVERTISEMENT_FRAME_SIZE,
  NeighborMessage,
  writeNeighborAdvertisement,
} from '../../wire/nd.js';
import { read16, read32, swap32, wordAt } from '../../wire/octets.js';
import { CONSUMED, type Machine } from '../machine.js';
import { NEIGHBOR_ROUTER, NEIGHBOR_TOLD } from '../neighbor-table.js';
import { openReply, sendReply } from '../reply.js';
import {
  facesStations,
  NETWORK_LEARNS_NEIGHBORS,
  NETWORK_SUPPRESSES_ARP,
  PORT_CLOSED,
  PORT_ISOLATED,
  PORT_UNDERLAY,
} from '../snapshot.js';
import type { Names, Stage } from '../stage.js';
import { BUCKET_ARP, BUCKET_NEIGHBORS, BUCKETS_PER_PORT } from '../token-bucket.js';
import { memberInUse } from './lookup.js';

/** One worker is one thread, and no message is read while another is. */
const message = new NeighborMessage();

export const responders: Stage = {
  name: 'responders',

  run(machine: Machine, batch: Batch): void {
    const { pool, snapshot } = machine;
    const isNeeded = snapshot.suppressingNetworks + snapshot.servingNetworks + snapshot.routing.interfaceCount;
    if (isNeeded === 0) return;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      const type = pool.ethertype[slot];
      if ((type !== ETHERTYPE_ARP && type !== ETHERTYPE_IPV6) || pool.reason[slot] !== 0) continue;
      if ((snapshot.networkFlags[pool.network[slot]] & NETWORK_LEARNS_NEIGHBORS) === 0) continue;
      if (pool.networkHeader[slot] - pool.offset[slot] !== ETHERNET_HEADER_SIZE) continue;
      if (type === ETHERTYPE_ARP) takeArp(machine, slot);
      else takeNd(machine, slot);
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot, neighbors } = machine;
    const network = pool.network[slot];
    if ((snapshot.networkFlags[network] & NETWORK_SUPPRESSES_ARP) === 0)
      return `${names.network(network)} has no ARP and ND suppression`;
    if (pool.reason[slot] !== CONSUMED) return 'not a question that the switch has an answer to';
    return `answered: the address is at ${macWordsText(neighbors.foundHigh, neighbors.foundLow)}`;
  },
};

function takeArp(machine: Machine, slot: number): void {
  const { pool } = machine;
  const { octets } = pool;
  const arp = pool.networkHeader[slot];
  if (!isArp(octets, arp, pool.offset[slot] + pool.length[slot])) return;
  const operation = read16(octets, arp + ARP_OPERATION);
  if (operation !== ARP_REQUEST && operation !== ARP_REPLY) return;
  if (!isOwnMac(machine, slot, arp + ARP_SENDER_MAC) || !isHostIpv4(octets, arp + ARP_SENDER_IP)) return;
  const sender = read32(octets, arp + ARP_SENDER_IP);
  machine.neighbors.select(pool.network[slot], 0, 0, MAPPED_WORD, swap32(sender));
  learn(machine, slot, 0);
  if (operation === ARP_REPLY || read32(octets, arp + ARP_TARGET_IP) === sender) return;
  if (mayAnswer(machine, slot)) answerArp(machine, slot, arp);
}

function takeNd(machine: Machine, slot: number): void {
  const { pool } = machine;
  const { octets } = pool;
  const network = pool.networkHeader[slot];
  // A checksum that is still to be completed can't be verified; no host leaves that of so short a message to a device.
  if (pool.checksumStart[slot] !== 0) return;
  if (!message.read(octets, network, pool.offset[slot] + pool.length[slot])) return;
  // Without its MAC a station says nothing that could be learned, nor could be answered.
  if (message.mac === 0 || !isOwnMac(machine, slot, message.mac)) return;
  if (!message.isSolicitation) {
    if ((message.flags & ND_OVERRIDE) === 0 || !selectIpv6(machine, slot, message.target)) return;
    learn(machine, slot, (message.flags & ND_ROUTER) === 0 ? NEIGHBOR_TOLD : NEIGHBOR_TOLD | NEIGHBOR_ROUTER);
    return;
  }
  if (!selectIpv6(machine, slot, network + IPV6_SOURCE)) return;
  learn(machine, slot, 0);
  if (isSameIpv6(octets, network + IPV6_SOURCE, message.target)) return;
  if (mayAnswer(machine, slot)) answerNd(machine, slot, network);
}

/** Whether the MAC at `position` is the frame's own source, which is neither a group's nor zero (stages/parse.ts). */
function isOwnMac({ pool }: Machine, slot: number, position: number): boolean {
  const source = pool.offset[slot] + ETHERNET_SOURCE;
  const { octets } = pool;
  return (
    macHighAt(octets, position) === macHighAt(octets, source) && macLowAt(octets, position) === macLowAt(octets, source)
  );
}

/** Selects the address at `position`, if it can be a host's. A mapped one would be taken for what ARP says of IPv4. */
function selectIpv6(machine: Machine, slot: number, position: number): boolean {
  const { octets } = machine.pool;
  const word0 = wordAt(octets, position);
  const word1 = wordAt(octets, position + 4);
  const word2 = wordAt(octets, position + 8);
  if (!isHostIpv6(octets, position) || ((word0 | word1) === 0 && word2 === MAPPED_WORD)) return false;
  machine.neighbors.select(machine.pool.network[slot], word0, word1, word2, wordAt(octets, position + 12));
  return true;
}

/** The frame's source says that the selected address is its own. */
function learn(machine: Machine, slot: number, flags: number): void {
  const { pool, snapshot, neighbors } = machine;
  const source = pool.offset[slot] + ETHERNET_SOURCE;
  const high = macHighAt(pool.octets, source);
  const low = macLowAt(pool.octets, source);
  const port = pool.ingressPort[slot];
  const now = machine.nowSeconds;
  const ages = snapshot.networkMacAge;
  if (neighbors.isKnown(high, low, flags, port, now, ages[pool.network[slot]])) return;
  const bucket = port * BUCKETS_PER_PORT + BUCKET_NEIGHBORS;
  if (!machine.storm.take(bucket, NEIGHBORS_LEARNED_PER_SECOND, machine.nowTick)) return;
  neighbors.claim(high, low, flags, port, quotaOf(machine, port), now, ages);
}

/** Behind an underlay or an uplink are many hosts. */
function quotaOf({ snapshot, neighbors }: Machine, port: number): number {
  const { neighborsPerPort } = snapshot;
  if (facesStations(snapshot, port)) return neighborsPerPort;
  return Math.max(neighborsPerPort, Math.min(NEIGHBORS_PER_UNDERLAY, neighbors.capacity >> 1));
}

/** Whether the question is one to everybody, from a local station. */
function mayAnswer({ pool, snapshot }: Machine, slot: number): boolean {
  if ((snapshot.networkFlags[pool.network[slot]] & NETWORK_SUPPRESSES_ARP) === 0) return false;
  return isGroupAt(pool.octets, pool.offset[slot]) && snapshot.portMode[pool.ingressPort[slot]] !== PORT_UNDERLAY;
}

function answerArp(machine: Machine, slot: number, request: number): void {
  const { pool, neighbors } = machine;
  const target = request + ARP_TARGET_IP;
  if (!isHostIpv4(pool.octets, target)) return;
  neighbors.select(pool.network[slot], 0, 0, MAPPED_WORD, wordAt(pool.octets, target));
  if (!isBehindAnother(machine, slot)) return;
  const reply = openAnswer(machine, slot);
  if (reply < 0) return;
  writeArpReply(pool.octets, request, pool.frameStart(reply), neighbors.foundHigh, neighbors.foundLow);
  sendAnswer(machine, slot, reply, ARP_REPLY_FRAME_SIZE);
}

function answerNd(machine: Machine, slot: number, network: number): void {
  const { pool, neighbors } = machine;
  if (!selectIpv6(machine, slot, message.target) || !isBehindAnother(machine, slot)) return;
  const { foundHigh, foundLow, foundFlags } = neighbors;
  // Whether it is a router must be in the answer, and only an advertisement of its own says that.
  if ((foundFlags & NEIGHBOR_TOLD) === 0) return;
  const reply = openAnswer(machine, slot);
  if (reply < 0) return;
  const isRouter = (foundFlags & NEIGHBOR_ROUTER) !== 0;
  const to = pool.frameStart(reply);
  writeNeighborAdvertisement(pool.octets, pool.offset[slot], network, to, foundHigh, foundLow, isRouter);
  sendAnswer(machine, slot, reply, NEIGHBOR_ADVERTISEMENT_FRAME_SIZE);
}

/** Whether the selected address is at a MAC that the asker could reach now behind another member than its own. */
function isBehindAnother(machine: Machine, slot: number): boolean {
  const { pool, snapshot, neighbors, fdb } = machine;
  const network = pool.network[slot];
  const now = machine.nowSeconds;
  const age = snapshot.networkMacAge[network];
  if (!neighbors.find(now, age) || fdb.find(network, neighbors.foundHigh, neighbors.foundLow, now, age) < 0)
    return false;
  const member = memberInUse(snapshot, fdb.foundMember);
  if (member < 0 || member === pool.ingressMember[slot]) return false;
  const port = snapshot.memberPort[member];
  const mode = snapshot.portMode[port];
  if (mode === PORT_CLOSED || machine.loops.isBlockedNow(port)) return false;
  // Behind a remote that BFD says is dead, or that is none.
  if (mode === PORT_UNDERLAY && (fdb.foundRemote === 0 || machine.tunnels.isDown(fdb.foundRemote))) return false;
  return (snapshot.portFlags[port] & snapshot.portFlags[pool.ingressPort[slot]] & PORT_ISOLATED) === 0;
}

/** A slot for an answer to the frame; -1 when none may be given or there is none: the question is flooded then. */
function openAnswer(machine: Machine, slot: number): number {
  return openReply(machine, slot, BUCKET_ARP, machine.snapshot.arpReplyRate);
}

/** Sends the answer back to where the question came from, which ends here. */
function sendAnswer(machine: Machine, slot: number, reply: number, size: number): void {
  sendReply(machine, slot, reply, size);
  machine.pool.reason[slot] = CONSUMED;
}
