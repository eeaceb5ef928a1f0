/**
 * One TCP connection of a machine to a service of the switch: the passive end of RFC 9293, as small as it can be and still be
 * right with loss, reordering, a peer that reads slowly, and one that lies. Time is what callers say. Main thread.
 *
 *   SYN_RECEIVED  a SYN has come, the answer goes out again and again; nothing else is kept, nobody was told
 *   ESTABLISHED   octets go both ways; each direction ends with its FIN, which is repeated until it is acknowledged
 *   CLOSED        over: both directions ended, or it was reset or given up; no TIME-WAIT, a late segment is answered by a reset
 *
 * Why an own TCP: the alternative is the kernel's, by a TAP in a namespace of the daemon's, for each network one, since
 * addresses of two networks may be the same; that is the network node that weft is to be without, and what a machine sends
 * would reach the host's kernel. What is left out here, because both ends are on one host: window scaling, SACK, timestamps,
 * delayed acknowledgements, a queue for what comes out of order (it is sent again), an estimate of the round trip.
 *
 * What a machine can do: hold what one connection may hold. RECEIVE_WINDOW octets come in at most before they are read, so that
 * no frame of a sender that keeps to the window is too long for the ring to the main thread, super-frames too (what does not
 * keep to it is cut off); what goes out is what the service wrote, which waits while the machine does not read; and a connection
 * without progress ends after IDLE_MS, any after LIFE_MS.
 */
import { TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN } from '../wire/tcp.js';
import type { Segment } from './guest-segment.js';
import { SendQueue } from './send-queue.js';

/** One full segment: enough for requests, and frames with it fit PUNT_SIZE_MAX whatever headers they have. */
export const RECEIVE_WINDOW = 1460;
/** RFC 9293 3.7.1, for who says nothing; and what lies below it is a lie that would only make work (RFC 7323 has no smaller use). */
const MSS_DEFAULT = 536;
const MSS_MIN = 216;
/** Segments on their way: 64 KiB of the ring to a worker would hold as many, so what others send finds room. */
const CONGESTION_INITIAL = 10;
const CONGESTION_MAX = 24;
const RETRANSMIT_MS = 300;
const RETRANSMIT_MAX_MS = 5000;
/** Times that the answer to a SYN is repeated: 0.3, 0.6, 1.2 and 2.4 s behind each other. */
const OPENING_TRIES = 4;
/** Without progress the service is told to end the connection, and at twice that it is reset. */
export const IDLE_MS = 30_000;
export const LIFE_MS = 300_000;
const DUPLICATES = 3;

const NO_OCTETS = new Uint8Array(0);

/** Why a connection is over; 'never': it was not yet one. */
export type Ending = 'done' | 'reset' | 'timeout' | 'never';

export interface TcpEvents {
  send(segment: Segment): void;
  /** The three-way handshake is complete. */
  opened(): void;
  data(octets: Uint8Array): void;
  /** The machine sends no more. */
  ended(): void;
  /** Some of what was written, or the end of it, has arrived. */
  acknowledged(): void;
  /** There was no progress for long: time to end. */
  idle(): void;
  closed(ending: Ending): void;
}

export interface Opening {
  /** The SYN. */
  readonly segment: Segment;
  /** What a segment to the machine may hold, by its network. */
  readonly mssMax: number;
  /** From the OS (RFC 6528). */
  readonly sequence: number;
  readonly nowMs: number;
}

export class TcpConnection {
  private readonly events: TcpEvents;
  private readonly queue = new SendQueue();
  private readonly mss: number;
  private readonly mssOffered: number;
  private readonly openedMs: number;
  private state: 'opening' | 'open' | 'closed' = 'opening';

  /** First octet that is not acknowledged; next to send; behind all that was ever sent (RFC 9293 3.3.1, SND.UNA and SND.NXT). */
  private unacknowledged: number;
  private next: number;
  private highest: number;
  private sendWindow: number;
  /** Sequence and acknowledgement of the segment that told that window last (SND.WL1, SND.WL2). */
  private windowSequence: number;
  private windowAcknowledgement: number;
  private congestionWindow: number;
  private duplicates = 0;
  private isFinishing = false;
  private isFinAcknowledged = false;

  /** Next octet expected (RCV.NXT), and octets that came and were not consumed. */
  private expected: number;
  private held = 0;
  private hasEnded = false;

  /** When what is unacknowledged is sent again; 0: nothing is. */
  private retransmitMs = 0;
  private timeoutMs = RETRANSMIT_MS;
  private tries = 0;
  private progressMs: number;
  private nowMs: number;
  private isIdleTold = false;

  /** Answers the SYN. */
  constructor({ segment, mssMax, sequence, nowMs }: Opening, events: TcpEvents) {
    this.events = events;
    this.mss = Math.max(Math.min(segment.mss ?? MSS_DEFAULT, mssMax), Math.min(MSS_MIN, mssMax));
    this.mssOffered = Math.min(mssMax, RECEIVE_WINDOW);
    this.congestionWindow = CONGESTION_INITIAL * this.mss;
    this.expected = (segment.sequence + 1) | 0;
    this.unacknowledged = sequence | 0;
    this.next = (sequence + 1) | 0;
    this.highest = this.next;
    this.sendWindow = segment.window;
    this.windowSequence = segment.sequence;
    this.windowAcknowledgement = this.unacknowledged;
    this.openedMs = nowMs;
    this.progressMs = nowMs;
    this.nowMs = nowMs;
    this.retransmitMs = nowMs + this.timeoutMs;
    this.answerOpening();
  }

  get isOpening(): boolean {
    return this.state === 'opening';
  }

  get isClosed(): boolean {
    return this.state === 'closed';
  }

  /** Octets that were written and have not arrived. */
  get queued(): number {
    return this.queue.size;
  }

  /** All that was written has arrived, and that it was all. */
  get isFinished(): boolean {
    return this.isFinAcknowledged;
  }

  /** A segment of the machine's (RFC 9293 3.10.7). */
  hear(segment: Segment, nowMs: number): void {
    if (this.state === 'closed') return;
    this.nowMs = nowMs;
    const distance = (segment.sequence - this.expected) | 0;
    const { flags } = segment;
    if ((flags & TCP_RST) !== 0) this.hearReset(distance);
    else if ((flags & TCP_SYN) !== 0) this.hearOpening(distance);
    else if ((flags & TCP_ACK) !== 0 && this.isAcknowledgementRight(segment)) this.take(segment, distance);
  }

  /** Sends these octets, in time. They must not change any more. */
  write(octets: Uint8Array, nowMs: number): void {
    if (this.state !== 'open' || this.isFinishing) return;
    this.nowMs = nowMs;
    if (this.queue.size === 0) this.progressMs = nowMs;
    this.queue.push(octets);
    this.pump();
  }

  /** Ends this direction behind what was written. */
  finish(nowMs: number): void {
    if (this.state !== 'open' || this.isFinishing) return;
    this.nowMs = nowMs;
    this.progressMs = nowMs;
    this.isFinishing = true;
    this.pump();
  }

  /** So many octets that came were read: there is room for more. */
  consume(length: number, nowMs: number): void {
    const wasClosed = RECEIVE_WINDOW - this.held < RECEIVE_WINDOW / 2;
    this.held -= length;
    this.nowMs = nowMs;
    if (this.state === 'open' && wasClosed && RECEIVE_WINDOW - this.held >= RECEIVE_WINDOW / 2) this.acknowledge();
  }

  /** Now and then. */
  tick(nowMs: number): void {
    if (this.state === 'closed') return;
    this.nowMs = nowMs;
    const quiet = nowMs - this.progressMs;
    if (quiet >= 2 * IDLE_MS || nowMs - this.openedMs >= LIFE_MS) {
      this.abort('timeout');
      return;
    }
    if (quiet >= IDLE_MS && this.state === 'open' && !this.isIdleTold) {
      this.isIdleTold = true;
      this.events.idle();
    }
    if (this.retransmitMs !== 0 && nowMs >= this.retransmitMs) this.sendAgain();
  }

  /** Ends it now, and tells the machine. */
  abort(ending: Ending = 'reset'): void {
    if (this.state === 'closed') return;
    this.emit(this.next, TCP_RST | TCP_ACK, NO_OCTETS);
    this.close(this.state === 'opening' ? 'never' : ending);
  }

  /** RFC 5961 3.2: what merely lies in the window could be anybody's guess. */
  private hearReset(distance: number): void {
    if (distance === 0) this.close(this.state === 'opening' ? 'never' : 'reset');
    else if (this.state === 'open' && distance > 0 && distance < RECEIVE_WINDOW) this.acknowledge();
  }

  /** The same SYN once more; another one (RFC 5961 4.2) is told what we know, and a machine that has forgotten resets that. */
  private hearOpening(distance: number): void {
    if (this.state === 'opening' && distance === -1) this.answerOpening();
    else this.acknowledge();
  }

  /** Whether the segment acknowledges nothing that was never sent; else it is answered as RFC 9293 wants it. */
  private isAcknowledgementRight({ acknowledgement }: Segment): boolean {
    if (((this.highest - acknowledgement) | 0) >= 0 && (this.state === 'open' || acknowledgement === this.next))
      return true;
    if (this.state === 'opening') this.emitReset(acknowledgement);
    else this.acknowledge();
    return false;
  }

  private take(segment: Segment, distance: number): void {
    if (this.state === 'opening') this.open();
    if (distance > RECEIVE_WINDOW) {
      this.acknowledge();
      return;
    }
    this.takeAcknowledgement(segment, distance);
    if (this.isClosed) return;
    this.takePayload(segment, distance);
    this.pump();
    if (this.hasEnded && this.isFinAcknowledged) this.close('done');
  }

  private open(): void {
    this.state = 'open';
    this.unacknowledged = this.next;
    this.retransmitMs = 0;
    this.timeoutMs = RETRANSMIT_MS;
    this.progressMs = this.nowMs;
    this.events.opened();
  }

  private takeAcknowledgement(segment: Segment, distance: number): void {
    const { acknowledgement, window, payload } = segment;
    const acknowledged = (acknowledgement - this.unacknowledged) | 0;
    if (acknowledged > 0) this.advance(acknowledged);
    else if (acknowledged === 0 && payload.length === 0 && distance === 0 && window === this.sendWindow)
      this.repeatEarly();
    const isNewer =
      ((this.windowSequence - segment.sequence) | 0) < 0 ||
      (this.windowSequence === segment.sequence && ((this.windowAcknowledgement - acknowledgement) | 0) <= 0);
    if (acknowledged < 0 || distance > 0 || !isNewer) return;
    this.sendWindow = window;
    this.windowSequence = segment.sequence;
    this.windowAcknowledgement = acknowledgement;
  }

  private advance(acknowledged: number): void {
    const octets = Math.min(acknowledged, this.queue.size);
    if (acknowledged > octets) this.isFinAcknowledged = true;
    this.queue.drop(octets);
    this.unacknowledged = (this.unacknowledged + acknowledged) | 0;
    if (((this.next - this.unacknowledged) | 0) < 0) this.next = this.unacknowledged;
    this.congestionWindow = Math.min(this.congestionWindow + octets, CONGESTION_MAX * this.mss);
    this.duplicates = 0;
    this.timeoutMs = RETRANSMIT_MS;
    this.progressMs = this.nowMs;
    this.retransmitMs = 0;
    this.events.acknowledged();
  }

  /** The same acknowledgement again and again: something is missing (RFC 5681 3.2). */
  private repeatEarly(): void {
    if (this.highest === this.unacknowledged || ++this.duplicates !== DUPLICATES) return;
    this.congestionWindow = Math.max(this.congestionWindow >> 1, 2 * this.mss);
    this.next = this.unacknowledged;
  }

  private takePayload({ payload, flags, sequence }: Segment, distance: number): void {
    const isFin = (flags & TCP_FIN) !== 0;
    const size = payload.length + (isFin ? 1 : 0);
    if (size === 0) {
      // A probe whether we live (RFC 9293 3.8.4).
      if (distance < 0) this.acknowledge();
      return;
    }
    if (distance <= 0 && !this.hasEnded) {
      const fresh = payload.subarray(-distance, -distance + RECEIVE_WINDOW - this.held);
      this.expected = (this.expected + fresh.length) | 0;
      this.held += fresh.length;
      if (fresh.length > 0) {
        this.progressMs = this.nowMs;
        this.isIdleTold = false;
        this.events.data(fresh);
      }
      if (isFin && ((sequence + payload.length) | 0) === this.expected) this.takeEnd();
    }
    if (!this.isClosed) this.acknowledge();
  }

  private takeEnd(): void {
    this.expected = (this.expected + 1) | 0;
    this.hasEnded = true;
    this.progressMs = this.nowMs;
    this.events.ended();
  }

  /** Sends what the windows allow. */
  private pump(): void {
    if (this.state !== 'open') return;
    while (this.sendNext(Math.min(this.sendWindow, this.congestionWindow)));
    const isAllThere = this.queue.size === 0 && (!this.isFinishing || this.isFinAcknowledged);
    if (isAllThere) this.retransmitMs = 0;
    else if (this.retransmitMs === 0) this.retransmitMs = this.nowMs + this.timeoutMs;
  }

  /** One segment, if there is one and `window` octets in flight allow it. */
  private sendNext(window: number): boolean {
    const sent = (this.next - this.unacknowledged) | 0;
    const left = this.queue.size - sent;
    const size = Math.min(left, this.mss, window - sent);
    const isEnd = this.isFinishing && !this.isFinAcknowledged && left === Math.max(size, 0) && left >= 0;
    if (size <= 0 && !(isEnd && left === 0)) return false;
    // RFC 9293 3.8.6.2.1: no small segment because of a small window, while an acknowledgement will come.
    if (size < left && size < this.mss && sent > 0) return false;
    const payload = size > 0 ? this.queue.copy(sent, size) : NO_OCTETS;
    const flags = TCP_ACK | (size === left && size > 0 ? TCP_PSH : 0) | (isEnd ? TCP_FIN : 0);
    this.emit(this.next, flags, payload);
    this.next = (this.next + payload.length + (isEnd ? 1 : 0)) | 0;
    if (((this.next - this.highest) | 0) > 0) this.highest = this.next;
    return true;
  }

  /** From the first octet that is not acknowledged; into a closed window one octet, so that its opening is not missed. */
  private sendAgain(): void {
    this.timeoutMs = Math.min(2 * this.timeoutMs, RETRANSMIT_MAX_MS);
    this.retransmitMs = this.nowMs + this.timeoutMs;
    if (this.state === 'opening') {
      if (++this.tries > OPENING_TRIES) this.close('never');
      else this.answerOpening();
      return;
    }
    this.next = this.unacknowledged;
    this.duplicates = 0;
    this.congestionWindow = this.mss;
    this.sendNext(Math.max(1, Math.min(this.sendWindow, this.congestionWindow)));
  }

  private answerOpening(): void {
    const sequence = this.unacknowledged;
    const window = RECEIVE_WINDOW;
    this.events.send({
      ...{ sequence, acknowledgement: this.expected, flags: TCP_SYN | TCP_ACK, window, payload: NO_OCTETS },
      mss: this.mssOffered,
    });
  }

  private acknowledge(): void {
    this.emit(this.state === 'opening' ? this.next : this.highest, TCP_ACK, NO_OCTETS);
  }

  private emit(sequence: number, flags: number, payload: Uint8Array): void {
    const window = RECEIVE_WINDOW - this.held;
    this.events.send({ sequence, acknowledgement: this.expected, flags, window, payload });
  }

  private emitReset(sequence: number): void {
    this.events.send({ sequence, acknowledgement: 0, flags: TCP_RST, window: 0, payload: NO_OCTETS });
  }

  private close(ending: Ending): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.retransmitMs = 0;
    this.events.closed(ending);
  }
}
