/** In threads of their own: what is asked for here stays with the thread. */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';

const GETATTR = { x64: 315, arm64: 275 }[process.arch as 'x64' | 'arm64'];
const module = new URL('../../dist/dataplane/precedence.js', import.meta.url).href;

/** Runs it, then tells nice and turn (ns) of its thread as the kernel has them. */
async function inThread(statement: string): Promise<{ nice: number; turnNs: number }> {
  const text = `
    const { parentPort } = require('node:worker_threads');
    const koffi = require('koffi');
    import(${JSON.stringify(module)}).then((precedence) => {
      precedence.${statement};
      const call = koffi.load('libc.so.6').func('long syscall(long nr, long pid, void *attributes, long size, long flags)');
      const attributes = Buffer.alloc(48);
      if (call(${GETATTR}, 0, attributes, 48, 0) !== 0) throw new Error('sched_getattr failed');
      parentPort.postMessage({ nice: attributes.readInt32LE(16), turnNs: Number(attributes.readBigUInt64LE(24)) });
    });`;
  return await new Promise((resolve, reject) => {
    const worker = new Worker(text, { eval: true });
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

const ownNice = Number(readFileSync('/proc/thread-self/stat', 'utf8').split(') ')[1].split(' ')[16]);
const knowsTurns = (([major, minor]) => major > 6 || (major === 6 && minor >= 12))(release().split('.').map(Number));

test('short turns are a tenth of a millisecond, at the nice value there was', async () => {
  const { nice, turnNs } = await inThread('takeShortTurns()');
  expect(nice).toBe(ownNice);
  if (knowsTurns) expect(turnNs).toBe(100_000);
});

test('who gives way is nicer by five, at most as nice as there is', async () => {
  expect((await inThread('giveWay()')).nice).toBe(Math.min(19, ownNice + 5));
  const often = 'giveWay(); for (let time = 0; time < 4; time++) precedence.giveWay()';
  expect((await inThread(often)).nice).toBe(19);
  const short = await inThread('giveWay(); precedence.takeShortTurns()');
  expect(short.nice).toBe(Math.min(19, ownNice + 5));
});
