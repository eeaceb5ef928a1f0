/**
 * What routers remember of addresses, stations and translations decides nothing: a switch that keeps it, and takes packets in
 * batches, sends what one sends that has forgotten everything before each packet, whatever changes meanwhile: neighbours,
 * routes, connections, time.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { routeHints } from '../../src/pipeline/route-hints.js';
import { ways } from '../../src/pipeline/station-ways.js';
import { ipv4HeaderChecksum } from '../../src/wire/checksum.js';
import { write16 } from '../../src/wire/octets.js';
import { arpFrame } from '../wire/neighbor-frames.js';
import { ACK, ADDRESSES, type Flow, MACS, NatSwitch, natDocument, OUTSIDE, type Station } from './nat-switch.js';

const SERVERS = ['198.51.100.200', '198.51.100.201'] as const;
const OTHER_OUTSIDER = '52:54:00:00:00:1d';

type Step =
  | {
      readonly kind: 'packets';
      readonly packets: readonly { readonly from: Station; readonly flow: Flow }[];
      /** Of datagrams. */
      readonly hasChecksums?: boolean;
      /** Of packets of IPv4. */
      readonly mayBeCut?: boolean;
    }
  | { readonly kind: 'moves'; readonly mac: string }
  | { readonly kind: 'routes'; readonly server: number }
  | { readonly kind: 'cut' }
  | { readonly kind: 'later'; readonly seconds: number };

const packet = fc
  .record({
    way: fc.constantFrom('out', 'back', 'across', 'stranger'),
    proto: fc.constantFrom('udp', 'udp', 'udp', 'tcp', 'icmp'),
    inside: fc.constantFrom('a', 'b'),
    server: fc.nat(1),
    port: fc.nat(2),
    ttl: fc.constantFrom(64, 64, 64, 2, 1),
    size: fc.constantFrom(12, 12, 0, 3, 1472, 1473),
  })
  .map(({ way, proto, inside, server, port, ttl, size }) => {
    // Each has ports of its own, so that all are kept: what another is chosen, nobody can predict.
    const sport = (inside === 'a' ? 4000 : 5000) + port;
    const dport = proto === 'icmp' ? sport : 80;
    const out = {
      proto,
      src: ADDRESSES[inside as 'a' | 'b'],
      dst: SERVERS[server]!,
      sport,
      dport,
      type: 8,
      ttl,
      size,
    } as const;
    const back = { ...out, src: out.dst, dst: OUTSIDE, sport: dport, dport: sport, type: 0, flags: 18, ack: 14 };
    switch (way) {
      case 'out':
        return { from: inside as Station, flow: out };
      case 'back':
        return { from: 'o' as const, flow: back };
      case 'across':
        return { from: inside as Station, flow: { ...out, dst: ADDRESSES.c, flags: ACK } };
      default:
        return { from: 'o' as const, flow: { ...back, src: '198.51.100.250' } };
    }
  });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('packets' as const),
      packets: fc.array(packet, { maxLength: 12 }),
      hasChecksums: fc.boolean(),
      mayBeCut: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('moves' as const), mac: fc.constantFrom(MACS.o, OTHER_OUTSIDER) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('routes' as const), server: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'cut' as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('later' as const), seconds: fc.constantFrom(1, 70, 200) }) },
);

/** Each datagram's flow back and forth, so that it is a stream, of which nothing changes any more. */
const streams: readonly Step[] = ['out', 'back', 'out', 'back'].map((way) => ({
  kind: 'packets',
  packets: ['a', 'b'].flatMap((inside) =>
    SERVERS.flatMap((server) =>
      [0, 1, 2].map((port) => {
        const sport = (inside === 'a' ? 4000 : 5000) + port;
        const flow = { proto: 'udp', src: ADDRESSES[inside as 'a' | 'b'], dst: server, sport, dport: 80 } as const;
        if (way === 'out') return { from: inside as Station, flow };
        return { from: 'o' as const, flow: { ...flow, src: server, dst: OUTSIDE, sport: 80, dport: sport } };
      }),
    ),
  ),
}));

function forbidCuts(octets: Uint8Array): void {
  octets[20]! |= 0x40;
  write16(octets, 24, ipv4HeaderChecksum(octets, 14, 20));
}

class Subject extends NatSwitch {
  /** What left in this step, in no order: answers of the switch's own leave behind the batch. */
  take(one: Step, forgets: boolean): string[] {
    const sent: string[] = [];
    const note = (frames: readonly { port: string; octets: Uint8Array }[]) => {
      for (const { port, octets } of frames) sent.push(`${port} ${Buffer.from(octets).toString('hex')}`);
    };
    switch (one.kind) {
      case 'packets': {
        const frames = one.packets.map(({ from, flow }) => ({ port: from, octets: this.frame(from, flow) }));
        for (const { octets } of frames) if (one.mayBeCut === false && octets[12] === 8) forbidCuts(octets);
        if (one.hasChecksums === false) for (const { octets } of frames) if (octets[23] === 17) octets.fill(0, 40, 42);
        if (!forgets) note(this.run(...frames));
        else for (const frame of frames) note(this.runForgetful(frame));
        break;
      }
      case 'moves': {
        const addresses = { sender: ADDRESSES.o, target: OUTSIDE };
        note(
          this.run({
            port: 'o',
            octets: arpFrame({ from: one.mac, to: this.gateway('o'), operation: 2, ...addresses }),
          }),
        );
        break;
      }
      case 'routes': {
        const hole = one.server < 2 ? [{ to: `${SERVERS[one.server]}/32`, via: 'blackhole' }] : [];
        this.configure(natDocument({ routes: [{ to: '0.0.0.0/0', via: ADDRESSES.o }, ...hole] }));
        break;
      }
      case 'cut':
        this.cut();
        break;
      default:
        // Stations are heard meanwhile: who waits for one, how long, depends on the breaths of a worker.
        this.now += one.seconds * 1000;
        this.introduce();
    }
    return sent.sort();
  }

  private runForgetful(frame: { port: string; octets: Uint8Array }) {
    routeHints.fill(0);
    ways.fill(0);
    this.machine.translations.rows.fill(0);
    return this.run(frame);
  }

  private cut(): void {
    const { connections } = this.machine;
    for (let entry = 1; entry < connections.table.entryLimit; entry++)
      if (connections.table.isLive(entry) && connections.isConnection(entry))
        connections.remove(entry, connections.table.stampOf(entry));
  }
}

test('What is remembered of routes, stations and translations changes nothing of what leaves', () => {
  let left = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (some) => {
      const steps = [...streams, ...some];
      const remembers = new Subject();
      const heard = steps.map((one) => remembers.take(one, false));
      const forgets = new Subject();
      expect(steps.map((one) => forgets.take(one, true))).toEqual(heard);
      left += heard.flat().length;
    }),
    { numRuns: 40 },
  );
  expect(left).toBeGreaterThan(100);
});

test('A hop that was remembered ends with the routes that it is of, also where a packet does not get as far', () => {
  const subject = new Subject();
  for (const one of streams) subject.take(one, false);
  const flow = { proto: 'udp', src: ADDRESSES.a, dst: SERVERS[0], sport: 4000, dport: 80 } as const;
  expect(subject.say('a', flow)).toHaveLength(1);
  subject.take({ kind: 'routes', server: 0 }, false);
  for (let count = 0; count < 3; count++) expect(subject.say('a', flow)).toEqual([]);
  expect(subject.say('a', { ...flow, dst: SERVERS[1] })).toHaveLength(1);
  subject.take({ kind: 'routes', server: 2 }, false);
  for (let count = 0; count < 3; count++) expect(subject.say('a', flow)).toHaveLength(1);
});

test('A translation that was remembered ends with its connection', () => {
  const subject = new Subject();
  const flow = { proto: 'udp', src: ADDRESSES.a, dst: SERVERS[0], sport: 4000, dport: 80 } as const;
  const back = { ...flow, src: SERVERS[0], dst: OUTSIDE, sport: 80, dport: 4000 } as const;
  for (let count = 0; count < 3; count++) {
    expect(subject.say('a', flow)).toMatchObject([{ port: 'o', src: OUTSIDE, sport: 4000 }]);
    expect(subject.say('o', back)).toMatchObject([{ port: 'a', dst: ADDRESSES.a, dport: 4000 }]);
  }
  expect(subject.machine.translations.rows.some((word) => word !== 0)).toBe(true);
  subject.take({ kind: 'cut' }, false);
  expect(subject.say('o', back).filter(({ port }) => port === 'a')).toEqual([]);
});
