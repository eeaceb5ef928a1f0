/** Turns that ports share: whose is next, and how many there are. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FairTurns } from '../../src/control/fair-turns.js';

let turns: FairTurns;
let taken: string[];

beforeEach(() => {
  vi.useFakeTimers();
  turns = new FairTurns(100, () => Date.now());
  taken = [];
});

afterEach(() => {
  vi.useRealTimers();
});

function take(port: string, count = 1, isOver?: () => boolean): void {
  for (let index = 0; index < count; index++) void turns.take(port, isOver).then(() => taken.push(port));
}

test('one that comes alone has its turn at once, and the next in its time', async () => {
  take('a', 5);
  await vi.advanceTimersByTimeAsync(0);
  // What is late by 20 ms is made up for, and it was longer that nobody came.
  expect(taken).toHaveLength(3);
  await vi.advanceTimersByTimeAsync(10);
  expect(taken).toHaveLength(4);
  await vi.advanceTimersByTimeAsync(10);
  expect(taken).toHaveLength(5);
});

test('one port after the other has a turn, however many each waits for', async () => {
  take('a', 200);
  take('b', 100);
  await vi.advanceTimersByTimeAsync(100);
  take('c', 2);
  taken = [];
  await vi.advanceTimersByTimeAsync(60);
  expect(taken.slice(0, 6).sort()).toEqual(['a', 'a', 'b', 'b', 'c', 'c']);
});

test('there are as many turns as there are to be, and all who wait have theirs', async () => {
  take('a', 500);
  take('b', 1);
  await vi.advanceTimersByTimeAsync(1000);
  expect(taken.length).toBeGreaterThanOrEqual(100);
  expect(taken.length).toBeLessThanOrEqual(103);
  await vi.advanceTimersByTimeAsync(4000);
  expect(taken).toHaveLength(501);
});

test('who is over costs nobody a turn', async () => {
  take('a', 3);
  take('gone', 1000, () => true);
  take('b', 3);
  await vi.advanceTimersByTimeAsync(40);
  expect(taken.filter((port) => port !== 'gone')).toHaveLength(6);
  expect(taken).toHaveLength(1006);
});
