/**
 * Who has which address, for DHCPv4 and DHCPv6 alike: leases by address and by client, with the quota of each port. Pure: time
 * is what callers say (milliseconds of a clock that never goes back). Main thread.
 *
 * A lease that ended stays known to its client until somebody needs the address or the room, so that who comes back has what
 * he had. What one port can do to others: it takes at most its quota of addresses, of which offers, ended leases and declined
 * addresses count too; beyond that its own oldest ended lease or offer gives way. A client is known by its port: nobody
 * behind another port can renew, release or claim what he has.
 */
import type { AddressRange } from './address-range.js';

export type LeaseState = 'offered' | 'bound' | 'released' | 'declined';

export interface Lease {
  readonly subnet: string;
  readonly address: bigint;
  readonly port: string;
  /** What the client calls itself: its identifier, else its hardware address; DHCPv6: DUID and IAID. */
  readonly client: string;
  /** For people. */
  readonly mac: string;
  readonly state: LeaseState;
  readonly expiresMs: number;
  /** From the port's `addresses`: not out of a pool, and not counted. */
  readonly fixed: boolean;
}

/** Whose lease; `mac` is for people. */
export interface LeaseHolder {
  readonly subnet: string;
  readonly port: string;
  readonly client: string;
  readonly mac: string;
}

/** Where addresses are taken from. */
export interface LeasePool {
  readonly range: AddressRange;
  /** Numbers in it that are somebody's by configuration. */
  readonly taken: ReadonlySet<bigint>;
  readonly perPort: number;
}

/** Addresses looked at for one client; the next one's search goes on where this one's ended. */
const PROBES_MAX = 4096;

export class LeaseTable {
  private readonly byAddress = new Map<string, Lease>();
  /** Addresses by subnet, port and client. */
  private readonly byClient = new Map<string, Set<string>>();
  private readonly byPort = new Map<string, Set<string>>();
  /** By subnet: where the last search ended. */
  private readonly cursors = new Map<string, bigint>();

  private changes = 0;

  /** Grows when an address is given to another port, or to none: not by offers and renewals, which cost a machine nothing. */
  get revision(): number {
    return this.changes;
  }

  get size(): number {
    return this.byAddress.size;
  }

  list(): IterableIterator<Lease> {
    return this.byAddress.values();
  }

  at(subnet: string, address: bigint): Lease | undefined {
    return this.byAddress.get(addressKey(subnet, address));
  }

  /** Every lease of the client in the subnet, whatever its state. */
  of({ subnet, port, client }: Pick<Lease, 'subnet' | 'port' | 'client'>): Lease[] {
    const keys = this.byClient.get(clientKey(subnet, port, client)) ?? [];
    return [...keys].flatMap((key) => this.byAddress.get(key) ?? []);
  }

  /** Adds it, in place of whatever was known of the address. */
  put(lease: Lease): void {
    const key = addressKey(lease.subnet, lease.address);
    if (ownerOf(this.byAddress.get(key)) !== ownerOf(lease)) this.changes++;
    this.forget(key);
    this.byAddress.set(key, lease);
    add(this.byClient, clientKey(lease.subnet, lease.port, lease.client), key);
    if (!lease.fixed) add(this.byPort, portKey(lease.subnet, lease.port), key);
  }

  remove(subnet: string, address: bigint): void {
    const key = addressKey(subnet, address);
    if (ownerOf(this.byAddress.get(key)) !== undefined) this.changes++;
    this.forget(key);
  }

  private forget(key: string): void {
    const lease = this.byAddress.get(key);
    if (lease === undefined) return;
    this.byAddress.delete(key);
    drop(this.byClient, clientKey(lease.subnet, lease.port, lease.client), key);
    drop(this.byPort, portKey(lease.subnet, lease.port), key);
  }

  /**
   * An address of the pool for the client: the one it has or had, else `wanted`, else another. Undefined: there is none for it
   * now. Nothing is changed by asking but where the next search begins. `planned`: so many the same message gets besides.
   */
  choose(
    holder: LeaseHolder,
    pool: LeasePool,
    wanted: bigint | undefined,
    nowMs: number,
    planned = 0,
  ): bigint | undefined {
    const own = this.of(holder).find(
      (lease) => !lease.fixed && lease.state !== 'declined' && isOf(pool, lease.address),
    );
    if (own !== undefined) return own.address;
    if (!this.hasRoom(holder, pool, nowMs, planned)) return undefined;
    if (wanted !== undefined && this.isFree(holder.subnet, pool, wanted, nowMs)) return wanted;
    return this.search(holder.subnet, pool, nowMs);
  }

  /** Makes room within the port's quota: forgets its oldest lease that ended, else its oldest offer. Call before `put`. */
  makeRoom(holder: LeaseHolder, pool: LeasePool, address: bigint, nowMs: number): void {
    const keys = this.byPort.get(portKey(holder.subnet, holder.port));
    if (keys === undefined || keys.size < pool.perPort || keys.has(addressKey(holder.subnet, address))) return;
    const oldest = this.dispensable(holder, nowMs);
    if (oldest !== undefined) this.remove(oldest.subnet, oldest.address);
  }

  isActive(lease: Lease, nowMs: number): boolean {
    return lease.state !== 'released' && lease.expiresMs > nowMs;
  }

  /** Forgets what `keep` does not want, after a change of configuration. */
  prune(keep: (lease: Lease) => boolean): boolean {
    const gone = [...this.byAddress.values()].filter((lease) => !keep(lease));
    for (const { subnet, address } of gone) this.remove(subnet, address);
    return gone.length > 0;
  }

  /** Whether the holder's port may have one more than `planned`, perhaps in place of others. */
  hasRoom(holder: LeaseHolder, { perPort }: LeasePool, nowMs: number, planned = 0): boolean {
    const leases = this.ofPort(holder);
    if (leases.length + planned < perPort) return true;
    const lasting = leases.filter((lease) => this.isActive(lease, nowMs) && lease.state !== 'offered');
    return lasting.length + planned < perPort;
  }

  private ofPort({ subnet, port }: LeaseHolder): Lease[] {
    return [...(this.byPort.get(portKey(subnet, port)) ?? [])].flatMap((key) => this.byAddress.get(key) ?? []);
  }

  private dispensable(holder: LeaseHolder, nowMs: number): Lease | undefined {
    const leases = this.ofPort(holder);
    const oldestOf = (some: readonly Lease[]) =>
      some.reduce<Lease | undefined>((oldest, lease) => {
        return oldest === undefined || lease.expiresMs < oldest.expiresMs ? lease : oldest;
      }, undefined);
    const ended = oldestOf(leases.filter((lease) => !this.isActive(lease, nowMs)));
    return ended ?? oldestOf(leases.filter(({ state }) => state === 'offered'));
  }

  private isFree(subnet: string, pool: LeasePool, address: bigint, nowMs: number): boolean {
    if (!isOf(pool, address)) return false;
    const lease = this.at(subnet, address);
    return lease === undefined || !this.isActive(lease, nowMs);
  }

  /** From where the last search ended, so that a pool that is nearly full costs each client a bounded walk. */
  private search(subnet: string, pool: LeasePool, nowMs: number): bigint | undefined {
    const { first, last } = pool.range;
    const size = last - first + 1n;
    let at = this.cursors.get(subnet) ?? first;
    if (at < first || at > last) at = first;
    let ended: bigint | undefined;
    for (let probe = 0; probe < PROBES_MAX && BigInt(probe) < size; probe++) {
      const address = at;
      at = at === last ? first : at + 1n;
      if (pool.taken.has(address)) continue;
      const lease = this.at(subnet, address);
      if (lease === undefined) {
        this.cursors.set(subnet, at);
        return address;
      }
      // Somebody may come back for it: only when there is nothing else.
      if (!this.isActive(lease, nowMs)) ended ??= address;
    }
    this.cursors.set(subnet, at);
    return ended;
  }
}

/** The port that the address was given to. */
function ownerOf(lease: Lease | undefined): string | undefined {
  return lease?.state === 'bound' ? lease.port : undefined;
}

function isOf({ range, taken }: LeasePool, address: bigint): boolean {
  return address >= range.first && address <= range.last && !taken.has(address);
}

/** Names have no blanks, clients are hexadecimal. */
function addressKey(subnet: string, address: bigint): string {
  return `${subnet} ${address}`;
}

function portKey(subnet: string, port: string): string {
  return `${subnet} ${port}`;
}

function clientKey(subnet: string, port: string, client: string): string {
  return `${subnet} ${port} ${client}`;
}

function add(table: Map<string, Set<string>>, key: string, value: string): void {
  const values = table.get(key);
  if (values === undefined) table.set(key, new Set([value]));
  else values.add(value);
}

function drop(table: Map<string, Set<string>>, key: string, value: string): void {
  const values = table.get(key);
  values?.delete(value);
  if (values?.size === 0) table.delete(key);
}
