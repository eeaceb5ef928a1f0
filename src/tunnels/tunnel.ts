/**
 * What a kind of tunnel is: how it puts a frame into a datagram and what it makes of one. One file a kind, one line in
 * registry.ts; the header's octets are in wire/. Everything else (addresses, sockets, who may send, where to) is the same
 * for all kinds and lies in the pipeline and the underlay port. Runs in workers. @hot
 */

/**
 * Bits of a network's tunnel flags: it has an id; its header has a checksum, a sequence number, where the kind can; further
 * ones that headers have nothing to do with.
 */
export const TUNNEL_HAS_ID = 1 << 0;
export const TUNNEL_SENDS_CHECKSUM = 1 << 1;
export const TUNNEL_SENDS_SEQUENCE = 1 << 2;
/** The last eight bits of the id are the flow's (NVGRE), zero in the network's tables. */
export const TUNNEL_ID_HAS_FLOW = 1 << 3;
/** Frames may begin with a VLAN tag. */
export const TUNNEL_CARRIES_TAGS = 1 << 4;
/** TCP connections have their MSS lowered to what fits. */
export const TUNNEL_CLAMPS_MSS = 1 << 5;

/** What `read` found. */
export interface TunnelHeader {
  /** VNI or key, 32 bits, signed. */
  id: number;
  /** False: the header has no id at all (GRE without key). */
  hasId: boolean;
  /** The header has a checksum of the frame, too: that it is right says nothing of the same header in front of another one. */
  isSummed: boolean;
}

/** What a network's tunnels are sent with. One object a worker, filled anew for each message. */
export interface TunnelSettings {
  id: number;
  /** TUNNEL_… bits. */
  flags: number;
  /** Of the first datagram of the message, for kinds and flags that send one; counts up with each. */
  sequence: number;
  /** Options in wire form: `optionsSize` octets of `options` from `optionsStart`. */
  options: Uint8Array;
  optionsStart: number;
  optionsSize: number;
}

export interface TunnelKind {
  readonly type: 'vxlan' | 'geneve' | 'gre';
  /** What carries its datagrams. */
  readonly protocol: 'udp' | 'gre';
  /** UDP port where the configuration names none; 0 without UDP. */
  readonly defaultPort: number;
  /** Octets of the header that `write` makes: a multiple of four. */
  headerSize(flags: number, optionsSize: number): number;
  /**
   * Reads the header at `at` of a datagram that ends in front of `end`. Returns its octets, behind which the frame lies, or
   * the negated number of a drop reason.
   */
  read(octets: Uint8Array, at: number, end: number, header: TunnelHeader): number;
  /**
   * Writes a header in front of `position`, where a frame lies that ends at `end`. Returns where the header begins. Without
   * TUNNEL_SENDS_… flags it depends on nothing but `settings`: it may be written once and put in front of other frames.
   */
  write(octets: Uint8Array, position: number, end: number, settings: TunnelSettings): number;
}
