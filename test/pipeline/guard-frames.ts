/**
 * A switch with a guarded port, and the frames a machine behind it sends, honest and not. Octets are laid out here as the
 * RFCs draw them; nothing of src/ is used but the parsers of written addresses.
 */
import { parseIp, parseMac } from '../../src/wire/address.js';
import { concatenate } from '../wire/reference.js';
import { TestSwitch, type TestSwitchOptions, vm } from './test-switch.js';

export const OWN_MAC = '52:54:00:00:00:01';
export const PAIR_MAC = '00:00:5e:00:01:09';
export const FOREIGN_MAC = '52:54:00:00:00:02';
export const OWN4 = '192.0.2.5';
export const OWN6 = '2001:db8::5';
export const OWN_LINK_LOCAL = 'fe80::5054:ff:fe00:1';
export const FOREIGN4 = '192.0.2.6';
export const FOREIGN6 = '2001:db8::6';
export const FOREIGN_LINK_LOCAL = 'fe80::5054:ff:fe00:2';
/** Own with PAIR_MAC only. */
export const PAIR4 = '198.51.100.9';
export const PAIR6 = '2001:db8:9::9';
/** Own with OWN_MAC besides its addresses. */
export const EXTRA4 = '192.0.2.50';
export const EXTRA_TYPE = 0x88b5;
export const ALL_NODES = 'ff02::1';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';

/** Port `a` is guarded; `b` and the trunk `up` see what it gets out. */
export function guardedSwitch(options: TestSwitchOptions = {}): TestSwitch {
  return new TestSwitch(
    {
      networks: { red: { type: 'vlan', id: 10 } },
      ports: {
        a: vm({
          network: 'red',
          mac: OWN_MAC,
          addresses: [`${OWN4}/24`, `${OWN6}/64`],
          antiSpoof: true,
          allowedPairs: [
            { ip: EXTRA4 },
            { ip: '198.51.100.0/28', mac: PAIR_MAC },
            { ip: '2001:db8:9::/64', mac: PAIR_MAC },
          ],
          allowEthertypes: [EXTRA_TYPE],
        }),
        b: vm({ network: 'red' }),
        up: { kind: 'netdev', trunk: ['red'] },
      },
    },
    options,
  );
}

export function mac(text: string): Uint8Array {
  const octets = parseMac(text);
  if (octets === undefined) throw new Error(`no MAC: ${text}`);
  return octets;
}

export function ip(text: string): Uint8Array {
  const octets = parseIp(text);
  if (octets === undefined) throw new Error(`no address: ${text}`);
  return octets;
}

export const bytes = (...octets: readonly number[]) => Uint8Array.from(octets);
export const word16 = (value: number) => bytes(value >> 8, value & 0xff);

/** What lies behind an ethertype, with the addresses in front. */
export interface Body {
  readonly from: string;
  readonly to: string;
  readonly type: number;
  readonly payload: Uint8Array;
}

export function ethernet({ from, to, type, payload }: Body): Uint8Array {
  return concatenate(mac(to), mac(from), word16(type), payload);
}

// ---- ARP --------------------------------------------------------------------------------------------------------

export interface ArpRecipe {
  readonly from?: string;
  readonly operation?: number;
  readonly senderMac?: string;
  readonly sender?: string;
  readonly target?: string;
}

export function arpBody(recipe: ArpRecipe = {}): Body {
  const { from = OWN_MAC, operation = 1, senderMac = from, sender = OWN4, target = FOREIGN4 } = recipe;
  const head = bytes(0, 1, 8, 0, 6, 4, 0, operation);
  const payload = concatenate(head, mac(senderMac), ip(sender), new Uint8Array(6), ip(target), new Uint8Array(18));
  return { from, to: BROADCAST, type: 0x0806, payload };
}

export const arp = (recipe: ArpRecipe = {}) => ethernet(arpBody(recipe));

// ---- IP ---------------------------------------------------------------------------------------------------------

export interface IpRecipe {
  readonly from?: string;
  readonly to?: string;
  readonly source?: string;
  readonly destination?: string;
  readonly hopLimit?: number;
}

/** A packet before it is laid out, so that it can be wrapped in several ways. */
export interface Packet extends Required<IpRecipe> {
  readonly protocol: number;
  readonly message: Uint8Array;
}

export function packet4(recipe: IpRecipe, protocol: number, message: Uint8Array): Packet {
  const defaults = { from: OWN_MAC, to: BROADCAST, source: OWN4, destination: '192.0.2.255', hopLimit: 64 };
  return { ...defaults, ...recipe, protocol, message };
}

export function packet6(recipe: IpRecipe, protocol: number, message: Uint8Array): Packet {
  const defaults = { from: OWN_MAC, to: '33:33:00:00:00:01', source: OWN6, destination: ALL_NODES, hopLimit: 255 };
  return { ...defaults, ...recipe, protocol, message };
}

/** What is put between the header and the message. */
export interface Layers {
  /** Octets of IPv4 options, a multiple of four. */
  readonly options?: Uint8Array;
  /** IPv6 extension headers: kind, and octets without their first, which is filled in. */
  readonly extensions?: readonly { readonly kind: number; readonly rest: Uint8Array }[];
  /** The field of IPv4's fragment word. */
  readonly fragment?: number;
}

export function bodyOf(packet: Packet, layers: Layers = {}): Body {
  const { from, to } = packet;
  const isIpv4 = ip(packet.source).length === 4;
  return {
    from,
    to,
    type: isIpv4 ? 0x0800 : 0x86dd,
    payload: isIpv4 ? ipv4Octets(packet, layers) : ipv6Octets(packet, layers),
  };
}

function ipv4Octets(packet: Packet, { options = bytes(), fragment = 0 }: Layers): Uint8Array {
  const size = 20 + options.length + packet.message.length;
  return concatenate(
    bytes(0x40 | (5 + options.length / 4), 0),
    word16(size),
    word16(0x1234),
    word16(fragment),
    bytes(packet.hopLimit, packet.protocol, 0, 0),
    ip(packet.source),
    ip(packet.destination),
    options,
    packet.message,
  );
}

function ipv6Octets(packet: Packet, { extensions = [] }: Layers): Uint8Array {
  const kinds = [...extensions.map(({ kind }) => kind), packet.protocol];
  const headers = extensions.map(({ rest }, index) => concatenate(bytes(kinds[index + 1]), rest));
  const behind = concatenate(...headers, packet.message);
  return concatenate(
    bytes(0x60, 0, 0, 0),
    word16(behind.length),
    bytes(kinds[0], packet.hopLimit),
    ip(packet.source),
    ip(packet.destination),
    behind,
  );
}

export const frameOf = (packet: Packet, layers: Layers = {}) => ethernet(bodyOf(packet, layers));

export function udp(ports: readonly [number, number], payload: Uint8Array): Uint8Array {
  return concatenate(word16(ports[0]), word16(ports[1]), word16(8 + payload.length), bytes(0, 0), payload);
}

export interface UdpRecipe extends IpRecipe {
  readonly ports?: readonly [number, number];
  readonly payload?: Uint8Array;
}

const PAYLOAD = new Uint8Array(24).fill(0x11);

export const udp4Packet = ({ ports = [1000, 2000], payload = PAYLOAD, ...rest }: UdpRecipe = {}) =>
  packet4(rest, 17, udp(ports, payload));
export const udp6Packet = ({ ports = [1000, 2000], payload = PAYLOAD, ...rest }: UdpRecipe = {}) =>
  packet6(rest, 17, udp(ports, payload));
export const udp4 = (recipe: UdpRecipe = {}) => frameOf(udp4Packet(recipe));
export const udp6 = (recipe: UdpRecipe = {}) => frameOf(udp6Packet(recipe));

/** An ICMP message of a type, with an IP header's worth of octets behind. */
export const icmp4Packet = (type: number, recipe: IpRecipe = {}) =>
  packet4(recipe, 1, concatenate(bytes(type, 0, 0, 0), new Uint8Array(28)));
export const icmp4 = (type: number, recipe: IpRecipe = {}) => frameOf(icmp4Packet(type, recipe));

export const igmpPacket = (type: number, recipe: IpRecipe = {}) =>
  packet4(
    { to: '01:00:5e:00:00:01', destination: '224.0.0.1', hopLimit: 1, ...recipe },
    2,
    bytes(type, 0, 0, 0, 224, 0, 0, 9),
  );

// ---- ICMPv6 -----------------------------------------------------------------------------------------------------

export function icmp6Packet(type: number, rest: Uint8Array, recipe: IpRecipe = {}, code = 0): Packet {
  return packet6(recipe, 58, concatenate(bytes(type, code, 0, 0), rest));
}

export function linkLayer(kind: number, address: string): Uint8Array {
  return concatenate(bytes(kind, 1), mac(address));
}

export interface NdRecipe extends IpRecipe {
  readonly code?: number;
  readonly target?: string;
  /** In a link-layer option; null: there is none. */
  readonly mac?: string | null;
  /** In place of the link-layer option. */
  readonly options?: Uint8Array;
}

function ndPacket(type: number, recipe: NdRecipe, target: string, kind: number): Packet {
  const { code = 0, target: asked = target, mac: told = OWN_MAC, options, ...rest } = recipe;
  const option = options ?? (told === null ? bytes() : linkLayer(kind, told));
  return icmp6Packet(type, concatenate(bytes(0x20, 0, 0, 0), ip(asked), option), rest, code);
}

export const solicitationPacket = (recipe: NdRecipe = {}) => ndPacket(135, recipe, FOREIGN6, 1);
export const advertisementPacket = (recipe: NdRecipe = {}) => ndPacket(136, recipe, OWN6, 2);
export const solicitation = (recipe: NdRecipe = {}) => frameOf(solicitationPacket(recipe));
export const advertisement = (recipe: NdRecipe = {}) => frameOf(advertisementPacket(recipe));
/** Duplicate address detection. */
export const dadPacket = (target: string, recipe: NdRecipe = {}) =>
  solicitationPacket({ source: '::', target, mac: null, destination: 'ff02::1:ff00:5', ...recipe });

export function routerSolicitationPacket(told: string | null = OWN_MAC, recipe: IpRecipe = {}): Packet {
  const option = told === null ? bytes() : linkLayer(1, told);
  const base = { source: OWN_LINK_LOCAL, destination: 'ff02::2' };
  return icmp6Packet(133, concatenate(new Uint8Array(4), option), { ...base, ...recipe });
}

export const routerAdvertisementPacket = (recipe: IpRecipe = {}) =>
  icmp6Packet(134, bytes(64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0), { source: OWN_LINK_LOCAL, ...recipe });

export const redirectPacket = (recipe: IpRecipe = {}) =>
  icmp6Packet(137, concatenate(new Uint8Array(4), ip(OWN6), ip(FOREIGN6)), { source: OWN_LINK_LOCAL, ...recipe });

/** MLD: 130 query, 131 report, 132 done, 143 version 2 report. */
export const mldPacket = (type: number, recipe: IpRecipe = {}) =>
  icmp6Packet(type, concatenate(new Uint8Array(4), ip('ff02::9')), { source: OWN_LINK_LOCAL, hopLimit: 1, ...recipe });

// ---- DHCP -------------------------------------------------------------------------------------------------------

export interface DhcpRecipe extends IpRecipe {
  readonly operation?: number;
  readonly client?: string;
  readonly ports?: readonly [number, number];
  /** Behind the cookie. */
  readonly options?: Uint8Array;
}

export function dhcpMessage({
  operation = 1,
  client = OWN_MAC,
  options = bytes(53, 1, 1, 255),
}: DhcpRecipe): Uint8Array {
  const head = concatenate(bytes(operation, 1, 6, 0, 1, 2, 3, 4), new Uint8Array(20), mac(client), new Uint8Array(10));
  return concatenate(head, new Uint8Array(192), bytes(0x63, 0x82, 0x53, 0x63), options);
}

export function dhcpClientPacket(recipe: DhcpRecipe = {}): Packet {
  const { operation, client, ports = [68, 67], options, ...rest } = recipe;
  const base = { source: '0.0.0.0', destination: '255.255.255.255' };
  return packet4({ ...base, ...rest }, 17, udp(ports, dhcpMessage(recipe)));
}

export const dhcpClient = (recipe: DhcpRecipe = {}) => frameOf(dhcpClientPacket(recipe));

export const dhcpServerPacket = (recipe: DhcpRecipe = {}) =>
  dhcpClientPacket({ operation: 2, ports: [67, 68], source: OWN4, client: FOREIGN_MAC, ...recipe });

export const dhcp6Packet = (type: number, ports: readonly [number, number], recipe: IpRecipe = {}) =>
  udp6Packet({ source: OWN_LINK_LOCAL, destination: 'ff02::1:2', ports, payload: bytes(type, 1, 2, 3), ...recipe });
