/**
 * The traffic of a run of the policy oracle: new frames, conversations that go on, fragments behind their first one. Where
 * connections are tracked, TCP keeps to its opening.
 */
import { STATIONS, type Station, VIDS } from './policy-documents.js';
import { type Conversation, FrameMaker } from './policy-frames.js';
import type { GroupsReference } from './policy-groups-reference.js';
import { chance, type Frame, type IcmpUpper, type IpContent, type PolicyDocument } from './policy-model.js';
import type { Random } from './random.js';

export class PolicyTraffic {
  private readonly random: Random;
  private readonly groups: GroupsReference;
  private readonly maker: FrameMaker;
  private readonly conversations: Conversation[] = [];
  /** Later fragments of what was sent. */
  private readonly waiting: Frame[] = [];

  constructor(random: Random, document: PolicyDocument, groups: GroupsReference) {
    this.random = random;
    this.groups = groups;
    this.maker = new FrameMaker(random, document, groups);
  }

  reconfigure(document: PolicyDocument): void {
    this.maker.document = document;
    this.waiting.length = 0;
  }

  next(): Frame {
    const { random } = this;
    const later = this.waiting.shift();
    if (later !== undefined) return later;
    if (this.conversations.length > 0 && chance(random, 40)) return this.goOn(random.pick(this.conversations));
    const { frame, conversation } = this.maker.make(random.pick(STATIONS));
    if (conversation !== undefined) {
      this.remember(conversation);
      // By chance between the ends of a connection that is there: it goes on.
      if (conversation.content.protocol === 6 && this.groups.find(conversation.from.network, conversation.content))
        return this.goOnTcp(conversation);
    }
    const { content } = frame;
    if (content.kind === 'ip' && content.fragment === 'first')
      this.waiting.push({ ...frame, content: { ...content, fragment: 'later' } });
    return frame;
  }

  /** Whether frames of one batch could mean something else one after the other. */
  conflictKeys(frame: Frame): string[] {
    const { content } = frame;
    if (content.kind !== 'ip' || !this.groups.isTracked(this.networkOf(frame))) return [];
    const about = content.upper.kind === 'icmp' ? content.upper.about : undefined;
    return (about === undefined ? [content] : [content, about]).map((packet) => {
      const ends = [packet.source, packet.destination].map(({ value }) => value.toString()).sort();
      return `${packet.protocol} ${ends.join(' ')}`;
    });
  }

  private networkOf({ port, tags }: Frame): string {
    return this.maker.document.ports[port].network ?? (tags[0]?.vid === VIDS.red ? 'red' : 'blue');
  }

  // ---- conversations --------------------------------------------------------------------------------------------------

  private remember(conversation: Conversation): void {
    this.conversations.push(conversation);
    if (this.conversations.length > 24) this.conversations.shift();
  }

  private goOn({ from, to, content }: Conversation): Frame {
    const { random } = this;
    const { upper, protocol } = content;
    if (protocol === 6 && upper.kind === 'ports') return this.goOnTcp({ from, to, content });
    if (protocol === 17 && random.oneIn(8)) return this.complain({ from, to, content });
    const isReply = random.oneIn(2);
    const next = this.renew(isReply ? reversed(content) : content);
    return isReply ? this.maker.wrap(to, from.mac, next, false) : this.maker.wrap(from, to.mac, next, false);
  }

  private renew(content: IpContent): IpContent {
    return { ...content, fragmentId: this.maker.nextSerial() };
  }

  /** The next segment of the opening, or the last one again; what does not fit is made only where there is no connection. */
  private goOnTcp({ from, to, content }: Conversation): Frame {
    const { random } = this;
    const found = this.groups.find(from.network, content);
    // Its ends had the parts the other way round when it began.
    if (found?.isReply) return this.goOnTcp({ from: to, to: from, content: reversed(content) });
    const stage = found?.connection.stage ?? 'none';
    const isReply = stage === 'none' ? random.oneIn(2) : false;
    const forward = (flags: number) => this.segment(from, to, content, flags, false);
    const back = (flags: number) => this.segment(to, from, content, flags, true);
    switch (stage) {
      case 'syn-sent':
        return random.oneIn(3) ? forward(0x02) : back(0x12);
      case 'syn-received':
        return random.oneIn(3) ? back(0x12) : forward(0x10);
      case 'established':
        return random.oneIn(2) ? back(0x10) : forward(0x10);
      default:
        return isReply ? back(random.pick([0x12, 0x10])) : forward(random.pick([0x02, 0x02, 0x10]));
    }
  }

  /** Sequence numbers as if nothing but the opening were sent: 1000 from the one that began, 5000 from the other. */
  private segment(from: Station, to: Station, content: IpContent, flags: number, isReply: boolean): Frame {
    const base = this.renew(isReply ? reversed(content) : content);
    const hasSyn = (flags & 0x02) !== 0;
    const sequence = (isReply ? 5000 : 1000) + (hasSyn ? 0 : 1);
    const acknowledgement = (flags & 0x10) === 0 ? 0 : isReply ? 1001 : 5001;
    const upper =
      base.upper.kind === 'ports' ? { ...base.upper, tcp: { flags, sequence, acknowledgement } } : base.upper;
    return this.maker.wrap(from, to.mac, { ...base, upper }, false);
  }

  /** An ICMP error of the other side. */
  private complain({ from, to, content }: Conversation): Frame {
    const isV4 = content.source.family === 4;
    const base = this.maker.ipBase(content.destination, content.source, isV4 ? 1 : 58);
    const about = { ...content, extensions: [] };
    const upper: IcmpUpper = { kind: 'icmp', type: isV4 ? 3 : 1, code: isV4 ? 3 : 4, id: 0, about };
    return this.maker.wrap(to, from.mac, { ...base, extensions: [], upper }, false);
  }
}

function reversed(content: IpContent): IpContent {
  const { upper, source, destination } = content;
  const turned = { ...content, source: destination, destination: source };
  if (upper.kind === 'ports')
    return { ...turned, upper: { ...upper, sourcePort: upper.destinationPort, destinationPort: upper.sourcePort } };
  if (upper.kind !== 'icmp') return turned;
  const replies: Readonly<Record<number, number>> = { 8: 0, 0: 8, 128: 129, 129: 128 };
  return { ...turned, upper: { ...upper, type: replies[upper.type] ?? upper.type } };
}
