/**
 * A hundred ports that flood the services for machines, and one that asks them now and then: through the pipeline and the ring to
 * the main thread, which reads at its own pace. Time is the test's own.
 */
import { encode } from 'dns-packet';
import { beforeEach, expect, test } from 'vitest';
import { allocateFrameRing, FrameRing } from '../../src/dataplane/frame-ring.js';
import {
  ADDRESS_MESSAGES_TOTAL_PER_SECOND,
  METADATA_SEGMENTS_TOTAL_PER_SECOND,
  NAMES_TOTAL_PER_SECOND,
  PUNT_RING_SIZE,
  PUNT_SIZE_MAX,
  STORM_BURST_MS,
  TCP_OPENINGS_TOTAL_PER_SECOND,
} from '../../src/limits.js';
import { PUNT_ADDRESS_SERVICE, PuntRing } from '../../src/pipeline/punt-ring.js';
import { buildEthernet, buildIp, buildTcp, buildUdpOf } from '../../src/wire/frame-build.js';
import { dhcpFrame, dhcpMessage } from '../wire/address-frames.js';
import { ip, mac } from '../wire/neighbor-frames.js';
import { type TestDocument, TestSwitch, vm } from './test-switch.js';

const HOSTILE = Array.from({ length: 100 }, (_, index) => `h${index}`);
const SECOND = 1000;
/** Frames that the main thread answers in a millisecond: it has other things to do. */
const ANSWERED_PER_MS = 12;

let tested: TestSwitch;
let memory: SharedArrayBuffer;
/** Frames that the main thread was handed, by member. */
let handed: number[];

beforeEach(() => {
  memory = allocateFrameRing(PUNT_RING_SIZE);
  handed = [];
  const document: TestDocument = {
    networks: { red: { type: 'local' } },
    ports: Object.fromEntries([...HOSTILE, 'a'].map((name) => [name, vm({ network: 'red' })])),
    subnets: {
      red4: { network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1', dhcp: { pool: '192.0.2.100-192.0.2.200' } },
    },
    settings: { metadata: { endpoint: 'http://127.0.0.1:8775' } },
  };
  tested = new TestSwitch(document, { punt: new PuntRing(memory) });
});

function frameOf(destination: string, protocol: number, payload: Uint8Array): Uint8Array {
  const packet = buildIp({ source: ip('192.0.2.100'), destination: ip(destination), protocol, ttl: 64 }, payload);
  const link = { destination: mac('52:54:00:00:00:77'), source: mac('52:54:00:00:00:0a'), tags: [] };
  return buildEthernet(link, 0x0800, packet);
}

const query = Uint8Array.from(encode({ type: 'query', id: 7, questions: [{ type: 'A', name: 'a.example' }] }));
const question = frameOf('192.0.2.1', 17, buildUdpOf(4000, 53, query));
const segment = (flags: number, size: number) => {
  const fields = { sourcePort: 4000, destinationPort: 80, sequence: 1, acknowledgement: 1, flags, window: 64 };
  return frameOf('169.254.169.254', 6, buildTcp(fields, size));
};
const [SYN, ACK] = [0x02, 0x10];

/** The frame, from the port's own machine. */
function from(port: string, octets: Uint8Array): { port: string; octets: Uint8Array } {
  const own = octets.slice();
  own[11] = port === 'a' ? 0xaa : Number(port.slice(1));
  return { port, octets: own };
}

function read(most: number): void {
  const ring = new FrameRing(memory);
  const octets = new Uint8Array(PUNT_SIZE_MAX);
  for (let count = 0; count < most && ring.next(); count++) {
    handed.push(ring.gsoSize);
    ring.copyTo(octets, 0);
    ring.advance();
  }
}

/** All flood for so long, a frame a millisecond each; the one sends `asks` five times a second. How many of those were handed over. */
function flood(octets: Uint8Array, asks: readonly Uint8Array[], forMs: number): { sent: number; heard: number } {
  let sent = 0;
  handed = [];
  for (let ms = 0; ms < forMs; ms++) {
    tested.now++;
    for (const port of HOSTILE) tested.receive(from(port, octets));
    // At whatever time of the others' turns.
    if (ms % 197 === 196)
      for (const ask of asks) {
        tested.receive(from('a', ask));
        sent++;
      }
    tested.runBatch();
    read(ANSWERED_PER_MS);
  }
  const member = tested.member('a', 'red');
  return { sent, heard: handed.filter((one) => one === member).length };
}

const discover = dhcpFrame(dhcpMessage({ type: 1, chaddr: '52:54:00:00:00:aa' }), { from: '52:54:00:00:00:aa' });

const cases: [string, Uint8Array, Uint8Array[], number][] = [
  ['DHCP', discover, [discover], ADDRESS_MESSAGES_TOTAL_PER_SECOND],
  ['questions for names', question, [question], NAMES_TOTAL_PER_SECOND],
  [
    'segments of full size',
    segment(ACK, 1460),
    [segment(ACK, 100), segment(ACK, 0)],
    METADATA_SEGMENTS_TOTAL_PER_SECOND,
  ],
  ['connections', segment(SYN, 0), [segment(ACK, 100), segment(ACK, 0)], TCP_OPENINGS_TOTAL_PER_SECOND],
];

test.each(cases)('a flood of %s has a bound, and who asks for little is heard', (_, octets, asks, total) => {
  flood(octets, [], SECOND);
  const { sent, heard } = flood(octets, asks, SECOND);
  expect(heard).toBe(sent);
  const others = handed.length - heard;
  expect(others).toBeLessThanOrEqual((total * (SECOND + STORM_BURST_MS)) / 1000);
  // The half that is for whoever comes first is theirs, and their parts of the other one.
  expect(others).toBeGreaterThan(0.9 * total - HOSTILE.length);
});

test('one that begins connections among a hundred that do has its part of them', () => {
  flood(segment(SYN, 0), [], SECOND);
  const { sent, heard } = flood(segment(SYN, 0), [segment(SYN, 0)], SECOND);
  expect(heard).toBeGreaterThanOrEqual(sent / 5);
});

test('whoever floods, machines are given addresses', () => {
  // The main thread is busy with something else, and the ring fills with what the services are asked.
  for (let ms = 0; ms < 300; ms++) {
    tested.now++;
    for (const port of HOSTILE) tested.receive(from(port, segment(ACK, 1460)));
    tested.runBatch();
  }
  expect(tested.dropped('h99', 'punt_limit') + tested.dropped('h0', 'punt_limit')).toBeGreaterThan(0);
  tested.run(from('a', discover));
  expect(tested.drops()).not.toHaveProperty('a punt_limit');
  const ring = new FrameRing(memory);
  let last = 0;
  for (; ring.next(); ring.advance()) last = ring.gsoType;
  expect(last).toBe(PUNT_ADDRESS_SERVICE);
});

test('where few ask, each has all of its own rate', () => {
  for (let ms = 0; ms < SECOND; ms++) {
    tested.now++;
    for (const port of ['h0', 'h1'])
      for (let count = 0; count < 2; count++) tested.receive(from(port, segment(ACK, 0)));
    tested.runBatch();
    read(100);
  }
  expect(handed).toHaveLength(4 * SECOND);
});
