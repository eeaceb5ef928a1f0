/** What a guarded port's configuration means, and what is wrong with it; and the table that comes of it, against a slow one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { compile } from '../../src/control/compile.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { UserError } from '../../src/errors.js';
import {
  findIpv4,
  findIpv6,
  findStation,
  GUARD_ORIGIN_BITS,
  isExtraEthertype,
} from '../../src/pipeline/guard-table.js';
import { POLICY_GUARD, POLICY_READ } from '../../src/pipeline/snapshot.js';
import { parseIp, parseMac, parsePrefix, prefixContains } from '../../src/wire/address.js';
import { macHighAt, macLowAt } from '../../src/wire/ethernet.js';
import { read32 } from '../../src/wire/octets.js';

const MAC = '52:54:00:00:00:01';
const access = { kind: 'tap', network: 'red' };

function snapshotOf(port: object) {
  const document = {
    version: 1,
    networks: { red: { type: 'vlan', id: 10, uplink: 'up' } },
    ports: { other: access, vm1: { ...access, ...port }, up: { kind: 'netdev', trunk: 'auto' } },
  };
  const { resolved } = checkDocument(documentOf(document as unknown as JsonValue));
  const indices = new Indices().allocate(resolved);
  return { snapshot: compile(resolved, indices, () => undefined, 1), port: indices.port('vm1') ?? -1 };
}

function faultsOf(port: object, ports: object = {}): string[] {
  const networks = { red: { type: 'vlan', id: 10, uplink: 'up' } };
  const document = {
    version: 1,
    networks,
    ports: { vm1: { ...access, ...port }, up: { kind: 'netdev', trunk: 'auto' }, ...ports },
  };
  try {
    checkDocument(documentOf(document as unknown as JsonValue));
  } catch (error) {
    if (error instanceof UserError) return error.faults.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}

describe('a guarded port', () => {
  test('needs a MAC address', () => {
    expect(faultsOf({ antiSpoof: true })).toEqual([
      'ports.vm1.antiSpoof: needs mac: which address is the machine’s own must be said',
    ]);
    expect(faultsOf({ antiSpoof: true, mac: MAC })).toEqual([]);
  });

  test('is no tunnel port and no uplink', () => {
    const tunnel = { kind: 'tap', network: undefined, tunnel: { network: 'red' }, antiSpoof: true, mac: MAC };
    expect(faultsOf(tunnel)[0]).toMatch(/^ports.vm1.antiSpoof: a tunnel port/);
    const up = { up: { kind: 'netdev', trunk: 'auto', antiSpoof: true, mac: MAC } };
    expect(faultsOf({}, up)[0]).toMatch(/^ports.up.antiSpoof: the port is an uplink/);
  });

  test.each([0x8100, 0x88a8])('can not be allowed the tag %i as an ethertype', (type) => {
    const [fault] = faultsOf({ antiSpoof: true, mac: MAC, allowEthertypes: [0x88b5, type] });
    expect(fault).toMatch(/^ports.vm1.allowEthertypes\[2\]: .* begins a VLAN tag/);
  });

  test('has its bits in the snapshot, others have none', () => {
    const { snapshot, port } = snapshotOf({ antiSpoof: true, mac: MAC });
    expect(snapshot.portPolicy[port] & (POLICY_READ | POLICY_GUARD)).toBe(POLICY_READ | POLICY_GUARD);
    expect(snapshot.policies).not.toBe(0);
    expect([...snapshot.portPolicy].filter((bits) => bits !== 0)).toHaveLength(1);
    expect(snapshotOf({ mac: MAC }).snapshot.policies).toBe(0);
  });
});

/** The origin of the pair as guard-table.ts has it, or -1. */
function lookUp({ snapshot, port }: ReturnType<typeof snapshotOf>, mac: string, address: string): number {
  const octets = parseMac(mac) ?? new Uint8Array(6);
  const station = findStation(snapshot.guard, port, macHighAt(octets, 0), macLowAt(octets, 0));
  if (station < 0) return -1;
  const parsed = parseIp(address) ?? new Uint8Array(4);
  return parsed.length === 4
    ? findIpv4(snapshot.guard, station, read32(parsed, 0))
    : findIpv6(snapshot.guard, station, parsed, 0);
}

describe('the table of pairs', () => {
  test('has the addresses as hosts, the link-local address of each MAC, and the extra ethertypes', () => {
    const pairs = [{ ip: '198.51.100.0/24', mac: '00:00:5e:00:01:ff' }];
    const found = snapshotOf({
      antiSpoof: true,
      mac: MAC,
      addresses: ['192.0.2.5/24'],
      allowedPairs: pairs,
      allowEthertypes: [0x9000, 0x88b5],
    });
    expect(lookUp(found, MAC, '192.0.2.5')).toBe(0);
    expect(lookUp(found, MAC, '192.0.2.6')).toBe(-1);
    expect(lookUp(found, MAC, 'fe80::5054:ff:fe00:1')).toBeGreaterThanOrEqual(0);
    expect(lookUp(found, '00:00:5e:00:01:ff', 'fe80::200:5eff:fe00:1ff')).toBeGreaterThanOrEqual(0);
    expect(lookUp(found, MAC, 'fe80::200:5eff:fe00:1ff')).toBe(-1);
    for (const [type, isExtra] of [
      [0x88b5, true],
      [0x9000, true],
      [0x88b6, false],
      [0x8100, false],
    ] as const)
      expect(isExtraEthertype(found.snapshot.guard, found.port, type)).toBe(isExtra);
    expect(isExtraEthertype(found.snapshot.guard, 0, 0x88b5)).toBe(false);
  });

  test('everything is a prefix too', () => {
    const found = snapshotOf({ antiSpoof: true, mac: MAC, allowedPairs: [{ ip: '0.0.0.0/0' }, { ip: '::/0' }] });
    for (const address of [
      '0.0.0.0',
      '127.255.255.255',
      '128.0.0.0',
      '255.255.255.255',
      '::',
      'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    ])
      expect(lookUp(found, MAC, address)).toBeGreaterThanOrEqual(0);
  });

  const macs = [MAC, '52:54:00:80:00:01', 'fe:54:00:00:00:01'];
  const address4 = fc
    .tuple(fc.constantFrom(0, 10, 127, 128, 192, 255), fc.nat(3), fc.constantFrom(0, 255), fc.nat(15))
    .map((parts) => parts.join('.'));
  const address6 = fc
    .tuple(
      fc.constantFrom('2001:db8', 'fd00:0', '7fff:ffff', '8000:0'),
      fc.constantFrom('0', '8000', 'ffff'),
      fc.nat(9),
    )
    .map(([head, middle, last]) => `${head}:${middle}:0:${middle}:0:0:${last}`);
  const pair = fc.record({
    ip: fc.oneof(
      address4,
      address6,
      fc.tuple(address4, fc.nat(32)).map(([address, length]) => `${address}/${length}`),
      fc.tuple(address6, fc.nat(128)).map(([address, length]) => `${address}/${length}`),
    ),
    mac: fc.constantFrom(...macs),
  });

  test('agrees with a look at each pair, and names one that the address is in', () => {
    fc.assert(
      fc.property(
        fc.array(pair, { maxLength: 20 }),
        fc.array(fc.oneof(address4, address6), { minLength: 5, maxLength: 20 }),
        (allowedPairs, asked) => {
          const found = snapshotOf({ antiSpoof: true, mac: MAC, allowedPairs });
          for (const mac of macs)
            for (const text of asked) {
              const address = parseIp(text) ?? new Uint8Array(4);
              const isIn = (entry: (typeof allowedPairs)[number]) => {
                const single = parseIp(entry.ip);
                const prefix =
                  single === undefined ? parsePrefix(entry.ip) : { address: single, length: single.length * 8 };
                return entry.mac === mac && prefix !== undefined && prefixContains(prefix, address);
              };
              const origin = lookUp(found, mac, text);
              expect([text, mac, origin >= 0]).toEqual([text, mac, allowedPairs.some(isIn)]);
              if (origin >= 0) expect(isIn(allowedPairs[origin >> GUARD_ORIGIN_BITS])).toBe(true);
            }
        },
      ),
      { numRuns: 300, seed: 9 },
    );
  });
});
