/** Copies that leave through tunnels: where they go, what they carry, what refuses them. Every run checks conservation. */
import { describe, expect, test } from 'vitest';
import {
  RX_FORWARDED,
  STATION_MOVES,
  TUNNEL_RX_BYTES,
  TUNNEL_RX_FRAMES,
  TUNNEL_TX_BYTES,
  TUNNEL_TX_FRAMES,
} from '../../src/dataplane/counters.js';
import { dropReasonNumber } from '../../src/dataplane/drop-reason.js';
import { EGRESS_BATCH_SIZE } from '../../src/limits.js';
import { difference } from '../wire/reference.js';
import {
  arriving,
  datagramsOf,
  host,
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
import { A, B, BROADCAST, frame } from './test-switch.js';

const broadcast = (from = A) => frame({ to: BROADCAST, from });

describe.each(overlayForms)('$name', (form) => {
  test('a frame to a station behind a remote goes there, in one datagram with its header', () => {
    const tested = overlaySwitch(form);
    teach(tested, form, 2);
    for (const sequence of [0, 1, 2]) {
      const sent = tested.run({ port: 'a', octets: toX() });
      expect(targets(sent, form)).toEqual(['remote 2']);
      expect(difference(datagramsOf(sent), [wrap(form, toX(), { sequence })])).toBeUndefined();
    }
    expect(tested.drops()).toEqual({});
    expect(tested.tunnelValue('red', host(form, 2), TUNNEL_TX_FRAMES)).toBe(3);
    expect(tested.tunnelValue('red', host(form, 2), TUNNEL_TX_BYTES)).toBe(3 * (60 + form.size));
    expect(tested.tunnelValue('red', host(form, 2), TUNNEL_RX_FRAMES)).toBe(1);
    expect(tested.tunnelValue('red', host(form, 2), TUNNEL_RX_BYTES)).toBe(60);
    expect(tested.tunnelValue('red', host(form, 1), TUNNEL_TX_FRAMES)).toBe(0);
  });

  test('a flood reaches each remote that lives and each other port once, all with the same octets', () => {
    const tested = overlaySwitch(form);
    tested.tunnels.setDown(tested.tunnel('red', host(form, 2)), true);
    const sent = tested.run({ port: 'a', octets: broadcast() });
    expect(targets(sent, form)).toEqual(['b', 'remote 1', 'remote 3']);
    const datagram = wrap(form, broadcast());
    expect(difference(datagramsOf(sent), [datagram, datagram])).toBeUndefined();
    expect(sent.find(({ port }) => port === 'b')?.octets).toEqual(broadcast());
    expect(tested.drops()).toEqual({});
    expect(tested.value('a', RX_FORWARDED)).toBe(1);
    tested.tunnels.setDown(tested.tunnel('red', host(form, 2)), false);
    expect(targets(tested.run({ port: 'a', octets: broadcast() }), form)).toEqual([
      'b',
      'remote 1',
      'remote 2',
      'remote 3',
    ]);
  });

  test('what came out of a tunnel never goes into one: a flood, an unknown station, one behind another remote', () => {
    const tested = overlaySwitch(form);
    teach(tested, form, 1, Y);
    const flood = tested.run(arriving(form, 2, broadcast(X), { sequence: 1 }));
    expect(targets(flood, form)).toEqual(['a', 'b']);
    const unknown = tested.run(arriving(form, 2, frame({ to: B, from: X }), { sequence: 2 }));
    expect(targets(unknown, form)).toEqual(['a', 'b']);
    expect(tested.run(arriving(form, 2, frame({ to: Y, from: X }), { sequence: 3 }))).toEqual([]);
    expect(tested.drops()).toEqual({ [`${form.port} hairpin`]: 1 });
  });

  test('a station is followed from remote to remote, to a port of this host and back', () => {
    const tested = overlaySwitch(form);
    const whereIsX = () => targets(tested.run({ port: 'a', octets: toX() }), form);
    for (const number of [1, 2, 3, 2]) {
      teach(tested, form, number);
      expect(whereIsX()).toEqual([`remote ${number}`]);
    }
    tested.run({ port: 'b', octets: broadcast(X) });
    expect(whereIsX()).toEqual(['b']);
    teach(tested, form, 2);
    expect(whereIsX()).toEqual(['remote 2']);
    expect(tested.value(form.port, STATION_MOVES)).toBe(4);
    expect(tested.value('b', STATION_MOVES)).toBe(1);
    expect(tested.drops()).toEqual({});
  });

  test('a station that moves in the batch in which it is sent to gets its frames', () => {
    const tested = overlaySwitch(form);
    teach(tested, form, 1);
    const toHost = tested.run({ port: 'b', octets: broadcast(X) }, { port: 'a', octets: toX() });
    expect(targets(toHost, form)).toEqual(['a', 'b', 'remote 1', 'remote 2', 'remote 3']);
    const toRemote = tested.run(arriving(form, 3, frame({ from: X, to: Y })), { port: 'a', octets: toX() });
    // It was looked up while X was still behind b, and is delivered once.
    expect(targets(toRemote, form)).toEqual(['a', 'b', 'b']);
    const between = tested.run(arriving(form, 2, frame({ from: X, to: Y })), { port: 'a', octets: toX() });
    expect(targets(between, form)).toEqual(['a', 'b', 'remote 2']);
    expect(tested.drops()).toEqual({});
  });
});

describe('a flood', () => {
  test('to more remotes than an egress round holds reaches each of them once', () => {
    const count = EGRESS_BATCH_SIZE + 300;
    const tested = overlaySwitch(vxlanForm, { remotes: count });
    const sent = tested.run({ port: 'a', octets: broadcast() });
    const expected = Array.from({ length: count }, (_, index) => `remote ${index + 1}`);
    expect(targets(sent, vxlanForm)).toEqual(['b', ...expected].sort());
    // One clone a round, not one a remote.
    expect(new Set(sent.map(({ slot }) => slot)).size).toBeLessThanOrEqual(3);
  });

  test('of several frames keeps them apart, also when queues are slow', () => {
    for (const isSlow of [false, true]) {
      const tested = overlaySwitch(vxlanForm);
      tested.underlay('u0/vxlan').isSlow = isSlow;
      const frames = Array.from({ length: 5 }, (_, index) => frame({ to: BROADCAST, size: 46 + index }));
      const sent = tested.run(...frames.map((octets) => ({ port: 'a', octets })));
      tested.underlay('u0/vxlan').complete();
      const datagrams = datagramsOf([...sent, ...tested.sent.splice(0)]);
      const expected = frames.flatMap((octets) => new Array<Uint8Array>(3).fill(wrap(vxlanForm, octets)));
      expect(difference(datagrams, expected)).toBeUndefined();
      tested.expectConservation();
    }
  });

  test('in a network whose remotes are all dead, and that has no other port, is tunnel_down', () => {
    const tested = overlaySwitch(vxlanForm, {
      ports: { b: { kind: 'tap', network: 'other' } },
      networks: { other: { type: 'local' } },
    });
    for (const number of [1, 2, 3]) tested.tunnels.setDown(tested.tunnel('red', host(vxlanForm, number)), true);
    expect(tested.run({ port: 'a', octets: broadcast() })).toEqual([]);
    expect(tested.drops()).toEqual({ 'a tunnel_down': 1 });
  });

  test('in a network without remotes and other ports is no_port', () => {
    const tested = overlaySwitch(vxlanForm, {
      remotes: 0,
      ports: { b: { kind: 'tap', network: 'other' } },
      networks: { other: { type: 'local' } },
    });
    expect(tested.run({ port: 'a', octets: broadcast() })).toEqual([]);
    expect(tested.drops()).toEqual({ 'a no_port': 1 });
  });
});

describe('a copy through a tunnel', () => {
  test('that the queue has no room for is tx_full, the other remotes get theirs', () => {
    const tested = overlaySwitch(vxlanForm);
    for (const room of [0, 1, 2]) {
      tested.underlay('u0/vxlan').room = room;
      expect(targets(tested.run({ port: 'a', octets: broadcast() }), vxlanForm)).toHaveLength(1 + room);
    }
    expect(tested.drops()).toEqual({ 'u0/vxlan tx_full of copy': 6 });
  });

  test.each(['mtu_exceeded', 'tunnel_down', 'tx_full'] as const)('that the kernel refuses is %s', (reason) => {
    const tested = overlaySwitch(vxlanForm);
    teach(tested, vxlanForm, 1);
    tested.underlay('u0/vxlan').failure = dropReasonNumber[reason];
    expect(tested.run({ port: 'a', octets: toX() })).toEqual([]);
    expect(tested.drops()).toEqual({ [`a ${reason}`]: 1, [`u0/vxlan ${reason} of copy`]: 1 });
  });

  test('without a slot for its clone is no_slot; the ports that share the frame get it', () => {
    const tested = overlaySwitch(vxlanForm, { test: { slots: 1 } });
    expect(targets(tested.run({ port: 'a', octets: broadcast() }), vxlanForm)).toEqual(['b']);
    expect(tested.drops()).toEqual({ 'u0/vxlan no_slot of copy': 3 });
  });

  test('whose tunnel is gone, or has become another network’s, is tunnel_down', () => {
    const tested = overlaySwitch(vxlanForm);
    teach(tested, vxlanForm, 1);
    const tunnel = tested.tunnel('red', host(vxlanForm, 1));
    tested.tunnels.remove([tunnel]);
    expect(tested.run({ port: 'a', octets: toX() })).toEqual([]);
    expect(tested.tunnels.intern(4000, Int32Array.of(1, 2, 3, 4))).toBe(tunnel);
    expect(tested.run({ port: 'a', octets: toX() })).toEqual([]);
    expect(tested.drops()).toEqual({ 'a tunnel_down': 2, 'u0/vxlan tunnel_down of copy': 2 });
  });

  test('of an underlay that this worker has no queue of is tunnel_down', () => {
    const tested = overlaySwitch(vxlanForm);
    teach(tested, vxlanForm, 1);
    tested.detach('u0/vxlan');
    tested.run({ port: 'a', octets: toX() });
    expect(tested.drops()).toEqual({ 'a tunnel_down': 1, 'u0/vxlan tunnel_down of copy': 1 });
  });

  test('of an underlay that is down is nobody’s in a flood, and port_down for a known station', () => {
    const tested = overlaySwitch(vxlanForm, { test: { devices: { 'u0/vxlan': 'down' } } });
    expect(targets(tested.run({ port: 'a', octets: broadcast() }), vxlanForm)).toEqual(['b']);
    tested.fdb.addStatic(
      tested.network('red'),
      0x5254,
      0x101,
      tested.member('u0/vxlan', 'red'),
      tested.index('u0/vxlan'),
    );
    tested.run({ port: 'a', octets: toX() });
    expect(tested.drops()).toEqual({ 'a port_down': 1, 'u0/vxlan port_down of copy': 1 });
  });

  test('of a station that the operator put behind a remote goes there', () => {
    const tested = overlaySwitch(vxlanForm, { network: { learning: false } });
    const tunnel = tested.tunnel('red', host(vxlanForm, 3));
    const member = tested.member('u0/vxlan', 'red');
    tested.fdb.addStatic(tested.network('red'), 0x5254, 0x101, member, tested.index('u0/vxlan'), undefined, tunnel);
    teach(tested, vxlanForm, 1);
    expect(targets(tested.run({ port: 'a', octets: toX() }), vxlanForm)).toEqual(['remote 3']);
    expect(targets(tested.run({ port: 'a', octets: frame({ to: Y }) }), vxlanForm)).toHaveLength(4);
  });
});
