import { describe } from 'vitest';
import { vxlan } from '../../src/tunnels/vxlan.js';
import { tunnelKindSuite } from '../suites/tunnel-kind.js';

describe('a VXLAN header', () => {
  tunnelKindSuite({
    kind: vxlan,
    type: 'vxlan',
    protocol: 'udp',
    defaultPort: 4789,
    forms: [
      {
        name: 'with a VNI',
        flags: 1,
        options: [],
        hasId: true,
        isSummed: false,
        header: (id) => [0x08, 0, 0, 0, id >> 16, (id >> 8) & 0xff, id & 0xff, 0],
      },
    ],
    idMax: 0xff_ffff,
    ignoredBits: [0xf7, 0xff, 0xff, 0xff, 0, 0, 0, 0xff],
    refusedBits: [0x08, 0, 0, 0, 0, 0, 0, 0],
    idBits: [0, 0, 0, 0, 0xff, 0xff, 0xff, 0],
    vectors: [
      { name: 'that has every reserved bit set is accepted', octets: [0xff, 255, 255, 255, 0, 0, 7, 255] },
      { name: 'that is a GPE one with a protocol is accepted as if it were none', octets: [0x0c, 0, 0, 3, 0, 0, 7, 0] },
      { name: 'that has a group policy is accepted without it', octets: [0x88, 0, 0x12, 0x34, 0, 0, 7, 0] },
      { name: 'without the I flag is refused', octets: [0xf7, 0, 0, 0, 0, 0, 7, 0], reason: 'tunnel_bad_header' },
    ],
  });
});
