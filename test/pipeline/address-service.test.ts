/** What workers do for the address service: which frames they hand over, what they answer themselves, what they send for it. */
import { describe, expect, test } from 'vitest';
import { linkLocalOf, virtualMac } from '../../src/control/virtual-mac.js';
import { RX_CONSUMED, TX_GENERATED } from '../../src/dataplane/counters.js';
import { allocateFrameRing } from '../../src/dataplane/frame-ring.js';
import { INJECTION_RING_SIZE } from '../../src/limits.js';
import { TO_NETWORK, TO_STATIONS } from '../../src/pipeline/egress-batch.js';
import { InjectionRing } from '../../src/pipeline/injection-ring.js';
import { findOwnAddress, makeOwnAddresses } from '../../src/pipeline/own-addresses.js';
import { PUNT_ADDRESS_SERVICE } from '../../src/pipeline/punt-ring.js';
import { ipText, ipWords, macText, macWordsText } from '../../src/wire/address.js';
import { writeDhcp6 } from '../../src/wire/dhcp6-message.js';
import { dhcp6Frame, dhcpFrame, dhcpMessage, solicitation } from '../wire/address-frames.js';
import { arpFrame, ip, ndFrame } from '../wire/neighbor-frames.js';
import { recordPunts } from './recorded-punts.js';
import { addressWords, frame, type TestDocument, TestSwitch, vm } from './test-switch.js';

const A = '52:54:00:00:00:0a';
const SERVER = '192.0.2.1';
const own = macText(virtualMac('red'));
const linkLocal = ipText(linkLocalOf(virtualMac('red')));

const document = (changes: Partial<TestDocument> = {}): TestDocument => ({
  networks: { red: { type: 'vlan', id: 10, uplink: 'up' }, blue: { type: 'local' } },
  ports: {
    a: vm({ network: 'red' }),
    b: vm({ network: 'red' }),
    c: vm({ network: 'blue' }),
    d: vm({ network: 'blue' }),
    up: { kind: 'netdev', trunk: 'auto' },
  },
  subnets: {
    red4: { network: 'red', cidr: '192.0.2.0/24', dhcp: { pool: '192.0.2.100-192.0.2.200' } },
    red6: { network: 'red', cidr: '2001:db8::/64', gateway: '2001:db8::1', ra: { mode: 'stateful' } },
  },
  ...changes,
});

function serving(changes: Partial<TestDocument> = {}) {
  const { punt, handed } = recordPunts();
  return { tested: new TestSwitch(document(changes), { punt }), handed };
}

const discover = dhcpMessage({ type: 1 });
const solicit = writeDhcp6(1, 1, []);
/** As it leaves the uplink and comes in by it. */
function tagged(octets: Uint8Array): Uint8Array {
  return Uint8Array.of(...octets.slice(0, 12), 0x81, 0, 0, 10, ...octets.slice(12));
}

describe('handed over, with the member it came in by, and seen by nobody else', () => {
  const asked: [string, Uint8Array][] = [
    ['a DHCP message to everybody', dhcpFrame(discover)],
    ['one to the server', dhcpFrame(discover, { to: own, source: '192.0.2.100', destination: SERVER })],
    ['one to the server at another MAC', dhcpFrame(discover, { to: A, destination: SERVER })],
    ['DHCPv6 to the servers', dhcp6Frame(A, solicit)],
    ['DHCPv6 to the server', dhcp6Frame(A, solicit, linkLocal)],
    ['a router solicitation', solicitation(A)],
    ['one without an address', solicitation(A, true)],
  ];
  test.each(asked)('%s', (_, octets) => {
    const { tested, handed } = serving();
    expect(tested.run({ port: 'a', octets })).toEqual([]);
    expect(handed).toEqual([{ octets, kind: PUNT_ADDRESS_SERVICE, member: tested.member('a', 'red'), tunnel: 0 }]);
    expect(tested.value('a', RX_CONSUMED)).toBe(1);
  });
});

describe('goes on as any frame', () => {
  const fragment = dhcpFrame(discover);
  fragment[20] = 0x20;
  const others: [string, string, Uint8Array][] = [
    ['DHCP to another station', 'a', dhcpFrame(discover, { to: '52:54:00:00:00:77', destination: '192.0.2.7' })],
    ['DHCP to another port', 'a', dhcpFrame(discover, {}, [68, 68])],
    ['a fragment of DHCP', 'a', fragment],
    ['DHCP in a network without a subnet', 'c', dhcpFrame(discover)],
    ['a solicitation in a network without a subnet', 'c', solicitation(A)],
    ['DHCP from the uplink', 'up', tagged(dhcpFrame(discover))],
    ['a solicitation from the uplink', 'up', tagged(solicitation(A))],
    ['DHCPv6 to another station', 'a', dhcp6Frame(A, solicit, '2001:db8::77')],
  ];
  test.each(others)('%s', (_, port, octets) => {
    const { tested, handed } = serving();
    expect(tested.run({ port, octets }).length).toBeGreaterThan(0);
    expect(handed).toEqual([]);
  });

  test('a solicitation that came through a router', () => {
    const { tested, handed } = serving();
    const octets = solicitation(A);
    octets[21] = 254;
    expect(tested.run({ port: 'a', octets }).length).toBeGreaterThan(0);
    expect(handed).toEqual([]);
  });
});

test("a relay agent behind the uplink is heard, where the message is for the server's address", () => {
  const { tested, handed } = serving();
  const relayed = dhcpMessage({ type: 1, giaddr: '192.0.2.9' });
  tested.run({ port: 'up', octets: tagged(dhcpFrame(relayed, { destination: SERVER })) });
  expect(handed).toHaveLength(1);
  tested.run({ port: 'up', octets: tagged(dhcpFrame(discover, { destination: SERVER })) });
  expect(handed).toHaveLength(1);
});

test('each port is held to its rate, and what one sends costs another nothing', () => {
  const { tested, handed } = serving({ settings: { limits: { dhcp: '20pps' } } });
  const octets = dhcpFrame(discover);
  for (let round = 0; round < 10; round++) {
    tested.run(...Array.from({ length: 50 }, () => ({ port: 'a', octets })));
    tested.now += 100;
  }
  expect(handed.length).toBe(20);
  expect(tested.dropped('a', 'rate_limited')).toBe(480);
  tested.run({ port: 'b', octets });
  expect(handed.at(-1)?.member).toBe(tested.member('b', 'red'));
});

test('whatever is cut off at whatever octet is no message, and no throw', () => {
  for (const octets of [dhcpFrame(discover), dhcp6Frame(A, solicit), solicitation(A)]) {
    const { tested, handed } = serving();
    for (let end = 14; end < octets.length; end++) tested.run({ port: 'a', octets: octets.slice(0, end) });
    expect(handed).toEqual([]);
  }
});

describe("the service's own addresses", () => {
  const askArp = arpFrame({ from: A, sender: '192.0.2.100', target: SERVER });
  const askNd = ndFrame({ from: A, source: '2001:db8::a', target: linkLocal });

  test('are answered for by ARP and ND, with the MAC of the switch in the network', () => {
    const { tested } = serving();
    const [arp] = tested.run({ port: 'a', octets: askArp });
    expect(arp?.port).toBe('a');
    expect([macText(arp?.octets ?? askArp, 6), macText(arp?.octets ?? askArp, 22)]).toEqual([own, own]);
    const [nd] = tested.run({ port: 'a', octets: askNd });
    expect(macText(nd?.octets ?? askNd, 6)).toBe(own);
    // Router, solicited, override: the network has a gateway, so the service advertises itself as one.
    expect(nd?.octets[58]).toBe(0xe0);
    expect(tested.value('a', TX_GENERATED)).toBe(2);
  });

  test('are defended against who wants one himself', () => {
    const { tested } = serving();
    const probe = ndFrame({ from: A, source: '::', target: linkLocal, options: new Uint8Array(0) });
    const [answer] = tested.run({ port: 'a', octets: probe });
    expect(macText(answer?.octets ?? probe)).toBe('33:33:00:00:00:01');
    expect(answer?.octets[58]).toBe(0xa0);
    expect(tested.run({ port: 'a', octets: arpFrame({ from: A, sender: '0.0.0.0', target: SERVER }) })).toHaveLength(1);
  });

  test('are nobody else’s business: other addresses, other networks, and what comes by the uplink', () => {
    const { tested } = serving();
    const other = arpFrame({ from: A, sender: '192.0.2.100', target: '192.0.2.2' });
    expect(
      tested
        .run({ port: 'a', octets: other })
        .map(({ port }) => port)
        .sort(),
    ).toEqual(['b', 'up']);
    expect(tested.run({ port: 'c', octets: askArp }).map(({ port }) => port)).toEqual(['d']);
    expect(
      tested
        .run({ port: 'up', octets: tagged(askArp) })
        .map(({ port }) => port)
        .sort(),
    ).toEqual(['a', 'b']);
  });

  test('are answered for with octets that were written: none is what lay in the slot', () => {
    const { tested } = serving();
    for (const octets of [askArp, askNd])
      for (const { octets: answer } of tested.run({ port: 'a', octets })) expect([...answer]).not.toContain(0xa5);
  });

  test('are asked for at limits.arp at most', () => {
    const { tested } = serving({ settings: { limits: { arp: '10pps' } } });
    expect(tested.run(...Array.from({ length: 5 }, () => ({ port: 'a', octets: askArp })))).toHaveLength(1);
    expect(tested.dropped('a', 'rate_limited')).toBe(4);
  });

  test('lie in a table that finds each of many and nothing else', () => {
    const rows = Array.from({ length: 1000 }, (_, index) => ({
      network: index % 7,
      address: ipWords(ip(`192.0.${index >> 8}.${index & 255}`)),
      macHigh: index,
      macLow: -index,
      flags: 0,
    }));
    const table = makeOwnAddresses(rows);
    const find = (network: number, words: Int32Array) =>
      findOwnAddress(table, network, words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0);
    for (const { network, address, macHigh } of rows) {
      expect(table[find(network, address) + 5]).toBe(macHigh);
      expect(find(network + 7, address)).toBe(-1);
    }
    expect(findOwnAddress(makeOwnAddresses([]), 0, 0, 0, 0, 0)).toBe(-1);
  });
});

describe('what the main thread gives to send', () => {
  const octets = frame({ type: 0x0800 });

  function injected(send: (ring: InjectionRing, tested: TestSwitch) => void) {
    const { tested } = serving();
    const memory = allocateFrameRing(INJECTION_RING_SIZE);
    send(new InjectionRing(memory), tested);
    return { tested, sent: tested.inject(new InjectionRing(memory)) };
  }

  test('leaves by its member, with the tag of the port, counted as generated', () => {
    const { tested } = serving();
    const memory = allocateFrameRing(INJECTION_RING_SIZE);
    new InjectionRing(memory).put(octets, tested.network('red'), tested.member('up', 'red'));
    const [only] = tested.inject(new InjectionRing(memory));
    expect(only).toMatchObject({ port: 'up', octets: tagged(octets) });
    expect(tested.value('up', TX_GENERATED)).toBe(1);
  });

  test('goes to all of the network, or to the stations of this host', () => {
    const to = (member: number) =>
      injected((ring, tested) => ring.put(octets, tested.network('red'), member))
        .sent.map(({ port }) => port)
        .sort();
    expect(to(TO_NETWORK)).toEqual(['a', 'b', 'up']);
    expect(to(TO_STATIONS)).toEqual(['a', 'b']);
  });

  test('to a member that is not there any more, or of another network, is forgotten', () => {
    const { sent } = injected((ring, tested) => {
      ring.put(octets, tested.network('red'), 999);
      ring.put(octets, tested.network('red'), tested.member('c', 'blue'));
      ring.put(octets, 77, TO_NETWORK);
      ring.put(octets, tested.network('blue'), tested.member('c', 'blue'));
    });
    expect(sent.map(({ port }) => port)).toEqual(['c']);
  });

  test('is bounded: a full ring refuses, and more than one batch of answers leaves all the same', () => {
    const memory = allocateFrameRing(INJECTION_RING_SIZE);
    const { tested } = serving();
    const ring = new InjectionRing(memory);
    let count = 0;
    while (ring.put(octets, tested.network('red'), tested.member('a', 'red'))) count++;
    expect(count).toBeGreaterThan(1000);
    expect(tested.inject(new InjectionRing(memory))).toHaveLength(count);
  });
});

test('a guarded port without any rule asks and is answered: DHCP, and router advertisements of the switch', () => {
  const { punt, handed } = recordPunts();
  const guarded = { kind: 'tap', network: 'red', mac: A, addresses: ['192.0.2.5/24'], antiSpoof: true, groups: [] };
  const { ports, ...rest } = document();
  const changed = { ...rest, ports: { ...ports, a: guarded as unknown as (typeof ports)[string] } };
  const tested = new TestSwitch(changed, { punt });
  tested.run({ port: 'a', octets: dhcpFrame(discover) }, { port: 'a', octets: solicitation(A) });
  expect([handed.length, tested.drops()]).toEqual([2, {}]);
  const memory = allocateFrameRing(INJECTION_RING_SIZE);
  const ring = new InjectionRing(memory);
  const where = { from: own, to: A, source: SERVER, destination: '192.0.2.5' };
  ring.put(dhcpFrame(dhcpMessage({ type: 2 }), where, [67, 68]), tested.network('red'), tested.member('a', 'red'));
  const advertisement = solicitation(own);
  advertisement[54] = 134;
  ring.put(advertisement, tested.network('red'), tested.member('a', 'red'));
  expect(tested.inject(new InjectionRing(memory)).map(({ port }) => port)).toEqual(['a', 'a']);
});

test('who answers for an address is learned where DHCP is served, so that nobody else is given it, and not elsewhere', () => {
  const { tested } = serving();
  const { neighbors } = tested.machine;
  const claim = arpFrame({ from: A, to: own, operation: 2, sender: '192.0.2.140', target: '0.0.0.0' });
  const isKnown = (network: string) => {
    const [word0, word1, word2, word3] = addressWords('192.0.2.140');
    neighbors.select(tested.network(network), word0!, word1!, word2!, word3!);
    return neighbors.findLatest(0, tested.machine.nowSeconds, 60);
  };
  tested.run({ port: 'a', octets: claim }, { port: 'c', octets: claim });
  expect([isKnown('red'), isKnown('blue')]).toEqual([true, false]);
  expect(macWordsText(neighbors.foundHigh, neighbors.foundLow)).toBe(A);
});
