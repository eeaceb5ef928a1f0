import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/control/commands/registry.js';
import { completionScript, SHELLS, wordTree } from '../../src/control/completion.js';
import { runCli } from './cli-fixture.js';
import { RpcFixture } from './rpc-fixture.js';

/** A `weft` that stands in for the real one: names for the completion script, like `weft complete`. */
const STAND_IN = `#!/bin/sh
case "$2" in
  port) echo vm1; echo fw;;
  network) echo red; echo blue;;
  port-key) echo kind=; echo network=;;
esac
`;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-completion-'));
  writeFileSync(join(directory, 'weft'), STAND_IN);
  chmodSync(join(directory, 'weft'), 0o755);
  writeFileSync(join(directory, 'weft.bash'), completionScript('bash', commands));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What bash offers for the last of the words. */
function offered(...words: string[]): string[] {
  const script =
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the braces are the shell's
    'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; printf "%s\\n" "${COMPREPLY[@]}"';
  const PATH = `${directory}:${process.env.PATH}`;
  const text = execFileSync('bash', ['-c', script, 'bash', join(directory, 'weft.bash'), 'weft', ...words], {
    encoding: 'utf8',
    env: { ...process.env, PATH },
    cwd: directory,
  });
  return text
    .split('\n')
    .filter((line) => line !== '')
    .sort();
}

describe('completion in bash', () => {
  it('offers every visible first word, and none that is hidden', () => {
    const first = [...new Set(commands.filter(({ hidden }) => !hidden).map(({ words }) => words.split(' ')[0]))];
    expect(offered('')).toEqual(first.sort());
    expect(offered('')).not.toContain('complete');
  });

  it('offers what begins as what was typed', () => {
    expect(offered('sta')).toEqual(['stats', 'status']);
    expect(offered('port', '')).toEqual(['add', 'list', 'remove', 'set', 'show']);
  });

  it('offers options of the command and those that every command has', () => {
    expect(offered('drops', '--')).toEqual(['--help', '--json', '--socket', '--watch']);
  });

  it('offers names of ports and networks where they go', () => {
    expect(offered('port', 'show', '')).toEqual(['fw', 'vm1']);
    expect(offered('fdb', 'list', '--network', '')).toEqual(['blue', 'red']);
    expect(offered('fdb', 'add', 'red', '52:54:00:00:00:01', 'v')).toEqual(['vm1']);
    expect(offered('port', 'show', '--json', '')).toEqual(['fw', 'vm1']);
  });

  it('offers configuration keys after the name', () => {
    expect(offered('port', 'set', 'vm1', '')).toEqual(['kind=', 'network=']);
    expect(offered('port', 'set', 'vm1', 'network=red', 'k')).toEqual(['kind=']);
  });

  it('offers files for files and the fixed words of an option', () => {
    expect(offered('apply', 'weft.b')).toEqual(['weft.bash']);
    expect(offered('daemon', '--io', '')).toEqual(['auto', 'poll', 'uring']);
    expect(offered('completion', 'z')).toEqual(['zsh']);
  });
});

describe('completion scripts', () => {
  it('are the same data for every shell: each has every word', () => {
    for (const shell of SHELLS) {
      const script = completionScript(shell, commands);
      for (const list of wordTree(commands).values()) for (const { word } of list) expect(script).toContain(word);
      expect(script).toContain('dry-run');
    }
  });

  it('are printed by weft completion, which suggests the shell that was meant', async () => {
    const { status, out } = await runCli(['completion', 'bash']);
    expect([status, `${out}\n`]).toEqual([0, completionScript('bash', commands)]);
    const wrong = await runCli(['completion', 'bahs']);
    expect([wrong.status, wrong.out]).toEqual([2, '']);
    expect(wrong.err).toContain('did you mean bash?');
  });

  it('are silent where no daemon answers', async () => {
    expect(await runCli(['complete', 'port'], { socket: join(directory, 'nobody.sock') })).toEqual({
      status: 0,
      out: '',
      err: '',
    });
  });

  it('ask a running daemon for names', async () => {
    const fixture = new RpcFixture();
    await fixture.listen();
    expect((await runCli(['complete', 'port'], { socket: fixture.path })).out).toBe('vm1\nfw');
    expect((await runCli(['complete', 'network'], { socket: fixture.path })).out).toBe('red\nlab');
    await fixture.end();
  });
});
