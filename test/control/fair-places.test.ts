/** Places that ports share: who gives way to whom. */
import { expect, test } from 'vitest';
import { FairPlaces } from '../../src/control/fair-places.js';

test('a port has its share, and gets a place back that it leaves, once', () => {
  const places = new FairPlaces(8, 2);
  const first = places.take('a', () => {});
  expect(places.take('a', () => {})).toBeDefined();
  expect(places.take('a', () => {})).toBeUndefined();
  if (first === undefined) throw new Error('no place');
  places.leave(first);
  places.leave(first);
  expect(places.taken).toBe(1);
  expect(places.take('a', () => {})).toBeDefined();
});

test('when all are taken, the oldest of the port with most gives way to one with fewer, and no further than that', () => {
  const places = new FairPlaces(6, 4);
  const gone: string[] = [];
  const take = (port: string, name: string) => places.take(port, () => gone.push(name)) !== undefined;
  for (const name of ['a1', 'a2', 'a3', 'a4']) expect(take('a', name)).toBe(true);
  for (const name of ['b1', 'b2']) expect(take('b', name)).toBe(true);
  expect(take('c', 'c1')).toBe(true);
  expect(gone).toEqual(['a1']);
  expect(take('c', 'c2')).toBe(true);
  expect(gone).toEqual(['a1', 'a2']);
  expect(take('c', 'c3')).toBe(false);
  expect(take('a', 'a5')).toBe(false);
  expect(places.taken).toBe(6);
});
