/**
 * The compiled configuration that workers forward by: flat typed arrays in shared memory, made by the main thread
 * (control/compile.ts), never changed afterwards, swapped as one between two batches. Indices of ports, networks and
 * members are stable from one snapshot to the next for as long as the object exists; -1 means "none".
 *
 * A **member** is one port's membership in one network: the place where a frame enters or leaves a network, with the
 * tag it has there. The FDB maps addresses to members.
 */

/** Port modes. A port that is absent, disabled or not yet complete is CLOSED: it forwards nothing. */
export const PORT_CLOSED = 0;
/** One network, untagged. */
export const PORT_ACCESS = 1;
/** Several networks by VID, perhaps a native one. */
export const PORT_TRUNK = 2;
/** 802.1ad tunnel: the whole frame, tagged or not, rides in one network. */
export const PORT_TUNNEL = 3;

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

/** Bits of portControlFrames: link-control protocols that the port lets into the switch. */
export const CONTROL_STP = 1 << 0;
export const CONTROL_LACP = 1 << 1;
export const CONTROL_LLDP = 1 << 2;
export const CONTROL_CFM = 1 << 3;
export const CONTROL_PAUSE = 1 << 4;
export const CONTROL_OTHER = 1 << 5;

/** Bits of networkFlags. */
export const NETWORK_LEARNS = 1 << 0;

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

  /** By network. Its members lie at networkMembers[start .. start + count). */
  readonly networkStart: Int32Array;
  readonly networkCount: Int32Array;
  readonly networkMembers: Int32Array;
  readonly networkFlags: Int32Array;
  /** Seconds an address is kept after it was last seen. */
  readonly networkMacAge: Int32Array;
  /** Most addresses learned in the network. */
  readonly networkMacLimit: Int32Array;
}
