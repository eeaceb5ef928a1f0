import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDocument } from '../../src/control/document.js';
import { readJson } from '../../src/control/json-text.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { UserError } from '../../src/errors.js';
import { DOCUMENT_DEPTH_MAX, DOCUMENT_VALUES_MAX } from '../../src/limits.js';

/** By the reader of YAML: JSON has no comments. */
function byYaml(text: string): JsonValue | undefined {
  try {
    return parseDocument(`# not JSON\n${text}`, 'f').value;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

describe('a document that is JSON', () => {
  test('means what it means as YAML, wherever both read it', () => {
    const word = fc.oneof(
      fc.stringMatching(/^[a-z"\\/{}[\]:, ]{0,6}$/),
      fc.string({ unit: 'binary', maxLength: 4 }),
      fc.constantFrom('__proto__', 'constructor', '', '1', '01', '\u007f', '\ud800', 'a\tb', 'x'.repeat(257)),
    );
    const number = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant(1e21));
    const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 5 },
        fc.oneof(fc.boolean(), number, word, fc.constant(null)),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.array(fc.tuple(word, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
      ),
    }));
    fc.assert(
      fc.property(value, fc.integer({ min: 0, max: 3 }), (document, indent) => {
        const text = JSON.stringify(document, null, indent);
        const read = readJson(text);
        if (read !== undefined) expect(read).toEqual(byYaml(text));
        else if (document !== null) expect(byYaml(text)).toBeUndefined();
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ['a key that is there twice', '{"a": 1, "b": {"c": 1, "d": "\\"c\\": 2", "c" : 3}}'],
    ['a key that is there twice in another spelling', '{"a": 1, "\\u0061": 2}'],
    ['a key with a meaning for JavaScript', '{"a": {"__proto__": {"admin": true}}}'],
    ['an infinite number', '{"a": [1e400]}'],
    ['half a character', '{"a": "\\udc00"}'],
    ['a control character', '{"a": "\\u0000"}'],
    ['an empty key', '{"": 1}'],
    ['nothing', 'null'],
    ['a cut text', '{"a": 1'],
    ['a comment', '{"a": 1} # one'],
    ['one level too many', `${'['.repeat(DOCUMENT_DEPTH_MAX + 1)}${']'.repeat(DOCUMENT_DEPTH_MAX + 1)}`],
    ['too many values', `[${'1,'.repeat(DOCUMENT_VALUES_MAX)}1]`],
  ])('with %s is left to the other reader', (_what, text) => {
    expect(readJson(text)).toBeUndefined();
  });

  test('may have texts that look like keys, and quotes and backslashes before colons', () => {
    const value = { 'a"': '":', '\\': '\\": "', b: ['x": 1', ': ', '"'], 'c\\"': { d: '{"e": 1}' } };
    expect(readJson(JSON.stringify(value))).toEqual(value);
    expect(readJson(JSON.stringify(value, null, '\t'))).toEqual(value);
  });

  test('has lines all the same', () => {
    const source = parseDocument(
      '{\n  "version": 1,\n  "ports": {\n    "a": { "kind":\n      "tap" }\n  }\n}\n',
      'f.json',
    );
    expect(source.lineOf(['ports', 'a', 'kind'])).toBe(4);
    expect(source.lineOf(['ports', 'b'])).toBe(3);
  });

  test('has lines where a colon stands in the next one, too', () => {
    const source = parseDocument('{"version"\n: 1,\n"ports"\n\n:\n{}}', 'f.json');
    expect(source.value).toEqual({ version: 1, ports: {} });
    expect(source.lineOf(['ports'])).toBe(3);
  });
});
