/**
 * The services for machines from the frames that workers hand over to the frames that they are given to send: names by UDP and
 * TCP, metadata by HTTP with a real endpoint on the loopback. The machines' TCP is tcp-peer.ts.
 */
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decode, encode } from 'dns-packet';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { readSegment, type Segment, writeSegment } from '../../src/control/guest-segment.js';
import { GuestServices } from '../../src/control/guest-services.js';
import { Indices } from '../../src/control/indices.js';
import { MetadataService } from '../../src/control/metadata-service.js';
import { NameService } from '../../src/control/name-service.js';
import { METADATA_REQUESTS_PER_PORT, TCP_CONNECTIONS_PER_PORT } from '../../src/limits.js';
import { PUNT_GUEST_SERVICE } from '../../src/pipeline/punt-ring.js';
import { buildEthernet, buildIp, buildUdpOf } from '../../src/wire/frame-build.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../src/wire/ip-protocol.js';
import { referenceSum } from '../kernels/reference.js';
import { until } from '../system/harness/wait.js';
import { ip, mac } from '../wire/neighbor-frames.js';
import { ACK, RST, SYN, TcpPeer } from './tcp-peer.js';

const GUEST_MAC = '52:54:00:00:00:0a';
const GATEWAY_MAC = '52:54:00:00:00:01';
const METADATA = '169.254.169.254';
const log = { info: () => {}, warn: () => {}, error: () => {}, debug: () => {} };

let endpoint: Server;
let asked: { method: string; url: string; headers: IncomingHttpHeaders; body: string }[];
let respond: (response: ServerResponse) => void;
let services: GuestServices;
let indices: Indices;
let sent: { frame: Uint8Array; member: number }[];
let onSent: ((frame: Uint8Array) => void) | undefined;

const document = (changes: object = {}) => ({
  version: 1,
  settings: {
    metadata: { endpoint: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}`, secret: 'secret' },
    limits: { dns: '1000pps' },
  },
  networks: { red: { type: 'local' } },
  ports: {
    a: { kind: 'memory', network: 'red', addresses: ['192.0.2.5/24'], instance: { id: 'i-1' } },
    b: { kind: 'memory', network: 'red' },
  },
  subnets: { red4: { network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1', dhcp: { domain: 'lab.example' } } },
  ...changes,
});

function follow(changes: object = {}): void {
  const { resolved } = checkDocument(documentOf(document(changes)));
  indices = indices.allocate(resolved);
  services.follow(resolved, indices);
}

beforeAll(async () => {
  endpoint = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      asked.push({ method, url, headers, body: Buffer.concat(pieces).toString() });
      respond(response);
    });
  });
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
});

afterAll(() => {
  endpoint.closeAllConnections();
  endpoint.close();
});

beforeEach(() => {
  asked = [];
  sent = [];
  onSent = undefined;
  respond = (response) => response.end('ami-id\n');
  indices = new Indices();
  const forwarder = { outstanding: 0, follow: () => {}, ask: async () => undefined };
  const clock = () => performance.now();
  services = new GuestServices({
    log: log as never,
    names: new NameService({ clock, leases: { revision: 0, given: () => [], expiryMs: () => 0 }, forwarder }),
    metadata: new MetadataService({ log, requestTimeoutMs: 300, endpointTimeoutMs: 300 }),
    clock,
    randomWord: () => 12_345,
    send: (_worker, frame, _network, member) => {
      sent.push({ frame, member });
      onSent?.(frame);
    },
    memberMtu: () => 1500,
  });
  follow();
});

const member = (port: string) => indices.member(port, 'red') ?? -1;

/** Hands a packet over as a worker does. */
function hand(
  port: string,
  destination: string,
  protocol: number,
  payload: Uint8Array,
  change?: (frame: Uint8Array) => void,
) {
  const packet = buildIp({ source: ip('192.0.2.5'), destination: ip(destination), protocol, ttl: 64 }, payload);
  const frame = buildEthernet({ destination: mac(GATEWAY_MAC), source: mac(GUEST_MAC), tags: [] }, 0x0800, packet);
  change?.(frame);
  services.hear(0, { octets: frame, kind: PUNT_GUEST_SERVICE, member: member(port), tunnel: 0 });
}

const question = (name: string) => Uint8Array.from(encode({ type: 'query', id: 7, questions: [{ type: 'A', name }] }));
const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('a question by UDP', () => {
  const ask = (change?: (frame: Uint8Array) => void) =>
    hand('a', '192.0.2.1', PROTOCOL_UDP, buildUdpOf(4000, 53, question('a.lab.example')), change);

  test('is answered to where it came from, by the MAC that was asked, with checksums that are right', async () => {
    ask();
    await until('it is answered', () => sent.length > 0);
    const [{ frame, member: to } = { frame: new Uint8Array(0), member: -1 }] = sent;
    expect(to).toBe(member('a'));
    expect([...frame.slice(0, 12)]).toEqual([...mac(GUEST_MAC), ...mac(GATEWAY_MAC)]);
    expect([...frame.slice(26, 38)]).toEqual([...ip('192.0.2.1'), ...ip('192.0.2.5'), 0, 53, 0x0f, 0xa0]);
    expect(referenceSum(frame, 14, 20)).toBe(0xffff);
    const pseudo = Uint8Array.of(...frame.slice(26, 34), 0, 17, ...frame.slice(38, 40), ...frame.slice(34));
    expect(referenceSum(pseudo, 0, pseudo.length)).toBe(0xffff);
    expect(decode(Buffer.from(frame.slice(42))).answers).toMatchObject([{ data: '192.0.2.5' }]);
  });

  test('with a wrong checksum, a false length or a group as its sender is not', async () => {
    ask((frame) => frame.fill(0x11, 40, 42));
    ask((frame) => frame.fill(99, 39, 40));
    ask((frame) => frame.fill(0xff, 6, 7));
    ask((frame) => frame.fill(0, 24, 26));
    await settle();
    expect(sent).toEqual([]);
    // None at all is allowed in IPv4.
    ask((frame) => frame.fill(0, 40, 42));
    await until('it is answered', () => sent.length > 0);
    expect(sent).toHaveLength(1);
  });
});

/** A machine's connection to a service; resolves with all that it was sent. */
async function exchange(port: string, destination: string, servicePort: number, data: Uint8Array, guestPort = 5000) {
  const toServer = (segment: Segment) =>
    setImmediate(() => hand(port, destination, PROTOCOL_TCP, writeSegment(guestPort, servicePort, segment)));
  const peer = new TcpPeer(toServer, { data, endsLast: servicePort === 80 });
  onSent = (frame) => {
    const segment = readSegment(frame, 34, frame.length);
    if (segment !== undefined && segment.destinationPort === guestPort)
      setImmediate(() => peer.hear(segment, performance.now()));
  };
  peer.connect(performance.now());
  await until('the connection is over', () => {
    peer.tick(performance.now());
    return (peer.isReset || peer.hasEnded) && services.status.connections === 0;
  });
  return { text: Buffer.from(peer.received).toString('latin1'), octets: Uint8Array.from(peer.received), peer };
}

test('questions by TCP are answered one after the other, in whatever pieces they come', async () => {
  const framed = ['a.lab.example', 'b.lab.example'].map((name) =>
    Uint8Array.of(0, question(name).length, ...question(name)),
  );
  const { octets } = await exchange('a', '192.0.2.1', 53, Uint8Array.from(framed.flatMap((one) => [...one])));
  const first = (octets[0] ?? 0) * 256 + (octets[1] ?? 0);
  expect(decode(Buffer.from(octets.slice(2, 2 + first))).answers).toMatchObject([{ data: '192.0.2.5' }]);
  expect(decode(Buffer.from(octets.slice(4 + first)))).toMatchObject({ rcode: 'NXDOMAIN' });
  expect(services.status.connections).toBe(0);
});

test('a question by TCP that is longer than any ends the connection', async () => {
  const { peer, octets } = await exchange('a', '192.0.2.1', 53, Uint8Array.of(0xff, 0xff, 1, 2, 3));
  expect(peer.isReset).toBe(true);
  expect(octets).toHaveLength(0);
});

describe('a request for metadata', () => {
  const http = (text: string, port = 'a', guestPort?: number) =>
    exchange(port, METADATA, 80, Uint8Array.from(Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1')), guestPort);

  test('reaches the endpoint with the identity of its port, and the answer the machine', async () => {
    const { text } = await http('GET /latest/ HTTP/1.1\nHost: x\nConnection: close\nX-aws-ec2-metadata-token: t\n\n');
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nami-id\n$/);
    expect(asked).toMatchObject([{ method: 'GET', url: '/latest/' }]);
    expect(asked[0]?.headers).toMatchObject({
      'x-forwarded-for': '192.0.2.5',
      'x-instance-id': 'i-1',
      'x-network-id': 'red',
      'x-instance-id-signature': expect.stringMatching(/^[0-9a-f]{64}$/),
      'x-aws-ec2-metadata-token': 't',
    });
    expect(services.status).toMatchObject({ connections: 0, metadata: { requests: 1, answered: 1 } });
  });

  test('has nothing in it that could be taken for somebody else’s', async () => {
    const lies = [
      'X-Instance-ID',
      'x-instance-id-signature',
      'X_Instance_ID',
      'X-Forwarded-For',
      'X-Tenant-ID',
      'Forwarded',
      'Via',
    ];
    const hop = 'Connection: close, X-Instance-ID, Accept\nAccept: x\nTE: trailers\nProxy-Authorization: x';
    await http(`GET / HTTP/1.1\nHost: x\n${lies.map((name) => `${name}: evil`).join('\n')}\n${hop}\n\n`);
    const headers = asked[0]?.headers ?? {};
    expect(JSON.stringify(headers)).not.toContain('evil');
    expect(headers).toMatchObject({ 'x-instance-id': 'i-1', connection: 'close' });
    for (const name of ['accept', 'te', 'proxy-authorization', 'via', 'x-tenant-id', 'x_instance_id'])
      expect(headers).not.toHaveProperty(name);
  });

  const contradictions: Record<string, string> = {
    'two lengths': 'POST / HTTP/1.1\nHost: x\nContent-Length: 3\nContent-Length: 30\n\nabcGET /smuggled HTTP/1.1\n\n',
    'a length and chunks':
      'POST / HTTP/1.1\nHost: x\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\nGET /smuggled HTTP/1.1\n\n',
    'chunks that are none': 'POST / HTTP/1.1\nHost: x\nTransfer-Encoding: xchunked\n\n0\n\nGET /smuggled HTTP/1.1\n\n',
    'a space behind a name': 'GET / HTTP/1.1\nHost: x\nX-Instance-ID : evil\n\n',
    'a folded header': 'GET / HTTP/1.1\nHost: x\nA: b\n X-Instance-ID: evil\n\n',
    'a server of its own': 'GET http://192.0.2.9/ HTTP/1.1\nHost: x\nConnection: close\n\n',
    'a method for proxies': 'CONNECT 192.0.2.9:80 HTTP/1.1\nHost: x\n\n',
    'headers without end': `GET / HTTP/1.1\nHost: x\nA: ${'a'.repeat(20_000)}\n\n`,
    'no HTTP': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  };
  test.each(Object.entries(contradictions))('with %s is asked of nobody', async (_, text) => {
    const { text: answer } = await http(text);
    expect(asked.filter(({ url }) => url !== '/' || answer.startsWith('HTTP/1.1 4'))).toEqual([]);
    expect(asked.some(({ url, headers }) => url === '/smuggled' || JSON.stringify(headers).includes('evil'))).toBe(
      false,
    );
  });

  test('that is never finished ends with its connection, whatever trickles', async () => {
    const { text, peer } = await http('GET / HTTP/1.1\nHost: x\nContent-Length: 100\n\nonly this');
    expect(asked).toEqual([]);
    expect(peer.isReset || text.startsWith('HTTP/1.1 400')).toBe(true);
    expect(services.status.connections).toBe(0);
  });

  test('of which one segment is full ends its connection, most of them unread', async () => {
    respond = () => {};
    const { peer } = await http('GET / HTTP/1.1\nHost: x\n\n'.repeat(50));
    expect(peer.isReset).toBe(true);
    expect(asked.length).toBeLessThanOrEqual(METADATA_REQUESTS_PER_PORT);
    expect(services.status.metadata.requests).toBeLessThanOrEqual(3 * METADATA_REQUESTS_PER_PORT);
    expect(services.status).toMatchObject({ connections: 0, metadata: { outstanding: 0 } });
    // Those of others, and the next ones of this port, are not the worse for it.
    respond = (response) => response.end('ami-id\n');
    expect((await http('GET / HTTP/1.1\nHost: x\nConnection: close\n\n', 'a', 5001)).text).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('that the endpoint does not answer, or can not be asked for, is told so', async () => {
    respond = () => {};
    expect((await http('GET / HTTP/1.1\nHost: x\nConnection: close\n\n')).text).toMatch(/^HTTP\/1\.1 504 /);
    follow({ settings: { metadata: { endpoint: 'http://127.0.0.1:9' } } });
    expect((await http('GET / HTTP/1.1\nHost: x\nConnection: close\n\n')).text).toMatch(/^HTTP\/1\.1 502 /);
    expect(services.status.metadata).toMatchObject({ failed: 2, outstanding: 0 });
  });
});

describe('connections', () => {
  const segment = (flags: number, changes: Partial<Segment> = {}): Segment => ({
    ...{ sequence: 1, acknowledgement: 0, flags, window: 1000, payload: new Uint8Array(0) },
    ...changes,
  });
  const knock = (port: string, guestPort: number, one: Segment) => {
    sent = [];
    hand(port, METADATA, PROTOCOL_TCP, writeSegment(guestPort, 80, one));
    return sent.map(({ frame }) => readSegment(frame, 34, frame.length)?.flags ?? 0);
  };

  test('of a port that floods with SYNs take turns with each other, and another port has its own', () => {
    for (let guestPort = 1000; guestPort < 3000; guestPort++) knock('a', guestPort, segment(SYN));
    expect(services.status.connections).toBe(TCP_CONNECTIONS_PER_PORT);
    expect(knock('b', 1000, segment(SYN))).toEqual([SYN | ACK]);
    expect(services.status.connections).toBe(TCP_CONNECTIONS_PER_PORT + 1);
  });

  test('that are open are not given up for SYNs', () => {
    for (let guestPort = 1000; guestPort < 1000 + TCP_CONNECTIONS_PER_PORT; guestPort++) {
      knock('a', guestPort, segment(SYN));
      knock('a', guestPort, segment(ACK, { sequence: 2, acknowledgement: 12_346 }));
    }
    expect(knock('a', 999, segment(SYN))).toEqual([]);
    expect(services.status.connections).toBe(TCP_CONNECTIONS_PER_PORT);
    services.close();
    expect(services.status.connections).toBe(0);
  });

  test('that nobody knows are reset, once for each segment, and resets are not answered', () => {
    expect(knock('a', 1000, segment(ACK, { acknowledgement: 77 }))).toEqual([RST]);
    expect(knock('a', 1000, segment(SYN | ACK, { acknowledgement: 77 }))).toEqual([RST]);
    expect(knock('a', 1000, segment(0))).toEqual([RST | ACK]);
    expect(knock('a', 1000, segment(RST))).toEqual([]);
    expect(knock('a', 0, segment(SYN))).toEqual([]);
  });

  test('end when their port is another machine’s by configuration, and stay when it is not', () => {
    knock('a', 1000, segment(SYN));
    follow();
    expect(services.status.connections).toBe(1);
    follow({ ports: { a: { kind: 'memory', network: 'red', instance: { id: 'i-2' } } } });
    expect(services.status.connections).toBe(0);
  });
});
