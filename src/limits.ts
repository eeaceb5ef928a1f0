/**
 * Every bound of the switch, with its unit. Nothing that is not listed here may grow with what a guest sends.
 * Imported by everything; imports nothing.
 */

/** Octets in front of a received frame: room for a vnet header, AF_PACKET's control message, tags and a tunnel's headers. */
export const SLOT_HEADROOM = 256;
/** The longest frame a slot holds, in octets: a 65,535-octet IP packet behind an Ethernet header and two tags, rounded up. */
export const FRAME_SIZE_MAX = 65_600;
/** Distance between two slots in octets. An odd multiple of 64 past a page, so that frame heads spread over all cache sets. */
export const SLOT_STRIDE = SLOT_HEADROOM + FRAME_SIZE_MAX;
/** Slots in one worker's arena. Address space only (1 GiB): pages no frame touched cost nothing. */
export const SLOT_COUNT = 16_384;
/** The shortest frame that is switched, in octets: two addresses and an ethertype. */
export const FRAME_SIZE_MIN = 14;
/** Frames one breath of a worker takes through the pipeline at once. */
export const BATCH_SIZE = 256;
/** (slot, member) pairs handled at once on the way out; floods wider than this go in several rounds. */
export const EGRESS_BATCH_SIZE = 1024;

export const WORKERS_MAX = 16;
export const PORTS_MAX = 4096;
export const QUEUES_PER_PORT_MAX = 16;
export const NETWORKS_MAX = 16_384;
/** Memberships of ports in networks. */
export const MEMBERS_MAX = 65_536;
/** Trunk ports with a VID table of their own (16 KiB each). */
export const TRUNKS_MAX = PORTS_MAX;

/** Buffers lent to the kernel for one queue's reception: the most, and the least a crowded worker gives. Powers of two. */
export const RECEIVE_BUFFERS_MAX = 128;
export const RECEIVE_BUFFERS_MIN = 8;
/** Share of a worker's slots that may be lent for reception; the rest is for copies and for frames on their way out. */
export const RECEIVE_SLOTS_SHARE = 0.75;
/** Octets of recently seen frame sizes that a queue's lent buffers should cover: keeps super-frames inside the CPU's caches. */
export const RECEIVE_FOOTPRINT = 512 * 1024;

/** Submission and completion entries of a worker's io_uring. */
export const RING_SUBMISSIONS = 2048;
export const RING_COMPLETIONS = 16_384;

/** VLAN tags that are parsed; what follows is payload. */
export const VLAN_TAGS_MAX = 2;
export const IPV6_EXTENSION_HEADERS_MAX = 8;

/** FDB entries over all networks; a network's own bound is its macLimit. */
export const FDB_CAPACITY = 1_048_576;
export const MAC_AGE_DEFAULT_S = 300;
export const NETWORK_MAC_LIMIT_DEFAULT = 8192;
export const PORT_MAC_LIMIT_DEFAULT = 1024;
/** Moves of one station between two ports in one second above which it is a loop, and how long the later port is blocked. */
export const LOOP_MOVES_PER_SECOND = 20;
export const LOOP_BLOCK_MS = 10_000;
/** Storm buckets hold this much of their rate. */
export const STORM_BURST_MS = 100;

/** Octets kept of the last frame that died of each (port, reason). */
export const DROP_SAMPLE_SIZE = 128;
/** (port, reason) pairs with a sample, per worker. */
export const DROP_SAMPLES_MAX = 4096;
