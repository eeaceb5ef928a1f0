/**
 * A machine's end of a TCP connection for simulations, and a wire that loses, doubles and reorders: written for clarity from
 * RFC 9293, shares no code with src/ but the shape of a segment. Checks what every segment of the other end has to hold.
 */
import { expect } from 'vitest';
import type { Segment } from '../../src/control/guest-segment.js';

export const [FIN, SYN, RST, PSH, ACK] = [1, 2, 4, 8, 16];
const RETRANSMIT_MS = 400;
const NONE = new Uint8Array(0);

export interface WireFaults {
  /** Shares of segments. */
  readonly loss?: number;
  readonly duplicates?: number;
  /** Milliseconds on the way: at least 1, at most this. */
  readonly delayMs?: number;
}

/** Segments on their way, in the order they arrive. */
export class Wire {
  private readonly faults: WireFaults;
  private readonly random: () => number;
  private readonly underWay: { readonly at: number; readonly order: number; readonly arrive: () => void }[] = [];
  private count = 0;
  now = 1000;

  constructor(random: () => number, faults: WireFaults = {}) {
    this.random = random;
    this.faults = faults;
  }

  send(arrive: () => void): void {
    const { loss = 0, duplicates = 0, delayMs = 1 } = this.faults;
    if (this.random() < loss) return;
    for (let copies = this.random() < duplicates ? 2 : 1; copies > 0; copies--) {
      const at = this.now + 1 + Math.floor(this.random() * delayMs);
      this.underWay.push({ at, order: this.count++, arrive });
    }
  }

  /** Lets a millisecond pass. */
  step(): void {
    this.now++;
    const due = this.underWay.filter(({ at }) => at <= this.now);
    due.sort((left, right) => left.at - right.at || left.order - right.order);
    for (const one of due) this.underWay.splice(this.underWay.indexOf(one), 1);
    for (const { arrive } of due) arrive();
  }
}

export interface PeerOptions {
  readonly mss?: number;
  readonly window?: number;
  /** Octets read a millisecond; all at once if absent. */
  readonly reads?: number;
  /** What it sends, and then its end. */
  readonly data?: Uint8Array;
  /** It ends only when the other end has, as who waits for an answer does. */
  readonly endsLast?: boolean;
}

export class TcpPeer {
  readonly received: number[] = [];
  hasEnded = false;
  isReset = false;
  readonly segments: Segment[] = [];
  private readonly options: Required<PeerOptions>;
  private readonly toServer: (segment: Segment) => void;
  private readonly first = 0xfffffff0 | 0;
  private state: 'closed' | 'opening' | 'open' = 'closed';
  private unacknowledged = 0;
  private next = 0;
  private expected = 0;
  private serverWindow = 0;
  private unread = 0;
  private sentMs = 0;
  private readonly ahead = new Map<number, Segment>();

  constructor(toServer: (segment: Segment) => void, options: PeerOptions = {}) {
    this.toServer = toServer;
    this.options = {
      mss: 1460,
      window: 64_000,
      reads: Number.POSITIVE_INFINITY,
      data: NONE,
      endsLast: false,
      ...options,
    };
  }

  get isDone(): boolean {
    return this.hasEnded && this.unacknowledged === this.options.data.length + 1;
  }

  connect(now: number): void {
    this.state = 'opening';
    this.sentMs = now;
    this.toServer({ ...this.segment(SYN, NONE), sequence: this.first, mss: this.options.mss });
  }

  /** Offsets into `data` are sequences from the first octet behind the SYN. */
  hear(segment: Segment, now: number): void {
    this.segments.push(segment);
    const { flags, payload } = segment;
    expect(payload.length).toBeLessThanOrEqual(this.options.mss);
    expect(segment.window).toBeLessThanOrEqual(1460);
    if ((flags & RST) !== 0) {
      this.isReset = true;
      return;
    }
    if ((flags & SYN) !== 0) {
      expect(segment.acknowledgement).toBe((this.first + 1) | 0);
      if (this.state === 'opening') {
        this.state = 'open';
        this.expected = (segment.sequence + 1) | 0;
        this.serverWindow = segment.window;
      }
      this.acknowledge();
      this.pump(now);
      return;
    }
    if (this.state !== 'open') return;
    const acknowledged = (segment.acknowledgement - this.first - 1) | 0;
    expect(acknowledged).toBeLessThanOrEqual(this.options.data.length + 1);
    if (acknowledged >= this.unacknowledged) {
      this.unacknowledged = acknowledged;
      this.next = Math.max(this.next, acknowledged);
      this.serverWindow = segment.window;
    }
    if (payload.length > 0 || (flags & FIN) !== 0) this.take(segment);
    this.pump(now);
  }

  tick(now: number): void {
    const { reads, window } = this.options;
    const wasClosed = this.unread >= window;
    this.unread = Math.max(0, this.unread - reads);
    if (wasClosed && this.unread < window) this.acknowledge();
    if (now - this.sentMs < RETRANSMIT_MS) return;
    this.sentMs = now;
    if (this.state === 'opening') this.connect(now);
    else if (this.state === 'open' && this.unacknowledged <= this.options.data.length) {
      this.next = this.unacknowledged;
      this.pump(now, 1);
    }
  }

  private take(segment: Segment): void {
    const distance = (segment.sequence - this.expected) | 0;
    if (distance > 0) this.ahead.set(segment.sequence, segment);
    else this.takeNow(segment, -distance);
    for (let found = this.ahead.get(this.expected); found !== undefined; found = this.ahead.get(this.expected)) {
      this.ahead.delete(this.expected);
      this.takeNow(found, 0);
    }
    this.acknowledge();
  }

  private takeNow({ payload, flags }: Segment, known: number): void {
    if (this.hasEnded) return;
    const fresh = payload.slice(known);
    // One octet more than the window is a probe, and is not taken.
    if (this.unread + fresh.length > this.options.window) {
      expect(fresh.length).toBe(1);
      return;
    }
    this.received.push(...fresh);
    this.unread += Number.isFinite(this.options.reads) ? fresh.length : 0;
    this.expected = (this.expected + fresh.length) | 0;
    if ((flags & FIN) === 0 || known > payload.length) return;
    this.expected = (this.expected + 1) | 0;
    this.hasEnded = true;
  }

  private pump(now: number, least = 0): void {
    const { data, mss, endsLast } = this.options;
    const mayEnd = !endsLast || this.hasEnded;
    const limit = Math.max(this.serverWindow, least);
    while (this.next <= data.length && this.next - this.unacknowledged < limit) {
      const room = limit - (this.next - this.unacknowledged);
      const payload = data.slice(this.next, this.next + Math.min(mss, room));
      const isEnd = mayEnd && this.next + payload.length === data.length;
      if (payload.length === 0 && !isEnd) return;
      this.toServer(this.segment(ACK | (isEnd ? FIN : 0), payload));
      this.next += payload.length + (isEnd ? 1 : 0);
      this.sentMs = now;
    }
  }

  private acknowledge(): void {
    this.toServer(this.segment(ACK, NONE));
  }

  private segment(flags: number, payload: Uint8Array): Segment {
    return {
      sequence: (this.first + 1 + this.next) | 0,
      acknowledgement: this.expected,
      flags,
      window: Math.max(0, this.options.window - this.unread),
      payload,
    };
  }
}
