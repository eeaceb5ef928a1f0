/**
 * The configuration once every default, name and unit in it is settled: what the compiler, the port kinds and the
 * commands work from. Plain data; made by resolve.ts only, so it is consistent: names exist, VIDs are unique on each
 * trunk, every port has exactly one mode.
 */
import type { PortIntent, UnderlayIntent } from '../dataplane/port.js';
import type { CompiledRules } from '../pipeline/classifier.js';
import type { Prefix } from '../wire/address.js';
import type { ResolvedSubnet } from './resolved-subnet.js';
import type { NumberRange, RuleConditions } from './rule-conditions.js';
import type { networkTypes } from './schema.js';

export type { NumberRange } from './rule-conditions.js';

export const TPID_CUSTOMER = 0x8100;
export const TPID_SERVICE = 0x88a8;

/** One port's membership in one network. */
export interface ResolvedMember {
  readonly network: string;
  /** Tagged frames with this VID belong here; absent: none do. */
  readonly vid?: number;
  /** Untagged frames (and those with VID 0) belong here. */
  readonly untagged: boolean;
  /** The tag that frames leave with; absent: untagged. */
  readonly tag?: { readonly tpid: number; readonly vid: number };
}

export type PortMode = 'access' | 'trunk' | 'tunnel' | 'underlay';
export type ControlProtocol = 'stp' | 'lacp' | 'lldp' | 'cfm' | 'pause' | 'other';

/** Frames a second; 0: unlimited. */
export interface StormRates {
  readonly broadcast: number;
  readonly multicast: number;
  readonly unknownUnicast: number;
}

export const STORM_NONE: StormRates = { broadcast: 0, multicast: 0, unknownUnicast: 0 };

export interface ResolvedPort {
  /** What the port's kind opens. */
  readonly intent: PortIntent;
  readonly enabled: boolean;
  readonly mode: PortMode;
  /** The far side is the physical network: a network names the port as uplink, or it is `trunk: auto`. */
  readonly uplink: boolean;
  /** A machine is behind it, by its kind and because it is no uplink. */
  readonly facesVm: boolean;
  /** Each network at most once. */
  readonly members: readonly ResolvedMember[];
  /** Inner VIDs a tunnel port lets through, 0 for untagged; absent: all. */
  readonly innerVids?: readonly number[];
  readonly isolated: boolean;
  /** Anti-spoof is on. */
  readonly guarded: boolean;
  /** What a guarded port may send from. */
  readonly guard?: ResolvedGuard;
  /** 0: unlimited. */
  readonly macLimit: number;
  readonly storm: StormRates;
  /** Link-control protocols that are let into the switch. */
  readonly controlFrames: readonly ControlProtocol[];
  readonly mac?: string;
  readonly addresses: readonly string[];
  readonly acl?: AclNames;
  /** Security groups, each once; absent: none, everything passes. */
  readonly groups?: readonly string[];
  readonly allowedPairs: readonly ResolvedPair[];
  /** What it may send, and with groups be sent, besides ARP and IP. */
  readonly allowEthertypes: readonly number[];
  /** DHCP options of its machine, by number. */
  readonly dhcpOptions?: ReadonlyMap<number, Uint8Array>;
  /** Who its machine is for the metadata endpoint; absent: whom the port's name says. */
  readonly instance?: { readonly id?: string | undefined; readonly tenant?: string | undefined };
  /** Of underlay ports, which the configuration does not list: the tunnels of one type on one underlay. */
  readonly underlay?: ResolvedUnderlay;
}

/** What a machine may use besides its own: exactly this MAC with these addresses. */
export interface ResolvedPair {
  readonly prefix: Prefix;
  /** The port's, if absent. */
  readonly mac?: string;
}

export interface ResolvedGroupRule {
  /** As Neutron has it: ingress is towards the VM. */
  readonly direction: 'ingress' | 'egress';
  /** Absent: both. */
  readonly family?: 'ipv4' | 'ipv6';
  readonly protocol?: number;
  /** Destination ports; none: any. */
  readonly ports: readonly NumberRange[];
  readonly icmpType?: number;
  readonly icmpCode?: number;
  /** The other side; at most one of them is there. */
  readonly remote?: Prefix;
  readonly remoteGroup?: string;
}

export interface ResolvedGroup {
  readonly stateful: boolean;
  readonly rules: readonly ResolvedGroupRule[];
}

/** Where a pair comes from: the entry of `addresses` or `allowedPairs`, from 0; link-local ones are nobody's entry. */
export interface GuardPair {
  readonly prefix: Prefix;
  readonly origin: 'address' | 'pair' | 'link-local';
  readonly index: number;
}

/** One MAC and the addresses it may send from. */
export interface GuardStation {
  readonly mac: Uint8Array;
  readonly pairs: readonly GuardPair[];
}

export interface ResolvedGuard {
  /** Each MAC once. */
  readonly stations: readonly GuardStation[];
  /** Besides ARP, IPv4 and IPv6. */
  readonly ethertypes: readonly number[];
}

export type AclAction = 'permit' | 'deny' | 'reject';

export interface ResolvedAclRule {
  readonly action: AclAction;
  readonly log: boolean;
  /** The rule as it is shown: `deny proto tcp dstPort 22-25 log`. */
  readonly text: string;
}

export interface ResolvedAcl {
  readonly default: 'permit' | 'deny';
  readonly rules: readonly ResolvedAclRule[];
  /** Some rule asks for what only the first fragment of a datagram has for certain. */
  readonly asksForPorts: boolean;
  readonly matching: AclMatching;
}

/** By rule what it asks for, or all of that compiled by the thread that resolved it (document-thread.ts). */
export type AclMatching = { readonly conditions: readonly RuleConditions[] } | { readonly compiled: CompiledRules };

/** Names of ACLs. ingress: into the switch, at a network's ports into the network. */
export interface AclNames {
  readonly ingress?: string;
  readonly egress?: string;
}

export interface ResolvedUnderlay {
  /** Its name in the configuration. */
  readonly name: string;
  /** Outer DSCP; 'inherit': the inner one. */
  readonly dscp: number | 'inherit';
  /** Prefixes of who may send besides the remotes. */
  readonly allowFrom: readonly string[];
  /** Datagrams may leave several in a message. The kernel sums what it cuts, so not where checksums are refused. */
  readonly joinsDatagrams: boolean;
  /** How it is found out whether remotes live; absent: not at all. */
  readonly bfd?: ResolvedBfd;
}

export interface ResolvedBfd {
  readonly intervalMs: number;
  readonly multiplier: number;
  /** One session for each tunnel, in the tunnel; else one for each remote, beside the tunnels. */
  readonly inside: boolean;
}

export type TunnelType = UnderlayIntent['type'];

/** How a network is carried to other hosts. */
export interface ResolvedTunnel {
  readonly type: TunnelType;
  /** Key of its underlay port in ResolvedConfig.ports. */
  readonly port: string;
  /** Addresses of the remotes in canonical form, each once. */
  readonly remotes: readonly string[];
  /** Frames in the tunnels may have a VLAN tag. */
  readonly innerVlan: boolean;
  /** What GRE headers have besides the key. */
  readonly checksum: boolean;
  readonly sequence: boolean;
  /** The network's id is a VSID, the upper 24 bits of the key; the flow's number is the rest. */
  readonly nvgre: boolean;
  /** The MSS of TCP connections that enter the tunnels is lowered to what fits. */
  readonly mssClamp: boolean;
  /** Geneve options as they are sent. */
  readonly options: Uint8Array;
}

export interface ResolvedNetwork {
  readonly type: (typeof networkTypes)[number];
  readonly id?: number;
  readonly uplink?: string;
  /** Caps the MTU of its members. */
  readonly mtu?: number;
  /** Of vxlan, gre and geneve networks. */
  readonly tunnel?: ResolvedTunnel;
  readonly learning: boolean;
  readonly suppressesArp: boolean;
  readonly macAgeSeconds: number;
  readonly macLimit: number;
  readonly acl?: AclNames;
}

export interface ResolvedConntrack {
  /** Connections in all. */
  readonly capacity: number;
  /** Of these, at most, charged to one port, and in one network. */
  readonly perPort: number;
  readonly perNetwork: number;
  /** A TCP connection may be taken up in its midst. */
  readonly midstream: boolean;
  /** Seconds, in the order of connectionClasses. */
  readonly timeouts: readonly number[];
}

/** A router's place in a network. */
export interface ResolvedRouterInterface {
  readonly network: string;
  /** With the lengths of their prefixes. */
  readonly addresses: readonly Prefix[];
  /** The side towards the outside. */
  readonly isExternal: boolean;
}

export interface ResolvedRoute {
  readonly to: Prefix;
  /** Next hops, each in one of the router's networks; several share the traffic, none: packets end here. */
  readonly via: readonly Uint8Array[];
}

export interface ResolvedExternal {
  readonly network: string;
  readonly snat: boolean;
  /** Ports for SNAT, in order, apart from each other. */
  readonly pool: readonly NumberRange[];
  readonly mapping: 'endpoint-independent' | 'endpoint-dependent';
  readonly filtering: 'endpoint-dependent' | 'endpoint-independent' | 'address-dependent';
  /** Mappings one port may hold. */
  readonly perVm: number;
}

export interface ResolvedFloating {
  readonly outside: Uint8Array;
  readonly inside: Uint8Array;
}

/** One range of outside ports. */
export interface ResolvedForward {
  readonly protocol: number;
  readonly outside: Uint8Array;
  readonly ports: NumberRange;
  readonly inside: Uint8Array;
  /** Inside port of the first; of all, unless `follows`. */
  readonly port: number;
  readonly follows: boolean;
}

export interface ResolvedRouter {
  readonly interfaces: readonly ResolvedRouterInterface[];
  readonly routes: readonly ResolvedRoute[];
  readonly external?: ResolvedExternal;
  readonly floating: readonly ResolvedFloating[];
  readonly forwards: readonly ResolvedForward[];
}

/** What the switch answers machines itself. */
export interface ResolvedServices {
  /** Resolvers that questions about other names go to; none: they are refused. */
  readonly forward: readonly string[];
  /** Where metadata is fetched, and what the instance's id is signed with. */
  readonly metadata?: { readonly endpoint: string; readonly secret?: string };
}

export interface ResolvedConfig {
  readonly workers: number | 'auto';
  /** What a port may make the switch itself do, a second. */
  readonly limits: {
    readonly icmpErrorRate: number;
    readonly arpReplyRate: number;
    readonly dhcpRate: number;
    readonly dnsRate: number;
  };
  readonly conntrack: ResolvedConntrack;
  /** Datagrams whose fragments are followed. */
  readonly fragments: { readonly datagrams: number; readonly perPort: number; readonly timeoutSeconds: number };
  /** In the order of the document; behind them the underlay ports. */
  readonly ports: ReadonlyMap<string, ResolvedPort>;
  readonly networks: ReadonlyMap<string, ResolvedNetwork>;
  readonly acls: ReadonlyMap<string, ResolvedAcl>;
  /** Bindings of addresses to MACs in all, of those what one port may teach, and packets kept for a MAC not known yet. */
  readonly neighbors: { readonly capacity: number; readonly perPort: number; readonly queue: number };
  readonly routers: ReadonlyMap<string, ResolvedRouter>;
  readonly groups: ReadonlyMap<string, ResolvedGroup>;
  readonly subnets: ReadonlyMap<string, ResolvedSubnet>;
  readonly services: ResolvedServices;
}
