/** What the build does to constants (scripts/inline-constants.mjs), on modules of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Script {
  inlineConstants(program: ts.Program): ts.TransformerFactory<ts.SourceFile>;
}
const place = fileURLToPath(new URL('../../scripts/inline-constants.mjs', import.meta.url));
const { inlineConstants } = (await import(place)) as Script;

const sources = {
  'bits.ts': `
    export const FIRST = 1 << 0;
    export const SECOND = 1 << 1;
    export const BOTH = FIRST | SECOND;
    export const NONE = -1;
    export const INVERTED = ~BOTH;
    export const SMALL = 3 / 8;
    export const ENDLESS = 1 / 0;
    export const NAME = 'SECOND';
    export const counted = [1, 2].length;
    export let changing = 1;
    export function change(): void { changing++; }
  `,
  'user.ts': `
    import { BOTH, ENDLESS, FIRST, INVERTED, NAME, NONE, SECOND, SMALL, changing, change, counted } from './bits.js';
    import * as bits from './bits.js';
    export { SECOND as renamed } from './bits.js';
    const SIZE = 4;
    function shadowing(SECOND: number): number { return SECOND * 10; }
    function chosen(value: number): string {
      switch (value) { case BOTH: return 'both'; case NONE: return 'none'; default: return \`neither \${SECOND}\`; }
    }
    change();
    export const results = {
      FIRST, INVERTED, minus: 5 - NONE, power: SMALL ** SIZE, isEndless: ENDLESS > 1, NAME, changing, counted,
      SECOND: 'a key', member: bits.SECOND, shadowed: shadowing(7), both: chosen(3), none: chosen(-1), neither: chosen(0),
      withDefault: ((value = BOTH) => value)(), negative: -NONE, array: [FIRST, ...[SECOND]],
    };
  `,
};

describe('inlining of constants', () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-inline-'));
  const emitted = new Map<string, string>();
  let results: Record<string, unknown>;

  beforeAll(async () => {
    for (const [name, text] of Object.entries(sources)) writeFileSync(join(directory, name), text);
    writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
    const program = ts.createProgram(
      Object.keys(sources).map((name) => join(directory, name)),
      {
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        target: ts.ScriptTarget.ES2022,
        verbatimModuleSyntax: true,
        strict: true,
        types: [],
      },
    );
    expect(ts.getPreEmitDiagnostics(program).map(({ messageText }) => messageText)).toEqual([]);
    program.emit(
      undefined,
      (path, text) => {
        writeFileSync(path, text);
        emitted.set(path.slice(directory.length + 1), text);
      },
      undefined,
      undefined,
      { before: [inlineConstants(program)] },
    );
    ({ results } = (await import(pathToFileURL(join(directory, 'user.js')).href)) as typeof results & {
      results: never;
    });
  });

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('changes no result', () => {
    expect(results).toEqual({
      ...{
        FIRST: 1,
        INVERTED: -4,
        minus: 6,
        power: (3 / 8) ** 4,
        isEndless: true,
        NAME: 'SECOND',
        changing: 2,
        counted: 2,
      },
      ...{ SECOND: 'a key', member: 2, shadowed: 70, both: 'both', none: 'none', neither: 'neither 2' },
      ...{ withDefault: 3, negative: 1, array: [1, 2] },
    });
  });

  it('leaves no name where a number is known', () => {
    const [, body] = emitted.get('user.js')!.split('const SIZE = 4;');
    for (const name of ['BOTH', 'NONE', 'SMALL', 'SIZE']) expect(body, name).not.toContain(name);
    expect(body).toContain('case 3:');
    expect(body).toContain('5 - (-1)');
    expect(emitted.get('bits.js')).toContain('BOTH = 1 | 2');
  });

  it('keeps the names of what is no finite number or can change', () => {
    const text = emitted.get('user.js')!;
    for (const name of ['ENDLESS > 1', 'NAME,', 'changing,', 'counted,', 'bits.SECOND', "SECOND: 'a key'"])
      expect(text, name).toContain(name);
  });
});
