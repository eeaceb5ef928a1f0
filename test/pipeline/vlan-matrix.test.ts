/**
 * VLANs: what a frame with each kind of tag does at a port of each mode, and with which tags each mode sends it. The
 * rules: IEEE 802.1Q, 802.1ad, and the configuration reference's "Layer 2".
 */
import { describe, expect, test } from 'vitest';
import type { PortDocument } from '../sim/switch-document.js';
import { BROADCAST, frame, type Sent, summary, TestSwitch, tag, vm } from './test-switch.js';

const networks = {
  red: { type: 'vlan', id: 10, uplink: 'uplink' },
  blue: { type: 'vlan', id: 20, uplink: 'uplink' },
  lab: { type: 'local' },
} as const;

/** One witness a way in which red and blue can leave. */
const witnesses: Record<string, PortDocument> = {
  'red-access': vm({ network: 'red' }),
  'blue-access': vm({ network: 'blue' }),
  trunk: vm({ trunk: ['red', 'blue'] }),
  native: vm({ trunk: ['blue'], native: 'red' }),
  'native-tagged': vm({ trunk: ['blue'], native: 'red', nativeTagged: true }),
  translating: vm({ trunk: [{ network: 'red', vlan: 77 }] }),
  uplink: { kind: 'netdev', trunk: 'auto' },
};

const modes: Record<string, PortDocument> = {
  access: vm({ network: 'red' }),
  trunk: vm({ trunk: ['red', 'blue'] }),
  native: vm({ trunk: ['blue'], native: 'red' }),
  'native-tagged': vm({ trunk: ['blue'], native: 'red', nativeTagged: true }),
  translating: vm({ trunk: [{ network: 'red', vlan: 77 }] }),
};

/** Where a frame goes: into red or blue, with these tags left in it; or why it is dropped. */
type Expected = { into: 'red' | 'blue'; inner?: string } | string;

const REFUSED = 'vlan_not_allowed';
const red: Expected = { into: 'red' };
const blue: Expected = { into: 'blue' };
const inner = (network: 'red' | 'blue'): Expected => ({ into: network, inner: '8100:001e' });

const arrivals = (pcp: number) =>
  ({
    untagged: [],
    'VID 0': [tag(0, pcp)],
    'VID 0 of 802.1ad': [tag(0, pcp, 0x88a8)],
    'VID 10': [tag(10, pcp)],
    'VID 10 of 802.1ad': [tag(10, pcp, 0x88a8)],
    'VID 20': [tag(20, pcp)],
    'VID 77': [tag(77, pcp)],
    'VID 30': [tag(30, pcp)],
    'VID 4095': [tag(4095, pcp)],
    'VID 10 and 30': [tag(10, pcp), tag(30)],
    'VID 20 and 30': [tag(20, pcp), tag(30)],
    'VID 0 and 30': [tag(0, pcp), tag(30)],
  }) as const;

type Arrival = keyof ReturnType<typeof arrivals>;

const matrix: Record<string, Record<Arrival, Expected>> = {
  access: {
    untagged: red,
    'VID 0': red,
    'VID 0 of 802.1ad': red,
    'VID 10': REFUSED,
    'VID 10 of 802.1ad': REFUSED,
    'VID 20': REFUSED,
    'VID 77': REFUSED,
    'VID 30': REFUSED,
    'VID 4095': 'bad_vlan_tag',
    'VID 10 and 30': REFUSED,
    'VID 20 and 30': REFUSED,
    // A tag that hides behind a priority tag is a tag other than VID 0.
    'VID 0 and 30': REFUSED,
  },
  trunk: {
    untagged: REFUSED,
    'VID 0': REFUSED,
    'VID 0 of 802.1ad': REFUSED,
    'VID 10': red,
    'VID 10 of 802.1ad': red,
    'VID 20': blue,
    'VID 77': REFUSED,
    'VID 30': REFUSED,
    'VID 4095': 'bad_vlan_tag',
    'VID 10 and 30': inner('red'),
    'VID 20 and 30': inner('blue'),
    'VID 0 and 30': REFUSED,
  },
  native: {
    untagged: red,
    'VID 0': red,
    'VID 0 of 802.1ad': red,
    'VID 10': red,
    'VID 10 of 802.1ad': red,
    'VID 20': blue,
    'VID 77': REFUSED,
    'VID 30': REFUSED,
    'VID 4095': 'bad_vlan_tag',
    'VID 10 and 30': inner('red'),
    'VID 20 and 30': inner('blue'),
    'VID 0 and 30': inner('red'),
  },
  translating: {
    untagged: REFUSED,
    'VID 0': REFUSED,
    'VID 0 of 802.1ad': REFUSED,
    'VID 10': REFUSED,
    'VID 10 of 802.1ad': REFUSED,
    'VID 20': REFUSED,
    'VID 77': red,
    'VID 30': REFUSED,
    'VID 4095': 'bad_vlan_tag',
    'VID 10 and 30': REFUSED,
    'VID 20 and 30': REFUSED,
    'VID 0 and 30': REFUSED,
  },
};
matrix['native-tagged'] = matrix.native;

/** What every witness gets of a frame in the network. */
function expectedAt(network: 'red' | 'blue', payloadTags: string | undefined, pcp: number): string[] {
  const tci = (vid: number) => ((pcp << 13) | vid).toString(16).padStart(4, '0');
  const sent = (port: string, vid?: number) => {
    const tags = [
      ...(vid === undefined ? [] : [`8100:${tci(vid)}`]),
      ...(payloadTags === undefined ? [] : [payloadTags]),
    ];
    return `${port} ${tags.length === 0 ? 'untagged' : tags.join(' ')}`;
  };
  const vid = networks[network].id;
  const common = [sent('trunk', vid), sent('native-tagged', vid), sent('uplink', vid)];
  if (network === 'blue') return [...common, sent('blue-access'), sent('native', vid)].sort();
  return [...common, sent('red-access'), sent('native'), sent('translating', 77)].sort();
}

describe.each(Object.keys(modes))('a frame into a port of mode %s', (mode) => {
  describe.each([0, 5])('with priority %i', (pcp) => {
    test.each(Object.keys(arrivals(pcp)) as Arrival[])('with %s', (arrival) => {
      const tested = new TestSwitch({ networks, ports: { probe: modes[mode], ...witnesses } });
      const tags = arrivals(pcp)[arrival];
      const sent = tested.run({ port: 'probe', octets: frame({ to: BROADCAST, tags }) });
      const expected = matrix[mode][arrival];
      if (typeof expected === 'string') {
        expect(tested.drops()).toEqual({ [`probe ${expected}`]: 1 });
        expect(sent).toEqual([]);
      } else {
        const kept = tags.length === 0 ? 0 : pcp;
        expect(summary(sent)).toEqual(expectedAt(expected.into, expected.inner, kept));
      }
    });
  });
});

describe('a frame of the tenant behind an 802.1ad tunnel port', () => {
  const tunnelled = (tunnel: NonNullable<PortDocument['tunnel']>) =>
    new TestSwitch({
      networks: { red: networks.red, blue: networks.blue },
      ports: {
        probe: vm({ tunnel }),
        far: vm({ tunnel }),
        access: vm({ network: 'red' }),
        uplink: { kind: 'netdev', trunk: 'auto' },
      },
    });

  test.each([
    ['untagged', [], 'uplink 88a8:000a', 'far untagged'],
    ['tagged', [tag(30, 3)], 'uplink 88a8:600a 8100:601e', 'far 8100:601e'],
    ['priority-tagged', [tag(0, 6)], 'uplink 88a8:c00a 8100:c000', 'far 8100:c000'],
    ['tagged with the VID of the network that carries it', [tag(10, 1)], 'uplink 88a8:200a 8100:200a', 'far 8100:200a'],
  ])('rides whole when it is %s, its priority copied to the outer tag', (_, tags, uplink, far) => {
    const tested = tunnelled({ network: 'red' });
    const sent = summary(tested.run({ port: 'probe', octets: frame({ to: BROADCAST, tags }) }));
    expect(sent).toEqual([far.replace('far', 'access'), far, uplink].sort());
  });

  test('is sent to the uplink with the tag that the tunnel asks for', () => {
    const tested = tunnelled({ network: 'red', tpid: 0x8100 });
    const sent = summary(tested.run({ port: 'probe', octets: frame({ to: BROADCAST, tags: [tag(30)] }) }));
    expect(sent).toContain('uplink 8100:000a 8100:001e');
  });

  test('comes back from the uplink as it went in', () => {
    const tested = tunnelled({ network: 'red' });
    const sent = tested.run({
      port: 'uplink',
      octets: frame({ to: BROADCAST, tags: [tag(10, 0, 0x88a8), tag(30, 2)] }),
    });
    const kept = sent.find(({ port }: Sent) => port === 'far')?.octets ?? new Uint8Array();
    expect(Buffer.from(kept).equals(Buffer.from(frame({ to: BROADCAST, tags: [tag(30, 2)] })))).toBe(true);
  });

  test.each([
    ['VID 30', [tag(30)], [30], true],
    ['VID 31', [tag(31)], [30], false],
    ['VID 31 where all but it are listed', [tag(31)], [30, 32], false],
    ['no tag, 0 listed', [], [0], true],
    ['no tag, 0 not listed', [], [30], false],
    ['VID 0, 0 listed', [tag(0, 4)], [0], true],
    ['VID 0, 0 not listed', [tag(0, 4)], [30], false],
  ])('with %s passes only if the list allows it, in both directions', (_, tags, allowed, passes) => {
    const tested = tunnelled({ network: 'red', allowed });
    const into = tested.run({ port: 'probe', octets: frame({ to: BROADCAST, tags }) });
    expect(into.some(({ port }) => port === 'uplink')).toBe(passes);
    const out = tested.run({ port: 'uplink', octets: frame({ to: BROADCAST, tags: [tag(10, 0, 0x88a8), ...tags] }) });
    expect(out.some(({ port }) => port === 'far')).toBe(passes);
    expect(tested.dropped('probe', 'vlan_not_allowed')).toBe(passes ? 0 : 1);
    expect(tested.copiesDropped('far', 'vlan_not_allowed')).toBe(passes ? 0 : 1);
  });
});

describe('what leaves a trunk untagged', () => {
  const plain = { red: { type: 'vlan', id: 10 }, blue: { type: 'vlan', id: 20 } } as const;
  const tested = () => new TestSwitch({ networks: plain, ports: { probe: modes.trunk, native: witnesses.native } });

  test('may carry a tag that names none of its networks', () => {
    const sent = tested().run({ port: 'probe', octets: frame({ to: BROADCAST, tags: [tag(10), tag(30)] }) });
    expect(summary(sent)).toEqual(['native 8100:001e']);
  });

  test('does not carry the tag of another of its networks, which the far side would believe', () => {
    const hop = tested();
    expect(hop.run({ port: 'probe', octets: frame({ to: BROADCAST, tags: [tag(10), tag(20)] }) })).toEqual([]);
    expect(hop.drops()).toEqual({ 'native vlan_not_allowed of copy': 1, 'probe vlan_not_allowed': 1 });
  });
});

test('DEI survives as the priority does', () => {
  const tested = new TestSwitch({ networks, ports: { probe: modes.trunk, ...witnesses } });
  const sent = tested.run({ port: 'probe', octets: frame({ to: BROADCAST, tags: [tag(10, 2) | 0x1000] }) });
  expect(summary(sent)).toContain('translating 8100:504d');
});

test('one address is learned in each network by itself', () => {
  const tested = new TestSwitch({ networks, ports: { probe: modes.trunk, ...witnesses } });
  tested.run({ port: 'red-access', octets: frame({ to: BROADCAST, from: '525400000007' }) });
  tested.run({ port: 'blue-access', octets: frame({ to: BROADCAST, from: '525400000007' }) });
  const towards = (vid: number) =>
    tested.run({ port: 'probe', octets: frame({ to: '525400000007', tags: [tag(vid)] }) }).map(({ port }) => port);
  expect(towards(10)).toEqual(['red-access']);
  expect(towards(20)).toEqual(['blue-access']);
});

test('a tag that is cut off is a runt wherever it stands', () => {
  const tested = new TestSwitch({ networks, ports: { probe: modes.trunk, ...witnesses } });
  const two = frame({ tags: [tag(10), tag(20)] });
  for (const size of [14, 17, 18, 21]) tested.run({ port: 'probe', octets: two.slice(0, size) });
  expect(tested.drops()).toEqual({ 'probe runt': 4 });
});
