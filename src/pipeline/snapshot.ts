/**
 * The compiled configuration that workers forward by: flat typed arrays in shared memory, made by the main thread
 * (control/compile.ts), never changed afterwards, swapped as one between two batches. Indices of ports, networks and
 * members are stable from one snapshot to the next for as long as the object exists; -1 means "none".
 *
 * A **member** is one port's membership in one network: the place where a frame enters or leaves a network, with the
 * tag it has there. The FDB maps addresses to members.
 */

import type { CompiledRules } from './classifier.js';
import type { GroupPolicy } from './group-table.js';
import type { GuardTable } from './guard-table.js';
import type { NatTables } from './nat-tables.js';
import type { RoutingTables } from './routing-tables.js';

/** Port modes. A port that is absent, disabled or not yet complete is CLOSED: it forwards nothing. */
export const PORT_CLOSED = 0;
/** One network, untagged. */
export const PORT_ACCESS = 1;
/** Several networks by VID, perhaps a native one. */
export const PORT_TRUNK = 2;
/** 802.1ad tunnel: the whole frame, tagged or not, rides in one network. */
export const PORT_TUNNEL = 3;
/** The tunnels of one kind on one underlay: datagrams, each with a frame in it. One member per network. */
export const PORT_UNDERLAY = 4;

/** Bits of portFlags. */
export const PORT_ISOLATED = 1 << 0;
/** Anti-spoof is on: what can't be parsed or learned is dropped. */
export const PORT_GUARDED = 1 << 1;
/** The tunnel port has a list of allowed inner VIDs (portInnerVids). */
export const PORT_INNER_VIDS = 1 << 2;
/** Takes partial checksums / TCPv4 / TCPv6 / UDP super-frames. */
export const PORT_TAKES_CHECKSUM = 1 << 3;
export const PORT_TAKES_TCP4 = 1 << 4;
export const PORT_TAKES_TCP6 = 1 << 5;
export const PORT_TAKES_UDP = 1 << 6;
/** A trunk with a native network that leaves untagged: what its frames' payload begins with is looked at. */
export const PORT_NATIVE_UNTAGGED = 1 << 7;
/** An underlay port whose tunnels are watched by BFD inside them: such frames belong to the switch, in both directions. */
export const PORT_BFD_INSIDE = 1 << 8;
/** A machine is behind it, not the physical network: nothing that comes in by it can be a remote's datagram. */
export const PORT_FACES_VM = 1 << 9;

/** The physical network is behind it: a network names it as uplink, or it is `trunk: auto`. */
export const PORT_UPLINK = 1 << 10;

/** Bits of portControlFrames: link-control protocols that the port lets into the switch. */
export const CONTROL_STP = 1 << 0;
export const CONTROL_LACP = 1 << 1;
export const CONTROL_LLDP = 1 << 2;
export const CONTROL_CFM = 1 << 3;
export const CONTROL_PAUSE = 1 << 4;
export const CONTROL_OTHER = 1 << 5;

/** Bits of networkFlags. */
export const NETWORK_LEARNS = 1 << 0;
/** Requests for a known address are answered here instead of flooded. */
export const NETWORK_SUPPRESSES_ARP = 1 << 1;
/** Frames through the network's tunnels may begin with a VLAN tag. */
export const NETWORK_INNER_VLAN = 1 << 2;
/** What the address service does for the stations of the network: DHCPv4, DHCPv6, router advertisements. */
export const NETWORK_SERVES_DHCP4 = 1 << 3;
export const NETWORK_SERVES_DHCP6 = 1 << 4;
export const NETWORK_ADVERTISES = 1 << 5;
export const NETWORK_SERVES = NETWORK_SERVES_DHCP4 | NETWORK_SERVES_DHCP6 | NETWORK_ADVERTISES;
/** The switch answers machines of the network itself: names, metadata. */
export const NETWORK_GUEST_SERVICES = 1 << 8;
/** A router has an interface in it: who is at which address is learned, for the router to find. */
export const NETWORK_ROUTED = 1 << 7;
/**
 * Networks in which stations teach who is at which address (neighbor-table.ts): for those who ask there, for routers, and for
 * the DHCP server, which gives nobody an address that somebody has.
 */
export const NETWORK_LEARNS_NEIGHBORS = NETWORK_SUPPRESSES_ARP | NETWORK_ROUTED | NETWORK_SERVES_DHCP4;

/**
 * Bits of portPolicy and networkPolicy, and together of a frame's `policy`: what it has to pass. READ alone: the packet is
 * read because somebody behind it in the pipeline, an egress port say, asks.
 */
export const POLICY_READ = 1 << 0;
/** The ingress port is guarded (antiSpoof). */
export const POLICY_GUARD = 1 << 1;
/** The ingress port, the network has an ingress ACL. */
export const POLICY_PORT_ACL = 1 << 2;
export const POLICY_NETWORK_ACL = 1 << 3;
/** The network has ports with stateful groups: its connections are tracked. */
export const POLICY_TRACKED = 1 << 4;
/** The port has security groups, which judge both what comes from it and what goes to it. */
export const POLICY_GROUPS = 1 << 5;
/** Somebody's rules ask for ports: later fragments are judged by their first one. */
export const POLICY_FRAGMENTS = 1 << 6;
/** The port (as egress), the network has an egress ACL. */
export const POLICY_PORT_EGRESS_ACL = 1 << 7;
export const POLICY_NETWORK_EGRESS_ACL = 1 << 8;

/** Bits of a compiled ACL's actions: what becomes of a frame, and that it is logged. */
export const ACTION_PERMIT = 0;
export const ACTION_DENY = 1;
export const ACTION_REJECT = 2;
export const ACTION_MASK = 3;
export const ACTION_LOG = 4;

/** An ACL as frames are judged by it. */
export interface CompiledAcl {
  readonly rules: CompiledRules;
  /** By rule, and behind the last one what happens to frames that none matches. */
  readonly actions: Int32Array;
  /** Number of the first rule in the counters; the others follow, the default last. -1: nothing is counted. */
  readonly counterBase: number;
}

/** Words of a row of memberTunnels: VNI or key; TUNNEL_… flags; where the header's options begin, and their octets. */
export const TUNNEL_ROW_WORDS = 4;
export const TUNNEL_ROW_ID = 0;
export const TUNNEL_ROW_FLAGS = 1;
export const TUNNEL_ROW_OPTIONS = 2;
export const TUNNEL_ROW_OPTIONS_SIZE = 3;

/** Words of a row of allowFrom. */
export const ALLOW_WORDS = 5;

/** Offsets in a port's three entries of portStormRate. */
export const STORM_BROADCAST = 0;
export const STORM_MULTICAST = 1;
export const STORM_UNKNOWN_UNICAST = 2;

export interface Snapshot {
  /** Number of this snapshot; grows by one with each. */
  readonly epoch: number;

  /** By port index. */
  readonly portMode: Int32Array;
  readonly portFlags: Int32Array;
  /** Member for frames without a tag or with VID 0: the access network, the native one, the tunnel's. -1: none. */
  readonly portUntaggedMember: Int32Array;
  /** Index of the port's 4096-entry table in vidMembers; -1: the port takes no tagged frames. */
  readonly portVidTable: Int32Array;
  /** Largest payload behind the Ethernet header (tags not counted) that may leave by this port, in octets. */
  readonly portMtu: Int32Array;
  readonly portControlFrames: Int32Array;
  /** Three rates per port (STORM_…), frames a second; 0: unlimited. */
  readonly portStormRate: Int32Array;
  /** Most addresses learned behind the port; 0: unlimited. */
  readonly portMacLimit: Int32Array;
  /** Index of the tunnel port's 128-word (4096-bit) set of allowed inner VIDs in innerVids; -1: none. */
  readonly portInnerVids: Int32Array;

  /** Member by VID, 4096 entries a table; -1: VID not carried. */
  readonly vidMembers: Int32Array;
  readonly innerVids: Int32Array;

  /** By member. Port -1: the member is not in use. */
  readonly memberPort: Int32Array;
  readonly memberNetwork: Int32Array;
  /** Tag that frames leaving by this member get: TPID << 16 | VID; 0: untagged. */
  readonly memberTag: Int32Array;
  /**
   * Largest payload behind the Ethernet header (tags not counted) that may leave by this member: the port's, capped by the
   * network's. A trunk may carry a network of 1500 beside one of 9000.
   */
  readonly memberMtu: Int32Array;

  /** POLICY_... bits of all ports and networks together; 0: nothing of that need be looked at. */
  readonly policies: number;
  /** POLICY_... bits by port, and by network. */
  readonly portPolicy: Int32Array;
  readonly networkPolicy: Int32Array;
  /** Security groups. */
  readonly groups: GroupPolicy;

  /** Seconds a connection is kept without traffic, by CLASS_... of connection-entry.ts. */
  readonly connectionTimeouts: Int32Array;
  /** Most connections charged to one port, and in one network. */
  readonly connectionsPerPort: number;
  readonly connectionsPerNetwork: number;
  /** 1: a TCP connection may be taken up in its midst. */
  readonly connectionMidstream: number;
  /** What guarded ports may send from. */
  readonly guard: GuardTable;

  /** Datagrams whose fragments are followed, in all and from one port, and for how many seconds. */
  readonly fragmentDatagrams: number;
  readonly fragmentsPerPort: number;
  readonly fragmentTimeout: number;
  /** Routers. */
  readonly routing: RoutingTables;
  /** Routers that translate addresses. */
  readonly nat: NatTables;
  /** Packets that are kept for a station whose MAC is not known yet. */
  readonly neighborQueue: number;
  /** Bindings of addresses to MACs that one port may teach. */
  readonly neighborsPerPort: number;

  /** ACLs in use. */
  readonly acls: readonly CompiledAcl[];
  /** Places in `acls`, by port and by network; -1: none. */
  readonly portAclIngress: Int32Array;
  readonly portAclEgress: Int32Array;
  readonly networkAclIngress: Int32Array;
  readonly networkAclEgress: Int32Array;

  /** ICMP errors made for a port, and ARP and ND questions answered for one, a second at most. */
  readonly icmpErrorRate: number;
  readonly arpReplyRate: number;

  /** Ports in mode PORT_UNDERLAY; 0: nothing that concerns tunnels need be looked at. */
  readonly underlayPorts: number;
  /** Those with PORT_BFD_INSIDE; 0: no frame need be looked at for that. */
  readonly watchingUnderlays: number;
  /** Indices of all of them. */
  readonly underlays: Int32Array;
  /** By port, for underlay ports: index in tunnels/registry.ts; -1: it is none. */
  readonly portTunnelKind: Int32Array;
  /** Of an underlay port: first row of its table of tunnel ids in tunnelIds, and rows less one. A network without an id is portUntaggedMember. */
  readonly portIdTable: Int32Array;
  readonly portIdMask: Int32Array;
  /** Four words a port: the underlay's own address, as all addresses here in memory's order, IPv4 mapped. */
  readonly portLocal: Int32Array;
  /** UDP port that tunnels of this port are sent to; 0: they are not UDP. */
  readonly portTunnelPort: Int32Array;
  /** Outer DSCP in the upper six bits of an octet; -1: the inner one. */
  readonly portDscp: Int32Array;
  /** 1: datagrams of this port may leave several in a message (egress/datagram-trains.ts). */
  readonly portJoinsDatagrams: Int32Array;
  /** Rows of allowFrom: sources that are unpacked besides the configured remotes. */
  readonly portAllowStart: Int32Array;
  readonly portAllowCount: Int32Array;
  /** ALLOW_WORDS a row: address, prefix length (of the mapped form, 96 more for IPv4). */
  readonly allowFrom: Int32Array;
  /** Members by tunnel id: tables of tunnel-ids.ts. */
  readonly tunnelIds: Int32Array;

  /**
   * By member of an underlay port, what its network's headers are made of: TUNNEL_ROW_WORDS side by side, in one cache line,
   * as each frame into another network's tunnel asks for all of them.
   */
  readonly memberTunnels: Int32Array;
  /** Its part of `remotes`. */
  readonly memberRemotesStart: Int32Array;
  readonly memberRemotesCount: Int32Array;
  /** Geneve options or the like in wire form, of all members. */
  readonly tunnelOptions: Uint8Array;
  /** Numbers of the tunnels that floods go to (pipeline/tunnel-table.ts). */
  readonly remotes: Int32Array;

  /** Networks with NETWORK_SUPPRESSES_ARP; 0: no frame need be looked at for that. */
  readonly suppressingNetworks: number;

  /** Networks with any NETWORK_SERVES bit; 0: no frame need be looked at for that. */
  readonly servingNetworks: number;
  /** Frames of a port that are handed to the address service, a second at most. */
  readonly dhcpRate: number;
  /** The switch's own addresses: a table of own-addresses.ts; empty: there are none. */
  readonly ownAddresses: Int32Array;
  /** Of the same form: the addresses that the address service is asked at, whoever answers ARP and ND for them. */
  readonly serverAddresses: Int32Array;
  /** Of the same form, with SERVICE_... bits as flags: where machines ask the switch's services; empty: nowhere. */
  readonly guestServices: Int32Array;
  /** Frames of a port that are handed to the names service, a second at most. */
  readonly dnsRate: number;

  /** By network. Its members lie at networkMembers[start .. start + count). */
  readonly networkStart: Int32Array;
  readonly networkCount: Int32Array;
  readonly networkMembers: Int32Array;
  readonly networkFlags: Int32Array;
  /** Seconds an address is kept after it was last seen. */
  readonly networkMacAge: Int32Array;
  /** Most addresses learned in the network. */
  readonly networkMacLimit: Int32Array;
  /** Of a network in tunnels: largest payload that it lets pass, whatever its ports could. 0: it has no tunnels. */
  readonly networkMtu: Int32Array;
}

/** Whether stations of this host are behind the port. What comes by an uplink or a tunnel was asked of other hosts as well. */
export function facesStations({ portMode, portFlags }: Snapshot, port: number): boolean {
  return portMode[port] !== PORT_UNDERLAY && (portFlags[port] & PORT_UPLINK) === 0;
}
