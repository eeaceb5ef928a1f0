import { describe, expect, test } from 'vitest';
import { addressNumber, addressOctets, parseAddressRange } from '../../src/control/address-range.js';
import { checkDocument } from '../../src/control/check.js';
import { dhcpOptionValue } from '../../src/control/dhcp-option-text.js';
import { documentOf } from '../../src/control/document.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { linkLocalOf, virtualMac } from '../../src/control/virtual-mac.js';
import { UserError } from '../../src/errors.js';
import { ipText, parseIp } from '../../src/wire/address.js';

const ports = {
  vm: { kind: 'memory', network: 'red', addresses: ['192.0.2.2/24'] },
  fw: { kind: 'memory', network: 'red', addresses: ['192.0.2.254/24'] },
};
const networks = { red: { type: 'local' }, lan: { type: 'flat', uplink: 'up' } };
const base = { network: 'red', cidr: '192.0.2.0/24' };
const six = { network: 'red', cidr: '2001:db8::/64' };

function resolved(subnets: Record<string, JsonValue>, more: Record<string, JsonValue> = {}) {
  const all = { ...ports, up: { kind: 'netdev', trunk: 'auto' }, ...more };
  return checkDocument(documentOf({ version: 1, networks, ports: all, subnets })).resolved;
}

function faultsOf(subnets: Record<string, JsonValue>, more: Record<string, JsonValue> = {}): string[] {
  try {
    resolved(subnets, more);
    return [];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return error.faults.map(({ path, message }) => `${path}: ${message}`);
  }
}

const serverOf = (subnet: JsonValue) => {
  const { dhcp } = resolved({ s: subnet }).subnets.get('s') ?? {};
  return dhcp && { address: ipText(dhcp.server), answersArp: dhcp.answersArp };
};

describe('what can not be is refused with its path', () => {
  const wrong: [string, Record<string, JsonValue>, string][] = [
    ['bits behind the prefix', { s: { ...base, cidr: '192.0.2.1/24' } }, 'subnets.s.cidr: 192.0.2.1/24 has bits'],
    ['a gateway elsewhere', { s: { ...base, gateway: '10.0.0.1' } }, 'subnets.s.gateway: 10.0.0.1 is not in'],
    [
      'the subnet as gateway',
      { s: { ...base, gateway: '192.0.2.0' } },
      'subnets.s.gateway: 192.0.2.0 is the address of',
    ],
    ['a pool elsewhere', { s: { ...base, dhcp: { pool: '10.0.0.1-10.0.0.9' } } }, 'subnets.s.dhcp.pool: '],
    ['a pool that runs backwards', { s: { ...base, dhcp: { pool: '192.0.2.9-192.0.2.1' } } }, 'subnets.s.dhcp.pool: '],
    ['serving without a pool', { s: { ...base, dhcp: { unknown: 'serve' } } }, 'subnets.s.dhcp.unknown: '],
    ['a server elsewhere', { s: { ...base, dhcp: { server: '10.0.0.1' } } }, 'subnets.s.dhcp.server: '],
    ["a port's address as server", { s: { ...base, dhcp: { server: '192.0.2.2' } } }, 'subnets.s.dhcp.server: '],
    ['resolvers of the other family', { s: { ...base, dhcp: { dns: ['2001:db8::1'] } } }, 'subnets.s.dhcp.dns: '],
    ['a domain that is none', { s: { ...base, dhcp: { domain: 'a..b' } } }, 'subnets.s.dhcp: "a..b" is not'],
    ['a reserved option', { s: { ...base, dhcp: { options: { 53: 'x' } } } }, 'subnets.s.dhcp.options.53: '],
    ['DHCPv6 in IPv4', { s: { ...base, dhcp6: {} } }, 'subnets.s.dhcp6: an IPv4 subnet has no dhcp6'],
    ['DHCP in IPv6', { s: { ...six, dhcp: {} } }, 'subnets.s.dhcp: an IPv6 subnet has no dhcp'],
    ['SLAAC beside a /64', { s: { ...six, cidr: '2001:db8::/80', ra: { mode: 'slaac' } } }, 'subnets.s.ra.mode: '],
    ['an endless lifetime', { s: { ...six, ra: { mode: 'slaac', lifetime: '1d' } } }, 'subnets.s.ra.lifetime: '],
    [
      'a lifetime below the interval',
      { s: { ...six, ra: { mode: 'slaac', lifetime: '60s' } } },
      'subnets.s.ra.lifetime: ',
    ],
    [
      'overlapping subnets',
      { s: base, t: { ...base, cidr: '192.0.2.128/25' } },
      'subnets.t.cidr: 192.0.2.128/25 overlaps',
    ],
  ];
  test.each(wrong)('%s', (_, subnets, fault) => {
    const faults = faultsOf(subnets);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(fault);
  });

  test("a port's option", () => {
    const port = { kind: 'memory', network: 'red', dhcp: { options: { 26: 'many' } } };
    expect(faultsOf({}, { p: port })[0]).toContain('ports.p.dhcp.options.26: expected a number');
  });

  test('the same prefix in two networks is fine', () => {
    expect(faultsOf({ s: base, t: { ...base, network: 'lan' } })).toEqual([]);
  });
});

describe("the server's address", () => {
  test('is what is written, else the gateway, else the first that is free', () => {
    expect(serverOf({ ...base, dhcp: { server: '192.0.2.7' } })).toEqual({ address: '192.0.2.7', answersArp: true });
    expect(serverOf({ ...base, gateway: '192.0.2.1', dhcp: {} })).toEqual({ address: '192.0.2.1', answersArp: true });
    expect(serverOf({ ...base, dhcp: {} })?.address).toBe('192.0.2.1');
    expect(serverOf({ ...base, dhcp: { pool: '192.0.2.1-192.0.2.99' } })?.address).toBe('192.0.2.100');
    expect(serverOf({ ...base, dhcp: { pool: '192.0.2.1-192.0.2.254' } })?.address).toBe('192.0.2.1');
  });

  test('is not answered for where a port, or somebody behind an uplink, may be the gateway', () => {
    expect(serverOf({ ...base, gateway: '192.0.2.254', dhcp: {} })?.answersArp).toBe(false);
    const lan = { network: 'lan', cidr: '198.51.100.0/24', gateway: '198.51.100.1' };
    expect(serverOf({ ...lan, dhcp: {} })?.answersArp).toBe(false);
    expect(serverOf({ ...lan, dhcp: { server: '198.51.100.2' } })?.answersArp).toBe(true);
  });
});

test('somebody has what is never given: the subnet, its last address, gateway, server, ports', () => {
  const subnet = resolved({ s: { ...base, gateway: '192.0.2.1', dhcp: { server: '192.0.2.9' } } }).subnets.get('s');
  const taken = [...(subnet?.taken ?? [])].map((number) => ipText(addressOctets(number, 4)));
  expect(taken.sort()).toEqual(['192.0.2.0', '192.0.2.1', '192.0.2.2', '192.0.2.254', '192.0.2.255', '192.0.2.9']);
});

test('without a gateway nobody is told of a default router', () => {
  const ra = { mode: 'slaac' };
  const { subnets } = resolved({ s: { ...six, ra }, t: { ...six, cidr: '2001:db8:1::/64', gateway: 'fe80::1', ra } });
  expect(subnets.get('s')?.ra?.lifetimeSeconds).toBe(0);
  expect(subnets.get('t')?.ra?.lifetimeSeconds).toBe(1800);
});

test('stateless and stateful advertisements bring a DHCPv6 server with them', () => {
  const subnet = (mode: string) => resolved({ s: { ...six, ra: { mode, rdnss: ['2001:db8::53'] } } }).subnets.get('s');
  expect(subnet('slaac')?.dhcp6).toBeUndefined();
  expect(subnet('stateless')?.dhcp6).toMatchObject({ stateful: false });
  expect(subnet('stateful')?.dhcp6).toMatchObject({ stateful: true });
  expect(subnet('stateless')?.dhcp6?.dns.map((address) => ipText(address))).toEqual(['2001:db8::53']);
});

test('options are written as what they are', () => {
  const hex = (code: number, text: string) => {
    const value = dhcpOptionValue(code, text);
    return typeof value === 'string' ? value : Buffer.from(value).toString('hex');
  };
  expect(hex(150, '192.0.2.1, 192.0.2.2')).toBe('c0000201c0000202');
  expect(hex(26, '9000')).toBe('2328');
  expect(hex(67, 'boot')).toBe('626f6f74');
  expect(hex(43, 'hex:01:02')).toBe('0102');
  expect(hex(121, '198.51.100.0/24 192.0.2.1')).toBe('18c63364c0000201');
  expect(hex(119, 'a.b')).toBe('0161016200');
  expect(hex(3, 'router')).toContain('expected IPv4 addresses');
  expect(hex(82, 'x')).toContain('not one that can be set');
});

test('ranges are counted through in both families', () => {
  expect(parseAddressRange('192.0.2.1-192.0.2.3')).toEqual({ first: 0xc0000201n, last: 0xc0000203n, size: 4 });
  expect(parseAddressRange('2001:db8::1-2001:db8::2')?.size).toBe(16);
  for (const text of ['192.0.2.3-192.0.2.1', '192.0.2.1-2001:db8::1', '192.0.2.1', 'a-b'])
    expect(parseAddressRange(text)).toBeUndefined();
  const address = parseIp('2001:db8::ff') ?? new Uint8Array(16);
  expect(addressOctets(addressNumber(address), 16)).toEqual(address);
});

test("the switch's MAC in a network is always the same, a station's, and no other network's", () => {
  const mac = virtualMac('red');
  expect(virtualMac('red')).toEqual(mac);
  expect(mac[0] & 3).toBe(2);
  const others = Array.from({ length: 500 }, (_, index) => virtualMac(`net${index}`).join());
  expect(new Set([...others, mac.join(), virtualMac('red', 'r2').join()]).size).toBe(502);
  expect(ipText(linkLocalOf(Uint8Array.of(0x02, 0, 0, 0, 0, 0x0a)))).toBe('fe80::ff:fe00:a');
});
