/** Stations that routers know: asked again while packets go to them, and not trusted with what only their own link may say. */
import { beforeEach, describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { NEIGHBOR_STALE_S, NEIGHBOR_USED_S } from '../../src/limits.js';
import { macText } from '../../src/wire/address.js';
import { buildEthernet, buildIp, buildUdp } from '../../src/wire/frame-build.js';
import { frameLine } from '../../src/wire/print.js';
import { arpFrame, ip, mac } from '../wire/neighbor-frames.js';
import { TestSwitch, vm } from './test-switch.js';

const A = '52:54:00:00:00:0a';
const B = '52:54:00:00:00:0b';
const C = '52:54:00:00:00:0c';
const gateway = (network: string) => macText(virtualMac(network));
const answerOfB = arpFrame({
  from: B,
  to: gateway('blue'),
  operation: 2,
  sender: '198.51.100.6',
  target: '198.51.100.1',
});

interface Datagram {
  readonly ports?: readonly [number, number];
  readonly link?: { readonly from: string; readonly to: string };
  readonly source?: string;
  readonly to?: string;
}

function datagram({
  ports: [sourcePort, destinationPort] = [1000, 2000],
  link: { from, to } = { from: A, to: gateway('red') },
  source = '192.0.2.5',
  to: destination = '198.51.100.6',
}: Datagram = {}): Uint8Array {
  const fields = { source: ip(source), destination: ip(destination), protocol: 17, ttl: 64 };
  const payload = buildUdp(sourcePort, destinationPort, 10);
  return buildEthernet({ destination: mac(to), source: mac(from), tags: [] }, 0x0800, buildIp(fields, payload));
}

let tested: TestSwitch;

function begin(b: object = {}, groups: object = {}): void {
  tested = new TestSwitch({
    networks: { red: { type: 'local' }, blue: { type: 'local' } },
    ports: { a: vm({ network: 'red' }), b: vm({ network: 'blue', ...b }), c: vm({ network: 'blue' }) },
    routers: { r: { interfaces: { red: '192.0.2.1/24', blue: '198.51.100.1/24' } } },
    ...groups,
  });
  tested.run({ port: 'b', octets: answerOfB });
}

/** Questions that left, each counted once for all ports; the packet itself must leave whatever is asked. */
function questionsWith(count: number): number {
  const sent = tested.run(...Array.from({ length: count }, () => ({ port: 'a', octets: datagram() })));
  const toB = sent.filter(({ port }) => port === 'b').map(({ octets }) => frameLine(octets));
  const asked = toB.filter((line) => line.includes('who-has 198.51.100.6'));
  expect(toB.length - asked.length).toBe(count);
  return asked.length;
}

describe('a station that is known', () => {
  beforeEach(() => begin());

  test('is not asked while it was heard lately', () => {
    tested.now += NEIGHBOR_STALE_S * 1000;
    expect(questionsWith(5)).toBe(0);
  });

  test('is asked once a second after that, until it answers, and gets its packets meanwhile', () => {
    tested.now += (NEIGHBOR_STALE_S + 1) * 1000;
    expect(questionsWith(5)).toBe(1);
    tested.now += 10;
    expect(questionsWith(5)).toBe(0);
    tested.now += 1000;
    expect(questionsWith(1)).toBe(1);
    tested.run({ port: 'b', octets: answerOfB });
    tested.now += 2000;
    expect(questionsWith(5)).toBe(0);
  });

  test('is not asked where no packet goes to it', () => {
    tested.now += (NEIGHBOR_STALE_S + 1) * 1000;
    expect(tested.run()).toEqual([]);
  });
});

describe('who makes up more stations than his port may teach', () => {
  const PER_PORT = 16;
  const flood = (count: number) => {
    for (let index = 1; index <= count; index++) {
      const sender = `198.51.100.${100 + (index % 150)}`;
      tested.run({ port: 'b', octets: arpFrame({ from: C, sender, target: sender }) });
    }
  };
  const passed = () =>
    tested
      .run({ port: 'a', octets: datagram() })
      .filter(({ port, octets }) => port === 'b' && octets[12] === 8 && octets[13] === 0).length;

  beforeEach(() => begin({}, { settings: { neighbors: { perPort: PER_PORT } } }));

  test('makes none be forgotten that routers send to, as long as they do and it answers', () => {
    for (let round = 0; round < 8; round++) {
      expect(passed()).toBe(1);
      tested.now += NEIGHBOR_USED_S * 250;
      flood(3 * PER_PORT);
      expect(tested.neighbors.learnedByPort(tested.index('b'))).toBe(PER_PORT);
      tested.run({ port: 'b', octets: answerOfB });
      expect(passed()).toBe(1);
      tested.now += NEIGHBOR_USED_S * 250;
      flood(3 * PER_PORT);
      expect(passed()).toBeGreaterThan(0);
      tested.run({ port: 'b', octets: answerOfB });
    }
  });

  test('makes those be forgotten that nobody sends to any more', () => {
    expect(passed()).toBe(1);
    tested.now += (NEIGHBOR_USED_S + 1) * 1000;
    flood(3 * PER_PORT);
    expect(passed(), 'asked for, and held').toBe(0);
    expect(tested.machine.pending.packets).toBe(1);
  });

  test('is refused where all that his port has taught is sent to', () => {
    for (let last = 6; last < 6 + PER_PORT; last++) {
      const sender = `198.51.100.${last}`;
      tested.run({ port: 'b', octets: arpFrame({ from: B, sender, target: sender }) });
      tested.run({ port: 'a', octets: datagram({ to: sender }) });
    }
    flood(3 * PER_PORT);
    for (let last = 6; last < 6 + PER_PORT; last++)
      tested.run({ port: 'a', octets: datagram({ to: `198.51.100.${last}` }) });
    expect(tested.machine.pending.packets).toBe(0);
    expect(tested.neighbors.learnedByPort(tested.index('b'))).toBe(PER_PORT);
  });
});

describe('what DHCP servers say to clients', () => {
  const nothing = { groups: [] };
  const fromServer = { ports: [67, 68] } as const;

  test('passes to a machine whose groups allow nothing from its own link alone: a router brings it from no server', () => {
    begin(nothing);
    const onTheLink = { ...fromServer, link: { from: C, to: B }, source: '198.51.100.7' };
    expect(tested.run({ port: 'c', octets: datagram(onTheLink) }).map(({ port }) => port)).toEqual(['b']);
    expect(tested.run({ port: 'a', octets: datagram(fromServer) })).toEqual([]);
    expect(tested.copiesDropped('b', 'group_deny')).toBe(1);
  });

  test('is routed where the groups allow it by a rule', () => {
    const groups = { open: { rules: [{ direction: 'ingress', proto: 'udp', port: 68 }] } };
    begin({ groups: ['open'] }, { groups });
    expect(tested.run({ port: 'a', octets: datagram(fromServer) }).map(({ port }) => port)).toEqual(['b']);
  });
});
