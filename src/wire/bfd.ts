/**
 * The BFD control packet (RFC 5880 section 4.1), without authentication: is the other end of a tunnel alive? Carried in UDP
 * (RFC 5881) with TTL 255; that the TTL is still 255 is for its receiver to check.
 *
 *   version (3) | diagnostic (5) | state (2) P F C A D M | detection multiplier (8) | length (8)
 *   my discriminator, your discriminator, desired min TX, required min RX, required min echo RX (32 each)
 *
 * A few packets a second, made and read outside the hot path. Whoever can send to the switch can send these: what a packet
 * may do is decided by its session, which the discriminators name.
 */
import { read32, write32 } from './octets.js';

/** UDP destination port of a single hop (RFC 5881 section 4), and the least source port. */
export const BFD_PORT = 3784;
/** Over several hops (RFC 5883 section 5). */
export const BFD_MULTIHOP_PORT = 4784;
export const BFD_SOURCE_PORT_MIN = 49_152;
/** TTL or hop limit that packets have, sent and received (RFC 5881 section 5). */
export const BFD_TTL = 255;
export const BFD_SIZE = 24;

const BFD_VERSION = 1;

/** States, as they are sent. */
export const BFD_ADMIN_DOWN = 0;
export const BFD_DOWN = 1;
export const BFD_INIT = 2;
export const BFD_UP = 3;

/** Diagnostics: why the state last changed. */
export const BFD_NO_DIAGNOSTIC = 0;
export const BFD_DETECTION_EXPIRED = 1;
export const BFD_NEIGHBOR_DOWN = 3;
export const BFD_FORWARDING_RESET = 4;
export const BFD_PATH_DOWN = 5;
export const BFD_ADMINISTRATIVELY_DOWN = 7;

/** Bits of the second octet, below the state. */
const POLL = 0x20;
const FINAL = 0x10;
const INDEPENDENT = 0x08;
const AUTHENTICATED = 0x04;
const DEMAND = 0x02;
const MULTIPOINT = 0x01;

export interface BfdPacket {
  readonly diagnostic: number;
  readonly state: number;
  /** Asks for an answer with `isFinal` at once. */
  readonly isPoll: boolean;
  readonly isFinal: boolean;
  /** The sender's BFD goes on while its control plane restarts. */
  readonly isControlPlaneIndependent: boolean;
  /** The sender wants no packets once the session is up. */
  readonly isDemand: boolean;
  /** Packets that may get lost before the session is down. */
  readonly multiplier: number;
  /** 32 bits each, not negative; `yours` is 0 as long as the sender has heard nothing. */
  readonly myDiscriminator: number;
  readonly yourDiscriminator: number;
  /** In microseconds. */
  readonly desiredMinTxUs: number;
  readonly requiredMinRxUs: number;
  readonly requiredMinEchoRxUs: number;
}

/** Why a packet is to be discarded. */
export type BfdFault = 'version' | 'length' | 'multiplier' | 'multipoint' | 'discriminator' | 'authentication';

/**
 * Reads the packet from `position` to `end` with the checks of RFC 5880 6.8.6 that need no session, in its order. A packet
 * with authentication is refused ("if the A bit is set and no authentication is in use, the packet MUST be discarded").
 */
export function readBfd(octets: Uint8Array, position: number, end: number): BfdPacket | BfdFault {
  if (position + BFD_SIZE > end) return 'length';
  const flags = octets[position + 1];
  const length = octets[position + 3];
  if (octets[position] >>> 5 !== BFD_VERSION) return 'version';
  if (length < ((flags & AUTHENTICATED) !== 0 ? BFD_SIZE + 2 : BFD_SIZE) || position + length > end) return 'length';
  const packet = fieldsOf(octets, position);
  if (packet.multiplier === 0) return 'multiplier';
  if ((flags & MULTIPOINT) !== 0) return 'multipoint';
  if (packet.myDiscriminator === 0) return 'discriminator';
  if (packet.yourDiscriminator === 0 && packet.state > BFD_DOWN) return 'discriminator';
  if ((flags & AUTHENTICATED) !== 0) return 'authentication';
  return packet;
}

function fieldsOf(octets: Uint8Array, position: number): BfdPacket {
  const flags = octets[position + 1];
  return {
    diagnostic: octets[position] & 0x1f,
    state: flags >>> 6,
    isPoll: (flags & POLL) !== 0,
    isFinal: (flags & FINAL) !== 0,
    isControlPlaneIndependent: (flags & INDEPENDENT) !== 0,
    isDemand: (flags & DEMAND) !== 0,
    multiplier: octets[position + 2],
    myDiscriminator: read32(octets, position + 4) >>> 0,
    yourDiscriminator: read32(octets, position + 8) >>> 0,
    desiredMinTxUs: read32(octets, position + 12) >>> 0,
    requiredMinRxUs: read32(octets, position + 16) >>> 0,
    requiredMinEchoRxUs: read32(octets, position + 20) >>> 0,
  };
}

/** Writes the BFD_SIZE octets of the packet. */
export function writeBfd(octets: Uint8Array, position: number, packet: BfdPacket): void {
  octets[position] = (BFD_VERSION << 5) | packet.diagnostic;
  octets[position + 1] =
    (packet.state << 6) |
    (packet.isPoll ? POLL : 0) |
    (packet.isFinal ? FINAL : 0) |
    (packet.isControlPlaneIndependent ? INDEPENDENT : 0) |
    (packet.isDemand ? DEMAND : 0);
  octets[position + 2] = packet.multiplier;
  octets[position + 3] = BFD_SIZE;
  write32(octets, position + 4, packet.myDiscriminator);
  write32(octets, position + 8, packet.yourDiscriminator);
  write32(octets, position + 12, packet.desiredMinTxUs);
  write32(octets, position + 16, packet.requiredMinRxUs);
  write32(octets, position + 20, packet.requiredMinEchoRxUs);
}
