import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { parseIp } from '../../src/wire/address.js';
import { buildEthernet, buildIcmp, buildIp, buildTcp, buildUdp, type Tag } from '../../src/wire/frame-build.js';
import { writeTooBig } from '../../src/wire/too-big.js';
import { referenceSum } from '../kernels/reference.js';
import { concatenate } from './reference.js';

const pool = new FramePool(2);
const kernels = new Kernels(pool.memory);
const FROM = pool.frameStart(0);
const TO = pool.frameStart(1);
const MTU = 1450;
const UDP = 17;
const stations = { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2], tags: [] as readonly Tag[] };
const twoTags = [
  { vid: 6, priority: 3, tpid: 0x88a8 },
  { vid: 7, priority: 0, tpid: 0x8100 },
];

const families = [
  { family: 'IPv4', ethertype: 0x0800, source: '192.0.2.1', destination: '198.51.100.2', largest: 576, headers: 28 },
  {
    family: 'IPv6',
    ethertype: 0x86dd,
    source: '2001:db8::1',
    destination: '2001:db8:1::2',
    largest: 1280,
    headers: 48,
  },
] as const;
type Family = (typeof families)[number];

function packet(from: string, to: string, protocol: number, payload: Uint8Array): Uint8Array {
  const source = parseIp(from) as Uint8Array;
  return buildIp({ source, destination: parseIp(to) as Uint8Array, protocol, ttl: 64 }, payload);
}

const plain = ({ source, destination }: Family, payloadSize: number) =>
  packet(source, destination, UDP, buildUdp(5, 6, payloadSize));

/** The answer to the frame; undefined: there is none, and nothing was written. */
function answer(octets: Uint8Array, macs = stations, mtu = MTU, length = octets.length): Uint8Array | undefined {
  const ethertype = octets[0] >> 4 === 4 ? 0x0800 : 0x86dd;
  const frame = buildEthernet(macs, ethertype, octets);
  const network = frame.length - octets.length;
  pool.octets.fill(0xa5, FROM, FROM + 70_000);
  pool.octets.fill(0xa5, TO - 64, TO + 2000);
  pool.octets.set(frame, FROM);
  const size = writeTooBig(pool.octets, FROM, ethertype, FROM + network, FROM + network + length, TO, mtu, kernels);
  expect(Buffer.compare(pool.octets.subarray(FROM, FROM + frame.length), frame), 'the frame is left alone').toBe(0);
  const isUntouched = (start: number, end: number) => pool.octets.subarray(start, end).every((octet) => octet === 0xa5);
  expect(isUntouched(TO - 64, TO) && isUntouched(TO + size, TO + 2000), 'nothing is written beside').toBe(true);
  return size === 0 ? undefined : pool.octets.slice(TO, TO + size);
}

/** The whole answer as the RFCs say, by building arrays. */
function reference(family: Family, octets: Uint8Array, mtu: number, tags: readonly Tag[] = []): Uint8Array {
  const quoted = octets.slice(0, family.largest - family.headers);
  const message = new Uint8Array(8 + quoted.length);
  message.set(family.family === 'IPv4' ? [3, 4] : [2, 0]);
  new DataView(message.buffer).setUint32(4, mtu);
  message.set(quoted, 8);
  const { source, destination } = family;
  const built = packet(destination, source, family.family === 'IPv4' ? 1 : 58, message);
  if (family.family === 'IPv4') {
    const view = new DataView(built.buffer);
    view.setUint8(1, 0xc0);
    view.setUint16(6, 0x4000);
    view.setUint16(10, 0);
    view.setUint16(10, 0xffff - referenceSum(built, 0, 20));
  }
  const macs = { source: stations.destination, destination: stations.source, tags };
  return buildEthernet(macs, family.ethertype, built);
}

describe.each(families)('an $family packet that is too big', (family) => {
  test('is answered by its destination, with as much of it as fits, whatever its size', () => {
    for (const size of [0, 1, 2, 499, 500, 501, 519, 520, 521, 1183, 1184, 1185, 1472, 8999, 65_000]) {
      const octets = plain(family, size);
      expect(answer(octets), `${size} octets of payload`).toEqual(reference(family, octets, MTU));
    }
  });

  test('is answered with any MTU that it may be told', () => {
    const octets = plain(family, 2000);
    for (const mtu of [1280, 1281, 1500, 9000, 65_535]) {
      expect(answer(octets, stations, mtu)).toEqual(reference(family, octets, mtu));
    }
  });

  test('is answered in the VLANs it came in', () => {
    const octets = plain(family, 1500);
    for (const tags of [twoTags.slice(1), twoTags])
      expect(answer(octets, { ...stations, tags })).toEqual(reference(family, octets, MTU, tags));
  });

  test('is answered if it is a TCP segment, or asks for an echo', () => {
    const { source, destination } = family;
    const fields = { sourcePort: 1, destinationPort: 2, sequence: 3, acknowledgement: 4, flags: 0x10, window: 5 };
    const segment = packet(source, destination, 6, buildTcp(fields, 3000));
    expect(answer(segment)).toEqual(reference(family, segment, MTU));
    const isIpv4 = family.family === 'IPv4';
    const echo = buildIcmp({ type: isIpv4 ? 8 : 128, code: 0, id: 1, sequence: 1 }, 2000);
    const ping = packet(source, destination, isIpv4 ? 1 : 58, echo);
    expect(answer(ping)).toEqual(reference(family, ping, MTU));
  });

  test('is quoted without what pads its frame', () => {
    const octets = plain(family, 10);
    expect(answer(concatenate(octets, new Uint8Array(20)))).toEqual(reference(family, octets, MTU));
  });

  test('that is cut off at any octet is not answered', () => {
    const octets = plain(family, 40);
    for (let length = 0; length < octets.length; length++) {
      expect(answer(octets, stations, MTU, length), `${length} octets`).toBeUndefined();
    }
  });

  test('for or from a group MAC is not answered', () => {
    const group = [0x33, 0x33, 0, 0, 0, 1];
    expect(answer(plain(family, 2000), { ...stations, destination: group })).toBeUndefined();
    expect(answer(plain(family, 2000), { ...stations, source: group })).toBeUndefined();
  });

  test('gets answers that are themselves never answered', () => {
    const reply = answer(plain(family, 2000)) as Uint8Array;
    expect(answer(reply.slice(14))).toBeUndefined();
  });

  test('of any octets gets no answer or one of its bounded size', () => {
    const { source, destination } = family;
    const whole = packet(source, destination, UDP, buildUdp(5, 6, 60));
    const changes = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(changes, (list) => {
        const octets = whole.slice();
        for (const [at, value] of list) octets[at] = value;
        const found = answer(octets);
        if (found === undefined) return;
        const isIpv4 = found[12] === 0x08;
        const view = new DataView(found.buffer);
        const length = isIpv4 ? view.getUint16(16) : 40 + view.getUint16(18);
        expect(found.length).toBe(14 + length);
        expect(length).toBeLessThanOrEqual(whole.length + 48);
        if (isIpv4) expect(referenceSum(found, 34, length - 20)).toBe(0xffff);
      }),
    );
  });
});

/** Types by what RFC 1122 3.2.2 and RFC 4443 2.1 call errors. */
const errors4 = [3, 4, 5, 11, 12];
const errors6 = [...Array.from({ length: 128 }, (_, type) => type), 137];

test('ICMP errors are not answered, all other types are', () => {
  for (let type = 0; type < 256; type++) {
    const message = buildIcmp({ type, code: 0, id: 1, sequence: 1 }, 1500);
    const four = answer(packet('192.0.2.1', '192.0.2.2', 1, message));
    const six = answer(packet('2001:db8::1', '2001:db8::2', 58, message));
    expect([four === undefined, six === undefined], `type ${type}`).toEqual([
      errors4.includes(type),
      errors6.includes(type),
    ]);
  }
});

test('an ICMP message whose type is cut off is not answered', () => {
  expect(answer(packet('192.0.2.1', '192.0.2.2', 1, new Uint8Array(0)))).toBeUndefined();
  expect(answer(packet('2001:db8::1', '2001:db8::2', 58, new Uint8Array(0)))).toBeUndefined();
});

test('an ICMPv6 error behind extension headers is found', () => {
  const message = Uint8Array.of(58, 0, 1, 4, 0, 0, 0, 0, ...buildIcmp({ type: 1, code: 0, id: 0, sequence: 0 }, 60));
  expect(answer(packet('2001:db8::1', '2001:db8::2', 60, message))).toBeUndefined();
  message[8] = 128;
  expect(answer(packet('2001:db8::1', '2001:db8::2', 60, message))).toBeDefined();
});

test('a first fragment is answered, a later one is not', () => {
  const four = (field: number) => {
    const octets = packet('192.0.2.1', '192.0.2.2', UDP, buildUdp(5, 6, 1500));
    new DataView(octets.buffer).setUint16(6, field);
    return answer(octets) !== undefined;
  };
  expect([0, 0x4000, 0x2000, 0x2001, 0x0001, 0x1fff].map(four)).toEqual([true, true, true, false, false, false]);
  const six = (field: number) => {
    const fragment = Uint8Array.of(UDP, 0, field >> 8, field & 0xff, 0, 0, 0, 1, ...buildUdp(5, 6, 1500));
    return answer(packet('2001:db8::1', '2001:db8::2', 44, fragment)) !== undefined;
  };
  expect([0, 1, 9, 8, 0xfff8].map(six)).toEqual([true, true, false, false, false]);
});

const notHosts = ['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '239.1.2.3', '240.0.0.1', '255.255.255.255'];
const notHosts6 = ['::', '::1', 'ff02::1', 'ff0e::5'];

test.each(notHosts)('%s is neither answered nor answered for', (address) => {
  const payload = buildUdp(5, 6, 1500);
  expect(answer(packet(address, '192.0.2.2', UDP, payload))).toBeUndefined();
  expect(answer(packet('192.0.2.2', address, UDP, payload))).toBeUndefined();
});

test.each(notHosts6)('%s is neither answered nor answered for', (address) => {
  const payload = buildUdp(5, 6, 1500);
  expect(answer(packet(address, '2001:db8::2', UDP, payload))).toBeUndefined();
  expect(answer(packet('2001:db8::2', address, UDP, payload))).toBeUndefined();
});

test.each(['::2', '::1:0:1', 'fe80::1', '1::1'])('%s is a host like others', (address) => {
  expect(answer(packet(address, '2001:db8::2', UDP, buildUdp(5, 6, 1500)))).toBeDefined();
});

test('an IPv6 sender is told of no MTU that it would not heed', () => {
  const octets = packet('2001:db8::1', '2001:db8::2', UDP, buildUdp(5, 6, 1300));
  expect(answer(octets, stations, 1279)).toBeUndefined();
  expect(answer(octets, stations, 1280)).toBeDefined();
});

test('a frame that is no IP packet is not answered', () => {
  pool.octets.fill(0x45, FROM, FROM + 1600);
  pool.octets.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5], FROM);
  expect(writeTooBig(pool.octets, FROM, 0x88b5, FROM + 14, FROM + 1600, TO, MTU, kernels)).toBe(0);
});
