/**
 * Copies on their way out: which slot leaves by which member. Copies of one flood share a slot until one must differ;
 * a copy that needs octets of its own gets a clone from the stage that changes them. @hot
 */
/** In `reasons`: given to a queue by a stage before transmit. */
export const ON_ITS_WAY = -1;
/** In `reasons`: its fragments go on in its place (router-fragments.ts). */
export const IN_FRAGMENTS = -2;

/** In place of a member, in machine.replies: every member of the network; every one whose port is no uplink and no underlay. */
export const TO_NETWORK = -2;
export const TO_STATIONS = -3;

export class EgressBatch {
  readonly slots: Int32Array;
  readonly members: Int32Array;
  /** Drop reason number of the copy; 0 while it lives, ON_ITS_WAY once a queue has it. */
  readonly reasons: Int32Array;
  /** Number of the tunnel the copy leaves by, where its member is an underlay port's; 0: none is known. */
  readonly tunnels: Int32Array;
  /** 1: other copies of this batch, or later ones of the same flood, use the slot too, so its octets must not change. */
  readonly shared: Uint8Array;
  /** Number of the rule that decided about the copy last, and one more; 0: none did. */
  readonly rules: Int32Array;
  readonly capacity: number;
  count = 0;

  constructor(capacity: number) {
    this.slots = new Int32Array(capacity);
    this.members = new Int32Array(capacity);
    this.reasons = new Int32Array(capacity);
    this.tunnels = new Int32Array(capacity);
    this.shared = new Uint8Array(capacity);
    this.rules = new Int32Array(capacity);
    this.capacity = capacity;
  }

  /** Adds a copy. The caller has seen that there is room and has taken a hold on the slot for it. */
  push(slot: number, member: number, shared: number, tunnel: number): void {
    const index = this.count++;
    this.slots[index] = slot;
    this.members[index] = member;
    this.reasons[index] = 0;
    this.tunnels[index] = tunnel;
    this.shared[index] = shared;
    this.rules[index] = 0;
  }
}
