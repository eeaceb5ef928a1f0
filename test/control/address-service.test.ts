/** The address service from the frame that a worker hands over to the frame that it is given to send, on a virtual clock. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { diskFiles, type StoreFiles } from '../../src/control/store.js';
import { linkLocalOf, virtualMac } from '../../src/control/virtual-mac.js';
import { TO_STATIONS } from '../../src/pipeline/egress-batch.js';
import { PUNT_ADDRESS_SERVICE } from '../../src/pipeline/punt-ring.js';
import { ipText, macText, parseMac } from '../../src/wire/address.js';
import {
  DHCP_ACK,
  DHCP_DECLINE,
  DHCP_DISCOVER,
  DHCP_INFORM,
  DHCP_NAK,
  DHCP_OFFER,
  DHCP_RELEASE,
  DHCP_REQUEST,
} from '../../src/wire/dhcp-message.js';
import { associationOption, duidOf, type Option6, readOptions6, writeDhcp6 } from '../../src/wire/dhcp6-message.js';
import { CLIENT, dhcp6Frame, dhcpFrame, dhcpMessage, solicitation } from '../wire/address-frames.js';
import { Bench, type Document, dhcp4, ip, OTHER, pool, requested, SERVER } from './address-bench.js';

let bench: Bench;
const benches: Bench[] = [];
function begin(document?: Document, files?: StoreFiles): Bench {
  bench = new Bench(document, files);
  benches.push(bench);
  return bench;
}
beforeEach(() => {
  begin();
});
afterEach(() => {
  for (const { directory } of benches.splice(0)) rmSync(directory, { recursive: true, force: true });
});

describe('a machine whose port has addresses', () => {
  test('is offered and given the address of its port, with what belongs to it', async () => {
    const offer = await bench.ask('known', { type: DHCP_DISCOVER, options: [[55, [1, 3, 26, 28, 121, 12]]] });
    expect(offer).toMatchObject({ type: DHCP_OFFER, yiaddr: 0xc000_0205, xid: 0x0102_0304, op: 2 });
    const option = (code: number) => [...(offer?.options.get(code) ?? [])];
    expect(option(54)).toEqual(SERVER);
    expect(option(1)).toEqual([255, 255, 255, 0]);
    expect(option(3)).toEqual(SERVER);
    expect(option(26)).toEqual([1450 >> 8, 1450 & 255]);
    expect(option(28)).toEqual([192, 0, 2, 255]);
    expect(option(51)).toEqual([0, 0, 14, 16]);
    expect(option(58)).toEqual([0, 0, 7, 8]);
    expect(option(59)).toEqual([0, 0, 12, 78]);
    expect(option(121)).toEqual([0, ...SERVER]);
    expect(Buffer.from(option(12)).toString()).toBe('known');
    const frame = offer?.frame ?? new Uint8Array(0);
    expect([macText(frame), macText(frame, 6)]).toEqual([CLIENT, macText(virtualMac('red'))]);
    expect([ip(frame, 12), ip(frame, 16)]).toEqual(['192.0.2.1', '192.0.2.5']);
  });

  test('gets the same whatever it calls itself: PXE and its system are one machine', async () => {
    for (const id of [
      [0, 1, 2],
      [255, 9, 9, 9],
    ]) {
      const options = [[61, id] as const];
      expect((await bench.ask('known', { type: DHCP_DISCOVER, options }))?.yiaddr).toBe(0xc000_0205);
      const ask = [...options, requested('192.0.2.5'), [54, SERVER] as const];
      expect((await bench.ask('known', { type: DHCP_REQUEST, options: ask }))?.type).toBe(DHCP_ACK);
    }
  });

  test('is told no when it asks for another, and in everybody’s hearing', async () => {
    const nak = await bench.ask('known', { type: DHCP_REQUEST, options: [requested('192.0.2.77')] });
    expect(nak).toMatchObject({ type: DHCP_NAK, yiaddr: 0 });
    expect([...(nak?.options.keys() ?? [])].sort()).toEqual([53, 54]);
    expect(ip(nak?.frame ?? new Uint8Array(0), 16)).toBe('255.255.255.255');
  });

  test('another machine behind the same port is not the port’s', async () => {
    expect(await bench.lease('known', OTHER)).toMatch(/^192\.0\.2\.10[0-9]$/);
  });

  test('nobody else gets its address, even out of a pool around it', async () => {
    begin({ subnets: { red4: { ...dhcp4, dhcp: { pool: '192.0.2.1-192.0.2.7' } } } });
    const given: (string | undefined)[] = [];
    for (let index = 0; index < 7; index++) given.push(await bench.lease('guest', `52:54:00:00:01:0${index}`));
    expect(given).toEqual(['192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.6', '192.0.2.7', undefined, undefined]);
  });
});

describe('a machine that nobody knows', () => {
  test('gets an address of the pool and keeps it, over RELEASE too', async () => {
    const first = await bench.lease('guest', OTHER);
    expect(first).toBe('192.0.2.100');
    expect(await bench.lease('guest', OTHER)).toBe(first);
    expect(bench.service.list()).toEqual([
      { subnet: 'red4', mac: OTHER, address: first, port: 'guest', expiresSeconds: 3600, fixed: false },
    ]);
    await bench.ask('guest', { type: DHCP_RELEASE, chaddr: OTHER, ciaddr: '192.0.2.100', options: [[54, SERVER]] });
    expect(bench.service.list()).toEqual([]);
    expect(await bench.lease('guest', OTHER)).toBe(first);
  });

  test('hears nothing where unknown ones are ignored, or there is no pool', async () => {
    begin({ subnets: { red4: { ...dhcp4, dhcp: { pool, unknown: 'ignore' } } } });
    expect(await bench.ask('guest', { type: DHCP_DISCOVER, chaddr: OTHER })).toBeUndefined();
    begin({ subnets: { red4: { ...dhcp4, dhcp: {} } } });
    expect(await bench.ask('guest', { type: DHCP_DISCOVER, chaddr: OTHER })).toBeUndefined();
    expect(await bench.lease('known', CLIENT)).toBe('192.0.2.5');
  });

  test('after an OFFER that nobody took, somebody else may have the address', async () => {
    begin({ subnets: { red4: { ...dhcp4, dhcp: { pool: '192.0.2.100-192.0.2.100' } } } });
    expect((await bench.ask('guest', { type: DHCP_DISCOVER, chaddr: OTHER }))?.yiaddr).toBe(0xc000_0264);
    expect(await bench.ask('thief', { type: DHCP_DISCOVER, chaddr: CLIENT })).toBeUndefined();
    bench.now += 61_000;
    expect(await bench.lease('thief', CLIENT)).toBe('192.0.2.100');
  });

  test('that takes another server’s offer gives ours free', async () => {
    begin({ subnets: { red4: { ...dhcp4, dhcp: { pool: '192.0.2.100-192.0.2.100' } } } });
    await bench.ask('guest', { type: DHCP_DISCOVER, chaddr: OTHER });
    const options = [requested('192.0.2.200'), [54, [192, 0, 2, 99]] as const];
    expect(await bench.ask('guest', { type: DHCP_REQUEST, chaddr: OTHER, options })).toBeUndefined();
    expect(await bench.lease('thief', CLIENT)).toBe('192.0.2.100');
  });

  test('that reboots: ACK of what it has, NAK of what it can’t have, silence if it has nothing here', async () => {
    await bench.lease('guest', OTHER);
    const reboot = async (address: string, chaddr = OTHER) =>
      (await bench.ask('guest', { type: DHCP_REQUEST, chaddr, options: [requested(address)] }))?.type;
    expect(await reboot('192.0.2.100')).toBe(DHCP_ACK);
    expect(await reboot('192.0.2.101')).toBe(DHCP_NAK);
    expect(await reboot('10.9.9.9')).toBe(DHCP_NAK);
    expect(await reboot('192.0.2.101', '52:54:00:00:00:cc')).toBeUndefined();
    expect(await reboot('10.9.9.9', '52:54:00:00:00:cc')).toBe(DHCP_NAK);
  });

  test('that renews goes on; what is another’s it can’t renew', async () => {
    await bench.lease('guest', OTHER);
    bench.now += 1_800_000;
    const renewed = await bench.ask('guest', { type: DHCP_REQUEST, chaddr: OTHER, ciaddr: '192.0.2.100' });
    expect(renewed).toMatchObject({ type: DHCP_ACK, ciaddr: 0xc000_0264, yiaddr: 0xc000_0264 });
    expect(ip(renewed?.frame ?? new Uint8Array(0), 16)).toBe('192.0.2.100');
    expect(bench.service.list()[0]?.expiresSeconds).toBe(3600);
    const stolen = await bench.ask('thief', { type: DHCP_REQUEST, chaddr: OTHER, ciaddr: '192.0.2.100' });
    expect(stolen?.type).toBe(DHCP_NAK);
  });

  test('that finds its address in use gets another, and nobody gets that one for a while', async () => {
    await bench.lease('guest', OTHER);
    const options = [requested('192.0.2.100'), [54, SERVER] as const];
    expect(await bench.ask('guest', { type: DHCP_DECLINE, chaddr: OTHER, options })).toBeUndefined();
    expect(await bench.lease('guest', OTHER)).toBe('192.0.2.101');
    expect(await bench.lease('thief', CLIENT)).toBe('192.0.2.102');
  });

  test('that has an address of its own is told the rest', async () => {
    const ack = await bench.ask('guest', { type: DHCP_INFORM, chaddr: OTHER, ciaddr: '192.0.2.40' });
    expect(ack).toMatchObject({ type: DHCP_ACK, yiaddr: 0 });
    expect(ack?.options.has(51)).toBe(false);
    expect(ack?.options.has(1)).toBe(true);
    expect(bench.service.list()).toEqual([]);
  });

  test('can’t hear unicast yet: it is answered to everybody', async () => {
    const offer = await bench.ask('guest', { type: DHCP_DISCOVER, chaddr: OTHER, flags: 0x8000 });
    expect(ip(offer?.frame ?? new Uint8Array(0), 16)).toBe('255.255.255.255');
    expect(macText(offer?.frame ?? new Uint8Array(6))).toBe('ff:ff:ff:ff:ff:ff');
  });

  test('behind a relay agent is served in the agent’s subnet, and the agent answered with its option 82', async () => {
    const options = [[82, [1, 2, 3, 4]] as const];
    const where = { from: '02:00:00:00:00:99', destination: '192.0.2.1' };
    const vlan = (id: number) => ({ type: 'vlan', id, uplink: 'far' });
    begin({ networks: { red: vlan(10), blue: vlan(20) }, ports: { far: { kind: 'memory', trunk: 'auto' } } });
    const offer = await bench.ask('far', { type: DHCP_DISCOVER, chaddr: OTHER, giaddr: '192.0.2.9', options }, where);
    expect(offer).toMatchObject({ yiaddr: 0xc000_0264, giaddr: 0xc000_0209 });
    expect([...(offer?.options.get(82) ?? [])]).toEqual([1, 2, 3, 4]);
    const frame = offer?.frame ?? new Uint8Array(60);
    expect([ip(frame, 16), macText(frame), frame[37]]).toEqual(['192.0.2.9', '02:00:00:00:00:99', 67]);
  });

  test('that says it is a relay agent is not served as whom it likes', async () => {
    const relayed = { type: DHCP_DISCOVER, chaddr: CLIENT, giaddr: '192.0.2.9' };
    for (const port of ['far', 'guest']) expect(await bench.ask(port, relayed)).toBeUndefined();
  });
});

describe('a thief', () => {
  test('with ten thousand faces empties nothing but its own quota', async () => {
    for (let index = 0; index < 10_000; index++) {
      const chaddr = `02:00:00:00:${(index >> 8).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}`;
      const message = dhcpFrame(dhcpMessage({ type: DHCP_DISCOVER, chaddr }), { from: chaddr });
      bench.service.hear(0, { octets: message, kind: PUNT_ADDRESS_SERVICE, member: bench.member('thief'), tunnel: 0 });
    }
    bench.sent = [];
    expect(await bench.lease('guest', OTHER)).toMatch(/^192\.0\.2\.10/);
    expect(await bench.lease('known', CLIENT)).toBe('192.0.2.5');
  });

  test('that took its quota gets no more, and the others do', async () => {
    const taken: (string | undefined)[] = [];
    for (let index = 0; index < 5; index++) taken.push(await bench.lease('thief', `02:00:00:00:00:0${index}`));
    expect(taken.filter((address) => address !== undefined)).toHaveLength(3);
    expect(await bench.lease('guest', OTHER)).toBeDefined();
  });

  test('can’t end what another port has, whatever name it takes', async () => {
    await bench.lease('guest', OTHER);
    for (const type of [DHCP_RELEASE, DHCP_DECLINE]) {
      const options = [requested('192.0.2.100'), [54, SERVER] as const];
      await bench.ask('thief', { type, chaddr: OTHER, ciaddr: '192.0.2.100', options });
    }
    expect(bench.service.list()).toMatchObject([{ address: '192.0.2.100', port: 'guest' }]);
  });
});

describe('leases', () => {
  test('are there for the next daemon, which goes on counting', async () => {
    await bench.lease('guest', OTHER);
    bench.now += 600_000;
    bench.open();
    expect(bench.service.list()).toMatchObject([{ address: '192.0.2.100', mac: OTHER, expiresSeconds: 3000 }]);
  });

  test('after a boot of the machine end by the wall clock', async () => {
    await bench.lease('guest', OTHER);
    bench.boot = 'second';
    bench.now = 5000;
    bench.wall += 900_000;
    bench.open();
    expect(bench.service.list()).toMatchObject([{ address: '192.0.2.100', expiresSeconds: 2700 }]);
  });

  test('that were damaged are not used', async () => {
    await bench.lease('guest', OTHER);
    const file = join(bench.directory, 'leases.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('192.0.2.100', '192.0.2.101'));
    bench.open();
    expect(bench.service.list()).toEqual([]);
  });

  test('out of a pool are not told before they are saved; fixed ones with a full disk too', async () => {
    const full: StoreFiles = {
      ...diskFiles,
      write: () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })),
    };
    begin({}, full);
    expect((await bench.ask('guest', { type: DHCP_DISCOVER, chaddr: OTHER }))?.type).toBe(DHCP_OFFER);
    const options = [requested('192.0.2.100'), [54, SERVER] as const];
    expect(await bench.ask('guest', { type: DHCP_REQUEST, chaddr: OTHER, options })).toBeUndefined();
    expect(await bench.lease('known', CLIENT)).toBe('192.0.2.5');
  });

  test('end with their subnet, their pool or their port', async () => {
    await bench.lease('guest', OTHER);
    await bench.lease('known', CLIENT);
    bench.follow({ subnets: { red4: { ...dhcp4, dhcp: { pool: '192.0.2.105-192.0.2.109' } } } });
    expect(bench.service.list()).toMatchObject([{ address: '192.0.2.5' }]);
    bench.follow({ subnets: {} });
    expect(bench.service.list()).toEqual([]);
  });
});

describe('DHCPv6', () => {
  const red6 = {
    network: 'red',
    cidr: '2001:db8::/64',
    gateway: '2001:db8::1',
    ra: { mode: 'stateful' },
    dhcp6: { pool: '2001:db8::100-2001:db8::1ff', dns: ['2001:db8::53'] },
  };
  const client: Option6 = { code: 1, value: duidOf(parseMac(CLIENT) ?? new Uint8Array(6)) };
  const server: Option6 = { code: 2, value: duidOf(virtualMac('red')) };
  const none = { renewSeconds: 0, rebindSeconds: 0 };
  const wish: Option6 = { code: 6, value: Uint8Array.of(0, 23) };
  const ia = (...addresses: Uint8Array[]) =>
    associationOption(
      3,
      7,
      none,
      addresses.map((address) => ({ address, preferredSeconds: 0, validSeconds: 0 })),
    );

  async function ask(port: string, type: number, options: Option6[], from = CLIENT, to?: string) {
    const [answer] = await bench.hear(port, dhcp6Frame(from, writeDhcp6(type, 5, options), to));
    if (answer === undefined) return undefined;
    const { octets } = answer;
    const found = readOptions6(octets, 66, octets.length) ?? [];
    const one = (code: number) => found.find((option) => option.code === code)?.value;
    const inner = readOptions6(one(3) ?? new Uint8Array(12), 12, one(3)?.length ?? 12) ?? [];
    const address = inner.find(({ code }) => code === 5)?.value.slice(0, 16);
    const status = inner.find(({ code }) => code === 13)?.value[1] ?? one(13)?.[1];
    return { type: octets[62], one, address, status, text: address && ipText(address) };
  }

  beforeEach(() => {
    begin({ subnets: { red6 } });
    bench.sent = [];
  });

  test('SOLICIT, ADVERTISE, REQUEST, REPLY: the port’s own address and the resolvers', async () => {
    const advertised = await ask('known', 1, [client, ia(), wish]);
    expect(advertised).toMatchObject({ type: 2, text: '2001:db8::5' });
    expect(bench.service.list()).toEqual([]);
    const replied = await ask('known', 3, [client, server, ia(), wish]);
    expect(replied).toMatchObject({ type: 7, text: '2001:db8::5' });
    expect(ipText(replied?.one(23) ?? new Uint8Array(16))).toBe('2001:db8::53');
    expect(bench.service.list()).toMatchObject([{ subnet: 'red6', address: '2001:db8::5', fixed: true }]);
  });

  test('rapid commit: one REPLY, out of the pool; RENEW and REBIND go on; RELEASE ends it', async () => {
    const replied = await ask('guest', 1, [client, ia(), { code: 14, value: new Uint8Array(0) }]);
    expect(replied).toMatchObject({ type: 7, text: '2001:db8::100' });
    expect(replied?.one(14)).toEqual(new Uint8Array(0));
    const address = replied?.address ?? new Uint8Array(16);
    expect(await ask('guest', 5, [client, server, ia(address)])).toMatchObject({ text: '2001:db8::100' });
    expect(await ask('guest', 6, [client, ia(address)])).toMatchObject({ text: '2001:db8::100' });
    expect(await ask('thief', 8, [client, server, ia(address)])).toMatchObject({ type: 7 });
    expect(bench.service.list()).toHaveLength(1);
    expect(await ask('guest', 8, [client, server, ia(address)])).toMatchObject({ type: 7, status: 0 });
    expect(bench.service.list()).toEqual([]);
  });

  test('one message with many IAs takes no more than the share of its port, and what it holds goes on', async () => {
    begin({ subnets: { red6: { ...red6, dhcp6: { ...red6.dhcp6, perPort: 2 } } } });
    const rapid: Option6 = { code: 14, value: new Uint8Array(0) };
    const many = Array.from({ length: 8 }, (_, iaid) => associationOption(3, iaid, none, []));
    await ask('guest', 1, [client, rapid, ...many]);
    const held = bench.service.list().map(({ address }) => address);
    expect(held).toEqual(['2001:db8::100', '2001:db8::101']);
    await ask('guest', 3, [client, server, ...many]);
    expect(bench.service.list().map(({ address }) => address)).toEqual(held);
  });

  test('CONFIRM says whether an address is right here; DECLINE keeps it from others', async () => {
    const here = Uint8Array.of(0x20, 1, 0xd, 0xb8, ...new Uint8Array(11), 9);
    const elsewhere = Uint8Array.of(0x20, 1, 0xd, 0xb9, ...new Uint8Array(11), 9);
    expect(await ask('guest', 4, [client, ia(here)])).toMatchObject({ type: 7, status: 0 });
    expect(await ask('guest', 4, [client, ia(elsewhere)])).toMatchObject({ type: 7, status: 4 });
    const got = await ask('guest', 3, [client, server, ia()]);
    await ask('guest', 9, [client, server, ia(got?.address ?? here)]);
    expect((await ask('guest', 3, [client, server, ia()]))?.text).toBe('2001:db8::101');
  });

  test('INFORMATION-REQUEST is told what there is to know', async () => {
    const told = await ask('guest', 11, [wish]);
    expect(told).toMatchObject({ type: 7 });
    expect(told?.one(23)).toBeDefined();
    expect(told?.one(2)).toEqual(server.value);
  });

  test('what must not be answered is not: no client id, another server, a server’s message; unicast is sent to multicast', async () => {
    expect(await ask('guest', 1, [ia()])).toBeUndefined();
    expect(await ask('guest', 1, [client, server, ia()])).toBeUndefined();
    expect(await ask('guest', 3, [client, ia()])).toBeUndefined();
    expect(await ask('guest', 3, [client, { code: 2, value: client.value }, ia()])).toBeUndefined();
    expect(await ask('guest', 2, [client, server])).toBeUndefined();
    const own = ipText(linkLocalOf(virtualMac('red')));
    expect(await ask('guest', 3, [client, server, ia()], CLIENT, own)).toMatchObject({ type: 7, status: 5 });
  });
});

describe('router advertisements', () => {
  const red6 = {
    network: 'red',
    cidr: '2001:db8::/64',
    gateway: '2001:db8::1',
    ra: { mode: 'slaac', interval: '90s' },
  };

  test('answer a solicitation at once, only who asked, also one without an address', async () => {
    begin({ subnets: { red6 } });
    bench.sent = [];
    const [answer] = await bench.hear('guest', solicitation(OTHER));
    expect(answer?.member).toBe(bench.member('guest'));
    expect(answer?.octets[54]).toBe(134);
    expect(macText(answer?.octets ?? new Uint8Array(6))).toBe(OTHER);
    const [toAll] = await bench.hear('guest', solicitation(OTHER, true));
    expect(ipText(toAll?.octets.slice(38, 54) ?? new Uint8Array(16))).toBe('ff02::1');
  });

  test('go to all stations of this host: three soon, then within the interval', () => {
    begin({ subnets: { red6 } });
    const at: number[] = [];
    const start = bench.now;
    for (; bench.now < start + 300_000; bench.now += 1000) {
      bench.service.tick();
      if (bench.sent.length > 0) at.push((bench.now - start) / 1000);
      expect(bench.sent.splice(0).every(({ member }) => member === TO_STATIONS)).toBe(true);
    }
    expect(at).toEqual([0, 16, 32, 92, 152, 212, 272]);
  });

  test('say that it is over when they are taken out of the configuration, and not when the daemon ends', async () => {
    begin({ subnets: { red6 } });
    bench.service.tick();
    bench.sent = [];
    await bench.service.close();
    expect(bench.sent).toEqual([]);
    bench.follow({ subnets: {} });
    const [last] = bench.sent;
    expect([last?.octets[54], last?.octets[60], last?.octets[61]]).toEqual([134, 0, 0]);
  });
});

test('nothing that is heard, cut at any octet, is answered with anything but whole messages, and nothing throws', async () => {
  begin({
    subnets: {
      red4: { ...dhcp4, dhcp: { pool } },
      red6: { network: 'red', cidr: '2001:db8::/64', ra: { mode: 'stateful' } },
    },
  });
  const frames = [
    dhcpFrame(dhcpMessage({ type: DHCP_DISCOVER })),
    solicitation(CLIENT),
    dhcp6Frame(CLIENT, writeDhcp6(1, 1, [])),
  ];
  for (const frame of frames)
    for (let end = 0; end < frame.length; end++) expect(await bench.hear('guest', frame.slice(0, end))).toEqual([]);
});

test('a trace says what would be done, and does nothing', async () => {
  const octets = dhcpFrame(dhcpMessage({ type: DHCP_DISCOVER }));
  expect(bench.service.explain(bench.member('known'), octets)).toBe('DHCP: OFFER 192.0.2.5 of red4');
  expect(bench.service.list()).toEqual([]);
});
