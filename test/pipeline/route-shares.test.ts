/** What is kept for next hops that are not known yet, when ports of one tenant together take all that there is. */
import { beforeEach, describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import {
  NEIGHBOR_QUESTIONS_MAX,
  PENDING_HOPS_MAX,
  PENDING_HOPS_PER_PORT,
  PENDING_PACKETS_MAX,
  PENDING_PACKETS_PER_PORT,
} from '../../src/limits.js';
import { macText } from '../../src/wire/address.js';
import { ETHERTYPE_ARP } from '../../src/wire/ethernet.js';
import { buildEthernet, buildIp, buildTcp } from '../../src/wire/frame-build.js';
import { read16 } from '../../src/wire/octets.js';
import { arpFrame, ip, mac } from '../wire/neighbor-frames.js';
import { type Received, type Sent, type TestDocument, TestSwitch, vm } from './test-switch.js';

const SERVER_MAC = '52:54:00:00:00:bb';
/** As many as it takes to have all, and one more. */
const HOSTILE = Array.from({ length: PENDING_HOPS_MAX / PENDING_HOPS_PER_PORT }, (_, index) => `h${index}`);
const BATCH = 128;
const QUEUE = 8;

let tested: TestSwitch;

beforeEach(() => {
  const machines = [...HOSTILE, 'a', 'b'].map((name) => [name, vm({ network: 'red' })]);
  const document: TestDocument = {
    networks: { red: { type: 'local' }, blue: { type: 'local' } },
    ports: { ...Object.fromEntries(machines), server: vm({ network: 'blue' }) },
    routers: { r: { interfaces: { red: '192.0.2.1/24', blue: '198.18.0.1/15' } } },
  };
  tested = new TestSwitch(document, { slots: 2 * PENDING_PACKETS_MAX, neighborEntries: 1024 });
});

/** A packet from the port's machine to a host of blue, of so many. */
function packet(port: string, host: number): Received {
  const destination = `198.19.${host >> 8}.${host & 0xff}`;
  const fields = { source: ip('192.0.2.5'), destination: ip(destination), protocol: 6, ttl: 64 };
  const tcp = { sourcePort: 1, destinationPort: 80, sequence: 1, acknowledgement: 0, flags: 2, window: 64 };
  const link = { destination: virtualMac('red'), source: mac('52:54:00:00:00:0a'), tags: [] };
  return { port, octets: buildEthernet(link, 0x0800, buildIp(fields, buildTcp(tcp, 10))) };
}

function send(frames: readonly Received[]): Sent[] {
  const sent: Sent[] = [];
  for (let from = 0; from < frames.length; from += BATCH) sent.push(...tested.run(...frames.slice(from, from + BATCH)));
  return sent;
}

/** The hosts that were asked for. */
function asked(sent: readonly Sent[]): number[] {
  const questions = sent.filter(({ port, octets }) => port === 'server' && read16(octets, 12) === ETHERTYPE_ARP);
  return questions.map(({ octets }) => read16(octets, 40));
}

/** The host says where it is; what leaves to it, a breath later. */
function answer(host: number): Sent[] {
  const [from, to] = [SERVER_MAC, macText(virtualMac('blue'))];
  const octets = arpFrame({
    from,
    to,
    operation: 2,
    sender: `198.19.${host >> 8}.${host & 0xff}`,
    target: '198.18.0.1',
  });
  tested.now += 2;
  return tested.run({ port: 'server', octets }).filter((one) => read16(one.octets, 12) !== ETHERTYPE_ARP);
}

const total = (reason: 'neighbor_unresolved') => HOSTILE.reduce((sum, port) => sum + tested.dropped(port, reason), 0);

describe('ports that wait for all addresses that can be waited for', () => {
  beforeEach(() => {
    for (const [index, port] of HOSTILE.entries())
      send(Array.from({ length: PENDING_HOPS_PER_PORT }, (_, host) => packet(port, index * 256 + host + 1)));
    expect(tested.machine.pending.count).toBe(PENDING_HOPS_MAX);
  });

  test('give way to one that waits for none: its packet is held, its station asked for, and found', () => {
    expect(asked(send([packet('a', 5000)]))).toEqual([5000]);
    expect(tested.machine.pending.count).toBe(PENDING_HOPS_MAX);
    expect(total('neighbor_unresolved')).toBe(1);
    expect(answer(5000)).toMatchObject([{ port: 'server' }]);
    tested.expectConservation();
  });

  test('give way until it has as many as they, and no further', () => {
    send(Array.from({ length: PENDING_HOPS_PER_PORT }, (_, host) => packet('a', 5000 + host)));
    const share = Math.floor(PENDING_HOPS_MAX / (HOSTILE.length + 1));
    expect(tested.dropped('a', 'neighbor_unresolved')).toBe(PENDING_HOPS_PER_PORT - share);
    expect(tested.machine.pending.count).toBe(PENDING_HOPS_MAX);
    // Nobody can take it back.
    send(HOSTILE.map((port, index) => packet(port, index * 256 + 200)));
    for (let host = 0; host < share; host++) expect(answer(5000 + host)).toHaveLength(1);
  });

  test('lose what they ask for since longest, and go on with the rest', () => {
    tested.now += 1000;
    tested.run();
    const [one = ''] = HOSTILE;
    // The one that answers makes room for one that was never asked again, which stays.
    expect(answer(1)).toMatchObject([{ port: 'server' }]);
    expect(asked(send([packet(one, 4000)]))).toEqual([4000]);
    expect(asked(send([packet('a', 5000)]))).toEqual([5000]);
    expect(answer(4000)).toMatchObject([{ port: 'server' }]);
    tested.expectConservation();
  });

  test('end all in their time, and every packet is told of', () => {
    send(Array.from({ length: 50 }, (_, host) => packet('a', 5000 + host)));
    for (let second = 0; second <= 2 * NEIGHBOR_QUESTIONS_MAX; second++) {
      tested.now += 1000;
      for (let breath = 0; breath < 20; breath++) {
        tested.now++;
        tested.run();
      }
    }
    expect([tested.machine.pending.count, tested.machine.pending.packets]).toEqual([0, 0]);
    tested.expectConservation();
  });
});

describe('ports that have all packets kept that can be', () => {
  const PORTS = HOSTILE.slice(0, PENDING_PACKETS_MAX / PENDING_PACKETS_PER_PORT);
  const LAST = PORTS.length - 1;
  const HOSTS = Array.from({ length: PENDING_PACKETS_PER_PORT }, (_, index) => index + 1);
  /** Of each port but the last one, a host that it does not send to: there is room for another's packet. */
  const left = (index: number) => HOSTS.length - index;

  test('give way to one that has fewer, from wherever they are kept', () => {
    // Two of them ask, the others' packets wait behind theirs; the last one has most, at the end of each queue.
    send(HOSTS.slice(0, 128).map((host) => packet('h0', host)));
    send(HOSTS.slice(128).flatMap((host) => (host === left(1) ? [packet('b', host)] : [packet('h1', host)])));
    for (const [index, port] of PORTS.entries()) {
      const asks = (host: number) => (index === 0 && host <= 128) || (index === 1 && host > 128);
      send(
        HOSTS.filter((host) => !asks(host) && (index === LAST || host !== left(index))).map((host) =>
          packet(port, host),
        ),
      );
    }
    send(PORTS.slice(2, LAST).map((_, index) => packet('b', left(index + 2))));
    send([packet('b', left(0))]);
    expect(tested.machine.pending.packets).toBe(PENDING_PACKETS_MAX);
    expect(total('neighbor_unresolved')).toBe(0);

    expect(asked(send([packet('a', 5000)]))).toEqual([5000]);
    expect(tested.machine.pending.packets).toBe(PENDING_PACKETS_MAX);
    expect(tested.dropped(PORTS[LAST] ?? '', 'neighbor_unresolved')).toBe(1);
    // All have as many now: what makes room next is the first packet there is, and this one comes last.
    send([packet('b', 1)]);
    expect(tested.dropped('h0', 'neighbor_unresolved')).toBe(1);
    expect(total('neighbor_unresolved')).toBe(2);
    expect(answer(5000)).toMatchObject([{ port: 'server' }]);
    expect(answer(1)).toHaveLength(QUEUE - 1);
    expect(answer(2)).toHaveLength(QUEUE);
    expect(tested.machine.pending.packets).toBe(PENDING_PACKETS_MAX - 2 * QUEUE);
    tested.expectConservation();
  });
});
