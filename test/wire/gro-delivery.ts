/**
 * A Merger as decapsulation uses it, over a small pool: what is delivered, what came of it, and what that would be as
 * segments again.
 */
import { expect } from 'vitest';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { Merger } from '../../src/wire/gro.js';
import { Segmenter } from '../../src/wire/gso.js';
import type { Merged } from './gro-reference.js';
import { concatenate, difference } from './reference.js';
import type { Segment } from './segments.js';

const SLOTS = 96;
const SCRATCH = SLOTS - 1;
export const pool = new FramePool(SLOTS);
const kernels = new Kernels(pool.memory);
export const merger = new Merger(pool, kernels);
const segmenter = new Segmenter(pool, kernels);

export interface Outcome {
  readonly slot: number;
  readonly members: number[];
}

/** How received octets lie: tunnel headers of so many octets, and so many datagrams in one slot. */
export interface Placement {
  readonly gap: number;
  readonly perSlot: number;
}
export const side: Placement = { gap: 8, perSlot: 40 };
export const apart: Placement = { gap: 8, perSlot: 1 };

/**
 * What decapsulation does: datagrams lie behind each other in their message's slot, the first frame stays there, others
 * that begin something get slots of their own.
 */
export function deliver(segments: readonly Segment[], { gap, perSlot }: Placement): Outcome[] {
  const outcomes: Outcome[] = [];
  let nextSlot = 0;
  let at = 0;
  let end = 0;
  const take = (own: number, where: number, length: number, tunnel: number, index: number) => {
    pool.receive(own, 0, length);
    pool.offset[own] = where;
    outcomes.push({ slot: own, members: [index] });
    merger.open(own, tunnel);
  };
  pool.octets.fill(0xa5);
  merger.begin();
  segments.forEach(({ octets, tunnel }, index) => {
    const isFirst = index % perSlot === 0;
    if (isFirst) {
      const message = layOut(segments.slice(index, index + perSlot), gap);
      at = pool.frameStart(nextSlot++) + gap;
      end = at - gap + message.length;
      pool.octets.set(message, at - gap);
    }
    const behind = pool.octets.slice(at + octets.length, end);
    const into = merger.append(at, octets.length, tunnel);
    if (into >= 0) outcomes.find(({ slot }) => slot === into)?.members.push(index);
    else {
      // What was refused is still what it was.
      expect(difference([pool.octets.slice(at, at + octets.length)], [octets])).toBeUndefined();
      if (isFirst) take(nextSlot - 1, at, octets.length, tunnel, index);
      else {
        const own = nextSlot++;
        pool.octets.set(octets, pool.frameStart(own));
        take(own, pool.frameStart(own), octets.length, tunnel, index);
      }
    }
    // The datagrams that are still to come, too.
    expect(Buffer.compare(behind, pool.octets.slice(at + octets.length, end))).toBe(0);
    at += octets.length + gap;
  });
  merger.finish();
  return outcomes;
}

function layOut(segments: readonly Segment[], gap: number): Uint8Array {
  return concatenate(...segments.flatMap(({ octets }) => [new Uint8Array(gap).fill(0x5a), octets]));
}

export function octetsOf(slot: number): Uint8Array {
  return pool.octets.slice(pool.offset[slot], pool.offset[slot] + pool.length[slot]);
}

/** The slot's frame in the reference's terms. */
export function mergedOf({ slot, members }: Outcome): Omit<Merged, 'octets'> {
  const start = pool.offset[slot];
  if (pool.gsoType[slot] === 0) {
    expect(pool.checksumStart[slot]).toBe(0);
    return { members, gsoType: 0, gsoSize: 0, transport: 0, payload: 0 };
  }
  expect(pool.checksumOffset[slot]).toBe(16);
  return {
    members,
    gsoType: pool.gsoType[slot],
    gsoSize: pool.gsoSize[slot],
    transport: pool.checksumStart[slot] - start,
    payload: pool.headersEnd[slot] - start,
  };
}

/** The frames the slot's frame stands for, as a port without offloads would send them. */
export function segmentsOf(slot: number): Uint8Array[] {
  if (pool.gsoType[slot] === 0) return [octetsOf(slot)];
  return Array.from({ length: segmenter.begin(slot) }, (_, index) => {
    segmenter.segment(index, SCRATCH);
    return octetsOf(SCRATCH);
  });
}

/** Which frames came together. */
export function groups(segments: readonly Segment[], placement: Placement = side): number[][] {
  return deliver(segments, placement).map(({ members }) => members);
}
