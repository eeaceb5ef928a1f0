#!/usr/bin/env node
/**
 * Both ends of the demo's TCP transfer, each a process in a namespace: no iperf needed.
 *
 *   peer.js receive PORT              takes one connection, reads until its end; prints `ready` once it listens
 *   peer.js send ADDRESS PORT SECONDS sends as fast as it can
 *
 * Each prints { bytes, seconds } as JSON at the end.
 */
import { connect, createServer } from 'node:net';

const CHUNK = Buffer.alloc(1024 * 1024, 'weft ');

function report(bytes: number, startedMs: number): void {
  process.stdout.write(`${JSON.stringify({ bytes, seconds: (performance.now() - startedMs) / 1000 })}\n`);
}

function receive(port: number): void {
  const server = createServer((socket) => {
    const startedMs = performance.now();
    let bytes = 0;
    socket.on('data', (octets) => {
      bytes += octets.length;
    });
    socket.on('close', () => {
      report(bytes, startedMs);
      server.close();
    });
  });
  server.listen(port, () => process.stdout.write('ready\n'));
}

function send(address: string, port: number, seconds: number): void {
  const socket = connect(port, address, () => {
    const startedMs = performance.now();
    const more = () => {
      while (performance.now() - startedMs < seconds * 1000) if (!socket.write(CHUNK)) return;
      socket.end(() => report(socket.bytesWritten, startedMs));
      socket.off('drain', more);
    };
    socket.on('drain', more);
    more();
  });
}

const [role, ...rest] = process.argv.slice(2);
if (role === 'receive') receive(Number(rest[0]));
else send(rest[0] ?? '', Number(rest[1]), Number(rest[2]));
