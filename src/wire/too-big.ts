/**
 * Tells the sender of a packet that doesn't fit what would: ICMP "fragmentation needed" (RFC 792, RFC 1191) and ICMPv6
 * "packet too big" (RFC 4443 3.2). A bridge has no address to send it from, so the answer bears the packet's destination as
 * its source, as Linux's bridges answer for tunnels behind them (skb_tunnel_check_pmtu). @hot
 *
 * An IPv4 packet that may be fragmented (DF clear) is answered, too: a bridge can't cut it, and its sender, once told, does.
 */
import type { Kernels } from '../kernels/kernels.js';
import { ETHERTYPE_IPV6 } from './ethernet.js';
import { ICMP_UNREACHABLE, ICMPV6_PACKET_TOO_BIG } from './icmp.js';
import { icmpError, writeIcmpError } from './icmp-error.js';
import { IPV6_MTU_MIN } from './ipv6.js';

const FRAGMENTATION_NEEDED = 4;

/**
 * Writes the answer at `to`, as writeIcmpError does. The MTU is 32 bits in ICMPv6, which knows none
 * below 1280; 16 in ICMP, behind 16 that are zero (RFC 1191 section 4). Returns its octets, 0 where none may be given.
 */
export function writeTooBig(
  octets: Uint8Array,
  frame: number,
  ethertype: number,
  network: number,
  end: number,
  to: number,
  mtu: number,
  kernels: Kernels,
): number {
  if (ethertype === ETHERTYPE_IPV6 && mtu < IPV6_MTU_MIN) return 0;
  icmpError.type4 = ICMP_UNREACHABLE;
  icmpError.code4 = FRAGMENTATION_NEEDED;
  icmpError.type6 = ICMPV6_PACKET_TOO_BIG;
  icmpError.code6 = 0;
  icmpError.word = mtu;
  icmpError.sourceAt = -1;
  return writeIcmpError(octets, frame, ethertype, network, end, to, kernels);
}
