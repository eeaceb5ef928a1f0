/** Connections and the policy that allowed them: what a change of it cuts, and what it leaves alone. */
import { describe, expect, test } from 'vitest';
import { usedConnections } from './group-connections.js';
import { connect, frameOf, type GroupDocument, GroupSwitch } from './group-switch.js';

const ingress = { direction: 'ingress' };
const egress = { direction: 'egress' };
const http = { ...ingress, proto: 'tcp', port: 80 };
const ssh = { ...ingress, proto: 'tcp', port: 22 };

const web = (rules: object[], ports: object = { a: {}, b: { groups: ['web'] } }): GroupDocument => ({
  groups: { web: { rules } },
  ports: ports as GroupDocument['ports'],
});

/** The next segments of what `connect` made, in both directions. */
const forth = 'tcp a:1024 > b:80 flags A seq 101 ack 501';
const back = 'tcp b:80 > a:1024 flags A seq 501 ack 101';

function standing(document: GroupDocument): GroupSwitch {
  const tested = new GroupSwitch(document);
  connect(tested, 'a:1024', 'b:80');
  expect([tested.send(forth), tested.send(back)]).toEqual([['b'], ['a']]);
  expect(usedConnections(tested)).toBe(1);
  return tested;
}

describe('an established connection', () => {
  test('passes in both directions by the one rule that let it begin', () => {
    standing(web([http]));
  });

  const cuts: Record<string, [GroupDocument, GroupDocument]> = {
    'its rule is removed': [web([http, ssh]), web([ssh])],
    'its rule is for another port': [web([http]), web([{ ...http, port: 81 }])],
    'its group is taken from the port': [
      { groups: { web: { rules: [http] }, ssh: { rules: [ssh] } }, ports: { a: {}, b: { groups: ['web', 'ssh'] } } },
      { groups: { web: { rules: [http] }, ssh: { rules: [ssh] } }, ports: { a: {}, b: { groups: ['ssh'] } } },
    ],
    'all groups are taken from the port': [web([http]), web([http], { a: {}, b: { groups: [] } })],
    'its client leaves the remote group': [
      web([{ ...http, remoteGroup: 'web' }, egress], {
        a: { groups: ['web'], addresses: ['10.0.0.1/24'] },
        b: { groups: ['web'] },
      }),
      web([{ ...http, remoteGroup: 'web' }, egress], {
        a: { groups: ['web'], addresses: ['10.0.0.9/24'] },
        b: { groups: ['web'] },
      }),
    ],
    'an end that had no groups gets some': [
      web([http, egress]),
      web([http], { a: { groups: ['web'] }, b: { groups: ['web'] } }),
    ],
  };
  for (const [what, [before, after]] of Object.entries(cuts))
    for (const [way, first, second] of [
      ['forth', forth, back],
      ['back', back, forth],
    ] as const)
      test(`is cut in both directions at its next packet when ${what} (${way} first)`, () => {
        const tested = standing(before);
        tested.change(after);
        expect(tested.send(first)).toEqual([]);
        expect(tested.send(second)).toEqual([]);
        expect(tested.send(first)).toEqual([]);
        expect(
          tested.run().map(({ port }) => port),
          'silently',
        ).toEqual([]);
      });

  const keeps: Record<string, [GroupDocument, GroupDocument]> = {
    'a rule that it does not need is removed': [web([http, ssh]), web([http])],
    'another rule allows it too': [
      web([http, { ...http, remote: '10.0.0.0/24' }]),
      web([{ ...http, remote: '10.0.0.0/24' }]),
    ],
    'a port is added': [web([http]), web([http], { a: {}, b: { groups: ['web'] }, c: {} })],
    'its port loses its groups': [web([http]), web([http], { a: {}, b: {} })],
  };
  test.each(Object.keys(keeps))('goes on when %s', (what) => {
    const [before, after] = keeps[what];
    const tested = standing(before);
    tested.change(after);
    expect([tested.send(forth), tested.send(back)]).toEqual([['b'], ['a']]);
  });

  test('is not brought back by a rule that comes again, but a new one may begin', () => {
    const tested = standing(web([http]));
    tested.change(web([]));
    expect(tested.send(forth)).toEqual([]);
    tested.change(web([http]));
    expect(tested.send(forth), 'the connection is forgotten').toEqual([]);
    connect(tested, 'a:1025', 'b:80');
    expect(tested.send('tcp b:80 > a:1025 flags A seq 501 ack 101')).toEqual(['a']);
  });

  test('does not pass a port that took the place of its own', () => {
    const tested = standing(web([http, egress], { a: {}, b: { groups: ['web'] } }));
    tested.change(web([http, egress], { a: {} }));
    tested.change({
      groups: { web: { rules: [http, egress] }, closed: { rules: [] } },
      ports: { a: {}, c: { groups: ['closed'] } },
    });
    expect(tested.send('tcp 10.0.0.2:80 > a:1024 flags A seq 501 ack 101', 'c', 'src 52:54:00:00:00:02')).toEqual([]);
    expect(tested.send(forth)).toEqual([]);
  });

  test('cannot be ended by another machine that sends what it may not send', () => {
    const groups = { web: { rules: [http] }, closed: { rules: [] } };
    const tested = standing({ groups, ports: { a: {}, b: { groups: ['web'] }, c: { groups: ['closed'] } } });
    expect(tested.send(back, 'c')).toEqual([]);
    expect(tested.send(forth, 'c')).toEqual([]);
    tested.teach('a');
    tested.teach('b');
    expect([tested.send(forth), tested.send(back)]).toEqual([['b'], ['a']]);
  });
});

describe('a change of membership', () => {
  const document = (addresses: string[], pairs: object[] = []): GroupDocument =>
    web([{ ...ingress, remoteGroup: 'web' }, egress], {
      a: { groups: ['web'], addresses, allowedPairs: pairs },
      b: { groups: ['web'], addresses: ['10.0.0.2/24'] },
    });

  test('allows and cuts by addresses and pairs alone, with the same compiled rules', () => {
    const tested = new GroupSwitch(document(['10.0.0.77/24']));
    const before = tested.snapshot.groups;
    expect(tested.send('udp a:1 > b:2')).toEqual([]);
    tested.change(document(['10.0.0.77/24'], [{ ip: '10.0.0.0/30' }]));
    expect(tested.snapshot.groups.sets).toEqual(before.sets);
    for (const [index, set] of tested.snapshot.groups.sets.entries()) expect(set).toBe(before.sets[index]);
    expect(tested.send('udp a:1 > b:2')).toEqual(['b']);
    expect(tested.send('udp b:2 > a:1'), 'its answer').toEqual(['a']);
    tested.change(document(['10.0.0.77/24']));
    expect(tested.send('udp a:1 > b:2')).toEqual([]);
  });
});

describe('what belongs to a connection', () => {
  test('UDP and pings have answers, each its own', () => {
    const tested = new GroupSwitch(web([egress]));
    expect(tested.send('udp b:1 > a:53')).toEqual(['a']);
    expect(tested.send('udp a:53 > b:1')).toEqual(['b']);
    expect(tested.send('udp a:53 > b:2')).toEqual([]);
    expect(tested.send('icmp b > a echo id 7', 'b')).toEqual(['a']);
    expect(tested.send('icmp a > b reply id 7', 'a')).toEqual(['b']);
    expect(tested.send('icmp a > b reply id 8', 'a')).toEqual([]);
    expect(tested.send('icmp a > b echo id 7', 'a')).toEqual([]);
  });

  test('an ICMP error about it passes both ends, one about nothing does not', () => {
    const tested = new GroupSwitch({
      groups: {
        out: { rules: [{ ...egress, proto: 'udp' }] },
        in: { rules: [{ ...ingress, proto: 'udp', port: 53 }] },
      },
      ports: { a: { groups: ['out'] }, b: { groups: ['in'] } },
    });
    expect(tested.send('udp a:7 > b:53')).toEqual(['b']);
    const errorAbout = (text: string) => {
      const quoted = frameOf(text).slice(14);
      const octets = frameOf('icmp b > a type 3', 'code 3 length 32');
      octets.set(quoted.slice(0, 28), 14 + 20 + 8);
      return tested.run({ port: 'b', octets }).map(({ port }) => port);
    };
    expect(errorAbout('udp a:7 > b:53')).toEqual(['a']);
    expect(errorAbout('udp a:8 > b:53')).toEqual([]);
    tested.change({
      groups: { out: { rules: [] }, in: { rules: [] } },
      ports: { a: { groups: ['out'] }, b: { groups: ['in'] } },
    });
    expect(errorAbout('udp a:7 > b:53'), 'the policy forbids the connection now').toEqual([]);
  });

  test('frames of one batch begin one connection', () => {
    const tested = new GroupSwitch(web([{ ...ingress, proto: 'udp' }]));
    const octets = frameOf('udp a:1 > b:2');
    expect(tested.run(...Array.from({ length: 20 }, () => ({ port: 'a', octets }))).length).toBe(20);
    expect(usedConnections(tested)).toBe(1);
  });

  test('a flood to an unknown station has one connection, and the ports that forbid it get nothing', () => {
    const groups = { open: { rules: [ingress, egress] }, closed: { rules: [] } };
    const tested = new GroupSwitch({
      groups,
      ports: { a: { groups: ['open'] }, b: { groups: ['closed'] }, c: { groups: ['open'] }, d: {} },
    });
    expect(tested.send('udp a:1 > 10.0.0.99:2', 'a', 'dst 52:54:00:00:00:99').sort()).toEqual(['c', 'd']);
    expect(usedConnections(tested)).toBe(1);
  });
});

describe('what is always allowed and never', () => {
  const closed = () => new GroupSwitch({ groups: {}, ports: { a: {}, b: { groups: [] } } });
  const open = () =>
    new GroupSwitch({ groups: { all: { rules: [ingress, egress] } }, ports: { a: {}, b: { groups: ['all'] } } });
  const broadcast = 'dst ff:ff:ff:ff:ff:ff';

  test('DHCP and DHCPv6 clients get their leases', () => {
    expect(closed().send('udp 0.0.0.0:68 > 255.255.255.255:67', 'b', `${broadcast} src 52:54:00:00:00:02`)).toEqual([
      'a',
    ]);
    expect(closed().send('udp a:67 > b:68')).toEqual(['b']);
    expect(closed().send('udp [B]:546 > [A]:547', 'b')).toEqual(['a']);
    expect(closed().send('udp [A]:547 > [B]:546', 'a')).toEqual(['b']);
    expect(closed().send('udp b:67 > a:67')).toEqual([]);
  });

  test.each([130, 133, 135, 136])('ICMPv6 type %i from the machine passes', (type) => {
    expect(closed().send(`icmp B > A type ${type} length 24`, 'b')).toEqual(['a']);
  });
  test.each([130, 135, 136])('ICMPv6 type %i to the machine passes', (type) => {
    expect(closed().send(`icmp A > B type ${type} length 24`, 'a')).toEqual(['b']);
  });
  test.each([128, 131, 137, 143])('ICMPv6 type %i to the machine needs a rule', (type) => {
    expect(closed().send(`icmp A > B type ${type} length 24`, 'a')).toEqual([]);
  });

  test('the unspecified address may ask whether an address is free, and report itself a listener', () => {
    const from = (type: number) => closed().send(`icmp :: > A type ${type} length 24`, 'b', 'src 52:54:00:00:00:02');
    expect([131, 135, 143].map(from)).toEqual([['a'], ['a'], ['a']]);
    expect([133, 136, 130].map(from)).toEqual([[], [], []]);
  });

  test('a router advertisement of another machine needs a rule, one from the network does not', () => {
    expect(closed().send('icmp A > B type 134 length 24', 'a')).toEqual([]);
    const ports = { a: { kind: 'netdev' }, b: { groups: [] } };
    expect(new GroupSwitch({ groups: {}, ports }).send('icmp A > B type 134 length 24', 'a')).toEqual(['b']);
  });

  test('threat 27: no machine with groups is a DHCP server, even if a group allows everything', () => {
    for (const frame of ['udp b:67 > a:68', 'udp [B]:547 > [A]:546']) {
      const tested = open();
      expect(tested.send(frame, 'b')).toEqual([]);
      expect(tested.drops()).toEqual({ 'b dhcp_server': 1 });
    }
  });

  test('no machine with groups is a router, even if a group allows everything', () => {
    for (const type of [134, 137]) {
      const tested = open();
      expect(tested.send(`icmp B > A type ${type} length 40`, 'b')).toEqual([]);
      expect(tested.drops()).toEqual({ 'b router_advertisement': 1 });
    }
  });
});

test('threat 13: IP protocol 0 and all others first, and the verdict of each is what it would be alone', () => {
  const document = web([
    { ...ingress, proto: 'tcp', port: 80 },
    { ...ingress, proto: 47 },
  ]);
  const frames = ['tcp a:1 > b:80', 'tcp a:1 > b:81', 'udp a:1 > b:80', 'ip a > b proto 47', 'icmp a > b echo'];
  const alone = frames.map((frame) => new GroupSwitch(document).send(frame, 'a'));
  const tested = new GroupSwitch(document);
  for (let protocol = 0; protocol < 256; protocol++) tested.send(`ip a > b proto ${protocol}`, 'a', 'length 40');
  expect(frames.map((frame) => tested.send(frame, 'a'))).toEqual(alone);
  expect(alone).toEqual([['b'], [], [], ['b'], []]);
});

test('threat 20: a hundred changes of policy under traffic leak not one frame', () => {
  const [open, shut] = [web([http, ssh]), web([ssh])];
  const tested = new GroupSwitch(open);
  let leaked = 0;
  let passed = 0;
  for (let change = 0; change < 100; change++) {
    const isOpen = change % 2 === 1;
    tested.change(isOpen ? open : shut);
    for (const port of [2000 + change, 1024]) {
      const frames = [
        `tcp a:${port} > b:80 flags S seq 100`,
        `tcp b:80 > a:${port} flags SA seq 500 ack 101`,
        `tcp a:${port} > b:80 flags A seq 101 ack 501`,
        `tcp b:80 > a:${port} flags A seq 501 ack 101`,
      ];
      for (const frame of frames) {
        const got = tested.send(frame).length;
        if (isOpen) passed += got;
        else leaked += got;
      }
    }
  }
  expect(leaked).toBe(0);
  expect(passed).toBeGreaterThan(300);
});

test('threat 29: a port is trusted for no name', () => {
  for (const name of ['network', 'dhcp', 'router', 'uplink']) {
    const tested = new GroupSwitch({ groups: {}, ports: { a: {}, [name]: { groups: [] } } });
    expect(tested.send('tcp 10.0.0.9:1 > a:80', name, 'src 52:54:00:00:00:09')).toEqual([]);
  }
});

test('threat 30: a port that is made with its groups lets nothing out before them', () => {
  const tested = new GroupSwitch(web([], { a: {} }));
  for (let round = 0; round < 100; round++) {
    tested.change(web([], { a: {}, b: { groups: ['web'] } }));
    expect(tested.send('tcp b:1 > a:80')).toEqual([]);
    tested.change(web([], { a: {} }));
  }
});

test('threat 44: one allowed flow of a protocol opens nothing for others of it', () => {
  const tested = new GroupSwitch(
    web([
      { ...egress, proto: 'sctp', port: 9 },
      { ...egress, proto: 47, remote: '10.0.0.1/32' },
    ]),
  );
  expect(tested.send('ip b > a proto 47', 'b', 'length 16')).toEqual(['a']);
  expect(tested.send('ip 10.0.0.7 > b proto 47', 'a', 'length 16 src 52:54:00:00:00:01')).toEqual([]);
  expect(tested.send('ip a > b proto 132', 'a', 'length 16')).toEqual([]);
});
