/**
 * Asks the resolvers of settings.dns what machines want to know, from the daemon's own namespace, by the sockets of Node.
 * A question goes on as it came, but for its id; by TCP if it came by TCP. Main thread.
 *
 * Against forged answers (RFC 5452): every question has a socket of its own, so a port that the kernel chooses at random, and a
 * random id; an answer has to come from the resolver's address and repeat the question, capitals included. What does not is
 * passed over, and counts against nothing.
 *
 * What a machine can do to others: nothing. Of the DNS_OUTSTANDING_MAX questions that wait at once, each a socket, one port
 * may have DNS_OUTSTANDING_PER_PORT; beyond that it is told at once that it failed. Several ports that take all of them have
 * their oldest fail for who has fewer (fair-places.ts).
 */
import { createSocket, type Socket } from 'node:dgram';
import { connect } from 'node:net';
import { DNS_OUTSTANDING_MAX, DNS_OUTSTANDING_PER_PORT } from '../limits.js';
import { read16, write16 } from '../wire/octets.js';
import { DNS_HEADER_SIZE, isAnswerTo } from './dns-message.js';
import { FairPlaces } from './fair-places.js';

const DNS_PORT = 53;
/** For one resolver's answer, before the next is asked; each is asked ROUNDS times. */
const ANSWER_TIMEOUT_MS = 1500;
const ROUNDS = 2;
/** In all: by then a machine's own resolver has asked again (5 s). */
const ASK_TIMEOUT_MS = 4500;
const MESSAGE_SIZE_MAX = 65_535;

export interface DnsForwarderParts {
  /** A number below the limit, from the OS. */
  readonly randomBelow: (limit: number) => number;
  readonly clock: () => number;
  /** Of the resolvers; other than 53 in tests. */
  readonly port?: number;
  readonly timeoutMs?: number;
}

export class DnsForwarder {
  private readonly parts: DnsForwarderParts;
  private servers: readonly string[] = [];
  /** The resolver that answered last is asked first. */
  private first = 0;
  private readonly places = new FairPlaces(DNS_OUTSTANDING_MAX, DNS_OUTSTANDING_PER_PORT);

  constructor(parts: DnsForwarderParts) {
    this.parts = parts;
  }

  follow(servers: readonly string[]): void {
    this.servers = servers;
    this.first = 0;
  }

  get outstanding(): number {
    return this.places.taken;
  }

  /**
   * The answer to `message`, whose question section is `question`, with its id; undefined: there is none to be had, or the
   * port has too many waiting, or gave way to another. Never rejects.
   */
  async ask(
    message: Uint8Array,
    question: Uint8Array,
    transport: 'udp' | 'tcp',
    port: string,
  ): Promise<Uint8Array | undefined> {
    const over = new AbortController();
    const place = this.places.take(port, () => over.abort());
    if (place === undefined) return undefined;
    try {
      return await this.askInTurn(message, question, transport, over.signal);
    } finally {
      this.places.leave(place);
    }
  }

  private async askInTurn(
    message: Uint8Array,
    question: Uint8Array,
    transport: 'udp' | 'tcp',
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const { servers, first } = this;
    const { clock, timeoutMs = ANSWER_TIMEOUT_MS } = this.parts;
    const end = clock() + (ASK_TIMEOUT_MS * timeoutMs) / ANSWER_TIMEOUT_MS;
    const ask = transport === 'udp' ? askDatagram : askStream;
    for (let turn = 0; turn < ROUNDS * servers.length; turn++) {
      const place = (first + turn) % servers.length;
      const left = Math.min(timeoutMs, end - clock());
      if (left <= 0 || signal.aborted) return undefined;
      const sent = Uint8Array.from(message);
      write16(sent, 0, this.parts.randomBelow(65_536));
      const target = { address: servers[place] ?? '', port: this.parts.port ?? DNS_PORT };
      const answer = await ask({ ...target, message: sent, question, timeoutMs: left, signal });
      if (answer === undefined) continue;
      if (this.servers === servers) this.first = place;
      write16(answer, 0, read16(message, 0));
      return answer;
    }
    return undefined;
  }
}

/** One resolver, asked once. */
interface Attempt {
  readonly address: string;
  readonly port: number;
  readonly message: Uint8Array;
  readonly question: Uint8Array;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** What `open` ends with, or nothing after so long, or when it is over. `open` returns how to close what it opened. */
function exchange(
  { timeoutMs, signal }: Pick<Attempt, 'timeoutMs' | 'signal'>,
  open: (end: (answer?: Uint8Array) => void) => () => void,
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    let isOver = false;
    const end = (answer?: Uint8Array) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
      close();
      resolve(answer);
    };
    const giveUp = () => end();
    const timer = setTimeout(giveUp, timeoutMs);
    signal.addEventListener('abort', giveUp);
    const close = open(end);
  });
}

/** By a socket that hears nobody but the resolver. */
function askDatagram({ address, port, message, question, ...limits }: Attempt): Promise<Uint8Array | undefined> {
  return exchange(limits, (end) => {
    const socket: Socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    let isOpen = true;
    const id = read16(message, 0);
    // Of a refused port the kernel tells by an error: the next resolver need not wait.
    socket.on('error', () => end());
    socket.on('message', (answer) => {
      if (isAnswerTo(answer, id, question)) end(Uint8Array.from(answer));
    });
    socket.connect(port, address, () => {
      if (isOpen) socket.send(message, (error) => error && end());
    });
    return () => {
      isOpen = false;
      socket.close();
    };
  });
}

/** RFC 1035 4.2.2: each message behind its length. */
function askStream({ address, port, message, question, ...limits }: Attempt): Promise<Uint8Array | undefined> {
  return exchange(limits, (end) => {
    const socket = connect({ host: address, port });
    const received = new Uint8Array(2 + MESSAGE_SIZE_MAX);
    let size = 0;
    socket.on('error', () => end());
    socket.on('close', () => end());
    socket.on('data', (piece) => {
      const fits = Math.min(piece.length, received.length - size);
      received.set(piece.subarray(0, fits), size);
      size += fits;
      const whole = 2 + (size < 2 ? DNS_HEADER_SIZE : read16(received, 0));
      if (size < whole) return;
      const answer = received.slice(2, whole);
      end(isAnswerTo(answer, read16(message, 0), question) ? answer : undefined);
    });
    const sent = new Uint8Array(2 + message.length);
    write16(sent, 0, message.length);
    sent.set(message, 2);
    socket.write(sent);
    return () => socket.destroy();
  });
}
