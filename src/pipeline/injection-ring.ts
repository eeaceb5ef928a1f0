/**
 * Frames of the switch's own on their way from the main thread, which runs the slow protocols, to a worker, which sends them
 * by the egress stages: answers of the address service, router advertisements. The counterpart of punt-ring.ts. A bounded
 * ring in shared memory; what does not fit is not sent: its protocol asks again or repeats. One writer, the main thread; one
 * reader, the worker, who looks when it is woken for orders. @hot
 *
 * A frame names where it is to leave: a member, or one of the DESTINATION constants below with its network. Between the two
 * threads the snapshot may change, so the worker looks once more whether the member is still of the network.
 */
import { FrameRing } from '../dataplane/frame-ring.js';
import { FRAME_SIZE_MAX } from '../limits.js';
import { ETHERNET_HEADER_SIZE } from '../wire/ethernet.js';
import { read16 } from '../wire/octets.js';
import { TO_NETWORK, TO_STATIONS } from './egress-batch.js';
import type { Machine } from './machine.js';

export class InjectionRing {
  private readonly ring: FrameRing;

  /** Over memory of `allocateFrameRing(INJECTION_RING_SIZE)`. */
  constructor(memory: SharedArrayBuffer) {
    this.ring = new FrameRing(memory);
  }

  /** Main thread: an untagged frame with complete checksums. False: no room. The worker is to be woken afterwards. */
  put(frame: Uint8Array, network: number, member: number): boolean {
    if (frame.length < ETHERNET_HEADER_SIZE || frame.length > FRAME_SIZE_MAX) return false;
    return this.ring.put(frame, 0, frame.length, network, member, 0, 0, 0);
  }

  /**
   * Worker: makes the next frames answers of the machine (machine.replies), as many as there is room for. True: there may be
   * more. Frames whose member is gone are forgotten.
   */
  take(machine: Machine): boolean {
    const { ring } = this;
    const { pool, replies } = machine;
    while (replies.count < replies.capacity) {
      if (!ring.next()) return false;
      const { length, gsoType: network, gsoSize: member } = ring;
      if (!isThere(machine, network, member)) {
        ring.advance();
        continue;
      }
      const slot = pool.allocate();
      if (slot < 0) return true;
      const start = pool.frameStart(slot);
      ring.copyTo(pool.octets, start);
      ring.advance();
      pool.originate(slot, network, length);
      pool.ethertype[slot] = read16(pool.octets, start + ETHERNET_HEADER_SIZE - 2);
      pool.networkHeader[slot] = start + ETHERNET_HEADER_SIZE;
      replies.push(slot, member, 0, 0);
    }
    return true;
  }
}

function isThere({ snapshot }: Machine, network: number, member: number): boolean {
  if (network < 0 || network >= snapshot.networkFlags.length) return false;
  if (member === TO_NETWORK || member === TO_STATIONS) return true;
  if (member < 0 || member >= snapshot.memberPort.length) return false;
  return snapshot.memberPort[member] >= 0 && snapshot.memberNetwork[member] === network;
}
