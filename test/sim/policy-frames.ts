/**
 * Random frames for the policy oracle: what machines send each other and lies about who sends, as objects
 * (policy-octets.ts has their octets). Where connections are tracked, what would have more than one meaning is not made:
 * a stranger never sends into another's conversation, a TCP connection is never reset.
 */
import {
  ETHERTYPES,
  ICMP_TYPES,
  ICMPV6_TYPES,
  PAIR_IPV4,
  PAIR_MAC,
  PROTOCOLS,
  STATIONS,
  type Station,
  TRAFFIC_PORTS,
  VIDS,
} from './policy-documents.js';
import type { GroupsReference } from './policy-groups-reference.js';
import {
  type Address,
  address,
  type Content,
  chance,
  type Frame,
  type IcmpUpper,
  type IpContent,
  linkLocal,
  type PolicyDocument,
  type PolicyPort,
  type Tag,
  UNSPECIFIED_4,
  UNSPECIFIED_6,
  type Upper,
} from './policy-model.js';
import type { Random } from './random.js';

const BROADCAST = 'ffffffffffff';
const FOREIGN_MACS = ['525400000077', PAIR_MAC];
const FOREIGN_4 = ['10.0.0.99', '10.0.2.70', '192.0.2.9', '10.0.1.2'].map(address);
const FOREIGN_6 = ['2001:db8::99', '2001:db8:1::5', 'fe80::bad'].map(address);
const EVERYONE_4 = ['224.0.0.1', '224.0.0.22', '255.255.255.255', '10.0.0.255'].map(address);
const EVERYONE_6 = ['ff02::1', 'ff02::16'].map(address);

/** Two stations that have spoken, from the one that began. */
export interface Conversation {
  readonly from: Station;
  readonly to: Station;
  readonly content: IpContent;
}

export interface Made {
  readonly frame: Frame;
  /** What may come of it. */
  readonly conversation?: Conversation;
}

export class FrameMaker {
  document: PolicyDocument;
  private readonly random: Random;
  private readonly groups: GroupsReference;
  private serial = 0;

  constructor(random: Random, document: PolicyDocument, groups: GroupsReference) {
    this.random = random;
    this.document = document;
    this.groups = groups;
  }

  /** Fragments are known by it, and strangers' ports. */
  nextSerial(): number {
    return ++this.serial;
  }

  // ---- frames -------------------------------------------------------------------------------------------------------

  make(from: Station): Made {
    const { random } = this;
    const to = random.pick(STATIONS.filter((each) => each.network === from.network && each !== from));
    const kind = random.below(100);
    if (kind >= 5 && kind < 62) return this.makeIp(from, to);
    return { frame: this.makeOther(from, to, kind) };
  }

  private makeOther(from: Station, to: Station, kind: number): Frame {
    const { random } = this;
    if (kind < 5) return this.makePair(from, to);
    if (kind < 74) return this.wrap(from, BROADCAST, this.makeArp(from, to));
    if (kind < 86) return this.makeNd(from, to);
    if (kind < 93) return this.makeDhcp(from, to);
    if (kind < 98) return this.wrap(from, to.mac, { kind: 'other', ethertype: random.pick(ETHERTYPES) });
    return this.wrap(from, to.mac, { kind: 'llc', ethertype: random.pick([undefined, 0x0800, 0x0806]) });
  }

  /** In an Ethernet header, sometimes of a wrong or tagged one. */
  wrap(from: Station, destinationMac: string, content: Content, mayLie = true): Frame {
    const { random } = this;
    const isLie = mayLie && random.oneIn(12);
    return {
      port: from.port,
      destinationMac,
      sourceMac: isLie ? random.pick(FOREIGN_MACS) : from.mac,
      tags: this.makeTags(from, mayLie),
      content,
    };
  }

  private makeTags(from: Station, mayLie: boolean): Tag[] {
    const { random } = this;
    const pcp = random.pick([0, 0, 0, 3, 7]);
    if (from.port === 'up') return [{ tpid: 0x8100, vid: VIDS[from.network], pcp }];
    const kind = random.below(mayLie ? 40 : 36);
    if (kind < 32) return [];
    const tag = { tpid: random.pick([0x8100, 0x8100, 0x88a8]), vid: 0, pcp };
    if (kind < 38) return [tag];
    return kind === 38 ? [tag, { ...tag, pcp: 0 }] : [{ ...tag, vid: VIDS[from.network] }];
  }

  private portOf(from: Station): PolicyPort {
    return this.document.ports[from.port];
  }

  /** Whether frames with another's address would meet its connections. */
  private isTracked(from: Station): boolean {
    return this.groups.isTracked(from.network);
  }

  // ---- ARP, ND, DHCP --------------------------------------------------------------------------------------------------

  private makeArp(from: Station, to: Station): Content {
    const { random } = this;
    const sender = random.oneIn(6) ? random.pick(FOREIGN_4) : address(from.ipv4);
    const isProbe = random.oneIn(8);
    return {
      kind: 'arp',
      operation: isProbe ? 1 : random.pick([1, 1, 2]),
      senderMac: random.oneIn(8) ? random.pick(FOREIGN_MACS) : from.mac,
      sender: isProbe ? UNSPECIFIED_4 : sender,
      target: random.oneIn(4) ? sender : address(to.ipv4),
      isBroken: this.portOf(from).antiSpoof === true && random.oneIn(20),
    };
  }

  /** MLD: queries, and reports from the own address or from :: (RFC 3810 5.2.13). */
  private makeMld(from: Station): Frame {
    const { random } = this;
    const type = random.pick([130, 131, 131, 143, 143]);
    const own = random.pick([address(from.ipv6), linkLocal(from.mac)]);
    const foreign = random.oneIn(4) ? random.pick(FOREIGN_6) : own;
    const source = random.oneIn(4) ? UNSPECIFIED_6 : foreign;
    return this.wrap(
      from,
      '333300000016',
      this.makeIcmpv6(source, EVERYONE_6[1], { kind: 'icmp', type, code: 0, id: 0 }),
    );
  }

  private makeNd(from: Station, to: Station): Frame {
    const { random } = this;
    if (random.oneIn(6)) return this.makeMld(from);
    const own = random.pick([address(from.ipv6), linkLocal(from.mac)]);
    const source = random.oneIn(6) ? random.pick(FOREIGN_6) : own;
    const link = random.oneIn(6) ? random.pick(FOREIGN_MACS) : from.mac;
    const type = random.pick([133, 134, 135, 135, 135, 136, 136, 136, 137]);
    const isDad = type === 135 && random.oneIn(4);
    const about = type === 136 || isDad ? (random.oneIn(4) ? address(to.ipv6) : own) : address(to.ipv6);
    const isUnicast = random.oneIn(3) && !isDad;
    const content = this.makeIcmpv6(isDad ? UNSPECIFIED_6 : source, isUnicast ? address(to.ipv6) : EVERYONE_6[0], {
      kind: 'icmp',
      type,
      code: random.oneIn(8) ? random.below(256) : 0,
      id: 0,
      nd: {
        target: type === 133 || type === 134 ? undefined : about,
        link: isDad || random.oneIn(3) ? undefined : link,
      },
    });
    return this.wrap(from, isUnicast ? to.mac : '333300000001', content);
  }

  private makeIcmpv6(source: Address, destination: Address, upper: IcmpUpper): IpContent {
    return { ...this.ipBase(source, destination, 58), hopLimit: upper.nd === undefined ? 64 : 255, upper };
  }

  private makeDhcp(from: Station, to: Station): Frame {
    const { random } = this;
    const isV4 = chance(random, 70);
    const isServer = random.oneIn(3);
    const [client, server] = isV4 ? [68, 67] : [546, 547];
    const chaddr = random.oneIn(4) ? random.pick(FOREIGN_MACS) : from.mac;
    const isNew = isV4 && !isServer && random.oneIn(2);
    const own = isV4 ? address(from.ipv4) : linkLocal(from.mac);
    const content: IpContent = {
      ...this.ipBase(isNew ? UNSPECIFIED_4 : own, isV4 ? EVERYONE_4[2] : EVERYONE_6[1], 17),
      upper: {
        kind: 'ports',
        sourcePort: isServer ? server : client,
        destinationPort: isServer ? client : server,
        ...(isV4 && { dhcp: { isReply: isServer, chaddr: isServer ? to.mac : chaddr } }),
      },
    };
    return this.wrap(from, isV4 ? BROADCAST : '333300000016', content);
  }

  // ---- IP -------------------------------------------------------------------------------------------------------------

  ipBase(source: Address, destination: Address, protocol: number): Omit<IpContent, 'upper'> {
    const { random } = this;
    const chain = source.family === 4 ? [1] : random.pick([[0], [60], [0, 60], [51], [60, 51, 60]]);
    return {
      kind: 'ip',
      source,
      destination,
      dscp: random.pick([0, 0, 46]),
      hopLimit: 64,
      extensions: random.oneIn(10) ? chain : [],
      fragment: 'none',
      fragmentId: this.nextSerial(),
      protocol,
    };
  }

  private makeIp(from: Station, to: Station): Made {
    const { random } = this;
    const isV4 = random.oneIn(2);
    const isOwn = !random.oneIn(8);
    const source = isOwn ? this.ownAddress(from, isV4) : random.pick(isV4 ? FOREIGN_4 : FOREIGN_6);
    const isGroup = random.oneIn(12);
    const peer = random.oneIn(12) ? random.pick(isV4 ? FOREIGN_4 : FOREIGN_6) : this.ownAddress(to, isV4);
    const destination = isGroup ? random.pick(isV4 ? EVERYONE_4.slice(0, 3) : EVERYONE_6) : peer;
    const protocol = this.pickProtocol(isV4);
    const base = this.ipBase(source, destination, protocol);
    const plain: IpContent = { ...base, upper: this.makeUpper(from, protocol, isOwn && !isGroup) };
    const content = this.spoil(from, plain);
    const mac = isGroup
      ? destination.value === 0xffff_ffffn
        ? BROADCAST
        : isV4
          ? '01005e000016'
          : '333300000016'
      : to.mac;
    const isHonest = isOwn && !isGroup && content === plain;
    const isUnknown = !isGroup && !isHonest && random.oneIn(4);
    const frame = this.wrap(from, isUnknown ? '525400000055' : mac, content, !isHonest || !this.isTracked(from));
    return isHonest ? { frame, conversation: { from, to, content } } : { frame };
  }

  /** From a pair of MAC and address that some ports may use, or from half of one. */
  private makePair(from: Station, to: Station): Frame {
    const { random } = this;
    const [sourceMac, source] = random.pick([
      [PAIR_MAC, '10.0.2.70'],
      [PAIR_MAC, '10.0.2.127'],
      [PAIR_MAC, '10.0.2.128'],
      [from.mac, '10.0.2.70'],
      [PAIR_MAC, from.ipv4],
    ]);
    const sender = address(source);
    const isArp = random.oneIn(3);
    const protocol = random.pick([1, 17]);
    const arp = { operation: 2, senderMac: sourceMac, sender, target: address(to.ipv4), isBroken: false };
    const content: Content = isArp
      ? { kind: 'arp', ...arp }
      : { ...this.ipBase(sender, address(to.ipv4), protocol), upper: this.makeUpper(from, protocol, false) };
    return { ...this.wrap(from, to.mac, content, false), sourceMac };
  }

  private ownAddress(station: Station, isV4: boolean): Address {
    const { random } = this;
    if (!isV4) return random.oneIn(5) ? linkLocal(station.mac) : address(station.ipv6);
    return address(random.oneIn(6) ? `${PAIR_IPV4}${Number.parseInt(station.mac.slice(10), 16)}` : station.ipv4);
  }

  private pickProtocol(isV4: boolean): number {
    const kind = this.random.below(20);
    if (kind < 8) return 6;
    if (kind < 14) return 17;
    if (kind < 18) return isV4 ? 1 : 58;
    return kind === 18 && isV4 ? 2 : this.random.pick(PROTOCOLS);
  }

  /** `isKept`: a conversation may come of it. Others have ports of their own, so that they meet no connection. */
  private makeUpper(from: Station, protocol: number, isKept: boolean): Upper {
    const { random } = this;
    const isTracked = this.isTracked(from);
    const sourcePort =
      isTracked && !isKept ? 20_000 + (this.nextSerial() % 40_000) : random.pick([...TRAFFIC_PORTS, 40_000]);
    const destinationPort = random.pick(TRAFFIC_PORTS);
    if (protocol === 17) return { kind: 'ports', sourcePort, destinationPort };
    if (protocol === 6) {
      const flags = random.pick(
        isTracked ? [0x02, 0x02, 0x02, 0x10, 0x12] : [0x02, 0x02, 0x10, 0x12, 0x18, 0x04, 0x11],
      );
      return { kind: 'ports', sourcePort, destinationPort, tcp: { flags, sequence: 1000, acknowledgement: 1 } };
    }
    if (protocol !== 1 && protocol !== 58) return { kind: 'plain' };
    const echo = protocol === 1 ? 8 : 128;
    const types = protocol === 1 ? [...ICMP_TYPES, 5] : ICMPV6_TYPES.slice(0, 4);
    const type = isTracked ? echo : random.pick(types);
    return {
      kind: 'icmp',
      type,
      code: isTracked ? 0 : random.below(2),
      id: isTracked && !isKept ? this.nextSerial() % 65_536 : random.below(3),
    };
  }

  /** TCP's later fragments do not move a connection on. */
  private mayCut(from: Station, { protocol }: IpContent): boolean {
    return protocol !== 6 || !this.isTracked(from);
  }

  /** Fragments and broken headers, in a smaller share; where nothing is tracked, and where somebody insists on sound ones. */
  private spoil(from: Station, content: IpContent): IpContent {
    const { random } = this;
    const { antiSpoof } = this.portOf(from);
    if (random.oneIn(10) && content.upper.kind === 'ports' && this.mayCut(from, content))
      return { ...content, fragment: 'first' };
    if (antiSpoof !== true || !random.oneIn(12)) return content;
    const byProtocol = { 6: 'tcp', 17: 'udp', 1: 'icmp', 58: 'icmp' } as const;
    return { ...content, broken: random.pick(['ip', byProtocol[content.protocol as 6] ?? 'ip']) };
  }
}
