/** Ordered rules, a second time: the first that matches decides, else the default; from CONFIG.md's list of conditions. */
import {
  type Acl,
  type AclRule,
  contains,
  type Frame,
  type IpContent,
  inRanges,
  macRead,
  protocolNumber,
  type Refusal,
  type Tag,
} from './policy-model.js';

const OPERATIONS = { request: 1, reply: 2 };
const ETHERTYPES = { arp: 0x0806, ipv4: 0x0800, ipv6: 0x86dd };
const FLAG_LETTERS = 'FSRPAUEC';

export type VlanTag = Pick<Tag, 'vid' | 'pcp'>;

export interface AclVerdict {
  /** Undefined: it may pass. */
  readonly reason: Refusal | undefined;
  /** The sender is told. */
  readonly isRejected: boolean;
}

/** `tag`: the one the frame has on the port's own wire, as it comes in or as it leaves; absent: untagged. */
export function judgeByAcl(acl: Acl, frame: Frame, tag: VlanTag | undefined): AclVerdict {
  const rule = acl.rules.find((each) => matches(each, frame, tag));
  if (rule === undefined) return { reason: acl.default === 'deny' ? 'acl_default' : undefined, isRejected: false };
  return { reason: rule.action === 'permit' ? undefined : 'acl_deny', isRejected: rule.action === 'reject' };
}

export function ethertypeOf({ content }: Frame): number {
  if (content.kind === 'other') return content.ethertype;
  if (content.kind === 'arp') return ETHERTYPES.arp;
  if (content.kind === 'ip') return content.source.family === 4 ? ETHERTYPES.ipv4 : ETHERTYPES.ipv6;
  return -1;
}

function matches(rule: AclRule, frame: Frame, tag: VlanTag | undefined): boolean {
  if (rule.srcMac !== undefined && !macMatches(rule.srcMac, frame.sourceMac)) return false;
  if (rule.dstMac !== undefined && !macMatches(rule.dstMac, frame.destinationMac)) return false;
  if (rule.vlan !== undefined && rule.vlan !== (tag?.vid ?? 0)) return false;
  if (rule.pcp !== undefined && rule.pcp !== (tag?.pcp ?? 0)) return false;
  if (rule.ethertype !== undefined) {
    const wanted = typeof rule.ethertype === 'number' ? rule.ethertype : ETHERTYPES[rule.ethertype];
    if (wanted !== ethertypeOf(frame)) return false;
  }
  return arpMatches(rule, frame) && ipMatches(rule, frame);
}

function macMatches(written: string, mac: string): boolean {
  const [wanted, mask = 'f'.repeat(12)] = written.split('/').map(macRead);
  const bits = BigInt(`0x${mask}`);
  return (BigInt(`0x${wanted}`) & bits) === (BigInt(`0x${mac}`) & bits);
}

function arpMatches({ arpOp, arpSender, arpTarget }: AclRule, { content }: Frame): boolean {
  if (arpOp === undefined && arpSender === undefined && arpTarget === undefined) return true;
  if (content.kind !== 'arp' || content.isBroken) return false;
  if (arpOp !== undefined && content.operation !== OPERATIONS[arpOp]) return false;
  if (arpSender !== undefined && !contains(arpSender, content.sender)) return false;
  return arpTarget === undefined || contains(arpTarget, content.target);
}

/** A rule with any IP field matches IP only. */
function ipMatches(rule: AclRule, { content }: Frame): boolean {
  const { family, proto, src, dst, srcPort, dstPort, icmpType, icmpCode, tcpFlags, dscp, fragment } = rule;
  const fields = [family, proto, src, dst, srcPort, dstPort, icmpType, icmpCode, tcpFlags, dscp, fragment];
  if (fields.every((field) => field === undefined)) return true;
  if (content.kind !== 'ip') return false;
  if (family !== undefined && content.source.family !== (family === 'ipv4' ? 4 : 6)) return false;
  if (proto !== undefined && content.protocol !== protocolNumber(proto)) return false;
  if (src !== undefined && !contains(src, content.source)) return false;
  if (dst !== undefined && !contains(dst, content.destination)) return false;
  if (dscp !== undefined && dscp !== content.dscp) return false;
  if (fragment !== undefined && !fragmentMatches(fragment, content.fragment)) return false;
  return upperMatches(rule, content);
}

function fragmentMatches(wanted: 'any' | 'first' | 'later' | 'none', is: IpContent['fragment']): boolean {
  return wanted === 'any' ? is !== 'none' : wanted === is;
}

function upperMatches({ srcPort, dstPort, icmpType, icmpCode, tcpFlags }: AclRule, { upper }: IpContent): boolean {
  if (srcPort !== undefined && !(upper.kind === 'ports' && inRanges(srcPort, upper.sourcePort))) return false;
  if (dstPort !== undefined && !(upper.kind === 'ports' && inRanges(dstPort, upper.destinationPort))) return false;
  if (icmpType !== undefined && !(upper.kind === 'icmp' && upper.type === icmpType)) return false;
  if (icmpCode !== undefined && !(upper.kind === 'icmp' && upper.code === icmpCode)) return false;
  if (tcpFlags === undefined) return true;
  if (upper.kind !== 'ports' || upper.tcp === undefined) return false;
  const [set, looked] = tcpFlags.split('/').map(flagBits);
  return (upper.tcp.flags & looked) === set;
}

const flagBits = (letters: string) =>
  [...letters].reduce((bits, letter) => bits | (1 << FLAG_LETTERS.indexOf(letter)), 0);
