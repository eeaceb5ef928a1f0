/** Ports of one underlay are one to operators. */
import { describe, expect, test } from 'vitest';
import type { DropRow, PortStats } from '../../src/control/shapes.js';
import { isUnderlayPort, shownName, underlayPortName } from '../../src/control/shown-name.js';
import { portsByShownName, sumDrops, sumStats } from '../../src/control/shown-ports.js';
import { check } from './configs.js';

test('an underlay port is shown under the name of its underlay, every other under its own', () => {
  const name = underlayPortName('u0', 'vxlan');
  expect([name, shownName(name), shownName('vm1')]).toEqual(['u0/vxlan', 'u0', 'vm1']);
  expect([isUnderlayPort(name), isUnderlayPort('vm1')]).toEqual([true, false]);
});

test('all ports of an underlay have one name', () => {
  const { resolved } = check(`version: 1
networks: { a: { type: vxlan, id: 1, underlay: u0 }, b: { type: gre, underlay: u0 }, c: { type: geneve, id: 1, underlay: u1 } }
underlays: { u0: { local: 192.0.2.1 }, u1: { local: 192.0.2.2 } }
ports: { vm1: { kind: tap, network: a } }
`);
  expect([...portsByShownName(resolved)]).toEqual([
    ['vm1', ['vm1']],
    ['u0', ['u0/vxlan', 'u0/gre']],
    ['u1', ['u1/geneve']],
  ]);
});

describe('what they counted', () => {
  const stats = (by: number): PortStats => ({
    name: 'u0',
    rx: { frames: 6 * by, bytes: by, forwarded: 2 * by, consumed: by, dropped: 3 * by },
    tx: { frames: by, bytes: by, generated: by, dropped: by },
    notLearned: by,
    stationMoves: by,
  });

  test('is added, field by field', () => {
    expect(sumStats([stats(1), stats(10), stats(100)])).toEqual(stats(111));
    expect(sumStats([stats(7)])).toEqual(stats(7));
  });

  test('of drops is added by reason, with the youngest sample', () => {
    const drop = (reason: DropRow['reason'], count: number, atSeconds?: number): DropRow => ({
      reason,
      port: 'u0',
      of: 'frame',
      count,
      text: '',
      ...(atSeconds === undefined ? {} : { lastFrame: { hex: `${atSeconds}`, atSeconds } }),
    });
    const rows = [drop('runt', 1, 9), drop('tunnel_ecn', 2), drop('runt', 10, 4), drop('runt', 100)];
    expect(sumDrops(rows)).toEqual([drop('runt', 111, 4), drop('tunnel_ecn', 2)]);
    expect(sumDrops([drop('runt', 1), { ...drop('runt', 2), of: 'copy' }])).toHaveLength(2);
  });
});
