/** Options of networks in tunnels that change what leaves: NVGRE's flow in the key, the MSS of connections. */
import { describe, expect, test } from 'vitest';
import { buildTcp } from '../../src/wire/frame-build.js';
import {
  datagramsOf,
  fromX,
  host,
  type OverlayForm,
  oneOfEachKind,
  overlayForms,
  overlaySwitch,
  targets,
  teach,
  toX,
  wrap,
  X,
} from './overlay.js';
import { A, frame } from './test-switch.js';

const keyed = overlayForms.find(({ name }) => name === 'gre, with a key over IPv4')!;
const VSID = 0xabcdef;

describe('NVGRE', () => {
  const nvgre = () => overlaySwitch(keyed, { network: { id: VSID, options: { nvgre: true } } });
  const arrivingWith = (key: number) => ({
    port: keyed.port,
    from: host(keyed, 1),
    octets: wrap(keyed, fromX(), { id: key }),
    trafficClass: 0,
  });

  test('sends the VSID with the flow’s number behind it, one for each flow and not the same for all', () => {
    const tested = nvgre();
    tested.run(arrivingWith((VSID << 8) >>> 0));
    const keys = new Set<number>();
    for (let flow = 0; flow < 50; flow++) {
      const octets = toX(60);
      octets.set(
        [0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 10, 192, 0, 2, 20, 1, flow, 0, 9],
        12,
      );
      const once = datagramsOf(tested.run({ port: 'a', octets }));
      const again = datagramsOf(tested.run({ port: 'a', octets }));
      expect(once).toHaveLength(1);
      expect([...once[0]!.slice(0, 7)]).toEqual([0x20, 0, 0x65, 0x58, 0xab, 0xcd, 0xef]);
      expect(again[0]![7]).toBe(once[0]![7]);
      keys.add(once[0]![7]!);
    }
    expect(keys.size).toBeGreaterThan(20);
  });

  test('takes every flow of its VSID, and no other VSID', () => {
    const tested = nvgre();
    for (let flow = 0; flow < 256; flow++)
      expect(targets(tested.run(arrivingWith(((VSID << 8) | flow) >>> 0)), keyed), `flow ${flow}`).toEqual(['a', 'b']);
    for (const key of [((VSID - 1) << 8) | 0xff, (VSID + 1) << 8, VSID])
      expect(tested.run(arrivingWith(key >>> 0))).toEqual([]);
    expect(tested.drops()).toEqual({ [`${keyed.port} tunnel_unknown_id`]: 3 });
  });
});

describe.each(oneOfEachKind)('the MSS of connections into $name', (form: OverlayForm) => {
  function syn(): Uint8Array {
    const fields = { sourcePort: 1, destinationPort: 2, sequence: 3, acknowledgement: 0, flags: 2, window: 9 };
    const tcp = buildTcp(fields, 4);
    tcp[12] = 6 << 4;
    tcp.set([2, 4, 0x23, 0x28], 20);
    const octets = frame({ to: X, from: A, type: 0x0800, size: 20 + tcp.length });
    octets.set([0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 10, 192, 0, 2, 20, ...tcp], 14);
    return octets;
  }

  test.each([true, false])('is lowered to what fits only where the network asks for it: %s', (mssClamp) => {
    const tested = overlaySwitch(form, { network: { mssClamp } });
    teach(tested, form, 1);
    const [datagram] = datagramsOf(tested.run({ port: 'a', octets: syn() }));
    const at = datagram!.length - 2;
    const fits = 1500 - 20 - (form.type === 'gre' ? 0 : 8) - form.size - 14;
    expect((datagram![at]! << 8) | datagram![at + 1]!).toBe(mssClamp ? fits - 40 : 9000);
  });
});
