/** What a snapshot says of tunnels: ids, remotes, allowed sources, options. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compile } from '../../src/control/compile.js';
import { Indices } from '../../src/control/indices.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { NO_OFFLOAD } from '../../src/dataplane/port.js';
import {
  ALLOW_WORDS,
  NETWORK_INNER_VLAN,
  NETWORK_LEARNS,
  NETWORK_SUPPRESSES_ARP,
  PORT_CLOSED,
  PORT_UNDERLAY,
  type Snapshot,
  TUNNEL_ROW_FLAGS,
  TUNNEL_ROW_ID,
  TUNNEL_ROW_OPTIONS,
  TUNNEL_ROW_OPTIONS_SIZE,
  TUNNEL_ROW_WORDS,
} from '../../src/pipeline/snapshot.js';
import { memberOfTunnelId } from '../../src/pipeline/tunnel-ids.js';
import { tunnelKinds } from '../../src/tunnels/registry.js';
import {
  TUNNEL_CARRIES_TAGS,
  TUNNEL_CLAMPS_MSS,
  TUNNEL_HAS_ID,
  TUNNEL_SENDS_CHECKSUM,
  TUNNEL_SENDS_SEQUENCE,
} from '../../src/tunnels/tunnel.js';
import { ipWordsText } from '../../src/wire/address.js';
import { check, checkValue } from './configs.js';

const up = { mtu: 1500, features: NO_OFFLOAD };

function compiled(text: string, isUp: (name: string) => boolean = () => true) {
  const { resolved } = check(text);
  const indices = new Indices().allocate(resolved);
  const remotesOf = (member: number, remotes: readonly string[]) =>
    remotes.map((_, index) => 1000 * (member + 1) + index);
  const snapshot = compile(resolved, indices, (name) => (isUp(name) ? up : undefined), 1, remotesOf);
  const port = (name: string) => indices.port(name) ?? Number.NaN;
  const member = (name: string, network: string) => indices.member(name, network) ?? Number.NaN;
  return { snapshot, port, member, network: (name: string) => indices.network(name) ?? Number.NaN };
}

/** As decap looks an id up. */
function memberOfId(snapshot: Snapshot, port: number, id: number): number {
  return memberOfTunnelId(snapshot.tunnelIds, snapshot.portIdTable[port], snapshot.portIdMask[port], id);
}

const SWITCH = `version: 1
settings: { limits: { icmpErrors: 7pps, arp: 9pps } }
networks:
  a: { type: vxlan, id: 5010, underlay: u0, remotes: [192.0.2.2, 192.0.2.3], arpSuppression: true }
  b: { type: vxlan, id: 5011, underlay: u0, mtu: 1400, learning: false }
  g: { type: gre, underlay: u1, options: { checksum: true, innerVlan: true } }
  k: { type: gre, id: 4294967295, underlay: u1, mssClamp: true, options: { sequence: true } }
  o: { type: geneve, id: 7, underlay: u1, options: { geneve: [{ class: 258, type: 1, data: "0a0b0c0d" }] } }
underlays:
  u0: { local: 192.0.2.1, dscp: 46, allowFrom: [198.51.100.0/24, 203.0.113.7/32] }
  u1: { local: "2001:db8::1", dscp: inherit }
ports:
  vm1: { kind: tap, network: a }
  vm2: { kind: tap, trunk: [{ network: a, vlan: 5 }, { network: b, vlan: 6 }] }
`;

describe('a snapshot with tunnels', () => {
  const { snapshot, port, member, network } = compiled(SWITCH);
  const rowWord = (name: string, of: string, word: number) =>
    snapshot.memberTunnels[member(name, of) * TUNNEL_ROW_WORDS + word];

  test('knows the underlay ports, their kinds and what they send', () => {
    expect(snapshot.underlayPorts).toBe(3);
    for (const [name, type, udpPort] of [
      ['u0/vxlan', 'vxlan', 4789],
      ['u1/gre', 'gre', 0],
      ['u1/geneve', 'geneve', 6081],
    ] as const) {
      expect(snapshot.portMode[port(name)]).toBe(PORT_UNDERLAY);
      expect(tunnelKinds[snapshot.portTunnelKind[port(name)]]?.type).toBe(type);
      expect(snapshot.portTunnelPort[port(name)]).toBe(udpPort);
    }
    expect(snapshot.portTunnelKind[port('vm1')]).toBe(-1);
    expect(ipWordsText(snapshot.portLocal, port('u0/vxlan') * 4)).toBe('192.0.2.1');
    expect(ipWordsText(snapshot.portLocal, port('u1/gre') * 4)).toBe('2001:db8::1');
    expect(snapshot.portDscp[port('u0/vxlan')]).toBe(46 << 2);
    expect(snapshot.portDscp[port('u1/gre')]).toBe(-1);
    expect([snapshot.icmpErrorRate, snapshot.arpReplyRate]).toEqual([7, 9]);
  });

  test('finds networks by id, and the one without', () => {
    expect(memberOfId(snapshot, port('u0/vxlan'), 5010)).toBe(member('u0/vxlan', 'a'));
    expect(memberOfId(snapshot, port('u0/vxlan'), 5011)).toBe(member('u0/vxlan', 'b'));
    expect(memberOfId(snapshot, port('u1/gre'), -1)).toBe(member('u1/gre', 'k'));
    expect(memberOfId(snapshot, port('u1/geneve'), 7)).toBe(member('u1/geneve', 'o'));
    for (const id of [0, 5009, 5012, 5010 + 0x1000000, -1]) expect(memberOfId(snapshot, port('u0/vxlan'), id)).toBe(-1);
    expect(snapshot.portUntaggedMember[port('u1/gre')]).toBe(member('u1/gre', 'g'));
    expect(snapshot.portUntaggedMember[port('u0/vxlan')]).toBe(-1);
    expect(rowWord('u1/gre', 'k', TUNNEL_ROW_ID)).toBe(-1);
  });

  test('has what headers say', () => {
    const flags = (name: string, of: string) => rowWord(name, of, TUNNEL_ROW_FLAGS);
    expect(flags('u0/vxlan', 'a')).toBe(TUNNEL_HAS_ID);
    expect(flags('u1/gre', 'g')).toBe(TUNNEL_SENDS_CHECKSUM | TUNNEL_CARRIES_TAGS);
    expect(flags('u1/gre', 'k')).toBe(TUNNEL_HAS_ID | TUNNEL_SENDS_SEQUENCE | TUNNEL_CLAMPS_MSS);
    const start = rowWord('u1/geneve', 'o', TUNNEL_ROW_OPTIONS);
    const octets = snapshot.tunnelOptions.slice(start, start + rowWord('u1/geneve', 'o', TUNNEL_ROW_OPTIONS_SIZE));
    expect(Buffer.from(octets).toString('hex')).toBe('010201010a0b0c0d');
    expect(rowWord('u0/vxlan', 'a', TUNNEL_ROW_OPTIONS_SIZE)).toBe(0);
  });

  test('floods to the configured remotes', () => {
    const remotes = (name: string, of: string) => {
      const start = snapshot.memberRemotesStart[member(name, of)];
      return [...snapshot.remotes.subarray(start, start + snapshot.memberRemotesCount[member(name, of)])];
    };
    const first = 1000 * (member('u0/vxlan', 'a') + 1);
    expect(remotes('u0/vxlan', 'a')).toEqual([first, first + 1]);
    expect(remotes('u0/vxlan', 'b')).toEqual([]);
  });

  test('has the prefixes of who may send, IPv4 in mapped form', () => {
    const start = snapshot.portAllowStart[port('u0/vxlan')];
    expect(snapshot.portAllowCount[port('u0/vxlan')]).toBe(2);
    const rows = [start, start + 1].map((row) => {
      const at = row * ALLOW_WORDS;
      return `${ipWordsText(snapshot.allowFrom, at)}/${snapshot.allowFrom[at + 4]}`;
    });
    expect(rows).toEqual(['198.51.100.0/120', '203.0.113.7/128']);
    expect(snapshot.portAllowCount[port('u1/gre')]).toBe(0);
  });

  test('caps every member of a tunnelled network by what fits its tunnels', () => {
    expect(snapshot.memberMtu[member('u0/vxlan', 'a')]).toBe(1450);
    expect(snapshot.memberMtu[member('vm1', 'a')]).toBe(1450);
    expect(snapshot.memberMtu[member('vm2', 'a')]).toBe(1450);
    expect(snapshot.memberMtu[member('vm2', 'b')]).toBe(1400);
    expect(snapshot.memberMtu[member('u0/vxlan', 'b')]).toBe(1400);
  });

  test('has the flags of networks', () => {
    expect(snapshot.networkFlags[network('a')]).toBe(NETWORK_LEARNS | NETWORK_SUPPRESSES_ARP);
    expect(snapshot.networkFlags[network('b')]).toBe(0);
    expect(snapshot.networkFlags[network('g')]).toBe(NETWORK_LEARNS | NETWORK_INNER_VLAN);
  });

  test('reckons with 1500 while the underlay is not there, whose port is closed then', () => {
    const waiting = compiled(SWITCH, (name) => !name.startsWith('u0'));
    expect(waiting.snapshot.portMode[waiting.port('u0/vxlan')]).toBe(PORT_CLOSED);
    expect(waiting.snapshot.memberMtu[waiting.member('vm1', 'a')]).toBe(1450);
  });
});

test('a configuration without tunnels has none', () => {
  const { snapshot } = compiled(
    'version: 1\nnetworks: { n: { type: local } }\nports: { a: { kind: tap, network: n } }',
  );
  expect(snapshot.underlayPorts).toBe(0);
  expect([...snapshot.portTunnelKind]).toEqual([-1]);
  expect(snapshot.tunnelIds).toHaveLength(0);
});

test('any ids are found, and no others', () => {
  const id = fc.oneof(fc.integer({ min: 0, max: 0xff_ffff }), fc.integer({ min: 0, max: 600 }));
  fc.assert(
    fc.property(fc.uniqueArray(id, { minLength: 1, maxLength: 200 }), fc.array(id), (ids, others) => {
      const names = ids.map((number) => [`n${number}`, { type: 'vxlan', id: number, underlay: 'u' }] as const);
      const underlays = { u: { local: '192.0.2.1' } };
      const document = { version: 1, networks: Object.fromEntries(names), underlays } as unknown as JsonValue;
      const { resolved } = checkValue(document);
      const indices = new Indices().allocate(resolved);
      const snapshot = compile(resolved, indices, () => up, 1);
      for (const number of [...ids, ...others]) {
        const expected = ids.includes(number) ? indices.member('u/vxlan', `n${number}`) : -1;
        expect(memberOfId(snapshot, indices.port('u/vxlan') ?? -1, number)).toBe(expected);
      }
    }),
    { numRuns: 50 },
  );
});
