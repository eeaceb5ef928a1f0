import { describe, expect, test } from 'vitest';
import { chooseStart, fileHashAfterApply, type OperatorFile } from '../../src/control/startup.js';
import { hashText, type LoadedConfig, type SavedConfig } from '../../src/control/store.js';
import type { UserError } from '../../src/errors.js';
import { check } from './configs.js';

const FILE = 'version: 1\nnetworks: { fromfile: { type: local } }\n';
const BROKEN = 'version: 1\nports: { a: { kind: tap } }\n';
const file = (text: OperatorFile['text']): OperatorFile => ({ name: 'switch.yaml', text });
const saved = (name: string, generation = 5, appliedFile: string | undefined = FILE): SavedConfig => ({
  generation,
  document: { version: 1, networks: { [name]: { type: 'local' } } },
  ...(appliedFile !== undefined && { fileHash: hashText(appliedFile) }),
});
const loaded = (...configs: SavedConfig[]): LoadedConfig => ({ saved: configs, damaged: [], nextGeneration: 9 });
const invalid = { ...saved('x', 6), document: { version: 1, ports: { p: { kind: 'tap' } } } };

async function start(from: OperatorFile, store: LoadedConfig) {
  const chosen = await chooseStart(from, store, async (text) => check(text));
  return { ...chosen, network: Object.keys(chosen.config.networks)[0] };
}

describe('at start', () => {
  test('the file is used when nothing was saved yet', async () => {
    expect(await start(file(FILE), loaded())).toMatchObject({
      from: 'file',
      network: 'fromfile',
      fileHash: hashText(FILE),
      warnings: [],
    });
  });

  test('the saved copy wins over a file that was applied before', async () => {
    expect(await start(file(FILE), loaded(saved('kept')))).toMatchObject({
      from: 'saved',
      network: 'kept',
      fileHash: hashText(FILE),
      saved: { generation: 5 },
      warnings: [],
    });
  });

  test('the file wins if it changed since, and indices go on from the saved copy', async () => {
    const changed = FILE.replace('fromfile', 'changed');
    expect(await start(file(changed), loaded(saved('kept')))).toMatchObject({
      from: 'file',
      network: 'changed',
      fileHash: hashText(changed),
      saved: { generation: 5 },
    });
  });

  test('the file wins over a copy that was never made from a file', async () => {
    expect((await start(file(FILE), loaded(saved('kept', 5, '')))).from).toBe('file');
  });

  test('a changed file that is broken is told, the saved copy is used, and the file is tried again next time', async () => {
    const chosen = await start(file(BROKEN), loaded(saved('kept')));
    expect(chosen).toMatchObject({ from: 'saved', network: 'kept', fileHash: hashText(FILE) });
    expect(chosen.warnings).toEqual([
      'switch.yaml is not used: ports.a, line 2: says no network; give exactly one of network, trunk (perhaps auto) or tunnel',
    ]);
  });

  test('a file that can not be read is told, and the saved copy is used', async () => {
    const chosen = await start(file({ unreadable: 'ENOENT' }), loaded(saved('kept')));
    expect(chosen.from).toBe('saved');
    expect(chosen.warnings).toEqual(["switch.yaml is not used: switch.yaml can't be read: ENOENT"]);
  });

  test('a damaged newest copy is told and the one before it is used', async () => {
    const store = { ...loaded(saved('older', 4)), damaged: ['config.5.json: it is cut off'] };
    const chosen = await start(file(FILE), store);
    expect(chosen).toMatchObject({ from: 'saved', network: 'older', saved: { generation: 4 } });
    expect(chosen.warnings).toEqual(['saved configuration config.5.json: it is cut off']);
  });

  test('a saved copy that this version refuses is told and the one before it is used', async () => {
    const chosen = await start(file(FILE), loaded(invalid, saved('older', 5)));
    expect(chosen).toMatchObject({ from: 'saved', network: 'older' });
    expect(chosen.warnings[0]).toMatch(/^saved generation 6 is not used: ports\.p: says no network/);
  });

  test('the file is used, changed or not, when no saved copy can be', async () => {
    const chosen = await start(file(FILE), loaded(invalid));
    expect(chosen).toMatchObject({ from: 'file', network: 'fromfile' });
    expect(chosen.warnings).toHaveLength(1);
  });

  test.each([
    ['a broken file', file(BROKEN), loaded()],
    ['no file', file({ unreadable: 'ENOENT' }), loaded()],
    ['a broken file and a broken copy', file(BROKEN), loaded(invalid)],
    ['an empty file', file(''), loaded()],
    ['a broken file and damaged copies', file(BROKEN), { ...loaded(), damaged: ['config.1.json: it is cut off'] }],
  ])('%s is refused: never an empty configuration', async (_what, from, store) => {
    const { faults } = await start(from, store).then(
      () => ({ faults: [] }),
      (error: UserError) => error,
    );
    expect(faults.length).toBeGreaterThan(store.damaged.length + store.saved.length);
  });
});

describe('the hash recorded after an apply', () => {
  test('is the new one when the file itself was applied', () => {
    expect(fileHashAfterApply(FILE, file(FILE), hashText('old'))).toBe(hashText(FILE));
  });

  test('stays when another document was applied, so that a restart keeps it', async () => {
    const other = FILE.replace('fromfile', 'other');
    const hash = fileHashAfterApply(other, file(FILE), hashText(FILE));
    expect(hash).toBe(hashText(FILE));
    expect(await start(file(FILE), loaded({ ...saved('other'), fileHash: hash ?? '' }))).toMatchObject({
      network: 'other',
    });
  });

  test('stays when the file can not be read', () => {
    expect(fileHashAfterApply(FILE, file({ unreadable: 'ENOENT' }), undefined)).toBeUndefined();
  });
});
