/** Routers among everything else a switch does: policy of the port a packet leaves by, tunnels, other workers, traces. */
import { beforeEach, describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import type { Names } from '../../src/pipeline/stage.js';
import { macText } from '../../src/wire/address.js';
import { buildEthernet, buildIp, buildTcp } from '../../src/wire/frame-build.js';
import { arpFrame, ip, mac } from '../wire/neighbor-frames.js';
import { arriving, host, targets, vxlanForm } from './overlay.js';
import { addressWords, type Sent, type TestDocument, TestSwitch, vm } from './test-switch.js';
import { traced } from './traced.js';

const A = '52:54:00:00:00:0a';
const B = '52:54:00:00:00:0b';
const X = '52:54:00:00:01:01';
const routers = { r: { interfaces: { red: '192.0.2.1/24', blue: '198.51.100.1/24' } } };
const networks = { red: { type: 'local' }, blue: { type: 'local' } } as const;

const gateway = (network: string) => macText(virtualMac(network));
const TCP = { sourcePort: 1234, destinationPort: 80, sequence: 1, acknowledgement: 0, flags: 2, window: 64 };

function packet(destination = '198.51.100.6', source = '192.0.2.5'): Uint8Array {
  const fields = { source: ip(source), destination: ip(destination), protocol: 6, ttl: 64 };
  const link = { destination: mac(gateway('red')), source: mac(A), tags: [] };
  return buildEthernet(link, 0x0800, buildIp(fields, buildTcp(TCP, 10)));
}

function announce(from: string, sender: string): Uint8Array {
  return arpFrame({ from, to: gateway('blue'), operation: 2, sender, target: '198.51.100.1' });
}
const announceB = announce(B, '198.51.100.6');

let tested: TestSwitch;
const ports = (sent: readonly Sent[]) => sent.map(({ port }) => port).sort();

function begin(more: Partial<TestDocument> = {}, a: object = {}, b: object = {}): void {
  const both = { a: vm({ network: 'red', ...a }), b: vm({ network: 'blue', ...b }) };
  tested = new TestSwitch({ networks, routers, ports: both, ...more });
  tested.run({ port: 'b', octets: announceB });
}

beforeEach(() => begin());

describe('a routed packet is judged', () => {
  test('by the ACL of the port it leaves by, with its addresses as they are there', () => {
    const rule = { action: 'deny', dst: '198.51.100.6/32', proto: 'tcp', dstPort: '80' };
    begin({ acls: { x: { default: 'permit', rules: [rule] } } }, {}, { acl: { egress: 'x' } });
    expect(tested.run({ port: 'a', octets: packet() })).toEqual([]);
    expect(tested.copiesDropped('b', 'acl_deny')).toBe(1);
  });

  test('by the ACL of the port it came by, before it is routed', () => {
    const acl = { default: 'permit', rules: [{ action: 'deny', src: '192.0.2.5/32' }] } as const;
    begin({ acls: { x: acl } }, { acl: { ingress: 'x' } });
    expect(tested.run({ port: 'a', octets: packet() })).toEqual([]);
    expect(tested.dropped('a', 'acl_deny')).toBe(1);
  });

  test('by its source, where its port is guarded', () => {
    begin({}, { antiSpoof: true, mac: A, addresses: ['192.0.2.5/24'] });
    expect(ports(tested.run({ port: 'a', octets: packet() }))).toEqual(['b']);
    expect(tested.run({ port: 'a', octets: packet('198.51.100.6', '192.0.2.99') })).toEqual([]);
    expect(tested.dropped('a', 'spoof_ip')).toBe(1);
  });
});

describe('what waits for a station', () => {
  beforeEach(() => {
    tested = new TestSwitch({
      networks,
      routers,
      ports: { a: vm({ network: 'red' }), b: vm({ network: 'blue' }) },
    });
  });

  test('leaves when another worker has heard the answer', () => {
    expect(ports(tested.run({ port: 'a', octets: packet() }))).toEqual(['b']);
    // Neighbours and FDB are shared: the other worker writes what this one finds.
    const [word0, word1, word2, word3] = addressWords('198.51.100.6');
    const ages = tested.snapshot.networkMacAge;
    tested.neighbors.select(tested.network('blue'), word0!, word1!, word2!, word3!);
    const second = Math.floor(tested.now / 1000);
    tested.neighbors.claim(0x5254, 0x0b, 0, tested.index('b'), 10, second, ages);
    tested.now += 5;
    const [sent, ...others] = tested.run();
    expect(others).toEqual([]);
    expect(macText(sent!.octets, 0)).toBe(B);
    expect(tested.machine.pending.count).toBe(0);
  });

  test('finds its way anew when the interface it waited at is gone', () => {
    tested.run({ port: 'a', octets: packet() });
    expect(tested.machine.pending.packets).toBe(1);
    tested.configure({
      networks,
      routers: { r: { interfaces: { red: '192.0.2.1/24' } } },
      ports: { a: vm({ network: 'red' }), b: vm({ network: 'blue' }) },
    });
    tested.now += 5;
    const [sent] = tested.run();
    expect(sent).toMatchObject({ port: 'a' });
    expect([sent!.octets[34], sent!.octets[35]]).toEqual([3, 0]);
    expect(tested.dropped('a', 'no_route')).toBe(1);
    expect(tested.machine.pending.count).toBe(0);
  });

  test('ends when the router is gone altogether', () => {
    tested.run({ port: 'a', octets: packet() });
    tested.configure({ networks, ports: { a: vm({ network: 'red' }), b: vm({ network: 'blue' }) } });
    tested.now += 5;
    tested.run();
    tested.now += 5000;
    tested.run();
    expect(tested.machine.pending.packets).toBe(0);
    tested.expectConservation();
  });
});

describe('a station behind a tunnel', () => {
  const form = vxlanForm!;

  beforeEach(() => {
    const over = { type: 'vxlan', id: 5010, underlay: 'u0', remotes: [host(form, 1), host(form, 2)] } as const;
    const red = { ...over, id: 5011 };
    tested = new TestSwitch({
      networks: { red, blue: over },
      routers,
      ports: { a: vm({ network: 'red' }), b: vm({ network: 'blue' }) },
      underlays: { u0: { local: '192.0.2.1' } },
    });
  });

  test('is asked through the tunnels, answers, and is sent its packets by its own', () => {
    const asked = tested.run({ port: 'a', octets: packet('198.51.100.9') });
    expect(targets(asked, form)).toEqual(['b', 'remote 1', 'remote 2']);
    tested.now += 5;
    const sent = tested.run(arriving(form, 2, announce(X, '198.51.100.9')));
    expect(targets(sent, form)).toEqual(['remote 2']);
    expect(targets(tested.run({ port: 'a', octets: packet('198.51.100.9') }), form)).toEqual(['remote 2']);
  });

  test("is sent them by its own also while another host's router speaks with the same MAC", () => {
    tested.run({ port: 'a', octets: packet('198.51.100.9') });
    tested.run(arriving(form, 2, announce(X, '198.51.100.9')));
    // The router of host 1 sends a packet to a, from the MAC that all hosts' routers have inside.
    const fields = { source: ip('198.51.100.77'), destination: ip('192.0.2.5'), protocol: 6, ttl: 63 };
    const link = { destination: mac(A), source: mac(gateway('red')), tags: [] };
    const routed = buildEthernet(link, 0x0800, buildIp(fields, buildTcp(TCP, 10)));
    expect(ports(tested.run(arriving(form, 1, routed, { id: 5011 })))).toEqual(['a']);
    expect(targets(tested.run({ port: 'a', octets: packet('198.51.100.9') }), form)).toEqual(['remote 2']);
  });
});

describe('a trace', () => {
  const names: Names = {
    port: (index) => ['a', 'b'][index] ?? `port ${index}`,
    network: (index) => ['red', 'blue'][index] ?? `network ${index}`,
    remote: () => 'remote',
    rule: (number) => `rule ${number}`,
  };

  function trace(octets: Uint8Array) {
    const found = traced(tested, 'a', octets, names);
    return { ...found, text: found.stages.find(({ stage }) => stage === 'route')?.text };
  }

  test('says where a packet is routed to', () => {
    expect(trace(packet())).toMatchObject({ verdict: 'forward', text: 'routed into blue, to 198.51.100.6' });
  });

  test('says who is not known, and that the router took what is its own', () => {
    const waiting = trace(packet('198.51.100.9'));
    expect(waiting).toMatchObject({ verdict: 'drop', reason: 'neighbor_unresolved' });
    expect(waiting.text).toBe('waits: it is not known who is at 198.51.100.9');
    const fields = { source: ip('192.0.2.5'), destination: ip('192.0.2.1'), protocol: 1, ttl: 64 };
    const link = { destination: mac(gateway('red')), source: mac(A), tags: [] };
    const reply = buildEthernet(link, 0x0800, buildIp(fields, Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 1)));
    expect(trace(reply)).toMatchObject({
      verdict: 'consume',
      text: 'for the router itself, which answers what it knows',
    });
  });

  test('says why a packet is not routed', () => {
    expect(trace(packet('203.0.113.1'))).toMatchObject({ verdict: 'drop', reason: 'no_route' });
  });
});
