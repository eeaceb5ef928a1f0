/**
 * What all copies that leave one behind the other through one tunnel have in common: queue, address, header, counters.
 * Taken up when member or tunnel change, and good within one round of copies, in which no snapshot is replaced; so a copy
 * costs what is its own. Where a header doesn't depend on what it is in front of it is written once, and then copied. @hot
 */
import { TUNNEL_TX_BYTES, TUNNEL_TX_FRAMES } from '../../dataplane/counters.js';
import type { DatagramQueue } from '../../dataplane/io-engine.js';
import { SLOT_HEADROOM } from '../../limits.js';
import { tunnelKinds } from '../../tunnels/registry.js';
import {
  TUNNEL_CARRIES_TAGS,
  TUNNEL_CLAMPS_MSS,
  TUNNEL_ID_HAS_FLOW,
  TUNNEL_SENDS_CHECKSUM,
  TUNNEL_SENDS_SEQUENCE,
  type TunnelKind,
} from '../../tunnels/tunnel.js';
import type { Machine } from '../machine.js';
import {
  TUNNEL_ROW_FLAGS,
  TUNNEL_ROW_ID,
  TUNNEL_ROW_OPTIONS,
  TUNNEL_ROW_OPTIONS_SIZE,
  TUNNEL_ROW_WORDS,
} from '../snapshot.js';

/** With any of these a header is not the same in front of every frame. */
const CHANGES = TUNNEL_SENDS_CHECKSUM | TUNNEL_SENDS_SEQUENCE | TUNNEL_ID_HAS_FLOW;

/** What header and address are before the first way is taken. */
const nowhere: TunnelKind = tunnelKinds[0];

export class TunnelWay {
  member = -1;
  tunnel = -1;
  queue: DatagramQueue | undefined;
  kind = nowhere;
  /** Octets of the header. */
  headerSize = 0;
  /** The MTU that connections through it are clamped to; 0: none. */
  clampMtu = 0;
  /** Outer DSCP in the upper six bits; -1: the inner one. */
  dscp = 0;
  takesInnerVlan = false;
  isSequenced = false;
  /** Datagrams may leave several in a message. */
  joinsDatagrams = false;
  private address0 = 0;
  private address1 = 0;
  private address2 = 0;
  private address3 = 0;
  private idHasFlow = false;
  private id = 0;
  /** The header is what `header` has. */
  private isFixed = false;
  private readonly octets = new Uint8Array(SLOT_HEADROOM);
  private readonly header = new Int32Array(this.octets.buffer);
  /** What was sent, until it is counted. */
  private datagrams = 0;
  private sentOctets = 0;

  /** Before the first copy of a round. `settle` ended the one before. */
  begin(): void {
    this.member = -1;
  }

  /** Takes the way from the member through the tunnel. False: there is none. */
  take(machine: Machine, port: number, member: number, tunnel: number): boolean {
    const { snapshot, tunnels } = machine;
    this.settle(machine);
    this.member = -1;
    this.queue = machine.queues[port] as DatagramQueue | undefined;
    // The FDB may have been read just when another thread changed it.
    if (this.queue === undefined || tunnels.memberOf(tunnel) !== member) return false;
    this.address0 = tunnels.addressWord(tunnel, 0);
    this.address1 = tunnels.addressWord(tunnel, 1);
    this.address2 = tunnels.addressWord(tunnel, 2);
    this.address3 = tunnels.addressWord(tunnel, 3);
    this.dscp = snapshot.portDscp[port];
    this.kind = tunnelKinds[snapshot.portTunnelKind[port]];
    this.joinsDatagrams = snapshot.portJoinsDatagrams[port] !== 0;
    const flags = snapshot.memberTunnels[member * TUNNEL_ROW_WORDS + TUNNEL_ROW_FLAGS];
    this.takesInnerVlan = (flags & TUNNEL_CARRIES_TAGS) !== 0;
    const clamps = (flags & TUNNEL_CLAMPS_MSS) !== 0;
    this.clampMtu = clamps ? tunnels.narrowed(tunnel, snapshot.memberMtu[member]) : 0;
    this.takeHeader(machine, member);
    this.member = member;
    this.tunnel = tunnel;
    return true;
  }

  /** Number of the socket for an inner flow: by the upper bits of its hash, which spares a division. */
  senderOf(flow: number): number {
    return Math.imul(flow >>> 15, this.queue!.senderCount) >>> 16;
  }

  private takeHeader({ snapshot, tunnelSettings }: Machine, member: number): void {
    const { memberTunnels } = snapshot;
    const row = member * TUNNEL_ROW_WORDS;
    const flags = memberTunnels[row + TUNNEL_ROW_FLAGS];
    this.id = memberTunnels[row + TUNNEL_ROW_ID];
    tunnelSettings.id = this.id;
    tunnelSettings.flags = flags;
    tunnelSettings.options = snapshot.tunnelOptions;
    tunnelSettings.optionsStart = memberTunnels[row + TUNNEL_ROW_OPTIONS];
    tunnelSettings.optionsSize = memberTunnels[row + TUNNEL_ROW_OPTIONS_SIZE];
    this.idHasFlow = (flags & TUNNEL_ID_HAS_FLOW) !== 0;
    this.isSequenced = (flags & TUNNEL_SENDS_SEQUENCE) !== 0;
    this.headerSize = this.kind.headerSize(flags, tunnelSettings.optionsSize);
    this.isFixed = (flags & CHANGES) === 0;
    if (this.isFixed) this.kind.write(this.octets, this.headerSize, this.headerSize, tunnelSettings);
  }

  /**
   * Writes the header in front of the frame from `frame` to `end`; `flow` is the inner flow's hash. Of a
   * sequence number machine.tunnelSettings has the next one.
   */
  writeHeader({ pool, tunnelSettings }: Machine, frame: number, end: number, flow: number): void {
    if (!this.isFixed) {
      if (this.idHasFlow) tunnelSettings.id = this.id | (flow & 0xff);
      this.kind.write(pool.octets, frame, end, tunnelSettings);
      return;
    }
    const { header, octets, headerSize } = this;
    if ((frame & 3) === 0) {
      const to = (frame - headerSize) >> 2;
      for (let word = 0; word < headerSize >> 2; word++) pool.words[to + word] = header[word];
      return;
    }
    // A segment behind others in its message.
    const to = frame - headerSize;
    for (let index = 0; index < headerSize; index++) pool.octets[to + index] = octets[index];
  }

  /** Gives the slot to the queue, for `datagrams` of them; see DatagramQueue.sendTo. False when it takes no more. */
  send(
    { pool }: Machine,
    slot: number,
    datagramSize: number,
    sender: number,
    trafficClass: number,
    datagrams: number,
  ): boolean {
    const { queue, address0, address1, address2, address3 } = this;
    const octets = pool.length[slot];
    if (!queue!.sendTo(slot, datagramSize, sender, trafficClass, address0, address1, address2, address3)) return false;
    this.datagrams += datagrams;
    this.sentOctets += octets;
    return true;
  }

  /** Counts what was sent on the way so far. */
  settle({ counters }: Machine): void {
    if (this.datagrams === 0) return;
    counters.addTunnel(this.tunnel, TUNNEL_TX_FRAMES, this.datagrams);
    counters.addTunnel(this.tunnel, TUNNEL_TX_BYTES, this.sentOctets);
    this.datagrams = 0;
    this.sentOctets = 0;
  }
}
