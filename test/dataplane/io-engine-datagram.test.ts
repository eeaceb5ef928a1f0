/** Datagram queues, one suite for both engines: real sockets on the loopback of a namespace of their own. Needs root. */
import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { inNamespace } from '../../src/dataplane/interface.js';
import type { DatagramQueue } from '../../src/dataplane/io-engine.js';
import * as native from '../../src/dataplane/native.js';
import type { DatagramTransport, UnderlayIntent } from '../../src/dataplane/port.js';
import { descriptorsOf, openUnderlaySockets } from '../../src/dataplane/ports/underlay-sockets.js';
import { SOCKET_ADDRESS_SIZE, socketAddress, socketPort } from '../../src/dataplane/socket-address.js';
import { MESSAGE_SIZE_MAX, MESSAGES_MAX } from '../../src/limits.js';
import { ipWords, ipWordsText, parseIp } from '../../src/wire/address.js';
import { BenchWorker, engineKinds, type Received, sleep, until } from '../suites/bench-worker.js';
import { TestNamespace } from '../suites/namespace.js';

const UDP_PORT = 4789;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const IPPROTO_GRE = 47;
const families = [
  { family: 'IPv4', near: '192.0.2.1', far: '192.0.2.2', nowhere: '203.0.113.1' },
  { family: 'IPv6', near: '2001:db8::1', far: '2001:db8::2', nowhere: '2001:db8:ffff::1' },
] as const;

type Options = Partial<Omit<UnderlayIntent, 'local' | 'remotes'>>;

let namespace: TestNamespace;
let worker: BenchWorker;
let opened: number[];

beforeEach(() => {
  namespace = new TestNamespace();
  opened = [];
  for (const address of ['192.0.2.1/32', '192.0.2.2/32', '2001:db8::1/128', '2001:db8::2/128'])
    namespace.ip('address', 'add', address, 'dev', 'lo', ...(address.includes(':') ? ['nodad'] : []));
  setLoopbackMtu(1500);
});
afterEach(async () => {
  await worker.close();
  expect(worker.pool.available, 'slots that came back').toBe(worker.pool.slotCount);
  for (const fd of opened) native.close(fd);
  namespace.close();
});

function setLoopbackMtu(mtu: number): void {
  namespace.ip('link', 'set', 'lo', 'mtu', String(mtu));
}

function openTransports(local: string, options: Options = {}, receivers = 1): readonly DatagramTransport[] {
  const intent = { type: 'vxlan', port: UDP_PORT, sourcePorts: 4, ttl: 64, checksum: false, ...options } as const;
  const transports = inNamespace(namespace.fd, () => openUnderlaySockets(parseIp(local)!, intent, receivers));
  opened.push(...descriptorsOf(transports));
  return transports;
}

function attach(port: number, local: string, options: Options = {}, receives = true): DatagramQueue {
  return worker.attach(port, openTransports(local, options)[0]!, receives) as DatagramQueue;
}

/** A socket of the test's own, which plays a remote end. */
function testSocket(local: string, port: number, type = SOCK_DGRAM, protocol = 0): number {
  const address = parseIp(local)!;
  const fd = inNamespace(namespace.fd, () =>
    native.socket(address.length === 4 ? 2 : 10, type | native.O_NONBLOCK | native.O_CLOEXEC, protocol),
  );
  opened.push(native.check('opening a test socket', fd));
  // A socket of IPv6 takes no datagrams without a checksum unless it says so (UDP_NO_CHECK6_RX).
  if (type === SOCK_DGRAM && address.length === 16) native.setsockopt(fd, 17, 102, new Int32Array([1]));
  native.check('binding a test socket', native.bind(fd, socketAddress(address, port)));
  return fd;
}

function boundPort(fd: number): number {
  const address = new Uint8Array(SOCKET_ADDRESS_SIZE);
  native.check('getsockname', native.getsockname(fd, address));
  return socketPort(address);
}

function payload(size: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => (index * 7 + (index >> 8) + seed) & 0xff);
}

interface Extra {
  readonly segmentSize?: number;
  readonly sender?: number;
  readonly trafficClass?: number;
}

/** Lends a slot that is held already. */
function lend(queue: DatagramQueue, slot: number, to: string, extra: Extra = {}): boolean {
  const [a0, a1, a2, a3] = ipWords(parseIp(to)!);
  const { segmentSize = 0, sender = 0, trafficClass = 0 } = extra;
  return queue.sendTo(slot, segmentSize, sender, trafficClass, a0!, a1!, a2!, a3!);
}

function sendTo(queue: DatagramQueue, octets: Uint8Array, to: string, extra: Extra = {}): boolean {
  const slot = worker.frame(octets);
  if (lend(queue, slot, to, extra)) return true;
  worker.pool.release(slot);
  return false;
}

/** Breathes until port `port` has received so many datagrams; each is one whose octets were cut out of its message. */
async function datagrams(port: number, count: number): Promise<Uint8Array[]> {
  let all: Uint8Array[] = [];
  await until(`${count} datagrams`, () => {
    worker.breathe(1);
    all = worker.received.filter((one) => one.port === port).flatMap(cut);
    return all.length >= count;
  });
  return all;
}

function cut(message: Received): Uint8Array[] {
  const size = message.datagramSize === 0 ? message.octets.length : message.datagramSize;
  if (message.octets.length === 0) return [message.octets];
  return Array.from({ length: Math.ceil(message.octets.length / size) }, (_, index) =>
    message.octets.slice(index * size, (index + 1) * size),
  );
}

const same = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0;
const reasons = () => worker.sent.map(({ reason }) => reason);

describe.each(engineKinds)('the %s engine', (kind) => {
  beforeEach(() => {
    worker = new BenchWorker(kind);
  });

  describe.each(families)('over $family', ({ near, far, nowhere }) => {
    test('datagrams of every size arrive whole, with the address they came from', async () => {
      setLoopbackMtu(65_536);
      const queue = attach(1, near);
      attach(2, far);
      for (const size of [1, 2, 3, 4, 8, 63, 64, 65, 1472, 1500, 9000, 65_000, MESSAGE_SIZE_MAX - 20]) {
        worker.received.length = 0;
        expect(sendTo(queue, payload(size, size), far)).toBe(true);
        await until(`${size} octets`, () => worker.breathe(1) >= 0 && worker.received.length === 1);
        const [got] = worker.received;
        expect(same(got!.octets, payload(size, size)), `${size} octets`).toBe(true);
        expect(ipWordsText(Int32Array.from(got!.source))).toBe(near);
        expect(got).toMatchObject({ port: 2, datagramSize: 0, trafficClass: 0 });
      }
      await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === 13);
      expect(new Set(reasons())).toEqual(new Set(['none']));
      expect(worker.sent.at(-1)!.octets).toBe(MESSAGE_SIZE_MAX - 20);
    });

    test('an empty datagram, which no tunnel sends, goes out and is not handed over', async () => {
      const queue = attach(1, near);
      attach(2, far);
      expect(sendTo(queue, payload(0, 0), far)).toBe(true);
      expect(sendTo(queue, payload(1, 1), far)).toBe(true);
      await until('the one behind it', () => worker.breathe() >= 0 && worker.received.length > 0);
      await until('both are reported', () => worker.breathe() >= 0 && worker.sent.length === 2);
      expect(worker.received.map(({ octets }) => octets.length)).toEqual([1]);
      expect(reasons()).toEqual(['none', 'none']);
    });

    test.each([false, true])(
      'a message of many datagrams arrives as those datagrams (checksums: %s)',
      async (checksum) => {
        const queue = attach(1, near, { checksum });
        attach(2, far);
        for (const [size, segmentSize] of [
          [45 * 1400, 1400],
          [3 * 1000 + 17, 1000],
          [1001, 1000],
          [64 * 100, 100],
        ] as const) {
          worker.received.length = 0;
          worker.sent.length = 0;
          expect(sendTo(queue, payload(size, segmentSize), far, { segmentSize })).toBe(true);
          const count = Math.ceil(size / segmentSize);
          const got = await datagrams(2, count);
          expect(got).toHaveLength(count);
          expect(got.every((one, index) => index === count - 1 || one.length === segmentSize)).toBe(true);
          expect(same(Buffer.concat(got), payload(size, segmentSize)), `${count} of ${segmentSize}`).toBe(true);
          await until('it is reported once', () => worker.breathe() >= 0 && worker.sent.length > 0);
          expect(worker.sent).toMatchObject([{ port: 1, octets: size, reason: 'none' }]);
        }
      },
    );

    test('a receiver that asks for single datagrams gets them of the size that was given', async () => {
      const queue = attach(1, near);
      const fd = testSocket(far, UDP_PORT);
      expect(sendTo(queue, payload(2500), far, { segmentSize: 1000 })).toBe(true);
      const sizes: number[] = [];
      const buffer = new Uint8Array(2000);
      await until('three', () => {
        worker.breathe();
        for (let size = native.recv(fd, buffer); size >= 0; size = native.recv(fd, buffer)) sizes.push(size);
        return sizes.length === 3;
      });
      expect(sizes).toEqual([1000, 1000, 500]);
    });

    test('the traffic class goes out and comes in', async () => {
      const queue = attach(1, near);
      attach(2, far);
      for (const trafficClass of [0, 1, 2, 3, 0xb8, 0xbb, 0xff]) {
        worker.received.length = 0;
        sendTo(queue, payload(100), far, { trafficClass });
        sendTo(queue, payload(300), far, { trafficClass, segmentSize: 100 });
        await datagrams(2, 4);
        expect(new Set(worker.received.map((one) => one.trafficClass))).toEqual(new Set([trafficClass]));
      }
    });

    test('the choice of a sender is that of a source port, the same for single datagrams and for many', async () => {
      const [transport] = openTransports(near, { sourcePorts: 3 });
      const queue = worker.attach(1, transport!) as DatagramQueue;
      const ports = transport!.senders.map(boundPort);
      expect(queue.senderCount).toBe(3);
      expect(new Set([...ports, UDP_PORT]).size).toBe(4);
      const fd = testSocket(far, UDP_PORT);
      const buffer = new Uint8Array(2000);
      const from = new Uint8Array(SOCKET_ADDRESS_SIZE);
      const seen: number[] = [];
      for (const [sender, segmentSize] of [
        [0, 0],
        [1, 0],
        [2, 0],
        [3, 0],
        [0x7fff_fffe, 0],
        [1, 50],
        [2, 50],
      ] as const) {
        sendTo(queue, payload(60), far, { sender, segmentSize });
        let got = -1;
        await until('it came', () => {
          worker.breathe();
          got = native.recvfrom(fd, buffer, from);
          return got >= 0;
        });
        seen.push(socketPort(from));
        if (segmentSize !== 0) await until('its rest came', () => native.recv(fd, buffer) === 10);
        expect(got).toBe(segmentSize === 0 ? 60 : 50);
      }
      const expected = [0, 1, 2, 0, 0x7fff_fffe % 3, 1, 2].map((index) => ports[index]);
      expect(seen).toEqual(expected);
    });

    test('what does not fit the path is refused as too long, and the queue goes on', async () => {
      const queue = attach(1, near);
      attach(2, far);
      sendTo(queue, payload(1500), far);
      sendTo(queue, payload(4500), far, { segmentSize: 1500 });
      sendTo(queue, payload(1400), far);
      expect(await datagrams(2, 1)).toHaveLength(1);
      await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === 3);
      expect(reasons()).toEqual(['mtu_exceeded', 'mtu_exceeded', 'none']);
      expect(worker.sent.map(({ octets }) => octets)).toEqual([0, 0, 1400]);
      expect(worker.failed).toEqual([]);
    });

    test('a remote without a route is its own failure, not the port’s', async () => {
      const queue = attach(1, near);
      attach(2, far);
      sendTo(queue, payload(100), nowhere);
      sendTo(queue, payload(200), nowhere, { segmentSize: 100 });
      sendTo(queue, payload(100), far);
      await datagrams(2, 1);
      await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === 3);
      expect(reasons()).toEqual(['tunnel_down', 'tunnel_down', 'none']);
      expect(worker.failed).toEqual([]);
    });

    test('a remote where nobody listens does not fail what is sent next', async () => {
      const queue = attach(1, near);
      for (let index = 0; index < 20; index++) {
        sendTo(queue, payload(100), far);
        worker.breathe(1);
      }
      await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === 20);
      expect(new Set(reasons())).toEqual(new Set(['none']));
    });

    test('GRE packets go both ways, without their IP headers', async () => {
      const one = attach(1, near, { type: 'gre', port: 0 });
      const two = attach(2, far, { type: 'gre', port: 0 });
      for (const size of [4, 5, 8, 100, 1400]) {
        worker.received.length = 0;
        sendTo(one, payload(size, 1), far, { trafficClass: 0xb9 });
        sendTo(two, payload(size, 2), near);
        await until('both came', () => worker.breathe(1) >= 0 && worker.received.length === 2);
        const at = (port: number) => worker.received.find((received) => received.port === port)!;
        expect(same(at(2).octets, payload(size, 1)), `${size} octets`).toBe(true);
        expect(same(at(1).octets, payload(size, 2)), `${size} octets`).toBe(true);
        expect(ipWordsText(Int32Array.from(at(2).source))).toBe(near);
        expect(at(2)).toMatchObject({ trafficClass: 0xb9, datagramSize: 0 });
        expect(at(1)).toMatchObject({ trafficClass: 0, datagramSize: 0 });
      }
    });

    test.each([0, 0xb8])(
      'a message of many GRE packets is each packet, reported once (class %i)',
      async (trafficClass) => {
        const queue = attach(1, near, { type: 'gre', port: 0 });
        attach(2, far, { type: 'gre', port: 0 });
        for (const [size, segmentSize] of [
          [45 * 1400, 1400],
          [3 * 1000 + 17, 1000],
          [1001, 1000],
          [64 * 100, 100],
        ] as const) {
          worker.received.length = 0;
          worker.sent.length = 0;
          sendTo(queue, payload(size, segmentSize), far, { segmentSize, trafficClass });
          const count = Math.ceil(size / segmentSize);
          const got = await datagrams(2, count);
          expect(got.map(({ length }) => length)).toEqual([
            ...Array(count - 1).fill(segmentSize),
            size - (count - 1) * segmentSize,
          ]);
          expect(same(Buffer.concat(got), payload(size, segmentSize)), `${count} of ${segmentSize}`).toBe(true);
          expect(new Set(worker.received.map((one) => one.trafficClass))).toEqual(new Set([trafficClass]));
          await until('it is reported', () => worker.breathe() >= 0 && worker.sent.length > 0);
          expect(worker.sent).toMatchObject([{ port: 1, octets: size, reason: 'none' }]);
        }
      },
    );

    test('a message of GRE packets of which some can’t leave has failed, once, and the others have left', async () => {
      const queue = attach(1, near, { type: 'gre', port: 0 });
      attach(2, far, { type: 'gre', port: 0 });
      for (const trafficClass of [0, 0xb8]) {
        worker.received.length = 0;
        worker.sent.length = 0;
        sendTo(queue, payload(3 * 1490 + 100), far, { segmentSize: 1490, trafficClass });
        sendTo(queue, payload(4 * 100), nowhere, { segmentSize: 100, trafficClass });
        expect(await datagrams(2, 1)).toHaveLength(1);
        await until('both are reported', () => worker.breathe() >= 0 && worker.sent.length === 2);
        expect(worker.sent.map(({ reason, octets }) => [reason, octets])).toEqual([
          ['mtu_exceeded', 0],
          ['tunnel_down', 0],
        ]);
      }
    });

    test('GRE packets that are too long, or have nowhere to go, are refused', async () => {
      const queue = attach(1, near, { type: 'gre', port: 0 });
      sendTo(queue, payload(1490), far);
      sendTo(queue, payload(100), nowhere);
      sendTo(queue, payload(100), far);
      await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === 3);
      expect(reasons()).toEqual(['mtu_exceeded', 'tunnel_down', 'none']);
    });

    test('one slot goes to many addresses at once, and each copy is reported', async () => {
      const queue = attach(1, near);
      attach(2, far);
      const slot = worker.frame(payload(500));
      worker.pool.holds[slot] = 300;
      for (let copy = 0; copy < 300; copy++) {
        expect(lend(queue, slot, copy % 3 === 0 ? nowhere : far, { sender: copy })).toBe(true);
      }
      const got = await datagrams(2, 200);
      expect(got.every((one) => same(one, payload(500)))).toBe(true);
      await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === 300);
      expect(reasons().filter((reason) => reason === 'tunnel_down')).toHaveLength(100);
    });
  });

  test('a vanished local address is its datagrams’ failure', async () => {
    // Of IPv4 only: IPv6 sends them all the same, until the port is told lost.
    const queue = attach(1, '192.0.2.1');
    namespace.ip('address', 'del', '192.0.2.1/32', 'dev', 'lo');
    sendTo(queue, payload(100), '192.0.2.2');
    await until('it is reported', () => worker.breathe() >= 0 && worker.sent.length === 1);
    expect(reasons()).toEqual(['tunnel_down']);
    expect(worker.failed).toEqual([]);
  });

  test('an IP header with options in front of a GRE packet is left out, too', async () => {
    attach(2, '192.0.2.2', { type: 'gre', port: 0 });
    const fd = testSocket('192.0.2.1', 0, SOCK_RAW, IPPROTO_GRE);
    // Eight octets of no-operations.
    native.check('IP_OPTIONS', native.setsockopt(fd, 0, 4, new Uint8Array([1, 1, 1, 1, 1, 1, 1, 0])));
    native.check('connect', native.connect(fd, socketAddress(parseIp('192.0.2.2')!, 0)));
    for (const size of [4, 9, 1000]) {
      worker.received.length = 0;
      native.check('sending', native.send(fd, payload(size)));
      await until('it came', () => worker.breathe(1) >= 0 && worker.received.some(({ port }) => port === 2));
      const [got] = worker.received;
      expect(same(got!.octets, payload(size)), `${size} octets`).toBe(true);
    }
  });

  test('a queue that only sends hears nothing, and one that receives hears all', async () => {
    const [transport] = openTransports('192.0.2.2', { type: 'gre', port: 0 });
    const sending = worker.attach(3, transport!, false) as DatagramQueue;
    worker.attach(2, transport!);
    const queue = attach(1, '192.0.2.1', { type: 'gre', port: 0 });
    for (let index = 0; index < 50; index++) sendTo(queue, payload(100), '192.0.2.2');
    await until('all are there', () => worker.breathe(1) >= 0 && worker.received.length === 50);
    expect(worker.received.every(({ port }) => port === 2)).toBe(true);
    sendTo(sending, payload(100), '192.0.2.1');
    await until('it came', () => worker.breathe(1) >= 0 && worker.received.some(({ port }) => port === 1));
  });

  test('sockets of one port share what comes, by flow', async () => {
    const transports = openTransports('192.0.2.2', {}, 3);
    transports.forEach((transport, index) => {
      worker.attach(10 + index, transport);
    });
    const queue = attach(1, '192.0.2.1', { sourcePorts: 64 });
    for (let round = 0; round < 4; round++)
      for (let sender = 0; sender < 64; sender++) sendTo(queue, payload(100, sender), '192.0.2.2', { sender });
    await until('all are there', () => worker.breathe(1) >= 0 && worker.received.length === 256);
    const portsOf = new Map<number, Set<number>>();
    for (const { port, octets } of worker.received)
      portsOf.set(octets[0]!, (portsOf.get(octets[0]!) ?? new Set()).add(port));
    expect([...portsOf.values()].every((ports) => ports.size === 1)).toBe(true);
    expect(new Set(worker.received.map(({ port }) => port)).size).toBe(3);
  });

  test('what is sent to its sending sockets is not kept', async () => {
    const [transport] = openTransports('192.0.2.1');
    worker.attach(1, transport!);
    const fd = testSocket('192.0.2.2', 0);
    for (const sender of [...transport!.senders, ...transport!.segmentSenders!]) {
      native.check('connect', native.connect(fd, socketAddress(parseIp('192.0.2.1')!, boundPort(sender))));
      native.check('send', native.send(fd, payload(100)));
      expect(native.recv(sender, new Uint8Array(200))).toBe(-1);
      expect(native.errno()).toBe(native.EAGAIN);
    }
    worker.breathe(1);
    expect(worker.received).toEqual([]);
  });

  test('TTL, DF and checksums are what was asked for', async () => {
    const all = [
      { checksum: false, local: '192.0.2.1', far: '192.0.2.2' },
      { checksum: true, local: '192.0.2.1', far: '192.0.2.2' },
      { checksum: false, local: '2001:db8::1', far: '2001:db8::2' },
      { checksum: true, local: '2001:db8::1', far: '2001:db8::2' },
    ];
    for (const { checksum, local, far } of all) {
      const options = { checksum, ttl: 33, port: checksum ? 5001 : 5000 };
      const queue = attach(1, local, options);
      const isIpv6 = local.includes(':');
      const packets = inNamespace(namespace.fd, () => native.socket(17, SOCK_DGRAM | native.O_NONBLOCK, 0));
      opened.push(packets);
      // struct sockaddr_ll: AF_PACKET, the family's ethertype, lo.
      native.check(
        'bind',
        native.bind(packets, Uint8Array.from([17, 0, ...(isIpv6 ? [0x86, 0xdd] : [8, 0]), 1, ...Array(15).fill(0)])),
      );
      sendTo(queue, payload(64), far);
      const packet = new Uint8Array(2000);
      await until('it is seen', () => worker.breathe() >= 0 && native.recv(packets, packet) > 0);
      const udp = isIpv6 ? 40 : 20;
      const sum = (packet[udp + 6]! << 8) | packet[udp + 7]!;
      expect(sum !== 0, `${local} ${checksum}`).toBe(checksum);
      expect(packet[isIpv6 ? 7 : 8]).toBe(33);
      if (!isIpv6) expect(packet[6]! & 0x40).toBe(0x40);
    }
  });

  test('refuses when all message blocks are on their way, and goes on when they are back', async () => {
    // The poll engine sends at once, so its one block is always free.
    const [transport] = openTransports('192.0.2.1');
    const queue = worker.attach(1, transport!, false) as DatagramQueue;
    const slot = worker.frame(payload(10));
    worker.pool.holds[slot] = MESSAGES_MAX + 100;
    let lent = 0;
    for (let copy = 0; copy < MESSAGES_MAX + 100; copy++) if (lend(queue, slot, '192.0.2.2')) lent++;
    expect(lent).toBe(kind === 'uring' ? MESSAGES_MAX : MESSAGES_MAX + 100);
    await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === lent);
    for (; lent < MESSAGES_MAX + 100; lent++) worker.pool.release(slot);
    worker.sent.length = 0;
    for (let copy = 0; copy < 100; copy++) expect(sendTo(queue, payload(10), '192.0.2.2')).toBe(true);
    await until('they are reported', () => worker.breathe() >= 0 && worker.sent.length === 100);
  });

  test('many GRE packets on their way are bounded, and detaching among them gives everything back', async () => {
    const gre = { type: 'gre', port: 0 } as const;
    for (const trafficClass of [0, 4]) {
      const queue = attach(1, '192.0.2.1', gre);
      const other = attach(2, '192.0.2.2', gre);
      let lent = 0;
      for (let message = 0; message < 200; message++)
        if (sendTo(queue, payload(64 * 100), '192.0.2.2', { segmentSize: 100, trafficClass })) lent++;
      if (kind === 'uring') expect(lent).toBe(MESSAGES_MAX / 64);
      await Promise.all([worker.detach(queue), worker.detach(other)]);
      await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === lent);
      worker.sent.length = 0;
      for (const fd of opened.splice(0)) native.close(fd);
    }
    const queue = attach(1, '192.0.2.1', gre);
    for (let message = 0; message < MESSAGES_MAX / 64; message++)
      expect(sendTo(queue, payload(64 * 100), '192.0.2.2', { segmentSize: 100, trafficClass: 4 })).toBe(true);
    await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === MESSAGES_MAX / 64);
  });

  test('detaching with datagrams on their way both ways gives every slot and block back', async () => {
    for (let round = 0; round < 30; round++) {
      const queue = attach(1, '192.0.2.1', { port: 5000 + round });
      const other = attach(2, '192.0.2.2', { port: 5000 + round });
      worker.breathe();
      for (let index = 0; index < 300; index++) {
        if (worker.pool.available < 2) worker.breathe();
        sendTo(queue, payload(1000, index), '192.0.2.2', { sender: index, segmentSize: index % 2 === 0 ? 0 : 300 });
      }
      await Promise.all([worker.detach(queue), worker.detach(other)]);
      expect(sendTo(queue, payload(10), '192.0.2.2'), 'a detached queue takes nothing').toBe(false);
      for (const fd of opened.splice(0)) native.close(fd);
    }
    await until('all is reported', () => worker.breathe() >= 0 && worker.pool.available === worker.pool.slotCount);
    // All blocks are there again: as many can be lent at once as at first.
    const queue = attach(1, '192.0.2.1');
    const slot = worker.frame(payload(10));
    worker.pool.holds[slot] = MESSAGES_MAX;
    worker.sent.length = 0;
    for (let copy = 0; copy < MESSAGES_MAX; copy++) expect(lend(queue, slot, '192.0.2.2')).toBe(true);
    await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === MESSAGES_MAX);
  });

  test('a full receiving socket loses datagrams without harm, and a flood is handed over in bounded batches', async () => {
    const queue = attach(1, '192.0.2.1');
    attach(2, '192.0.2.2');
    worker.breathe();
    let most = 0;
    for (let round = 0; round < 40; round++) {
      for (let index = 0; index < 200 && worker.pool.available > 1; index++)
        sendTo(queue, payload(1200, index), '192.0.2.2', { sender: index });
      most = Math.max(most, worker.breathe());
    }
    await sleep(20);
    for (let round = 0; round < 400; round++) most = Math.max(most, worker.breathe());
    expect(most).toBeLessThanOrEqual(worker.batch.capacity);
    worker.received.length = 0;
    sendTo(queue, payload(77), '192.0.2.2');
    await until(
      'it still hears',
      () => worker.breathe(1) >= 0 && worker.received.some((one) => one.octets.length === 77),
    );
  });

  test('there are as many sockets as asked for, those to send by twice when checksums are off', () => {
    attach(1, '192.0.2.1', { sourcePorts: 8 });
    const sockets = execFileSync('ip', ['netns', 'exec', namespace.name, 'ss', '-Hnua'], { encoding: 'utf8' });
    expect(sockets.split('\n').filter((line) => line.includes('192.0.2.1:')).length).toBe(1 + 2 * 8);
  });
});
