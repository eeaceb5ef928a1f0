import { expect, test } from 'vitest';
import { isVxlanHeader, VNI_MAX, vxlanVni, writeVxlan } from '../../src/wire/vxlan.js';

test('a VXLAN header of every VNI at the edges of its octets is eight octets, reserved ones zero', () => {
  for (const vni of [0, 1, 0xff, 0x100, 0xffff, 0x10000, 0x800000, VNI_MAX]) {
    const octets = new Uint8Array(24).fill(0xa5);
    writeVxlan(octets, 8, vni);
    const view = new DataView(octets.buffer);
    expect([view.getUint32(8), view.getUint32(12)]).toEqual([0x0800_0000, vni * 256]);
    expect([...octets.subarray(0, 8), ...octets.subarray(16)]).toEqual(new Array(16).fill(0xa5));
    expect(isVxlanHeader(octets, 8, 16)).toBe(true);
    expect(vxlanVni(octets, 8)).toBe(vni);
  }
});

test('a VXLAN header is none without the octet behind its VNI', () => {
  const octets = new Uint8Array(8);
  writeVxlan(octets, 0, 1);
  expect(isVxlanHeader(octets, 0, 7)).toBe(false);
});
