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
/** FDB entries that a worker's lookup remembers by some bits of their keys; a power of two. */
export const HINT_COUNT = 16_384;
/** Addresses of which a worker remembers how they were routed last; a power of two. */
export const ROUTE_HINT_COUNT = 2048;
/** Stations that routers send to of which a worker remembers the way during a batch; a power of two. */
export const WAY_COUNT = 512;
/** Pairs of connections of which a worker remembers the translation; a power of two. 64 octets a connection and direction. */
export const TRANSLATION_SETS = 8192;
/** Batches looked up without them after one for which most were wrong. */
export const HINT_DISTRUST_BATCHES = 15;
/** (slot, member) pairs handled at once on the way out; floods wider than this go in several rounds. */
export const EGRESS_BATCH_SIZE = 1024;

export const WORKERS_MAX = 16;
export const PORTS_MAX = 4096;
export const QUEUES_PER_PORT_MAX = 16;
export const NETWORKS_MAX = 16_384;
export const ROUTERS_MAX = 4096;
/** Zones of connections: networks, and behind them routers that translate addresses. */
export const ZONES_MAX = NETWORKS_MAX + ROUTERS_MAX;
/** Outside addresses whose ports routers give to inside addresses: 25 KiB of shared memory each. */
export const OUTSIDES_MAX = 256;
/** Memberships of ports in networks. */
export const MEMBERS_MAX = 65_536;

/**
 * Buffers lent to the kernel for one queue's reception: the most, and what a queue begins with. The ring of 256 descriptors
 * fills one page, which is what io_uring wants.
 */
export const RECEIVE_BUFFERS_MAX = 256;
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
/** Tags that offload checks look behind: the two a sender may have put there and the one of the network that carries it. */
export const OFFLOAD_TAGS_MAX = VLAN_TAGS_MAX + 1;
/** Least payload octets a segment of a super-frame may have, as in Linux for TCP; smaller only multiplies work. */
export const TCP_SEGMENT_SIZE_MIN = 48;
export const UDP_SEGMENT_SIZE_MIN = 8;
/** Frames one super-frame may become: 65,495 octets of TCP payload in the smallest segments. */
export const SEGMENTS_MAX = 1365;

/** Stations a second that may move to remotes of one underlay: VMs migrate, but a host that forges addresses takes few. */
export const TUNNEL_MOVES_PER_SECOND = 200;
/** Tunnels: ways of a network to a remote. At most half of them are learned from what arrives. */
export const TUNNELS_MAX = 65_536;
/** Sockets of all underlays to send by: of the numbers a worker's ring has for descriptors, the other half is the ports'. */
export const SOURCE_SOCKETS_MAX = 4096;
/** Octets of options a network's tunnel headers may have: with the longest header they fit SLOT_HEADROOM. */
export const TUNNEL_OPTIONS_SIZE_MAX = 224;
/** Data octets of one Geneve option (RFC 8926 section 3.5: five bits of four-octet words). */
export const GENEVE_OPTION_SIZE_MAX = 124;
/** A learned tunnel goes this long after the last station that was seen through it has expired. */
export const TUNNEL_KEPT_S = 60;
/** Remotes that were learned, of each underlay port, whose paths are followed as those of configured ones are: 5 us each time. */
export const LEARNED_PATHS_MAX = 1024;
/** A tunnel is up when something came through it within this time. */
export const TUNNEL_SILENCE_S = 60;
/** Octets of one worker's ring of frames for the main thread, a power of two, and of the longest that go through it. */
export const PUNT_RING_SIZE = 512 * 1024;
export const PUNT_SIZE_MAX = 1600;
/** Segments a second of one port that are handed to the metadata service: an upload of some Mbit/s. */
export const METADATA_SEGMENTS_PER_SECOND = 2000;
/** TCP connections a second to services of the switch that one port may ask for. */
export const TCP_OPENINGS_PER_SECOND = 100;
/**
 * Of all ports together, what the main thread answers: messages for the address service, questions for names, segments for the
 * metadata service, and connections that begin, which take it some 100, 35, 15 and 400 us each. So none of them takes it much more
 * than a fifth of its time, whoever floods.
 */
export const ADDRESS_MESSAGES_TOTAL_PER_SECOND = 2000;
export const NAMES_TOTAL_PER_SECOND = 4000;
export const METADATA_SEGMENTS_TOTAL_PER_SECOND = 10_000;
export const TCP_OPENINGS_TOTAL_PER_SECOND = 400;
/** TCP connections of machines to services of the switch, and of those from one port. */
export const TCP_CONNECTIONS_MAX = 2048;
export const TCP_CONNECTIONS_PER_PORT = 16;
/**
 * Metadata requests at the endpoint at once, and of those one port's, which is also what one connection may ask for before it is
 * answered; those of all ports that begin in a second (some 700 us each); octets of a request's body.
 */
export const METADATA_REQUESTS_MAX = 64;
export const METADATA_REQUESTS_PER_PORT = 4;
export const METADATA_REQUESTS_PER_SECOND = 400;
export const METADATA_BODY_SIZE_MAX = 64 * 1024;
/** Questions that wait for resolvers, each with a socket, and of those what one port's machine may cause. */
export const DNS_OUTSTANDING_MAX = 512;
export const DNS_OUTSTANDING_PER_PORT = 64;
/** Octets of the ring of frames that the main thread has one worker send. A power of two. */
export const INJECTION_RING_SIZE = 256 * 1024;
/** The longest between two BFD packets that configuration may ask for, in ms: who wants less liveness wants none. */
export const BFD_INTERVAL_MAX_MS = 60_000;
/** Datagrams and octets of one message of equal datagrams to a UDP socket (UDP_SEGMENT: udp(7), UDP_MAX_SEGMENTS). */
export const DATAGRAMS_PER_MESSAGE_MAX = 64;
export const MESSAGE_SIZE_MAX = 65_507;
/**
 * Sends of messages (of GRE: of packets) on their way to the kernel in one worker, counted until their completion is seen,
 * and of those what the frames of one port in one batch may ask for: tiny segments make a thousand of a super-frame.
 */
export const MESSAGES_MAX = 8192;
export const MESSAGES_PER_PORT_MAX = 4096;
/** Octets of datagrams the kernel keeps for an underlay's socket (it counts twice that, with its overhead): some ms at 10 Gbit/s. */
export const UNDERLAY_RECEIVE_BUFFER = 8 * 1024 * 1024;
export const UNDERLAY_SEND_BUFFER = 4 * 1024 * 1024;
/** Super-frames that a worker is putting together from received segments at once; one more finishes the oldest. */
export const MERGED_FLOWS_MAX = 8;
/** Remote groups that the rules of one port's groups may ask for: the longest list of sets that an address can be in. */
export const REMOTE_GROUPS_MAX = 1024;
/** Rules of a configuration, each ACL's and group's default among them, and numbers for them: while one set replaces another both have some. */
export const RULES_MAX = 65_536;
export const RULE_NUMBERS = 2 * RULES_MAX;
/** Matches of rules with `log` that a worker tells of a second, and the daemon logs of all workers. */
export const RULE_LOG_PER_SECOND = 100;
/** Octets of a frame that are kept for the log, and of one worker's ring of those (a power of two, of two frames at least). */
export const RULE_LOG_OCTETS = 128;
export const RULE_LOG_RING_SIZE = 256 * 1024;
/** Fragments that routers make of the copies of one round (EGRESS_BATCH_SIZE): two for each, and some of long packets. */
export const FRAGMENTS_MADE_MAX = 4096;
/**
 * Frames the switch makes itself (ICMP errors, ARP answers) while it handles one batch; further occasions get none. An answer and
 * a question for each frame: so those of one port can't use up what another's would be answered with.
 */
export const REPLIES_PER_BATCH_MAX = 2 * BATCH_SIZE;
/** Bindings of addresses to MACs over all networks that suppress ARP and ND or have routers, unless the configuration says. */
export const NEIGHBOR_CAPACITY = 65_536;
/** What all hosts behind one underlay or uplink may have taught, where that is no more than half the table. */
export const NEIGHBORS_PER_UNDERLAY = 32_768;
/** A binding that a router used in so many seconds does not give way; such ones that one claim looks at for another that does. */
export const NEIGHBOR_USED_S = 120;
export const NEIGHBOR_USED_LOOKS = 32;
/** New or changed bindings a port may teach in a second. What it repeats costs no lock and is not counted. */
export const NEIGHBORS_LEARNED_PER_SECOND = 10_000;
/** Ports that are tried for a connection with endpoint-dependent mapping. */
export const NAT_TRIES_MAX = 64;
/** A router asks again for a station that it has not heard for this long, in seconds, while it goes on sending there. */
export const NEIGHBOR_STALE_S = 30;
/** Addresses that one worker waits for an answer about, and of those what one port's packets may cause. */
export const PENDING_HOPS_MAX = 1024;
export const PENDING_HOPS_PER_PORT = 128;
/** Questions for one address, a second apart, until packets to it are given up. */
export const NEIGHBOR_QUESTIONS_MAX = 3;
/** Packets a worker keeps for all unanswered addresses: an eighth of its slots. */
export const PENDING_PACKETS_MAX = 2048;
/** Of those, from one port. */
export const PENDING_PACKETS_PER_PORT = 256;
/** Routers of the switch that send a packet to another router of it, one after another: each is a further batch. */
export const ROUTERS_PER_PACKET_MAX = 8;
/** Echo requests a second that routers answer one port. */
export const ECHO_REPLIES_PER_SECOND = 1000;
/** An address that two MACs claimed is answered for again this long after the last change, in seconds. */
export const NEIGHBOR_CONTEST_S = 30;
/** Bindings looked at for expired ones each second. */
export const NEIGHBOR_SWEEP_ENTRIES = 16_384;
/** Datagrams whose fragments the table can follow; configuration says how many it does (1,024). */
export const FRAGMENT_DATAGRAMS_MAX = 16_384;
/** Fragments of one datagram that are let through or wait. */
export const FRAGMENTS_PER_DATAGRAM_MAX = 64;
/**
 * Later fragments that wait for their first in one worker: slots, the divisor of the pool's slots that bounds them too, what
 * each counts at least (in octets: so 2 MiB bound both), and the share of it that one port may use.
 */
export const FRAGMENTS_WAITING_MAX = 1024;
export const FRAGMENTS_WAITING_SLOTS_DIVISOR = 16;
export const FRAGMENT_CHARGE_MIN = 2048;
export const FRAGMENTS_WAITING_PORT_SHARE = 0.25;
/** Tries to get the fragments' lock: some microseconds. Who does not get it tries again in the next breath. */
export const FRAGMENT_LOCK_TRIES = 64;
/** Records looked at for one to give way when the table is full, and for expired ones each second. */
export const FRAGMENT_FAIRNESS_STEPS = 64;
export const FRAGMENT_SWEEP_ENTRIES = 4096;
/** A worker in which fragments wait since at most this time (in s) sleeps no longer than that (in ms): another worker may have the first. */
export const FRAGMENT_FRESH_S = 1;
export const FRAGMENT_SLEEP_MS = 1;
/** Neighbour solicitations and advertisements that are longer (in octets of ICMPv6) are passed on unread. */
export const ND_MESSAGE_SIZE_MAX = 512;
/** The most connections that may be asked for: 512 MB. */
export const CONNECTION_CAPACITY_MAX = 4_000_000;
/**
 * Tries for the lock of the connections, then turns given up for it, and the milliseconds that those may take in one breath
 * of a worker, after which its new connections are dropped.
 */
export const CONNECTION_LOCK_SPINS = 2000;
export const CONNECTION_LOCK_PAUSES = 10_000;
export const CONNECTION_LOCK_MS = 4;
/** Connections that the main thread removes in one hold of that lock (some 30 us), and looks at in one turn. */
export const CONNECTION_HOLD_MAX = 64;
export const CONNECTION_EXPIRY_TURN_MS = 4;
/** FDB entries over all networks; a network's own bound is its macLimit. */
export const FDB_CAPACITY = 1_048_576;
export const MAC_AGE_DEFAULT_S = 300;
export const NETWORK_MAC_LIMIT_DEFAULT = 8192;
export const PORT_MAC_LIMIT_DEFAULT = 1024;
/** Moves of one station between two ports in one second above which it is a loop, and how long the later port is blocked. */
export const LOOP_MOVES_PER_SECOND = 20;
export const LOOP_BLOCK_MS = 10_000;
/** Moves of a station counted against a port, within a second or two, from which further ones count against it too. */
export const LOOP_SUSPICION_MOVES = 3;
/** Storm buckets hold this much of their rate. */
export const STORM_BURST_MS = 100;

/** Octets kept of the last frame that died of each (port, reason). */
export const DROP_SAMPLE_SIZE = 128;
/** (port, reason) pairs with a sample, per worker. */
export const DROP_SAMPLES_MAX = 4096;

/** The control socket. Octets of one message, and how deep it may nest. */
export const CONTROL_MESSAGE_SIZE_MAX = 65_536;
export const CONTROL_DEPTH_MAX = 32;
/** Clients at once; one more closes the one longest idle without a stream. */
export const CONTROL_CLIENTS_MAX = 64;
export const CONTROL_STREAMS_PER_CLIENT_MAX = 8;
/** Octets of an over-long message that are read and thrown away before its sender is cut off. */
export const CONTROL_SKIP_MAX = 1024 * 1024;
/** Octets of one configuration document, and documents being sent in pieces at once (the longest idle gives way). */
export const CONTROL_DOCUMENT_SIZE_MAX = 16 * 1024 * 1024;
export const CONTROL_DOCUMENTS_MAX = 4;
/** Octets of one reply; longer lists are asked for in parts. */
export const CONTROL_REPLY_SIZE_MAX = 32 * 1024 * 1024;
/** Octets waiting for one client: above the first its requests wait, above the second its streams end with it. */
export const CONTROL_OUT_PAUSE = 256 * 1024;
export const CONTROL_OUT_STREAM_MAX = 1024 * 1024;
/** Octets waiting for all clients together; above it the client with the most is closed. */
export const CONTROL_OUT_TOTAL_MAX = 64 * 1024 * 1024;
/** A client that takes nothing of what waits for it is closed after this long. */
export const CONTROL_STALL_MS = 30_000;
/** One client's requests are served this long before the others get their turn. */
export const CONTROL_SLICE_MS = 1;
/** Connections to the metrics listener at once. */
export const METRICS_CONNECTIONS_MAX = 16;

/** The longest a worker sleeps without traffic, in ms: also the period of its heartbeat. */
export const SLEEP_MAX_MS = 250;
/** The longest a worker spins after traffic before it sleeps, in ms. */
export const SPIN_MAX_MS = 0.05;
/** Frames a breath, on average, from which on it does not spin: it is a stream, not questions and answers. */
export const SPIN_FRAMES_MAX = 3;
/** Frames one stream or ring queue hands over in a breath. */
export const WATCHED_FRAMES_PER_BREATH = 64;
/** A worker whose heartbeat is older than this is taken for stuck and replaced. */
export const WORKER_STUCK_MS = 2000;
/** The longest a worker may take from being started to its first breath. */
export const WORKER_START_MAX_MS = 30_000;
/** Heap of a worker's thread in MiB. Slots, tables and snapshots lie outside it; a worker that fills it leaks, and is replaced. */
export const WORKER_HEAP_MIB = 256;
/** Deaths of one worker within WORKER_DEATHS_WINDOW_MS after which it is restarted only once a window. */
export const WORKER_DEATHS_MAX = 5;
export const WORKER_DEATHS_WINDOW_MS = 10_000;

/** A configuration document (its size: CONTROL_DOCUMENT_SIZE_MAX): nesting, aliases of YAML followed, lexical pieces, values. */
export const DOCUMENT_DEPTH_MAX = 32;
export const DOCUMENT_ALIASES_MAX = 1000;
export const DOCUMENT_LEXEMES_MAX = 4_000_000;
export const DOCUMENT_VALUES_MAX = 1_000_000;
/** A longer document (in UTF-16 units) is checked in a thread of its own: what is shorter takes the main thread some ms. */
export const DOCUMENT_DIRECT_LENGTH_MAX = 64 * 1024;
/** Heap of that thread in MiB, enough for any document within the bounds above, and the longest a check may take. */
export const DOCUMENT_HEAP_MIB = 2048;
export const DOCUMENT_CHECK_MAX_MS = 120_000;
/** How long the thread waits for another one, with its heap. */
export const DOCUMENT_THREAD_IDLE_MS = 30_000;
/** Errors told of one document; the rest is counted. */
export const CONFIG_FAULTS_MAX = 1000;
/** The longest duration that configuration may ask for, in milliseconds: a year. Also fits an Int32 in seconds. */
export const DURATION_MAX_MS = 366 * 86_400_000;
/** Bounds of an interface's MTU in octets: IPv4's least, and what Linux lets a TAP have. */
export const MTU_MIN = 68;
export const MTU_MAX = 65_521;
/** Longest name of a Linux network interface in characters, and of a Unix socket's path in octets. */
export const DEVICE_NAME_LENGTH_MAX = 15;
export const SOCKET_PATH_SIZE_MAX = 107;

/** Octets of a ring that carries frames between the main thread and a worker (in-process ports), each way. A power of two. */
export const FRAME_RING_SIZE = 1024 * 1024;
/** Octets waiting for a stream peer (QEMU) that does not read; more is tx_full. Two of the longest frames always fit. */
export const STREAM_WRITE_BUFFER = 512 * 1024;
/** Octets the kernel keeps for a stream peer that is slow (it counts twice that): more would only delay what comes behind. */
export const STREAM_SOCKET_BUFFER = 1024 * 1024;
/** Octets read at once from a stream peer. More than the longest frame with its length. */
export const STREAM_READ_BUFFER = 256 * 1024;
/** The longest frame a stream peer may announce, in octets. What is longer than a slot is dropped; beyond this it lies. */
export const STREAM_FRAME_SIZE_MAX = 1024 * 1024;

/** Period of the main thread's sampling of rates and of its sweep through the FDB, in ms; entries swept each time. */
export const SAMPLE_PERIOD_MS = 1000;
export const FDB_SWEEP_ENTRIES = 65_536;
/** Entries forgotten each time at most, of networks and ports whose macLimit was lowered below what they hold. */
export const FDB_TRIM_ENTRIES = 16_384;
/** Octets of frames the kernel keeps for one AF_PACKET socket, each way (it counts twice that, with its overhead). */
export const PACKET_SOCKET_BUFFER = 4 * 1024 * 1024;
/** Octets of the daemon's saved configuration: a document whose every character is escaped, and the indices. */
export const STORED_CONFIG_SIZE_MAX = 128 * 1024 * 1024;
