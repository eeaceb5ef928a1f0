/** BFD inside tunnels: what a remote sends is the switch's, what a machine sends goes nowhere near it. */
import { describe, expect, test } from 'vitest';
import { allocateFrameRing, FrameRing } from '../../src/dataplane/frame-ring.js';
import { PUNT_RING_SIZE } from '../../src/limits.js';
import { PuntRing } from '../../src/pipeline/punt-ring.js';
import { BFD_MAC, bfdFrame } from '../wire/bfd-frames.js';
import { arriving, host, type OverlayShape, oneOfEachKind, overlaySwitch, targets, vxlanForm } from './overlay.js';
import { A, B, type TestSwitch } from './test-switch.js';

interface Watched {
  readonly tested: TestSwitch;
  /** The frames that were handed over, each with its tunnel. */
  punted(): [number, string][];
}

function watched(form = vxlanForm, shape: OverlayShape = {}): Watched {
  const memory = allocateFrameRing(PUNT_RING_SIZE);
  const underlay = { bfd: { inside: true }, ...shape.underlay };
  const tested = overlaySwitch(form, { ...shape, underlay, test: { punt: new PuntRing(memory) } });
  const ring = new FrameRing(memory);
  const punted = () => {
    const found: [number, string][] = [];
    for (; ring.next(); ring.advance()) {
      const octets = new Uint8Array(ring.length);
      ring.copyTo(octets, 0);
      found.push([ring.checksumStart, Buffer.from(octets).toString('hex')]);
    }
    return found;
  };
  return { tested, punted };
}

const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');

describe.each(oneOfEachKind)('$name', (form) => {
  test("a remote's frame is handed over with its tunnel's number, and nobody else gets or learns of it", () => {
    const { tested, punted } = watched(form);
    const octets = bfdFrame();
    expect(tested.run(arriving(form, 2, octets))).toEqual([]);
    expect(punted()).toEqual([[tested.tunnel('red', host(form, 2)), hex(octets)]]);
    expect(tested.drops()).toEqual({});
    expect(tested.fdb.counts().entries).toBe(0);
  });

  test('other frames of the remote go on as ever', () => {
    const { tested, punted } = watched(form);
    const others = [
      bfdFrame({ to: '525400000077' }),
      bfdFrame({ to: 'ffffffffffff' }),
      bfdFrame({ port: 3785 }),
      bfdFrame({ fragment: 9 }),
    ];
    for (const octets of others) expect(tested.run(arriving(form, 1, octets)).length).toBeGreaterThan(0);
    expect(punted()).toEqual([]);
  });
});

test('who may send but is no remote is not heard', () => {
  const { tested, punted } = watched(vxlanForm, { underlay: { allowFrom: ['0.0.0.0/0'] } });
  expect(tested.run(arriving(vxlanForm, 99, bfdFrame()))).toEqual([]);
  expect(punted()).toEqual([]);
  expect(tested.dropped(vxlanForm.port, 'control_frame')).toBe(1);
});

test("a machine's frame is never handed over, and leaves through no tunnel, whatever address it is for", () => {
  const { tested, punted } = watched();
  for (const to of [BFD_MAC, 'ffffffffffff', '525400000077'])
    expect(targets(tested.run({ port: 'a', octets: bfdFrame({ to, from: A }) }), vxlanForm)).toEqual(['b']);
  tested.run(arriving(vxlanForm, 1, bfdFrame({ from: '525400000088', port: 1 })));
  expect(tested.run({ port: 'a', octets: bfdFrame({ to: '525400000088', from: A }) })).toEqual([]);
  expect(punted()).toEqual([]);
  // Three floods to three remotes, and one station behind one.
  expect(tested.copiesDropped(vxlanForm.port, 'control_frame')).toBe(10);
  const other = bfdFrame({ to: '525400000088', from: A, port: 53 });
  expect(targets(tested.run({ port: 'a', octets: other }), vxlanForm)).toEqual(['remote 1']);
});

test("without BFD inside, a network's BFD is traffic like any other", () => {
  const { tested, punted } = watched(vxlanForm, { underlay: { bfd: {} } });
  expect(targets(tested.run(arriving(vxlanForm, 1, bfdFrame())), vxlanForm)).toEqual(['a', 'b']);
  expect(targets(tested.run({ port: 'a', octets: bfdFrame({ from: B }) }), vxlanForm)).toContain('remote 1');
  expect(punted()).toEqual([]);
});

test('what does not fit the ring is dropped and counted, and there is room again once it was read', () => {
  const { tested, punted } = watched();
  let taken = 0;
  while (tested.dropped(vxlanForm.port, 'punt_limit') === 0 && taken < 10_000) {
    tested.run(arriving(vxlanForm, 1, bfdFrame()));
    taken++;
  }
  expect(punted()).toHaveLength(taken - 1);
  tested.run(arriving(vxlanForm, 1, bfdFrame()));
  expect(punted()).toHaveLength(1);
  expect(tested.dropped(vxlanForm.port, 'punt_limit')).toBe(1);
});
