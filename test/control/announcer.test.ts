/** What routers tell of their addresses when these appear or change: to whom, how often, and that the frames are sound. */
import { describe, expect, test } from 'vitest';
import { Announcer } from '../../src/control/announcer.js';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { linkLocalOf, virtualMac } from '../../src/control/virtual-mac.js';
import { TO_NETWORK, TO_STATIONS } from '../../src/pipeline/egress-batch.js';
import { ipText, macText } from '../../src/wire/address.js';
import { icmp6Sum } from '../wire/neighbor-frames.js';

class Desk {
  readonly sent: { frame: Uint8Array; network: string; destination: number }[] = [];
  private indices = new Indices();
  readonly announcer = new Announcer((frame, network, destination) => {
    const name = [...this.indices.networks].find(([, index]) => index === network)?.[0] ?? '';
    this.sent.push({ frame, network: name, destination });
  });

  follow(routers: Record<string, unknown>): void {
    const networks = { red: { type: 'local' }, ext: { type: 'local' } };
    const document = { version: 1, networks, routers } as unknown as JsonValue;
    const { resolved } = checkDocument(documentOf(document));
    this.indices = this.indices.allocate(resolved);
    this.announcer.follow(resolved, this.indices);
  }

  take(): string[] {
    return this.sent.splice(0).map(({ frame, network, destination }) => {
      const isArp = frame[13] === 6;
      const address = ipText(isArp ? frame.slice(28, 32) : frame.slice(62, 78));
      const to = destination === TO_NETWORK ? 'all' : destination === TO_STATIONS ? 'stations' : 'nobody';
      return `${network} ${to}: ${address} at ${macText(frame, isArp ? 22 : 80)}`;
    });
  }
}

const inside = (red: string[]) => ({ r: { interfaces: { red } } });
const red = macText(virtualMac('red'));
const redLink = `red stations: ${ipText(linkLocalOf(virtualMac('red')))} at ${red}`;

describe('addresses of routers', () => {
  test('are told the stations of this host three times, a second apart, and then no more', () => {
    const desk = new Desk();
    desk.follow(inside(['192.0.2.1/24', '2001:db8::1/64']));
    const lines = [`red stations: 192.0.2.1 at ${red}`, `red stations: 2001:db8::1 at ${red}`, redLink];
    expect(desk.take()).toEqual(lines);
    for (let round = 1; round < 3; round++) {
      desk.announcer.tick();
      expect(desk.take()).toEqual(lines);
    }
    desk.announcer.tick();
    desk.follow(inside(['192.0.2.1/24', '2001:db8::1/64']));
    expect(desk.take()).toEqual([]);
  });

  test('that are new are told, not the others; what is gone is told no more', () => {
    const desk = new Desk();
    desk.follow(inside(['192.0.2.1/24']));
    for (let round = 0; round < 3; round++) desk.announcer.tick();
    desk.take();
    desk.follow(inside(['192.0.2.1/24', '198.51.100.1/24']));
    expect(desk.take()).toEqual([`red stations: 198.51.100.1 at ${red}`]);
    desk.follow(inside(['192.0.2.1/24']));
    desk.announcer.tick();
    expect(desk.take()).toEqual([]);
  });

  test('towards the outside are told the whole network, with a MAC of their own', () => {
    const desk = new Desk();
    const external = (address: string) => ({ network: 'ext', addresses: [address], snat: false });
    desk.follow({ r: { interfaces: { red: '192.0.2.1/24' }, external: external('203.0.113.1/24') } });
    const before = desk.take().filter((line) => line.includes('203.0.113.1'));
    expect(before).toEqual([expect.stringMatching(/^ext all: 203\.0\.113\.1 at /)]);
    // Another address is another host's MAC: the station that had it must be forgotten.
    desk.follow({ r: { interfaces: { red: '192.0.2.1/24' }, external: external('203.0.113.9/24') } });
    const after = desk.take().filter((line) => line.startsWith('ext all: 203'));
    expect(after).toHaveLength(1);
    expect(after[0]!.slice(-17)).not.toBe(before[0]!.slice(-17));
  });

  test('of very many routers are told in turns', () => {
    const desk = new Desk();
    const addresses = Array.from({ length: 300 }, (_, index) => `10.${index >> 8}.${index & 255}.1/24`);
    desk.follow(inside(addresses));
    desk.announcer.tick();
    const told = desk.take();
    expect(told).toHaveLength(512);
    expect(new Set(told).size).toBe(301);
  });
});

test('an announcement by ARP is a broadcast request for itself, by ND an advertisement of a router to all nodes', () => {
  const desk = new Desk();
  desk.follow(inside(['192.0.2.1/24', '2001:db8::1/64']));
  const [arp, nd] = desk.sent.map(({ frame }) => frame);
  expect(Buffer.from(arp!).toString('hex')).toBe(
    `ffffffffffff${red.replaceAll(':', '')}08060001080006040001${red.replaceAll(':', '')}c0000201000000000000c0000201`,
  );
  expect(macText(nd!, 0)).toBe('33:33:00:00:00:01');
  expect([nd![21], nd![54], nd![58]]).toEqual([255, 136, 0xa0]);
  expect(icmp6Sum(nd!)).toBe(0xffff);
});
