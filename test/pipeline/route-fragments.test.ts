/** Packets that routers cut because the link they leave by is short: what leaves, what is counted, and who is judged. */
import { beforeEach, describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { RX_FORWARDED, TX_FRAMES } from '../../src/dataplane/counters.js';
import { macText } from '../../src/wire/address.js';
import { ipv4HeaderChecksum, pseudoHeaderSum4, sumOctets } from '../../src/wire/checksum.js';
import { buildEthernet, buildIp, buildTcp, buildUdp } from '../../src/wire/frame-build.js';
import { read16, write16 } from '../../src/wire/octets.js';
import { arpFrame, ip, mac } from '../wire/neighbor-frames.js';
import { type Sent, type TestDocument, TestSwitch, vm } from './test-switch.js';

const A = '52:54:00:00:00:0a';
const B = '52:54:00:00:00:0b';
const MTU = 1000;

function document(more: Partial<TestDocument> = {}, b: object = {}): TestDocument {
  return {
    networks: { red: { type: 'local' }, blue: { type: 'local', mtu: MTU } },
    ports: { a: vm({ network: 'red' }), b: vm({ network: 'blue', ...b }), c: vm({ network: 'blue' }) },
    routers: { r: { interfaces: { red: '192.0.2.1/24', blue: '198.51.100.1/24' } } },
    ...more,
  };
}

const gateway = (network: string) => macText(virtualMac(network));

/** A datagram whose DF is clear, unless said otherwise. */
function datagram(size: number, { fragment = 0 } = {}): Uint8Array {
  const fields = { source: ip('192.0.2.5'), destination: ip('198.51.100.6'), protocol: 17, ttl: 64 };
  const link = { destination: mac(gateway('red')), source: mac(A), tags: [] };
  const octets = buildEthernet(link, 0x0800, buildIp(fields, buildUdp(1000, 2000, size - 28)));
  write16(octets, 20, fragment);
  // As a whole: whatever the builder left there would be told from what the switch makes of it.
  write16(octets, 40, 0);
  const sum = sumOctets(octets, 34, size - 20, pseudoHeaderSum4(octets, 14, 17, size - 20));
  write16(octets, 40, ~sum & 0xffff);
  write16(octets, 24, ipv4HeaderChecksum(octets, 14, 20));
  return octets;
}

const announceB = arpFrame({
  from: B,
  to: gateway('blue'),
  operation: 2,
  sender: '198.51.100.6',
  target: '198.51.100.1',
});

let tested: TestSwitch;

function begin(configuration = document()): void {
  tested = new TestSwitch(configuration);
  tested.run({ port: 'b', octets: announceB });
}

/** The datagram's octets behind the IP header, from fragments in any order; each is checked. */
function together(sent: readonly Sent[]): Uint8Array {
  const parts = sent.map(({ octets }) => {
    expect(octets.length - 14).toBeLessThanOrEqual(MTU);
    expect(read16(octets, 16)).toBe(octets.length - 14);
    expect(read16(octets, 24)).toBe(ipv4HeaderChecksum(octets, 14, 20));
    expect(octets[22]).toBe(63);
    return { at: (read16(octets, 20) & 0x1fff) * 8, more: read16(octets, 20) >>> 13, payload: octets.slice(34) };
  });
  parts.sort((one, other) => one.at - other.at);
  expect(parts.map(({ more }) => more)).toEqual(parts.map((_, index) => (index === parts.length - 1 ? 0 : 1)));
  const whole = new Uint8Array(parts.reduce((sum, { payload }) => sum + payload.length, 0));
  for (const { at, payload } of parts) whole.set(payload, at);
  return whole;
}

beforeEach(() => begin());

describe('a packet that may be fragmented', () => {
  test.each([1001, 1400, 1500])('and has %i octets leaves in two, which make it again', (size) => {
    const octets = datagram(size);
    const sent = tested.run({ port: 'a', octets });
    expect(sent.map(({ port }) => port)).toEqual(['b', 'b']);
    expect(together(sent)).toEqual(octets.slice(34));
    expect(tested.value('b', TX_FRAMES)).toBe(2);
    expect(tested.value('a', RX_FORWARDED)).toBe(1);
  });

  test('and fits leaves as it is', () => {
    const sent = tested.run({ port: 'a', octets: datagram(1000) });
    expect(sent).toHaveLength(1);
    expect(read16(sent[0]!.octets, 20)).toBe(0);
  });

  test('is cut for every port that it is flooded to', () => {
    tested.fdb.flush({});
    const sent = tested.run({ port: 'a', octets: datagram(1400) });
    expect(sent.map(({ port }) => port).sort()).toEqual(['b', 'b', 'c', 'c']);
    expect(together(sent.filter(({ port }) => port === 'c'))).toEqual(datagram(1400).slice(34));
  });

  test('has its partial checksum completed first', () => {
    const octets = datagram(1400);
    const complete = octets.slice(34);
    const partial = Uint8Array.from(octets);
    write16(partial, 40, pseudoHeaderSum4(octets, 14, 17, 1380));
    const vnet = { flags: 1, gsoType: 0, headerLength: 0, gsoSize: 0, start: 34, offset: 6 };
    expect(together(tested.run({ port: 'a', octets: partial, vnet }))).toEqual(complete);
    tested.fdb.flush({});
    const flooded = tested.run({ port: 'a', octets: partial, vnet });
    for (const port of ['b', 'c']) expect(together(flooded.filter((one) => one.port === port))).toEqual(complete);
  });

  test('and is a super-frame becomes the fragments of its segments', () => {
    const fields = { source: ip('192.0.2.5'), destination: ip('198.51.100.6'), protocol: 6, ttl: 64 };
    const tcp = { sourcePort: 1, destinationPort: 2, sequence: 7, acknowledgement: 0, flags: 0x10, window: 64 };
    const link = { destination: mac(gateway('red')), source: mac(A), tags: [] };
    const octets = buildEthernet(link, 0x0800, buildIp(fields, buildTcp(tcp, 4000)));
    write16(octets, 20, 0);
    write16(octets, 24, ipv4HeaderChecksum(octets, 14, 20));
    write16(octets, 50, pseudoHeaderSum4(octets, 14, 6, 4020));
    const vnet = { flags: 1, gsoType: 1, headerLength: 54, gsoSize: 1460, start: 34, offset: 16 };
    const sent = tested.run({ port: 'a', octets, vnet });
    const ids = [...new Set(sent.map((one) => read16(one.octets, 18)))];
    expect(ids).toHaveLength(3);
    const payload = ids.flatMap((id) => {
      const segment = together(sent.filter((one) => read16(one.octets, 18) === id));
      expect(sumOctets(segment, 0, segment.length, pseudoHeaderSum4(octets, 14, 6, segment.length))).toBe(0xffff);
      return [...segment.slice(20)];
    });
    expect(Uint8Array.from(payload)).toEqual(octets.slice(54));
    expect(tested.value('a', RX_FORWARDED)).toBe(1);
  });

  test('is judged whole: what the port may not be sent leaves in no part, and what it may leaves in all', () => {
    const groups = (port: string) => ({ g: { rules: [{ direction: 'ingress', proto: 'udp', port }] } });
    const more = (port: string) => ({ groups: groups(port) }) as Partial<TestDocument>;
    begin(document(more('2000'), { groups: ['g'] }));
    expect(tested.run({ port: 'a', octets: datagram(1400) })).toHaveLength(2);
    begin(document(more('2001'), { groups: ['g'] }));
    expect(tested.run({ port: 'a', octets: datagram(1400) })).toEqual([]);
    expect(tested.copiesDropped('b', 'group_deny')).toBe(1);
  });

  test('leaves in no part when there are not slots for all', () => {
    const held: number[] = [];
    while (tested.pool.available > 2) held.push(tested.pool.allocate());
    expect(tested.receive({ port: 'a', octets: datagram(1400) })).toBe(true);
    tested.runBatch();
    expect(tested.sent.splice(0)).toEqual([]);
    expect(tested.copiesDropped('b', 'no_slot')).toBe(1);
    for (const slot of held) tested.pool.release(slot);
    tested.expectConservation();
  });
});

describe('what may not be fragmented', () => {
  test('by its DF bit is dropped, and its sender told', () => {
    const sent = tested.run({ port: 'a', octets: datagram(1400, { fragment: 0x4000 }) });
    expect(sent.map(({ port }) => port)).toEqual(['a']);
    expect([sent[0]!.octets[34], sent[0]!.octets[35], read16(sent[0]!.octets, 40)]).toEqual([3, 4, MTU]);
    expect(tested.dropped('a', 'mtu_exceeded')).toBe(1);
  });

  test('because nobody routes it is dropped silently', () => {
    const octets = datagram(1400);
    octets.set(mac(B), 0);
    expect(tested.run({ port: 'c', octets })).toEqual([]);
    expect(tested.dropped('c', 'mtu_exceeded')).toBe(1);
  });
});
