import { describe, expect, it } from 'vitest';
import { LOOP_BLOCK_MS } from '../../src/limits.js';
import { MOVED } from '../../src/pipeline/fdb.js';
import { LoopGuard } from '../../src/pipeline/loop-guard.js';
import { makeFdb, testPolicy } from './fdb-fixture.js';

const HIGH = 0x0200;
const NETWORK = 1;
const STATION = 77;
/** Ports by what they are in the story; each is its member's number too. */
const HOME = 5;
const ATTACKER = 6;
const NEW_HOME = 7;
const START_MS = 1_000_000;

const isBlocked = (guard: LoopGuard, port: number, nowMs: number) => guard.blockedUntil(port) > nowMs;

/** FDB and loop guard as stages/learn.ts joins them; all ports are unguarded. */
class Scene {
  readonly fdb = makeFdb(64);
  readonly guard = new LoopGuard();
  readonly policy = testPolicy();
  ms = START_MS;

  /** The station's address is seen behind the port, unless that is blocked. */
  seen(port: number, mac = STATION): void {
    if (isBlocked(this.guard, port, this.ms)) return;
    const seconds = Math.floor(this.ms / 1000);
    if (this.fdb.learn(NETWORK, HIGH, mac, port, seconds, this.policy) !== MOVED) return;
    const [earlier, later] = this.fdb.movedBack ? [port, this.fdb.movedFrom] : [this.fdb.movedFrom, port];
    this.guard.noteMove((NETWORK << 16) | HIGH, mac, earlier, later, this.ms);
  }

  wait(ms: number): void {
    this.ms += ms;
  }

  /** Both send with the address, by turns and for two seconds. */
  fight(first: number, second: number): void {
    for (let turn = 0; turn < 200; turn++) {
      this.wait(10);
      this.seen(turn % 2 === 0 ? first : second);
    }
  }

  blocked(): number[] {
    return [HOME, ATTACKER, NEW_HOME].filter((port) => isBlocked(this.guard, port, this.ms));
  }
}

describe('who forges the address of a station', () => {
  it.each([
    ['talks', HOME, ATTACKER],
    ['waits until it is attacked', ATTACKER, HOME],
  ])('is blocked while the station %s', (_, first, second) => {
    const scene = new Scene();
    scene.seen(HOME);
    scene.fight(first, second);
    expect(scene.blocked()).toEqual([ATTACKER]);
  });

  it.each([3, 60, 299])('is blocked when he held the address for %i s of silence before', (silence) => {
    const scene = new Scene();
    scene.seen(HOME);
    for (let second = 0; second < silence; second++) {
      scene.wait(1000);
      scene.seen(ATTACKER);
    }
    scene.fight(HOME, ATTACKER);
    expect(scene.blocked()).toEqual([ATTACKER]);
  });

  it.each([0, 100, 5000, 1_000_000])('is blocked %i ms after the station migrated', (since) => {
    const scene = new Scene();
    scene.seen(HOME);
    scene.wait(10);
    scene.seen(NEW_HOME);
    for (let waited = 0; waited < since; waited += 100_000) {
      scene.wait(Math.min(100_000, since));
      scene.seen(NEW_HOME);
    }
    scene.fight(ATTACKER, NEW_HOME);
    expect(scene.blocked()).toEqual([ATTACKER]);
  });

  it('is blocked when the station migrated and came back in between', () => {
    const scene = new Scene();
    for (const port of [HOME, NEW_HOME, HOME]) {
      scene.wait(1000);
      scene.seen(port);
    }
    scene.fight(ATTACKER, HOME);
    expect(scene.blocked()).toEqual([ATTACKER]);
  });

  it('is blocked when he had begun before the station migrated, whoever of both was seen last', () => {
    for (const last of [HOME, ATTACKER]) {
      const scene = new Scene();
      scene.seen(HOME);
      for (let turn = 0; turn < 4; turn++) {
        scene.wait(100);
        scene.seen(ATTACKER);
        scene.wait(100);
        scene.seen(HOME);
      }
      scene.wait(100);
      scene.seen(last);
      scene.wait(100);
      scene.fight(NEW_HOME, ATTACKER);
      expect(scene.blocked()).toEqual([ATTACKER]);
    }
  });

  it('is blocked when he is where the station was longer than macAge ago', () => {
    const scene = new Scene();
    scene.seen(ATTACKER);
    for (let second = 0; second <= 301; second++) {
      scene.wait(1000);
      scene.seen(HOME);
    }
    scene.fight(ATTACKER, HOME);
    expect(scene.blocked()).toEqual([ATTACKER]);
  });

  it('is blocked when his port has the number of one where the station was', () => {
    const scene = new Scene();
    scene.seen(ATTACKER);
    scene.wait(1000);
    scene.seen(HOME);
    scene.fdb.releaseMember(ATTACKER);
    scene.guard.unblock(ATTACKER);
    scene.wait(1000);
    scene.fight(ATTACKER, HOME);
    expect(scene.blocked()).toEqual([ATTACKER]);
  });

  it('can do it again after the block, and is blocked again', () => {
    const scene = new Scene();
    scene.seen(HOME);
    scene.fight(ATTACKER, HOME);
    scene.wait(LOOP_BLOCK_MS);
    expect(scene.blocked()).toEqual([]);
    scene.fight(ATTACKER, HOME);
    expect(scene.blocked()).toEqual([ATTACKER]);
  });

  it('can not have his moves counted against the port of another station that moves itself', () => {
    const scene = new Scene();
    scene.seen(HOME);
    scene.seen(HOME, STATION + 1);
    for (let turn = 0; turn < 10; turn++) {
      scene.wait(20);
      scene.seen(turn % 2 === 0 ? NEW_HOME : HOME, STATION + 1);
      scene.seen(turn % 2 === 0 ? ATTACKER : HOME);
    }
    expect(scene.blocked()).toEqual([]);
    scene.fight(ATTACKER, HOME);
    expect(scene.blocked()).toEqual([ATTACKER]);
  });
});

describe('the loop guard', () => {
  it('takes the more than twenty moves of a second for a loop, not twenty', () => {
    const guard = new LoopGuard();
    for (let move = 1; move <= 20; move++) expect(guard.noteMove(1, 2, 3, 4, 1000 + move)).toBe(-1);
    expect(guard.noteMove(1, 2, 3, 4, 2000)).toBe(4);
    expect([isBlocked(guard, 4, 2000), isBlocked(guard, 3, 2000)]).toEqual([true, false]);
    expect([isBlocked(guard, 4, 2000 + LOOP_BLOCK_MS - 1), isBlocked(guard, 4, 2000 + LOOP_BLOCK_MS)]).toEqual([
      true,
      false,
    ]);
  });

  it('begins to count anew each second', () => {
    const guard = new LoopGuard();
    for (let move = 0; move < 200; move++) expect(guard.noteMove(1, 2, 3, 4, 1000 + move * 50)).toBe(-1);
  });

  it('does not mind a station that moves between the far ends of one tunnel port', () => {
    const guard = new LoopGuard();
    for (let move = 0; move < 100; move++) expect(guard.noteMove(1, 2, 4, 4, 1000)).toBe(-1);
  });

  it('blocks nothing for a port that is no more, and touches no other count', () => {
    const guard = new LoopGuard();
    for (let move = 0; move < 100; move++) expect(guard.noteMove(1, 2, 4, -1, 1000)).toBe(-1);
    for (let port = 0; port < 10; port++) expect(isBlocked(guard, port, 1000)).toBe(false);
  });

  it('forgets what it had against a port whose number another one gets', () => {
    const guard = new LoopGuard();
    for (let move = 0; move < 20; move++) guard.noteMove(1, 2, 3, 4, 1000);
    guard.unblock(4);
    expect(guard.noteMove(1, 2, 3, 4, 1000)).toBe(-1);
  });
});
