/**
 * A decision of the DHCPv4 server (dhcp-server.ts) as the message that goes out: its options, its size, and whom it is sent
 * to (RFC 2131 4.1 and 4.3.1). Pure; main thread.
 */

import { parseIpv4 } from '../wire/address.js';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from '../wire/dhcp.js';
import {
  classlessRoutes,
  DHCP_ACK,
  DHCP_BROADCAST,
  DHCP_NAK,
  type DhcpMessage,
  domainNames,
  latinText,
  OPTION_BOOT_FILE,
  OPTION_BROADCAST,
  OPTION_CLIENT_ID,
  OPTION_DNS,
  OPTION_DOMAIN,
  OPTION_HOST_NAME,
  OPTION_LEASE_TIME,
  OPTION_MAX_SIZE,
  OPTION_MESSAGE_TYPE,
  OPTION_MTU,
  OPTION_NTP,
  OPTION_PARAMETERS,
  OPTION_RAPID_COMMIT,
  OPTION_REBINDING_TIME,
  OPTION_RELAY_INFO,
  OPTION_RENEWAL_TIME,
  OPTION_ROUTER,
  OPTION_ROUTES,
  OPTION_SEARCH,
  OPTION_SERVER_ID,
  OPTION_SUBNET_MASK,
  OPTION_TFTP_NAME,
  OPTION_TFTP_SERVERS,
  octet,
  readWord32,
  word16,
  word32,
  words32,
  writeDhcp,
} from '../wire/dhcp-message.js';
import { ipv4Number, rangeOf } from './address-range.js';
import type { DhcpAnswer, DhcpSubnet } from './dhcp-server.js';

const IP_UDP_SIZE = 28;
/** RFC 2131 section 2: what every client takes, in octets of the IP datagram. */
const DATAGRAM_SIZE_MIN = 576;
const BROADCAST_ADDRESS = 0xffff_ffff;
const BROADCAST_MAC = Uint8Array.of(255, 255, 255, 255, 255, 255);

/** What belongs to the client's port. */
export interface ClientSettings {
  /** Its network's MTU at this port. */
  readonly mtu: number;
  /** Options of its own, before those of the subnet. */
  readonly options: ReadonlyMap<number, Uint8Array>;
  /** Name for the machine; absent: none. */
  readonly hostName?: string;
}

export interface OutgoingDhcp {
  readonly payload: Uint8Array;
  readonly source: number;
  readonly destination: number;
  readonly destinationPort: number;
  readonly destinationMac: Uint8Array;
}

/** `senderMac`: who the message came from, a relay agent perhaps. */
export function dhcpReply(
  message: DhcpMessage,
  answer: DhcpAnswer,
  client: ClientSettings,
  senderMac: Uint8Array,
): OutgoingDhcp {
  const { dhcp } = answer.subnet;
  const isNak = answer.type === DHCP_NAK;
  const isRelayed = message.giaddr !== 0;
  const known = isNak ? new Map<number, Uint8Array>() : settingsOf(answer.subnet, client);
  const payload = writeDhcp(
    {
      xid: message.xid,
      // RFC 2131 4.3.2: a relay agent is to broadcast a NAK, for the client's address may be of another network.
      flags: isNak && isRelayed ? message.flags | DHCP_BROADCAST : message.flags,
      ciaddr: answer.type === DHCP_ACK ? message.ciaddr : 0,
      yiaddr: answer.address,
      siaddr: isNak ? 0 : nextServer(known),
      giaddr: message.giaddr,
      chaddr: message.chaddr,
      hardwareSize: message.hardwareSize,
      // RFC 2131 4.3.1: the boot file, also for those who read the field and not the option.
      file: Buffer.from(known.get(OPTION_BOOT_FILE) ?? []).toString('latin1'),
      options: replyOptions(message, answer, known),
    },
    sizeMax(message, client.mtu),
  );
  return { payload, source: ipv4Number(dhcp.server), ...destinationOf(message, answer, senderMac) };
}

/** What the client takes, as it says (57), and what fits the network. */
function sizeMax({ options }: DhcpMessage, mtu: number): number {
  const value = options.get(OPTION_MAX_SIZE);
  const said = value?.length === 2 ? (value[0] << 8) | value[1] : DATAGRAM_SIZE_MIN;
  return Math.min(Math.max(said, DATAGRAM_SIZE_MIN), Math.max(mtu, DATAGRAM_SIZE_MIN)) - IP_UDP_SIZE;
}

function nextServer(known: ReadonlyMap<number, Uint8Array>): number {
  const listed = known.get(OPTION_TFTP_SERVERS);
  if (listed !== undefined && listed.length >= 4) return readWord32(listed.subarray(0, 4)) ?? 0;
  const named = parseIpv4(Buffer.from(known.get(OPTION_TFTP_NAME) ?? []).toString('latin1'));
  return named === undefined ? 0 : ipv4Number(named);
}

/** All the client could ask for, the port's own options first, then the subnet's, then what follows from the subnet. */
function settingsOf({ dhcp, prefix, gateway }: DhcpSubnet, client: ClientSettings): Map<number, Uint8Array> {
  const all = new Map<number, Uint8Array>();
  const range = rangeOf(prefix);
  const mask = Number((0xffff_ffffn << BigInt(32 - prefix.length)) & 0xffff_ffffn);
  all.set(OPTION_SUBNET_MASK, word32(mask));
  if (gateway !== undefined) all.set(OPTION_ROUTER, word32(ipv4Number(gateway)));
  // RFC 3442: who takes this ignores option 3, so the default route is in it.
  const toGateway = gateway === undefined ? [] : [{ destination: 0, prefixLength: 0, via: ipv4Number(gateway) }];
  const hasDefault = dhcp.routes.some(({ prefixLength }) => prefixLength === 0);
  const routes = hasDefault ? dhcp.routes : [...dhcp.routes, ...toGateway];
  if (routes.length > 0) all.set(OPTION_ROUTES, classlessRoutes(routes));
  if (dhcp.dns.length > 0) all.set(OPTION_DNS, words32(dhcp.dns));
  if (client.hostName !== undefined) all.set(OPTION_HOST_NAME, latinText(client.hostName));
  if (dhcp.domain !== undefined) all.set(OPTION_DOMAIN, latinText(dhcp.domain));
  all.set(OPTION_MTU, word16(client.mtu));
  if (prefix.length < 31) all.set(OPTION_BROADCAST, word32(Number(range.last)));
  if (dhcp.ntp.length > 0) all.set(OPTION_NTP, words32(dhcp.ntp));
  if (dhcp.search.length > 0) all.set(OPTION_SEARCH, domainNames(dhcp.search));
  for (const [code, value] of [...dhcp.options, ...client.options]) all.set(code, value);
  return all;
}

/** The message's own options first, then in the client's order of wishes (RFC 2131 4.3.1); all there is if it has none. */
function replyOptions(
  message: DhcpMessage,
  { type, subnet, address, isRapid }: DhcpAnswer,
  known: ReadonlyMap<number, Uint8Array>,
): [number, Uint8Array][] {
  const { dhcp } = subnet;
  const options: [number, Uint8Array][] = [
    [OPTION_MESSAGE_TYPE, octet(type)],
    [OPTION_SERVER_ID, word32(ipv4Number(dhcp.server))],
  ];
  if (isRapid) options.push([OPTION_RAPID_COMMIT, new Uint8Array(0)]);
  // RFC 3046 2.2: echoed whole to the agent that put it there. RFC 6842: so is the identifier, to the client.
  for (const code of [OPTION_RELAY_INFO, OPTION_CLIENT_ID]) {
    const echoed = code === OPTION_RELAY_INFO && message.giaddr === 0 ? undefined : message.options.get(code);
    if (echoed !== undefined) options.push([code, echoed]);
  }
  if (address !== 0) {
    const seconds = dhcp.leaseSeconds;
    const times = { [OPTION_RENEWAL_TIME]: seconds / 2, [OPTION_REBINDING_TIME]: (seconds * 7) / 8 };
    options.push([OPTION_LEASE_TIME, word32(seconds)]);
    for (const [code, value] of Object.entries(times))
      if (!known.has(Number(code))) options.push([Number(code), word32(Math.floor(value))]);
  }
  const asked = message.options.get(OPTION_PARAMETERS);
  const wishes = asked === undefined ? known.keys() : new Set([OPTION_SUBNET_MASK, ...asked]);
  for (const code of wishes) {
    const value = known.get(code);
    if (value !== undefined) options.push([code, value]);
  }
  return options;
}

/** RFC 2131 4.1: the relay agent, the address the client has, everybody, or the address it is about to have. */
function destinationOf(
  { giaddr, ciaddr, flags, chaddr }: DhcpMessage,
  { type, address }: DhcpAnswer,
  senderMac: Uint8Array,
): Omit<OutgoingDhcp, 'payload' | 'source'> {
  if (giaddr !== 0) return { destination: giaddr, destinationPort: DHCP_SERVER_PORT, destinationMac: senderMac };
  const toClient = { destinationPort: DHCP_CLIENT_PORT, destinationMac: chaddr.slice(0, 6) };
  if (type !== DHCP_NAK && ciaddr !== 0) return { destination: ciaddr, ...toClient };
  if (type === DHCP_NAK || (flags & DHCP_BROADCAST) !== 0 || address === 0)
    return { destination: BROADCAST_ADDRESS, destinationPort: DHCP_CLIENT_PORT, destinationMac: BROADCAST_MAC };
  return { destination: address, ...toClient };
}
