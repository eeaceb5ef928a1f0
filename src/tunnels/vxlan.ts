/** VXLAN (RFC 7348): a fixed header in UDP, the id a VNI of 24 bits. It has no options and no flags that `write` heeds. @hot */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { isVxlanHeader, VXLAN_HEADER_SIZE, VXLAN_PORT, vxlanVni, writeVxlan } from '../wire/vxlan.js';
import type { TunnelHeader, TunnelKind, TunnelSettings } from './tunnel.js';

export const vxlan: TunnelKind = {
  type: 'vxlan',
  protocol: 'udp',
  defaultPort: VXLAN_PORT,

  headerSize(): number {
    return VXLAN_HEADER_SIZE;
  },

  read(octets: Uint8Array, at: number, end: number, header: TunnelHeader): number {
    if (!isVxlanHeader(octets, at, end)) return -dropReasonNumber.tunnel_bad_header;
    header.id = vxlanVni(octets, at);
    header.hasId = true;
    header.isSummed = false;
    return VXLAN_HEADER_SIZE;
  },

  write(octets: Uint8Array, position: number, _end: number, settings: TunnelSettings): number {
    const start = position - VXLAN_HEADER_SIZE;
    writeVxlan(octets, start, settings.id);
    return start;
  },
};
