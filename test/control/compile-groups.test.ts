import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compile } from '../../src/control/compile.js';
import { compileAddressSets } from '../../src/control/compile-address-sets.js';
import { GroupCompiler } from '../../src/control/compile-groups.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import { settle } from '../../src/control/resolve.js';
import type { ResolvedConfig } from '../../src/control/resolved.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { matchSchema } from '../../src/control/validate.js';
import { NO_OFFLOAD } from '../../src/dataplane/port.js';
import { findSets } from '../../src/pipeline/address-sets.js';
import { type GroupPolicy, groupRuleText, ruleFrom, ruleTo } from '../../src/pipeline/group-table.js';
import {
  KEY_DESTINATION,
  KEY_KIND,
  KEY_PROTOCOL,
  KEY_SOURCE,
  KEY_WORDS,
  setPorts,
} from '../../src/pipeline/rule-key.js';
import {
  POLICY_FRAGMENTS,
  POLICY_GROUPS,
  POLICY_READ,
  POLICY_TRACKED,
  type Snapshot,
} from '../../src/pipeline/snapshot.js';
import { ipWords, type Prefix, parseIp, parsePrefix, prefixContains, prefixText } from '../../src/wire/address.js';
import { swap32 } from '../../src/wire/octets.js';
import { PACKET_IPV4, PACKET_IPV6 } from '../../src/wire/packet.js';

interface Documented {
  readonly groups: Readonly<Record<string, object>>;
  readonly ports: Readonly<Record<string, object>>;
}

function resolved({ groups, ports }: Documented): ResolvedConfig {
  const tapped = Object.fromEntries(
    Object.entries(ports).map(([name, port]) => [name, { kind: 'tap', network: 'red', ...port }]),
  );
  const document = { version: 1, networks: { red: { type: 'local' }, blue: { type: 'local' } }, groups, ports: tapped };
  const matched = matchSchema(documentOf(document as unknown as JsonValue).value);
  if ('faults' in matched) throw new Error(JSON.stringify(matched.faults));
  const settled = settle(matched.config);
  expect(settled.faults).toEqual([]);
  return settled.resolved;
}

/** Snapshots one after the other, as a daemon makes them. */
class Compiled {
  private readonly compiler = new GroupCompiler();
  private indices = new Indices();
  private epoch = 0;

  next(document: Documented): Snapshot {
    const config = resolved(document);
    this.indices = this.indices.allocate(config);
    const up = () => ({ mtu: 1500, features: NO_OFFLOAD });
    return compile(config, this.indices, up, ++this.epoch, undefined, this.compiler);
  }

  port(name: string): number {
    return this.indices.port(name) ?? -1;
  }

  network(name: string): number {
    return this.indices.network(name) ?? -1;
  }
}

function key(source: string, destination: string, protocol: number, ports: number): Int32Array {
  const words = new Int32Array(KEY_WORDS);
  words[KEY_KIND] = source.includes(':') ? PACKET_IPV6 : PACKET_IPV4;
  words[KEY_PROTOCOL] = protocol;
  setAddress(words, KEY_SOURCE, source);
  setAddress(words, KEY_DESTINATION, destination);
  setPorts(words, protocol, ports);
  return words;
}

function setAddress(words: Int32Array, at: number, text: string): void {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  for (const [index, word] of ipWords(address).entries()) words[at + index] = swap32(word);
}

const tcp = (port: number) => (40_000 << 16) | port;
const textTo = (policy: GroupPolicy, port: number, packet: Int32Array) => {
  const rule = ruleTo(policy, port, packet);
  return rule < 0 ? undefined : groupRuleText(policy, policy.portTo[port], rule);
};
const ingress = { direction: 'ingress' };

const document: Documented = {
  groups: {
    web: {
      rules: [
        { direction: 'egress' },
        { ...ingress, proto: 'tcp', port: 80, remote: '192.0.2.0/24' },
        { ...ingress, remoteGroup: 'web' },
      ],
    },
    ssh: { rules: [{ ...ingress, proto: 'tcp', port: '22-25' }] },
    plain: { stateful: false, rules: [{ direction: 'egress' }] },
  },
  ports: {
    a: { groups: ['web'], addresses: ['10.0.0.5/24', '2001:db8::5/64'], allowedPairs: [{ ip: '198.51.100.0/28' }] },
    b: { groups: ['ssh', 'web'], addresses: ['10.0.0.6/24'] },
    c: { groups: ['web', 'ssh'] },
    d: { addresses: ['10.0.0.8/24'] },
    e: { groups: [] },
    f: { network: 'blue', groups: ['plain'] },
  },
};

describe('what groups compile to', () => {
  const compiled = new Compiled();
  const snapshot = compiled.next(document);
  const { groups } = snapshot;
  const [a, b, c, d, e, f] = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => compiled.port(name));

  test('a port has the union of its groups, and the rule is named', () => {
    const web = key('192.0.2.9', '10.0.0.5', 6, tcp(80));
    expect(textTo(groups, a, web)).toBe('groups.web.rules[2]');
    expect(textTo(groups, a, key('192.0.2.9', '10.0.0.5', 6, tcp(22)))).toBeUndefined();
    expect(textTo(groups, b, key('203.0.113.9', '10.0.0.6', 6, tcp(25)))).toBe('groups.ssh.rules[1]');
    expect(textTo(groups, b, key('203.0.113.9', '10.0.0.6', 6, tcp(80)))).toBeUndefined();
    expect(ruleFrom(groups, a, key('10.0.0.5', '203.0.113.9', 17, tcp(53)))).toBe(0);
  });

  test('members of a remote group are addresses and allowed pairs of its ports, of both families', () => {
    const from = (address: string) => textTo(groups, a, key(address, '10.0.0.5', 17, tcp(9)));
    expect(from('10.0.0.6')).toBe('groups.web.rules[3]');
    expect(from('198.51.100.15')).toBe('groups.web.rules[3]');
    expect(from('198.51.100.16')).toBeUndefined();
    expect(from('2001:db8::5')).toBe('groups.web.rules[3]');
    expect(from('2001:db8::6')).toBeUndefined();
    expect(from('10.0.0.8'), 'a port without groups').toBeUndefined();
    expect(from('10.0.0.1'), 'the prefix of an address is not the address').toBeUndefined();
  });

  test('ports with the same groups, in whatever order, share compiled rules', () => {
    expect(groups.portTo[b]).toBe(groups.portTo[c]);
    expect(groups.portFrom[b]).toBe(groups.portFrom[c]);
    expect(groups.portTo[a]).not.toBe(groups.portTo[b]);
  });

  test('no groups and an empty list are not the same', () => {
    expect([groups.portFrom[d], groups.portTo[d]]).toEqual([-1, -1]);
    expect(groups.portTo[e]).toBeGreaterThanOrEqual(0);
    expect(ruleTo(groups, e, key('192.0.2.9', '10.0.0.5', 6, tcp(80)))).toBe(-1);
    expect(ruleFrom(groups, e, key('192.0.2.9', '10.0.0.5', 6, tcp(80)))).toBe(-1);
  });

  test('bits are on the ports, and on the networks that frames for them come from', () => {
    const onPort = POLICY_GROUPS | POLICY_READ | POLICY_FRAGMENTS;
    expect([a, d, e].map((port) => snapshot.portPolicy[port])).toEqual([onPort, 0, onPort]);
    const asked = POLICY_READ | POLICY_FRAGMENTS;
    expect(snapshot.networkPolicy[compiled.network('red')]).toBe(asked | POLICY_TRACKED);
    expect(snapshot.networkPolicy[compiled.network('blue')], 'stateless groups track nothing').toBe(asked);
    expect(snapshot.policies).toBe(onPort | POLICY_TRACKED);
    expect([a, e, f].map((port) => groups.portStateful[port])).toEqual([1, 0, 0]);
  });

  test('everything that is searched lies in shared memory', () => {
    const arrays = [groups, groups.addresses, ...groups.sets, ...groups.sets.map(({ rules }) => rules)]
      .flatMap((part) => Object.values(part) as unknown[])
      .filter((value): value is Int32Array => value instanceof Int32Array);
    expect(arrays.length).toBeGreaterThan(10);
    for (const array of arrays) expect(array.buffer).toBeInstanceOf(SharedArrayBuffer);
  });
});

describe('from one snapshot to the next', () => {
  const setsOf = ({ groups }: Snapshot) => groups.sets.map(({ rules }) => rules.words);

  test('what does not concern groups keeps rules, addresses and the epoch', () => {
    const compiled = new Compiled();
    const before = compiled.next(document);
    const other = { ...document, ports: { ...document.ports, z: {}, d: { addresses: ['10.0.0.9/24'] } } };
    const after = compiled.next(other);
    expect(after.groups.epoch).toBe(before.groups.epoch);
    expect(after.groups.addresses).toBe(before.groups.addresses);
    expect(setsOf(after)).toEqual(setsOf(before));
    for (const [index, set] of after.groups.sets.entries()) expect(set).toBe(before.groups.sets[index]);
  });

  test('a member that joins or leaves is one new set of addresses: no rule is compiled again', () => {
    const compiled = new Compiled();
    const before = compiled.next(document);
    const joined = { ...document, ports: { ...document.ports, d: { groups: ['web'], addresses: ['10.0.0.8/24'] } } };
    const after = compiled.next(joined);
    expect(after.groups.epoch).not.toBe(before.groups.epoch);
    expect(after.groups.addresses).not.toBe(before.groups.addresses);
    for (const set of after.groups.sets) expect(before.groups.sets).toContain(set);
    const packet = key('10.0.0.8', '10.0.0.5', 17, tcp(9));
    expect(textTo(before.groups, compiled.port('a'), packet)).toBeUndefined();
    expect(textTo(after.groups, compiled.port('a'), packet)).toBe('groups.web.rules[3]');
    const left = compiled.next(document);
    expect(left.groups.epoch, 'the same policy as before').toBe(before.groups.epoch);
    expect(textTo(left.groups, compiled.port('a'), packet)).toBeUndefined();
  });

  test('addresses of groups that no rule asks for are in no set and change no epoch', () => {
    const compiled = new Compiled();
    const only = {
      groups: { ssh: { rules: [ingress] } },
      ports: { a: { groups: ['ssh'], addresses: ['10.0.0.5/24'] } },
    };
    const before = compiled.next(only);
    const after = compiled.next({ ...only, ports: { a: { groups: ['ssh'], addresses: ['10.0.0.6/24'] } } });
    expect(after.groups.epoch).toBe(before.groups.epoch);
    expect(after.groups.addresses.bounds4).toHaveLength(1);
  });

  const changes: Record<string, Documented> = {
    'a rule': {
      ...document,
      groups: { ...document.groups, ssh: { rules: [{ ...ingress, proto: 'tcp', port: '22-24' }] } },
    },
    'the groups of a port': { ...document, ports: { ...document.ports, c: { groups: ['web'] } } },
    'that a port has groups at all': { ...document, ports: { ...document.ports, d: { groups: [] } } },
    'that a port has groups no more': { ...document, ports: { ...document.ports, e: {} } },
    'an address of a member': {
      ...document,
      ports: { ...document.ports, b: { groups: ['ssh', 'web'], addresses: ['10.0.0.7/24'] } },
    },
    'a pair of a member': {
      ...document,
      ports: {
        ...document.ports,
        b: { groups: ['ssh', 'web'], addresses: ['10.0.0.6/24'], allowedPairs: [{ ip: '10.9.9.9' }] },
      },
    },
    'whether a group is stateful': {
      ...document,
      groups: { ...document.groups, plain: { stateful: true, rules: [{ direction: 'egress' }] } },
    },
  };
  test.each(Object.keys(changes))('the epoch changes with %s', (change) => {
    const compiled = new Compiled();
    const before = compiled.next(document);
    expect(compiled.next(changes[change]).groups.epoch).not.toBe(before.groups.epoch);
  });

  test('groups keep their numbers while others come and go', () => {
    const compiled = new Compiled();
    const before = compiled.next(document);
    const grown = { ...document, groups: { aaa: { rules: [] }, ...document.groups } };
    const after = compiled.next(grown);
    expect(after.groups.epoch).toBe(before.groups.epoch);
    for (const set of after.groups.sets) expect(before.groups.sets).toContain(set);
  });
});

describe('sets of addresses', () => {
  const octet = fc.constantFrom(0, 1, 127, 128, 192, 255);
  const prefix4 = fc
    .tuple(octet, octet, octet, octet, fc.integer({ min: 0, max: 32 }))
    .map(([p, q, r, s, length]) => ({ address: Uint8Array.of(p, q, r, s), length }));
  const prefix6 = fc
    .tuple(fc.array(octet, { minLength: 16, maxLength: 16 }), fc.integer({ min: 0, max: 128 }))
    .map(([octets, length]) => ({ address: Uint8Array.from(octets), length }));
  const normal = (prefix: Prefix): Prefix => {
    const address = prefix.address.map((value, index) => {
      const bits = Math.min(8, Math.max(0, prefix.length - 8 * index));
      return value & ((0xff00 >> bits) & 0xff);
    });
    return { address, length: prefix.length };
  };

  test('find what a walk through all prefixes finds', () => {
    const sets = fc.array(fc.array(fc.oneof(prefix4, prefix6), { maxLength: 6 }), { maxLength: 40 });
    fc.assert(
      fc.property(sets, fc.oneof(prefix4, prefix6), (written, { address }) => {
        const members = written.map((prefixes) => prefixes.map(normal));
        const compiled = compileAddressSets(members);
        const words = new Int32Array(KEY_WORDS);
        words[KEY_KIND] = address.length === 4 ? PACKET_IPV4 : PACKET_IPV6;
        for (const [index, word] of ipWords(address).entries()) words[KEY_SOURCE + index] = swap32(word);
        const wanted = Int32Array.from(members.keys());
        const found = new Int32Array(members.length + 1).fill(-1);
        findSets(compiled, words, KEY_SOURCE, wanted, found);
        const expected = members.flatMap((prefixes, set) =>
          prefixes.some((prefix) => prefixContains(prefix, address)) ? [set] : [],
        );
        expect([...found.slice(1, 1 + found[0])]).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });

  test('0.0.0.0/0 is IPv4 alone, and ::/0 is IPv6 alone', () => {
    const prefix = (text: string) => parsePrefix(text) as Prefix;
    const compiled = compileAddressSets([[prefix('0.0.0.0/0')], [prefix('::/0')]]);
    const found = new Int32Array(3);
    const setsOf = (address: string) => {
      findSets(compiled, key(address, address, 6, 0), KEY_SOURCE, Int32Array.of(0, 1), found);
      return [...found.slice(1, 1 + found[0])];
    };
    expect(setsOf('0.0.0.0')).toEqual([0]);
    expect(setsOf('255.255.255.255')).toEqual([0]);
    expect(setsOf('::ffff:192.0.2.1')).toEqual([1]);
    expect(setsOf('::')).toEqual([1]);
    expect(prefixText(prefix('::/0'))).toBe('::/0');
  });

  test('a hundred thousand addresses in a thousand sets are found by one search', { timeout: 20_000 }, () => {
    const members: Prefix[][] = Array.from({ length: 1000 }, (_, set) =>
      Array.from({ length: 100 }, (_, index) => ({
        address: Uint8Array.of(10, set >> 8, set & 255, index),
        length: 32,
      })),
    );
    const compiled = compileAddressSets(members);
    const found = new Int32Array(4);
    findSets(compiled, key('10.3.231.99', '10.0.0.1', 6, 0), KEY_SOURCE, Int32Array.of(998, 999, 0), found);
    expect([...found.slice(0, 2)]).toEqual([1, 1]);
    expect(compiled.bounds4.length).toBeLessThanOrEqual(2001);
  });
});
