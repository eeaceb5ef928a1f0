/**
 * The one table of drop reasons: a name, one sentence for a person. A reason's number is its place in the table,
 * valid inside one running version only; names are what leaves the process. Adding a reason: one row here, the line
 * that sets it, one test that provokes it.
 */
const table = {
  none: 'Not dropped.',
  runt: 'The frame is shorter than an Ethernet header, or its tag is cut off.',
  bad_vnet_header: 'The virtio-net header contradicts the frame it came with.',
  too_long: 'The frame is longer than a slot can hold.',
  vlan_not_allowed: 'The frame carries a VLAN that this port does not carry.',
  bad_vlan_tag: 'The VLAN tag is malformed: VID 4095 is reserved.',
  group_source: 'The source address is a group address.',
  zero_source: 'The source address is all zeros.',
  reserved_group: 'The destination is a reserved group address that bridges do not forward.',
  control_frame:
    'A control protocol (STP, LACP, LLDP, CFM, pause; BFD on watched tunnels) that this port does not let through.',
  hairpin: 'The destination is known to be behind the port the frame came from.',
  isolated: 'Both ports are isolated; isolated ports do not talk to each other.',
  storm: 'The port sent more broadcast, multicast or unknown-unicast frames than its storm limit.',
  mac_limit: 'The guarded port has used up its limit of source addresses.',
  loop: 'The port is blocked because stations kept moving between it and another port: there is a loop.',
  no_port: 'No other port is in this network, so nobody could receive the frame.',
  port_down: 'The port the frame should leave by is down.',
  mtu_exceeded: "The frame is longer than the outgoing port's MTU allows.",
  tx_full: 'The device took no more frames: its queue was full.',
  tunnel_unknown_source: 'The datagram came from an address that is no remote and not in allowFrom.',
  tunnel_unknown_id: 'No network of this underlay has the VNI or key that the datagram names.',
  tunnel_bad_header: 'The tunnel header is cut off, of another version, or not for Ethernet frames.',
  tunnel_option: 'The tunnel header has an option that must be understood and is not.',
  tunnel_checksum: 'The tunnel header says a checksum that is wrong.',
  tunnel_ecn: 'The outer header says congestion, but the inner packet is not capable of saying so (RFC 6040).',
  tunnel_inner_vlan: 'The frame in the tunnel has a VLAN tag, which this network does not carry.',
  tunnel_nested:
    "The frame is a datagram of the underlay's own tunnels: its route leads through a tunnel, or a machine forged it.",
  tunnel_down:
    'There is no way to the remote: no route, no local address, the underlay is down, or BFD says the remote is.',
  not_parsed: 'The guarded port sent what cannot be parsed to its end, so nobody can tell whether it is allowed.',
  spoof_mac: "The source MAC address is none of the guarded port's.",
  spoof_ip: 'The guarded port may not send from this IP address with this MAC address.',
  spoof_arp: "The sender in the ARP message is not the guarded port's own.",
  spoof_nd: 'The neighbour discovery message tells an address or a MAC address that is not of the guarded port.',
  spoof_dhcp: 'The DHCP message speaks for another client than the guarded port.',
  ethertype_not_allowed:
    'The guarded port may send ARP, IPv4, IPv6 and what allowEthertypes lists, with one tag at most.',
  llc_snap: 'The guarded port sent an IEEE 802.3 frame with an LLC header, behind which anything can be hidden.',
  dhcp_server: "The machine sent a DHCP or DHCPv6 server's message.",
  router_advertisement: "The machine sent a router's word: a router advertisement or a redirect.",
  bad_ip_header: 'The IP header, or the chain of extension headers behind it, is cut off or contradicts itself.',
  bad_tcp_header: 'The TCP header is cut off or contradicts its packet, or a fragment would write over it.',
  bad_udp_header: 'The UDP header is cut off, or its length is not that of the datagram.',
  bad_icmp: 'The ICMP message is cut off, or of the other IP version.',
  fragment_timeout: "The datagram's first fragment, by whose ports the later ones are judged, did not come in time.",
  fragment_overlap: 'The fragment overlaps or contradicts others of its datagram, or its datagram has one that does.',
  fragment_limit: 'Too many fragmented datagrams, fragments of one, or fragments that wait for their first.',
  group_deny: 'No rule of the security groups of the port allows the frame.',
  conntrack_invalid: 'The frame belongs to no connection that is known, and can begin none.',
  conntrack_full: 'The table of connections is full, or the share of the network: no new one can begin.',
  conntrack_port_limit: 'The port has used up its share of the table of connections.',
  rate_limited:
    'The port asked the switch itself (ARP, ND, DHCP, ICMP, names, metadata) more often a second than settings.limits allow, or than its part of what all ports may ask together.',
  acl_deny: 'A rule of an ACL denies the frame.',
  acl_default: 'No rule of the ACL matches the frame, and what none matches is denied.',
  martian:
    "A router does not take it: one of its addresses is no host's, of one link only, its source the router's own, or not of where it came from.",
  source_route: 'Its sender wrote the route it is to take, which no router follows (RFC 5095, RFC 7126).',
  not_routed: 'It was sent to a router, which takes IP only.',
  no_route: 'The router has no route to the destination; the sender was told.',
  blackhole: 'The route to the destination ends here by configuration.',
  ttl_exceeded: 'The packet has been routed as often as its TTL or hop limit allows; the sender was told.',
  routing_loop: 'The packet went from router to router of this switch too often: their routes lead to each other.',
  neighbor_unresolved: 'Nobody answers for the address the packet goes to next.',
  no_service: 'The packet was for the router itself, which offers no such service.',
  bad_checksum: 'A checksum that the switch had to rely on is wrong.',
  nat_exhausted:
    'No port of the outside address was free for the connection; or, of a protocol without ports to change, another machine has one like it.',
  nat_limit: 'The machine holds as many mappings of its router as one may (external.perVm).',
  nat_filtered: 'It came from outside, or to an outside address, and belongs to nothing that was let out.',
  nat_protocol:
    'The router translates, and this is nothing it could: an ICMP message that is no query, no answer and about no connection, or a protocol of one link.',
  punt_limit: 'The frame was for the switch itself, which had too many of those waiting.',
  no_slot: 'The frame pool had no free slot for a copy.',
} as const;

export type DropReason = keyof typeof table;

export const dropReasons = Object.keys(table) as readonly DropReason[];
export const DROP_REASON_COUNT = dropReasons.length;

/** The reason's number, to be kept in a slot's `reason`. */
export const dropReasonNumber = Object.fromEntries(dropReasons.map((name, index) => [name, index])) as Readonly<
  Record<DropReason, number>
>;

/** The sentence for a person. */
export function dropReasonText(name: DropReason): string {
  return table[name];
}
