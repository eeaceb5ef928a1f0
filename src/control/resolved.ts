/**
 * The configuration once every default, name and unit in it is settled: what the compiler, the port kinds and the
 * commands work from. Plain data; made by resolve.ts only, so it is consistent: names exist, VIDs are unique on each
 * trunk, every port has exactly one mode.
 */
import type { PortIntent } from '../dataplane/port.js';
import type { networkTypes } from './schema.js';

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

export type PortMode = 'access' | 'trunk' | 'tunnel';
export type ControlProtocol = 'stp' | 'lacp' | 'lldp' | 'cfm' | 'pause' | 'other';

/** Frames a second; 0: unlimited. */
export interface StormRates {
  readonly broadcast: number;
  readonly multicast: number;
  readonly unknownUnicast: number;
}

export interface ResolvedPort {
  /** What the port's kind opens. */
  readonly intent: PortIntent;
  readonly enabled: boolean;
  readonly mode: PortMode;
  /** The far side is the physical network: a network names the port as uplink, or it is `trunk: auto`. */
  readonly uplink: boolean;
  /** Each network at most once. */
  readonly members: readonly ResolvedMember[];
  /** Inner VIDs a tunnel port lets through, 0 for untagged; absent: all. */
  readonly innerVids?: readonly number[];
  readonly isolated: boolean;
  /** Anti-spoof is on. */
  readonly guarded: boolean;
  /** 0: unlimited. */
  readonly macLimit: number;
  readonly storm: StormRates;
  /** Link-control protocols that are let into the switch. */
  readonly controlFrames: readonly ControlProtocol[];
  readonly mac?: string;
  readonly addresses: readonly string[];
}

export interface ResolvedNetwork {
  readonly type: (typeof networkTypes)[number];
  readonly id?: number;
  readonly uplink?: string;
  /** Caps the MTU of its members. */
  readonly mtu?: number;
  readonly learning: boolean;
  readonly macAgeSeconds: number;
  readonly macLimit: number;
}

export interface ResolvedConfig {
  readonly workers: number | 'auto';
  /** In the order of the document. */
  readonly ports: ReadonlyMap<string, ResolvedPort>;
  readonly networks: ReadonlyMap<string, ResolvedNetwork>;
}
