/**
 * Security groups and the connections they remember, a second time: semantics.md 1.4 and 1.5, CONFIG.md. Connections are
 * kept in a plain Map by their text. Of TCP only the opening is known here; whoever makes frames keeps to what has one
 * meaning (policy-traffic.ts), and the rest is compared with the kernel elsewhere.
 */
import { memberPrefixes } from './policy-guard-reference.js';
import {
  type Address,
  contains,
  type Frame,
  type GroupRule,
  type IpContent,
  icmpv6Type,
  inRanges,
  isDhcpClient,
  isDhcpServer,
  isGroupMac,
  isMulticast,
  type PolicyDocument,
  type PolicyPort,
  protocolNumber,
  type Refusal,
} from './policy-model.js';

/** ICMPv6 messages that a VM needs to take part at all, by direction (semantics.md 1.4). */
const ALWAYS_OUT = [130, 133, 135, 136];
const ALWAYS_OUT_FROM_NOBODY = [131, 135, 143];
const ALWAYS_IN = [130, 135, 136];

export type Stage = 'open' | 'syn-sent' | 'syn-received' | 'established';

export interface Connection {
  readonly network: string;
  /** The packet it was opened by. */
  readonly original: IpContent;
  sourcePort: string;
  destinationPort: string;
  stage: Stage;
  /** Of the policy under which both ends allowed it. */
  epoch: number;
}

/** How a frame stands to the connections of its network. */
export interface Standing {
  readonly is: 'untracked' | 'new' | 'known' | 'related' | 'invalid';
  readonly connection?: Connection;
  readonly isReply?: boolean;
}

const PASSES: readonly Refusal[] = [];
const text = ({ family, value }: Address) => `${family}:${value.toString(16)}`;

/** The connection's name in the packet's direction, or (`isReply`) in the other one. */
function connectionKey(network: string, { source, destination, protocol, upper }: IpContent, isReply: boolean): string {
  const ends = [text(source), text(destination)];
  if (upper.kind === 'ports') {
    ends[0] += ` ${upper.sourcePort}`;
    ends[1] += ` ${upper.destinationPort}`;
  }
  const echo = upper.kind === 'icmp' ? ` echo ${upper.id}` : '';
  return `${network} ${protocol}${echo} ${(isReply ? ends.reverse() : ends).join(' > ')}`;
}

const isEchoRequest = ({ source, upper }: IpContent) =>
  upper.kind === 'icmp' && upper.type === (source.family === 4 ? 8 : 128);
const isEchoReply = ({ source, upper }: IpContent) =>
  upper.kind === 'icmp' && upper.type === (source.family === 4 ? 0 : 129);

export class GroupsReference {
  private document: PolicyDocument = { version: 1, networks: {}, ports: {}, acls: {}, groups: {} };
  private readonly connections = new Map<string, Connection>();
  private epoch = 0;

  configure(document: PolicyDocument): void {
    this.document = document;
    this.epoch++;
  }

  isStateful({ groups }: PolicyPort): boolean {
    return groups?.some((name) => this.document.groups[name].stateful) ?? false;
  }

  isTracked(network: string): boolean {
    return Object.values(this.document.ports).some(
      (port) => this.isStateful(port) && (port.network === network || port.trunk !== undefined),
    );
  }

  find(network: string, content: IpContent): { connection: Connection; isReply: boolean } | undefined {
    // A request of the other side with the same identifier is another query, not a reply.
    const ways = isEchoRequest(content) ? [false] : isEchoReply(content) ? [true] : [false, true];
    for (const isReply of ways) {
      const connection = this.connections.get(connectionKey(network, content, isReply));
      if (connection !== undefined) return { connection, isReply };
    }
    return undefined;
  }

  /** What conntrack makes of the frame; a connection's stage moves on with it. */
  track(frame: Frame, network: string): Standing {
    const { content } = frame;
    if (content.kind !== 'ip' || isGroupMac(frame.destinationMac)) return { is: 'untracked' };
    if (!this.isTracked(network) || isMulticast(content.destination)) return { is: 'untracked' };
    const { upper } = content;
    if (isAboutTheLink(content)) return { is: 'untracked' };
    if (upper.kind === 'icmp' && upper.about !== undefined) {
      const about = this.find(network, upper.about);
      return about === undefined ? { is: 'invalid' } : { is: 'related', connection: about.connection };
    }
    const found = this.find(network, content);
    if (found !== undefined) {
      if (upper.kind === 'ports' && upper.tcp !== undefined) moveOn(found.connection, upper.tcp.flags, found.isReply);
      return { is: 'known', ...found };
    }
    if (upper.kind === 'icmp') return { is: isEchoRequest(content) ? 'new' : 'invalid' };
    if (upper.kind === 'ports' && upper.tcp !== undefined && content.fragment !== 'later')
      return { is: (upper.tcp.flags & 0x17) === 0x02 ? 'new' : 'invalid' };
    return { is: 'new' };
  }

  /** Why the port's groups do not let the frame out of the VM. */
  judgeFrom(name: string, frame: Frame, standing: Standing): readonly Refusal[] {
    const port = this.document.ports[name];
    if (port.groups === undefined || isNeededFrom(frame)) return PASSES;
    return this.judge(name, port, frame, standing, 'egress');
  }

  /** Why the port's groups do not let the frame reach the VM. */
  judgeTo(name: string, frame: Frame, standing: Standing): readonly Refusal[] {
    const port = this.document.ports[name];
    if (port.groups === undefined || isNeededTo(frame, this.document.ports[frame.port].kind === 'tap')) return PASSES;
    return this.judge(name, port, frame, standing, 'ingress');
  }

  /** A copy that passes opens the connection, if either end asks. */
  commit(frame: Frame, network: string, standing: Standing, destinationPort: string): void {
    const { port: sourcePort, content } = frame;
    if (standing.is !== 'new' || content.kind !== 'ip') return;
    const { ports } = this.document;
    if (!this.isStateful(ports[sourcePort]) && !this.isStateful(ports[destinationPort])) return;
    const key = connectionKey(network, content, false);
    if (this.connections.has(key)) return;
    const stage = content.protocol === 6 ? 'syn-sent' : 'open';
    this.connections.set(key, {
      network,
      original: content,
      sourcePort,
      destinationPort,
      stage,
      epoch: this.epoch,
    });
  }

  private judge(
    name: string,
    port: PolicyPort,
    { content }: Frame,
    standing: Standing,
    direction: GroupRule['direction'],
  ): readonly Refusal[] {
    const { is, connection } = standing;
    // Ethertypes that the operator allows the port besides ARP and IP are no matter of rules, which know IP only.
    if (content.kind === 'other' && port.allowEthertypes?.includes(content.ethertype)) return PASSES;
    if (content.kind !== 'ip') return ['group_deny'];
    if (!this.isStateful(port)) return this.allows(name, content, direction) ? PASSES : ['group_deny'];
    if (is === 'invalid') return ['conntrack_invalid'];
    if (connection !== undefined)
      return this.isStillAllowed(connection) && this.mayUse(name, standing, direction)
        ? PASSES
        : ['group_deny', 'conntrack_invalid'];
    return this.allows(name, content, direction) ? PASSES : ['group_deny'];
  }

  /** At another port than it runs by (a machine moved, a flood), a connection is judged by that port's own rules. */
  private mayUse(name: string, { is, connection, isReply }: Standing, direction: GroupRule['direction']): boolean {
    if (is !== 'known' || connection === undefined) return true;
    const end = (direction === 'egress') === isReply ? 'destinationPort' : 'sourcePort';
    if (connection[end] === name) return true;
    const way = end === 'sourcePort' ? 'egress' : 'ingress';
    if (!this.allows(name, connection.original, way)) return false;
    connection[end] = name;
    return true;
  }

  /** Judged anew when policy changed: what is not allowed any more is cut, in both directions. */
  private isStillAllowed(connection: Connection): boolean {
    if (connection.epoch === this.epoch) return true;
    const { original, sourcePort, destinationPort, network } = connection;
    const isNeeded = isDhcpClient(original) || isDhcpServer(original);
    const isAllowed =
      isNeeded || (this.allows(sourcePort, original, 'egress') && this.allows(destinationPort, original, 'ingress'));
    if (isAllowed) connection.epoch = this.epoch;
    else this.connections.delete(connectionKey(network, original, false));
    return isAllowed;
  }

  /** Whether a port's rules allow the packet; no groups allow everything. */
  private allows(name: string, content: IpContent, direction: GroupRule['direction']): boolean {
    const { groups } = this.document.ports[name];
    if (groups === undefined) return true;
    if (content.broken !== undefined) return false;
    return groups.some((group) =>
      this.document.groups[group].rules.some((rule) => rule.direction === direction && this.matches(rule, content)),
    );
  }

  private matches(rule: GroupRule, content: IpContent): boolean {
    const { family, proto, port, icmpType, icmpCode, remote, remoteGroup } = rule;
    const { upper } = content;
    const far = rule.direction === 'egress' ? content.destination : content.source;
    if (family !== undefined && far.family !== (family === 'ipv4' ? 4 : 6)) return false;
    if (proto !== undefined && content.protocol !== protocolNumber(proto)) return false;
    if (port !== undefined && !(upper.kind === 'ports' && inRanges(port, upper.destinationPort))) return false;
    if (icmpType !== undefined && !(upper.kind === 'icmp' && upper.type === icmpType)) return false;
    if (icmpCode !== undefined && !(upper.kind === 'icmp' && upper.code === icmpCode)) return false;
    if (remote !== undefined && !contains(remote, far)) return false;
    return remoteGroup === undefined || this.isMember(remoteGroup, far);
  }

  private isMember(group: string, far: Address): boolean {
    const members = Object.values(this.document.ports).filter(({ groups }) => groups?.includes(group));
    return members.some((port) => memberPrefixes(port).some((prefix) => contains(prefix, far)));
  }
}

function moveOn(connection: Connection, flags: number, isReply: boolean): void {
  if (connection.stage === 'syn-sent' && isReply && flags === 0x12) connection.stage = 'syn-received';
  else if (connection.stage === 'syn-received' && !isReply && flags === 0x10) connection.stage = 'established';
}

/** Neighbour discovery, MLD and IGMP, which no connection is made of. */
function isAboutTheLink(content: IpContent): boolean {
  const type = icmpv6Type(content) ?? 0;
  return content.protocol === 2 || (type >= 130 && type <= 137) || type === 143;
}

/** DHCP client, ARP for own addresses, needed ND. Without antiSpoof, which looks first, all that a VM uses are its own. */
function isNeededFrom({ content }: Frame): boolean {
  if (content.kind === 'arp') return true;
  const type = icmpv6Type(content);
  if (isDhcpClient(content) || type === undefined || content.kind !== 'ip') return isDhcpClient(content);
  return (content.source.value === 0n ? ALWAYS_OUT_FROM_NOBODY : ALWAYS_OUT).includes(type);
}

/** Router advertisements too, from who may be a router: no VM is. */
function isNeededTo({ content }: Frame, isFromVm: boolean): boolean {
  if (content.kind === 'arp') return true;
  const type = icmpv6Type(content);
  if (type === 134) return !isFromVm;
  return isDhcpServer(content) || (type !== undefined && ALWAYS_IN.includes(type));
}
