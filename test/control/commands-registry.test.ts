import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { commands } from '../../src/control/commands/registry.js';
import { COMMON_OPTIONS, NOUNS } from '../../src/control/completion.js';
import { commandHelp, overviewHelp } from '../../src/control/help-text.js';
import { runCli } from './cli-fixture.js';

describe('the registry of commands', () => {
  it('has every command of the operator’s interface that this version brings', () => {
    const words = commands.filter(({ hidden }) => !hidden).map((command) => command.words);
    for (const expected of [
      ...['daemon', 'check', 'schema', 'completion', 'apply', 'config show', 'config diff', 'config save', 'status'],
      ...['port list', 'port show', 'port add', 'port set', 'port remove'],
      ...['network list', 'network show', 'network add', 'network set', 'network remove'],
      ...['fdb list', 'fdb add', 'fdb remove', 'fdb flush', 'stats', 'drops', 'trace', 'top', 'demo'],
    ]) {
      expect(words).toContain(expected);
    }
  });

  it('names each command once, and each noun is explained', () => {
    const words = commands.map((command) => command.words);
    expect(new Set(words).size).toBe(words.length);
    const nouns = new Set(words.filter((line) => line.includes(' ')).map((line) => line.split(' ')[0]!));
    expect(Object.keys(NOUNS).sort()).toEqual([...nouns].sort());
  });

  it.each(commands.map((command) => [command.words, command] as const))('explains %s', (_words, command) => {
    expect(command.summary).toMatch(/^[A-Z].{10,78}\.$/);
    expect(command.description.length).toBeGreaterThan(0);
    for (const paragraph of command.description) expect(paragraph).toMatch(/^[A-Z].*\.$/s);
    expect(command.examples.length).toBeGreaterThan(0);
    for (const example of command.examples) expect(example.command).toContain(`weft ${command.words}`);
    const common: readonly string[] = COMMON_OPTIONS.map(({ name }) => name);
    for (const option of command.options) expect(common).not.toContain(option.name);
    for (const line of command.exitStatus ?? []) expect(line).toMatch(/^[0-3] {2}\S/);
  });

  it.each(commands.flatMap(({ methods }) => methods).map((method) => [method.name, method] as const))(
    'gives the method %s a schema that can be printed and refuses what it does not know',
    (_name, method) => {
      const schema = z.toJSONSchema(method.params, { io: 'input' });
      expect(schema.type).toBe('object');
      expect(schema.additionalProperties).toBeDefined();
    },
  );

  it.each(commands.map((command) => [command.words, command] as const))(
    'prints a manual page for %s',
    async (words, command) => {
      const { status, out, err } = await runCli([...words.split(' '), '--help']);
      expect([status, err]).toEqual([0, '']);
      expect(`${out}\n`).toBe(commandHelp(command));
      for (const title of ['NAME', 'SYNOPSIS', 'DESCRIPTION', 'OPTIONS', 'EXAMPLES', 'EXIT STATUS']) {
        expect(out).toMatch(new RegExp(`^${title}$`, 'm'));
      }
      for (const { name } of [...command.options, ...COMMON_OPTIONS.slice(0, 2)]) expect(out).toContain(`--${name}`);
      const tooWide = out.split('\n').filter((line) => line.length > 80 && !line.includes('weft '));
      expect(tooWide).toEqual([]);
    },
  );

  it('is what weft --help, weft help and weft NOUN --help list', async () => {
    expect(`${(await runCli(['--help'])).out}\n`).toBe(overviewHelp(commands, ''));
    expect((await runCli(['help'])).out).toBe((await runCli(['--help'])).out);
    expect(`${(await runCli(['port', '--help'])).out}\n`).toBe(overviewHelp(commands, 'port'));
    expect((await runCli(['help', 'port', 'add'])).out).toBe((await runCli(['port', 'add', '--help'])).out);
    expect((await runCli(['help', 'nonsense'])).status).toBe(2);
  });
});
