/** The small TCP: whole conversations on a wire that loses, doubles and reorders, by a virtual clock; and single segments that lie. */
import { describe, expect, test } from 'vitest';
import type { Segment } from '../../src/control/guest-segment.js';
import { type Ending, IDLE_MS, LIFE_MS, RECEIVE_WINDOW, TcpConnection } from '../../src/control/tcp-connection.js';
import { numbersFrom } from '../sim/random.js';
import { ACK, FIN, type PeerOptions, PSH, RST, SYN, TcpPeer, Wire, type WireFaults } from './tcp-peer.js';

/** Numbers from 0 to below 1. */
function randomOf(seed: number): () => number {
  const next = numbersFrom(seed);
  return () => next() / 2 ** 32;
}

const pattern = (length: number, start = 0) => Uint8Array.from({ length }, (_, index) => (start + index * 7) & 0xff);

interface Talk {
  readonly faults?: WireFaults;
  readonly peer?: PeerOptions;
  /** What the service answers once the machine has ended. */
  readonly answer?: Uint8Array;
  /** The service reads so many octets a millisecond. */
  readonly reads?: number;
  readonly limitMs?: number;
}

/** A conversation from SYN to the end. */
function converse(seed: number, { faults, peer: options, answer = new Uint8Array(0), reads, limitMs = 120_000 }: Talk) {
  const wire = new Wire(randomOf(seed), faults);
  const heard: number[] = [];
  const endings: Ending[] = [];
  let unread = 0;
  let connection: TcpConnection | undefined;
  const peer: TcpPeer = new TcpPeer((segment) => wire.send(() => arrive(segment)), options);
  const arrive = (segment: Segment) => {
    if (connection !== undefined) connection.hear(segment, wire.now);
    else if ((segment.flags & SYN) !== 0) connection = open(segment);
  };
  const open = (segment: Segment) =>
    new TcpConnection(
      { segment, mssMax: 1360, sequence: 0x7ffffff0, nowMs: wire.now },
      {
        send: (out) => wire.send(() => peer.hear(out, wire.now)),
        opened: () => {},
        data: (octets) => {
          heard.push(...octets);
          unread += octets.length;
          expect(unread).toBeLessThanOrEqual(RECEIVE_WINDOW);
        },
        ended: () => {
          for (let at = 0; at < answer.length; at += 5000) connection?.write(answer.slice(at, at + 5000), wire.now);
          connection?.finish(wire.now);
        },
        acknowledged: () => {},
        idle: () => {},
        closed: (ending) => endings.push(ending),
      },
    );
  peer.connect(wire.now);
  const end = wire.now + limitMs;
  while (wire.now < end && !(peer.isDone && connection?.isClosed)) {
    wire.step();
    peer.tick(wire.now);
    if (wire.now % 100 === 0) connection?.tick(wire.now);
    const read = Math.min(unread, reads ?? unread);
    unread -= read;
    if (read > 0) connection?.consume(read, wire.now);
  }
  return { heard: Uint8Array.from(heard), peer, endings, elapsedMs: wire.now - 1000, connection };
}

describe('a conversation', () => {
  const whole = (seed: number, talk: Talk) => {
    const { heard, peer, endings } = converse(seed, talk);
    expect(endings).toEqual(['done']);
    expect(heard).toEqual(talk.peer?.data ?? new Uint8Array(0));
    expect(Uint8Array.from(peer.received)).toEqual(talk.answer ?? new Uint8Array(0));
    return peer;
  };

  test('on a good wire has every octet in both directions, and ends', () => {
    whole(1, { peer: { data: pattern(20_000) }, answer: pattern(100_000, 9) });
    whole(1, {});
  });

  test('needs no segment more than once where none is lost', () => {
    const { segments } = whole(2, { peer: { data: pattern(300) }, answer: pattern(50_000) });
    const octets = segments.reduce((sum, { payload }) => sum + payload.length, 0);
    expect(octets).toBe(50_000);
  });

  const faults: Record<string, WireFaults> = {
    loss: { loss: 0.15 },
    reordering: { delayMs: 40 },
    duplicates: { duplicates: 0.3, delayMs: 5 },
    'all of that': { loss: 0.1, duplicates: 0.1, delayMs: 30 },
  };
  test.each(Object.entries(faults))('survives %s', (_, wire) => {
    for (let seed = 1; seed <= 8; seed++)
      whole(seed, { faults: wire, peer: { data: pattern(6000) }, answer: pattern(30_000, seed) });
  });

  test('waits for a machine that reads slowly, also with its window closed', () => {
    for (let seed = 1; seed <= 5; seed++)
      whole(seed, {
        faults: { loss: 0.05 },
        peer: { window: 2000, reads: 10, data: pattern(10) },
        answer: pattern(20_000),
      });
  });

  test('lets a machine wait while the service reads slowly', () => {
    for (let seed = 1; seed <= 5; seed++)
      whole(seed, { faults: { loss: 0.05 }, peer: { data: pattern(8000) }, reads: 3 });
  });

  test('keeps to a small segment size, and to a sane one where the machine asks for none', () => {
    expect(
      Math.max(
        ...whole(1, { peer: { mss: 536 }, answer: pattern(9000) }).segments.map(({ payload }) => payload.length),
      ),
    ).toBe(536);
    const { heard } = converse(1, { peer: { data: pattern(100) }, answer: pattern(100) });
    expect(heard.length).toBe(100);
  });
});

/** One connection, segment by segment. */
class Bench {
  now = 1000;
  sent: Segment[] = [];
  heard: number[] = [];
  told: string[] = [];
  readonly connection: TcpConnection;

  constructor(syn: Partial<Segment> = {}) {
    const segment = { sequence: 99, acknowledgement: 0, flags: SYN, window: 8000, payload: new Uint8Array(0), ...syn };
    this.connection = new TcpConnection(
      { segment, mssMax: 1460, sequence: 499, nowMs: this.now },
      {
        send: (out) => this.sent.push(out),
        opened: () => this.told.push('opened'),
        data: (octets) => this.heard.push(...octets),
        ended: () => this.told.push('ended'),
        acknowledged: () => {},
        idle: () => this.told.push('idle'),
        closed: (ending) => this.told.push(ending),
      },
    );
  }

  /** Hears a segment; what was sent for it. */
  hear(segment: Partial<Segment>): Segment[] {
    this.sent = [];
    const plain = { sequence: 100, acknowledgement: 500, flags: ACK, window: 8000, payload: new Uint8Array(0) };
    this.connection.hear({ ...plain, ...segment }, this.now);
    return this.sent;
  }

  pass(ms: number): Segment[] {
    this.sent = [];
    for (let left = ms; left > 0; left -= 100) {
      this.now += 100;
      this.connection.tick(this.now);
    }
    return this.sent;
  }
}

function opened(syn: Partial<Segment> = {}): Bench {
  const bench = new Bench(syn);
  bench.hear({});
  bench.sent = [];
  return bench;
}

describe('opening', () => {
  test('answers a SYN with its own, a segment size and a window, again and again, then forgets it silently', () => {
    const bench = new Bench();
    expect(bench.sent).toMatchObject([
      { flags: SYN | ACK, sequence: 499, acknowledgement: 100, window: 1460, mss: 1460 },
    ]);
    expect(bench.hear({ sequence: 99, flags: SYN, acknowledgement: 0 })).toMatchObject([{ flags: SYN | ACK }]);
    expect(bench.pass(20_000).map(({ flags }) => flags)).toEqual(new Array(4).fill(SYN | ACK));
    expect(bench.told).toEqual(['never']);
  });

  test('wants its own number back, and resets what has another', () => {
    for (const acknowledgement of [499, 501, 0, -1]) {
      const bench = new Bench();
      expect(bench.hear({ acknowledgement })).toMatchObject([{ flags: RST, sequence: acknowledgement }]);
      expect(bench.told).toEqual([]);
    }
  });

  test('by a segment with octets is as good as by one without', () => {
    const bench = new Bench();
    expect(bench.hear({ payload: pattern(3), flags: ACK | PSH })).toMatchObject([{ flags: ACK, acknowledgement: 103 }]);
    expect(bench.heard).toEqual([0, 7, 14]);
    expect(bench.told).toEqual(['opened']);
  });

  test('that is reset was none', () => {
    const bench = new Bench();
    bench.hear({ flags: RST });
    expect(bench.told).toEqual(['never']);
  });
});

describe('a segment', () => {
  test('that resets ends the connection at the right number only (RFC 5961)', () => {
    const bench = opened();
    expect(bench.hear({ flags: RST, sequence: 101 })).toMatchObject([{ flags: ACK, acknowledgement: 100 }]);
    expect(bench.hear({ flags: RST, sequence: 100 + 70_000 })).toEqual([]);
    expect(bench.hear({ flags: RST, sequence: 99 })).toEqual([]);
    expect(bench.told).toEqual(['opened']);
    bench.hear({ flags: RST });
    expect(bench.told).toEqual(['opened', 'reset']);
  });

  test('with another SYN is answered, not obeyed', () => {
    expect(opened().hear({ flags: SYN, sequence: 7777 })).toMatchObject([{ flags: ACK, acknowledgement: 100 }]);
  });

  test('that acknowledges what was never sent brings nothing in', () => {
    const bench = opened();
    expect(bench.hear({ acknowledgement: 501, payload: pattern(3) })).toMatchObject([{ flags: ACK }]);
    expect(bench.heard).toEqual([]);
  });

  test('beyond the window is cut off there, and one out of order is asked for again', () => {
    const bench = opened();
    expect(bench.hear({ payload: pattern(2000) })).toMatchObject([
      { acknowledgement: 100 + RECEIVE_WINDOW, window: 0 },
    ]);
    expect(bench.heard).toHaveLength(RECEIVE_WINDOW);
    expect(bench.hear({ sequence: 100 + RECEIVE_WINDOW, payload: pattern(1) })).toMatchObject([{ window: 0 }]);
    expect(bench.heard).toHaveLength(RECEIVE_WINDOW);
    bench.sent = [];
    bench.connection.consume(RECEIVE_WINDOW, bench.now);
    expect(bench.sent).toMatchObject([{ flags: ACK, window: RECEIVE_WINDOW }]);
    const other = opened();
    expect(other.hear({ sequence: 110, payload: pattern(5) })).toMatchObject([{ acknowledgement: 100 }]);
    expect(other.hear({ sequence: 100 + 100_000, payload: pattern(5) })).toMatchObject([{ acknowledgement: 100 }]);
    expect(other.heard).toEqual([]);
  });

  test('that overlaps what is known brings in what is new, its end with it', () => {
    const bench = opened();
    bench.hear({ payload: pattern(10) });
    expect(bench.hear({ sequence: 105, payload: pattern(10, 35), flags: ACK | FIN })).toMatchObject([
      { acknowledgement: 116 },
    ]);
    expect(bench.heard).toEqual([...pattern(15)]);
    expect(bench.told).toEqual(['opened', 'ended']);
    expect(bench.hear({ sequence: 116, payload: pattern(4) })).toMatchObject([{ acknowledgement: 116 }]);
    expect(bench.heard).toHaveLength(15);
  });

  test('that asks whether we live is told so', () => {
    expect(opened().hear({ sequence: 99 })).toMatchObject([{ flags: ACK, acknowledgement: 100 }]);
  });

  test('of any fields is heard without a throw, and nothing is said of octets that were not written', () => {
    const random = randomOf(5);
    const word = () => (random() < 0.5 ? 90 + Math.floor(random() * 1500) : (random() * 2 ** 32) | 0);
    for (let round = 0; round < 1000; round++) {
      const bench = random() < 0.5 ? new Bench() : opened();
      bench.connection.write(pattern(50), bench.now);
      for (let count = 0; count < 10; count++) {
        const payload = pattern(Math.floor(random() * 40) * (random() < 0.3 ? 100 : 1));
        const flags = Math.floor(random() * 256);
        const window = Math.floor(random() * 65_536);
        const out = bench.hear({
          sequence: word(),
          acknowledgement: 490 + Math.floor(random() * 100),
          flags,
          window,
          payload,
        });
        for (const { payload: said } of out) expect(said.length).toBeLessThanOrEqual(50);
        expect(out.length).toBeLessThan(5);
      }
      expect(bench.heard.length).toBeLessThanOrEqual(RECEIVE_WINDOW);
    }
  });
});

describe('what was written', () => {
  test('is sent again, ever later, until the connection is given up', () => {
    const bench = opened();
    bench.connection.write(pattern(100), bench.now);
    expect(bench.sent).toMatchObject([{ sequence: 500, flags: ACK | PSH }]);
    const again = bench.pass(2 * IDLE_MS + 100);
    expect(again.filter(({ sequence, payload }) => sequence === 500 && payload.length === 100).length).toBeGreaterThan(
      8,
    );
    expect(again.length).toBeLessThan(25);
    expect(again.at(-1)?.flags).toBe(RST | ACK);
    expect(bench.told).toEqual(['opened', 'idle', 'timeout']);
  });

  test('is sent again at once where three acknowledgements say that it is missing', () => {
    const bench = opened({ mss: 536 });
    bench.connection.write(pattern(2000), bench.now);
    bench.sent = [];
    expect([...bench.hear({}), ...bench.hear({})]).toEqual([]);
    expect(bench.hear({})[0]).toMatchObject({ sequence: 500 });
  });

  test('waits in front of a closed window but for an octet now and then', () => {
    const bench = opened();
    bench.hear({ window: 0 });
    bench.connection.write(pattern(100), bench.now);
    expect(bench.sent).toEqual([]);
    const probes = bench.pass(5000);
    expect(probes.map(({ payload }) => payload.length)).toEqual(probes.map(() => 1));
    expect(probes.length).toBeGreaterThan(2);
    expect(bench.hear({ window: 8000, acknowledgement: 501 })[0]?.payload).toHaveLength(99);
  });

  test('behind the end is not sent', () => {
    const bench = opened();
    bench.connection.finish(bench.now);
    bench.connection.write(pattern(5), bench.now);
    expect(bench.sent).toMatchObject([{ flags: ACK | FIN, sequence: 500 }]);
    bench.hear({ acknowledgement: 501 });
    expect(bench.connection.isFinished).toBe(true);
    expect(bench.hear({ acknowledgement: 501, flags: ACK | FIN })).toMatchObject([{ acknowledgement: 101 }]);
    expect(bench.told).toEqual(['opened', 'ended', 'done']);
  });
});

test('a machine that keeps the connection busy for ever is cut off after some minutes', () => {
  const bench = opened();
  let sequence = 100;
  while (bench.told.length === 1 && bench.now < 2 * LIFE_MS) {
    bench.hear({ sequence: sequence++, payload: pattern(1) });
    bench.connection.consume(1, bench.now);
    bench.pass(1000);
  }
  expect(bench.told).toEqual(['opened', 'timeout']);
  expect(bench.now).toBeLessThan(LIFE_MS + 5000);
});
