/** Slots handled together. A stage reads `slots[0..count)`; only the runner changes `count`. @hot */
export class Batch {
  readonly slots: Int32Array;
  readonly capacity: number;
  count = 0;
  /** Not 0: some frame's destination is a group address (set by parse), or is known behind no member (set by lookup). */
  hasGroup = 0;
  hasUnknown = 0;
  /** POLICY_... bits of all frames together (set by dissect): stages that none of them concerns are skipped. */
  policy = 0;
  /** Not 0: some frame that has to pass policy is part of a fragmented packet (set by dissect). */
  hasFragment = 0;
  /** Its frames have waited for their first fragments (pipeline/waiting-fragments.ts). */
  isReturned = false;

  constructor(capacity: number) {
    this.slots = new Int32Array(capacity);
    this.capacity = capacity;
  }

  /** Adds a slot. The caller has seen that there is room. */
  push(slot: number): void {
    this.slots[this.count++] = slot;
  }

  get full(): boolean {
    return this.count === this.capacity;
  }
}
