/**
 * What a guarded port (`antiSpoof`) may send from: its own addresses, `allowedPairs`, and the link-local address of each of
 * its MACs, as pairs by MAC; and the contradictions in what the configuration says of it. Pure.
 *
 * On a trunk the same pairs hold in each of its networks: they say who the machine is, not where. A tunnel port's frames
 * have addresses of networks that are not ours, and an uplink has the whole world behind it: to guard these is an error.
 */
import { macText, type Prefix, parseIp, parseMac, parsePrefix } from '../wire/address.js';
import type { ConfigFault } from './config-path.js';
import type { GuardPair, GuardStation, PortMode, ResolvedGuard } from './resolved.js';
import type { PortConfig } from './schema.js';

/** A frame with a tag says in it what it is: to allow the tag would be to allow whatever stands behind it. */
const TAG_TYPES: readonly number[] = [0x8100, 0x88a8, 0x9100, 0x9200];

/** The guard of a port; undefined when it is not guarded, or when what is said of it is wrong. */
export function resolveGuard(
  name: string,
  port: PortConfig,
  mode: PortMode,
  uplink: boolean,
  faults: ConfigFault[],
): ResolvedGuard | undefined {
  const path = ['ports', name];
  if (!port.antiSpoof) return undefined;
  const before = faults.length;
  if (mode === 'tunnel')
    faults.push({
      path: [...path, 'antiSpoof'],
      message: 'a tunnel port carries frames of other networks: it has no own addresses to guard',
    });
  if (uplink)
    faults.push({
      path: [...path, 'antiSpoof'],
      message: 'the port is an uplink: it has other hosts’ stations behind it',
    });
  if (port.mac === undefined)
    faults.push({
      path: [...path, 'antiSpoof'],
      message: 'needs mac: which address is the machine’s own must be said',
    });
  const ethertypes = resolveEthertypes(name, port, faults);
  if (faults.length > before || port.mac === undefined) return undefined;
  return { stations: stationsOf(port, port.mac), ethertypes };
}

function resolveEthertypes(name: string, port: PortConfig, faults: ConfigFault[]): number[] {
  const types = new Set<number>();
  for (const [index, text] of (port.allowEthertypes ?? []).entries()) {
    const type = Number(text);
    if (TAG_TYPES.includes(type)) {
      const message = `${text} begins a VLAN tag, behind which anything can stand; a guarded port can’t be allowed it`;
      faults.push({ path: ['ports', name, 'allowEthertypes', index], message });
    } else types.add(type);
  }
  return [...types];
}

function stationsOf(port: PortConfig, portMac: string): GuardStation[] {
  const stations = new Map<string, { mac: Uint8Array; pairs: GuardPair[] }>();
  const add = (written: string, prefix: Prefix, origin: GuardPair['origin'], index: number) => {
    const mac = parsed(parseMac(written), written);
    const key = macText(mac);
    const station = stations.get(key) ?? { mac, pairs: [] };
    station.pairs.push({ prefix, origin, index });
    stations.set(key, station);
  };
  for (const [index, text] of (port.addresses ?? []).entries()) add(portMac, hostOf(text), 'address', index);
  for (const [index, pair] of (port.allowedPairs ?? []).entries())
    add(pair.mac ?? portMac, prefixOf(pair.ip), 'pair', index);
  const macs = new Set([portMac, ...(port.allowedPairs ?? []).flatMap(({ mac }) => mac ?? [])]);
  for (const mac of macs) add(mac, { address: linkLocalOf(parsed(parseMac(mac), mac)), length: 128 }, 'link-local', 0);
  return [...stations.values()];
}

/** `10.0.0.5/24` as an address of the machine's: the prefix only says what it is connected to. */
function hostOf(text: string): Prefix {
  const { address } = parsed(parsePrefix(text), text);
  return { address, length: address.length * 8 };
}

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return prefix;
  const address = parsed(parseIp(text), text);
  return { address, length: address.length * 8 };
}

/** fe80::/64 with the MAC as modified EUI-64 identifier (RFC 4291 appendix A). */
export function linkLocalOf(mac: Uint8Array): Uint8Array {
  const [a, b, c, d, e, f] = mac;
  return Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f);
}

/** The schema has seen that it parses. */
function parsed<Value>(value: Value | undefined, text: string): Value {
  if (value === undefined) throw new TypeError(`${text} is no address`);
  return value;
}
