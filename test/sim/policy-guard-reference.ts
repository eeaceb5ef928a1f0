/**
 * What a guarded port may send, a second time: rule 3 of the design, "Anti-spoof and ARP/ND" and "allowedPairs" of the
 * configuration reference, read clause by clause over frames as objects. Each clause that a frame breaks is named, as the
 * switch may look at them in any order.
 */
import {
  type Address,
  type ArpContent,
  contains,
  type Frame,
  type IcmpUpper,
  type IpContent,
  icmpv6Type,
  isDhcpClient,
  isDhcpServer,
  isSameAddress,
  linkLocal,
  macRead,
  type PolicyPort,
  type Refusal,
  UNSPECIFIED_4,
  UNSPECIFIED_6,
} from './policy-model.js';

/** A pair of MAC and prefix that is the port's own. */
interface Pair {
  readonly mac: string;
  readonly ip: string;
}

/** Own addresses, the EUI-64 link-local one, and what the pairs say: exact pairs of MAC and address. */
export function ownPairs(port: PolicyPort): Pair[] {
  const mac = macRead(port.mac ?? '');
  return [
    ...(port.addresses ?? []).map((written) => ({ mac, ip: written.split('/')[0] })),
    ...(port.allowedPairs ?? []).map((pair) => ({ mac: macRead(pair.mac ?? port.mac ?? ''), ip: pair.ip })),
  ];
}

export function ownMacs(port: PolicyPort): string[] {
  return [macRead(port.mac ?? ''), ...ownPairs(port).map(({ mac }) => mac)];
}

export function isOwn(port: PolicyPort, mac: string, ip: Address): boolean {
  if (mac === macRead(port.mac ?? '') && isSameAddress(ip, linkLocal(mac))) return true;
  return ownPairs(port).some((pair) => pair.mac === mac && contains(pair.ip, ip));
}

/** Whatever the port's rules allow: a VM is no DHCP server and no router. */
export function alwaysBlocked({ content }: Frame): Refusal[] {
  if (isDhcpServer(content)) return ['dhcp_server'];
  const type = icmpv6Type(content);
  if (type === 134 || type === 137) return ['router_advertisement'];
  const isRedirect = content.kind === 'ip' && content.source.family === 4 && content.protocol === 1;
  if (isRedirect && content.upper.kind === 'icmp' && content.upper.type === 5) return ['router_advertisement'];
  return [];
}

export function guardViolations(port: PolicyPort, frame: Frame): Refusal[] {
  const { content, sourceMac } = frame;
  const found: Refusal[] = ownMacs(port).includes(sourceMac) ? [] : ['spoof_mac'];
  // The first tag named the network or had VID 0; one more is one too many.
  if (frame.tags.length > 1) found.push('bad_vlan_tag', 'vlan_not_allowed', 'ethertype_not_allowed', 'not_parsed');
  switch (content.kind) {
    case 'llc':
      return [...found, 'llc_snap'];
    case 'other':
      return port.allowEthertypes?.includes(content.ethertype) ? found : [...found, 'ethertype_not_allowed'];
    case 'arp':
      return [...found, ...arpViolations(port, content)];
    case 'ip':
      return [...found, ...alwaysBlocked(frame), ...ipViolations(port, frame, content)];
  }
}

function arpViolations(port: PolicyPort, { isBroken, operation, senderMac, sender }: ArpContent): Refusal[] {
  if (isBroken) return ['not_parsed'];
  // RFC 5227: a probe asks from 0.0.0.0, with the own MAC.
  const isProbe = operation === 1 && isSameAddress(sender, UNSPECIFIED_4) && ownMacs(port).includes(senderMac);
  return isProbe || isOwn(port, senderMac, sender) ? [] : ['spoof_arp'];
}

const breakageReasons = {
  ip: 'bad_ip_header',
  tcp: 'bad_tcp_header',
  udp: 'bad_udp_header',
  icmp: 'bad_icmp',
  nd: 'spoof_nd',
} as const;

export function brokenReasons({ broken }: IpContent): Refusal[] {
  return broken === undefined ? [] : [breakageReasons[broken], 'not_parsed'];
}

function ipViolations(port: PolicyPort, frame: Frame, content: IpContent): Refusal[] {
  const found = brokenReasons(content);
  const { source, upper } = content;
  if (!isSourceAllowed(port, frame, content)) found.push('spoof_ip');
  if (isDhcpClient(content) && upper.kind === 'ports' && upper.dhcp !== undefined)
    if (!ownMacs(port).includes(upper.dhcp.chaddr)) found.push('spoof_dhcp');
  if (source.family === 6 && upper.kind === 'icmp' && upper.nd !== undefined)
    found.push(...ndViolations(port, frame, source, upper));
  return found;
}

function isSourceAllowed(port: PolicyPort, { sourceMac }: Frame, content: IpContent): boolean {
  const { source } = content;
  if (isOwn(port, sourceMac, source)) return true;
  // 0.0.0.0 as a DHCP client only, :: for duplicate address detection and MLD reports only (semantics.md 1.4).
  if (isSameAddress(source, UNSPECIFIED_4)) return isDhcpClient(content);
  if (isSameAddress(source, UNSPECIFIED_6)) return [131, 135, 143].includes(icmpv6Type(content) ?? -1);
  return false;
}

function ndViolations(port: PolicyPort, frame: Frame, source: Address, { type, code, nd }: IcmpUpper): Refusal[] {
  // RFC 4861 6.1 and 7.1: such a message is none.
  const found: Refusal[] = code === 0 ? [] : ['not_parsed'];
  const isDad = type === 135 && isSameAddress(source, UNSPECIFIED_6);
  // Who the option says is at that MAC: pairs are exact.
  const subject = type === 136 ? nd?.target : source;
  if (nd?.link !== undefined && subject !== undefined && !isOwn(port, nd.link, subject)) found.push('spoof_nd');
  const mustOwn = type === 136 || isDad;
  if (mustOwn && nd?.target !== undefined && !isOwn(port, frame.sourceMac, nd.target)) found.push('spoof_nd');
  return found;
}

/** All addresses that count as the port's where a rule names a group: its own, and its pairs' by address only. */
export function memberPrefixes(port: PolicyPort): string[] {
  return ownPairs(port).map(({ ip }) => ip);
}
