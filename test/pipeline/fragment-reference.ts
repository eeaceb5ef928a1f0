/** What becomes of fragments, said as plainly as possible: lists and objects, everything kept, no bounds but the timeout. */

export interface ReferenceFragment {
  readonly port: string;
  /** Names the datagram. */
  readonly key: string;
  readonly start: number;
  readonly end: number;
  readonly isLast: boolean;
  /** It can be part of a datagram at all. */
  readonly sound: boolean;
  readonly ports: string;
  readonly octets: string;
}

interface Datagram {
  readonly key: string;
  readonly began: number;
  seen: ReferenceFragment[];
  waiting: ReferenceFragment[];
  broken: boolean;
}

export class FragmentReference {
  readonly drops: Record<string, number> = {};
  private datagrams: Datagram[] = [];
  private queue: { fragment: ReferenceFragment; datagram: Datagram }[] = [];
  private readonly timeout: number;

  constructor(timeout: number) {
    this.timeout = timeout;
  }

  get waiting(): number {
    return this.queue.length;
  }

  /** One batch at this second; returns what is delivered, in order. */
  run(now: number, batch: readonly ReferenceFragment[]): ReferenceFragment[] {
    const delivered = batch.filter((fragment) => this.take(now, fragment));
    const rest: typeof this.queue = [];
    for (const each of this.queue) {
      const { fragment, datagram } = each;
      if (now - datagram.began > this.timeout) this.drop(fragment, 'fragment_timeout');
      else if (datagram.broken) this.drop(fragment, 'fragment_overlap');
      else if (isKnown(datagram)) delivered.push(fragment);
      else rest.push(each);
      if (!rest.includes(each)) datagram.waiting = datagram.waiting.filter((other) => other !== fragment);
      this.forgetWhole(datagram);
    }
    this.queue = rest;
    return delivered;
  }

  private take(now: number, fragment: ReferenceFragment): boolean {
    if (!fragment.sound) {
      this.drop(fragment, 'bad_ip_header');
      return false;
    }
    this.datagrams = this.datagrams.filter(({ began }) => now - began <= this.timeout);
    let datagram = this.datagrams.find(({ key }) => key === fragment.key);
    if (datagram === undefined) {
      datagram = { key: fragment.key, began: now, seen: [], waiting: [], broken: false };
      this.datagrams.push(datagram);
    }
    if (datagram.broken || datagram.seen.some((other) => clash(other, fragment))) {
      datagram.broken = true;
      this.drop(fragment, 'fragment_overlap');
      return false;
    }
    datagram.seen.push(fragment);
    if (!isKnown(datagram)) {
      datagram.waiting.push(fragment);
      this.queue.push({ fragment, datagram });
      return false;
    }
    this.forgetWhole(datagram);
    return true;
  }

  private forgetWhole(datagram: Datagram): void {
    const last = datagram.seen.find(({ isLast }) => isLast);
    const distinct = new Map(datagram.seen.map(({ start, end }) => [start, end - start]));
    const octets = [...distinct.values()].reduce((sum, size) => sum + size, 0);
    if (!isKnown(datagram) || datagram.broken || last?.end !== octets || datagram.waiting.length > 0) return;
    this.datagrams = this.datagrams.filter((other) => other !== datagram);
  }

  private drop({ port }: ReferenceFragment, reason: string): void {
    this.drops[`${port} ${reason}`] = (this.drops[`${port} ${reason}`] ?? 0) + 1;
  }

  /** Time goes by until all is forgotten. */
  end(now: number): void {
    this.run(now, []);
  }
}

function isKnown({ seen }: Datagram): boolean {
  return seen.some(({ start }) => start === 0);
}

/** Two that can't both be of one datagram. */
function clash(one: ReferenceFragment, other: ReferenceFragment): boolean {
  const isSamePlace = one.start === other.start && one.end === other.end;
  if (isSamePlace) return one.isLast !== other.isLast || (one.start === 0 && one.ports !== other.ports);
  if (one.start < other.end && other.start < one.end) return true;
  if (one.isLast && other.end > one.end) return true;
  if (other.isLast && one.end > other.end) return true;
  return one.isLast && other.isLast;
}
