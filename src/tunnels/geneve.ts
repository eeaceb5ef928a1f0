/**
 * Geneve (RFC 8926): a header with options in UDP, the id a VNI of 24 bits. Options of others are walked, so that lies are
 * found, and skipped: none has a meaning here, so one that is critical costs its frame. Own ones go out as configured. @hot
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import {
  GENEVE_HEADER_SIZE,
  GENEVE_PORT,
  geneveHeaderSize,
  geneveOptions,
  geneveVni,
  isGeneveHeader,
  OPTIONS_CRITICAL,
  OPTIONS_SKIPPABLE,
  writeGeneve,
} from '../wire/geneve.js';
import type { TunnelHeader, TunnelKind, TunnelSettings } from './tunnel.js';

export const geneve: TunnelKind = {
  type: 'geneve',
  protocol: 'udp',
  defaultPort: GENEVE_PORT,

  headerSize(_flags: number, optionsSize: number): number {
    return GENEVE_HEADER_SIZE + optionsSize;
  },

  read(octets: Uint8Array, at: number, end: number, header: TunnelHeader): number {
    if (!isGeneveHeader(octets, at, end)) return -dropReasonNumber.tunnel_bad_header;
    const size = geneveHeaderSize(octets, at);
    const found = geneveOptions(octets, at + GENEVE_HEADER_SIZE, at + size);
    if (found !== OPTIONS_SKIPPABLE)
      return -(found === OPTIONS_CRITICAL ? dropReasonNumber.tunnel_option : dropReasonNumber.tunnel_bad_header);
    header.id = geneveVni(octets, at);
    header.hasId = true;
    header.isSummed = false;
    return size;
  },

  write(octets: Uint8Array, position: number, _end: number, settings: TunnelSettings): number {
    const { options, optionsStart, optionsSize } = settings;
    const first = position - optionsSize;
    for (let index = 0; index < optionsSize; index++) octets[first + index] = options[optionsStart + index];
    writeGeneve(octets, first - GENEVE_HEADER_SIZE, settings.id, optionsSize);
    return first - GENEVE_HEADER_SIZE;
  },
};
