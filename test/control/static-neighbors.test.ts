import { expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { staticNeighbors } from '../../src/control/static-neighbors.js';
import { ipWordsText, macWordsText } from '../../src/wire/address.js';

const MAC = '52:54:00:00:00:01';
const OTHER = '52:54:00:00:00:02';
const suppressing = { type: 'vlan', arpSuppression: true, uplink: 'eth0' };
const networks = { red: { ...suppressing, id: 10 }, blue: { ...suppressing, id: 11 }, plain: { type: 'local' } };
const eth0 = { kind: 'netdev', trunk: 'auto' };

/** As `network address mac`. */
function bindings(ports: Record<string, object>): string[] {
  const document = { version: 1, networks, ports: { eth0, ...ports } };
  const { resolved } = checkDocument(documentOf(document as unknown as JsonValue));
  const indices = new Indices().allocate(resolved);
  const names = [...indices.networks.keys()];
  return staticNeighbors(resolved, indices)
    .map(({ network, address, macHigh, macLow }) => {
      const name = names.find((each) => indices.network(each) === network);
      return `${name} ${ipWordsText(address)} ${macWordsText(macHigh, macLow)}`;
    })
    .sort();
}

test('every address of a port with a MAC is bound in each network that suppresses', () => {
  const addresses = ['192.0.2.5/24', '2001:db8::5/64'];
  const ports = { vm: { kind: 'tap', trunk: ['red', 'blue'], native: 'plain', mac: MAC, addresses } };
  expect(bindings(ports)).toEqual([
    `blue 192.0.2.5 ${MAC}`,
    `blue 2001:db8::5 ${MAC}`,
    `red 192.0.2.5 ${MAC}`,
    `red 2001:db8::5 ${MAC}`,
  ]);
});

test('a port without a MAC, without addresses, disabled, or in a network that floods binds nothing', () => {
  const addresses = ['192.0.2.5/24'];
  expect(
    bindings({
      nomac: { kind: 'tap', network: 'red', addresses },
      noaddress: { kind: 'tap', network: 'red', mac: MAC },
      off: { kind: 'tap', network: 'red', mac: MAC, addresses, enabled: false },
      floods: { kind: 'tap', network: 'plain', mac: MAC, addresses },
    }),
  ).toEqual([]);
});

test('an address that two ports have with different MACs is bound to neither', () => {
  const port = (mac: string, ...addresses: string[]) => ({ kind: 'tap', network: 'red', mac, addresses });
  const ports = {
    one: port(MAC, '192.0.2.5/24', '192.0.2.6/24'),
    two: port(OTHER, '192.0.2.5/24'),
    three: port(MAC, '192.0.2.5/24'),
  };
  expect(bindings(ports)).toEqual([`red 192.0.2.6 ${MAC}`]);
  expect(bindings({ one: port(MAC, '192.0.2.5/24'), three: port(MAC, '192.0.2.5/24') })).toEqual([
    `red 192.0.2.5 ${MAC}`,
  ]);
});
