/**
 * Tells stations where the addresses of routers are when they appear or change: gratuitous ARP (RFC 5227 section 3) and unsolicited
 * neighbour advertisements (RFC 4861 7.2.6). Who had the address before is forgotten by then, and switches on the way learn
 * the MAC. Three times, a second apart, since nobody acknowledges them.
 *
 * Addresses towards the outside are told the whole network. Those inside have the same MAC on every host of the network, so
 * they are told the stations of this host only; a switch between hosts would see the MAC move. Main thread.
 */

import { TO_NETWORK, TO_STATIONS } from '../pipeline/egress-batch.js';
import { OWN_LOCAL, OWN_ROUTER, type OwnAddress } from '../pipeline/own-addresses.js';
import { IPV4_SIZE, IPV6_SIZE, ipWordsText, parseIp } from '../wire/address.js';
import { ARP_REQUEST } from '../wire/arp.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV6, MAC_SIZE, writeMac } from '../wire/ethernet.js';
import { buildArp, buildEthernet, buildIp } from '../wire/frame-build.js';
import { ICMPV6_NEIGHBOR_ADVERTISEMENT } from '../wire/icmp.js';
import { PROTOCOL_ICMPV6 } from '../wire/ip-protocol.js';
import { ND_OVERRIDE, ND_ROUTER } from '../wire/nd.js';
import { routerAddresses } from './compile-routers.js';
import type { Indices } from './indices.js';
import type { ResolvedConfig } from './resolved.js';

/** How often each is told, a second apart (MAX_NEIGHBOR_ADVERTISEMENT of RFC 4861, ANNOUNCE_NUM of RFC 5227 and one more). */
const TIMES = 3;
/** Frames a second: what the ring to a worker has room for beside other things. */
const FRAMES_PER_TICK = 256;
const ND_HOP_LIMIT = 255;
/** Option "target link-layer address" (RFC 4861 4.6.1). */
const ND_OPTION_TARGET = 2;
const BROADCAST_MAC = new Uint8Array(MAC_SIZE).fill(0xff);
const ALL_NODES = Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);

export class Announcer {
  private readonly send: (frame: Uint8Array, network: number, destination: number) => void;
  /** What was there at the last configuration, by network, address and MAC. */
  private known = new Map<string, OwnAddress>();
  /** What is to be told, and how often still. */
  private readonly due = new Map<string, { readonly own: OwnAddress; left: number }>();

  constructor(send: (frame: Uint8Array, network: number, destination: number) => void) {
    this.send = send;
  }

  /** Every worker forwards by this configuration: what is new in it is told from now on. */
  follow(config: ResolvedConfig, indices: Indices): void {
    const names = new Map([...indices.networks].map(([name, index]) => [index, name]));
    const now = new Map(routerAddresses(config, indices).map((own) => [keyOf(own, names), own]));
    for (const key of this.due.keys()) if (!now.has(key)) this.due.delete(key);
    for (const [key, own] of now) if (!this.known.has(key)) this.due.set(key, { own, left: TIMES });
    this.known = now;
    this.tick();
  }

  /** About once a second. */
  tick(): void {
    for (const [key, entry] of [...this.due].slice(0, FRAMES_PER_TICK)) {
      // To the end of the queue, so that each has its turn.
      this.due.delete(key);
      if (--entry.left > 0) this.due.set(key, entry);
      const { own } = entry;
      this.send(announcement(own), own.network, (own.flags & OWN_LOCAL) === 0 ? TO_NETWORK : TO_STATIONS);
    }
  }
}

function keyOf(own: OwnAddress, names: ReadonlyMap<number, string>): string {
  return `${names.get(own.network)} ${Array.from(own.address).join(' ')} ${own.macHigh} ${own.macLow} ${own.flags}`;
}

/** The frame that tells of the address. */
function announcement({ address, macHigh, macLow, flags }: OwnAddress): Uint8Array {
  const mac = new Uint8Array(MAC_SIZE);
  writeMac(mac, 0, macHigh, macLow);
  const octets = parseIp(ipWordsText(Int32Array.from(address))) ?? new Uint8Array(IPV6_SIZE);
  if (octets.length === IPV4_SIZE) {
    const fields = { senderMac: mac, senderIp: octets, targetMac: new Uint8Array(MAC_SIZE), targetIp: octets };
    const message = buildArp({ operation: ARP_REQUEST, ...fields });
    return buildEthernet({ destination: BROADCAST_MAC, source: mac, tags: [] }, ETHERTYPE_ARP, message);
  }
  const isRouter = (flags & OWN_ROUTER) !== 0;
  const ndFlags = (isRouter ? ND_ROUTER : 0) | ND_OVERRIDE;
  const head = [ICMPV6_NEIGHBOR_ADVERTISEMENT, 0, 0, 0, ndFlags, 0, 0, 0];
  const message = Uint8Array.of(...head, ...octets, ND_OPTION_TARGET, 1, ...mac);
  const packet = { source: octets, destination: ALL_NODES, protocol: PROTOCOL_ICMPV6, ttl: ND_HOP_LIMIT };
  const link = { destination: ALL_NODES_MAC, source: mac, tags: [] };
  return buildEthernet(link, ETHERTYPE_IPV6, buildIp(packet, message));
}
