import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PortRow } from '../../src/control/shapes.js';
import { bitRate, countText, durationText, formatTable, packetRate, plainText } from '../../src/control/table-text.js';
import { bar, portRates, type TopLook, topLines } from '../../src/control/top-view.js';
import { runCli } from './cli-fixture.js';
import { FakeSwitch, fakeDrops, fakePorts } from './fake-switch.js';
import { RpcFixture, until } from './rpc-fixture.js';

let fixture: RpcFixture;
beforeEach(async () => {
  fixture = new RpcFixture();
  await fixture.listen();
});
afterEach(() => fixture.end());

const output = async (...words: string[]) => {
  const { status, out, err } = await runCli(words, { socket: fixture.path });
  expect({ status, err }).toEqual({ status: 0, err: '' });
  return out;
};

describe('text for a person', () => {
  it('shows ports as an aligned table, with the reason of what is not up', async () => {
    expect(await output('port', 'list')).toMatchInlineSnapshot(`
      "NAME  KIND    DEVICE   NETWORK                       MTU    RX      TX  DROPS  STATE
      vm1   tap     tap-vm1  red                          1500  1000  12.3 M      3  up
      fw    netdev  vnet3    lab (native) red:10 blue:20  1500     0       0      0  waiting: no interface vnet3"
    `);
  });

  it('shows how full outside addresses are', async () => {
    expect(await output('nat', 'stats')).toMatchInlineSnapshot(`
      "ROUTER  EXTERNAL      PROTO  USED   POOL
      r1      203.0.113.10  tcp       3  64511
      r1 refused 2 for want of a port, 1 beyond a machine's share"
    `);
  });

  it('shows tunnels with the reason of what is not up', async () => {
    expect(await output('tunnel', 'list')).toMatchInlineSnapshot(`
      "NETWORK  TYPE     ID  LOCAL      REMOTE                 MTU  RX  TX  STATE
      overlay  vxlan  5010  192.0.2.1  192.0.2.2             1450  10  20  up
      overlay  vxlan  5010  192.0.2.1  192.0.2.3             1450   0   1  down: no route
      overlay  vxlan  5010  192.0.2.1  192.0.2.77 (learned)  1450   5   6  up"
    `);
  });

  it('shows how a network is carried, and the reckoning of its MTU', async () => {
    expect(await output('tunnel', 'show', 'overlay')).toMatchInlineSnapshot(`
      "network   overlay
      type      vxlan, id 5010
      underlay  u0, from 192.0.2.1
      state     up
      MTU       1400

        1500  MTU of the underlay
         -20  IPv4 header
          -8  UDP header
          -8  vxlan header
         -14  inner Ethernet header
        1450  fits
        1400  configured
        1400  MTU of the network

      REMOTE                 MTU  RX  TX  STATE
      192.0.2.2             1450  10  20  up
      192.0.2.3             1450   0   1  down: no route
      192.0.2.77 (learned)  1450   5   6  up"
    `);
  });

  it('shows routers, and the stations they know', async () => {
    expect(await output('router', 'list')).toMatchInlineSnapshot(`
      "NAME  INTERFACES                                      ROUTES  EXTERNAL
      r1    red:10.0.0.1/24,fd00::1/64 ext:203.0.113.10/24       2  ext"
    `);
    expect(await output('router', 'show', 'r1')).toMatchInlineSnapshot(`
      "name      r1
      external  ext, inside addresses are hidden (snat)

      NETWORK  MAC                ADDRESSES
      red      06:00:00:00:00:01  10.0.0.1/24 fd00::1/64
      ext      06:00:00:00:00:02  203.0.113.10/24

      TO            VIA                      STATE
      0.0.0.0/0     203.0.113.1 203.0.113.2  reachable
      192.0.2.0/24  blackhole                blackhole

      floating 203.0.113.20 to 10.0.0.5
      forward tcp port 8080 to 10.0.0.5:80"
    `);
    expect(await output('neighbor', 'list')).toMatchInlineSnapshot(`
      "ROUTER  NETWORK  ADDRESS   MAC                PORT     AGE  STATE
      r1      red      10.0.0.5  52:54:00:00:00:01  -          -  static
      r1      red      10.0.0.6  52:54:00:00:00:02  vm2   1m 10s  stale, contested"
    `);
  });

  it('shows the state of the switch', async () => {
    expect(await output('status')).toMatchInlineSnapshot(`
      "weft      0.1.0, pid 4242, up 1d 2h
      state     ready
      I/O       uring: the kernel has io_uring with multishot reads
      worker 0  running, busy 42 %, 1 restart (last: assertion); failed calls: receive EINVAL 3, send EAGAIN 12345
      ports     1 up, 0 down, 1 waiting
      received  1.23 Mpps  3.40 Gbit/s
      sent      1.23 Mpps  3.40 Gbit/s
      FDB       2 of 1048576 addresses
      names     12 asked, 3 of resolvers, 0 without an answer
      metadata  9 asked, 2 refused, 1 failed"
    `);
  });

  it('shows counters short, mean batch sizes, and units', async () => {
    expect(await output('stats')).toMatchInlineSnapshot(`
      "PORT  RX FRAMES    BYTES  FORWARDED  CONSUMED  DROPPED  TX FRAMES    BYTES  GENERATED  DROPPED
      vm1        1000  64.0 kB        997         0        3     12.3 M  18.5 GB          0        0
      fw            0      0 B          0         0        0          0      0 B          0        0

      WORKER  FRAMES  BATCHES  MEAN BATCH  BUSY  FREE SLOTS
      0        12000     1000        12.0    7s       16000"
    `);
  });

  it('shows stations, static ones marked', async () => {
    expect(await output('fdb', 'list')).toMatchInlineSnapshot(`
      "NETWORK  MAC                PORT  REMOTE     AGE
      red      52:54:00:00:00:01  vm1   -          12s
      red      52:54:00:00:00:02  fw    -       static"
    `);
  });

  it('shows drops with the last frame and a sentence on the reason', async () => {
    expect(await output('drops')).toMatchInlineSnapshot(`
      "COUNT  PORT  REASON            OF     LAST FRAME
          3  vm1   vlan_not_allowed  frame  ffffffffffff5254000000018100000a0800 (4s ago)

      vlan_not_allowed: The frame carries a VLAN that this port does not carry."
    `);
  });

  it('shows a trace stage by stage, and marks where the frame died', async () => {
    expect(await output('trace', '--port', 'vm1', 'icmp')).toMatchInlineSnapshot(`
      "| parse     ok    IPv4 behind one tag, VID 10.
      x classify  drop  vm1 is an access port of red. [ports.vm1]
                        tag kept
      DROPPED: vlan_not_allowed"
    `);
  });

  it('shows a trace that passes with its outputs and tags', async () => {
    fixture.control.trace = async () => ({
      verdict: 'flood',
      outputs: [
        { port: 'vm2', tags: [] },
        { port: 'eth0', tags: ['802.1Q vid 10 pcp 0'] },
      ],
      stages: [{ stage: 'forward', decision: 'flood', text: 'The destination is not known in red.' }],
    });
    expect((await output('trace', '--port', 'vm1', 'icmp')).split('\n').at(-1)).toBe(
      'FLOODED to vm2 (untagged), eth0 (802.1Q vid 10 pcp 0)',
    );
  });

  it('shows changes one a line', async () => {
    expect(await output('port', 'remove', 'vm1')).toMatchInlineSnapshot(`
      "~ ports.vm1.network: "red" -> "blue"
      + ports.vm2: {"kind":"tap","network":"red"}
      - networks.old
      3 changes applied"
    `);
  });

  it('says so when there is nothing', async () => {
    fixture.control.ports = [];
    fixture.control.dropRows = [];
    fixture.control.fdb = [];
    expect(await output('port', 'list')).toBe('no ports');
    expect(await output('drops')).toBe('nothing was dropped');
    expect(await output('fdb', 'list')).toBe('no addresses');
  });

  it('lets nothing that a name or a message holds speak to the terminal', async () => {
    fixture.control.ports = [{ ...fakePorts[1]!, reason: 'no interface \u001b[2Jx\u009b1m\n' }];
    expect(await output('port', 'list')).toContain('no interface ?[2Jx?1m?');
    expect(plainText('a\u0007b\u007f')).toBe('a?b?');
  });
});

describe('numbers for a person', () => {
  it.each([
    [packetRate(0), '0 pps'],
    [packetRate(999), '999 pps'],
    [packetRate(999.6), '1.00 kpps'],
    [packetRate(1_234_567), '1.23 Mpps'],
    [bitRate(3_400_000_000), '3.40 Gbit/s'],
    [bitRate(99_960_000_000), '100 Gbit/s'],
    [countText(999_999), '999999'],
    [countText(12_345_678), '12.3 M'],
    [durationText(59.9), '59s'],
    [durationText(3_725), '1h 2m'],
    [durationText(93_784), '1d 2h'],
  ])('are short: %s', (shown, expected) => {
    expect(shown).toBe(expected);
  });

  it('always fit nine cells, whatever the rate', () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 1e15, noNaN: true }), (rate) => packetRate(rate).length <= 9));
  });

  it('stand right-aligned under their title', () => {
    const lines = formatTable(
      [{ title: 'A' }, { title: 'NUMBER', align: 'right' }],
      [
        ['x', '7'],
        ['longer', '12345678'],
      ],
    ).split('\n');
    expect(lines).toEqual(['A         NUMBER', 'x              7', 'longer  12345678']);
  });
});

async function lookOf(control: FakeSwitch, atMs: number): Promise<TopLook> {
  return { atMs, status: await control.status(), ports: control.ports, underlays: [], drops: control.dropRows };
}

const grown = (port: PortRow): PortRow => ({
  ...port,
  rxFrames: port.rxFrames + 2_000_000,
  rxBytes: port.rxBytes + 250_000_000,
});

describe('top', () => {
  it('shows rates between two looks, bars, the FDB and drops with what they grew by', async () => {
    const control = new FakeSwitch();
    const before = await lookOf(control, 1000);
    control.ports = fakePorts.map((port) => (port.state === 'up' ? grown(port) : port));
    control.dropRows = [{ ...fakeDrops[0]!, count: 45 }];
    const lines = topLines(before, await lookOf(control, 3000), { columns: 80, rows: 24 });
    expect(lines.join('\n')).toMatchInlineSnapshot(`
      "weft 0.1.0  up 1d 2h  uring  ready  ports 1 up 0 down 1 waiting
      FDB      [          ] 2 of 1048576 addresses
      worker 0 [████▎     ]  42 %  1.23 Mpps  running  restarts 1

      PORT       RECEIVED                          SENT
      vm1        ██████████ 1.00 Mpps  1.00 Gbit/s                0 pps      0 bit/s
      fw         waiting: no interface vnet3

      DROPS
      vm1        vlan_not_allowed            45      +42  The frame carries a VLAN tha













      q quits"
    `);
  });

  it('fits every screen, whatever the number of ports and drops', async () => {
    const control = new FakeSwitch();
    control.ports = Array.from({ length: 100 }, (_, index) => ({ ...fakePorts[0]!, name: `port-${index}` }));
    control.dropRows = Array.from({ length: 50 }, () => fakeDrops[0]!);
    const look = await lookOf(control, 0);
    for (const rows of [5, 10, 24, 60]) {
      for (const columns of [20, 80, 200]) {
        const lines = topLines(undefined, look, { columns, rows });
        expect(lines).toHaveLength(rows);
        expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
      }
    }
  });

  it('shows no rate for a port that was made anew and counts from zero', async () => {
    const control = new FakeSwitch();
    const before = await lookOf(control, 0);
    control.ports = fakePorts.map((port) => ({ ...port, rxFrames: 5, txFrames: 5, rxBytes: 0, txBytes: 0 }));
    for (const { rx, tx } of portRates(before, await lookOf(control, 1000))) {
      expect([rx.framesPerSecond, rx.bitsPerSecond, tx.bitsPerSecond].every((rate) => rate >= 0 && rate <= 5)).toBe(
        true,
      );
    }
  });

  it('draws bars in eighths that are always as wide as asked', () => {
    expect([bar(0, 4), bar(0.5, 4), bar(1, 4), bar(7, 4), bar(Number.NaN, 4)]).toEqual([
      '    ',
      '██  ',
      '████',
      '████',
      '    ',
    ]);
    fc.assert(fc.property(fc.double(), fc.nat(30), (share, width) => bar(share, width).length === width));
  });

  it('prints one picture where stdout is no terminal', async () => {
    const out = await output('top');
    expect(out).toContain('worker 0');
    expect(out).not.toContain('\u001b');
  });

  it('takes the whole screen of a terminal and gives it back on q, Ctrl-C and a lost daemon', async () => {
    for (const key of ['q', '\u0003']) {
      const screen: string[] = [];
      const keys: { press?: (key: string) => void } = {};
      const running = runCli(['top'], { socket: fixture.path, interactive: true, screen, keys });
      await until(() => screen.length >= 2, 'a picture');
      keys.press?.(key);
      expect(await running).toEqual({ status: 0, out: '', err: '' });
      expect(screen[0]).toContain('\u001b[?1049h');
      expect(screen.at(-1)).toBe('\u001b[?25h\u001b[?1049l');
    }
  });

  it('gives the screen back when asking fails, and says why', async () => {
    const screen: string[] = [];
    const running = runCli(['top'], { socket: fixture.path, interactive: true, screen, keys: {} });
    await until(() => screen.length >= 2, 'a picture');
    fixture.control.beforeStatus = async () => {
      throw new Error('no');
    };
    const { status, err } = await running;
    expect([status, screen.at(-1)]).toEqual([1, '\u001b[?25h\u001b[?1049l']);
    expect(err).toContain('defect');
  });
});
