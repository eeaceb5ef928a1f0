import { describe, expect, test } from 'vitest';
import { dropReasonNumber } from '../../src/dataplane/drop-reason.js';
import { gre } from '../../src/tunnels/gre.js';
import { referenceSum } from '../kernels/reference.js';
import { type TunnelForm, tunnelKindSuite } from '../suites/tunnel-kind.js';

const HAS_ID = 1;
const SENDS_CHECKSUM = 2;
const SENDS_SEQUENCE = 4;

const word = (value: number) => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];

/** RFC 2784 2.4: the sum over header and payload, the checksum's own field counted as zero. */
function checksumOf(header: readonly number[], frame: Uint8Array): number {
  const covered = Uint8Array.of(...header, ...frame);
  return 0xffff - referenceSum(covered, 0, covered.length);
}

function form(flags: number): TunnelForm {
  const hasId = (flags & HAS_ID) !== 0;
  const isSummed = (flags & SENDS_CHECKSUM) !== 0;
  const hasSequence = (flags & SENDS_SEQUENCE) !== 0;
  return {
    name: `with ${[hasId ? 'a key' : 'no key', isSummed && 'a checksum', hasSequence && 'a sequence number'].filter(Boolean).join(', ')}`,
    flags,
    options: [],
    hasId,
    isSummed,
    header: (id, sequence, frame) => {
      const first = (isSummed ? 0x80 : 0) + (hasId ? 0x20 : 0) + (hasSequence ? 0x10 : 0);
      const key = hasId ? word(id) : [];
      const last = hasSequence ? word(sequence) : [];
      if (!isSummed) return [first, 0, 0x65, 0x58, ...key, ...last];
      const checksum = checksumOf([first, 0, 0x65, 0x58, 0, 0, 0, 0, ...key, ...last], frame);
      return [first, 0, 0x65, 0x58, checksum >> 8, checksum & 0xff, 0, 0, ...key, ...last];
    },
  };
}

describe('a GRE header', () => {
  tunnelKindSuite({
    kind: gre,
    type: 'gre',
    protocol: 'gre',
    defaultPort: 0,
    forms: [1, 0, 2, 3, 4, 5, 6, 7].map(form),
    idMax: 0xffff_ffff,
    ignoredBits: [0x03, 0xf8, 0, 0, 0, 0, 0, 0],
    refusedBits: [0x4c, 0x07, 0xff, 0xff, 0, 0, 0, 0],
    idBits: [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    vectors: [
      { name: 'with routing is refused', octets: [0x40, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0], reason: 'tunnel_bad_header' },
      { name: 'with a strict source route is refused', octets: [0x08, 0, 0x65, 0x58], reason: 'tunnel_bad_header' },
      { name: 'with the reserved bits that are to be ignored is accepted', octets: [0x03, 0xf8, 0x65, 0x58] },
      {
        name: 'of version 1 (PPTP) is refused',
        octets: [0x20, 1, 0x88, 0x0b, 0, 0, 0, 9],
        reason: 'tunnel_bad_header',
      },
      { name: 'for IPv4 packets is refused', octets: [0, 0, 0x08, 0x00, 0x45, 0, 0, 20], reason: 'tunnel_bad_header' },
      {
        name: 'with a wrong checksum is refused',
        octets: [0x80, 0, 0x65, 0x58, 0, 1, 0, 0],
        reason: 'tunnel_checksum',
      },
      { name: 'with a right checksum is accepted', octets: [0x80, 0, 0x65, 0x58, 0x1a, 0xa7, 0, 0] },
      {
        name: 'whose checksum covers the reserved field is accepted',
        octets: [0x80, 0, 0x65, 0x58, 0x08, 0x95, 0x12, 0x12],
      },
    ],
  });

  test('of each mixture of flags, version and length gets the verdict of RFC 2784 and 2890', () => {
    const header = { id: 0, hasId: false, isSummed: false };
    let accepted = 0;
    for (let upper = 0; upper < 32; upper++)
      for (let version = 0; version < 8; version++)
        for (let length = 0; length <= 24; length++) {
          const [isSummed, isRouted, hasKey, hasSequence, isStrict] = [16, 8, 4, 2, 1].map(
            (bit) => (upper & bit) !== 0,
          );
          const octets = Uint8Array.of(
            upper << 3,
            version,
            0x65,
            0x58,
            ...new Array(length - Math.min(length, 4)).fill(0),
          ).slice(0, length);
          const size = 4 + 4 * [isSummed, hasKey, hasSequence].filter(Boolean).length;
          let expected = size;
          if (length < size || isRouted || isStrict || version !== 0) expected = -dropReasonNumber.tunnel_bad_header;
          // The checksum is zero, which never is right: the protocol alone makes the sum another one.
          else if (isSummed) expected = -dropReasonNumber.tunnel_checksum;
          else accepted++;
          expect(gre.read(octets, 0, length, header), `${upper} ${version} ${length}`).toBe(expected);
        }
    expect(accepted).toBe(21 + 17 + 17 + 13);
  });

  test('without a key is told from one with key 0', () => {
    const header = { id: 5, hasId: true, isSummed: false };
    expect(gre.read(Uint8Array.of(0, 0, 0x65, 0x58), 0, 4, header)).toBe(4);
    expect(header).toEqual({ id: 0, hasId: false, isSummed: false });
    expect(gre.read(Uint8Array.of(0x20, 0, 0x65, 0x58, 0, 0, 0, 0), 0, 8, header)).toBe(8);
    expect(header).toEqual({ id: 0, hasId: true, isSummed: false });
  });

  test('with a checksum covers every octet of the frame', () => {
    const frame = Uint8Array.from({ length: 77 }, (_, index) => index * 3);
    const datagram = Uint8Array.of(...form(3).header(7, 0, frame), ...frame);
    const header = { id: 0, hasId: false, isSummed: false };
    for (let at = 0; at < datagram.length; at++) {
      const changed = datagram.slice();
      changed[at] ^= 0x10;
      expect(gre.read(changed, 0, changed.length, header), `octet ${at}`).toBeLessThan(0);
    }
    expect(gre.read(datagram, 0, datagram.length, header)).toBe(12);
  });
});
