import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { BfdSession } from '../../src/dataplane/bfd-session.js';
import { BfdSpeaker } from '../../src/dataplane/bfd-speaker.js';
import {
  BFD_ADMIN_DOWN,
  BFD_DOWN,
  BFD_INIT,
  BFD_SIZE,
  BFD_UP,
  type BfdPacket,
  readBfd,
  writeBfd,
} from '../../src/wire/bfd.js';

const REMOTE = '198.51.100.2';
const settings = { intervalMs: 300, multiplier: 3 };
const ITS = 0x2222;

/** A speaker under a clock that the test moves, with a socket whose packets wait until it is drained. */
class Desk {
  skipMs = 0;
  readonly waiting: (() => void)[] = [];
  readonly sent: BfdPacket[] = [];
  readonly changes: number[] = [];
  closed = 0;
  readonly speaker = new BfdSpeaker({
    clock: () => Date.now() + this.skipMs,
    drain: () => {
      for (const hear of this.waiting.splice(0)) hear();
    },
  });

  open(remote = REMOTE): BfdSession {
    const channel = {
      send: (octets: Uint8Array) => {
        const packet = readBfd(octets, 0, octets.length);
        if (typeof packet === 'string') throw new Error(packet);
        this.sent.push(packet);
      },
      close: () => this.closed++,
    };
    return this.speaker.open(remote, settings, channel, ({ state }) => this.changes.push(state));
  }

  hear(state: number, session: BfdSession, remote = REMOTE): void {
    this.speaker.receive(remote, packet(state, { yourDiscriminator: session.discriminator }));
  }

  up(): BfdSession {
    const session = this.open();
    vi.advanceTimersByTime(1);
    this.hear(BFD_INIT, session);
    expect(session.state).toBe(BFD_UP);
    this.sent.length = 0;
    this.changes.length = 0;
    return session;
  }
}

function packet(state: number, more: Partial<BfdPacket> = {}): Uint8Array {
  const octets = new Uint8Array(BFD_SIZE);
  writeBfd(octets, 0, {
    diagnostic: 0,
    state,
    isPoll: false,
    isFinal: false,
    isControlPlaneIndependent: false,
    isDemand: false,
    multiplier: 3,
    myDiscriminator: ITS,
    yourDiscriminator: 0,
    desiredMinTxUs: 300_000,
    requiredMinRxUs: 300_000,
    requiredMinEchoRxUs: 0,
    ...more,
  });
  return octets;
}

let desk: Desk;
beforeEach(() => {
  vi.useFakeTimers();
  desk = new Desk();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('packets', () => {
  test('without a discriminator are for the session of the remote they come from', () => {
    const [one, other] = [desk.open('192.0.2.1'), desk.open('192.0.2.2')];
    desk.speaker.receive('192.0.2.2', packet(BFD_DOWN));
    expect([one.state, other.state]).toEqual([BFD_DOWN, BFD_INIT]);
  });

  test("with another session's discriminator, or from another remote, are ignored", () => {
    const session = desk.up();
    const other = desk.open('192.0.2.2');
    desk.speaker.receive(REMOTE, packet(BFD_DOWN, { yourDiscriminator: other.discriminator }));
    desk.speaker.receive('192.0.2.2', packet(BFD_DOWN, { yourDiscriminator: session.discriminator }));
    desk.speaker.receive('203.0.113.9', packet(BFD_DOWN, { yourDiscriminator: session.discriminator }));
    expect(session.state).toBe(BFD_UP);
    expect(other.state).toBe(BFD_DOWN);
  });

  const down = (session: BfdSession) => packet(BFD_DOWN, { yourDiscriminator: session.discriminator });
  const spoilt = (at: number, value: number) => (session: BfdSession) => {
    const octets = down(session);
    octets[at] = value;
    return octets;
  };
  test.each([
    ['version 0', spoilt(0, 0x00)],
    ['version 2', spoilt(0, 0x40)],
    ['a length below 24', spoilt(3, 23)],
    ['a length beyond the datagram', spoilt(3, 25)],
    ['multiplier 0', spoilt(2, 0)],
    ['the multipoint bit', spoilt(1, 0x41)],
    ['the authentication bit', spoilt(1, 0x44)],
    ['no discriminator of its own', () => packet(BFD_DOWN, { myDiscriminator: 0 })],
    ['state Up and no discriminator of ours', () => packet(BFD_UP)],
    ['23 octets', (session: BfdSession) => down(session).subarray(0, 23)],
    ['no octets', () => new Uint8Array(0)],
  ])('with %s are ignored', (_, spoil) => {
    const session = desk.up();
    const { remoteState } = session;
    desk.speaker.receive(REMOTE, spoil(session));
    expect(session.state).toBe(BFD_UP);
    expect(session.remoteState).toBe(remoteState);
    expect(desk.changes).toEqual([]);
  });
});

describe('timers', () => {
  test('send while the remote is heard, and end the session when it is not', () => {
    const session = desk.up();
    for (let count = 0; count < 10; count++) {
      vi.advanceTimersByTime(250);
      desk.hear(BFD_UP, session);
    }
    expect(desk.sent.length).toBeGreaterThanOrEqual(8);
    expect(desk.sent.length).toBeLessThanOrEqual(12);
    vi.advanceTimersByTime(895);
    expect(session.state).toBe(BFD_UP);
    vi.advanceTimersByTime(10);
    expect(session.state).toBe(BFD_DOWN);
    expect(desk.changes.at(-1)).toBe(BFD_DOWN);
  });

  test('hear what waits in the socket before they end a session', () => {
    const session = desk.up();
    desk.waiting.push(() => desk.hear(BFD_UP, session));
    desk.skipMs += 5000;
    vi.advanceTimersByTime(400);
    expect(session.state).toBe(BFD_UP);
    expect(desk.waiting).toEqual([]);
  });

  test('that are late by a pause of the whole machine do not count it as silence, but go on to wait from there', () => {
    const session = desk.up();
    desk.skipMs += 60_000;
    vi.advanceTimersByTime(300);
    expect(session.state).toBe(BFD_UP);
    vi.advanceTimersByTime(900);
    expect(session.state).toBe(BFD_DOWN);
  });

  test('that are a little late, again and again, do not keep a dead remote alive', () => {
    const session = desk.up();
    for (let count = 0; count < 14; count++) {
      desk.skipMs += 10;
      vi.advanceTimersByTime(60);
    }
    vi.advanceTimersByTime(100);
    expect(session.state).toBe(BFD_DOWN);
  });

  test('of many sessions have discriminators of their own', () => {
    const sessions = Array.from({ length: 200 }, (_, index) => desk.open(`remote ${index}`));
    expect(new Set(sessions.map(({ discriminator }) => discriminator)).size).toBe(200);
    expect(sessions.every(({ discriminator }) => discriminator > 0 && discriminator < 2 ** 32)).toBe(true);
  });
});

describe('a session that is closed', () => {
  test('says AdminDown more than once, and never anything after', () => {
    const session = desk.up();
    desk.speaker.close(REMOTE);
    expect(desk.sent.map(({ state }) => state)).toEqual([BFD_ADMIN_DOWN, BFD_ADMIN_DOWN, BFD_ADMIN_DOWN]);
    expect(desk.closed).toBe(1);
    desk.hear(BFD_UP, session);
    vi.advanceTimersByTime(10_000);
    expect(desk.sent).toHaveLength(3);
    expect(desk.changes).toEqual([]);
    expect(desk.speaker.session(REMOTE)).toBeUndefined();
  });

  test('can be opened anew, with another discriminator', () => {
    const { discriminator } = desk.up();
    desk.speaker.close(REMOTE);
    expect(desk.open().discriminator).not.toBe(discriminator);
  });
});
