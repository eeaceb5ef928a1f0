/** ICMP (RFC 792) and ICMPv6 (RFC 4443, RFC 4861) headers. @hot */

/** Octets from the start of the message. */
export const ICMP_TYPE = 0;
export const ICMP_CODE = 1;
export const ICMP_CHECKSUM = 2;
/** Of echo messages, and of IPv4's other queries. */
export const ICMP_ID = 4;
export const ICMP_SEQUENCE = 6;
/** Every message begins with eight octets; in an error the packet that caused it follows. */
export const ICMP_HEADER_SIZE = 8;

export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_SOURCE_QUENCH = 4;
export const ICMP_REDIRECT = 5;
export const ICMP_ECHO_REQUEST = 8;
/** RFC 1256. */
export const ICMP_ROUTER_ADVERTISEMENT = 9;
export const ICMP_TIME_EXCEEDED = 11;
export const ICMP_PARAMETER_PROBLEM = 12;
/** From here to the mask reply: questions and answers in turn, of the time, information and the address mask (RFC 792, RFC 950). */
export const ICMP_TIMESTAMP = 13;
export const ICMP_MASK_REPLY = 18;

export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_PACKET_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_PARAMETER_PROBLEM = 4;
/** The least type that is no error. */
export const ICMPV6_INFORMATIONAL = 128;
export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
/** MLD (RFC 2710, RFC 3810). */
export const ICMPV6_MLD_REPORT = 131;
export const ICMPV6_MLD2_REPORT = 143;
export const ICMPV6_ROUTER_SOLICITATION = 133;
export const ICMPV6_ROUTER_ADVERTISEMENT = 134;
export const ICMPV6_NEIGHBOR_SOLICITATION = 135;
export const ICMPV6_NEIGHBOR_ADVERTISEMENT = 136;
export const ICMPV6_REDIRECT = 137;

/** Of neighbour solicitations and advertisements: the address that is asked for or told. */
export const ND_TARGET = 8;
export const ND_MESSAGE_SIZE_MIN = 24;
