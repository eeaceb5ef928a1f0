/** Who may use a state directory: one daemon, and the next one as soon as the first is gone, however it went. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockState } from '../../src/control/state-lock.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-lock-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('a second one is refused with the first one’s process, and gets it when the first lets go', () => {
  const state = join(directory, 'made/by/need');
  const first = lockState(state);
  expect(readFileSync(join(state, 'lock'), 'utf8')).toBe(`${process.pid}\n`);
  expect(() => lockState(state)).toThrow(`another daemon (process ${process.pid}) uses the state directory ${state}`);
  first.release();
  lockState(state).release();
});

test('a process that is killed holds it no longer, though its number is still in the file', async () => {
  const lock = join(directory, 'lock');
  writeFileSync(lock, '999999\n');
  const holder = spawn('flock', ['-F', '-n', lock, 'sh', '-c', 'echo held; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  expect(() => lockState(directory)).toThrow('another daemon (process 999999)');
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  lockState(directory).release();
});

test('a symbolic link in its place, and a directory that can not be made, are refused', () => {
  symlinkSync('/dev/null', join(directory, 'lock'));
  expect(() => lockState(directory)).toThrow('ELOOP');
  writeFileSync(join(directory, 'file'), '');
  expect(() => lockState(join(directory, 'file'))).toThrow("can't be used");
});
