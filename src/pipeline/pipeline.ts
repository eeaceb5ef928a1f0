/**
 * A frame's whole life. READ FIRST.
 *
 *   receive -> decap -> ingress stages, on received frames -> replicate -> egress stages, on copies -> the ports' queues
 *
 * A batch of received frames goes through the ingress stages; each writes a drop reason or lets the frame go on. What is
 * left has a destination: one member, or a flood. `replicate` makes that (slot, member) pairs, and the egress stages take
 * those to the ports' queues, in rounds of EGRESS_BATCH_SIZE so that a flood to thousands of ports needs no more memory.
 *
 * A later fragment that comes before its first is held (stages/fragments), and a routed packet whose next station is not known
 * yet (stages/route); both come back in batches of their own: `takeBack`. So does, at once, what one router of the switch sends to
 * another (between-routers.ts): `goOn`.
 *
 * Holds on slots: the runner holds each received frame while it works on it, each copy holds its slot until the queue
 * reports it. The last hold that goes settles the frame (machine.ts): forwarded, consumed or dropped, counted once. @hot
 */
import { Batch } from '../dataplane/batch.js';
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { BATCH_SIZE, EGRESS_BATCH_SIZE, FRAGMENTS_WAITING_MAX } from '../limits.js';
import { Decapsulator } from './decap.js';
import { aclEgress } from './egress/acl-egress.js';
import { encap } from './egress/encap.js';
import { fit } from './egress/fit.js';
import { groupsTo } from './egress/groups-to.js';
import { egressPolicy } from './egress/policy.js';
import { tag } from './egress/tag.js';
import { transmit } from './egress/transmit.js';
import { EgressBatch, TO_STATIONS } from './egress-batch.js';
import type { Machine } from './machine.js';
import { PORT_UNDERLAY, PORT_UPLINK } from './snapshot.js';
import type { EgressStage, Stage } from './stage.js';
import { aclIngress } from './stages/acl-ingress.js';
import { addressService } from './stages/address-service.js';
import { antiSpoof } from './stages/anti-spoof.js';
import { classify } from './stages/classify.js';
import { connections } from './stages/connections.js';
import { controlFrames } from './stages/control-frames.js';
import { dissect } from './stages/dissect.js';
import { FLOOD, forward } from './stages/forward.js';
import { fragments } from './stages/fragments.js';
import { groupsFrom } from './stages/groups-from.js';
import { guestServices } from './stages/guest-services.js';
import { learn } from './stages/learn.js';
import { liveness } from './stages/liveness.js';
import { lookup } from './stages/lookup.js';
import { ownAddresses } from './stages/own-addresses.js';
import { parse } from './stages/parse.js';
import { responders } from './stages/responders.js';
import { route } from './stages/route.js';
import { storm } from './stages/storm.js';

export const ingressStages: readonly Stage[] = [
  parse,
  classify,
  controlFrames,
  liveness,
  dissect,
  antiSpoof,
  fragments,
  aclIngress,
  lookup,
  storm,
  connections,
  groupsFrom,
  learn,
  addressService,
  guestServices,
  ownAddresses,
  responders,
  route,
  forward,
];
export const egressStages: readonly EgressStage[] = [egressPolicy, aclEgress, groupsTo, fit, tag, encap, transmit];

/** Where frames that waited, for their first fragment or for the next station, come back in: today's policy judges them, not that of their arrival. */
const returnsAt = ingressStages.indexOf(dissect);
/** Where what a router sent to another goes on: it has passed the policy of where it came from. */
const routesAt = ingressStages.indexOf(route);
/** Where fragments that fit made go on: the whole packet has passed policy. */
const fragmentsLeaveAt = egressStages.indexOf(tag);
/** As many batches as can wait at once. */
const RETURNS_MAX = FRAGMENTS_WAITING_MAX / BATCH_SIZE;

/** Told of each stage as it has run; `weft trace` listens. */
export interface StageListener {
  /** What came out of datagrams, before any stage sees it. */
  unpacked(frames: Batch): void;
  ingress(stage: Stage, batch: Batch): void;
  egress(stage: EgressStage, copies: EgressBatch): void;
}

export class Pipeline {
  private readonly machine: Machine;
  private readonly copies = new EgressBatch(EGRESS_BATCH_SIZE);
  private readonly decapsulator: Decapsulator;
  /** What came out of datagrams, with what came otherwise. */
  private readonly frames = new Batch(BATCH_SIZE);
  /** Later fragments whose first one has come. */
  private readonly returned = new Batch(BATCH_SIZE);
  /** Routed packets whose next station was found, or given up. */
  private readonly resolved = new Batch(BATCH_SIZE);
  /** Packets from one router to another. */
  private readonly betweenRouters = new Batch(BATCH_SIZE);
  private readonly listener: StageListener | undefined;

  constructor(machine: Machine, listener?: StageListener) {
    this.machine = machine;
    this.decapsulator = new Decapsulator(machine);
    this.returned.isReturned = true;
    this.listener = listener;
  }

  /** Takes every frame of the batch to its end or onto a queue. The batch's slots are the runner's to let go. */
  run(batch: Batch): void {
    if (this.machine.snapshot.underlayPorts === 0) {
      this.runFrames(batch, 0);
      this.goOn();
      this.takeBack();
      return;
    }
    this.machine.tunnelQuota.begin();
    if (!this.decapsulator.concerns(batch)) this.runUnpacked(batch);
    else {
      for (let more = true; more; ) {
        more = this.decapsulator.next(batch, this.frames);
        this.runUnpacked(this.frames);
      }
    }
    this.takeBack();
  }

  /**
   * Goes on with frames that were held because their first fragment was not seen, in the order they came, and ends those it
   * did not come for in time. Behind every batch, and in breaths without one. What is held is not counted yet.
   */
  takeBack(): void {
    for (let round = 0; round < RETURNS_MAX; round++) {
      this.machine.waiting.release(this.machine, this.returned);
      if (this.returned.count === 0) break;
      this.runFrames(this.returned, returnsAt);
      this.goOn();
    }
    this.machine.pending.release(this.machine, this.resolved);
    this.goOn();
    if (this.resolved.count !== 0) this.runFrames(this.resolved, returnsAt);
    // Stations may have been asked again though no packet came back.
    else this.answer();
    this.goOn();
  }

  /** Has routers route what other routers sent them, until none sends any more. Behind each batch whose frames may be routed. */
  private goOn(): void {
    const { betweenRouters, pool } = this.machine;
    while (betweenRouters.next(pool, this.betweenRouters)) this.runFrames(this.betweenRouters, routesAt);
  }

  private runUnpacked(frames: Batch): void {
    if (this.listener !== undefined) this.listener.unpacked(frames);
    this.runFrames(frames, 0);
    this.goOn();
  }

  private runFrames(batch: Batch, from: number): void {
    for (let index = from; index < ingressStages.length; index++) {
      const stage = ingressStages[index];
      stage.run(this.machine, batch);
      if (this.listener !== undefined) this.listener.ingress(stage, batch);
    }
    for (let index = 0; index < batch.count; index++) this.replicate(batch.slots[index]);
    this.leave();
    this.answer();
    for (let index = 0; index < batch.count; index++) this.machine.letGo(batch.slots[index]);
    batch.count = 0;
  }

  /** Makes the frame's copies. A network's list has no members whose port is closed: nobody is there to miss the frame. */
  private replicate(slot: number): void {
    const { pool, snapshot } = this.machine;
    if (pool.reason[slot] !== 0) return;
    const destination = pool.destination[slot];
    if (destination !== FLOOD) {
      this.copy(slot, destination, 0, pool.destinationTunnel[slot]);
      return;
    }
    const network = pool.network[slot];
    const own = pool.ingressMember[slot];
    const start = snapshot.networkStart[network];
    const end = start + snapshot.networkCount[network];
    let copies = 0;
    let isCutOff = false;
    for (let index = start; index < end; index++) {
      const member = snapshot.networkMembers[index];
      if (member === own) continue;
      if (snapshot.portMode[snapshot.memberPort[member]] === PORT_UNDERLAY) {
        copies += this.copyToRemotes(slot, member);
        isCutOff = snapshot.memberRemotesCount[member] !== 0;
        continue;
      }
      this.copy(slot, member, 1, 0);
      copies++;
    }
    if (copies === 0) pool.reason[slot] = isCutOff ? dropReasonNumber.tunnel_down : dropReasonNumber.no_port;
  }

  /** Head-end replication: one copy for each configured remote of the network that is not known to be dead. */
  private copyToRemotes(slot: number, member: number): number {
    const { snapshot, tunnels } = this.machine;
    const start = snapshot.memberRemotesStart[member];
    const end = start + snapshot.memberRemotesCount[member];
    let copies = 0;
    for (let index = start; index < end; index++) {
      const tunnel = snapshot.remotes[index];
      if (tunnels.isDown(tunnel)) continue;
      this.copy(slot, member, 1, tunnel);
      copies++;
    }
    return copies;
  }

  /** What the stages answered while they worked on the batch: frames of the switch's own, by the same egress stages. */
  private answer(): void {
    const { replies } = this.machine;
    for (let index = 0; index < replies.count; index++) {
      const slot = replies.slots[index];
      const member = replies.members[index];
      if (member >= 0) this.copy(slot, member, 0, replies.tunnels[index]);
      else this.announce(slot, member);
      this.machine.letGo(slot);
    }
    if (replies.count !== 0) this.leave();
    replies.count = 0;
  }

  /** A frame of the switch's own to all of its network (TO_NETWORK), or to the stations of this host (TO_STATIONS). */
  private announce(slot: number, destination: number): void {
    const { pool, snapshot } = this.machine;
    const start = snapshot.networkStart[pool.network[slot]];
    const end = start + snapshot.networkCount[pool.network[slot]];
    for (let index = start; index < end; index++) {
      const member = snapshot.networkMembers[index];
      const port = snapshot.memberPort[member];
      const isUnderlay = snapshot.portMode[port] === PORT_UNDERLAY;
      if (destination === TO_STATIONS && (isUnderlay || (snapshot.portFlags[port] & PORT_UPLINK) !== 0)) continue;
      if (isUnderlay) this.copyToRemotes(slot, member);
      else this.copy(slot, member, 1, 0);
    }
  }

  /** Sends what machine.replies holds, without a received frame: what the main thread gave (injection-ring.ts). */
  runReplies(): void {
    this.answer();
  }

  private copy(slot: number, member: number, shared: number, tunnel: number): void {
    if (this.copies.count === this.copies.capacity) this.leave();
    this.machine.pool.holds[slot]++;
    this.copies.push(slot, member, shared, tunnel);
  }

  /** The egress stages on the copies made so far; those that could not leave are counted and let go. */
  private leave(): void {
    const { madeFragments } = this.machine;
    this.runCopies(this.copies, 0);
    if (madeFragments.count !== 0) this.runCopies(madeFragments, fragmentsLeaveAt);
  }

  private runCopies(copies: EgressBatch, from: number): void {
    const { machine } = this;
    for (let index = from; index < egressStages.length; index++) {
      const stage = egressStages[index];
      stage.run(machine, copies);
      if (this.listener !== undefined) this.listener.egress(stage, copies);
    }
    for (let index = 0; index < copies.count; index++) {
      const reason = copies.reasons[index];
      if (reason <= 0) continue;
      const slot = copies.slots[index];
      const port = machine.snapshot.memberPort[copies.members[index]];
      if (port >= 0) machine.failCopy(slot, port, reason, copies.rules[index]);
      machine.letGo(slot);
    }
    copies.count = 0;
  }
}
