/**
 * What an entry of the connection table is made of: the words of its key and value, the classes of its timeout, and what a
 * slot says of how its frame stands to a connection. Constants only; connection-table.ts says how they are used. @hot
 */

/**
 * Key: both endpoints, the lower first, so that both directions of a flow have one key.
 *
 *   0..3  address of the lower endpoint, four words of network order, IPv4 mapped (0, 0, 0xffff, address)
 *   4..7  address of the higher endpoint
 *   8     port of the lower << 16 | port of the higher; ICMP: identifier twice; GRE: its key
 *   9     zone << 16 | protocol << 8 | kind
 */
export const CONNECTION_KEY_WORDS = 10;
export const KEY_LOWER = 0;
export const KEY_HIGHER = 4;
export const KEY_PORTS = 8;
export const KEY_ZONE = 9;

/** Bits of the key's kind. */
export const KIND_IPV6 = 1 << 0;
/** Which query of ICMP: an echo never meets a timestamp's entry, nor neighbour discovery's anybody's. 0: it is none. */
export const KIND_QUERY_SHIFT = 1;
export const KIND_QUERY_MASK = 7 << KIND_QUERY_SHIFT;
export const QUERY_ECHO = 1;
export const QUERY_TIMESTAMP = 2;
export const QUERY_INFORMATION = 3;
export const QUERY_ADDRESS_MASK = 4;
export const QUERY_NODE_INFORMATION = 5;
/** The lower endpoint asks: two stations that ping each other with one identifier have two connections. */
export const KIND_LOWER_ASKS = 1 << 4;
/**
 * Of NAT, not connections: what an inside endpoint (lower address, lower port) is mapped to, and what an outside one is.
 * The value has the other endpoint from M_ADDRESS on, and V_LINK the other mapping's number.
 */
export const KIND_MAPPED_INSIDE = 1 << 6;
export const KIND_MAPPED_OUTSIDE = 1 << 7;
/** Of NAT, too: somebody behind the outside endpoint (lower address and port) has sent to the higher address (nat-contacts.ts). */
export const KIND_CONTACT = 1 << 5;
/** What NAT keeps beside connections, and is none. */
export const KIND_BESIDE = KIND_MAPPED_INSIDE | KIND_MAPPED_OUTSIDE | KIND_CONTACT;

/** Value words. */
export const CONNECTION_VALUE_WORDS = 11;
export const V_STATE = 0;
/** Policy epoch under which both ends allowed the connection. */
export const V_EPOCH = 1;
/** Source port and destination port, as `portsWord` packs them. */
export const V_PORTS = 2;
/**
 * TCP, of the original direction, then of the reply's: the sequence number behind its last octet seen, the highest that the
 * other side allows, and the highest it acknowledged. SCTP keeps the two verification tags in the first of each.
 */
export const V_ORIGINAL = 3;
export const V_REPLY = 6;
export const SIDE_END = 0;
export const SIDE_MAX_END = 1;
export const SIDE_MAX_ACK = 2;
/** Largest window of each direction as tcp-tracking.ts packs it: original << 16 | reply. */
export const V_WINDOWS = 9;
/** NAT: the number of the other entry. 0: none. */
export const V_LINK = 10;

/** Value words of the second entry of a translated connection: the inside mapping and the contact it keeps alive; 0: none. */
export const T_MAPPING = 1;
export const T_CONTACT = 2;
/**
 * Value words of a mapping: the address and port it leads to; of the outside one, whose port map and protocol; how many
 * connections use it. A contact has the last of them only.
 */
export const M_OUTSIDE = 1;
export const M_REFERENCES = 2;
export const M_ADDRESS = 3;
export const M_PORT = 7;

/** Bits of V_STATE. The lowest four are the protocol's own state. */
export const STATE_MASK = 0xf;
/** Class of timeouts that the connection is in. The list that the entry is on follows it, perhaps later. */
export const CLASS_SHIFT = 4;
export const CLASS_MASK = 0xf << CLASS_SHIFT;
/** The original direction is the one from the key's lower endpoint. */
export const LOWER_IS_ORIGINAL = 1 << 8;
export const SEEN_REPLY = 1 << 9;
/** TCP: window scale of the original direction and of the reply's, four bits each, and whether each offered one. */
export const SCALE_ORIGINAL_SHIFT = 10;
export const SCALE_REPLY_SHIFT = 14;
export const SCALE_MASK = 0xf;
export const OFFERS_SCALE_ORIGINAL = 1 << 18;
export const OFFERS_SCALE_REPLY = 1 << 19;
/** TCP: picked up in the midst, so that windows are not known and not checked. */
export const LIBERAL = 1 << 20;
/** TCP: a SYN of who began was let through although the connection stands; its SIDE_MAX_ACK is then what it asks to be acknowledged. */
export const SYN_PENDING = 1 << 21;
/** TCP: this direction has acknowledged something. */
export const HAS_ACKED_ORIGINAL = 1 << 23;
export const HAS_ACKED_REPLY = 1 << 24;
/**
 * The second entry of a translated connection: found by the reply as it arrives, LOWER_IS_ORIGINAL saying that the lower
 * endpoint sends it; nothing else of the state means anything.
 */
export const IS_TRANSLATED_REPLY = 1 << 25;
/** Beside it: the connection's destination is inside because its outside port is mapped, not by a forward or floating address. */
export const ENTERED_BY_MAPPING = 1 << 26;

/** Classes of timeouts, in the order of `connectionClasses`. */
export const CLASS_TCP_SYN = 0;
export const CLASS_TCP_ESTABLISHED = 1;
export const CLASS_TCP_FIN = 2;
export const CLASS_TCP_TIME_WAIT = 3;
export const CLASS_TCP_RESET = 4;
export const CLASS_UDP = 5;
export const CLASS_UDP_STREAM = 6;
export const CLASS_ICMP = 7;
export const CLASS_OTHER = 8;
/** As settings.conntrack.timeouts names them. */
export const connectionClasses = [
  'tcpSyn',
  'tcpEstablished',
  'tcpFin',
  'tcpTimeWait',
  'tcpReset',
  'udp',
  'udpStream',
  'icmp',
  'other',
] as const;
export const CLASS_COUNT = connectionClasses.length;
/** Behind the classes, groups of what NAT keeps beside connections and goes with them: mappings of inside endpoints, and the rest. */
export const GROUP_MAPPINGS = CLASS_COUNT;
export const GROUP_ATTACHED = CLASS_COUNT + 1;
export const GROUPS_PER_PORT = CLASS_COUNT + 2;

/** Bits of a slot's connectionState. The frame travels in the reply direction. */
export const CONNECTION_REPLY = 1 << 0;
/** Both directions of its connection have been seen, this frame included. */
export const CONNECTION_ESTABLISHED = 1 << 1;
/** There is no connection yet; the frame may begin one (`connection` is -1). */
export const CONNECTION_NEW = 1 << 2;
/** An ICMP error about a packet of `connection`. CONNECTION_REPLY says which way the error travels. */
export const CONNECTION_RELATED = 1 << 3;
/** Neither belongs to a connection nor may begin one. */
export const CONNECTION_INVALID = 1 << 4;
/**
 * It is valid, its connection was allowed by both ends under the policy in force, and rules alone decide about it: by its protocol and
 * ports nothing else is asked (isOrdinary). Set where it is looked up, so that neither end asks again.
 */
export const AS_JUDGED = 1 << 18;

/** In a slot's `connection`. */
export const UNTRACKED = 0;
export const NO_CONNECTION_YET = -1;

const PORT_BITS = 13;
const PORT_MASK = (1 << PORT_BITS) - 1;

/** Indices of the ports that the original direction came in by and went out by; -1: none. */
export function portsWord(source: number, destination: number): number {
  return (source + 1) | ((destination + 1) << PORT_BITS);
}

export function sourcePortOf(ports: number): number {
  return (ports & PORT_MASK) - 1;
}

export function destinationPortOf(ports: number): number {
  return ((ports >>> PORT_BITS) & PORT_MASK) - 1;
}
