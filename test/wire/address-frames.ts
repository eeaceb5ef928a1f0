/** Frames that stations send to the address service. */

import { linkLocalOf } from '../../src/control/virtual-mac.js';
import { parseIp, parseMac } from '../../src/wire/address.js';
import { buildEthernet, buildIp, buildUdpOf } from '../../src/wire/frame-build.js';

const mac = (text: string) => parseMac(text) ?? new Uint8Array(6);
const ip = (text: string) => parseIp(text) ?? new Uint8Array(4);

export interface DhcpRecipe {
  readonly type: number;
  readonly chaddr?: string;
  readonly xid?: number;
  readonly flags?: number;
  readonly ciaddr?: string;
  readonly giaddr?: string;
  readonly options?: readonly (readonly [number, ArrayLike<number>])[];
}

export const CLIENT = '52:54:00:00:00:0a';

/** A client's DHCP message, from BOOTP's op on. */
export function dhcpMessage(recipe: DhcpRecipe): Uint8Array {
  const { type, chaddr = CLIENT, xid = 0x0102_0304, flags = 0, ciaddr = '0.0.0.0', giaddr = '0.0.0.0' } = recipe;
  const options = [[53, [type]] as const, ...(recipe.options ?? [])];
  const encoded = options.flatMap(([code, value]) => [code, value.length, ...Array.from(value)]);
  const message = new Uint8Array(Math.max(300, 241 + encoded.length));
  message.set([1, 1, 6, 0]);
  new DataView(message.buffer).setUint32(4, xid);
  new DataView(message.buffer).setUint16(10, flags);
  message.set(ip(ciaddr), 12);
  message.set(ip(giaddr), 24);
  message.set(mac(chaddr), 28);
  message.set([0x63, 0x82, 0x53, 0x63, ...encoded, 255], 236);
  return message;
}

export interface Addressing {
  readonly from?: string;
  readonly to?: string;
  readonly source?: string;
  readonly destination?: string;
}

/** The message in a frame, to everybody unless told otherwise. */
export function dhcpFrame(message: Uint8Array, where: Addressing = {}, ports: [number, number] = [68, 67]): Uint8Array {
  const { from = CLIENT, to = 'ff:ff:ff:ff:ff:ff', source = '0.0.0.0', destination = '255.255.255.255' } = where;
  const addresses = { source: ip(source), destination: ip(destination), protocol: 17, ttl: 64 };
  const packet = buildIp(addresses, buildUdpOf(...ports, message));
  return buildEthernet({ destination: mac(to), source: mac(from), tags: [] }, 0x0800, packet);
}

/** From the MAC's link-local address, with its MAC; `unspecified`: from :: and without. */
export function solicitation(from: string, unspecified = false): Uint8Array {
  const message = Uint8Array.of(133, 0, 0, 0, 0, 0, 0, 0, ...(unspecified ? [] : [1, 1, ...mac(from)]));
  const source = unspecified ? new Uint8Array(16) : linkLocalOf(mac(from));
  const packet = buildIp({ source, destination: ip('ff02::2'), protocol: 58, ttl: 255 }, message);
  return buildEthernet({ destination: mac('33:33:00:00:00:02'), source: mac(from), tags: [] }, 0x86dd, packet);
}

export function dhcp6Frame(from: string, message: Uint8Array, destination = 'ff02::1:2'): Uint8Array {
  const addresses = { source: linkLocalOf(mac(from)), destination: ip(destination), protocol: 17, ttl: 1 };
  const packet = buildIp(addresses, buildUdpOf(546, 547, message));
  return buildEthernet({ destination: mac('33:33:00:01:00:02'), source: mac(from), tags: [] }, 0x86dd, packet);
}
