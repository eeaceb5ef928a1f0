/** The table of tunnels: who finds, adds and takes away which entry, and what a number is good for. */
import { describe, expect, test } from 'vitest';
import { TUNNELS_MAX } from '../../src/limits.js';
import { TunnelControl } from '../../src/pipeline/tunnel-control.js';
import { anyNetwork, TUNNEL_TABLE_SIZE, TunnelTable } from '../../src/pipeline/tunnel-table.js';

const SEED = [3, 4] as const;
const LEARNED_MAX = TUNNELS_MAX / 2;

/** The main thread's table and those of two workers, over the same memory. */
function tables() {
  const memory = new SharedArrayBuffer(TUNNEL_TABLE_SIZE);
  const control = new TunnelControl(memory, 0, SEED);
  const [one, two] = [1, 2].map((owner) => new TunnelTable(memory, owner, 0, SEED));
  return { control, one, two };
}

const address = (number: number) => Int32Array.of(0, 0, 0xffff_0000 | 0, number);
const find = (table: TunnelTable, member: number, number: number) => table.find(member, 0, 0, 0xffff_0000 | 0, number);
const learn = (table: TunnelTable, member: number, number: number, now = 10) =>
  table.learn(member, 0, 0, 0xffff_0000 | 0, number, now);

describe('the table of tunnels', () => {
  test('that is empty finds nothing, and 0 is nobody’s number', () => {
    const { control, one } = tables();
    expect(find(one, 5, 1)).toBe(0);
    expect(one.memberOf(0)).toBe(-1);
    expect([...control.list()]).toEqual([]);
    expect(control.silentSince(1000, 0, 10)).toEqual([]);
  });

  test('finds a tunnel by member and every word of the address, in every thread', () => {
    const { control, one, two } = tables();
    const words = Int32Array.of(1, 2, 3, 4);
    const tunnel = control.intern(7, words);
    expect(tunnel).toBeGreaterThan(0);
    for (const table of [control, one, two]) {
      expect(table.find(7, 1, 2, 3, 4)).toBe(tunnel);
      expect(table.memberOf(tunnel)).toBe(7);
      expect([0, 1, 2, 3].map((word) => table.addressWord(tunnel, word))).toEqual([1, 2, 3, 4]);
      expect([table.isConfigured(tunnel), table.isDown(tunnel)]).toEqual([true, false]);
      const others: [number, number, number, number, number][] = [
        [8, 1, 2, 3, 4],
        [7, 9, 2, 3, 4],
        [7, 1, 9, 3, 4],
        [7, 1, 2, 9, 4],
        [7, 1, 2, 3, 9],
      ];
      for (const other of others) expect(table.find(...other)).toBe(0);
    }
  });

  test.each([
    { of: 'a thousand remotes of one network', members: 1, remotes: 1000 },
    { of: 'a remote of ten thousand networks', members: 10_000, remotes: 1 },
  ])('guesses most of $of right once they were found', ({ members, remotes }) => {
    const { control, one } = tables();
    // 198.18.0.0 and on, as memory has it; other numbers of members come with routers and ports that were there before.
    const words = (remote: number) => new Int32Array(Uint8Array.of(198, 18, remote >> 8, remote & 0xff).buffer)[0];
    const keys = Array.from({ length: members * remotes }, (_, at) => [777 + (at % members), words(at % remotes)]);
    const tunnels = keys.map(([member, word]) => control.intern(member, address(word)));
    for (const [member, word] of keys) find(one, member, word);
    const right = keys.filter(([member, word], at) => one.guess(member, word) === tunnels[at]);
    expect(right.length).toBeGreaterThan(0.9 * keys.length);
  });

  test('keeps what any network of a port knows apart from every member', () => {
    const { control, one } = tables();
    const ports = [0, 1, 4095].map((port) => control.intern(anyNetwork(port), address(1)));
    const members = [0, 1, 4095].map((member) => control.intern(member, address(1)));
    expect(new Set([...ports, ...members]).size).toBe(6);
    expect(one.memberOf(ports[0])).toBeLessThan(0);
  });

  test('gives the same number for the same tunnel, learned or configured, whoever asks', () => {
    const { control, one, two } = tables();
    const learned = learn(one, 3, 1);
    expect(learn(two, 3, 1)).toBe(learned);
    expect(one.isConfigured(learned)).toBe(false);
    expect(control.intern(3, address(1))).toBe(learned);
    expect(two.isConfigured(learned)).toBe(true);
    expect(learn(one, 3, 1)).toBe(learned);
    expect(control.intern(3, address(1))).toBe(learned);
    expect([...control.list()]).toHaveLength(1);
  });

  test('says that a remote is dead, and keeps that when it is configured again', () => {
    const { control, one } = tables();
    const tunnel = learn(one, 3, 1);
    control.setDown(tunnel, true);
    expect(one.isDown(tunnel)).toBe(true);
    expect(control.intern(3, address(1))).toBe(tunnel);
    expect(one.isDown(tunnel)).toBe(true);
    expect([find(one, 3, 1), one.memberOf(tunnel)]).toEqual([tunnel, 3]);
    control.setDown(tunnel, false);
    expect(one.isDown(tunnel)).toBe(false);
    control.setDown(tunnel + 1, true);
    expect([...control.list()]).toHaveLength(1);
  });

  test('forgets a tunnel that is removed: its number is nobody’s, then perhaps another’s', () => {
    const { control, one } = tables();
    const tunnel = learn(one, 3, 1);
    control.setDown(tunnel, true);
    control.remove([tunnel, 0, tunnel, 12_345]);
    expect([find(one, 3, 1), one.memberOf(tunnel)]).toEqual([0, -1]);
    expect(learn(one, 4, 2)).toBe(tunnel);
    expect([one.memberOf(tunnel), one.isDown(tunnel), one.isConfigured(tunnel)]).toEqual([4, false, false]);
    expect(find(one, 3, 1)).toBe(0);
  });

  test('lists learned tunnels that were silent for longer, no more than asked for, and no configured ones', () => {
    const { control, one } = tables();
    control.intern(1, address(9));
    const numbers = [1, 2, 3].map((number) => learn(one, 1, number, number));
    one.refresh(numbers[0], 90);
    expect(control.silentSince(100, 50, 10)).toEqual(numbers.slice(1));
    expect(control.silentSince(100, 50, 1)).toHaveLength(1);
    expect(control.silentSince(100, 98, 10)).toEqual([]);
    expect(control.entryOf(numbers[0])?.lastSeen).toBe(90);
  });

  test('learns nothing while another thread has it, and goes on when that thread died', () => {
    const { control, one, two } = tables();
    const held = (one as unknown as { table: { tryLock(owner: number): boolean } }).table;
    expect(held.tryLock(1)).toBe(true);
    expect(learn(two, 1, 1)).toBe(0);
    expect(() => control.intern(1, address(1))).toThrow('thread 1');
    expect(control.breakLock(1)).toBe(false);
    expect(control.breakLock(0)).toBe(true);
    expect(learn(two, 1, 1)).toBeGreaterThan(0);
  });

  test('learns up to half of what it holds, and always has the other half for configured ones', {
    timeout: 60_000,
  }, () => {
    const { control, one, two } = tables();
    const numbers = new Set<number>();
    for (let number = 1; number <= LEARNED_MAX; number++) {
      const tunnel = learn(number % 2 === 0 ? one : two, 1, number);
      expect(tunnel).toBeGreaterThan(0);
      numbers.add(tunnel);
    }
    expect(numbers.size).toBe(LEARNED_MAX);
    expect(learn(one, 1, LEARNED_MAX + 1)).toBe(0);
    expect(learn(two, 2, 1)).toBe(0);
    // What there is is found all the same.
    expect(find(two, 1, LEARNED_MAX)).toBeGreaterThan(0);
    for (let number = 1; number <= LEARNED_MAX; number++) control.intern(9, address(number));
    expect(() => control.intern(9, address(LEARNED_MAX + 1))).toThrow('no room');
    control.remove([find(one, 1, 1)]);
    expect(learn(one, 1, LEARNED_MAX + 1)).toBeGreaterThan(0);
    expect(Math.max(...[...control.list()].map(({ tunnel }) => tunnel))).toBeLessThanOrEqual(TUNNELS_MAX);
  });

  test('is copied whole, and a copy’s changes are its own', () => {
    const { control, one } = tables();
    const tunnel = control.intern(3, address(1));
    learn(one, 3, 2);
    const copy = control.copy();
    expect(find(copy, 3, 1)).toBe(tunnel);
    expect(learn(copy, 3, 3)).toBeGreaterThan(0);
    expect(find(control, 3, 3)).toBe(0);
    expect([...copy.list()]).toHaveLength(3);
  });

  test('is the same after recovery, over the memory of a process that died', () => {
    const memory = new SharedArrayBuffer(TUNNEL_TABLE_SIZE);
    const before = new TunnelControl(memory, 0, SEED);
    const numbers = [1, 2, 3].map((number) => before.intern(number, address(number)));
    const learned = learn(before, 7, 7);
    const after = new TunnelControl(memory, 0);
    after.recover();
    expect([1, 2, 3].map((number) => find(after, number, number))).toEqual(numbers);
    expect([find(after, 7, 7), after.isConfigured(learned)]).toEqual([learned, false]);
    expect(learn(after, 8, 8)).toBeGreaterThan(0);
  });
});

test('sequence numbers are one row for all threads, and go on in memory that outlived them', () => {
  const memory = new SharedArrayBuffer(TUNNEL_TABLE_SIZE);
  const first = new TunnelTable(memory, 1);
  const second = new TunnelTable(memory, 2);
  expect([first.takeSequences(5, 3), second.takeSequences(5, 1), first.takeSequences(5, 2)]).toEqual([0, 3, 4]);
  expect(new TunnelTable(memory, 3).takeSequences(5, 1)).toBe(6);
  expect(first.takeSequences(6, 1)).toBe(0);
});
