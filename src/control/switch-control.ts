/**
 * What a running switch offers to whoever operates it: the daemon implements it over the workers, the commands and the
 * metrics use it, tests put a fake in its place.
 *
 * Contract: every method may be called at any time, also several at once; an implementation that must serialise
 * changes does so itself. Results are the shapes of shapes.ts, counters at most 200 ms old. What the operator got wrong
 * is a UserError with every fault, what the system refused an OperatingError; a refused change leaves the running state
 * as it was. Anything else thrown is a defect of the switch. Main thread.
 */
import type {
  AclDetail,
  AclRow,
  ChangeResult,
  ConntrackRow,
  ConntrackStats,
  DhcpLeaseRow,
  DropRow,
  FdbRow,
  GroupDetail,
  GroupRow,
  HealthResult,
  JsonObject,
  NatRow,
  NatStatsRow,
  NeighborRow,
  NetworkDetail,
  NetworkRow,
  PortDetail,
  PortRow,
  RouterDetail,
  RouterRow,
  StatsResult,
  StatusResult,
  TraceResult,
  TunnelDetail,
  TunnelRow,
} from './shapes.js';

/** A configuration document as it came from a user. */
export interface SubmittedDocument {
  readonly text: string;
  /** Name to show in messages; the daemon never opens it. */
  readonly file: string;
}

/** Which entries of the FDB. Entries are in a stable order: by network, then address. */
export interface FdbSelection {
  readonly network?: string;
  readonly port?: string;
  /** Entries to leave out at the start, and the most to return (absent: all). */
  readonly offset?: number;
  readonly limit?: number;
}

export interface SwitchControl {
  status(): Promise<StatusResult>;
  /** Counters of every port, or of one. An unknown port is a UserError `not-found`. */
  stats(port?: string): Promise<StatsResult>;
  health(): Promise<HealthResult>;

  portList(): Promise<readonly PortRow[]>;
  portShow(name: string): Promise<PortDetail>;
  /** `config` has the keys of a port in the configuration file. Fails if the name is taken. */
  portAdd(name: string, config: JsonObject): Promise<ChangeResult>;
  /** Changes the keys that are given, nested objects key by key; null takes a key back to its default. */
  portSet(name: string, config: JsonObject): Promise<ChangeResult>;
  portRemove(name: string): Promise<ChangeResult>;

  networkList(): Promise<readonly NetworkRow[]>;
  networkShow(name: string): Promise<NetworkDetail>;
  networkAdd(name: string, config: JsonObject): Promise<ChangeResult>;
  networkSet(name: string, config: JsonObject): Promise<ChangeResult>;
  networkRemove(name: string): Promise<ChangeResult>;

  fdbList(selection: FdbSelection): Promise<readonly FdbRow[]>;
  /**
   * Adds a static entry, or makes a learned one static. `mac` is lower case with colons. `remote`, the address of a tunnel's
   * far end, is for networks with tunnels: `port` is then the underlay.
   */
  fdbAdd(network: string, mac: string, port: string, remote?: string): Promise<FdbRow>;
  fdbRemove(network: string, mac: string): Promise<FdbRow>;
  /** Forgets learned entries; static ones stay. Returns how many were forgotten. */
  fdbFlush(selection: { readonly network?: string; readonly port?: string }): Promise<number>;

  groupList(): Promise<readonly GroupRow[]>;
  /** One security group with what its rules did, and its members. */
  groupShow(name: string): Promise<GroupDetail>;

  aclList(): Promise<readonly AclRow[]>;
  /** One ACL with what its rules did. */
  aclShow(name: string): Promise<AclDetail>;

  /** Every network's ways to its remotes: those of the configuration, of static entries, and learned ones. */
  tunnelList(): Promise<readonly TunnelRow[]>;
  /** How one network is carried. Fails for a network without tunnels. */
  tunnelShow(network: string): Promise<TunnelDetail>;

  /** Connections, of one port if it is named, in no order. */
  conntrackList(port: string | undefined, limit: number): Promise<readonly ConntrackRow[]>;
  /** Forgets connections; returns how many. */
  conntrackFlush(port?: string): Promise<number>;
  conntrackStats(): Promise<ConntrackStats>;

  routerList(): Promise<readonly RouterRow[]>;
  /** One router with its routes. */
  routerShow(name: string): Promise<RouterDetail>;
  /** The stations that routers know, by router, network and address. */
  neighborList(): Promise<readonly NeighborRow[]>;

  /** What routers translate: as configured, then the mappings in use. */
  natList(): Promise<readonly NatRow[]>;
  /** How full outside addresses are, by router that translates. */
  natStats(): Promise<readonly NatStatsRow[]>;

  /** Addresses that the address service has given, by subnet, then by address. */
  dhcpLeases(): Promise<readonly DhcpLeaseRow[]>;

  /** Non-zero drop counters, most frequent first. */
  drops(): Promise<readonly DropRow[]>;
  /**
   * Calls back about once a second with the rows that grew since the last call (counts are totals). The first call
   * comes only after something died. Returns the end of the subscription; calling it twice is harmless.
   */
  subscribeDrops(callback: (rows: readonly DropRow[]) => void): () => void;

  /** Runs the pipeline on a copy of the state. `frame` is a description or hex, as `weft trace` takes it. */
  trace(port: string, frame: string): Promise<TraceResult>;

  configApply(document: SubmittedDocument, dryRun: boolean): Promise<ChangeResult>;
  /** What applying the document would change. Never changes anything; `applied` is false. */
  configDiff(document: SubmittedDocument): Promise<ChangeResult>;
  /** The running configuration as a document that could be applied again. */
  configShow(): Promise<JsonObject>;
}
