/** The connection table: shares, eviction, expiry, what survives; and what packets of each protocol are to it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  C_EVICTED,
  COMMIT_FULL,
  COMMIT_PORT_LIMIT,
  COMMITTED,
  connectionTableSize,
  destinationPortOf,
  GROUPS_PER_PORT,
  sourcePortOf,
} from '../../src/pipeline/connection-table.js';
import {
  answer,
  EPOCH,
  icmp,
  NEVER,
  packet,
  quoted,
  segment,
  TrackedSwitch,
  tcpOctets,
  udp,
} from './connection-fixture.js';

const ONE = '192.0.2.1';
const TWO = '192.0.2.2';
const SIX = '2001:db8::1';
const SEVEN = '2001:db8::2';

const syn = (port: number, seq = 1) => segment({ flags: 'S', seq, ports: [port, 80] });

function establish(tracked: TrackedSwitch, port: number): number {
  tracked.one('a', syn(port, 100));
  tracked.one('b', answer({ flags: 'SA', seq: 500, ack: 101, ports: [port, 80] }));
  return tracked.one('a', segment({ flags: 'A', seq: 101, ack: 501, ports: [port, 80] })).entry;
}

describe('an entry', () => {
  test('takes at most 128 octets with all that belongs to it, groups and networks apart', () => {
    const capacity = 2 ** 20;
    const fixed = connectionTableSize(1);
    expect((connectionTableSize(capacity) - fixed) / (capacity - 1)).toBeLessThanOrEqual(128.01);
  });

  test('keeps the ports it runs by and the epoch, and takes others', () => {
    const tracked = new TrackedSwitch();
    const { entry } = tracked.one('a', udp(ONE, TWO, [5, 6]));
    const { table, tested } = tracked;
    expect(sourcePortOf(table.connectionPorts(entry))).toBe(tested.index('a'));
    expect(destinationPortOf(table.connectionPorts(entry))).toBe(tested.index('b'));
    expect(table.policyEpoch(entry)).toBe(EPOCH);
    const stamp = table.table.stampOf(entry);
    table.judge(entry, stamp, EPOCH + 1, -1, 4095);
    expect(sourcePortOf(table.connectionPorts(entry))).toBe(-1);
    expect(destinationPortOf(table.connectionPorts(entry))).toBe(4095);
    expect(table.policyEpoch(entry)).toBe(EPOCH + 1);
    expect(table.remove(entry, stamp + 2)).toBe(false);
    expect(table.remove(entry, stamp)).toBe(true);
    expect(table.remove(entry, stamp)).toBe(false);
    // Nor by the stamp of a place where none is.
    expect(table.remove(entry, table.table.stampOf(entry))).toBe(false);
    table.judge(entry, stamp, 1, 1, 1);
    expect(table.policyEpoch(entry)).toBe(EPOCH + 1);
    expect(table.used).toBe(0);
  });
});

describe('both directions', () => {
  test.each([
    [ONE, TWO],
    [TWO, ONE],
    [SIX, SEVEN],
    [SEVEN, SIX],
    ['255.0.0.1', '1.0.0.1'],
  ])('of a flow from %s to %s are one connection', (from, to) => {
    const tracked = new TrackedSwitch();
    const first = tracked.one('a', udp(from, to, [7, 9]));
    expect(first.what).toBe('new');
    expect(tracked.one('a', udp(from, to, [7, 9]))).toEqual({ ...first, what: 'original' });
    expect(tracked.one('b', udp(to, from, [9, 7]))).toEqual({ ...first, what: 'reply+' });
    expect(tracked.what('b', udp(to, from, [7, 9]))).toBe('new');
    expect(tracked.table.used).toBe(2);
  });

  test('of two networks with the same addresses are connections of their own', () => {
    const tracked = new TrackedSwitch();
    expect(tracked.what('a', udp(ONE, TWO, [7, 9]))).toBe('new');
    expect(tracked.what('x', udp(ONE, TWO, [7, 9]))).toBe('new');
    expect(tracked.what('y', udp(TWO, ONE, [9, 7]))).toBe('reply+');
    expect(tracked.what('b', udp(TWO, ONE, [9, 7]))).toBe('reply+');
  });

  test('made at once by frames of one batch are one connection', () => {
    const tracked = new TrackedSwitch();
    const seen = tracked.look([
      ['a', udp(ONE, TWO, [7, 9])],
      ['b', udp(TWO, ONE, [9, 7])],
      ['a', udp(ONE, TWO, [7, 9])],
    ]);
    expect(new Set(seen.map(({ entry }) => entry)).size).toBe(1);
    expect(seen.every(({ result }) => result === COMMITTED)).toBe(true);
    expect(tracked.table.used).toBe(1);
    expect(tracked.what('b', udp(TWO, ONE, [9, 7]))).toBe('reply+');
  });
});

describe('protocols', () => {
  test('an echo is answered once it was asked, and both ends may ask with one identifier', () => {
    const tracked = new TrackedSwitch();
    expect(tracked.what('b', icmp(TWO, ONE, 0, 5))).toBe('invalid');
    expect(tracked.what('a', icmp(ONE, TWO, 8, 5))).toBe('new');
    expect(tracked.what('b', icmp(TWO, ONE, 8, 5))).toBe('new');
    expect(tracked.what('b', icmp(TWO, ONE, 0, 5))).toBe('reply+');
    expect(tracked.what('a', icmp(ONE, TWO, 0, 5))).toBe('reply+');
    expect(tracked.what('b', icmp(TWO, ONE, 0, 6))).toBe('invalid');
    expect(tracked.what('a', icmp(SIX, SEVEN, 128, 5))).toBe('new');
    expect(tracked.what('b', icmp(SEVEN, SIX, 129, 5))).toBe('reply+');
  });

  test('threats 41: neighbour discovery and other types never let an echo in', () => {
    const tracked = new TrackedSwitch();
    for (const type of [133, 135, 136, 130, 143])
      expect(tracked.what('a', icmp(SIX, SEVEN, type, 0))).toBe('untracked');
    expect(tracked.what('b', icmp(SEVEN, SIX, 128, 0))).toBe('new');
    expect(tracked.what('b', icmp(SEVEN, SIX, 129, 0))).toBe('invalid');
    expect(tracked.what('a', icmp(ONE, TWO, 13, 0))).toBe('new');
    expect(tracked.what('b', icmp(TWO, ONE, 0, 0))).toBe('invalid');
    expect(tracked.what('b', icmp(TWO, ONE, 14, 0))).toBe('reply+');
    expect(tracked.what('a', icmp(ONE, TWO, 200, 0))).toBe('invalid');
  });

  test('IGMP, group addresses and ARP are not tracked', () => {
    const tracked = new TrackedSwitch();
    expect(tracked.what('a', packet({ from: ONE, to: TWO, protocol: 2, payload: new Uint8Array(8) }))).toBe(
      'untracked',
    );
    expect(tracked.what('a', udp(ONE, '224.0.0.1', [1, 2]))).toBe('untracked');
    expect(tracked.what('a', udp(ONE, '255.255.255.255', [1, 2]))).toBe('untracked');
    expect(tracked.what('a', udp(SIX, 'ff02::1', [1, 2]))).toBe('untracked');
    expect(tracked.table.used).toBe(0);
  });

  test('an ICMP error is related when it quotes a packet of a connection and goes to who sent it', () => {
    const tracked = new TrackedSwitch();
    const sent = udp(ONE, TWO, [7, 9]);
    const { entry } = tracked.one('a', sent);
    const related = tracked.one('b', icmp('192.0.2.99', ONE, 3, 0, quoted(sent, 28)));
    expect(related).toMatchObject({ what: 'related reply', entry });
    tracked.one('b', udp(TWO, ONE, [9, 7]));
    expect(tracked.what('a', icmp(ONE, TWO, 3, 0, quoted(udp(TWO, ONE, [9, 7]))))).toBe('related original');
    expect(tracked.what('b', icmp(TWO, '192.0.2.5', 3, 0, quoted(sent)))).toBe('invalid');
    expect(tracked.what('b', icmp(TWO, ONE, 3, 0, quoted(udp(ONE, TWO, [8, 9]))))).toBe('invalid');
    const six = udp(SIX, SEVEN, [7, 9]);
    tracked.one('a', six);
    expect(tracked.what('b', icmp(SEVEN, SIX, 2, 0, quoted(six)))).toBe('related reply');
    const ping = icmp(ONE, TWO, 8, 44);
    tracked.one('a', ping);
    expect(tracked.what('b', icmp(TWO, ONE, 11, 0, quoted(ping)))).toBe('related reply');
  });

  test('an ICMP error about a tunnel is related by its key, and about a protocol without ports by its endpoints', () => {
    const tracked = new TrackedSwitch();
    const gre = (header: number[], from = ONE, to = TWO) =>
      packet({ from, to, protocol: 47, payload: Uint8Array.from([...header, 0xa5, 0xa5, 0xa5, 0xa5]) });
    const keyed = (key: number) => [0x20, 0, 0x65, 0x58, 0x80, 0, 0, key];
    const summed = (key: number) => [0xa0, 0, 0x65, 0x58, 0x12, 0x34, 0, 0, 0x80, 0, 0, key];
    const plain = [0, 0, 0x65, 0x58];
    const entries = [keyed(5), keyed(6), plain].map((header) => tracked.one('a', gre(header)).entry);
    const errorAbout = (frame: Uint8Array, size?: number) =>
      tracked.one('b', icmp(TWO, ONE, 3, 0, quoted(frame, size)));
    for (const [index, header] of [keyed(5), keyed(6), plain].entries())
      expect(errorAbout(gre(header)), `connection ${index}`).toMatchObject({
        what: 'related reply',
        entry: entries[index],
      });
    expect(errorAbout(gre(summed(5))).entry, 'the key lies behind the checksum').toBe(entries[0]);
    expect(errorAbout(gre(keyed(7))).what).toBe('invalid');
    // RFC 792 asks for eight octets of what the packet carried: the key of a header with a checksum is not among them.
    expect(errorAbout(gre(keyed(6)), 28).entry).toBe(entries[1]);
    expect(errorAbout(gre(summed(6)), 28).what, 'its key is cut off').toBe('invalid');
    for (let size = 20; size < 28; size++) expect(errorAbout(gre(keyed(6)), size).what, `${size}`).toBe('invalid');
    expect(errorAbout(gre(plain), 24).entry).toBe(entries[2]);
    for (const protocol of [50, 51, 89]) {
      const sent = packet({ from: ONE, to: TWO, protocol, payload: new Uint8Array(8) });
      const { entry } = tracked.one('a', sent);
      expect(errorAbout(sent, 28)).toMatchObject({ what: 'related reply', entry });
    }
    expect(errorAbout(packet({ from: ONE, to: TWO, protocol: 52, payload: new Uint8Array(8) })).what).toBe('invalid');
    const six = packet({ from: SIX, to: SEVEN, protocol: 47, payload: Uint8Array.from(keyed(9)) });
    const { entry } = tracked.one('a', six);
    expect(tracked.one('b', icmp(SEVEN, SIX, 1, 0, quoted(six)))).toMatchObject({ what: 'related reply', entry });
  });

  test('threats 3: every truncation of an error, and of what it quotes, gives a verdict and no exception', () => {
    const tracked = new TrackedSwitch();
    const inner = segment({ flags: 'S', seq: 1 });
    tracked.one('a', inner);
    for (const [from, to, type] of [
      [TWO, ONE, 3],
      [SEVEN, SIX, 1],
    ] as const)
      for (let size = 0; size <= quoted(inner).length; size++) {
        const what = tracked.what('b', icmp(from, to, type, 0, quoted(inner, size)));
        expect(what).toBe(from === TWO && size >= 24 ? 'related reply' : 'invalid');
      }
    for (let size = 0; size <= 20; size++) {
      const what = tracked.what(
        'a',
        packet({ protocol: 6, payload: tcpOctets({ flags: 'S', ports: [3, 4] }).slice(0, size) }),
      );
      expect(what).toBe(size < 20 ? 'invalid' : 'new');
    }
  });

  test('threats 44: a flow of UDP-Lite, SCTP, DCCP or GRE opens no other ports or keys of its protocol', () => {
    const tracked = new TrackedSwitch();
    for (const protocol of [136, 33]) {
      expect(tracked.what('a', udp(ONE, TWO, [7, 9], 8, protocol))).toBe('new');
      expect(tracked.what('b', udp(TWO, ONE, [9, 7], 8, protocol))).toBe('reply+');
      expect(tracked.what('b', udp(TWO, ONE, [10, 7], 8, protocol))).toBe('new');
    }
    const gre = (from: string, to: string, key: number) => {
      const payload = Uint8Array.from([0x20, 0, 0x65, 0x58, 0, 0, 0, key, 1, 2, 3, 4]);
      return packet({ from, to, protocol: 47, payload });
    };
    expect(tracked.what('a', gre(ONE, TWO, 5))).toBe('new');
    expect(tracked.what('b', gre(TWO, ONE, 5))).toBe('reply+');
    expect(tracked.what('b', gre(TWO, ONE, 6))).toBe('new');
    expect(tracked.what('a', packet({ from: ONE, to: TWO, protocol: 50, payload: new Uint8Array(8) }))).toBe('new');
    expect(tracked.what('b', packet({ from: TWO, to: ONE, protocol: 50, payload: new Uint8Array(8) }))).toBe('reply+');
    expect(tracked.what('b', packet({ from: TWO, to: ONE, protocol: 51, payload: new Uint8Array(8) }))).toBe('new');
  });

  test('an SCTP association opens by INIT, and is ended only by who knows its tag', () => {
    const tracked = new TrackedSwitch();
    const chunk = (from: string, ports: readonly [number, number], tag: number, type: number, initiate = 0) => {
      const payload = new Uint8Array(32);
      const view = new DataView(payload.buffer);
      view.setUint16(0, ports[0]);
      view.setUint16(2, ports[1]);
      view.setUint32(4, tag);
      payload[12] = type;
      view.setUint32(16, initiate);
      return packet({ from, to: from === ONE ? TWO : ONE, protocol: 132, payload });
    };
    expect(tracked.what('a', chunk(ONE, [1, 2], 7, 0))).toBe('invalid');
    expect(tracked.what('a', chunk(ONE, [1, 2], 0, 1, 111))).toBe('new');
    expect(tracked.what('b', chunk(TWO, [2, 1], 5, 2, 222))).toBe('invalid');
    expect(tracked.what('b', chunk(TWO, [2, 1], 111, 2, 222))).toBe('reply+');
    expect(tracked.what('a', chunk(ONE, [1, 2], 222, 10))).toBe('original+');
    const { entry } = tracked.one('b', chunk(TWO, [2, 1], 111, 11));
    const classIs = () => tracked.table.table.groupOf(entry) % GROUPS_PER_PORT;
    expect(classIs()).toBe(8);
    expect(tracked.what('b', chunk(TWO, [2, 1], 112, 6))).toBe('invalid');
    expect(classIs()).toBe(8);
    expect(tracked.what('b', chunk(TWO, [2, 1], 111, 6))).toBe('reply+');
    expect(classIs()).toBe(4);
  });

  test('UDP is a stream once a packet follows a reply', () => {
    const tracked = new TrackedSwitch();
    const { entry } = tracked.one('a', udp(ONE, TWO, [7, 9]));
    const classIs = () => tracked.table.table.groupOf(entry) % GROUPS_PER_PORT;
    tracked.one('a', udp(ONE, TWO, [7, 9]));
    expect(classIs()).toBe(5);
    tracked.one('b', udp(TWO, ONE, [9, 7]));
    expect(classIs()).toBe(5);
    tracked.one('a', udp(ONE, TWO, [7, 9]));
    expect(classIs()).toBe(6);
  });
});

describe('shares', () => {
  test('an empty table finds nothing, one entry is found, a full table refuses, and room again is taken', () => {
    const tracked = new TrackedSwitch({}, 4);
    expect(tracked.one('b', answer({ flags: 'SA', seq: 1, ack: 1 })).what).toBe('invalid');
    const entries = [1, 2, 3, 4].map((port) => establish(tracked, port));
    expect(tracked.table.used).toBe(4);
    expect(tracked.one('a', syn(5)).result).toBe(COMMIT_PORT_LIMIT);
    expect(tracked.one('x', syn(5)).result).toBe(COMMIT_FULL);
    tracked.table.remove(entries[0], tracked.table.table.stampOf(entries[0]));
    expect(tracked.one('x', syn(5)).result).toBe(COMMITTED);
    expect(tracked.table.used).toBe(4);
  });

  test("a port's share counts exactly, and its oldest half-open connection gives way before an established one", () => {
    const tracked = new TrackedSwitch({ perPort: 25 }, 64);
    const kept = [1, 2, 3].map((port) => establish(tracked, port));
    for (let port = 100; port < 200; port++) {
      tracked.pass(0.5);
      expect(tracked.one('a', syn(port)).result).toBe(COMMITTED);
    }
    const a = tracked.tested.index('a');
    expect(tracked.table.usedBy(a)).toBe(16);
    expect(tracked.table.counts[C_EVICTED]).toBe(103 - 16);
    expect(kept.every((entry) => tracked.tcpState(entry) === 'established')).toBe(true);
    expect(tracked.what('a', syn(199))).toBe('original');
    expect(tracked.what('a', syn(120))).toBe('new');
    for (let port = 1; port <= 16; port++) establish(tracked, port);
    expect(tracked.one('a', syn(500)).result).toBe(COMMIT_PORT_LIMIT);
    expect(tracked.one('x', syn(500)).result).toBe(COMMITTED);
  });

  test("a network's share is refused as a full table is", () => {
    const tracked = new TrackedSwitch({ perNetwork: 25 }, 16);
    for (let port = 1; port <= 4; port++) establish(tracked, port);
    expect(tracked.one('b', udp(TWO, ONE, [1, 2])).result).toBe(COMMIT_FULL);
    expect(tracked.one('x', syn(1)).result).toBe(COMMITTED);
  });

  test('a full table takes half-open ones from the port that has most', () => {
    const tracked = new TrackedSwitch({}, 16);
    for (let port = 1; port <= 12; port++) tracked.one('a', syn(port));
    for (let port = 1; port <= 4; port++) tracked.one('x', syn(port));
    expect(tracked.one('b', udp(TWO, ONE, [1, 2])).result).toBe(COMMITTED);
    expect(tracked.table.usedBy(tracked.tested.index('a'))).toBe(11);
    expect(tracked.table.usedBy(tracked.tested.index('x'))).toBe(4);
  });
});

describe('expiry', () => {
  test('a connection ends when its class has waited long enough, also before it is swept', () => {
    const tracked = new TrackedSwitch();
    tracked.one('a', syn(1));
    establish(tracked, 2);
    tracked.pass(60);
    expect(tracked.what('a', syn(1))).toBe('original');
    tracked.pass(61);
    expect(tracked.one('a', syn(1)).what).toBe('new');
    expect(tracked.table.used).toBe(2);
    tracked.pass(61);
    const { connectionTimeouts } = tracked.tested.snapshot;
    expect(tracked.table.expire(tracked.tested.now / 1000, connectionTimeouts, () => 0)).toBe(true);
    expect(tracked.table.used).toBe(1);
    expect(tracked.what('b', answer({ flags: 'A', seq: 501, ack: 101, ports: [2, 80] }))).toBe('reply+');
  });

  test('an entry on a list that is no longer its own is put right, not removed', () => {
    const tracked = new TrackedSwitch();
    tracked.one('a', syn(2, 100));
    const { table } = tracked.table;
    expect(table.tryLock(9)).toBe(true);
    tracked.one('b', answer({ flags: 'SA', seq: 500, ack: 101, ports: [2, 80] }));
    const { entry } = tracked.one('a', segment({ flags: 'A', seq: 101, ack: 501, ports: [2, 80] }));
    table.unlock(9);
    expect(table.groupOf(entry) % GROUPS_PER_PORT).toBe(0);
    tracked.pass(100);
    const { connectionTimeouts } = tracked.tested.snapshot;
    tracked.table.expire(tracked.tested.now / 1000, connectionTimeouts, () => 0);
    expect(table.groupOf(entry) % GROUPS_PER_PORT).toBe(1);
    expect(tracked.table.used).toBe(1);
  });
});

describe('what is gone', () => {
  test('takes its connections along, and leaves no used-up share to who gets its number', () => {
    const tracked = new TrackedSwitch();
    tracked.one('a', syn(1));
    tracked.one('c', udp('192.0.2.3', TWO, [5, 6]));
    tracked.one('x', syn(1));
    const { tested, table } = tracked;
    const gone = tested.index('a');
    expect(
      table.keepOnly(
        (port) => port !== gone,
        () => true,
      ),
    ).toBe(1);
    expect(table.usedBy(gone)).toBe(0);
    expect(
      table.keepOnly(
        () => true,
        (network) => network !== tested.network('blue'),
      ),
    ).toBe(1);
    expect(table.usedIn(tested.network('blue'))).toBe(0);
    expect(table.flush({ port: tested.index('c') })).toBe(1);
    expect(table.used).toBe(0);
  });
});

test('memory that a daemon left is taken over: every connection is found, with its ports, and judged again', () => {
  const tracked = new TrackedSwitch();
  const { entry } = tracked.one('a', syn(1));
  tracked.table.recover();
  expect(tracked.one('a', syn(1))).toMatchObject({ what: 'original', entry });
  expect(tracked.table.policyEpoch(entry)).toBe(0);
  expect(tracked.table.usedIn(tracked.tested.network('red'))).toBe(1);
});

test('a frozen table answers as the real one does, and nothing that is done to it stays', () => {
  const tracked = new TrackedSwitch();
  const { entry } = tracked.one('a', syn(1));
  const stamp = tracked.table.table.stampOf(entry);
  const frozen = tracked.table.frozen();
  expect(frozen.remove(entry, stamp)).toBe(true);
  frozen.judge(entry, stamp, 99, -1, -1);
  expect(tracked.table.used).toBe(1);
  expect(tracked.table.policyEpoch(entry)).toBe(EPOCH);
  expect(tracked.table.usedIn(tracked.tested.network('red'))).toBe(1);
  expect(tracked.what('a', syn(1))).toBe('original');
});

test('whatever comes in whatever order, nothing throws and all counts stay exact', () => {
  const flags = fc.constantFrom('S', 'SA', 'A', 'PA', 'FA', 'R', 'RA', 'SF', '');
  const small = fc.integer({ min: 0, max: 3 });
  const step = fc.record({
    flags,
    port: small,
    seq: fc.integer({ min: -3000, max: 3000 }),
    ack: fc.integer({ min: -3000, max: 3000 }),
    isAnswer: fc.boolean(),
    kind: small,
    later: small,
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const tracked = new TrackedSwitch({ perPort: 50 }, 8);
      const { tested, table } = tracked;
      for (const { flags: text, port, seq, ack, isAnswer, kind, later } of steps) {
        const recipe = { flags: text, seq, ack, ports: [port, 80] as const };
        const frame = kind === 3 ? udp(ONE, TWO, [port, 9]) : isAnswer ? answer(recipe) : segment(recipe);
        tracked.one(isAnswer ? 'b' : 'a', frame);
        tracked.pass(later * 20);
        if (kind === 2) table.expire(Math.floor(tested.now / 1000), tested.snapshot.connectionTimeouts, () => 0);
        const rows = [...table.list(0, NEVER)];
        expect(rows.length).toBe(table.used);
        expect(table.usedIn(tested.network('red'))).toBe(rows.length);
        const used = ['a', 'b', 'c'].map((name) => table.usedBy(tested.index(name)));
        expect(used.reduce((sum, count) => sum + count, 0)).toBe(rows.length);
        expect(Math.max(...used)).toBeLessThanOrEqual(4);
      }
    }),
    { numRuns: 60 },
  );
});
