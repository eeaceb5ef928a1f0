/** What workers do for the services for machines: which frames they hand over, and which policy those have passed. */
import { describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { RX_CONSUMED } from '../../src/dataplane/counters.js';
import { METADATA_SEGMENTS_PER_SECOND } from '../../src/limits.js';
import { PUNT_GUEST_SERVICE } from '../../src/pipeline/punt-ring.js';
import { macText } from '../../src/wire/address.js';
import { parseFrame } from '../../src/wire/frame-text.js';
import { arpFrame, ndFrame } from '../wire/neighbor-frames.js';
import { recordPunts } from './recorded-punts.js';
import { type TestDocument, TestSwitch, vm } from './test-switch.js';

const A = '52:54:00:00:00:0a';
const METADATA = '169.254.169.254';
const METADATA6 = 'fe80::a9fe:a9fe';
const metadata = { metadata: { endpoint: 'http://127.0.0.1:8775' } };

const document = (changes: object = {}): TestDocument => ({
  networks: { red: { type: 'vlan', id: 10, uplink: 'up' }, blue: { type: 'local' } },
  ports: {
    a: vm({ network: 'red' }),
    b: vm({ network: 'red' }),
    c: vm({ network: 'blue' }),
    d: vm({ network: 'blue' }),
    up: { kind: 'netdev', trunk: 'auto' },
  },
  routers: { r: { interfaces: { red: ['192.0.2.1/24', '2001:db8::1/64'] } } },
  subnets: {
    red4: { network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1', dhcp: { pool: '192.0.2.100-192.0.2.200' } },
    red6: { network: 'red', cidr: '2001:db8::/64', gateway: '2001:db8::1', ra: { mode: 'slaac' } },
  },
  settings: metadata,
  ...changes,
});

function serving(changes: object = {}) {
  const { punt, handed } = recordPunts();
  return { tested: new TestSwitch(document(changes), { punt }), handed };
}

const gateway = macText(virtualMac('red'));
const from = `src ${A} dst ${gateway}`;
const question = parseFrame(`udp 192.0.2.100:4000 > 192.0.2.1:53 length 30 ${from}`);
const request = parseFrame(`tcp 192.0.2.100:4000 > ${METADATA}:80 ${from} flags A`);

describe('handed over, with the member it came in by, and seen by nobody else', () => {
  const asked: [string, string][] = [
    ['a question to the gateway', 'udp 192.0.2.100:4000 > 192.0.2.1:53 length 30'],
    ['one by TCP', 'tcp 192.0.2.100:4000 > 192.0.2.1:53'],
    ['one by IPv6', 'udp [2001:db8::a]:4000 > [2001:db8::1]:53 length 30'],
    ['one by TCP and IPv6', 'tcp [2001:db8::a]:4000 > [2001:db8::1]:53'],
    ['a segment to the metadata address', `tcp 192.0.2.100:4000 > ${METADATA}:80`],
    ['one to that of IPv6', `tcp [fe80::a]:4000 > [${METADATA6}]:80`],
  ];
  test.each(asked)('%s', (_, text) => {
    for (const mac of [gateway, '52:54:00:00:00:77']) {
      const { tested, handed } = serving();
      const octets = parseFrame(`${text} src ${A} dst ${mac}`);
      expect(tested.run({ port: 'a', octets })).toEqual([]);
      expect(handed).toEqual([{ octets, kind: PUNT_GUEST_SERVICE, member: tested.member('a', 'red'), tunnel: 0 }]);
      expect(tested.value('a', RX_CONSUMED)).toBe(1);
    }
  });
});

describe('is not handed over', () => {
  const others: [string, string, string][] = [
    ['another port', 'a', 'udp 192.0.2.100:4000 > 192.0.2.1:54'],
    ['metadata by UDP', 'a', `udp 192.0.2.100:4000 > ${METADATA}:80`],
    ['a question at the metadata address', 'a', `udp 192.0.2.100:4000 > ${METADATA}:53`],
    ['a segment for port 80 of the gateway', 'a', 'tcp 192.0.2.100:4000 > 192.0.2.1:80'],
    ['a question to another station', 'a', 'udp 192.0.2.100:4000 > 192.0.2.7:53'],
    ['what is asked in a network without a subnet', 'c', `tcp 192.0.2.100:4000 > ${METADATA}:80`],
    ['an answer of a server', 'a', 'udp 192.0.2.1:53 > 192.0.2.100:4000'],
  ];
  test.each(others)('%s', (_, port, text) => {
    const { tested, handed } = serving();
    tested.run({ port, octets: parseFrame(`${text} src ${A} dst 52:54:00:00:00:77`) });
    expect(handed).toEqual([]);
  });

  test('what comes by an uplink: it was asked elsewhere', () => {
    const { tested, handed } = serving();
    tested.run({ port: 'up', octets: parseFrame(`tcp 192.0.2.100:4000 > ${METADATA}:80 ${from} vlan 10`) });
    expect(handed).toEqual([]);
  });

  test('what has a tag of its own', () => {
    const { tested, handed } = serving({
      ports: { a: { kind: 'tap', tunnel: { network: 'red' } }, up: { kind: 'netdev', trunk: 'auto' } },
    });
    tested.run({ port: 'a', octets: parseFrame(`tcp 192.0.2.100:4000 > ${METADATA}:80 ${from} vlan 7`) });
    expect(handed).toEqual([]);
  });

  test('a fragment', () => {
    const { tested, handed } = serving();
    const octets = question.slice();
    octets[20] = 0x20;
    tested.run({ port: 'a', octets });
    expect(handed).toEqual([]);
  });

  test('anything where neither names nor metadata are served', () => {
    const { tested, handed } = serving({
      settings: {},
      subnets: { red4: { network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1', names: false } },
    });
    tested.run({ port: 'a', octets: question }, { port: 'a', octets: request });
    expect(handed).toEqual([]);
  });
});

test('whatever is cut off at whatever octet is not handed over, and no throw', () => {
  for (const octets of [question, request, parseFrame(`tcp [fe80::a]:4000 > [${METADATA6}]:80 ${from}`)]) {
    const { tested, handed } = serving();
    for (let end = 14; end < octets.length; end++) tested.run({ port: 'a', octets: octets.slice(0, end) });
    expect(handed).toEqual([]);
  }
});

test('each port is held to its rates, names and metadata apart, and what one sends costs another nothing', () => {
  const { tested, handed } = serving({ settings: { ...metadata, limits: { dns: '20pps' } } });
  for (let round = 0; round < 10; round++) {
    tested.run(...Array.from({ length: 50 }, () => ({ port: 'a', octets: question })));
    tested.now += 100;
  }
  expect(handed.length).toBe(20);
  expect(tested.dropped('a', 'rate_limited')).toBe(480);
  const burst = METADATA_SEGMENTS_PER_SECOND / 10;
  for (let sent = 0; sent < burst + 50; sent += 50)
    tested.run(...Array.from({ length: 50 }, () => ({ port: 'a', octets: request })));
  expect(handed.length).toBe(20 + burst);
  tested.run({ port: 'b', octets: question });
  expect(handed.at(-1)?.member).toBe(tested.member('b', 'red'));
});

test('what the main thread has no room for is a drop', () => {
  const tested = new TestSwitch(document(), { punt: { put: () => false } });
  tested.run({ port: 'a', octets: question });
  expect(tested.dropped('a', 'punt_limit')).toBe(1);
});

test('a checksum that a machine left to its device is said to be one', () => {
  const { tested, handed } = serving();
  const vnet = { flags: 1, gsoType: 0, headerLength: 0, gsoSize: 0, start: 34, offset: 6 };
  tested.run({ port: 'a', octets: question, vnet });
  expect(handed.map(({ tunnel }) => tunnel)).toEqual([1]);
});

describe('policy comes first', () => {
  const grouped = (rules: object[]) => ({
    groups: { g: { rules } },
    ports: { a: { ...vm({ network: 'red' }), groups: ['g'] }, up: { kind: 'netdev', trunk: 'auto' } },
  });
  const segment = (flags: string) => parseFrame(`tcp 192.0.2.100:4000 > ${METADATA}:80 ${from} flags ${flags}`);

  test('of groups: without a rule that lets the machine ask, it may not', () => {
    const { tested, handed } = serving(grouped([{ direction: 'ingress' }]));
    tested.run({ port: 'a', octets: question }, { port: 'a', octets: segment('S') });
    expect(handed).toEqual([]);
    expect(tested.dropped('a', 'group_deny')).toBe(2);
  });

  test('of groups: with one every segment passes, though the network knows no connection of it', () => {
    const { tested, handed } = serving(
      grouped([{ direction: 'egress', proto: 'tcp', port: 80, remote: `${METADATA}/32` }]),
    );
    for (const flags of ['S', 'A', 'AP', 'AF', 'R']) tested.run({ port: 'a', octets: segment(flags) });
    expect(handed).toHaveLength(5);
    tested.run({ port: 'a', octets: question });
    expect(tested.dropped('a', 'group_deny')).toBe(1);
    expect(tested.connections.used).toBe(0);
  });

  test('of anti-spoofing: nobody asks with another’s address', () => {
    const own = { mac: A, addresses: ['192.0.2.5/24'], antiSpoof: true };
    const { tested, handed } = serving({
      ports: { a: vm({ network: 'red', ...own }), up: { kind: 'netdev', trunk: 'auto' } },
    });
    tested.run({ port: 'a', octets: question });
    expect(tested.dropped('a', 'spoof_ip')).toBe(1);
    tested.run({ port: 'a', octets: parseFrame(`udp 192.0.2.5:4000 > 192.0.2.1:53 ${from}`) });
    expect(handed).toHaveLength(1);
  });

  test('of ACLs: a frame that one denies is asked of nobody', () => {
    const acls = { no: { default: 'permit', rules: [{ action: 'deny', proto: 'udp', dstPort: 53 }] } };
    const { tested, handed } = serving({
      acls,
      ports: { a: vm({ network: 'red', acl: { ingress: 'no' } }), up: { kind: 'netdev', trunk: 'auto' } },
    });
    tested.run({ port: 'a', octets: question });
    expect(handed).toEqual([]);
    expect(tested.dropped('a', 'acl_deny')).toBe(1);
  });
});

describe('the metadata addresses', () => {
  const askArp = arpFrame({ from: A, sender: '192.0.2.100', target: METADATA });
  const askNd = ndFrame({ from: A, source: 'fe80::a', target: METADATA6 });

  test('are answered for in networks with subnets, for machines of this host', () => {
    const { tested } = serving();
    const [arp] = tested.run({ port: 'a', octets: askArp });
    expect(macText(arp?.octets ?? askArp, 22)).toBe(gateway);
    const [nd] = tested.run({ port: 'a', octets: askNd });
    expect(macText(nd?.octets ?? askNd, 6)).toBe(gateway);
    expect(tested.run({ port: 'c', octets: askArp }).map(({ port }) => port)).toEqual(['d']);
  });

  test('are nobody’s where no metadata is served', () => {
    const { tested } = serving({ settings: {} });
    expect(
      tested
        .run({ port: 'a', octets: askArp })
        .map(({ port }) => port)
        .sort(),
    ).toEqual(['b', 'up']);
  });
});
