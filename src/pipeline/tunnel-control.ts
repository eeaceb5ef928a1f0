/**
 * What the main thread does with the tunnels: adds those of the configuration, takes away what nobody needs any more, says
 * which are dead, lists them, copies them for `weft trace`, repairs them after a crash. Holds the table's lock for a few
 * entries at a time; a worker that wants to learn a tunnel meanwhile learns it from a later datagram.
 *
 * A number that is taken away may be given to another remote at once: who takes one away makes the FDB forget it before and
 * after (FdbControl.forgetRemotes).
 */
import { UserError } from '../errors.js';
import { MAIN_OWNER } from './fdb-control.js';
import {
  GROUP_CONFIGURED,
  GROUP_LEARNED,
  TUNNEL_CONFIGURED,
  TUNNEL_DOWN,
  TUNNEL_MTU_SHIFT,
  TUNNEL_TABLE_SIZE,
  TunnelTable,
} from './tunnel-table.js';

export interface TunnelEntry {
  readonly tunnel: number;
  /** Negative: not a tunnel but an address that any network of an underlay port knows (`anyNetwork`). */
  readonly member: number;
  /** Four words in memory's order. */
  readonly address: Int32Array;
  readonly isConfigured: boolean;
  readonly isDown: boolean;
  /** Largest packet that gets to the remote in a network's frame, where the way is narrower than the underlay's device; else 0. */
  readonly mtu: number;
  /** Monotonic seconds; 0: nothing ever came through it. */
  readonly lastSeen: number;
}

export class TunnelControl extends TunnelTable {
  private readonly memory: ArrayBufferLike;
  private readonly byteOffset: number;

  constructor(memory: ArrayBufferLike, byteOffset = 0, seed?: readonly [number, number]) {
    super(memory, MAIN_OWNER, byteOffset, seed);
    this.memory = memory;
    this.byteOffset = byteOffset;
  }

  private lock(): void {
    this.table.lock(this.owner, 'the tunnels are');
  }

  /** The number of the tunnel, which stays until it is removed: that of the one there is, or a new one. */
  intern(member: number, address: Int32Array): number {
    this.lock();
    try {
      const hash = this.hashOf(member, address[0], address[1], address[2], address[3]);
      const old = this.table.find(hash, this.key, 0);
      if (old !== -1) {
        if (this.table.groupOf(old) === GROUP_CONFIGURED) return old;
        this.value[0] = this.table.valueWord(old, 0) | TUNNEL_CONFIGURED;
        this.table.change(old, this.value, GROUP_CONFIGURED, this.table.lastSeen(old));
        return old;
      }
      this.value[0] = TUNNEL_CONFIGURED;
      const tunnel = this.table.insert(hash, this.key, this.value, GROUP_CONFIGURED, 0);
      if (tunnel === -1) throw new UserError([{ code: 'limit', message: 'there is no room for more tunnels' }]);
      return tunnel;
    } finally {
      this.table.unlock(this.owner);
    }
  }

  /** Takes tunnels away. */
  remove(tunnels: Iterable<number>): void {
    for (const tunnel of tunnels) {
      this.lock();
      if (this.table.isLive(tunnel)) this.table.remove(tunnel);
      this.table.unlock(this.owner);
    }
  }

  /** Says whether the remote is known to be dead: floods leave it out. */
  setDown(tunnel: number, isDown: boolean): void {
    this.setBits(tunnel, TUNNEL_DOWN, isDown ? TUNNEL_DOWN : 0);
  }

  /** Says which packets the way lets pass, where that is less than the underlay's device would; 0: it is not. */
  setMtu(tunnel: number, mtu: number): void {
    this.setBits(tunnel, -1 << TUNNEL_MTU_SHIFT, mtu << TUNNEL_MTU_SHIFT);
  }

  /** Needs no lock: workers never change the value of a live entry, and it is one word. They miss no frame's tunnel by it. */
  private setBits(tunnel: number, mask: number, bits: number): void {
    if (!this.table.isLive(tunnel)) return;
    const before = this.table.valueWord(tunnel, 0);
    this.table.setValueWord(tunnel, 0, (before & ~mask) | bits);
  }

  /** The entry of a number; undefined when there is none, or it is just being changed. */
  entryOf(tunnel: number): TunnelEntry | undefined {
    const words = new Int32Array(6);
    if (!this.table.read(tunnel, words)) return undefined;
    return {
      tunnel,
      member: words[0],
      address: words.slice(1, 5),
      isConfigured: (words[5] & TUNNEL_CONFIGURED) !== 0,
      isDown: (words[5] & TUNNEL_DOWN) !== 0,
      mtu: words[5] >>> TUNNEL_MTU_SHIFT,
      lastSeen: this.table.lastSeen(tunnel),
    };
  }

  /** Every entry, in the order of the numbers. */
  *list(): Generator<TunnelEntry> {
    for (let tunnel = 1; tunnel < this.table.entryLimit; tunnel++) {
      const entry = this.entryOf(tunnel);
      if (entry !== undefined) yield entry;
    }
  }

  /** Every one that was learned; costs little where none was. */
  *listLearned(): Generator<TunnelEntry> {
    if (this.table.groupCount(GROUP_LEARNED) === 0) return;
    for (let tunnel = 1; tunnel < this.table.entryLimit; tunnel++) {
      if (!this.table.isLive(tunnel) || this.table.groupOf(tunnel) !== GROUP_LEARNED) continue;
      const entry = this.entryOf(tunnel);
      if (entry !== undefined) yield entry;
    }
  }

  /** Learned tunnels through which nothing came for more than `age` seconds; at most `most` of them. */
  silentSince(nowSeconds: number, age: number, most: number): number[] {
    const silent: number[] = [];
    for (const { tunnel, lastSeen } of this.listLearned()) {
      if (nowSeconds - lastSeen <= age) continue;
      silent.push(tunnel);
      if (silent.length >= most) break;
    }
    return silent;
  }

  /** A table of its own over a copy of the memory, for `weft trace` to learn into. */
  copy(): TunnelControl {
    this.lock();
    const copied = this.memory.slice(this.byteOffset, this.byteOffset + TUNNEL_TABLE_SIZE);
    this.table.unlock(this.owner);
    const copy = new TunnelControl(copied);
    copy.table.unlock(this.owner);
    return copy;
  }

  /** A worker died. If it was learning, what it may have left half done is derived again from the entries. */
  breakLock(workerIndex: number): boolean {
    if (!this.table.breakLock(workerIndex + 1, this.owner)) return false;
    this.table.unlock(this.owner);
    return true;
  }

  /** Before any worker starts: makes memory that an earlier process left sound again, whatever it died of. */
  recover(): void {
    this.table.recover(this.owner);
    this.table.unlock(this.owner);
  }
}
