/**
 * The frame pool of one worker: a fixed number of slots in one WebAssembly memory, and what the switch knows of the
 * frame in each. A frame is a slot number everywhere; its octets lie at `offset[slot]` for `length[slot]`.
 *
 *   slot base                  base + SLOT_HEADROOM
 *   | headroom ............... | Ethernet header | payload ...           |
 *                              ^ offset[slot] after reception; tags pushed or popped move it, never the payload
 *
 * All positions kept here are absolute in the arena, so that moving the addresses in front of a tag invalidates none.
 * One thread owns a pool. @hot
 *
 * Ownership: `allocate` gives a slot to its caller, who passes it on (pipeline, port queue) or releases it. A frame that
 * leaves by several ports is held by each copy; `holds[slot]` counts them, and the last `release` frees the slot.
 */
import { SLOT_COUNT, SLOT_HEADROOM, SLOT_STRIDE } from '../limits.js';

const WASM_PAGE = 65_536;

/** In `isGenerated`: the switch made the frame itself; it is counted elsewhere, by who received it. */
export const OWN = 1;
export const ANOTHERS = 2;

export class FramePool {
  /** The arena. Fixed size, so its address never changes and the kernel may write into it. */
  readonly memory: WebAssembly.Memory;
  readonly octets: Uint8Array;
  readonly words: Int32Array;
  /**
   * For fields of two and four octets in network order: one load and a swap, less than half of what octet by octet takes
   * (1.9 ns against 4.3 for two).
   */
  readonly view: DataView;
  readonly slotCount: number;

  /** Arena position of the first octet of the Ethernet header. */
  readonly offset: Int32Array;
  /** Octets of the frame from `offset`. */
  readonly length: Int32Array;
  /** Index of the port the frame came in by. */
  readonly ingressPort: Int32Array;
  /** Member (port in a network) the frame came in by; set by classify. */
  readonly ingressMember: Int32Array;
  /** Index of the network the frame is in; set by classify. */
  readonly network: Int32Array;
  /** PCP and DEI of the frame as the upper four bits of a TCI (mask 0xf000), kept while the tag is off. */
  readonly priority: Int32Array;
  /** Ethertype in front of the payload after the tags that were parsed; a value below 0x600 is an LLC length. */
  readonly ethertype: Int32Array;
  /** Arena position of the octet behind that ethertype. */
  readonly networkHeader: Int32Array;

  /**
   * 1 while the five fields below are what a guest's virtio-net header said, unchecked, positions relative to `offset`;
   * parse checks them, makes positions absolute and sets 0.
   */
  readonly offloadUnchecked: Int32Array;
  /** What the virtio-net header said, checked: GSO type (0 none, 1 TCPv4, 4 TCPv6, 5 UDP; 0x80 ECN), segment size. */
  readonly gsoType: Int32Array;
  readonly gsoSize: Int32Array;
  /** Arena position where a partial checksum starts; 0: the frame's checksums are complete. */
  readonly checksumStart: Int32Array;
  /** Octets from there to the checksum field. */
  readonly checksumOffset: Int32Array;
  /** Arena position where a super-frame's headers end and its payload begins. */
  readonly headersEnd: Int32Array;

  /** Reason number the frame is to be dropped for; 0 while it lives. Stages write it, the runner acts on it. */
  readonly reason: Int32Array;
  /** Where forward sends it: a member, or one of the constants in pipeline/forward. */
  readonly destination: Int32Array;

  /** Copies (and holders) outstanding; the slot is free at 0. */
  readonly holds: Int32Array;
  /** The slot this one is a copy of, or itself. A copy holds its original until it is released. */
  readonly original: Int32Array;
  /** Copies of this frame that were sent. */
  readonly sentCount: Int32Array;
  /** Reason number of the last copy that was not sent. */
  readonly copyFailure: Int32Array;
  /** Not 0: it is nobody's received frame, but the switch's OWN, or another worker's (ANOTHERS). */
  readonly isGenerated: Int32Array;
  /** FDB entries of the frame's source and destination, and the members they are behind; -1: unknown. Set by lookup. */
  readonly sourceEntry: Int32Array;
  readonly destinationEntry: Int32Array;
  readonly sourceMember: Int32Array;
  readonly destinationMember: Int32Array;
  /** Number of the tunnel the frame came through (pipeline/tunnel-table.ts), and of the one its destination is behind; 0: none. */
  readonly tunnel: Int32Array;
  readonly destinationTunnel: Int32Array;
  /**
   * Of what an underlay port received, until it is unpacked: octets of each of the datagrams in the slot but the last (0: it
   * holds one), and the outer IP header's TOS or traffic class (-1: unknown).
   */
  readonly datagramSize: Int32Array;
  readonly trafficClass: Int32Array;
  /** Four words a slot: the address it came from, as it lies in memory, IPv4 mapped (::ffff:0:0/96). */
  readonly sourceAddress: Int32Array;
  /** Octets received, for the ingress port's counters (length changes with tags). */
  readonly receivedLength: Int32Array;

  /**
   * POLICY_... bits (pipeline/snapshot.ts) of what the frame has to pass; set by dissect where any port or network has
   * policy. The fields behind it are only set for frames with a bit.
   */
  readonly policy: Int32Array;
  /** PACKET_... (wire/packet.ts): what lies behind the ethertype. */
  readonly packetKind: Int32Array;
  /** Drop reason's number for what is wrong with the packet's headers; 0: nothing. Who insists on sound packets drops for it. */
  readonly packetFault: Int32Array;
  /** IP protocol of the upper layer, behind extension headers. */
  readonly protocol: Int32Array;
  /**
   * The protocol again, UDP's or TCP's, where the packet is as most are: IPv4, sound, whole and without options, right behind an
   * Ethernet header without a tag. So one look says where its fields lie. 0: it is something else, which the other fields say.
   */
  readonly plain: Int32Array;
  /** FRAGMENT_... (wire/packet.ts). */
  readonly fragment: Int32Array;
  /** Arena position of the upper layer's header; 0: there is none (a later fragment, ARP, no IP). */
  readonly transport: Int32Array;
  /** Arena position behind the packet's last octet, as its IP header says it: padding lies beyond. */
  readonly packetEnd: Int32Array;
  /** Source port << 16 | destination port; of ICMP: type << 24 | code << 16 | identifier (0 where it has none). Of a later fragment: the first one's. */
  readonly ports: Int32Array;
  /** Only of a later fragment: the TCP flags of its first one (of other protocols 0); -1: its first one is not known. */
  readonly firstFlags: Int32Array;
  /** Number of the frame's connection (pipeline/connection-table.ts); 0: not tracked, -1: it would be a new one. */
  readonly connection: Int32Array;
  /** CONNECTION_... bits of how the frame stands to its connection. */
  readonly connectionState: Int32Array;
  /** What its entry said when it was found: policy epoch, ports, and the stamp by which it is known again. */
  readonly connectionEpoch: Int32Array;
  readonly connectionPorts: Int32Array;
  readonly connectionStamp: Int32Array;

  /** Number of the rule that decided about the frame last (pipeline/rule-counters.ts), and one more; 0: none did. Only set for frames with policy. */
  readonly rule: Int32Array;

  private readonly free: Int32Array;
  private freeCount: number;

  constructor(slotCount: number = SLOT_COUNT) {
    const pages = Math.ceil((slotCount * SLOT_STRIDE) / WASM_PAGE);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.octets = new Uint8Array(this.memory.buffer);
    this.words = new Int32Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    this.slotCount = slotCount;
    const field = () => new Int32Array(slotCount);
    this.offset = field();
    this.length = field();
    this.ingressPort = field();
    this.ingressMember = field();
    this.network = field();
    this.priority = field();
    this.ethertype = field();
    this.networkHeader = field();
    this.offloadUnchecked = field();
    this.gsoType = field();
    this.gsoSize = field();
    this.checksumStart = field();
    this.checksumOffset = field();
    this.headersEnd = field();
    this.reason = field();
    this.destination = field();
    this.holds = field();
    this.original = field();
    this.sentCount = field();
    this.copyFailure = field();
    this.isGenerated = field();
    this.sourceEntry = field();
    this.destinationEntry = field();
    this.sourceMember = field();
    this.destinationMember = field();
    this.tunnel = field();
    this.destinationTunnel = field();
    this.datagramSize = field();
    this.trafficClass = field();
    this.sourceAddress = new Int32Array(slotCount * 4);
    this.receivedLength = field();
    this.policy = field();
    this.packetKind = field();
    this.packetFault = field();
    this.protocol = field();
    this.plain = field();
    this.fragment = field();
    this.transport = field();
    this.packetEnd = field();
    this.ports = field();
    this.firstFlags = field();
    this.connection = field();
    this.connectionState = field();
    this.connectionEpoch = field();
    this.connectionPorts = field();
    this.connectionStamp = field();
    this.rule = field();
    this.free = field();
    for (let index = 0; index < slotCount; index++) this.free[index] = slotCount - 1 - index;
    this.freeCount = slotCount;
  }

  /** Slots that nobody holds. */
  get available(): number {
    return this.freeCount;
  }

  /** A slot held once by the caller, its metadata stale; -1 when none is free. Last freed first: its octets are in cache. */
  allocate(): number {
    if (this.freeCount === 0) return -1;
    const slot = this.free[--this.freeCount];
    this.holds[slot] = 1;
    return slot;
  }

  /** Gives up one hold; the last one frees the slot. Returns true then. */
  release(slot: number): boolean {
    const holds = this.holds[slot] - 1;
    this.holds[slot] = holds;
    if (holds !== 0) return false;
    this.free[this.freeCount++] = slot;
    return true;
  }

  /** Arena position where a received frame's Ethernet header lies. */
  frameStart(slot: number): number {
    return slot * SLOT_STRIDE + SLOT_HEADROOM;
  }

  /**
   * Makes `slot` a freshly received frame: `length` octets that lie at `frameStart(slot)`, no offload metadata.
   * Whoever read a vnet header that asks for something calls `offload` afterwards.
   */
  receive(slot: number, port: number, length: number): void {
    this.offset[slot] = slot * SLOT_STRIDE + SLOT_HEADROOM;
    this.length[slot] = length;
    this.receivedLength[slot] = length;
    this.ingressPort[slot] = port;
    this.tunnel[slot] = 0;
    this.datagramSize[slot] = 0;
    this.policy[slot] = 0;
    this.offloadUnchecked[slot] = 0;
    this.gsoType[slot] = 0;
    this.checksumStart[slot] = 0;
    this.reason[slot] = 0;
    this.original[slot] = slot;
    this.isGenerated[slot] = 0;
    this.sentCount[slot] = 0;
    this.copyFailure[slot] = 0;
  }

  /**
   * Makes `slot` a frame of the switch's own, `length` octets that lie at `frameStart(slot)`, in answer to the frame in
   * `cause`: in its network and with its priority. It is nobody's received frame, so its end is counted nowhere.
   */
  generate(slot: number, cause: number, length: number): void {
    this.receive(slot, this.ingressPort[cause], length);
    this.isGenerated[slot] = OWN;
    this.ingressMember[slot] = this.ingressMember[cause];
    this.network[slot] = this.network[cause];
    this.priority[slot] = this.priority[cause];
  }

  /** As `generate`, of what no frame caused: in `network`, without priority. */
  originate(slot: number, network: number, length: number): void {
    this.receive(slot, -1, length);
    this.isGenerated[slot] = OWN;
    this.ingressMember[slot] = -1;
    this.network[slot] = network;
    this.priority[slot] = 0;
  }

  /**
   * Makes `slot`, which the caller holds and has written (octets, position, length, ethertype, offload), a part of the frame
   * in `whole`: it goes where that goes, and holds its original.
   */
  follow(slot: number, whole: number): void {
    this.ingressPort[slot] = this.ingressPort[whole];
    this.ingressMember[slot] = this.ingressMember[whole];
    this.network[slot] = this.network[whole];
    this.priority[slot] = this.priority[whole];
    this.tunnel[slot] = this.tunnel[whole];
    this.policy[slot] = this.policy[whole];
    this.rule[slot] = this.rule[whole];
    this.offloadUnchecked[slot] = 0;
    this.isGenerated[slot] = 0;
    this.reason[slot] = 0;
    this.original[slot] = this.original[whole];
    this.holds[this.original[whole]]++;
  }

  /** Keeps what a vnet header said, for parse to check. Positions are relative to the frame. */
  offload(
    slot: number,
    flags: number,
    gsoType: number,
    headerLength: number,
    gsoSize: number,
    start: number,
    offset: number,
  ): void {
    this.offloadUnchecked[slot] = 1;
    this.gsoType[slot] = gsoType;
    this.gsoSize[slot] = gsoSize;
    this.headersEnd[slot] = headerLength;
    this.checksumStart[slot] = (flags & 1) === 0 ? 0 : start;
    this.checksumOffset[slot] = (flags & 1) === 0 ? -1 : offset;
  }

  /**
   * A second slot with the same octets and metadata, held once by the caller and holding `slot`'s original in turn.
   * -1 when no slot is free. `headroom` octets in front of the frame are not copied.
   */
  clone(slot: number): number {
    const copy = this.allocate();
    if (copy < 0) return -1;
    const shift = (copy - slot) * SLOT_STRIDE;
    const start = this.offset[slot];
    const length = this.length[slot];
    this.octets.copyWithin(start + shift, start, start + length);
    this.offset[copy] = start + shift;
    this.length[copy] = length;
    this.ingressPort[copy] = this.ingressPort[slot];
    this.ingressMember[copy] = this.ingressMember[slot];
    this.network[copy] = this.network[slot];
    this.tunnel[copy] = this.tunnel[slot];
    this.priority[copy] = this.priority[slot];
    this.ethertype[copy] = this.ethertype[slot];
    this.networkHeader[copy] = this.networkHeader[slot] + shift;
    this.offloadUnchecked[copy] = 0;
    this.gsoType[copy] = this.gsoType[slot];
    this.gsoSize[copy] = this.gsoSize[slot];
    this.checksumStart[copy] = this.checksumStart[slot] === 0 ? 0 : this.checksumStart[slot] + shift;
    this.checksumOffset[copy] = this.checksumOffset[slot];
    this.headersEnd[copy] = this.headersEnd[slot] + shift;
    this.policy[copy] = this.policy[slot];
    this.packetKind[copy] = this.packetKind[slot];
    this.packetFault[copy] = this.packetFault[slot];
    this.protocol[copy] = this.protocol[slot];
    this.plain[copy] = this.plain[slot];
    this.fragment[copy] = this.fragment[slot];
    this.transport[copy] = this.transport[slot] === 0 ? 0 : this.transport[slot] + shift;
    this.packetEnd[copy] = this.packetEnd[slot] + shift;
    this.ports[copy] = this.ports[slot];
    this.firstFlags[copy] = this.firstFlags[slot];
    this.connection[copy] = this.connection[slot];
    this.connectionState[copy] = this.connectionState[slot];
    this.connectionEpoch[copy] = this.connectionEpoch[slot];
    this.connectionPorts[copy] = this.connectionPorts[slot];
    this.connectionStamp[copy] = this.connectionStamp[slot];
    this.reason[copy] = 0;
    this.original[copy] = this.original[slot];
    this.holds[this.original[slot]]++;
    return copy;
  }
}
