/**
 * Ordinary programs of machines, as policy meets them: servers that echo, clients that say how the kernel answered their
 * attempt, connections that go on speaking, and datagrams in a stream that is counted where it arrives.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Child } from './child.js';
import type { Testbed } from './testbed.js';
import { until } from './wait.js';

/** For what comes in the end, however busy the machine is. */
export const PATIENCE_MS = 10_000;
const SILENCE_MS = 600;

const script = (testbed: Testbed, label: string, text: string, ...words: readonly (string | number)[]): Child =>
  testbed.start(label, [process.execPath, '-e', text, ...words.map(String)]);

/** Echoes TCP and UDP at these ports, to clients of both versions. */
export async function serve(testbed: Testbed, label: string, ...ports: readonly number[]): Promise<Child> {
  return await script(
    testbed,
    label,
    `const ports = process.argv.slice(1).map(Number);
     let left = 2 * ports.length;
     const up = () => { if (--left === 0) console.log('ready'); };
     for (const port of ports) {
       require('net').createServer((peer) => peer.on('error', () => {}).pipe(peer)).listen(port, '::', up);
       const socket = require('dgram').createSocket('udp6');
       socket.on('message', (text, from) => socket.send(text, from.port, from.address)).bind(port, '::', up);
     }`,
    ...ports,
  ).ready();
}

/** What an attempt to reach a server comes to: `connected`, the error that the kernel reports, or `silence` within the time. */
export type Attempt = 'connected' | 'silence' | `E${string}`;

async function attempt(child: Child): Promise<Attempt> {
  const { stdout, stderr } = await child.end();
  expect(stderr).toBe('');
  return stdout.trim() as Attempt;
}

export async function tryTcp(testbed: Testbed, label: string, to: string, port: number, ms = 700): Promise<Attempt> {
  return await attempt(
    script(
      testbed,
      label,
      `const [to, port, ms] = process.argv.slice(1);
       const end = (word) => { console.log(word); process.exit(); };
       const socket = require('net').connect(Number(port), to).on('error', ({ code }) => end(code));
       socket.on('connect', () => socket.write('x')).on('data', () => end('connected'));
       setTimeout(end, Number(ms), 'silence');`,
      to,
      port,
      ms,
    ),
  );
}

export async function tryUdp(testbed: Testbed, label: string, to: string, port: number, ms = 700): Promise<Attempt> {
  return await attempt(
    script(
      testbed,
      label,
      `const [to, port, ms] = process.argv.slice(1);
       const end = (word) => { console.log(word); process.exit(); };
       const socket = require('dgram').createSocket(to.includes(':') ? 'udp6' : 'udp4');
       socket.on('error', ({ code }) => end(code)).on('message', () => end('connected'));
       const send = () => socket.send('x', (error) => error && end(error.code));
       socket.connect(Number(port), to, () => { send(); setInterval(send, 100); });
       setTimeout(end, Number(ms), 'silence');`,
      to,
      port,
      ms,
    ),
  );
}

/** A TCP connection in which nobody says anything. It ends with the child. */
export async function holdOpen(testbed: Testbed, label: string, to: string, port: number): Promise<Child> {
  return await script(
    testbed,
    label,
    `const [to, port] = process.argv.slice(1);
     require('net').connect(Number(port), to, () => console.log('ready')).on('error', ({ code }) => console.log(code));`,
    to,
    port,
  ).ready();
}

/** A TCP connection whose client says something every 10 ms and hears it again. */
export class Conversation {
  private heard = 0;
  private readonly child: Child;

  private constructor(child: Child) {
    this.child = child;
    child.onLine((line) => {
      if (line === 'heard') this.heard++;
    });
  }

  static async begin(testbed: Testbed, label: string, to: string, port: number): Promise<Conversation> {
    const child = script(
      testbed,
      label,
      `const [to, port] = process.argv.slice(1);
       const socket = require('net').connect(Number(port), to).setNoDelay();
       socket.on('data', () => console.log('heard')).on('error', ({ code }) => console.log(code));
       setInterval(() => socket.write('x'), 10);`,
      to,
      port,
    );
    const conversation = new Conversation(child);
    await conversation.expectLiving();
    return conversation;
  }

  /** Answers still come. */
  async expectLiving(): Promise<void> {
    const before = this.heard;
    await until('the conversation goes on', () => this.heard > before + 2, { timeoutMs: PATIENCE_MS });
  }

  /** None comes any more: what was under way is heard, and then it is silent. */
  async expectSilent(): Promise<void> {
    await until(
      'the conversation is silent',
      async () => {
        const before = this.heard;
        await sleep(SILENCE_MS);
        return this.heard === before;
      },
      { timeoutMs: PATIENCE_MS },
    );
  }

  end(): void {
    this.child.kill();
  }
}

/** Datagrams to these ports in turn, a few each millisecond, while `during` lasts; how many were sent to each and how many came. */
export async function stream(
  testbed: Testbed,
  from: string,
  to: { readonly label: string; readonly ipv4: string },
  ports: readonly number[],
  during: () => Promise<void>,
): Promise<{ readonly sent: readonly number[]; readonly received: readonly number[] }> {
  const receiver = await script(
    testbed,
    to.label,
    `const counts = process.argv.slice(1).map(() => 0);
     let left = counts.length;
     process.argv.slice(1).forEach((port, index) =>
       require('dgram').createSocket({ type: 'udp4', recvBufferSize: 1 << 20 }).on('message', () => counts[index]++)
         .bind(Number(port), () => { if (--left === 0) console.log('ready'); }));
     process.on('SIGTERM', () => { console.log(JSON.stringify({ counts })); process.exit(); });`,
    ...ports,
  ).ready();
  const sender = script(
    testbed,
    from,
    `const [to, ...ports] = process.argv.slice(1);
     const socket = require('dgram').createSocket('udp4');
     const counts = ports.map(() => 0);
     socket.bind(() => {
       console.log('ready');
       const timer = setInterval(() => {
         for (let round = 0; round < 4; round++)
           ports.forEach((port, index) => { counts[index]++; socket.send('x', Number(port), to); });
       }, 1);
       process.on('SIGTERM', () => {
         clearInterval(timer);
         socket.close(() => { console.log(JSON.stringify({ counts })); process.exit(); });
       });
     });`,
    to.ipv4,
    ...ports,
  );
  await sender.ready();
  await during();
  sender.signal('SIGTERM');
  const { counts: sent } = await sender.result<{ counts: number[] }>();
  receiver.signal('SIGTERM');
  const { counts: received } = await receiver.result<{ counts: number[] }>();
  return { sent, received };
}
