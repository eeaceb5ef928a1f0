import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BfdSession, type BfdSettings } from '../../src/dataplane/bfd-session.js';
import {
  BFD_ADMIN_DOWN,
  BFD_ADMINISTRATIVELY_DOWN,
  BFD_DETECTION_EXPIRED,
  BFD_DOWN,
  BFD_INIT,
  BFD_NEIGHBOR_DOWN,
  BFD_NO_DIAGNOSTIC,
  BFD_UP,
  type BfdPacket,
} from '../../src/wire/bfd.js';

const MINE = 0x1111;
const ITS = 0x2222;
const settings: BfdSettings = { intervalMs: 300, multiplier: 3 };

/** A session with a clock that stands still, and what it sent. */
class Bench {
  now = 10_000;
  chance = 0;
  changes = 0;
  sent: BfdPacket[] = [];
  readonly session: BfdSession;

  constructor(wanted: BfdSettings = settings) {
    const outlet = {
      send: (packet: BfdPacket) => this.sent.push(packet),
      changed: () => this.changes++,
      random: () => this.chance,
    };
    this.session = new BfdSession(MINE, wanted, outlet, this.now);
  }

  hear(state: number, more: Partial<BfdPacket> = {}): this {
    this.session.receive(packetOf(state, more), this.now);
    return this;
  }

  /** Brings a fresh session into a state, by what the remote says. */
  into(state: number): this {
    this.session.tick(this.now);
    if (state === BFD_ADMIN_DOWN) this.session.shutDown();
    if (state === BFD_INIT || state === BFD_UP) this.hear(BFD_DOWN, { yourDiscriminator: 0 });
    if (state === BFD_UP) this.hear(BFD_UP).hear(BFD_UP, { isFinal: true });
    expect(this.session.state).toBe(state);
    this.sent = [];
    this.changes = 0;
    return this;
  }

  /** Goes on to the next thing that is due, `until` at most; the time that took. */
  advance(until = Number.POSITIVE_INFINITY): number {
    const before = this.now;
    this.now = Math.min(this.session.dueMs, until);
    this.session.tick(this.now);
    return this.now - before;
  }

  get last(): BfdPacket {
    const packet = this.sent.at(-1);
    if (packet === undefined) throw new Error('nothing was sent');
    return packet;
  }
}

function packetOf(state: number, more: Partial<BfdPacket> = {}): BfdPacket {
  return {
    diagnostic: BFD_NO_DIAGNOSTIC,
    state,
    isPoll: false,
    isFinal: false,
    isControlPlaneIndependent: false,
    isDemand: false,
    multiplier: 3,
    myDiscriminator: ITS,
    yourDiscriminator: MINE,
    desiredMinTxUs: 300_000,
    requiredMinRxUs: 300_000,
    requiredMinEchoRxUs: 0,
    ...more,
  };
}

describe('the state machine of RFC 5880 section 6.8.6', () => {
  /** Own state, the state received, the state afterwards. */
  const table = [
    [BFD_DOWN, BFD_DOWN, BFD_INIT],
    [BFD_DOWN, BFD_INIT, BFD_UP],
    [BFD_DOWN, BFD_UP, BFD_DOWN],
    [BFD_DOWN, BFD_ADMIN_DOWN, BFD_DOWN],
    [BFD_INIT, BFD_DOWN, BFD_INIT],
    [BFD_INIT, BFD_INIT, BFD_UP],
    [BFD_INIT, BFD_UP, BFD_UP],
    [BFD_INIT, BFD_ADMIN_DOWN, BFD_DOWN],
    [BFD_UP, BFD_DOWN, BFD_DOWN],
    [BFD_UP, BFD_INIT, BFD_UP],
    [BFD_UP, BFD_UP, BFD_UP],
    [BFD_UP, BFD_ADMIN_DOWN, BFD_DOWN],
    [BFD_ADMIN_DOWN, BFD_DOWN, BFD_ADMIN_DOWN],
    [BFD_ADMIN_DOWN, BFD_INIT, BFD_ADMIN_DOWN],
    [BFD_ADMIN_DOWN, BFD_UP, BFD_ADMIN_DOWN],
    [BFD_ADMIN_DOWN, BFD_ADMIN_DOWN, BFD_ADMIN_DOWN],
  ] as const;

  test.each(table)('in state %i a packet with state %i leads to state %i', (from, heard, to) => {
    const { session } = new Bench().into(from).hear(heard);
    expect(session.state).toBe(to);
    const isFall = to === BFD_DOWN && from !== BFD_DOWN;
    if (isFall) expect(session.diagnostic).toBe(BFD_NEIGHBOR_DOWN);
    else expect(session.diagnostic).toBe(from === BFD_ADMIN_DOWN ? BFD_ADMINISTRATIVELY_DOWN : BFD_NO_DIAGNOSTIC);
  });

  test.each([BFD_INIT, BFD_UP])('state %i ends with the detection time, and not before', (from) => {
    const bench = new Bench().into(from);
    const deadline = bench.now + 900;
    while (bench.session.dueMs < deadline) bench.advance();
    expect(bench.session.state).toBe(from);
    bench.advance();
    expect(bench.now).toBe(deadline);
    expect(bench.session.state).toBe(BFD_DOWN);
    expect(bench.session.diagnostic).toBe(BFD_DETECTION_EXPIRED);
    expect(bench.last).toMatchObject({ state: BFD_DOWN, diagnostic: BFD_DETECTION_EXPIRED, yourDiscriminator: 0 });
    expect(bench.changes).toBe(1);
  });

  test('the remote discriminator is forgotten after a detection time of silence in Down, too', () => {
    const bench = new Bench().into(BFD_DOWN).hear(BFD_UP);
    bench.advance();
    expect(bench.now).toBe(10_750);
    expect(bench.last.yourDiscriminator).toBe(ITS);
    bench.advance();
    expect(bench.now).toBe(10_900);
    bench.advance();
    expect(bench.last).toMatchObject({ yourDiscriminator: 0, diagnostic: BFD_NO_DIAGNOSTIC });
    expect(bench.changes).toBe(1);
  });

  test('a remote that starts again brings the session down, and up again with its new discriminator', () => {
    const bench = new Bench().into(BFD_UP);
    bench.hear(BFD_DOWN, { myDiscriminator: 7, yourDiscriminator: 0 });
    expect(bench.session.state).toBe(BFD_DOWN);
    bench.hear(BFD_DOWN, { myDiscriminator: 7, yourDiscriminator: 0 }).hear(BFD_INIT, { myDiscriminator: 7 });
    expect(bench.session.state).toBe(BFD_UP);
    expect(bench.last.yourDiscriminator).toBe(7);
  });
});

describe('what traffic is told', () => {
  test.each([
    [BFD_DOWN, true],
    [BFD_INIT, true],
    [BFD_UP, false],
  ] as const)('in state %i the remote is down: %s', (state, isDown) => {
    expect(new Bench().into(state).session.isDown).toBe(isDown);
  });

  test('a remote that switched BFD off is not down, until it says Down', () => {
    const bench = new Bench().into(BFD_UP).hear(BFD_ADMIN_DOWN);
    expect(bench.session.isDown).toBe(false);
    expect(bench.changes).toBe(1);
    bench.advance();
    bench.advance();
    expect(bench.session.isDown).toBe(false);
    bench.hear(BFD_DOWN);
    expect(bench.session.isDown).toBe(true);
  });

  test('every packet that says nothing new changes nothing', () => {
    const bench = new Bench().into(BFD_UP);
    for (let count = 0; count < 5; count++) bench.hear(BFD_UP);
    expect(bench.changes).toBe(0);
  });
});

describe('packets that are sent', () => {
  test('begin at once, with Down, an unknown discriminator and at least a second between them', () => {
    const bench = new Bench();
    bench.advance();
    expect(bench.now).toBe(10_000);
    expect(bench.last).toEqual(
      packetOf(BFD_DOWN, { myDiscriminator: MINE, yourDiscriminator: 0, desiredMinTxUs: 1_000_000 }),
    );
    expect(bench.advance()).toBe(750);
    bench.chance = 0.999_999;
    bench.advance();
    expect(bench.advance()).toBeCloseTo(1000, 1);
  });

  test('come 75 to 100 % of the interval apart when up; 75 to 90 % when the loss of one ends the session', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (multiplier, chance) => {
          const bench = new Bench({ intervalMs: 300, multiplier });
          bench.into(BFD_UP);
          bench.chance = chance;
          bench.advance();
          const gap = bench.advance();
          expect(gap).toBeGreaterThanOrEqual(225 - 1e-6);
          expect(gap).toBeLessThanOrEqual((multiplier === 1 ? 270 : 300) + 1e-6);
        },
      ),
    );
  });

  test('are never more frequent than the remote accepts', () => {
    const bench = new Bench().into(BFD_UP).hear(BFD_UP, { requiredMinRxUs: 2_000_000, desiredMinTxUs: 5_000_000 });
    bench.advance();
    expect(bench.advance()).toBe(1500);
  });

  test('stop when the remote accepts none, but for answers to its polls', () => {
    const bench = new Bench().into(BFD_UP).hear(BFD_UP, { requiredMinRxUs: 0, desiredMinTxUs: 60_000_000 });
    for (let count = 0; count < 20; count++) bench.advance();
    expect(bench.sent).toEqual([]);
    bench.hear(BFD_UP, { requiredMinRxUs: 0, isPoll: true });
    expect(bench.sent).toHaveLength(1);
    expect(bench.last.isFinal).toBe(true);
  });

  test('go on at once when the state has changed, and sooner when the remote now accepts more', () => {
    const bench = new Bench().into(BFD_DOWN);
    bench.hear(BFD_DOWN);
    expect(bench.sent).toHaveLength(1);
    expect(bench.last).toMatchObject({ state: BFD_INIT, yourDiscriminator: ITS, desiredMinTxUs: 1_000_000 });
    bench.hear(BFD_UP);
    expect(bench.last).toMatchObject({ state: BFD_UP, desiredMinTxUs: 300_000 });
    expect(bench.advance()).toBe(225);
  });

  test('go on to a remote that wants demand mode', () => {
    const bench = new Bench().into(BFD_UP).hear(BFD_UP, { isDemand: true });
    bench.advance();
    expect(bench.sent).toHaveLength(1);
    expect(bench.last.isDemand).toBe(false);
  });

  test('say AdminDown when the session is shut down, and nothing afterwards', () => {
    const bench = new Bench().into(BFD_UP);
    bench.session.shutDown();
    expect(bench.last).toMatchObject({ state: BFD_ADMIN_DOWN, diagnostic: BFD_ADMINISTRATIVELY_DOWN });
    bench.hear(BFD_DOWN).hear(BFD_UP, { isPoll: true });
    expect(bench.session.dueMs).toBe(Number.POSITIVE_INFINITY);
    expect(bench.sent).toHaveLength(1);
  });
});

describe('poll sequences', () => {
  test('the remote polls: it is answered at once, once, with the final bit and without a poll of its own', () => {
    const bench = new Bench().into(BFD_UP).hear(BFD_UP, { isPoll: true });
    expect(bench.sent).toHaveLength(1);
    expect(bench.last).toMatchObject({ isFinal: true, isPoll: false });
  });

  test('one goes with the change from the slow interval when the session comes up', () => {
    const bench = new Bench().into(BFD_INIT).hear(BFD_UP);
    expect(bench.last.isPoll).toBe(true);
    bench.advance();
    expect(bench.last.isPoll).toBe(true);
    bench.hear(BFD_UP, { isFinal: true });
    bench.advance();
    expect(bench.last.isPoll).toBe(false);
  });

  test('none is needed when there is no change', () => {
    const bench = new Bench({ intervalMs: 2000, multiplier: 3 }).into(BFD_INIT).hear(BFD_UP);
    expect(bench.last).toMatchObject({ isPoll: false, desiredMinTxUs: 2_000_000 });
  });

  test('a longer interval takes effect for sending only when the remote has agreed, a shorter one at once', () => {
    const bench = new Bench().into(BFD_UP);
    bench.session.configure({ intervalMs: 1000, multiplier: 5 }, bench.now);
    bench.advance();
    expect(bench.last).toMatchObject({
      isPoll: true,
      multiplier: 5,
      desiredMinTxUs: 1_000_000,
      requiredMinRxUs: 1_000_000,
    });
    expect(bench.advance()).toBe(225);
    bench.hear(BFD_UP, { isFinal: true });
    bench.advance();
    expect(bench.advance()).toBe(750);
    bench.session.configure({ intervalMs: 400, multiplier: 5 }, bench.now);
    expect(bench.advance()).toBe(300);
    expect(bench.last.isPoll).toBe(true);
  });

  test('a shorter interval takes effect for detection only when the remote has agreed', () => {
    const bench = new Bench({ intervalMs: 1000, multiplier: 3 }).into(BFD_UP);
    bench.hear(BFD_UP, { desiredMinTxUs: 50_000 });
    expect(bench.session.detectionMs).toBe(3000);
    bench.session.configure({ intervalMs: 100, multiplier: 3 }, bench.now);
    bench.hear(BFD_UP, { desiredMinTxUs: 50_000 });
    expect(bench.session.detectionMs).toBe(3000);
    bench.hear(BFD_UP, { desiredMinTxUs: 50_000, isFinal: true });
    expect(bench.session.detectionMs).toBe(300);
  });

  test('a final bit that nobody asked for means nothing', () => {
    const bench = new Bench().into(BFD_UP).hear(BFD_UP, { isFinal: true });
    bench.advance();
    expect(bench.last).toMatchObject({ isPoll: false, desiredMinTxUs: 300_000 });
  });
});

describe('the detection time', () => {
  test("is the remote's multiplier times the slower of what it sends and what is accepted", () => {
    const bench = new Bench().into(BFD_UP);
    expect(bench.session.detectionMs).toBe(900);
    bench.hear(BFD_UP, { multiplier: 10, desiredMinTxUs: 1_000_000 });
    expect(bench.session.detectionMs).toBe(10_000);
    bench.hear(BFD_UP, { multiplier: 2, desiredMinTxUs: 1 });
    expect(bench.session.detectionMs).toBe(600);
  });

  test('does not count time in which nobody listened', () => {
    const bench = new Bench().into(BFD_UP);
    bench.session.excuse(60_000);
    bench.now += 60_000;
    bench.advance();
    expect(bench.session.state).toBe(BFD_UP);
    while (bench.session.state === BFD_UP) bench.advance();
    expect(bench.now).toBe(10_000 + 60_000 + 900);
  });
});

/** Two sessions and two directions that delay and lose packets, under one clock. */
class Wire {
  now = 0;
  readonly sessions: readonly [BfdSession, BfdSession];
  /** Packets to 0 and to 1 that are lost; which one, of those asked for in order. */
  loses: (to: number) => boolean = () => false;
  private readonly flying: { readonly to: 0 | 1; readonly atMs: number; readonly packet: BfdPacket }[] = [];

  constructor(left: BfdSettings, right: BfdSettings, random: () => number, delayMs = 1) {
    const outlet = (to: 0 | 1) => ({
      send: (packet: BfdPacket) => {
        if (!this.loses(to)) this.flying.push({ to, atMs: this.now + delayMs, packet });
      },
      changed: () => {},
      random,
    });
    this.sessions = [new BfdSession(MINE, left, outlet(1), 0), new BfdSession(ITS, right, outlet(0), 0)];
  }

  /** Until then, or until `enough`. */
  run(untilMs: number, enough = () => false): void {
    while (!enough()) {
      const [first] = [...this.flying].sort((a, b) => a.atMs - b.atMs);
      const due = Math.min(...this.sessions.map(({ dueMs }) => dueMs), first?.atMs ?? Number.POSITIVE_INFINITY);
      if (due > untilMs) break;
      this.now = Math.max(this.now, due);
      if (first !== undefined && first.atMs <= this.now) {
        this.flying.splice(this.flying.indexOf(first), 1);
        this.sessions[first.to].receive(first.packet, this.now);
      }
      for (const session of this.sessions) session.tick(this.now);
    }
    if (!enough()) this.now = untilMs;
  }

  get states(): number[] {
    return this.sessions.map(({ state }) => state);
  }
}

/** A small generator of its own, so that a failing seed replays. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const anySettings = fc.record({
  intervalMs: fc.integer({ min: 10, max: 3000 }),
  multiplier: fc.integer({ min: 1, max: 10 }),
});

describe('two sessions', () => {
  test('are up within a few round trips, whatever their settings, and stay so', () => {
    fc.assert(
      fc.property(anySettings, anySettings, fc.nat(), (left, right, seed) => {
        const wire = new Wire(left, right, randomOf(seed));
        wire.run(20);
        expect(wire.states).toEqual([BFD_UP, BFD_UP]);
        wire.run(60_000, () => wire.states.some((state) => state !== BFD_UP));
        expect(wire.now).toBe(60_000);
      }),
      { numRuns: 50 },
    );
  });

  test('come up in spite of loss, and never disagree for long', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 30 }), (seed, percent) => {
        const random = randomOf(seed);
        const wire = new Wire({ intervalMs: 100, multiplier: 3 }, { intervalMs: 200, multiplier: 5 }, random);
        wire.loses = () => random() * 100 < percent;
        for (let hour = 0; hour < 10; hour++) {
          wire.run(wire.now + 60_000, () => wire.states.every((state) => state === BFD_UP));
          expect(wire.states).toEqual([BFD_UP, BFD_UP]);
          wire.run(wire.now + 1000);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('loss of one direction takes both down: the deaf one by silence, the other because it is told', () => {
    const wire = new Wire(settings, settings, randomOf(1));
    wire.run(2000);
    wire.loses = (to) => to === 0;
    wire.run(2000 + 901);
    expect(wire.states[0]).toBe(BFD_DOWN);
    expect(wire.sessions[0].diagnostic).toBe(BFD_DETECTION_EXPIRED);
    wire.run(wire.now + 10);
    expect(wire.sessions[1].state).not.toBe(BFD_UP);
    wire.loses = () => false;
    wire.run(wire.now + 1100);
    expect(wire.states).toEqual([BFD_UP, BFD_UP]);
  });

  test('a cut is seen by both within the detection time, and mended within a second or so of its end', () => {
    fc.assert(
      fc.property(anySettings, anySettings, fc.nat(), (left, right, seed) => {
        const wire = new Wire(left, right, randomOf(seed));
        wire.run(30_000);
        const [one, other] = wire.sessions.map(({ detectionMs }) => detectionMs);
        wire.loses = () => true;
        wire.run(wire.now + Math.max(one!, other!) + 2);
        expect(wire.states).toEqual([BFD_DOWN, BFD_DOWN]);
        wire.loses = () => false;
        wire.run(wire.now + 20 + Math.max(1000, left.intervalMs, right.intervalMs));
        expect(wire.states).toEqual([BFD_UP, BFD_UP]);
      }),
      { numRuns: 50 },
    );
  });

  test('the faster one sends no more than the slower one accepts', () => {
    const wire = new Wire({ intervalMs: 10, multiplier: 3 }, { intervalMs: 1000, multiplier: 3 }, randomOf(7));
    wire.run(5000);
    let count = 0;
    wire.loses = (to) => {
      if (to === 1) count++;
      return false;
    };
    wire.run(15_000);
    expect(count).toBeGreaterThanOrEqual(10);
    expect(count).toBeLessThanOrEqual(14);
  });
});
