/**
 * What every kind of tunnel must do; each kind's test says what its header looks like and calls this. The headers that are
 * expected are written from the RFCs with plain arrays and share no code with src/.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dropReasonNumber } from '../../src/dataplane/drop-reason.js';
import { tunnelKindIndex, tunnelKinds } from '../../src/tunnels/registry.js';
import type { TunnelHeader, TunnelKind } from '../../src/tunnels/tunnel.js';

/** One way in which a network may send. */
export interface TunnelForm {
  readonly name: string;
  readonly flags: number;
  readonly options: readonly number[];
  readonly hasId: boolean;
  /** The header covers the frame with a checksum, so that any change of either shows. */
  readonly isSummed: boolean;
  /** The header as the RFC says, in front of this frame. */
  header(id: number, sequence: number, frame: Uint8Array): readonly number[];
}

/** Octets that a sender may write, and the reason they die of; undefined: they are a header with these octets. */
export interface TunnelVector {
  readonly name: string;
  readonly octets: readonly number[];
  readonly reason?: 'tunnel_bad_header' | 'tunnel_option' | 'tunnel_checksum';
}

export interface TunnelRig {
  readonly kind: TunnelKind;
  readonly type: string;
  readonly protocol: 'udp' | 'gre';
  readonly defaultPort: number;
  /** The first one has no checksum and no options. */
  readonly forms: readonly TunnelForm[];
  readonly idMax: number;
  /** Bits of the first form's header by octet: such as are ignored on receipt, such as a header must not have, the id's. */
  readonly ignoredBits: readonly number[];
  readonly refusedBits: readonly number[];
  readonly idBits: readonly number[];
  readonly vectors: readonly TunnelVector[];
}

const FRAME = 400;
const GUARD = 64;

const ids = (rig: TunnelRig) =>
  fc.oneof(
    fc.constantFrom(0, 1, 0xff, 0x100, 0x1234, rig.idMax - 1, rig.idMax),
    fc.integer({ min: 0, max: rig.idMax }),
  );
const frames = fc.uint8Array({ minLength: 14, maxLength: 120 });
const sequences = fc.integer({ min: 0, max: 0xffff_ffff });

function arenaWith(at: number, octets: ArrayLike<number>, fill = 0xa5): Uint8Array {
  const arena = new Uint8Array(800).fill(fill);
  arena.set(octets, at);
  return arena;
}

/** Options lie somewhere in an array of many networks' options. */
function settingsOf(form: TunnelForm, id: number, sequence: number) {
  const options = new Uint8Array(form.options.length + 8).fill(0x5a);
  options.set(form.options, 4);
  const optionsSize = form.options.length;
  return { id: id | 0, flags: form.flags, sequence: sequence | 0, options, optionsStart: 4, optionsSize };
}

/** A header of the form and the frame behind it. */
function datagramOf(form: TunnelForm, id: number, sequence: number, frame: Uint8Array): Uint8Array {
  return Uint8Array.of(...form.header(id, sequence, frame), ...frame);
}

function read(kind: TunnelKind, octets: ArrayLike<number>, fill = 0xa5): { size: number; header: TunnelHeader } {
  const arena = arenaWith(FRAME, octets, fill);
  const before = arena.slice();
  const header = { id: -7, hasId: false, isSummed: false };
  const size = kind.read(arena, FRAME, FRAME + octets.length, header);
  expect(Buffer.compare(arena, before), 'reading writes nothing').toBe(0);
  return { size, header };
}

const reasonOf = (size: number) => Object.entries(dropReasonNumber).find(([, number]) => number === -size)?.[0];

export function tunnelKindSuite(rig: TunnelRig): void {
  const { kind, forms } = rig;
  const frame = Uint8Array.from({ length: 61 }, (_, index) => index * 5 + 1);

  test('is found in the registry by its type, with its protocol and port', () => {
    expect(tunnelKinds[tunnelKindIndex(rig.type)]).toBe(kind);
    expect([kind.type, kind.protocol, kind.defaultPort]).toEqual([rig.type, rig.protocol, rig.defaultPort]);
  });

  describe.each(forms)('$name', (form) => {
    test('is written in front of the frame as the RFC says, and nothing else is touched', () => {
      fc.assert(
        fc.property(ids(rig), sequences, frames, (id, sequence, payload) => {
          const arena = arenaWith(FRAME, payload);
          const start = kind.write(arena, FRAME, FRAME + payload.length, settingsOf(form, id, sequence));
          const expected = arenaWith(start, datagramOf(form, id, sequence, payload));
          expect([...arena.subarray(start - GUARD, FRAME + payload.length + GUARD)]).toEqual([
            ...expected.subarray(start - GUARD, FRAME + payload.length + GUARD),
          ]);
        }),
      );
    });

    test('has the size that was promised, a multiple of four', () => {
      const size = kind.headerSize(form.flags, form.options.length);
      const arena = arenaWith(FRAME, frame);
      expect(FRAME - kind.write(arena, FRAME, FRAME + frame.length, settingsOf(form, 1, 1))).toBe(size);
      expect(size).toBe(form.header(1, 1, frame).length);
      expect(size % 4).toBe(0);
    });

    test('is read as it was written, whatever id, sequence number and frame', () => {
      fc.assert(
        fc.property(ids(rig), sequences, frames, (id, sequence, payload) => {
          const datagram = datagramOf(form, id, sequence, payload);
          const { size, header } = read(kind, datagram);
          expect(size).toBe(datagram.length - payload.length);
          expect(header).toEqual({ id: form.hasId ? id | 0 : 0, hasId: form.hasId, isSummed: form.isSummed });
        }),
      );
    });

    test('that is cut off at any octet is refused by what is there, not by what lies behind', () => {
      const datagram = datagramOf(form, 0x1234, 5, frame);
      const size = datagram.length - frame.length;
      for (let length = 0; length < datagram.length; length++) {
        const cut = datagram.subarray(0, length);
        const verdict = read(kind, cut).size;
        for (const fill of [0, 0xff]) expect(read(kind, cut, fill).size).toBe(verdict);
        if (length < size) expect(reasonOf(verdict), `${length} octets`).toBe('tunnel_bad_header');
        else if (form.isSummed) expect(reasonOf(verdict), `${length} octets`).toBe('tunnel_checksum');
        else expect(verdict).toBe(size);
      }
    });

    test('with nothing behind it is a header all the same', () => {
      const empty = datagramOf(form, 9, 9, new Uint8Array(0));
      expect(read(kind, empty).size).toBe(empty.length);
    });
  });

  test('each bit of the header is the id, is ignored, or makes it refused, as the RFC has it', () => {
    const form = forms[0];
    const datagram = datagramOf(form, 0x55, 0, frame);
    const size = datagram.length - frame.length;
    for (let bit = 0; bit < 8 * size; bit++) {
      const at = bit >> 3;
      const mask = 0x80 >> (bit & 7);
      const changed = datagram.slice();
      changed[at] ^= mask;
      const { size: verdict, header } = read(kind, changed);
      const found =
        verdict < 0 ? reasonOf(verdict) : verdict !== size ? 'another size' : header.id === 0x55 ? 'ignored' : 'id';
      const isListed = (bits: readonly number[]) => (bits[at] & mask) !== 0;
      if (isListed(rig.idBits)) expect(found, `bit ${bit}`).toBe('id');
      else if (isListed(rig.ignoredBits)) expect(found, `bit ${bit}`).toBe('ignored');
      else if (isListed(rig.refusedBits)) expect(found, `bit ${bit}`).toBe('tunnel_bad_header');
      // What is left announces fields that aren't there, in which the frame's octets are then read.
      else expect(['another size', 'tunnel_bad_header', 'tunnel_option', 'tunnel_checksum']).toContain(found);
    }
  });

  test.each(rig.vectors)('$name', ({ octets, reason }) => {
    const { size } = read(kind, octets);
    if (reason !== undefined) expect(reasonOf(size)).toBe(reason);
    else expect(size).toBe(octets.length);
  });

  test('any octets get a verdict: a size that is there, or a reason of tunnels', () => {
    const first = Uint8Array.from(forms[0].header(1, 1, frame));
    const octets = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      // A valid header with a few octets changed gets further than noise does.
      fc
        .tuple(
          fc.uint8Array({ maxLength: 280 }),
          fc.array(fc.tuple(fc.nat(first.length - 1), fc.nat(255)), { maxLength: 3 }),
        )
        .map(([tail, changes]) => {
          const header = first.slice();
          for (const [at, value] of changes) header[at] = value;
          return Uint8Array.of(...header, ...tail);
        }),
    );
    fc.assert(
      fc.property(octets, (datagram) => {
        const { size } = read(kind, datagram);
        if (size < 0) expect(reasonOf(size)).toMatch(/^tunnel_(bad_header|option|checksum)$/);
        else {
          expect(size).toBeLessThanOrEqual(datagram.length);
          expect(size % 4).toBe(0);
        }
      }),
      { numRuns: 1000 },
    );
  });
}
