/** What datagrams become: who may send, what is in them, where it goes, and one drop with its own reason for all else. */
import { describe, expect, test } from 'vitest';
import {
  RX_BYTES,
  RX_DROPPED,
  RX_FORWARDED,
  RX_FRAMES,
  TUNNEL_RX_BYTES,
  TUNNEL_RX_FRAMES,
} from '../../src/dataplane/counters.js';
import { BATCH_SIZE, TUNNELS_MAX } from '../../src/limits.js';
import { difference } from '../wire/reference.js';
import {
  arriving,
  bundle,
  fromX,
  host,
  local,
  type OverlayForm,
  oneOfEachKind,
  overlayForms,
  overlaySwitch,
  targets,
  teach,
  toX,
  vxlanForm,
  wrap,
  X,
  Y,
} from './overlay.js';
import { A, addressWords, B, BROADCAST, frame, type Received, type TestSwitch, tag, vm } from './test-switch.js';

const octetsAt = (sent: readonly { port: string; octets: Uint8Array }[], port: string) =>
  sent.filter((each) => each.port === port).map(({ octets }) => octets);

/** IPv4 or IPv6 with this traffic class, to `to`. */
function classified(trafficClass: number, isIpv4 = true): Uint8Array {
  const octets = frame({ from: X, to: B, type: isIpv4 ? 0x0800 : 0x86dd, size: 80 });
  if (!isIpv4) octets.set([0x60 | (trafficClass >> 4), ((trafficClass & 0xf) << 4) | 1, 0, 0, 0, 40, 59], 14);
  else octets.set([0x45, trafficClass, 0, 80, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 9, 192, 0, 2, 8], 14);
  return octets;
}

const classOf = (octets: Uint8Array) =>
  octets[14] >> 4 === 4 ? octets[15] : ((octets[14] & 0xf) << 4) | (octets[15] >> 4);

function expectOneDrop(tested: TestSwitch, form: OverlayForm, received: Received, reason: string): void {
  expect(tested.run(received)).toEqual([]);
  expect(tested.drops()).toEqual({ [`${form.port} ${reason}`]: 1 });
  expect(tested.value(form.port, RX_FRAMES)).toBe(1);
  expect(tested.value(form.port, RX_BYTES)).toBe(received.octets.length);
}

describe.each(overlayForms)('$name', (form) => {
  test('a datagram from a remote is its frame, in its network', () => {
    const tested = overlaySwitch(form, {
      ports: { c: vm({ network: 'other' }) },
      networks: { other: { type: 'local' } },
    });
    const sent = tested.run(arriving(form, 1, fromX(), { sequence: 77 }));
    expect(targets(sent, form)).toEqual(['a', 'b']);
    expect(difference(octetsAt(sent, 'a'), [fromX()])).toBeUndefined();
    expect(tested.drops()).toEqual({});
    expect(tested.value(form.port, RX_FORWARDED)).toBe(1);
    expect(tested.value(form.port, RX_BYTES)).toBe(60);
    expect(tested.tunnelValue('red', host(form, 1), TUNNEL_RX_FRAMES)).toBe(1);
    expect(tested.tunnelValue('red', host(form, 1), TUNNEL_RX_BYTES)).toBe(60);
  });

  test('one from anybody else is tunnel_unknown_source, whatever is in it', () => {
    for (const octets of [wrap(form, fromX()), new Uint8Array(0), new Uint8Array(3), new Uint8Array(900).fill(0xff)])
      expectOneDrop(
        overlaySwitch(form),
        form,
        { port: form.port, from: host(form, 4), octets, trafficClass: 0 },
        'tunnel_unknown_source',
      );
  });

  test('one from the underlay’s own address is tunnel_unknown_source even where allowFrom has it', () => {
    const tested = overlaySwitch(form, { underlay: { allowFrom: [form.isIpv6 ? '::/0' : '0.0.0.0/0'] } });
    const received = { ...arriving(form, 4, fromX()), from: local(form) };
    expectOneDrop(tested, form, received, 'tunnel_unknown_source');
  });

  test('one with another id is tunnel_unknown_id', () => {
    if (form.id === undefined) {
      const keyed = overlayForms.find(({ name }) => name.startsWith('gre, with a key') === true) ?? form;
      const octets = wrap(keyed, fromX(), { id: 0 });
      expectOneDrop(overlaySwitch(form), form, { ...arriving(form, 1, fromX()), octets }, 'tunnel_unknown_id');
      return;
    }
    for (const id of [form.id ^ 1, form.id ^ 0x100, form.id ^ 0x1_0000, form.id ^ 0x80_0000, 0, 0xff_ffff])
      expectOneDrop(overlaySwitch(form), form, arriving(form, 1, fromX(), { id: id >>> 0 }), 'tunnel_unknown_id');
  });

  test('one whose header is cut off is tunnel_bad_header, and one without a whole Ethernet header a runt', () => {
    const whole = wrap(form, fromX());
    for (let length = 0; length < form.size; length++)
      expectOneDrop(
        overlaySwitch(form),
        form,
        { ...arriving(form, 1, fromX()), octets: whole.slice(0, length) },
        'tunnel_bad_header',
      );
    for (let length = 0; length < 14; length++)
      expectOneDrop(overlaySwitch(form), form, arriving(form, 1, fromX().slice(0, length)), 'runt');
    const tested = overlaySwitch(form);
    expect(targets(tested.run(arriving(form, 1, fromX(0))), form)).toEqual(['a', 'b']);
  });

  test('a frame in it with a VLAN tag is tunnel_inner_vlan, unless the network has innerVlan', () => {
    for (const tags of [[tag(7)], [tag(0, 5)], [tag(7, 0, 0x88a8), tag(8)]]) {
      const octets = frame({ from: X, to: BROADCAST, tags });
      const tested = overlaySwitch(form);
      expect(tested.run(arriving(form, 1, octets))).toEqual([]);
      expect(tested.drops()).toEqual({ [`${form.port} tunnel_inner_vlan`]: 1 });
      const open = overlaySwitch(form, { network: { options: { ...form.options, innerVlan: true } } });
      expect(difference(octetsAt(open.run(arriving(form, 1, octets)), 'b'), [octets])).toBeUndefined();
    }
  });

  test('a frame in it that no port may send teaches nothing', () => {
    const tested = overlaySwitch(form);
    tested.run(arriving(form, 1, frame({ from: '000000000000' })), arriving(form, 1, frame({ from: '010000000001' })));
    expect(tested.drops()).toEqual({ [`${form.port} zero_source`]: 1, [`${form.port} group_source`]: 1 });
    expect(tested.fdb.learnedByPort(tested.index(form.port))).toBe(0);
  });

  test.each([true, false])('congestion outside is told inside, or the frame is tunnel_ecn (IPv4: %s)', (isIpv4) => {
    // RFC 6040 figure 4: rows Not-ECT, ECT(0), ECT(1), CE inside; columns the same outside.
    const expected = new Map([
      [0, [0, 0, 0, -1]],
      [2, [2, 2, 1, 3]],
      [1, [1, 1, 1, 3]],
      [3, [3, 3, 3, 3]],
    ]);
    for (const [inner, row] of expected) {
      for (const [column, result] of row.entries()) {
        const outer = [0, 2, 1, 3][column];
        const tested = overlaySwitch(form);
        const sent = tested.run(arriving(form, 1, classified(0x48 | inner, isIpv4), { trafficClass: 0x20 | outer }));
        expect(octetsAt(sent, 'b').map(classOf)).toEqual(result < 0 ? [] : [0x48 | result]);
        expect(tested.drops()).toEqual(result < 0 ? { [`${form.port} tunnel_ecn`]: 1 } : {});
      }
    }
  });

  test('a frame that is not IP, or one whose outer class nobody knows, is not touched by congestion', () => {
    const tested = overlaySwitch(form);
    expect(tested.run(arriving(form, 1, fromX(), { trafficClass: 3 }))).toHaveLength(2);
    expect(tested.run(arriving(form, 1, classified(0), { trafficClass: -1 }))).toHaveLength(2);
    expect(tested.drops()).toEqual({});
  });

  test('bundles of 1 to 64 datagrams, the last one shorter or not, are their frames in order', () => {
    const tested = overlaySwitch(form);
    for (let count = 1; count <= 64; count++) {
      const frames = Array.from({ length: count }, (_, index) =>
        frame({ from: X, to: B, size: index === count - 1 && count % 2 === 0 ? 20 : 101, type: 0x8800 + index }),
      );
      const sent = tested.run(
        bundle(
          form,
          2,
          frames.map((octets) => wrap(form, octets)),
        ),
      );
      expect(difference(octetsAt(sent, 'b'), frames)).toBeUndefined();
      expect(difference(octetsAt(sent, 'a'), frames)).toBeUndefined();
    }
    expect(tested.drops()).toEqual({});
    expect(tested.value(form.port, RX_FRAMES)).toBe((64 * 65) / 2);
    expect(tested.tunnelValue('red', host(form, 2), TUNNEL_RX_FRAMES)).toBe((64 * 65) / 2);
  });

  test('in a bundle each datagram is judged by itself', () => {
    const tested = overlaySwitch(form);
    const good = wrap(form, fromX());
    const bad = good.slice();
    // Version 3 of Geneve and of GRE; a VXLAN header without a VNI.
    if (form.type === 'gre') bad[1] |= 3;
    else bad[0] = form.type === 'vxlan' ? 0 : 0xc0;
    for (const pattern of ['gb', 'bg', 'bgb', 'ggbbgg', 'bbbb', 'gbgbgbgbg']) {
      const sent = tested.run(
        bundle(
          form,
          1,
          [...pattern].map((letter) => (letter === 'g' ? good : bad)),
        ),
      );
      expect(octetsAt(sent, 'b')).toHaveLength([...pattern].filter((letter) => letter === 'g').length);
    }
    expect(tested.drops()).toEqual({ [`${form.port} tunnel_bad_header`]: 1 + 1 + 2 + 2 + 4 + 4 });
    expect(tested.value(form.port, RX_FRAMES)).toBe(2 + 2 + 3 + 6 + 4 + 9);
  });
});

describe('the header', () => {
  const vxlanOver = (edit: (octets: Uint8Array) => void) => {
    const octets = wrap(vxlanForm, fromX());
    edit(octets);
    return { ...arriving(vxlanForm, 1, fromX()), octets };
  };

  test('of VXLAN must have a VNI; its reserved bits mean nothing (RFC 7348 section 5)', () => {
    expectOneDrop(
      overlaySwitch(vxlanForm),
      vxlanForm,
      vxlanOver((octets) => octets.set([0xf7])),
      'tunnel_bad_header',
    );
    const tested = overlaySwitch(vxlanForm);
    expect(tested.run(vxlanOver((octets) => octets.set([0xff, 0xff, 0xff, 0xff])))).toHaveLength(2);
    expect(tested.run(vxlanOver((octets) => octets.set([0xff], 7)))).toHaveLength(2);
  });

  test('of Geneve with a critical option is tunnel_option, with options that lie tunnel_bad_header', () => {
    const geneve = oneOfEachKind[1];
    const over = (...options: number[]) => {
      const plain = wrap(geneve, fromX());
      const octets = Uint8Array.of(options.length / 4, ...plain.slice(1, 8), ...options, ...plain.slice(8));
      return { ...arriving(geneve, 1, fromX()), octets };
    };
    const tested = overlaySwitch(geneve);
    expect(difference(octetsAt(tested.run(over(1, 2, 3, 1, 9, 9, 9, 9)), 'b'), [fromX()])).toBeUndefined();
    expectOneDrop(overlaySwitch(geneve), geneve, over(1, 2, 0x83, 0), 'tunnel_option');
    expectOneDrop(overlaySwitch(geneve), geneve, over(1, 2, 3, 2, 9, 9, 9, 9), 'tunnel_bad_header');
  });

  test('of GRE with a checksum that is wrong is tunnel_checksum', () => {
    const summed = overlayForms.find(({ name }) => name === 'gre, without a key, checksum over IPv4');
    if (summed === undefined) throw new Error('no such form');
    const octets = wrap(summed, fromX());
    octets[octets.length - 1] ^= 1;
    expectOneDrop(overlaySwitch(summed), summed, { ...arriving(summed, 1, fromX()), octets }, 'tunnel_checksum');
  });

  test('of GRE tells a network without a key from those with one, key 0 among them', () => {
    const [keyed, plain] = ['with a key', 'without a key'].map(
      (name) => overlayForms.find((form) => form.name === `gre, ${name} over IPv4`) ?? vxlanForm,
    );
    const remotes = [host(plain, 1)];
    const tested = overlaySwitch(plain, {
      networks: {
        zero: { type: 'gre', id: 0, underlay: 'u0', remotes },
        one: { type: 'gre', id: 1, underlay: 'u0', remotes },
      },
      ports: { z: vm({ network: 'zero' }), o: vm({ network: 'one' }) },
    });
    expect(targets(tested.run(arriving(plain, 1, fromX())), plain)).toEqual(['a', 'b']);
    expect(targets(tested.run(arriving(keyed, 1, fromX(), { id: 0 })), plain)).toEqual(['z']);
    expect(targets(tested.run(arriving(keyed, 1, fromX(), { id: 1 })), plain)).toEqual(['o']);
    expect(tested.run(arriving(keyed, 1, fromX(), { id: 2 }))).toEqual([]);
  });
});

describe('networks of one underlay', () => {
  const twoNetworks = (allowFrom?: readonly string[]) =>
    overlaySwitch(vxlanForm, {
      networks: { blue: { type: 'vxlan', id: 5011, underlay: 'u0', remotes: [host(vxlanForm, 9)] } },
      ports: { c: vm({ network: 'blue' }) },
      ...(allowFrom && { underlay: { allowFrom } }),
    });

  test('are kept apart by their ids, down to the last bit', () => {
    const tested = twoNetworks([`${host(vxlanForm, 0)}/24`]);
    expect(targets(tested.run(arriving(vxlanForm, 1, fromX(), { id: 5011 })), vxlanForm)).toEqual(['c']);
    expect(targets(tested.run(arriving(vxlanForm, 9, fromX())), vxlanForm)).toEqual(['a', 'b']);
  });

  test('do not let in each other’s remotes', () => {
    const tested = twoNetworks();
    expect(tested.run(arriving(vxlanForm, 9, fromX()), arriving(vxlanForm, 1, fromX(), { id: 5011 }))).toEqual([]);
    expect(tested.drops()).toEqual({ 'u0/vxlan tunnel_unknown_source': 2 });
    expect(targets(tested.run(arriving(vxlanForm, 9, fromX(), { id: 5011 })), vxlanForm)).toEqual(['c']);
    // In one batch behind a datagram that is right, too.
    const sent = tested.run(arriving(vxlanForm, 9, fromX(), { id: 5011 }), arriving(vxlanForm, 9, fromX()));
    expect(targets(sent, vxlanForm)).toEqual(['c']);
  });

  test('may have stations of the same address behind different remotes', () => {
    const tested = twoNetworks();
    tested.run(arriving(vxlanForm, 9, fromX(), { id: 5011 }), arriving(vxlanForm, 1, fromX()));
    expect(targets(tested.run({ port: 'c', octets: toX() }), vxlanForm)).toEqual(['remote 9']);
    expect(targets(tested.run({ port: 'a', octets: toX() }), vxlanForm)).toEqual(['remote 1']);
  });
});

describe('allowFrom', () => {
  const flipped = (octets: number[], bit: number) =>
    octets.map((octet, at) => (at === bit >> 3 ? octet ^ (0x80 >> (bit & 7)) : octet));
  const text = (octets: number[]) =>
    octets.length === 4
      ? octets.join('.')
      : Array.from({ length: 8 }, (_, group) => ((octets[2 * group] << 8) | octets[2 * group + 1]).toString(16)).join(
          ':',
        );

  test.each([
    ['IPv4', [203, 0, 113, 165], vxlanForm],
    ['IPv6', [0x20, 1, 0x0d, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0xa5], overlayForms[11]],
  ] as const)('of every length lets in exactly what lies in the prefix (%s)', (_, address, form) => {
    const base = [...address];
    const bits = base.length * 8;
    for (let length = 0; length <= bits; length++) {
      const tested = overlaySwitch(form, { underlay: { allowFrom: [`${text(base)}/${length}`] } });
      for (let bit = 0; bit < bits; bit++) {
        const received = { ...arriving(form, 1, fromX()), from: text(flipped(base, bit)) };
        expect(tested.run(received).length, `${length} ${bit}`).toBe(bit < length ? 0 : 2);
      }
      expect(tested.dropped(form.port, 'tunnel_unknown_source')).toBe(length);
      expect(tested.run({ ...arriving(form, 1, fromX()), from: text(base) })).toHaveLength(2);
    }
  });

  test('lets remotes in besides, and teaches who spoke', () => {
    const tested = overlaySwitch(vxlanForm, { underlay: { allowFrom: ['203.0.113.0/24', '192.0.2.128/25'] } });
    expect(tested.run(arriving(vxlanForm, 1, fromX()))).toHaveLength(2);
    tested.run({ ...arriving(vxlanForm, 1, fromX()), from: '203.0.113.77' });
    const [sent] = tested.run({ port: 'a', octets: toX() });
    expect(sent.message?.address).toEqual([...addressWords('203.0.113.77')]);
    // Floods go to the configured remotes only.
    expect(targets(tested.run({ port: 'a', octets: frame({ to: Y }) }), vxlanForm)).toHaveLength(4);
    expect(tested.tunnelValue('red', '203.0.113.77', TUNNEL_RX_FRAMES)).toBe(1);
  });

  test('that was narrowed no longer lets in who was learned, though another network names him as remote', () => {
    const tested = overlaySwitch(vxlanForm, {
      networks: { blue: { type: 'vxlan', id: 5011, underlay: 'u0', remotes: [host(vxlanForm, 9)] } },
      underlay: { allowFrom: [`${host(vxlanForm, 9)}/32`] },
    });
    expect(tested.run(arriving(vxlanForm, 9, fromX()))).toHaveLength(2);
    tested.snapshot.portAllowCount[tested.index('u0/vxlan')] = 0;
    expect(tested.run(arriving(vxlanForm, 9, fromX()))).toEqual([]);
    expect(tested.drops()).toEqual({ 'u0/vxlan tunnel_unknown_source': 1 });
  });

  test('of more senders than may be learned delivers all of them, and floods to who was not', {
    timeout: 120_000,
  }, () => {
    const tested = overlaySwitch(vxlanForm, { remotes: 1, underlay: { allowFrom: ['10.0.0.0/8'] } });
    const address = (number: number) => `10.${number >> 16}.${(number >> 8) & 0xff}.${number & 0xff}`;
    const member = tested.member('u0/vxlan', 'red');
    for (let number = 1; number <= TUNNELS_MAX / 2; number++) {
      const [word0, word1, word2, word3] = addressWords(address(number));
      expect(tested.tunnels.learn(member, word0, word1, word2, word3, 1)).toBeGreaterThan(0);
    }
    expect(tested.run({ ...arriving(vxlanForm, 1, fromX()), from: '10.255.0.1' })).toHaveLength(2);
    expect(targets(tested.run({ port: 'a', octets: toX() }), vxlanForm)).toEqual(['b', 'remote 1']);
    expect(tested.run({ ...arriving(vxlanForm, 1, fromX()), from: address(5) })).toHaveLength(2);
    expect(tested.run({ port: 'a', octets: toX() })).toHaveLength(1);
  });
});

describe('a batch', () => {
  const frames = (count: number, type = 0x8800) =>
    Array.from({ length: count }, (_, index) => frame({ from: X, to: B, type: type + index, size: 60 }));
  const datagrams = (form: OverlayForm, count: number, type?: number) =>
    frames(count, type).map((octets) => wrap(form, octets));

  test('that a bundle fills in the middle goes on with the rest of it, in order', () => {
    const tested = overlaySwitch(vxlanForm, { test: { slots: 2048 } });
    const bundles = Array.from({ length: 40 }, (_, index) =>
      bundle(vxlanForm, 1 + (index % 3), datagrams(vxlanForm, 1 + ((index * 7) % 64), 0x6000 + 64 * index)),
    );
    const between = frames(40, 0x5000);
    const received = bundles.flatMap((each, index) => [each, { port: 'a', octets: between[index] }]);
    const sent = tested.run(...received);
    const expected = bundles.flatMap(({ octets }, index) => {
      const inner: Uint8Array[] = [];
      for (let at = 8; at < octets.length; at += 82) inner.push(octets.slice(at, at + 74));
      return [...inner, between[index]];
    });
    expect(expected.length).toBeGreaterThan(4 * BATCH_SIZE);
    expect(difference(octetsAt(sent, 'b'), expected)).toBeUndefined();
    expect(tested.drops()).toEqual({});
  });

  test('that is full exactly with a bundle’s last datagram, or one before, loses nothing', () => {
    for (const extra of [-1, 0, 1]) {
      const tested = overlaySwitch(vxlanForm, { test: { slots: 2048 } });
      const before = Array.from({ length: BATCH_SIZE - 64 - extra }, () => ({ port: 'a', octets: frame() }));
      const sent = tested.run(...before, bundle(vxlanForm, 1, datagrams(vxlanForm, 64)), {
        port: 'a',
        octets: frame(),
      });
      expect(octetsAt(sent, 'b')).toHaveLength(before.length + 65);
    }
  });

  test('of empty datagrams counts each once', () => {
    const tested = overlaySwitch(vxlanForm);
    const empty = { port: 'u0/vxlan', from: host(vxlanForm, 1), octets: new Uint8Array(0) };
    tested.run(empty, { ...empty, datagramSize: 100 }, empty);
    expect(tested.drops()).toEqual({ 'u0/vxlan tunnel_bad_header': 3 });
  });

  test('of bundles for which there are no slots counts what is lost, and delivers the rest', () => {
    const tested = overlaySwitch(vxlanForm, { test: { slots: 8 } });
    const sent = tested.run(bundle(vxlanForm, 1, datagrams(vxlanForm, 20)));
    expect(octetsAt(sent, 'b')).toHaveLength(8);
    expect(tested.drops()).toEqual({ 'u0/vxlan no_slot': 12 });
    expect(tested.value('u0/vxlan', RX_DROPPED)).toBe(12);
  });

  test('of bundles from strangers takes no slots, and keeps a sample of what died', () => {
    const tested = overlaySwitch(vxlanForm, { test: { slots: 1 } });
    const inner = datagrams(vxlanForm, 64);
    tested.run({ ...bundle(vxlanForm, 1, inner), from: host(vxlanForm, 7) });
    expect(tested.drops()).toEqual({ 'u0/vxlan tunnel_unknown_source': 64 });
    expect(tested.value('u0/vxlan', RX_BYTES)).toBe(64 * 82);
    const [sample] = tested.machine.samples.list();
    expect(inner.some((octets) => Buffer.compare(octets, sample.octets) === 0)).toBe(true);
  });

  test('while a port is slow keeps what it was given', () => {
    const tested = overlaySwitch(vxlanForm, { test: { slots: 2048 } });
    tested.queue('b').isSlow = true;
    const inner = Array.from({ length: 10 }, (_, index) => datagrams(vxlanForm, 60, 0x6000 + 64 * index));
    tested.run(...inner.map((each) => bundle(vxlanForm, 1, each)));
    tested.queue('b').complete();
    const expected = inner.flat().map((octets) => octets.slice(8));
    expect(difference(octetsAt(tested.sent.splice(0), 'b'), expected)).toBeUndefined();
    tested.expectConservation();
  });
});

describe('an underlay port', () => {
  test('that is down hears nothing', () => {
    const tested = overlaySwitch(vxlanForm, { test: { devices: { 'u0/vxlan': 'down' } } });
    expect(tested.run(arriving(vxlanForm, 1, fromX()))).toEqual([]);
    expect(tested.drops()).toEqual({ 'u0/vxlan port_down': 1 });
  });

  test('drops what guests may not say to bridges, as every port does', () => {
    const tested = overlaySwitch(vxlanForm);
    tested.run(arriving(vxlanForm, 1, frame({ from: X, to: '0180c2000000', type: 38 })));
    expect(tested.drops()).toEqual({ 'u0/vxlan control_frame': 1 });
  });

  test('does not move a station that the operator put elsewhere, nor learn in a network that does not', () => {
    const tested = overlaySwitch(vxlanForm);
    tested.fdb.addStatic(tested.network('red'), 0x5254, 0x101, tested.member('b', 'red'), tested.index('b'));
    teach(tested, vxlanForm, 1);
    expect(targets(tested.run({ port: 'a', octets: toX() }), vxlanForm)).toEqual(['b']);
    const still = overlaySwitch(vxlanForm, { network: { learning: false } });
    teach(still, vxlanForm, 1);
    expect(targets(still.run({ port: 'a', octets: toX() }), vxlanForm)).toHaveLength(4);
  });

  test('hears two kinds of tunnels on one address, each on its own', () => {
    const [, , keyed] = oneOfEachKind;
    const tested = overlaySwitch(vxlanForm, {
      networks: { green: { type: 'gre', id: 0xfedc_ba98, underlay: 'u0', remotes: [host(keyed, 1)] } },
      ports: { g: vm({ network: 'green' }) },
    });
    expect(targets(tested.run(arriving(keyed, 1, fromX()), arriving(vxlanForm, 1, fromX())), vxlanForm)).toEqual([
      'a',
      'b',
      'g',
    ]);
    expect(targets(tested.run({ port: 'g', octets: frame({ from: A, to: X }) }), keyed)).toEqual(['remote 1']);
    // Remote 2 is one of vxlan's only, also right behind a datagram of its own.
    const broken = { ...arriving(keyed, 2, fromX()), octets: new Uint8Array(20) };
    tested.run(arriving(vxlanForm, 2, fromX()), broken, arriving(keyed, 2, fromX()));
    expect(tested.drops()).toEqual({ 'u0/gre tunnel_unknown_source': 2 });
  });
});
