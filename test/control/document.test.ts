import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { documentOf, parseDocument } from '../../src/control/document.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { UserError } from '../../src/errors.js';
import { CONTROL_DOCUMENT_SIZE_MAX, DOCUMENT_ALIASES_MAX, DOCUMENT_DEPTH_MAX } from '../../src/limits.js';
import { faultsOf } from './configs.js';

const faults = (text: string) => faultsOf(() => parseDocument(text, 'f.yaml'));
const messages = (text: string) => faults(text).map(({ message }) => message);

describe('a document', () => {
  test('gives the line of every value, and of the nearest thing around what is missing', () => {
    const source = parseDocument(
      'version: 1\nports:\n  vm1:\n    kind: tap\n    trunk:\n      - red\n      - blue\n',
      'f.yaml',
    );
    expect(source.value).toEqual({ version: 1, ports: { vm1: { kind: 'tap', trunk: ['red', 'blue'] } } });
    expect(source.lineOf(['ports', 'vm1', 'kind'])).toBe(4);
    expect(source.lineOf(['ports', 'vm1', 'trunk', 1])).toBe(7);
    expect(source.lineOf(['ports', 'vm1', 'network'])).toBe(3);
    expect(source.lineOf(['networks'])).toBe(1);
  });

  test('may be JSON with tabs', () => {
    const source = parseDocument('{\n\t"version": 1,\n\t"ports": {\n\t\t"a": { "kind": "tap" }\n\t}\n}\n', 'f.json');
    expect(source.value).toEqual({ version: 1, ports: { a: { kind: 'tap' } } });
    expect(source.lineOf(['ports', 'a'])).toBe(4);
  });

  test('any JSON value comes through as JSON.parse has it', () => {
    const key = fc.stringMatching(/^[a-z]{1,8}$/);
    const leaf = fc.oneof(fc.boolean(), fc.integer(), fc.stringMatching(/^[ -~]{0,20}$/), fc.constant(null));
    const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(key, tie('value'), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(fc.dictionary(key, value, { minKeys: 1 }), fc.boolean(), (document, indented) => {
        const text = JSON.stringify(document, null, indented ? 2 : 0);
        expect(parseDocument(text, 'f').value).toEqual(JSON.parse(text));
      }),
    );
  });

  test('made without a text has no lines', () => {
    expect(documentOf({ version: 1 }).lineOf(['version'])).toBeUndefined();
  });

  test('has a port called constructor as its own key', () => {
    const { value } = parseDocument('constructor: 1\n', 'f');
    expect(Object.hasOwn(value as object, 'constructor')).toBe(true);
  });

  test('follows anchors', () => {
    const { value } = parseDocument('a: &x { kind: tap }\nb: *x\n', 'f');
    expect(value).toEqual({ a: { kind: 'tap' }, b: { kind: 'tap' } });
  });

  test('keeps a number used as key as it was spelt', () => {
    expect(parseDocument('1.10: a\n0x10: b\n', 'f').value).toEqual({ '1.10': 'a', '0x10': 'b' });
  });
});

describe('a text that is refused', () => {
  test('says every syntax error with its line', () => {
    const found = faults('a: 1\na: 2\nb: [1, 2\n');
    expect(found.length).toBeGreaterThanOrEqual(2);
    expect(found[0]).toMatchObject({ code: 'bad-config', message: 'the same key is here twice', line: 2 });
    expect(found.at(-1)?.line).toBeGreaterThanOrEqual(3);
  });

  test('says so once for keys that differ only for YAML', () => {
    expect(faults('10: a\n"10": b\n')).toEqual([
      { code: 'bad-config', message: 'the same key is here twice', path: '10', line: 2 },
    ]);
  });

  test.each([
    ['', 'f.yaml is empty; it begins with version: 1'],
    ['# nothing\n', 'f.yaml is empty; it begins with version: 1'],
    ['a: 1\n---\nb: 1\n', 'one document is expected, and another begins here'],
    ['__proto__: { admin: true }\n', '__proto__ can not be a key'],
    ['{"__proto__": {"admin": true}}', '__proto__ can not be a key'],
    ['a: .inf\n', 'Infinity is not a number that can be used'],
    ['a: .nan\n', 'NaN is not a number that can be used'],
    ['{"a": 1e400}', 'Infinity is not a number that can be used'],
    ['a: !!binary aGVsbG8=\n', 'the tag tag:yaml.org,2002:binary has no meaning here'],
    ['? [a, b]\n: 1\n', 'a key is a word, not empty, a list or a mapping'],
    ['"": 1\n', 'a key is a word, not empty, a list or a mapping'],
    ['"a\\0b": 1\n', 'a key is a word, not empty, a list or a mapping'],
    ['a: "b\\0c"\n', 'the text contains a control character or half a character'],
    ['{"a": "\\ud800"}', 'the text contains a control character or half a character'],
  ])('%j: %s', (text, message) => {
    expect(messages(text)).toEqual([message]);
  });

  test('never changes the prototype of anything', () => {
    faults('__proto__: { admin: true }\nconstructor: { prototype: { admin: true } }\n');
    expect(({} as Record<string, unknown>).admin).toBeUndefined();
  });

  test.each([
    ['lists', '['.repeat(100_000)],
    ['mappings', '{"a":'.repeat(100_000)],
    ['block lists', '- '.repeat(5000)],
    ['one level too many', `${'['.repeat(DOCUMENT_DEPTH_MAX + 1)}${']'.repeat(DOCUMENT_DEPTH_MAX + 1)}`],
  ])('because it is nested too deep, without a stack overflow: %s', (_what, text) => {
    expect(messages(text)[0]).toBe(`nested deeper than ${DOCUMENT_DEPTH_MAX} levels`);
  });

  test('nests as deep as allowed', () => {
    const text = `${'['.repeat(DOCUMENT_DEPTH_MAX)}${']'.repeat(DOCUMENT_DEPTH_MAX)}`;
    expect(Array.isArray(parseDocument(text, 'f').value)).toBe(true);
  });

  test('because aliases multiply', () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 10; level++) {
      bomb.push(
        `a${level}: &a${level} [${Array(10)
          .fill(`*a${level - 1}`)
          .join(', ')}]`,
      );
    }
    expect(messages(bomb.join('\n'))).toEqual([`more than ${DOCUMENT_ALIASES_MAX} aliases are followed`]);
  });

  test('because an alias contains itself', () => {
    expect(messages('ports: &a [*a]')[0]).toBe(`nested deeper than ${DOCUMENT_DEPTH_MAX} levels`);
  });

  test('because it is too long', () => {
    expect(messages(`# ${'x'.repeat(CONTROL_DOCUMENT_SIZE_MAX)}`)).toEqual([
      `f.yaml is longer than ${CONTROL_DOCUMENT_SIZE_MAX} octets`,
    ]);
  });

  test('never by anything but a UserError, whatever it is', () => {
    const piece = fc.constantFrom(
      'a',
      ': ',
      '- ',
      '\n',
      '  ',
      '[',
      ']',
      '{',
      '}',
      ',',
      '&x ',
      '*x',
      '!',
      '|',
      '>',
      '"',
      "'",
      '#',
      '%',
      '---',
      '\t',
      '0',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        try {
          parseDocument(pieces.join(''), 'f');
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
          expect((error as UserError).faults.length).toBeGreaterThan(0);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
