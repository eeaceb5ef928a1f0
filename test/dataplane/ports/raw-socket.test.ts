/** The underlay driver `raw-socket`: its process between a stream and the loopback of a namespace. Needs root. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { inNamespace } from '../../../src/dataplane/interface.js';
import type { DatagramQueue, PortQueue } from '../../../src/dataplane/io-engine.js';
import * as native from '../../../src/dataplane/native.js';
import {
  type RawSocketDriver,
  requireRawSocket,
  startRawSocketDriver,
} from '../../../src/dataplane/ports/raw-socket.js';
import { openUnderlaySockets } from '../../../src/dataplane/ports/underlay-sockets.js';
import { ipWords, ipWordsText, parseIp } from '../../../src/wire/address.js';
import { BenchWorker, engineKinds, until } from '../../suites/bench-worker.js';
import { TestNamespace } from '../../suites/namespace.js';

/** As in pcap.test.ts: the process runs compiled code, and a test must not need a build. */
const directory = fileURLToPath(new URL(`../../../node_modules/.cache/weft-raw-${process.pid}/`, import.meta.url));
const program = `${directory}raw-socket-process.mjs`;
const source = readFileSync(new URL('../../../src/dataplane/ports/raw-socket-process.ts', import.meta.url), 'utf8');
const compilerOptions = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
mkdirSync(directory, { recursive: true });
writeFileSync(program, ts.transpileModule(source, { compilerOptions }).outputText);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const NEAR = '192.0.2.1';
const FAR = '192.0.2.2';
const payload = (size: number, seed = 0) =>
  Uint8Array.from({ length: size }, (_, at) => (at * 7 + (at >> 8) + seed) & 0xff);

describe.each(engineKinds)('the driver raw-socket with the %s engine', (kind) => {
  let namespace: TestNamespace;
  let worker: BenchWorker;
  let driver: RawSocketDriver;
  let queues: PortQueue[];
  let far: DatagramQueue;
  let farFds: number[];
  let ends: string[];

  beforeEach(() => {
    namespace = new TestNamespace();
    for (const address of [NEAR, FAR, '192.0.2.3']) namespace.ip('address', 'add', `${address}/32`, 'dev', 'lo');
    namespace.ip('link', 'set', 'lo', 'mtu', '1500', 'up');
    worker = new BenchWorker(kind);
    ends = [];
    const local = parseIp(NEAR)!;
    driver = inNamespace(namespace.fd, () => startRawSocketDriver(local, 33, 2, (why) => ends.push(why), program));
    queues = driver.transports.map((transport, index) => worker.attach(1 + index, transport));
    const options = { type: 'gre', port: 0, sourcePorts: 1, ttl: 64, checksum: false } as const;
    const [transport] = inNamespace(namespace.fd, () => openUnderlaySockets(parseIp(FAR)!, options, 1));
    farFds = [transport!.fd];
    far = worker.attach(9, transport!) as DatagramQueue;
  });
  afterEach(async () => {
    await worker.close();
    expect(worker.pool.available, 'slots that came back').toBe(worker.pool.slotCount);
    driver.end();
    for (const fd of [...farFds, ...driver.transports.map((transport) => transport.fd)]) native.close(fd);
    namespace.close();
  });

  function send(queue: PortQueue, octets: Uint8Array, to: string, segmentSize = 0, trafficClass = 0): void {
    const [a0, a1, a2, a3] = ipWords(parseIp(to)!);
    const slot = worker.frame(octets);
    const sent = (queue as DatagramQueue).sendTo(slot, segmentSize, 0, trafficClass, a0!, a1!, a2!, a3!);
    expect(sent).toBe(true);
  }

  const at = (port: number) => worker.received.filter((one) => one.port === port);

  /** The process is there once something passes. */
  async function ready(): Promise<void> {
    send(queues[0]!, payload(4), FAR);
    await until('the process is there', () => worker.breathe(1) >= 0 && at(9).length === 1, 15_000);
    worker.received.length = 0;
    worker.sent.length = 0;
  }

  test('GRE packets go both ways whole, with their traffic class and source, one by one and many in a message', async () => {
    await ready();
    for (const [size, segmentSize, trafficClass] of [
      [4, 0, 0],
      [1400, 0, 0xb9],
      [30 * 1400 + 5, 1400, 2],
    ] as const) {
      worker.received.length = 0;
      const count = segmentSize === 0 ? 1 : Math.ceil(size / segmentSize);
      send(queues[0]!, payload(size, 1), FAR, segmentSize, trafficClass);
      send(far, payload(size, 2), NEAR, segmentSize, trafficClass);
      await until('all came', () => worker.breathe(1) >= 0 && at(9).length === count && at(1).length === count);
      for (const [port, seed, from] of [
        [9, 1, NEAR],
        [1, 2, FAR],
      ] as const) {
        const got = at(port);
        expect(Buffer.compare(Buffer.concat(got.map(({ octets }) => octets)), payload(size, seed))).toBe(0);
        expect(new Set(got.map((one) => one.trafficClass))).toEqual(new Set([trafficClass]));
        expect(ipWordsText(Int32Array.from(got[0]!.source))).toBe(from);
      }
    }
    expect(at(2), 'another worker’s stream only sends').toEqual([]);
  });

  test('another worker sends by the same process, and what is for other addresses of the host is not heard', async () => {
    await ready();
    send(queues[1]!, payload(77), FAR);
    send(far, payload(55), '192.0.2.3');
    send(far, payload(66), NEAR);
    await until('both came', () => worker.breathe(1) >= 0 && at(9).length === 1 && at(1).length === 1);
    expect(at(1)[0]!.octets).toHaveLength(66);
  });

  test('packets that can’t be sent are lost, and the next ones are not', async () => {
    await ready();
    send(queues[0]!, payload(1490), FAR);
    send(queues[0]!, payload(100), '203.0.113.1');
    send(queues[0]!, payload(99), FAR);
    await until('it came', () => worker.breathe(1) >= 0 && at(9).length === 1);
    expect(at(9)[0]!.octets).toHaveLength(99);
  });
});

test('a process that can’t start says why, and its streams fail', async () => {
  const worker = new BenchWorker('poll');
  const ends: string[] = [];
  writeFileSync(`${directory}broken.mjs`, 'throw new Error("no such thing")');
  const driver = startRawSocketDriver(parseIp(NEAR)!, 64, 1, (why) => ends.push(why), `${directory}broken.mjs`);
  worker.attach(1, driver.transports[0]!);
  await until('it is told', () => worker.breathe(1) >= 0 && ends.length === 1 && worker.failed.length === 1, 15_000);
  expect(ends).toEqual(['the process of raw-socket: no such thing']);
  driver.end();
  await worker.close();
  native.close(driver.transports[0]!.fd);
});

test('what to do is said when the package is missing, and where IPv6 is asked for', async () => {
  await expect(requireRawSocket('raw-socket-that-is-not-there')).rejects.toMatchObject({
    code: 'no-package',
    message: expect.stringContaining('needs the package raw-socket'),
    fix: expect.stringContaining('npm rebuild raw-socket'),
  });
  expect(() => startRawSocketDriver(parseIp('2001:db8::1')!, 64, 1, () => {})).toThrow(/IPv4 only/);
});
