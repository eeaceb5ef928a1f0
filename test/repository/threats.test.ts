/** docs/threats.md is true: each row names tests, and those exist. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const rows = readFileSync(`${root}docs/threats.md`, 'utf8')
  .split('\n')
  .filter((line) => /^\| \d/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, number, , , tests]) => ({ number: number ?? '', tests: testsOf(tests ?? '') }));

function testsOf(cell: string): { file: string; title: string }[] {
  return cell.split('; ').map((one) => {
    const [, file = '', title = ''] = /^`(test\/[^`]+\.test\.ts)`: (.+)$/.exec(one) ?? [];
    return { file, title };
  });
}

/** Rows of the register that are about policy; the others are about tunnels, NAT, addresses or the daemon. */
const OF_POLICY = [
  ...[2, 3, 5, 6, 8, 9, 10, 11, 12, 13, 14, 18, 20, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 36, 37, 38, 39, 41, 42],
  ...[44, 45, 47, 52, 53, 55, 60],
];

test('every row about policy is there once', () => {
  expect(rows.map(({ number }) => Number(number)).filter((number) => OF_POLICY.includes(number))).toEqual(OF_POLICY);
});

test.each(rows.flatMap(({ number, tests }) => tests.map((one) => ({ number, ...one }))))(
  'row $number is shown by $file: $title',
  ({ file, title }) => {
    expect(existsSync(`${root}${file}`), file).toBe(true);
    const titles = readFileSync(`${root}${file}`, 'utf8').matchAll(
      /\b(?:test|it|describe)(?:\.each\([\s\S]*?\))?\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g,
    );
    const named = [...titles].map(([, single, double, template]) => single ?? double ?? template ?? '');
    expect(
      named.some((one) => one.includes(title)),
      `a test of ${file} whose title has "${title}"`,
    ).toBe(true);
  },
);
