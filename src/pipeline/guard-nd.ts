/**
 * Neighbour and router solicitations and neighbour advertisements of guarded ports: what they tell others of addresses and
 * MACs must be the port's own. @hot
 *
 * Judged is what a host would take (RFC 4861 6.1.1, 7.1.1, 7.1.2): hop limit 255, code 0, whole, every option with a length
 * that ends inside the message; the rest is dropped as not parsed, because what one host throws away another may not.
 * Fragments never (RFC 6980). The checksum is not looked at: what is own may be wrong. Link-layer options of either kind
 * are read in every message: each must be a pair of the port's with the address it is told for, which is the target of an
 * advertisement, else the source. Where no option tells, the frame's own source is the MAC.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { ND_MESSAGE_SIZE_MAX } from '../limits.js';
import { macHighAt, macLowAt } from '../wire/ethernet.js';
import {
  ICMP_CODE,
  ICMP_HEADER_SIZE,
  ICMP_TYPE,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_ROUTER_SOLICITATION,
  ND_MESSAGE_SIZE_MIN,
  ND_TARGET,
} from '../wire/icmp.js';
import { IPV6_HOP_LIMIT, IPV6_SOURCE } from '../wire/ipv6.js';
import { isUnspecified, ND_HOP_LIMIT, OPTION_UNIT, SOURCE_LINK_LAYER, TARGET_LINK_LAYER } from '../wire/nd.js';
import { FRAGMENT_NONE } from '../wire/packet.js';
import { findIpv6, isPair6 } from './guard-table.js';
import type { Machine } from './machine.js';

/** What the options of a message say besides a drop reason: nothing of MACs, or own MACs only. */
const TELLS_NOTHING = 0;
const TELLS_OWN = -1;

/**
 * Judges one of the three messages, whose packet's source is the station's own, or :: of a neighbour solicitation. Returns the
 * drop reason's number, 0 for none.
 */
export function judgeNd(machine: Machine, slot: number, station: number): number {
  const { pool, snapshot } = machine;
  const { octets } = pool;
  const packet = pool.networkHeader[slot];
  const message = pool.transport[slot];
  const end = pool.packetEnd[slot];
  const type = octets[message + ICMP_TYPE];
  const size = type === ICMPV6_ROUTER_SOLICITATION ? ICMP_HEADER_SIZE : ND_MESSAGE_SIZE_MIN;
  const isWhole = message + size <= end && end - message <= ND_MESSAGE_SIZE_MAX;
  if (!isWhole || pool.fragment[slot] !== FRAGMENT_NONE) return dropReasonNumber.not_parsed;
  if (octets[packet + IPV6_HOP_LIMIT] !== ND_HOP_LIMIT || octets[message + ICMP_CODE] !== 0)
    return dropReasonNumber.not_parsed;
  const isDuplicateDetection = isUnspecified(octets, packet + IPV6_SOURCE);
  const isOfTarget = isDuplicateDetection || type === ICMPV6_NEIGHBOR_ADVERTISEMENT;
  if (type !== ICMPV6_ROUTER_SOLICITATION && octets[message + ND_TARGET] === 0xff) return dropReasonNumber.not_parsed;
  const about = isOfTarget ? message + ND_TARGET : packet + IPV6_SOURCE;
  const told = judgeOptions(machine, slot, message + size, about);
  if (told > 0) return told;
  // Who has no address yet tells no MAC (RFC 4861 7.1.1).
  if (told === TELLS_OWN) return isDuplicateDetection ? dropReasonNumber.not_parsed : 0;
  return findIpv6(snapshot.guard, station, octets, about) >= 0 ? 0 : dropReasonNumber.spoof_nd;
}

/** Walks the options from `start`. A drop reason's number, or what they tell of the address at `about`. */
function judgeOptions({ pool, snapshot }: Machine, slot: number, start: number, about: number): number {
  const { octets } = pool;
  const end = pool.packetEnd[slot];
  const port = pool.ingressPort[slot];
  let told = TELLS_NOTHING;
  for (let at = start; at < end; ) {
    if (at + 2 > end) return dropReasonNumber.not_parsed;
    const size = octets[at + 1] * OPTION_UNIT;
    if (size === 0 || at + size > end) return dropReasonNumber.not_parsed;
    if (octets[at] === SOURCE_LINK_LAYER || octets[at] === TARGET_LINK_LAYER) {
      // A longer one is no Ethernet address.
      if (size !== OPTION_UNIT) return dropReasonNumber.not_parsed;
      const high = macHighAt(octets, at + 2);
      if (!isPair6(snapshot.guard, port, high, macLowAt(octets, at + 2), octets, about))
        return dropReasonNumber.spoof_nd;
      told = TELLS_OWN;
    }
    at += size;
  }
  return told;
}
