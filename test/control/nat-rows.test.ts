/** Rows of `weft nat list`. */
import { expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { configuredNatRows, dependentRow, mappingRow } from '../../src/control/nat-rows.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { NEVER } from '../pipeline/connection-fixture.js';
import { SERVER } from '../pipeline/nat-flows.js';
import { gre, other, packet, type Upper, udp, udpLite } from '../pipeline/nat-octets.js';
import { ADDRESSES, NatSwitch, natDocument, OUTSIDE, type RouterParts } from '../pipeline/nat-switch.js';

/** What the list shows after a has sent these to the server. */
function rowsAfter(parts: RouterParts, ...uppers: readonly Upper[]) {
  const { resolved } = checkDocument(documentOf({ version: 1, ...natDocument(parts) } as unknown as JsonValue));
  const tested = new NatSwitch(parts);
  for (const upper of uppers) {
    const octets = tested.frame('a', { proto: 'udp', src: ADDRESSES.a, dst: SERVER, sport: 1, dport: 2 });
    const sent = packet(ADDRESSES.a, SERVER, upper);
    expect(tested.run({ port: 'a', octets: Uint8Array.of(...octets.subarray(0, 14), ...sent) })).toHaveLength(1);
  }
  const routerOf = () => 'r';
  return [
    ...configuredNatRows(resolved.routers),
    ...Array.from(tested.connections.mappings(), ({ key, value }) => mappingRow(key, value, routerOf)),
    ...Array.from(tested.connections.list(0, NEVER), (row) => dependentRow(row, resolved.routers, routerOf)).filter(
      (row) => row !== undefined,
    ),
  ];
}

test('a mapping is shown once, whatever its connections', () => {
  expect(rowsAfter({}, udp(4000, 80), udp(4000, 81))).toEqual([
    { router: 'r', type: 'snat', proto: 'udp', internal: `${ADDRESSES.a}:4000`, external: `${OUTSIDE}:4000` },
  ]);
});

test('what is hidden for one remote end says which, with ports only where there are some', () => {
  const snat = { router: 'r', type: 'snat' };
  expect(rowsAfter({}, other(50), gre(7), udpLite(4000, 80))).toEqual(
    expect.arrayContaining([
      { ...snat, proto: 'esp', internal: ADDRESSES.a, external: OUTSIDE, remote: SERVER },
      { ...snat, proto: 'gre', internal: ADDRESSES.a, external: OUTSIDE, remote: SERVER },
      {
        ...snat,
        proto: 'udplite',
        internal: `${ADDRESSES.a}:4000`,
        external: expect.any(String),
        remote: `${SERVER}:80`,
      },
    ]),
  );
});

test('floating addresses and forwards are shown as configured, and their connections are not', () => {
  const forwards = [{ proto: 'tcp', port: '8000-8001', to: `${ADDRESSES.b}:80-81` }];
  expect(rowsAfter({ floating: { '203.0.113.20': ADDRESSES.a }, forwards }, udp(4000, 80))).toEqual([
    { router: 'r', type: 'floating', proto: 'any', internal: ADDRESSES.a, external: '203.0.113.20' },
    { router: 'r', type: 'forward', proto: 'tcp', internal: `${ADDRESSES.b}:80-81`, external: `${OUTSIDE}:8000-8001` },
  ]);
});
