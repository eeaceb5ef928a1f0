import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RpcFixture } from './rpc-fixture.js';

let fixture: RpcFixture;
beforeEach(() => {
  fixture = new RpcFixture();
});
afterEach(() => fixture.end());

const modeOf = (path: string) => lstatSync(path).mode & 0o777;

describe('the path of the control socket', () => {
  it('is 0600 in a directory that was made 0700', async () => {
    await fixture.listen();
    expect(lstatSync(fixture.path).isSocket()).toBe(true);
    expect(modeOf(fixture.path)).toBe(0o600);
    expect(modeOf(join(fixture.directory, 'run'))).toBe(0o700);
  });

  it('is 0600 from birth under an open umask, which is put back', async () => {
    const before = process.umask(0);
    try {
      await fixture.listen();
      expect(modeOf(fixture.path)).toBe(0o600);
      expect(modeOf(join(fixture.directory, 'run'))).toBe(0o700);
      expect(process.umask()).toBe(0);
    } finally {
      process.umask(before);
    }
  });

  it('is alone in its directory, and gone after a graceful end', async () => {
    const server = await fixture.listen();
    expect(readdirSync(join(fixture.directory, 'run'))).toEqual(['control.sock']);
    await server.close();
    expect(readdirSync(join(fixture.directory, 'run'))).toEqual([]);
  });

  it('is refused while another daemon answers there, which goes on', async () => {
    await fixture.listen();
    await expect(fixture.listen()).rejects.toThrow(/another daemon answers/);
    expect(readdirSync(join(fixture.directory, 'run'))).toEqual(['control.sock']);
    await fixture.expectServing();
  });

  it('goes to exactly one of several daemons that start at once', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => fixture.listen()));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await fixture.expectServing();
  });

  it('is taken over from a daemon that was killed', async () => {
    mkdirSync(join(fixture.directory, 'run'), { mode: 0o700 });
    const script = "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))";
    await once(spawn(process.execPath, ['-e', script, fixture.path]), 'exit');
    expect(lstatSync(fixture.path).isSocket()).toBe(true);
    await fixture.listen();
    await fixture.expectServing();
    expect(readdirSync(join(fixture.directory, 'run'))).toEqual(['control.sock']);
  });

  it('is not removed at the end by a daemon that no longer has it', async () => {
    const server = await fixture.listen();
    const { unlinkSync } = await import('node:fs');
    unlinkSync(fixture.path);
    await fixture.listen();
    await server.close();
    await fixture.expectServing();
  });

  it('is refused when it is a symbolic link, and what the link names stays', async () => {
    mkdirSync(join(fixture.directory, 'run'), { mode: 0o700 });
    const victim = join(fixture.directory, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, fixture.path);
    await expect(fixture.listen()).rejects.toThrow(/symbolic link/);
    expect(readFileSync(victim, 'utf8')).toBe('precious');
  });

  it('is refused when a file is there', async () => {
    mkdirSync(join(fixture.directory, 'run'), { mode: 0o700 });
    writeFileSync(fixture.path, 'precious');
    await expect(fixture.listen()).rejects.toThrow(/no socket/);
    expect(readFileSync(fixture.path, 'utf8')).toBe('precious');
  });

  it('is refused in a directory that is a symbolic link', async () => {
    mkdirSync(join(fixture.directory, 'elsewhere'), { mode: 0o700 });
    symlinkSync(join(fixture.directory, 'elsewhere'), join(fixture.directory, 'run'));
    await expect(fixture.listen()).rejects.toThrow(/symbolic link/);
    expect(existsSync(join(fixture.directory, 'elsewhere', 'control.sock'))).toBe(false);
  });

  it.each([0o777, 0o1777, 0o770, 0o702])('is refused in a directory of mode %o that others can write', async (mode) => {
    mkdirSync(join(fixture.directory, 'run'));
    chmodSync(join(fixture.directory, 'run'), mode);
    await expect(fixture.listen()).rejects.toThrow(/written by others/);
    expect(existsSync(fixture.path)).toBe(false);
  });

  it('is refused when it is longer than a socket address holds', async () => {
    const path = join(fixture.directory, 'x'.repeat(120));
    await expect(fixture.listen({ path })).rejects.toThrow(/too long/);
  });
});
