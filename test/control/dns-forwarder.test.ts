/** Asking resolvers by real sockets on the loopback: forged answers, silent resolvers, shares of what waits. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { encode } from 'dns-packet';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DnsForwarder } from '../../src/control/dns-forwarder.js';
import { DNS_OUTSTANDING_MAX, DNS_OUTSTANDING_PER_PORT } from '../../src/limits.js';

const TIMEOUT_MS = 150;
const message = Uint8Array.from(
  encode({ type: 'query', id: 0xbeef, flags: 0x100, questions: [{ type: 'A', name: 'www.example.net' }] }),
);
const question = message.slice(12);

let resolver: Socket;
let heard: { octets: Uint8Array; from: RemoteInfo }[];
let respond: (octets: Uint8Array, from: RemoteInfo) => void;
let port: number;
const servers: Server[] = [];

beforeEach(async () => {
  heard = [];
  respond = () => {};
  resolver = createSocket('udp4');
  resolver.on('message', (octets, from) => {
    heard.push({ octets: Uint8Array.from(octets), from });
    respond(Uint8Array.from(octets), from);
  });
  await new Promise<void>((resolve) => resolver.bind(0, '127.0.0.1', resolve));
  port = resolver.address().port;
});

afterEach(() => {
  resolver.close();
  for (const server of servers.splice(0)) server.close();
});

let ids = 100;
function forwarder(addresses = ['127.0.0.1'], timeoutMs = TIMEOUT_MS): DnsForwarder {
  const made = new DnsForwarder({
    randomBelow: () => ids++,
    clock: () => performance.now(),
    port,
    timeoutMs,
  });
  made.follow(addresses);
  return made;
}

/** The question turned into an answer with this code. */
function answerTo(octets: Uint8Array, code = 0): Uint8Array {
  const answer = octets.slice();
  answer[2] = 0x81;
  answer[3] = 0x80 | code;
  return answer;
}

describe('a question', () => {
  test('goes out with an id and a port of its own, and its answer comes back with the asker’s id', async () => {
    respond = (octets, { port: to }) => resolver.send(answerTo(octets), to, '127.0.0.1');
    const tested = forwarder();
    const [first, second] = await Promise.all([
      tested.ask(message, question, 'udp', 'a'),
      tested.ask(message, question, 'udp', 'a'),
    ]);
    expect(first).toEqual(answerTo(message));
    expect(second).toEqual(answerTo(message));
    const [one, other] = heard;
    expect(one?.from.port).not.toBe(other?.from.port);
    expect(one?.octets.slice(2)).toEqual(message.slice(2));
    const idOf = (octets: Uint8Array | undefined) => ((octets?.[0] ?? 0) << 8) | (octets?.[1] ?? 0);
    expect(new Set([idOf(one?.octets), idOf(other?.octets), 0xbeef]).size).toBe(3);
    expect(tested.outstanding).toBe(0);
  });

  test('is not answered by who forges: another id, another question, another address', async () => {
    const stranger = createSocket('udp4');
    await new Promise<void>((resolve) => stranger.bind(0, '127.0.0.1', resolve));
    respond = (octets, { port: to }) => {
      const right = answerTo(octets, 3);
      stranger.send(answerTo(octets), to, '127.0.0.1');
      const otherId = answerTo(octets);
      otherId[0] ^= 1;
      const otherQuestion = answerTo(octets);
      otherQuestion[14] ^= 0x20;
      for (const lie of [otherId, otherQuestion, octets, right.slice(0, 20)]) resolver.send(lie, to, '127.0.0.1');
      setTimeout(() => resolver.send(right, to, '127.0.0.1'), 20);
    };
    const answer = await forwarder().ask(message, question, 'udp', 'a');
    expect(answer).toEqual(answerTo(message, 3));
    stranger.close();
  });

  test('that nobody answers is asked again, then given up', async () => {
    expect(await forwarder().ask(message, question, 'udp', 'a')).toBeUndefined();
    expect(heard).toHaveLength(2);
  });

  test('goes to the next resolver where one is silent or refuses, and the next time to that one first', async () => {
    respond = (octets, { port: to }) => resolver.send(answerTo(octets), to, '127.0.0.1');
    // Nobody listens at the first.
    const tested = forwarder(['127.0.0.9', '127.0.0.1'], 20_000);
    expect(await tested.ask(message, question, 'udp', 'a')).toBeDefined();
    // Whoever asked it now would wait for long, and be heard.
    const first = createSocket('udp4');
    let asked = 0;
    first.on('message', () => asked++);
    await new Promise<void>((resolve) => first.bind(port, '127.0.0.9', resolve));
    expect(await tested.ask(message, question, 'udp', 'a')).toBeDefined();
    first.close();
    expect(asked).toBe(0);
  });

  test('of one port too many is told that it failed, and another port’s is asked all the same', async () => {
    const tested = forwarder();
    const waiting = Array.from({ length: DNS_OUTSTANDING_PER_PORT }, () => tested.ask(message, question, 'udp', 'a'));
    expect(tested.outstanding).toBe(DNS_OUTSTANDING_PER_PORT);
    expect(await tested.ask(message, question, 'udp', 'a')).toBeUndefined();
    const others = tested.ask(message, question, 'udp', 'b');
    expect(tested.outstanding).toBe(DNS_OUTSTANDING_PER_PORT + 1);
    await Promise.all([...waiting, others]);
    expect(tested.outstanding).toBe(0);
  });
});

test('ports whose questions hold all places together make room for one that has none', async () => {
  // Five hundred sockets take their time on a busy machine.
  const tested = forwarder(['127.0.0.1'], 2000);
  const ports = DNS_OUTSTANDING_MAX / DNS_OUTSTANDING_PER_PORT;
  const waiting = Array.from({ length: DNS_OUTSTANDING_MAX }, (_, index) =>
    tested.ask(message, question, 'udp', `silent${index % ports}`),
  );
  respond = (octets, { port: to }) => resolver.send(answerTo(octets), to, '127.0.0.1');
  const others = tested.ask(message, question, 'udp', 'vm1');
  expect(tested.outstanding).toBe(DNS_OUTSTANDING_MAX);
  expect(await waiting[0]).toBeUndefined();
  expect(await others).toEqual(answerTo(message));
  await Promise.all(waiting);
  expect(tested.outstanding).toBe(0);
});

describe('by TCP', () => {
  async function listen(answer: (octets: Uint8Array) => readonly Uint8Array[] | undefined): Promise<void> {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (octets) => {
        const pieces = answer(Uint8Array.from(octets));
        if (pieces === undefined) socket.destroy();
        else for (const piece of pieces) socket.write(piece);
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ({ port } = server.address() as AddressInfo);
  }

  test('it is asked and answered behind lengths, in whatever pieces', async () => {
    await listen((octets) => {
      expect([...octets.slice(0, 2)]).toEqual([0, message.length]);
      const answer = Uint8Array.from([0, message.length, ...answerTo(octets.slice(2))]);
      return [answer.slice(0, 1), answer.slice(1, 9), answer.slice(9)];
    });
    expect(await forwarder().ask(message, question, 'tcp', 'a')).toEqual(answerTo(message));
  });

  test('a resolver that closes, stays silent or lies answers nothing', async () => {
    await listen(() => undefined);
    expect(await forwarder().ask(message, question, 'tcp', 'a')).toBeUndefined();
    await listen(() => []);
    expect(await forwarder().ask(message, question, 'tcp', 'a')).toBeUndefined();
    await listen((octets) => [Uint8Array.from([0, 3, 1, 2, 3, ...octets])]);
    expect(await forwarder().ask(message, question, 'tcp', 'a')).toBeUndefined();
  });
});
