/** What a killed test run left on this machine goes with the next one; what living ones use stays. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ownInterface, ownName, removeLeftovers, removeNamespace } from '../suites/leftovers.js';

const ip = (...words: string[]) => execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] });
const namespaceFile = (name: string) => `/run/netns/${name}`;

test('of a dead process namespaces go with the processes in them, and directories and interfaces too', async () => {
  const dead = String(spawnSync('true').pid);
  const ofTheDead = (name: string) => name.replace(String(process.pid), dead);
  const mine = { place: ownName('sys', 'left'), device: ownInterface('wpl') };
  const left = { place: ofTheDead(mine.place), device: ofTheDead(mine.device) };
  onTestFinished(() => {
    for (const { place, device } of [mine, left]) {
      removeNamespace(place);
      spawnSync('ip', ['link', 'delete', device]);
      rmSync(join(tmpdir(), place), { recursive: true, force: true });
    }
  });
  for (const { place, device } of [mine, left]) {
    ip('netns', 'add', place);
    ip('tuntap', 'add', device, 'mode', 'tap');
    mkdirSync(join(tmpdir(), place, 'inside'), { recursive: true });
  }
  const lives = spawn('ip', ['netns', 'exec', left.place, 'sleep', '60'], { stdio: 'ignore' });
  const ended = new Promise((resolve) => lives.once('close', (_, signal) => resolve(signal)));
  while (!ip('netns', 'pids', left.place).toString().includes(String(lives.pid))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  removeLeftovers();

  expect(await ended).toBe('SIGKILL');
  const there = ({ place, device }: typeof mine) =>
    [namespaceFile(place), join(tmpdir(), place), `/sys/class/net/${device}`].map(existsSync);
  expect(there(left)).toEqual([false, false, false]);
  expect(there(mine)).toEqual([true, true, true]);
});
