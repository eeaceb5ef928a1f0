/** The table of tunnels as the main thread and the workers have it. */
import { describe, expect, test } from 'vitest';
import { TUNNELS_MAX, WORKERS_MAX } from '../../src/limits.js';
import { TunnelControl } from '../../src/pipeline/tunnel-control.js';
import { anyNetwork, TUNNEL_TABLE_SIZE, TunnelTable } from '../../src/pipeline/tunnel-table.js';
import { ipWords, parseIp } from '../../src/wire/address.js';

function address(text: string): Int32Array {
  return ipWords(parseIp(text) as Uint8Array);
}

const A = address('192.0.2.1');
const B = address('2001:db8::2');

function tables() {
  const memory = new SharedArrayBuffer(TUNNEL_TABLE_SIZE);
  const control = new TunnelControl(memory, 0, [1, 2]);
  return { memory, control, worker: new TunnelTable(memory, 1) };
}

const find = (table: TunnelTable, member: number, [a, b, c, d]: Int32Array) => table.find(member, a, b, c, d);
const learn = (table: TunnelTable, member: number, [a, b, c, d]: Int32Array, now: number) =>
  table.learn(member, a, b, c, d, now);

describe('a configured tunnel', () => {
  test('has one number, by which workers find it', () => {
    const { control, worker } = tables();
    const first = control.intern(5, A);
    expect(control.intern(5, A)).toBe(first);
    expect(control.intern(6, A)).not.toBe(first);
    expect(find(worker, 5, A)).toBe(first);
    expect(worker.memberOf(first)).toBe(5);
    expect([0, 1, 2, 3].map((word) => worker.addressWord(first, word))).toEqual([...A]);
    expect(worker.isConfigured(first)).toBe(true);
    expect(find(worker, 5, B)).toBe(0);
  });

  test('was never heard until a datagram comes', () => {
    const { control, worker } = tables();
    const tunnel = control.intern(5, B);
    expect(control.entryOf(tunnel)?.lastSeen).toBe(0);
    worker.refresh(tunnel, 77);
    expect(control.entryOf(tunnel)).toMatchObject({ member: 5, lastSeen: 77, isConfigured: true, isDown: false });
  });

  test('that was learned before keeps its number and its age', () => {
    const { control, worker } = tables();
    const learned = learn(worker, 5, A, 40);
    expect(worker.isConfigured(learned)).toBe(false);
    expect(control.intern(5, A)).toBe(learned);
    expect(control.entryOf(learned)).toMatchObject({ isConfigured: true, lastSeen: 40 });
    expect(control.silentSince(1000, 60, 10)).toEqual([]);
  });

  test('that is dead is so for workers, until it is not', () => {
    const { control, worker } = tables();
    const tunnel = control.intern(5, A);
    control.setDown(tunnel, true);
    expect(worker.isDown(tunnel)).toBe(true);
    expect(find(worker, 5, A)).toBe(tunnel);
    control.setDown(tunnel, false);
    expect(worker.isDown(tunnel)).toBe(false);
  });

  test('with a narrow way lets pass what that does, dead or not, and so does one that was learned', () => {
    const { control, worker } = tables();
    for (const tunnel of [control.intern(5, A), learn(worker, 5, B, 1)]) {
      expect(worker.narrowed(tunnel, 1450)).toBe(1450);
      control.setMtu(tunnel, 1350);
      control.setDown(tunnel, true);
      expect([worker.narrowed(tunnel, 1450), worker.narrowed(tunnel, 1300)]).toEqual([1350, 1300]);
      expect(control.entryOf(tunnel)).toMatchObject({ mtu: 1350, isDown: true });
      control.setMtu(tunnel, 65_535);
      expect([worker.isDown(tunnel), worker.narrowed(tunnel, 65_536)]).toEqual([true, 65_535]);
      control.setDown(tunnel, false);
      expect([worker.isDown(tunnel), worker.narrowed(tunnel, 65_536)]).toEqual([false, 65_535]);
      control.setMtu(tunnel, 0);
      expect(worker.narrowed(tunnel, 65_536)).toBe(65_536);
    }
    expect(worker.narrowed(0, 1450)).toBe(1450);
    expect([...control.listLearned()].map(({ address }) => [...address])).toEqual([[...B]]);
    const learned = find(worker, 5, B);
    control.setMtu(learned, 1300);
    expect(control.intern(5, B)).toBe(learned);
    expect(worker.narrowed(learned, 1450)).toBe(1300);
    control.remove([learned]);
    control.setMtu(learned, 1200);
    expect(learn(worker, 6, A, 1)).toBe(learned);
    expect(worker.narrowed(learned, 1450)).toBe(1450);
  });

  test('that is removed is found no more, and its number names nobody', () => {
    const { control, worker } = tables();
    const tunnel = control.intern(5, A);
    control.remove([tunnel, tunnel]);
    expect(find(worker, 5, A)).toBe(0);
    expect(worker.memberOf(tunnel)).toBe(-1);
    expect(control.entryOf(tunnel)).toBeUndefined();
  });

  test('of a port as a whole lies beside those of its networks', () => {
    const { control, worker } = tables();
    const own = control.intern(0, A);
    const everyone = control.intern(anyNetwork(0), A);
    expect(find(worker, anyNetwork(0), A)).toBe(everyone);
    expect(everyone).not.toBe(own);
    expect([...control.list()].map(({ member }) => member)).toEqual([0, -1]);
  });
});

describe('a learned tunnel', () => {
  test('is told when it was silent for too long', () => {
    const { control, worker } = tables();
    const old = learn(worker, 5, A, 100);
    const young = learn(worker, 5, B, 200);
    expect(control.silentSince(360, 160, 10)).toEqual([old]);
    expect(control.silentSince(361, 160, 10)).toEqual([old, young]);
    expect(control.silentSince(361, 160, 1)).toEqual([old]);
    worker.refresh(old, 361);
    expect(control.silentSince(361, 160, 10)).toEqual([young]);
  });

  test('has no room beyond half of the table, which is for the configuration', () => {
    const { control, worker } = tables();
    for (let index = 0; index < TUNNELS_MAX / 2; index++) worker.learn(5, 0, 0, 0, index, 1);
    expect(worker.learn(5, 1, 1, 1, 1, 1)).toBe(0);
    expect(control.intern(5, A)).toBeGreaterThan(0);
  });

  test('is learned later when the main thread has the table just now', () => {
    const memory = new SharedArrayBuffer(TUNNEL_TABLE_SIZE);
    const holder = new (class extends TunnelTable {
      take() {
        return this.table.tryLock(this.owner);
      }
    })(memory, WORKERS_MAX);
    expect(holder.take()).toBe(true);
    expect(learn(new TunnelTable(memory, 1), 5, A, 1)).toBe(0);
  });
});

describe('memory that outlived its process', () => {
  test('has its tunnels under the same numbers, whoever held the lock', () => {
    const { memory, control } = tables();
    const numbers = [control.intern(5, A), control.intern(5, B), control.intern(6, A)];
    control.remove([numbers[1]]);
    const dead = new (class extends TunnelTable {
      dieLocked() {
        return this.table.tryLock(this.owner);
      }
    })(memory, 3);
    expect(dead.dieLocked()).toBe(true);
    const next = new TunnelControl(memory);
    next.recover();
    expect(next.intern(5, A)).toBe(numbers[0]);
    expect(next.intern(6, A)).toBe(numbers[2]);
    expect(find(next, 5, B)).toBe(0);
  });

  test('of a worker that died is repaired and free again', () => {
    const { memory, control } = tables();
    const dead = new (class extends TunnelTable {
      dieLocked() {
        return this.table.tryLock(this.owner);
      }
    })(memory, 3);
    expect(dead.dieLocked()).toBe(true);
    expect(control.breakLock(0)).toBe(false);
    expect(control.breakLock(2)).toBe(true);
    expect(control.intern(1, A)).toBeGreaterThan(0);
  });
});

test('a copy learns by itself', () => {
  const { control, worker } = tables();
  control.intern(5, A);
  const copy = control.copy();
  expect(learn(copy, 5, B, 1)).toBeGreaterThan(0);
  expect(find(worker, 5, B)).toBe(0);
  expect(find(copy, 5, A)).toBe(find(worker, 5, A));
});
