/** Requests of machines for metadata, as streams, and an endpoint on the loopback: what a connection's end gives back. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import type { StreamPeer } from '../../src/control/guest-tcp.js';
import { MetadataService } from '../../src/control/metadata-service.js';
import { METADATA_REQUESTS_MAX, METADATA_REQUESTS_PER_PORT } from '../../src/limits.js';

const heard: string[] = [];
/** Of those paths that are not answered at once. */
const held: ServerResponse[] = [];
const endpoint = createServer(({ url = '' }, response) => {
  heard.push(url);
  if (url.startsWith('/prefix/slow')) held.push(response);
  else response.end(`at ${url}`);
});
let service: MetadataService;

beforeEach(async () => {
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
  const { port } = endpoint.address() as AddressInfo;
  service = new MetadataService({ log: { warn: () => {} } });
  const settings = { metadata: { endpoint: `http://127.0.0.1:${port}/prefix` } };
  const ports = { vm1: { kind: 'memory', network: 'red' } };
  const text = { version: 1, settings, networks: { red: { type: 'local' } }, ports };
  service.follow(checkDocument(documentOf(text)).resolved);
});

afterEach(async () => {
  for (const response of held.splice(0)) response.end('late');
  heard.length = 0;
  await new Promise((resolve) => endpoint.close(resolve));
});

/** On a machine that others use, too. */
const eventually = (look: () => void) => vi.waitFor(look, { timeout: 20_000 });

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

/** A machine's connection, and what it was told. */
function ask(text: string, portName: string): { stream: Duplex; told: () => string } {
  let told = '';
  const stream = new Duplex({
    read() {},
    write(octets: Buffer, _encoding, done) {
      told += octets.toString('latin1');
      done();
    },
  });
  stream.on('error', () => {});
  const link = { guest: Uint8Array.of(192, 0, 2, 5) };
  const peer = { place: { portName, port: {}, networkName: 'red', network: 0, member: 1 }, link, servicePort: 80 };
  service.accept(stream, peer as unknown as StreamPeer);
  stream.push(text);
  return { stream, told: () => told };
}

test('pipelined requests of a connection that is cut give their places back', async () => {
  const paths = ['/slow', ...Array.from({ length: METADATA_REQUESTS_PER_PORT - 1 }, (_, index) => `/quick${index}`)];
  const { stream } = ask(paths.map(get).join(''), 'vm1');
  await eventually(() => expect(heard).toHaveLength(METADATA_REQUESTS_PER_PORT));
  // Their answers are here, and wait for the first.
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(service.counts).toMatchObject({ outstanding: METADATA_REQUESTS_PER_PORT });
  stream.destroy(new Error('reset'));
  await eventually(() => expect(service.counts).toMatchObject({ outstanding: 0, failed: 0 }));
  const next = ask(get('/again'), 'vm1');
  await eventually(() => expect(next.told()).toContain('at /prefix/again'));
});

test('a path that leads out of the endpoint’s own is refused, however it is written', async () => {
  const paths = [
    '/../admin',
    '/a/../../admin',
    '/a/..',
    '/./a',
    '/%2e%2E/admin',
    '/.%2e',
    '/a%2f..%2fb',
    '/a\\..\\b',
    '/..;/admin',
  ];
  for (const path of paths) {
    const { told } = ask(get(path), 'vm1');
    await eventually(() => expect(told(), path).toContain('400 Bad Request'));
  }
  expect(heard).toEqual([]);
  for (const path of ['/a/.well-known/..b/...', '/a?back=/../b', '/a.b']) {
    const { told } = ask(get(path), 'vm1');
    await eventually(() => expect(told(), path).toContain('200 OK'));
  }
  expect(heard).toEqual(['/prefix/a/.well-known/..b/...', '/prefix/a?back=/../b', '/prefix/a.b']);
});

test('ports that hold all places together make room for one that has none', async () => {
  const streams: Duplex[] = [];
  for (let index = 0; index < METADATA_REQUESTS_MAX; index++)
    streams.push(ask(get('/slow'), `slow${Math.floor(index / METADATA_REQUESTS_PER_PORT)}`).stream);
  await eventually(() => expect(heard).toHaveLength(METADATA_REQUESTS_MAX));
  const { told } = ask(get('/quick'), 'vm1');
  await eventually(() => expect(told()).toContain('at /prefix/quick'));
  expect(streams.map(({ destroyed }) => destroyed)).toEqual(streams.map((_, index) => index === 0));
  await eventually(() => expect(service.counts.outstanding).toBe(METADATA_REQUESTS_MAX - 1));
});
