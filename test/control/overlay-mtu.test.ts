/** The MTU of networks that tunnels carry, by type and IP version. */
import { describe, expect, test } from 'vitest';
import { deviceMtu, mtuReckoning, networkMtu } from '../../src/control/overlay-mtu.js';
import type { ResolvedConfig, ResolvedNetwork } from '../../src/control/resolved.js';
import { check } from './configs.js';

function config(network: string, local: string): { config: ResolvedConfig; network: ResolvedNetwork } {
  const text = `version: 1\nnetworks: { n: { underlay: u, ${network} } }\nunderlays: { u: { local: "${local}" } }`;
  const { resolved } = check(text);
  return { config: resolved, network: resolved.networks.get('n') as ResolvedNetwork };
}

function mtu(network: string, local: string, underlayMtu: number | undefined): number | undefined {
  const made = config(network, local);
  return networkMtu(made.network, made.config, () => underlayMtu);
}

const V4 = '192.0.2.1';
const V6 = '2001:db8::1';

describe('the MTU of a network', () => {
  test.each([
    ['type: vxlan, id: 1', 50, 70],
    ['type: geneve, id: 1', 50, 70],
    ['type: geneve, id: 1, options: { geneve: [{ class: 1, type: 1, data: "00000000" }] }', 58, 78],
    ['type: gre', 38, 58],
    ['type: gre, id: 0', 42, 62],
    ['type: gre, id: 1, options: { checksum: true }', 46, 66],
    ['type: gre, id: 1, options: { checksum: true, sequence: true }', 50, 70],
    ['type: vxlan, id: 1, options: { innerVlan: true }', 54, 74],
  ])('of %s is %i less than an IPv4 underlay and %i less than an IPv6 one has', (network, over4, over6) => {
    expect(mtu(network, V4, 1500)).toBe(1500 - over4);
    expect(mtu(network, V6, 1500)).toBe(1500 - over6);
    expect(mtu(network, V4, 9000)).toBe(9000 - over4);
  });

  test('is reckoned with 1500 before the underlay is up', () => {
    expect(mtu('type: vxlan, id: 1', V4, undefined)).toBe(1450);
  });

  test('is the configured one where that fits, else what fits', () => {
    expect(mtu('type: vxlan, id: 1, mtu: 1400', V4, 1500)).toBe(1400);
    expect(mtu('type: vxlan, id: 1, mtu: 1500', V4, 1500)).toBe(1450);
    expect(mtu('type: vxlan, id: 1, mtu: 1500', V4, 1600)).toBe(1500);
  });

  test('is never below nothing', () => {
    expect(mtu('type: vxlan, id: 1', V6, 68)).toBe(0);
  });

  test('of other networks is theirs to say', () => {
    const { resolved } = check('version: 1\nnetworks: { a: { type: local }, b: { type: local, mtu: 1234 } }');
    const of = (name: string) => networkMtu(resolved.networks.get(name) as ResolvedNetwork, resolved, () => 1500);
    expect(of('a')).toBeUndefined();
    expect(of('b')).toBe(1234);
  });
});

test.each([
  ['', 1500, 1450],
  ['', 1330, 1280],
  ['', 1329, 1280],
  ['', 600, 1280],
  [', mtu: 1400', 600, 1280],
  [', mtu: 1200', 1500, 1200],
  [', mtu: 1200', 600, 1200],
])(
  'devices of a network with%s over an underlay of %i get %i: less than IPv6 needs only where it is asked for',
  (more, underlay, expected) => {
    const made = config(`type: vxlan, id: 1${more}`, V4);
    expect(deviceMtu(made.network, made.config, () => underlay)).toBe(expected);
  },
);

describe('the reckoning', () => {
  const lines = (network: string, underlayMtu: number | undefined) => {
    const made = config(network, V4);
    const { tunnel } = made.network;
    if (tunnel === undefined) throw new Error('no tunnel');
    return mtuReckoning(made.network, tunnel, made.config, underlayMtu).map(({ what, octets }) => `${octets} ${what}`);
  };

  test('has a line for each header', () => {
    expect(lines('type: vxlan, id: 1', 1500)).toEqual([
      '1500 MTU of the underlay',
      '-20 IPv4 header',
      '-8 UDP header',
      '-8 vxlan header',
      '-14 inner Ethernet header',
      '1450 MTU of the network',
    ]);
  });

  test('says what was configured and what fits', () => {
    expect(lines('type: gre, id: 5, mtu: 1500', undefined)).toEqual([
      '1500 MTU of the underlay, assumed while it is not up',
      '-20 IPv4 header',
      '-8 gre header',
      '-14 inner Ethernet header',
      '1458 fits',
      '1500 configured, more than fits',
      '1458 MTU of the network',
    ]);
    expect(lines('type: gre, id: 5, mtu: 1400', 1500).slice(-2)).toEqual([
      '1400 configured',
      '1400 MTU of the network',
    ]);
  });
});
