/**
 * GRE with Ethernet frames in it (RFC 2784, 2890): directly in IP, the id a key of 32 bits or none at all. A checksum that is
 * there is verified, whether or not the network sends one; sequence numbers are accepted and mean nothing here, as frames
 * of an Ethernet may come in any order.
 *
 * NVGRE (RFC 7637) is GRE whose key is a VSID of 24 bits in front of a flow id of 8: a matter of the network's id
 * (TUNNEL_ID_HAS_FLOW) and of its 256 places in the tree of ids (pipeline/snapshot.ts), not of this header. @hot
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import {
  GRE_HAS_CHECKSUM,
  GRE_HAS_KEY,
  GRE_HAS_SEQUENCE,
  greFlags,
  greHeaderSize,
  greKey,
  isGreChecksumRight,
  isGreHeader,
  writeGre,
} from '../wire/gre.js';
import {
  TUNNEL_HAS_ID,
  TUNNEL_SENDS_CHECKSUM,
  TUNNEL_SENDS_SEQUENCE,
  type TunnelHeader,
  type TunnelKind,
  type TunnelSettings,
} from './tunnel.js';

export const gre: TunnelKind = {
  type: 'gre',
  protocol: 'gre',
  defaultPort: 0,

  headerSize(flags: number): number {
    return greHeaderSize(wireFlags(flags));
  },

  read(octets: Uint8Array, at: number, end: number, header: TunnelHeader): number {
    if (!isGreHeader(octets, at, end)) return -dropReasonNumber.tunnel_bad_header;
    const flags = greFlags(octets, at);
    header.isSummed = (flags & GRE_HAS_CHECKSUM) !== 0;
    if (header.isSummed && !isGreChecksumRight(octets, at, end)) return -dropReasonNumber.tunnel_checksum;
    header.hasId = (flags & GRE_HAS_KEY) !== 0;
    header.id = header.hasId ? greKey(octets, at) : 0;
    return greHeaderSize(flags);
  },

  write(octets: Uint8Array, position: number, end: number, settings: TunnelSettings): number {
    const flags = wireFlags(settings.flags);
    const start = position - greHeaderSize(flags);
    writeGre(octets, start, end, flags, settings.id, settings.sequence);
    return start;
  },
};

/** GRE_HAS_… bits for TUNNEL_… ones. */
function wireFlags(flags: number): number {
  return (
    ((flags & TUNNEL_HAS_ID) !== 0 ? GRE_HAS_KEY : 0) |
    ((flags & TUNNEL_SENDS_CHECKSUM) !== 0 ? GRE_HAS_CHECKSUM : 0) |
    ((flags & TUNNEL_SENDS_SEQUENCE) !== 0 ? GRE_HAS_SEQUENCE : 0)
  );
}
