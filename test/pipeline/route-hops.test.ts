/** Next hops that do not answer, or answer no more: what becomes of their packets, alone and among several that share a way. */
import { beforeEach, describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { NEIGHBOR_QUESTIONS_MAX, NEIGHBOR_STALE_S } from '../../src/limits.js';
import { macText } from '../../src/wire/address.js';
import { ETHERTYPE_ARP } from '../../src/wire/ethernet.js';
import { buildEthernet, buildIp, buildTcp } from '../../src/wire/frame-build.js';
import { read16 } from '../../src/wire/octets.js';
import { arpFrame, ip, mac } from '../wire/neighbor-frames.js';
import { type Sent, TestSwitch, vm } from './test-switch.js';

const MACS = { b: '52:54:00:00:00:0b', c: '52:54:00:00:00:0c', d: '52:54:00:00:00:0d' };
const HOPS = { b: '198.51.100.6', c: '198.51.100.7', d: '198.51.100.8' };
type Hop = keyof typeof HOPS;
const FLOWS = 60;

let tested: TestSwitch;

function begin(...via: Hop[]): void {
  const routes = [{ to: '203.0.113.0/24', via: via.map((hop) => HOPS[hop]) }];
  tested = new TestSwitch({
    networks: { red: { type: 'local' }, blue: { type: 'local' } },
    ports: {
      a: vm({ network: 'red' }),
      b: vm({ network: 'blue' }),
      c: vm({ network: 'blue' }),
      d: vm({ network: 'blue' }),
    },
    routers: { r: { interfaces: { red: '192.0.2.1/24', blue: '198.51.100.1/24' }, routes } },
  });
}

function announce(hop: Hop): Sent[] {
  const to = macText(virtualMac('blue'));
  const octets = arpFrame({ from: MACS[hop], to, operation: 2, sender: HOPS[hop], target: '198.51.100.1' });
  return tested.run({ port: hop, octets });
}

/** A packet of one of so many flows to what the hops share. */
function send(flow = 0): Sent[] {
  const fields = { source: ip('192.0.2.5'), destination: ip('203.0.113.7'), protocol: 6, ttl: 64 };
  const tcp = { sourcePort: 1000 + flow, destinationPort: 80, sequence: 1, acknowledgement: 0, flags: 2, window: 64 };
  const link = { destination: virtualMac('red'), source: mac('52:54:00:00:00:0a'), tags: [] };
  return tested.run({ port: 'a', octets: buildEthernet(link, 0x0800, buildIp(fields, buildTcp(tcp, 10))) });
}

const isQuestion = ({ octets }: Sent) => read16(octets, 12) === ETHERTYPE_ARP;
const questions = (sent: readonly Sent[]) => sent.filter(isQuestion).length;
const packets = (sent: readonly Sent[]) => sent.filter((one) => !isQuestion(one)).map(({ port }) => port);

/** Ports that packets of all flows leave by. */
function ways(): Map<string, number> {
  const counts = new Map<string, number>();
  for (let flow = 0; flow < FLOWS; flow++)
    for (const port of packets(send(flow))) counts.set(port, (counts.get(port) ?? 0) + 1);
  return counts;
}

/** Time passes, second by second, as a worker breathes. */
function wait(seconds: number): Sent[] {
  const sent: Sent[] = [];
  for (let second = 0; second < seconds; second++) {
    tested.now += 1000;
    sent.push(...tested.run());
  }
  return sent;
}

/** A flow that takes the way of this hop as long as all answer. */
function flowBy(hop: Hop): number {
  for (let flow = 0; flow < FLOWS; flow++) if (packets(send(flow))[0] === hop) return flow;
  throw new Error(`no flow goes by ${hop}`);
}

describe('of several hops that share a way', () => {
  beforeEach(() => begin('b', 'c', 'd'));

  test('one that does not answer gives its flows to another, the packets that waited for it among them', () => {
    announce('b');
    announce('c');
    for (let flow = 0; flow < FLOWS; flow++) send(flow);
    const waiting = tested.machine.pending.packets;
    expect(waiting).toBeGreaterThan(0);
    expect(packets(wait(NEIGHBOR_QUESTIONS_MAX))).toHaveLength(waiting);
    const now = ways();
    expect([...now.keys()].sort()).toEqual(['b', 'c']);
    expect([...now.values()].reduce((sum, count) => sum + count)).toBe(FLOWS);
    // It is asked on, and takes them again when it answers.
    expect(questions(wait(1))).toBeGreaterThan(0);
    announce('d');
    expect(ways().get('d')).toBeGreaterThan(FLOWS / 6);
    tested.expectConservation();
  });

  test('one that answers no more gives its flows to another, the others keep theirs', () => {
    for (const hop of ['b', 'c', 'd'] as const) announce(hop);
    const [flow, other] = [flowBy('d'), flowBy('b')];
    wait(NEIGHBOR_STALE_S + 1);
    for (let second = 0; second < NEIGHBOR_QUESTIONS_MAX; second++) {
      announce('b');
      announce('c');
      expect(packets(send(flow))).toEqual(['d']);
      wait(1);
    }
    expect(packets(send(flow))).toEqual(['b']);
    expect(packets(send(other))).toEqual(['b']);
    announce('d');
    expect(packets(send(flow))).toEqual(['d']);
  });

  test('none that answers: the sender is told, and those that were not asked yet are', () => {
    send();
    const sent = wait(NEIGHBOR_QUESTIONS_MAX);
    const told = sent.filter((one) => !isQuestion(one));
    expect(told.map(({ port, octets }) => [port, octets[34], octets[35]])).toEqual([['a', 3, 1]]);
    expect(new Set(sent.filter(isQuestion).map(({ octets }) => octets[41])).size).toBe(3);
    expect(tested.dropped('a', 'neighbor_unresolved')).toBe(1);
    announce('b');
    expect(packets(send())).toEqual(['b']);
    tested.expectConservation();
  });
});

describe('a hop of its own', () => {
  beforeEach(() => begin('b'));

  test('that is given up is asked on as long as packets come, and refused ones are told at once', () => {
    send();
    wait(NEIGHBOR_QUESTIONS_MAX);
    for (let second = 0; second < 5; second++) {
      expect(packets(send())).toEqual(['a']);
      expect(questions(wait(1))).toBe(3);
    }
    expect(questions(wait(3))).toBe(0);
    expect(tested.machine.pending.count).toBe(0);
    // Then it begins anew: the packet is kept.
    expect(packets(send())).toEqual([]);
    tested.now += 5;
    expect(packets(announce('b'))).toEqual(['b']);
    tested.expectConservation();
  });

  test('that answers when it is asked again stays, however seldom it is sent to', () => {
    announce('b');
    for (let round = 0; round < 2 * NEIGHBOR_QUESTIONS_MAX; round++) {
      tested.now += (NEIGHBOR_STALE_S + 5) * 1000;
      const sent = send();
      expect([packets(sent), questions(sent)]).toEqual([['b'], 3]);
      announce('b');
    }
  });

  test('that answers no more is given up after as many questions, long before its binding ends', () => {
    announce('b');
    wait(NEIGHBOR_STALE_S + 1);
    for (let second = 0; second < NEIGHBOR_QUESTIONS_MAX; second++) {
      expect(packets(send())).toEqual(['b']);
      wait(1);
    }
    expect(packets(send())).toEqual(['a']);
    expect(tested.dropped('a', 'neighbor_unresolved')).toBe(1);
    announce('b');
    expect(packets(send())).toEqual(['b']);
  });

  test('that answers no more is given up whoever sends to others that don’t, in another network or this one', () => {
    announce('b');
    const others = ['192.0.2.6', '192.0.2.7', '198.51.100.70', '198.51.100.134'];
    for (const address of others) {
      const network = address.startsWith('192') ? 'red' : 'blue';
      const port = network === 'red' ? 'a' : 'c';
      const router = { red: '192.0.2.1', blue: '198.51.100.1' }[network];
      const to = macText(virtualMac(network));
      const from = `52:54:00:00:00:${port === 'a' ? '1a' : '1c'}`;
      tested.run({ port, octets: arpFrame({ from, to, operation: 2, sender: address, target: router }) });
    }
    const sendToOthers = () => {
      for (const address of others) {
        const fields = { source: ip('198.51.100.8'), destination: ip(address), protocol: 6, ttl: 64 };
        const tcp = { sourcePort: 1, destinationPort: 2, sequence: 1, acknowledgement: 0, flags: 2, window: 64 };
        const link = { destination: virtualMac('blue'), source: mac(MACS.d), tags: [] };
        tested.run({ port: 'd', octets: buildEthernet(link, 0x0800, buildIp(fields, buildTcp(tcp, 10))) });
      }
    };
    wait(NEIGHBOR_STALE_S + 1);
    for (let second = 0; second < NEIGHBOR_QUESTIONS_MAX; second++) {
      sendToOthers();
      expect([packets(send()), second]).toEqual([['b'], second]);
      sendToOthers();
      wait(1);
    }
    sendToOthers();
    expect(packets(send())).toEqual(['a']);
    announce('b');
    expect(packets(send())).toEqual(['b']);
  });
});
