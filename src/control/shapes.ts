/**
 * What the control socket answers and `--json` prints: the stable field names that tools outside this repository rely
 * on. Fields may be added, never renamed or removed. Times are seconds, sizes octets, counters exact integers.
 * Types only; nothing here runs.
 */
import type { DropReason } from '../dataplane/drop-reason.js';

export type PortState = 'up' | 'down' | 'waiting';

/** What one direction carries now, averaged over about a second. */
export interface Rate {
  readonly framesPerSecond: number;
  readonly bitsPerSecond: number;
}

/** Calls to the kernel that failed with one errno, since the worker's first start. */
export interface IoFailure {
  readonly operation: 'receive' | 'send';
  readonly errno: string;
  readonly count: number;
}

export interface WorkerStatus {
  readonly index: number;
  readonly state: 'running' | 'starting' | 'failed';
  readonly restarts: number;
  /** Why the worker's predecessor ended. */
  readonly lastExit?: string;
  readonly framesPerSecond: number;
  /** Share of the last second spent working, 0 to 1. */
  readonly busyShare: number;
  /** Seconds since the worker last finished a breath. */
  readonly lastBreathSeconds: number;
  /** What it was refused by the kernel; frames that this cost are in the drop counters. */
  readonly ioFailures: readonly IoFailure[];
}

export interface StatusResult {
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly pid: number;
  /** Every worker forwards by the configuration that was asked for. */
  readonly ready: boolean;
  readonly io: 'uring' | 'poll';
  readonly ioReason: string;
  readonly workers: readonly WorkerStatus[];
  readonly ports: { readonly up: number; readonly down: number; readonly waiting: number };
  /** All ports together: what was received and what was sent. */
  readonly rates: { readonly rx: Rate; readonly tx: Rate };
  readonly fdb: { readonly entries: number; readonly capacity: number };
  readonly connections: { readonly used: number; readonly capacity: number };
  /** Of all routers that translate: outside ports that are mapped, and new connections that were refused. Absent: none does. */
  readonly nat?: { readonly ports: number; readonly refused: NatRefused };
  readonly services: ServicesStatus;
  /** Number of the snapshot that all workers forward by. */
  readonly epoch: number;
  /** What a restarted daemon took over from its predecessor. */
  readonly kept?: { readonly connections: number; readonly fdb: number };
}

/** Of the services for machines, since the daemon started. */
export interface ServicesStatus {
  readonly names: NamesCounts;
  readonly metadata: MetadataCounts;
  /** TCP connections of machines to services, now. */
  readonly connections: number;
}

/** HTTP requests for metadata: all, and what became of them; `outstanding`: that wait for the endpoint now. */
export interface MetadataCounts {
  readonly requests: number;
  readonly answered: number;
  readonly refused: number;
  readonly failed: number;
  readonly outstanding: number;
}

/** DNS questions: all, and what became of them; `outstanding`: that wait for a resolver now. */
export interface NamesCounts {
  readonly queries: number;
  readonly answered: number;
  readonly forwarded: number;
  readonly refused: number;
  readonly failed: number;
  readonly malformed: number;
  readonly outstanding: number;
}

export interface PortStats {
  readonly name: string;
  /** frames = forwarded + consumed + dropped, exactly. */
  readonly rx: {
    readonly frames: number;
    readonly bytes: number;
    readonly forwarded: number;
    readonly consumed: number;
    readonly dropped: number;
  };
  readonly tx: {
    readonly frames: number;
    readonly bytes: number;
    readonly generated: number;
    readonly dropped: number;
  };
  /** Addresses that were not learned because a limit was reached. */
  readonly notLearned: number;
  /** Stations that moved to this port from another one. */
  readonly stationMoves: number;
}

export interface WorkerStats {
  readonly index: number;
  readonly breaths: number;
  readonly frames: number;
  /** Batches received; frames / batches is the mean batch size. */
  readonly batches: number;
  readonly busySeconds: number;
  readonly slotsFree: number;
  readonly lastBreathSeconds: number;
}

export interface StatsResult {
  readonly ports: readonly PortStats[];
  readonly workers: readonly WorkerStats[];
}

export interface TrunkMember {
  readonly network: string;
  readonly vlan: number;
}

export interface PortRow {
  readonly name: string;
  readonly kind: string;
  readonly device: string;
  /** The access or tunnelled network; null on a trunk. */
  readonly network: string | null;
  readonly trunk?: readonly TrunkMember[];
  readonly native?: string;
  readonly state: PortState;
  /** Why it is not up: `no interface vnet3`. */
  readonly reason?: string;
  readonly mtu: number;
  readonly mac?: string;
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
  readonly rxDrops: number;
  readonly txDrops: number;
}

/** One value of JSON. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonObject = { readonly [key: string]: JsonValue };

/** A port with its configuration and what happens at it now. */
export interface PortDetail extends PortRow {
  readonly rates: { readonly rx: Rate; readonly tx: Rate };
  /** The port's section of the running configuration. */
  readonly config: JsonObject;
  readonly fdbEntries: number;
  readonly drops: readonly DropRow[];
}

export interface NetworkRow {
  readonly name: string;
  readonly type: string;
  readonly id?: number;
  readonly mtu: number;
  readonly ports: readonly string[];
  readonly remotes?: readonly string[];
}

export interface NetworkDetail extends NetworkRow {
  readonly config: JsonObject;
  readonly fdb: { readonly entries: number; readonly limit: number };
}

export interface FdbRow {
  readonly network: string;
  readonly mac: string;
  readonly port: string;
  /** Address of the remote tunnel endpoint the station is behind. */
  readonly remote?: string;
  readonly static: boolean;
  readonly ageSeconds: number;
}

/** One network's way to one remote end. */
export interface TunnelRow {
  readonly network: string;
  readonly type: string;
  readonly local: string;
  readonly remote: string;
  /** VNI or key; null: GRE without a key. */
  readonly id: number | null;
  /**
   * up: BFD says so or, without BFD, something came through it within the last minute. unknown: nothing was heard. down:
   * there is no way, or BFD says so.
   */
  readonly state: 'up' | 'down' | 'unknown';
  readonly reason?: string;
  readonly rxFrames: number;
  readonly txFrames: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Largest packet that the tunnel carries. */
  readonly mtu: number;
  /** What the path lets pass of outer packets, where that is less than the underlay's MTU. */
  readonly pathMtu?: number;
  /** Seconds since something came through it. */
  readonly heardSeconds?: number;
  /** It is not in the configuration: its datagrams came from within allowFrom. */
  readonly learned?: true;
  /** Where BFD watches the remote. */
  readonly bfd?: BfdView;
}

/** A BFD session. */
export interface BfdView {
  readonly state: BfdState;
  /** What the remote said last of its own state. */
  readonly remoteState: BfdState;
  /** Floods leave the remote out. */
  readonly isDown: boolean;
  /** One clause: why it is not up; empty when it is. */
  readonly reason: string;
  /** The remote is taken for dead when nothing was heard for so long; 0: nothing was heard yet. */
  readonly detectionMs: number;
}

export type BfdState = 'admin-down' | 'down' | 'init' | 'up';

/** A line of the reckoning of an MTU: octets that are there, taken away (negative), or the result. */
export interface MtuStep {
  readonly what: string;
  readonly octets: number;
}

/** How one network is carried to other hosts. */
export interface TunnelDetail {
  readonly network: string;
  readonly type: string;
  readonly id: number | null;
  readonly underlay: string;
  readonly local: string;
  /** Of the underlay's sockets. */
  readonly state: PortState;
  readonly reason?: string;
  readonly mtu: number;
  readonly reckoning: readonly MtuStep[];
  readonly tunnels: readonly TunnelRow[];
}

/** One end's view of a connection. ICMP queries have an identifier in place of ports; other protocols neither. */
export interface ConntrackEnd {
  readonly src: string;
  readonly dst: string;
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly icmpId?: number;
}

export interface ConntrackRow {
  /** The network's name. */
  readonly zone: string;
  /** Name of the protocol if it has one, else its number. */
  readonly proto: string;
  readonly state: string;
  readonly original: ConntrackEnd;
  readonly reply: ConntrackEnd;
  readonly timeoutSeconds: number;
  /** Whose share it counts against. */
  readonly port: string;
}

/** A translation; `internal` and `external` are an address, or one with a port or ports. */
export interface NatRow {
  readonly router: string;
  readonly type: 'snat' | 'floating' | 'forward';
  readonly proto: string;
  readonly internal: string;
  readonly external: string;
  /** The only far end that the mapping is good for. */
  readonly remote?: string;
}

/** New connections that were refused: no outside port was free, or a machine's share was used up. */
export interface NatRefused {
  readonly exhausted: number;
  readonly limit: number;
}

export interface NatStatsRow {
  readonly router: string;
  /** By outside address that hides inside ones, and protocol: ports (of ICMP identifiers) that are mapped, and the pool's size. */
  readonly ports: readonly {
    readonly external: string;
    readonly proto: string;
    readonly used: number;
    readonly size: number;
  }[];
  readonly refused: NatRefused;
}

export interface ConntrackStats {
  readonly capacity: number;
  readonly used: number;
  /** Ports with connections. */
  readonly byPort: readonly { readonly port: string; readonly used: number; readonly limit: number }[];
  /** By class of timeouts. */
  readonly byState: Readonly<Record<string, number>>;
  readonly created: number;
  readonly expired: number;
  /** Half-open or finished ones that gave way to new ones. */
  readonly evicted: number;
  /** Flushed, cut by policy, or gone with their port or network. */
  readonly removed: number;
  readonly refused: Readonly<Record<string, number>>;
}

/** An address that the address service has given and that is in force. */
export interface DhcpLeaseRow {
  readonly subnet: string;
  readonly mac: string;
  readonly address: string;
  readonly port: string;
  readonly expiresSeconds: number;
  /** It is one of the port's own addresses, not one out of a pool. */
  readonly fixed: boolean;
}

export interface RouterRow {
  readonly name: string;
  readonly interfaces: readonly { readonly network: string; readonly addresses: readonly string[] }[];
  /** Static ones. */
  readonly routeCount: number;
  /** The network outside. */
  readonly external?: string;
}

export interface RouterInterfaceRow {
  readonly network: string;
  /** With the lengths of their prefixes. */
  readonly addresses: readonly string[];
  readonly mac: string;
}

export interface RouteRow {
  readonly to: string;
  /** The next hop, several that share the traffic, or the word `blackhole`. */
  readonly via: string | readonly string[];
  /** Of the next hop; of several the best. */
  readonly state: NeighborRow['state'] | 'unresolved' | 'blackhole';
}

export interface RouterDetail {
  readonly name: string;
  readonly interfaces: readonly RouterInterfaceRow[];
  readonly routes: readonly RouteRow[];
  /** As the configuration has them, with its defaults. */
  readonly external?: JsonObject;
  readonly floating?: Readonly<Record<string, string>>;
  readonly forwards?: readonly JsonObject[];
}

/** A station that a router can send to. */
export interface NeighborRow {
  readonly router: string;
  readonly network: string;
  readonly address: string;
  readonly mac: string;
  /** Of the configuration; heard lately; not heard for a while. */
  readonly state: 'static' | 'reachable' | 'stale';
  /** Which it was heard behind. */
  readonly port?: string;
  /** Another MAC claimed the address lately. */
  readonly contested?: true;
  /** Since it was heard; 0 for a static one. */
  readonly ageSeconds: number;
}

export interface AclRow {
  readonly name: string;
  readonly default: 'permit' | 'deny';
  /** Rules it has, and frames that its rules matched. */
  readonly ruleCount: number;
  readonly hits: number;
  /** Where it is used: `ports.vm1.acl.ingress`. */
  readonly usedBy: readonly string[];
}

export interface AclRuleRow {
  /** From 1, as in `acls.a1.rules[3]`. */
  readonly index: number;
  readonly action: 'permit' | 'deny' | 'reject';
  /** The rule in one line. */
  readonly text: string;
  readonly frames: number;
  readonly bytes: number;
  readonly lastHitSeconds?: number;
}

export interface GroupRow {
  readonly name: string;
  readonly stateful: boolean;
  readonly ruleCount: number;
  readonly hits: number;
  readonly ports: readonly string[];
}

export interface GroupRuleRow {
  /** From 1, as in `groups.web.rules[2]`. */
  readonly index: number;
  /** ingress: towards the machine. */
  readonly direction: 'ingress' | 'egress';
  readonly action: 'permit';
  readonly text: string;
  /** What the rule let pass by itself: of connections their first packets, not what followed. */
  readonly frames: number;
  readonly bytes: number;
  readonly lastHitSeconds?: number;
}

export interface GroupDetail {
  readonly name: string;
  readonly stateful: boolean;
  /** What happens to what no rule allows. */
  readonly default: 'deny';
  readonly hits: number;
  readonly rules: readonly GroupRuleRow[];
  /** Ports in it, and the addresses and prefixes that make its members as a remote group. */
  readonly ports: readonly string[];
  readonly members: readonly string[];
}

export interface AclDetail {
  readonly name: string;
  readonly default: 'permit' | 'deny';
  /** Frames that its rules matched. */
  readonly hits: number;
  readonly rules: readonly AclRuleRow[];
  /** What no rule matched. */
  readonly defaultFrames: number;
  readonly defaultBytes: number;
  readonly usedBy: readonly string[];
}

export interface DropRow {
  readonly reason: DropReason;
  readonly port: string;
  /** The received frame itself, or one copy of it that could not leave by `port`. */
  readonly of: 'frame' | 'copy';
  readonly count: number;
  /** The reason in one sentence. */
  readonly text: string;
  readonly rule?: string;
  /** The last frame that died of it: its first octets, and how many seconds ago. */
  readonly lastFrame?: { readonly hex: string; readonly atSeconds: number };
}

export interface TraceStage {
  readonly stage: string;
  readonly decision: string;
  readonly rule?: string;
  /** What was decided and why, in a sentence. */
  readonly text: string;
  readonly changes?: readonly string[];
}

export interface TraceResult {
  readonly verdict: 'forward' | 'flood' | 'drop' | 'consume';
  readonly reason?: DropReason;
  readonly rule?: string;
  readonly outputs: readonly {
    readonly port: string;
    /** Tags from the outside in, as `802.1Q vid 10 pcp 0`. */
    readonly tags: readonly string[];
    readonly remote?: string;
  }[];
  readonly stages: readonly TraceStage[];
}

export interface ConfigChange {
  readonly path: string;
  readonly op: 'add' | 'change' | 'remove';
  readonly from?: JsonValue;
  readonly to?: JsonValue;
}

/** What `apply`, `config diff` and every add/set/remove answer. */
export interface ChangeResult {
  readonly changes: readonly ConfigChange[];
  readonly applied: boolean;
  /** What went wrong though the change is in force. */
  readonly warnings?: readonly string[];
}

export interface HealthResult {
  readonly healthy: boolean;
  readonly workers: readonly {
    readonly index: number;
    readonly breathing: boolean;
    readonly lastBreathSeconds: number;
  }[];
}

/** One fault, as it stands in `errors` and in a refusal's `data`. */
export interface FaultShape {
  readonly code: string;
  readonly message: string;
  readonly path?: string;
  readonly line?: number;
  readonly fix?: string;
}

export interface ErrorsShape {
  readonly errors: readonly FaultShape[];
}
