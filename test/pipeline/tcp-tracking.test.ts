/** TCP's states and windows, on segments of our own making. */
import { describe, expect, test } from 'vitest';
import { packWindow, unpackWindow } from '../../src/pipeline/tcp-windows.js';
import { answer, packet, type Segment, segment, TrackedSwitch, tcpOctets } from './connection-fixture.js';

const A = 1_000_000;
const B = 5_000_000;

/** Client in `a`, server in `b`. `> flags` is the client's. */
class Dialogue {
  readonly tracked: TrackedSwitch;
  entry = 0;
  private readonly ports: readonly [number, number];

  constructor(tracked = new TrackedSwitch(), ports: readonly [number, number] = [1234, 80]) {
    this.tracked = tracked;
    this.ports = ports;
  }

  client(recipe: Segment): string {
    const seen = this.tracked.one('a', segment({ ports: this.ports, ...recipe }));
    if (seen.entry > 0) this.entry = seen.entry;
    return seen.what;
  }

  server(recipe: Segment): string {
    const seen = this.tracked.one('b', answer({ ports: this.ports, ...recipe }));
    if (seen.entry > 0) this.entry = seen.entry;
    return seen.what;
  }

  get state(): string {
    return this.tracked.tcpState(this.entry);
  }

  open(a = A, b = B, options: Partial<Segment> = {}): this {
    expect(this.client({ flags: 'S', seq: a, ...options })).toBe('new');
    expect(this.server({ flags: 'SA', seq: b, ack: a + 1, ...options })).toBe('reply+');
    const win = options.win ?? 1000;
    expect(this.client({ flags: 'A', seq: a + 1, ack: b + 1, win })).toBe('original+');
    expect(this.state).toBe('established');
    return this;
  }
}

describe('a connection', () => {
  test('opens by three segments, carries data both ways, and closes by FINs into TIME_WAIT', () => {
    const dialogue = new Dialogue().open();
    expect(dialogue.client({ flags: 'PA', seq: A + 1, ack: B + 1, length: 100 })).toBe('original+');
    expect(dialogue.server({ flags: 'A', seq: B + 1, ack: A + 101 })).toBe('reply+');
    expect(dialogue.server({ flags: 'PA', seq: B + 1, ack: A + 101, length: 500 })).toBe('reply+');
    expect(dialogue.client({ flags: 'FA', seq: A + 101, ack: B + 501 })).toBe('original+');
    expect(dialogue.state).toBe('fin_wait');
    expect(dialogue.server({ flags: 'A', seq: B + 501, ack: A + 102 })).toBe('reply+');
    expect(dialogue.state).toBe('close_wait');
    // Half closed: the server still sends.
    expect(dialogue.server({ flags: 'PA', seq: B + 501, ack: A + 102, length: 300 })).toBe('reply+');
    expect(dialogue.client({ flags: 'A', seq: A + 102, ack: B + 801 })).toBe('original+');
    expect(dialogue.state).toBe('close_wait');
    expect(dialogue.server({ flags: 'FA', seq: B + 801, ack: A + 102 })).toBe('reply+');
    expect(dialogue.state).toBe('last_ack');
    expect(dialogue.client({ flags: 'A', seq: A + 102, ack: B + 802 })).toBe('original+');
    expect(dialogue.state).toBe('time_wait');
  });

  test('opens by two SYNs that cross', () => {
    const dialogue = new Dialogue();
    expect(dialogue.client({ flags: 'S', seq: A })).toBe('new');
    expect(dialogue.server({ flags: 'S', seq: B })).toBe('reply+');
    expect(dialogue.state).toBe('syn_sent2');
    expect(dialogue.client({ flags: 'SA', seq: A, ack: B + 1 })).toBe('original+');
    expect(dialogue.server({ flags: 'SA', seq: B, ack: A + 1 })).toBe('reply+');
    expect(dialogue.client({ flags: 'A', seq: A + 1, ack: B + 1 })).toBe('original+');
    expect(dialogue.state).toBe('established');
    expect(dialogue.server({ flags: 'PA', seq: B + 1, ack: A + 1, length: 10 })).toBe('reply+');
  });

  test('goes on when its numbers wrap around', () => {
    const dialogue = new Dialogue().open(-50, -30);
    for (let sent = 0; sent < 500; sent += 100) {
      expect(dialogue.client({ flags: 'PA', seq: -49 + sent, ack: -29 + sent, length: 100 })).toBe('original+');
      expect(dialogue.server({ flags: 'PA', seq: -29 + sent, ack: 51 + sent, length: 100 })).toBe('reply+');
    }
    expect(dialogue.server({ flags: 'A', seq: 471, ack: 100_000 })).toBe('invalid');
  });

  test.each([0, 1, 7, 14])(
    'that scales its windows by %i lets through what the scaled window allows, and no more',
    (scale) => {
      const dialogue = new Dialogue().open(A, B, { scale, win: 1000 });
      const limit = 1000 << scale;
      const far = B + 1 + limit;
      expect(dialogue.server({ flags: 'A', seq: far, ack: A + 1, length: 0 })).toBe('reply+');
      expect(dialogue.server({ flags: 'A', seq: far + 1, ack: A + 1, length: 1 })).toBe('invalid');
    },
  );

  test('does not scale when one end does not offer it', () => {
    const dialogue = new Dialogue();
    dialogue.client({ flags: 'S', seq: A, scale: 10 });
    dialogue.server({ flags: 'SA', seq: B, ack: A + 1 });
    dialogue.client({ flags: 'A', seq: A + 1, ack: B + 1, win: 1000 });
    expect(dialogue.server({ flags: 'A', seq: B + 1 + 1000 + 100, ack: A + 1, length: 1 })).toBe('invalid');
  });

  test('takes a super-frame as one long segment', () => {
    const dialogue = new Dialogue().open(A, B, { scale: 7, win: 1000 });
    expect(dialogue.client({ flags: 'PA', seq: A + 1, ack: B + 1, length: 60_000 })).toBe('original+');
    expect(dialogue.server({ flags: 'A', seq: B + 1, ack: A + 60_001 })).toBe('reply+');
    expect(dialogue.server({ flags: 'A', seq: B + 1, ack: A + 60_002 })).toBe('invalid');
  });

  test('takes the options of a SYN that is repeated with others', () => {
    const dialogue = new Dialogue();
    dialogue.client({ flags: 'S', seq: A, scale: 10 });
    expect(dialogue.client({ flags: 'S', seq: A })).toBe('original');
    dialogue.server({ flags: 'SA', seq: B, ack: A + 1, scale: 10 });
    dialogue.client({ flags: 'A', seq: A + 1, ack: B + 1, win: 1000 });
    expect(dialogue.server({ flags: 'A', seq: B + 1 + 50_000, ack: A + 1, length: 1 })).toBe('invalid');
  });

  test('may carry data with its SYN, taken by the other end or not', () => {
    for (const ack of [A + 1, A + 101]) {
      const dialogue = new Dialogue();
      expect(dialogue.client({ flags: 'S', seq: A, length: 100 })).toBe('new');
      expect(dialogue.server({ flags: 'SA', seq: B, ack })).toBe('reply+');
      expect(dialogue.client({ flags: 'A', seq: A + 101, ack: B + 1 })).toBe('original+');
      expect(dialogue.state).toBe('established');
    }
  });

  test('begins anew by a SYN in TIME_WAIT, and by one after a reset', () => {
    const dialogue = new Dialogue().open();
    dialogue.client({ flags: 'FA', seq: A + 1, ack: B + 1 });
    dialogue.server({ flags: 'FA', seq: B + 1, ack: A + 2 });
    dialogue.client({ flags: 'A', seq: A + 2, ack: B + 2 });
    expect(dialogue.state).toBe('time_wait');
    dialogue.open(A + 900_000, B + 900_000);
    expect(dialogue.server({ flags: 'R', seq: B + 900_001 })).toBe('reply+');
    expect(dialogue.state).toBe('closed');
    dialogue.open(7, 9);
    expect(dialogue.tracked.table.used).toBe(1);
  });

  test('can be taken up in its midst where that is allowed, and only there', () => {
    const middle: Segment = { flags: 'PA', seq: A, ack: B, length: 10 };
    expect(new Dialogue().client(middle)).toBe('invalid');
    const dialogue = new Dialogue(new TrackedSwitch({ midstream: true }));
    expect(dialogue.client(middle)).toBe('new');
    expect(dialogue.server({ flags: 'PA', seq: B, ack: A + 10, length: 100_00 })).toBe('reply+');
    expect(dialogue.client({ flags: 'A', seq: A + 10, ack: B + 100_00 })).toBe('original+');
    expect(new Dialogue(new TrackedSwitch({ midstream: true })).client({ flags: 'SA', seq: A, ack: B })).toBe(
      'invalid',
    );
    expect(new Dialogue(new TrackedSwitch({ midstream: true })).client({ flags: 'FA', seq: A, ack: B })).toBe(
      'invalid',
    );
  });

  test('whose segments come in fragments is not held to what the first of them shows', () => {
    const first = (seq: number) =>
      packet({ protocol: 6, payload: tcpOctets({ flags: 'PA', seq, ack: B + 1, length: 4 }), fragment: 0x2000 });
    const acknowledged: Segment = { flags: 'A', seq: B + 1, ack: A + 1001 };
    const whole = new Dialogue().open();
    expect(whole.server(acknowledged), 'nothing was sent').toBe('invalid');
    const inFragments = new Dialogue().open();
    expect(inFragments.tracked.what('a', first(A + 1))).toBe('original+');
    expect(inFragments.server(acknowledged), 'the whole segment may be as long as that').toBe('reply+');
    // What can't be checked any more must not make resets easier to guess.
    expect(inFragments.server({ flags: 'R', seq: B + 500 })).toBe('reply+');
    expect(inFragments.state).toBe('established');
    expect(inFragments.server({ flags: 'R', seq: B + 1 })).toBe('reply+');
    expect(inFragments.state).toBe('closed');
  });

  test.each([
    ['beyond the window', A + 1_000_000, 'invalid'],
    ['long acknowledged', A - 200_000, 'original+'],
  ])('is held to its windows after a fragment that does not fit them: %s', (_, seq, what) => {
    const dialogue = new Dialogue().open();
    const payload = tcpOctets({ flags: 'PA', seq, ack: B + 1, length: 4 });
    expect(dialogue.tracked.what('a', packet({ protocol: 6, payload, fragment: 0x2000 }))).toBe(what);
    expect(dialogue.server({ flags: 'A', seq: B + 1, ack: A + 1001 })).toBe('invalid');
    expect(dialogue.client({ flags: 'PA', seq: A + 5001, ack: B + 1, length: 10 })).toBe('invalid');
  });

  test.each(['', 'SF', 'SR', 'FSRPAU', 'F', 'FPU', 'P', 'SFA', 'RF', 'U'])(
    'has no segment with the flags "%s"',
    (flags) => {
      expect(new Dialogue().client({ flags, seq: A })).toBe('invalid');
      const dialogue = new Dialogue().open();
      expect(dialogue.client({ flags, seq: A + 1, ack: B + 1 })).toBe('invalid');
      expect(dialogue.state).toBe('established');
    },
  );

  test.each(['A', 'SA', 'FA', 'R', 'RA'])('does not begin by a segment with the flags %s', (flags) => {
    expect(new Dialogue().client({ flags, seq: A, ack: B })).toBe('invalid');
  });
});

describe('the six situations that Linux tests its conntrack by', () => {
  test('rst_invalid: a RST outside of the window changes nothing', () => {
    const dialogue = new Dialogue().open();
    expect(dialogue.server({ flags: 'R', seq: B })).toBe('invalid');
    expect(dialogue.server({ flags: 'R', seq: B + 1_000_000 })).toBe('invalid');
    expect(dialogue.state).toBe('established');
  });

  test('inexact_rst: a RST in the window but not exact passes and changes nothing; the exact one that follows ends the connection', () => {
    const dialogue = new Dialogue().open();
    expect(dialogue.server({ flags: 'R', seq: B + 11 })).toBe('reply+');
    expect(dialogue.state).toBe('established');
    expect(dialogue.client({ flags: 'A', seq: A + 1, ack: B + 1 })).toBe('original+');
    expect(dialogue.server({ flags: 'R', seq: B + 1 })).toBe('reply+');
    expect(dialogue.state).toBe('closed');
  });

  test('syn_challenge_ack: a station that restarted gets its challenge ACK, and its exact RST makes room for the new SYN', () => {
    const dialogue = new Dialogue().open();
    expect(dialogue.client({ flags: 'S', seq: 77 })).toBe('original+');
    expect(dialogue.state).toBe('established');
    expect(dialogue.server({ flags: 'A', seq: B + 1, ack: A + 1 })).toBe('reply+');
    expect(dialogue.client({ flags: 'R', seq: A + 1 })).toBe('original+');
    expect(dialogue.state).toBe('closed');
    dialogue.open(77, 88);
  });

  test('synack_old: an answer to an older SYN reaches the station that resets it, and the right answer still opens', () => {
    const dialogue = new Dialogue();
    dialogue.client({ flags: 'S', seq: A });
    expect(dialogue.server({ flags: 'SA', seq: 9, ack: A - 5000 })).toBe('reply');
    expect(dialogue.client({ flags: 'R', seq: A - 5000 })).toBe('original');
    expect(dialogue.state).toBe('syn_sent');
    expect(dialogue.server({ flags: 'SA', seq: B, ack: A + 1 })).toBe('reply+');
    expect(dialogue.client({ flags: 'A', seq: A + 1, ack: B + 1 })).toBe('original+');
    expect(dialogue.state).toBe('established');
  });

  test('synack_reuse: both ends have forgotten the connection and begin anew by the same ports', () => {
    const dialogue = new Dialogue().open();
    expect(dialogue.client({ flags: 'S', seq: 77 })).toBe('original+');
    expect(dialogue.server({ flags: 'SA', seq: 88, ack: 78 })).toBe('reply+');
    expect(dialogue.state).toBe('syn_received');
    expect(dialogue.client({ flags: 'A', seq: 78, ack: 89 })).toBe('original+');
    expect(dialogue.state).toBe('established');
    expect(dialogue.server({ flags: 'PA', seq: 89, ack: 78, length: 20 })).toBe('reply+');
    expect(dialogue.client({ flags: 'PA', seq: A + 1, ack: B + 1, length: 5 })).toBe('invalid');
  });

  test('ack_loss_stall: octets that are sent again because their ACK was lost pass', () => {
    const dialogue = new Dialogue().open();
    for (let part = 0; part < 4; part++) {
      expect(dialogue.client({ flags: 'PA', seq: A + 1 + part * 900, ack: B + 1, length: 900 })).toBe('original+');
      expect(dialogue.server({ flags: 'A', seq: B + 1, ack: A + 1 + (part + 1) * 900 })).toBe('reply+');
    }
    expect(dialogue.client({ flags: 'PA', seq: A + 1, ack: B + 1, length: 900 })).toBe('original+');
    expect(dialogue.server({ flags: 'A', seq: B + 1, ack: A + 3601 })).toBe('reply+');
    expect(dialogue.client({ flags: 'PA', seq: A + 3601, ack: B + 1, length: 900 })).toBe('original+');
  });
});

describe('who does not see a connection', () => {
  /** By another port than it should come by: forged, or with an address forged. */
  const sent = (dialogue: Dialogue, port: string, isServer: boolean, recipe: Segment) =>
    dialogue.tracked.what(port, isServer ? answer(recipe) : segment(recipe));

  function expectLiving(dialogue: Dialogue): void {
    expect(dialogue.client({ flags: 'PA', seq: A + 1, ack: B + 1, length: 10 })).toBe('original+');
    expect(dialogue.server({ flags: 'PA', seq: B + 1, ack: A + 11, length: 10 })).toBe('reply+');
    expect(dialogue.state).toBe('established');
  }

  test('RFC 5961: does not begin it anew by a SYN and its own answer to that, forged for both ends', () => {
    // By a third port; by that of either end, which alone can be forged there.
    for (const [synBy, answerBy] of ['cc', 'aa', 'bb', 'ac', 'cb']) {
      const dialogue = new Dialogue().open();
      expect(sent(dialogue, synBy!, false, { flags: 'S', seq: 77 })).toBe('original+');
      expect(sent(dialogue, answerBy!, true, { flags: 'SA', seq: 88, ack: 78 })).toBe('reply+');
      expectLiving(dialogue);
    }
  });

  test('RFC 5961: sends no SYN of the end that serves into it', () => {
    for (const seq of [B + 1, B + 500, 77]) {
      const dialogue = new Dialogue().open();
      expect(dialogue.server({ flags: 'S', seq })).toBe('invalid');
      expectLiving(dialogue);
    }
  });

  test('does not put another number in the place of a SYN that waits for its answer', () => {
    const dialogue = new Dialogue();
    dialogue.client({ flags: 'S', seq: A });
    expect(sent(dialogue, 'c', false, { flags: 'S', seq: A + 5_000_000 })).toBe('original');
    expect(dialogue.server({ flags: 'SA', seq: B, ack: A + 1 })).toBe('reply+');
    expect(dialogue.client({ flags: 'A', seq: A + 1, ack: B + 1 })).toBe('original+');
    expectLiving(dialogue);
  });

  test('threats 42: does not end it by 10,000 RSTs, FINs and SYNs of any number', () => {
    const dialogue = new Dialogue().open(A, B, { scale: 7, win: 60_000 });
    let seed = 12345;
    const random = () => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) | 0;
      return seed ^ (seed >>> 15);
    };
    for (let tried = 0; tried < 10_000; tried++) {
      const flags = ['R', 'RA', 'FA', 'S'][tried % 4];
      const seq = random();
      if (seq === B + 1 || seq === A + 1) continue;
      dialogue.server({ flags, seq, ack: flags === 'FA' ? random() | 0x4000_0000 : random() });
      dialogue.client({ flags, seq: random(), ack: random() });
    }
    expect(['established']).toContain(dialogue.state);
    expect(dialogue.client({ flags: 'PA', seq: A + 1, ack: B + 1, length: 10 })).toBe('original+');
    expect(dialogue.server({ flags: 'PA', seq: B + 1, ack: A + 11, length: 10 })).toBe('reply+');
  });
});

test('a window is never kept smaller than it is, and by a thousandth larger at most', () => {
  for (let window = 1; window < 2 ** 30; window = Math.ceil(window * 1.0137)) {
    const kept = unpackWindow(packWindow(window));
    expect(kept).toBeGreaterThanOrEqual(window);
    expect(kept).toBeLessThanOrEqual(window * 1.001 + 1);
    expect(packWindow(window)).toBeLessThan(65_536);
  }
});
