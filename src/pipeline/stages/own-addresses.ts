/**
 * Answers ARP requests and neighbour solicitations for the switch's own addresses (own-addresses.ts): of routers, of the
 * address service. Asked by everybody or by one station (is it alive?), it answers alike; who announces such an address as
 * his own gets no answer, and learns nothing. Where the port's rate of answers (limits.arp) is used up, the question ends
 * without one. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { macWordsText } from '../../wire/address.js';
import {
  ARP_OPERATION,
  ARP_REPLY_FRAME_SIZE,
  ARP_REQUEST,
  ARP_TARGET_IP,
  isArp,
  writeArpReply,
} from '../../wire/arp.js';
import { ETHERNET_HEADER_SIZE, ETHERTYPE_ARP, ETHERTYPE_IPV6 } from '../../wire/ethernet.js';
import { IPV6_SOURCE } from '../../wire/ipv6.js';
import {
  isUnspecified,
  NEIGHBOR_ADVERTISEMENT_FRAME_SIZE,
  NeighborMessage,
  writeNeighborAdvertisement,
  writeUnsolicitedAdvertisement,
} from '../../wire/nd.js';
import { read16 } from '../../wire/octets.js';
import { CONSUMED, type Machine } from '../machine.js';
import {
  findOwnAddress4,
  findOwnAddress6,
  OWN_LOCAL,
  OWN_ROUTER,
  ownFlags,
  ownMacHigh,
  ownMacLow,
} from '../own-addresses.js';
import { openReply, sendReply } from '../reply.js';
import { facesStations } from '../snapshot.js';
import type { Stage } from '../stage.js';
import { BUCKET_ARP } from '../token-bucket.js';

/** One worker is one thread, and no message is read while another is. */
const message = new NeighborMessage();
/** Row that was answered from last; for explanations. */
let answered = -1;

export const ownAddresses: Stage = {
  name: 'own-addresses',

  run(machine: Machine, batch: Batch): void {
    const { pool, snapshot } = machine;
    answered = -1;
    if (snapshot.ownAddresses.length === 0) return;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      const type = pool.ethertype[slot];
      if ((type !== ETHERTYPE_ARP && type !== ETHERTYPE_IPV6) || pool.reason[slot] !== 0) continue;
      // Frames with a tag of their own (of 802.1ad tunnel ports) are of another network than ours.
      if (pool.networkHeader[slot] - pool.offset[slot] !== ETHERNET_HEADER_SIZE) continue;
      if (type === ETHERTYPE_ARP) takeArp(machine, slot);
      else takeNd(machine, slot);
    }
  },

  explain(machine: Machine, slot: number): string {
    const { pool, snapshot } = machine;
    if (snapshot.ownAddresses.length === 0) return 'the switch has no addresses of its own';
    if (pool.reason[slot] !== CONSUMED || answered < 0) return 'not a question for an address of the switch';
    const table = snapshot.ownAddresses;
    return `answered: the address is the switch's own, at ${macWordsText(ownMacHigh(table, answered), ownMacLow(table, answered))}`;
  },
};

function takeArp(machine: Machine, slot: number): void {
  const { pool, snapshot } = machine;
  const { octets } = pool;
  const arp = pool.networkHeader[slot];
  if (!isArp(octets, arp, pool.offset[slot] + pool.length[slot])) return;
  if (read16(octets, arp + ARP_OPERATION) !== ARP_REQUEST) return;
  const row = findOwnAddress4(snapshot.ownAddresses, pool.network[slot], octets, arp + ARP_TARGET_IP);
  if (row < 0 || !isAsked(machine, slot, row)) return;
  const reply = openAnswer(machine, slot);
  if (reply < 0) return;
  const table = snapshot.ownAddresses;
  writeArpReply(octets, arp, pool.frameStart(reply), ownMacHigh(table, row), ownMacLow(table, row));
  sendAnswer(machine, slot, reply, ARP_REPLY_FRAME_SIZE, row);
}

function takeNd(machine: Machine, slot: number): void {
  const { pool, snapshot } = machine;
  const { octets } = pool;
  const network = pool.networkHeader[slot];
  if (pool.checksumStart[slot] !== 0) return;
  if (!message.read(octets, network, pool.offset[slot] + pool.length[slot]) || !message.isSolicitation) return;
  const table = snapshot.ownAddresses;
  const row = findOwnAddress6(table, pool.network[slot], octets, message.target);
  if (row < 0 || !isAsked(machine, slot, row)) return;
  const reply = openAnswer(machine, slot);
  if (reply < 0) return;
  const to = pool.frameStart(reply);
  const isRouter = (ownFlags(table, row) & OWN_ROUTER) !== 0;
  // Who looks for duplicates of the address he wants has none that could be answered: everybody is told (RFC 4861 7.2.4).
  const write = isUnspecified(octets, network + IPV6_SOURCE)
    ? writeUnsolicitedAdvertisement
    : writeNeighborAdvertisement;
  write(octets, pool.offset[slot], network, to, ownMacHigh(table, row), ownMacLow(table, row), isRouter);
  sendAnswer(machine, slot, reply, NEIGHBOR_ADVERTISEMENT_FRAME_SIZE, row);
}

/** Whether the row answers who is behind the frame's port. */
function isAsked({ pool, snapshot }: Machine, slot: number, row: number): boolean {
  return (ownFlags(snapshot.ownAddresses, row) & OWN_LOCAL) === 0 || facesStations(snapshot, pool.ingressPort[slot]);
}

/** A slot for the answer; -1: none may be given now, and the frame was ended: nobody else has an answer. */
function openAnswer(machine: Machine, slot: number): number {
  const reply = openReply(machine, slot, BUCKET_ARP, machine.snapshot.arpReplyRate);
  if (reply < 0) machine.pool.reason[slot] = dropReasonNumber.rate_limited;
  return reply;
}

/** Sends the answer back to where the question came from, which ends here. */
function sendAnswer(machine: Machine, slot: number, reply: number, size: number, row: number): void {
  sendReply(machine, slot, reply, size);
  machine.pool.reason[slot] = CONSUMED;
  answered = row;
}
