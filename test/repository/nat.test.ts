/** README's table of NAT's RFCs is true: each requirement says whether it is met, the tests that it names exist, the counts are right. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');
const STATES = ['met', 'by setting', 'partly', 'no'];
/** A test's title begins with its requirement's number. */
const TITLE = /^(?:REQ-\d+[a-z]?(?:, [a-z])*|\d+(?:\.\d+)?): /;

interface Row {
  readonly rfc: string;
  readonly files: readonly string[];
  readonly number: string;
  readonly level: string;
  readonly state: string;
  readonly shown: string;
}

function rowsOf(section: string): Row[] {
  const heading = section.split('\n', 1)[0] ?? '';
  const rfc = /RFC (\d+)/.exec(heading)?.[1];
  if (rfc === undefined) return [];
  const files = [...heading.matchAll(/`(test\/[^`]+)`/g)].map(([, file = '']) => file);
  const lines = section.split('\n').filter((line) => /^\| (?:REQ-)?\d/.test(line));
  return lines.map((line) => {
    const [, number = '', level = '', , state = '', shown = ''] = line.split('|').map((cell) => cell.trim());
    return { rfc, files, number, level, state, shown };
  });
}

const readme = read('README.md');
const [, table = ''] = readme.split('<summary>Every requirement, with its test</summary>');
const rows = (table.split('</details>', 1)[0] ?? '').split('\n#### ').slice(1).flatMap(rowsOf);

function titlesOf(file: string): string[] {
  const found = read(file).matchAll(/\btest(?:\.each\([\s\S]*?\)(?: as const)?)?\(\s*'((?:[^'\\]|\\.)*)'/g);
  return [...found].map(([, title = '']) => title);
}

test('the table has every requirement of the five RFCs, and each says how it is met', () => {
  const numbers = (rfc: string) =>
    new Set(rows.filter((row) => row.rfc === rfc).map(({ number }) => number.replace(/[a-z]$/, '')));
  const upTo = (last: number, left: readonly number[] = []) =>
    new Set(
      Array.from({ length: last }, (_, index) => index + 1)
        .filter((one) => !left.includes(one))
        .map((one) => `REQ-${one}`),
    );
  expect(numbers('4787')).toEqual(upTo(14));
  expect(numbers('5382')).toEqual(upTo(10));
  // RFC 5508 REQ-9 and REQ-11 only allow.
  expect(numbers('5508')).toEqual(upTo(10, [9]));
  expect(numbers('6888')).toEqual(upTo(15));
  expect(numbers('7857').size).toBeGreaterThan(8);
  for (const { level, state, shown } of rows) {
    expect(['MUST', 'SHOULD']).toContain(level);
    expect(STATES).toContain(state);
    expect(shown.length).toBeGreaterThan(10);
  }
});

test.each(rows.filter(({ shown }) => TITLE.test(shown)))(
  'RFC $rfc $number is shown by a test: $shown',
  ({ files, shown }) => {
    const titles = files.flatMap(titlesOf);
    for (const part of shown.replace(/ \([^()]*\)$/, '').split('; '))
      expect(
        titles.some((title) => title.includes(part)),
        `a test whose title has "${part}"`,
      ).toBe(true);
  },
);

test('what is met and shown by no test says why there can be none', () => {
  const bare = rows.filter(({ state, shown }) => state === 'met' && !TITLE.test(shown));
  expect(bare.map(({ rfc, number }) => `${rfc} ${number}`)).toEqual(['6888 REQ-12', '6888 REQ-14']);
});

test('the counts are those of the rows', () => {
  for (const rfc of ['4787', '5382', '5508', '7857', '6888']) {
    const counts = STATES.map((state) => rows.filter((row) => row.rfc === rfc && row.state === state).length);
    expect(readme).toContain(`| RFC ${rfc} | ${counts.join(' | ')} |`);
  }
});
