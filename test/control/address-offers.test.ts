/** What the DHCP servers offer beyond the plain exchange: addresses that were looked for first, at once if asked, by relays. And lies. */
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ARP_REQUEST } from '../../src/wire/arp.js';
import {
  DHCP_ACK,
  DHCP_BROADCAST,
  DHCP_DISCOVER,
  DHCP_NAK,
  DHCP_OFFER,
  DHCP_RELEASE,
  DHCP_REQUEST,
  readDhcp,
} from '../../src/wire/dhcp-message.js';
import { associationOption, readDhcp6, writeDhcp6 } from '../../src/wire/dhcp6-message.js';
import { frameLine } from '../../src/wire/print.js';
import { CLIENT, dhcp6Frame, dhcpFrame, dhcpMessage } from '../wire/address-frames.js';
import { Bench, type Document, dhcp4, ip, OTHER, requested, SERVER, text } from './address-bench.js';

const RAPID = [80, []] as const;
const STRANGER = '02:00:00:00:00:77';

let bench: Bench;
const benches: Bench[] = [];
function begin(document?: Document): void {
  bench = new Bench(document);
  benches.push(bench);
}
beforeEach(() => begin());
afterEach(() => {
  for (const { directory } of benches.splice(0)) rmSync(directory, { recursive: true, force: true });
});

const discover = (chaddr = OTHER, options: readonly (readonly [number, ArrayLike<number>])[] = []) => ({
  type: DHCP_DISCOVER,
  chaddr,
  options,
});
const offered = async (port: string, chaddr = OTHER) => text((await bench.ask(port, discover(chaddr)))?.yiaddr ?? 0);

describe('an address out of a pool', () => {
  test('is asked for in the whole network, from nobody, before it is offered to who did not have it', async () => {
    expect(await offered('guest')).toBe('192.0.2.100');
    const [probe, ...others] = bench.probed;
    expect(others).toEqual([]);
    expect(frameLine(probe!.octets)).toContain('ARP who-has 192.0.2.100 tell 0.0.0.0');
    expect([...probe!.octets.slice(0, 6)]).toEqual([255, 255, 255, 255, 255, 255]);
    expect([...probe!.octets.slice(20, 22)]).toEqual([0, ARP_REQUEST]);
    expect([...probe!.octets.slice(32, 38)]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test('that somebody uses rests, and another is offered; both servers of it agree afterwards', async () => {
    bench.claims.set('192.0.2.100', { mac: STRANGER, port: 'far' });
    expect(await offered('guest')).toBe('192.0.2.101');
    expect(bench.probed).toHaveLength(2);
    expect(await offered('guest', STRANGER)).toBe('192.0.2.102');
    // After a restart too, and no longer than a while.
    bench.open();
    expect(await bench.lease('guest', '02:00:00:00:00:01')).not.toBe('192.0.2.100');
    bench.claims.clear();
    bench.now += 700_000;
    const options = [requested('192.0.2.100')];
    expect(text((await bench.ask('guest', discover(CLIENT, options)))?.yiaddr ?? 0)).toBe('192.0.2.100');
  });

  test('that its client has is not asked for again, nor one that is a port’s own', async () => {
    await bench.lease('guest', OTHER);
    expect(bench.probed).toHaveLength(1);
    expect(await offered('guest')).toBe('192.0.2.100');
    await bench.lease('known', CLIENT);
    expect(bench.probed).toHaveLength(1);
  });

  test('that the client itself answers for is not in use', async () => {
    bench.claims.set('192.0.2.100', { mac: OTHER, port: 'guest' });
    expect(await offered('guest')).toBe('192.0.2.100');
  });

  test('is offered once, however often it is asked for meanwhile', async () => {
    bench.isWaiting = true;
    for (let again = 0; again < 3; again++) expect(await bench.ask('guest', discover())).toBeUndefined();
    expect(bench.probed).toHaveLength(1);
    expect(bench.timers).toHaveLength(1);
    // Answers come when the looking ends, and not before.
    let looks = 0;
    for (let act = bench.timers.shift(); act !== undefined; act = bench.timers.shift(), looks++) {
      expect(bench.sent).toEqual([]);
      act();
    }
    expect(looks).toBe(6);
    expect(bench.sent).toHaveLength(1);
    bench.sent = [];
    expect(await offered('guest')).toBe('192.0.2.100');
  });

  test('is asked for a few times at once for one port, whoever it says it is, and for others nonetheless', async () => {
    bench.follow({ subnets: { red4: { ...dhcp4, dhcp: { pool: '192.0.2.100-192.0.2.199', perPort: 3 } } } });
    bench.isWaiting = true;
    for (let face = 0; face < 20; face++)
      await bench.ask('thief', { type: DHCP_DISCOVER, chaddr: `02:00:00:00:00:${String(10 + face)}` });
    expect(bench.probed).toHaveLength(8);
    await bench.ask('guest', discover());
    expect(bench.probed).toHaveLength(9);
  });

  test('is not offered any more when its port or the configuration changed meanwhile', async () => {
    bench.isWaiting = true;
    await bench.ask('guest', discover());
    bench.follow({ subnets: {} });
    for (let act = bench.timers.shift(); act !== undefined; act = bench.timers.shift()) act();
    expect(bench.sent).toEqual([]);
  });

  test('is not kept from others by who claims all of them: no more than its port’s share', async () => {
    for (let last = 100; last < 110; last++) bench.claims.set(`192.0.2.${last}`, { mac: STRANGER, port: 'thief' });
    const given: string[] = [];
    for (let index = 0; index < 4; index++) given.push(await offered('guest', `02:00:00:00:01:0${index}`));
    // perPort is 3: so many are found for the first client, who asks again; then the thief is not believed.
    expect(given).toEqual(['0.0.0.0', '192.0.2.103', '192.0.2.104', '192.0.2.105']);
  });
});

describe('rapid commit (RFC 4039)', () => {
  test('is the ACK of a DISCOVER that asks for it, and says so', async () => {
    const ack = await bench.ask('guest', discover(OTHER, [RAPID]));
    expect(ack).toMatchObject({ type: DHCP_ACK, yiaddr: 0xc000_0264 });
    expect(ack?.options.get(80)).toEqual(new Uint8Array(0));
    expect([...(ack?.options.get(51) ?? [])]).toEqual([0, 0, 14, 16]);
    expect(bench.service.list()).toMatchObject([{ address: '192.0.2.100', port: 'guest', fixed: false }]);
    expect(bench.probed).toHaveLength(1);
  });

  test('gives a port its own address, and never more than its share', async () => {
    expect(await bench.ask('known', discover(CLIENT, [RAPID]))).toMatchObject({ type: DHCP_ACK, yiaddr: 0xc000_0205 });
    for (let index = 0; index < 5; index++) await bench.ask('thief', discover(`02:00:00:00:02:0${index}`, [RAPID]));
    expect(bench.service.list().filter(({ port }) => port === 'thief')).toHaveLength(3);
    expect(await bench.lease('guest', OTHER)).toBeDefined();
  });

  test('is not said to who did not ask', async () => {
    const offer = await bench.ask('guest', discover());
    expect([offer?.type, offer?.options.has(80)]).toEqual([DHCP_OFFER, false]);
    const options = [requested('192.0.2.100'), [54, SERVER] as const];
    const ack = await bench.ask('guest', { type: DHCP_REQUEST, chaddr: OTHER, options });
    expect([ack?.type, ack?.options.has(80)]).toEqual([DHCP_ACK, false]);
  });
});

describe('through a relay agent', () => {
  const AGENT = '02:00:00:00:00:99';
  const vlan = (id: number) => ({ type: 'vlan', id, uplink: 'far' });
  const where = { from: AGENT, destination: '192.0.2.1' };
  const information = [82, [1, 2, 3, 4]] as const;
  const relayed = (type: number, options: readonly (readonly [number, ArrayLike<number>])[] = [], more = {}) =>
    bench.ask('far', { type, chaddr: OTHER, giaddr: '192.0.2.9', options: [...options, information], ...more }, where);
  beforeEach(() =>
    begin({ networks: { red: vlan(10), blue: vlan(20) }, ports: { far: { kind: 'memory', trunk: 'auto' } } }),
  );

  test('a client gets its lease, renews it, and gives it back', async () => {
    expect((await relayed(DHCP_DISCOVER))?.type).toBe(DHCP_OFFER);
    const selecting = await relayed(DHCP_REQUEST, [requested('192.0.2.100'), [54, SERVER]]);
    expect(selecting).toMatchObject({ type: DHCP_ACK, yiaddr: 0xc000_0264, giaddr: 0xc000_0209 });
    expect([...(selecting?.options.get(82) ?? [])]).toEqual([1, 2, 3, 4]);
    expect(ip(selecting?.frame ?? new Uint8Array(60), 16)).toBe('192.0.2.9');
    const renewing = await relayed(DHCP_REQUEST, [], { ciaddr: '192.0.2.100' });
    expect(renewing).toMatchObject({ type: DHCP_ACK, ciaddr: 0xc000_0264 });
    await relayed(DHCP_RELEASE, [[54, SERVER]], { ciaddr: '192.0.2.100' });
    expect(bench.service.list()).toEqual([]);
  });

  test('a refusal is to be broadcast by the agent', async () => {
    await relayed(DHCP_DISCOVER);
    const nak = await relayed(DHCP_REQUEST, [requested('192.0.2.177'), [54, SERVER]]);
    expect(nak?.type).toBe(DHCP_NAK);
    expect((nak?.flags ?? 0) & DHCP_BROADCAST).toBe(DHCP_BROADCAST);
  });

  test('nobody is asked for the address: its network is not ours', async () => {
    await relayed(DHCP_DISCOVER);
    expect(bench.probed).toEqual([]);
  });

  test('an agent of a network that has no subnet hears nothing', async () => {
    expect(await relayed(DHCP_DISCOVER, [], { giaddr: '198.51.100.9' })).toBeUndefined();
  });
});

describe('an option whose length lies', () => {
  /** Every option a client may send, each with as many octets as it should have. */
  const options = [
    [50, [192, 0, 2, 105]],
    [12, [...Buffer.from('host')]],
    [55, [1, 3, 6, 26, 121]],
    [57, [2, 64]],
    [60, [...Buffer.from('weft')]],
    [61, [1, 82, 84, 0, 0, 0, 11]],
    [80, []],
    [82, [1, 2, 3, 4]],
    [52, [3]],
  ] as const;
  const message = dhcpMessage({ type: DHCP_DISCOVER, chaddr: OTHER, options });

  test('makes no answer of the DHCP server anything but a whole message to its client', async () => {
    let at = 240;
    let answers = 0;
    while (message[at] !== 255) {
      for (let size = 0; size < 256; size++) {
        const lying = message.slice();
        lying[at + 1] = size;
        for (const { octets } of await bench.hear('guest', dhcpFrame(lying, { from: OTHER }))) {
          const answer = readDhcp(octets, 42, octets.length);
          expect(answer).toMatchObject({ op: 2, xid: 0x0102_0304 });
          expect([...octets.slice(0, 6)]).toEqual([0x52, 0x54, 0, 0, 0, 0x0b]);
          answers++;
        }
      }
      at += 2 + message[at + 1]!;
    }
    expect(answers).toBeGreaterThan(options.length);
    // Whatever it called itself, it has its port's share and no more.
    expect(bench.service.list().length).toBeLessThanOrEqual(3);
  });

  test('makes no answer of the DHCPv6 server anything but a whole message', async () => {
    begin({
      subnets: {
        red6: {
          network: 'red',
          cidr: '2001:db8::/64',
          ra: { mode: 'stateful' },
          dhcp6: { pool: '2001:db8::100-2001:db8::1ff', perPort: 3 },
        },
      },
    });
    const times = { renewSeconds: 0, rebindSeconds: 0 };
    const wish = {
      address: Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 5),
      preferredSeconds: 1,
      validSeconds: 1,
    };
    const solicit = writeDhcp6(1, 7, [
      { code: 1, value: Uint8Array.of(0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, 0x0b) },
      associationOption(3, 1, times, [wish]),
      { code: 6, value: Uint8Array.of(0, 23, 0, 24) },
      { code: 14, value: new Uint8Array(0) },
      { code: 25, value: new Uint8Array(12) },
    ]);
    // The lengths of all options, and of the address inside the association.
    const lengths = [6];
    for (let at = 4; at + 4 <= solicit.length; at += 4 + ((solicit[at + 2]! << 8) | solicit[at + 3]!))
      lengths.push(at + 2);
    lengths.push(4 + 14 + 4 + 12 + 2);
    let answers = 0;
    for (const at of lengths) {
      for (let size = 0; size < 512; size++) {
        const lying = solicit.slice();
        lying.set([size >>> 8, size & 255], at);
        for (const { octets } of await bench.hear('guest', dhcp6Frame(OTHER, lying))) {
          const answer = readDhcp6(octets, 62, octets.length);
          expect(answer?.xid).toBe(7);
          // REPLY, or ADVERTISE where the wish for a rapid commit went under.
          expect([2, 7]).toContain(answer?.type);
          answers++;
        }
      }
    }
    expect(answers).toBeGreaterThanOrEqual(lengths.length);
    expect(bench.service.list().length).toBeLessThanOrEqual(3);
  });
});
