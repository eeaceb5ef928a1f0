/**
 * A number of places that ports share, for what waits elsewhere on behalf of their machines. Main thread.
 *
 * What a port can do to the others: it has at most its own share, and when all places are taken, the oldest of the port with
 * most gives way to one that has fewer. So a few ports together keep nobody out.
 */

export interface TakenPlace {
  readonly port: string;
  /** Ends what the place was taken for; it is taken no more by then. */
  readonly giveWay: () => void;
}

export class FairPlaces {
  private readonly count: number;
  private readonly perPort: number;
  /** By port, the oldest first. */
  private readonly byPort = new Map<string, Set<TakenPlace>>();
  private total = 0;

  constructor(count: number, perPort: number) {
    this.count = count;
    this.perPort = perPort;
  }

  get taken(): number {
    return this.total;
  }

  /** Whether the port has all that one may have. */
  hasShare(port: string): boolean {
    return (this.byPort.get(port)?.size ?? 0) >= this.perPort;
  }

  /** Undefined: the port has its share, or as many as any other. */
  take(port: string, giveWay: () => void): TakenPlace | undefined {
    const mine = this.byPort.get(port)?.size ?? 0;
    if (this.hasShare(port) || (this.total >= this.count && !this.makeRoom(mine))) return undefined;
    const place = { port, giveWay };
    const own = this.byPort.get(port);
    if (own === undefined) this.byPort.set(port, new Set([place]));
    else own.add(place);
    this.total++;
    return place;
  }

  /** May be called again, and of a place that gave way. */
  leave(place: TakenPlace): void {
    const own = this.byPort.get(place.port);
    if (own?.delete(place) !== true) return;
    this.total--;
    if (own.size === 0) this.byPort.delete(place.port);
  }

  private makeRoom(mine: number): boolean {
    let most: ReadonlySet<TakenPlace> = new Set();
    for (const others of this.byPort.values()) if (others.size > most.size) most = others;
    const [oldest] = most;
    if (oldest === undefined || most.size <= mine + 1) return false;
    this.leave(oldest);
    oldest.giveWay();
    return true;
  }
}
