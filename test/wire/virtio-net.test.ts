import { expect, test } from 'vitest';
import * as virtio from '../../src/wire/virtio-net.js';

test('a header is written little-endian, all ten octets and no more, and read back the same', () => {
  const octets = new Uint8Array(14).fill(0xa5);
  virtio.writeVnetHeader(octets, 2, 1, 0x81, 0x0102, 0x0304, 0x0506, 0x0708);
  expect([...octets]).toEqual([0xa5, 0xa5, 1, 0x81, 2, 1, 4, 3, 6, 5, 8, 7, 0xa5, 0xa5]);
  expect([
    virtio.vnetFlags(octets, 2),
    virtio.vnetGsoType(octets, 2),
    virtio.vnetHeaderLength(octets, 2),
    virtio.vnetGsoSize(octets, 2),
    virtio.vnetChecksumStart(octets, 2),
    virtio.vnetChecksumOffset(octets, 2),
  ]).toEqual([1, 0x81, 0x0102, 0x0304, 0x0506, 0x0708]);
});
