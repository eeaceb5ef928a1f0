import { describe, expect, test } from 'vitest';
import { usedConnections } from './group-connections.js';
import { frameOf, type GroupDocument, GroupSwitch } from './group-switch.js';

const ingress = { direction: 'ingress' };
const egress = { direction: 'egress' };

/** `b` has groups with these rules, `a` has none. */
const guarding = (...rules: object[]): GroupDocument => ({
  groups: { web: { rules } },
  ports: { a: {}, b: { groups: ['web'] } },
});
/** The same without state. */
const stateless = (...rules: object[]): GroupDocument => ({
  groups: { web: { stateful: false, rules } },
  ports: { a: {}, b: { groups: ['web'] } },
});

describe('each field of a rule towards the machine', () => {
  const passes: [rule: object, frame: string][] = [
    [{}, 'tcp a:1024 > b:80'],
    [{}, 'tcp [A]:1024 > [B]:80'],
    [{}, 'icmp a > b echo'],
    [{}, 'ip a > b proto 47'],
    [{ family: 'ipv4' }, 'udp a:1 > b:2'],
    [{ family: 'ipv6' }, 'udp [A]:1 > [B]:2'],
    [{ proto: 'udp' }, 'udp a:1 > b:2'],
    [{ proto: 'udp' }, 'udp [A]:1 > [B]:2'],
    [{ proto: 112 }, 'ip a > b proto 112'],
    [{ proto: 'tcp', port: 80 }, 'tcp a:1024 > b:80'],
    [{ proto: 'tcp', port: '22-25' }, 'tcp a:1024 > b:25'],
    [{ proto: 'tcp', port: [80, '8000-8100'] }, 'tcp a:1024 > b:8050'],
    [{ proto: 'icmp', icmpType: 8 }, 'icmp a > b echo'],
    [{ proto: 'icmp', icmpType: 'echo-request', icmpCode: 0 }, 'icmp a > b echo'],
    [{ proto: 'icmpv6', icmpType: 'echo-request' }, 'icmp A > B echo'],
    [{ proto: 'icmp', family: 'ipv6' }, 'icmp A > B echo'],
    [{ remote: '10.0.0.1/32' }, 'udp a:1 > b:2'],
    [{ remote: '10.0.0.0/8', proto: 'tcp', port: 80 }, 'tcp a:1024 > b:80'],
    [{ remote: '2001:db8::/64' }, 'tcp [A]:1024 > [B]:80'],
    [{ remote: '0.0.0.0/0' }, 'icmp a > b echo'],
  ];
  test.each(passes)('%o lets pass: %s', (rule, frame) => {
    expect(new GroupSwitch(guarding({ ...ingress, ...rule })).send(frame, 'a')).toEqual(['b']);
    expect(new GroupSwitch(stateless({ ...ingress, ...rule })).send(frame, 'a')).toEqual(['b']);
  });

  const stops: [rule: object, frame: string][] = [
    [{ family: 'ipv6' }, 'udp a:1 > b:2'],
    [{ family: 'ipv4' }, 'udp [A]:1 > [B]:2'],
    [{ proto: 'udp' }, 'tcp a:1 > b:2'],
    [{ proto: 'tcp', port: 80 }, 'tcp a:80 > b:81'],
    [{ proto: 'tcp', port: 80 }, 'udp a:1024 > b:80'],
    [{ proto: 'tcp', port: '22-25' }, 'tcp a:1024 > b:26'],
    [{ proto: 'icmp', icmpType: 13 }, 'icmp a > b echo'],
    [{ proto: 'icmp', icmpType: 8, icmpCode: 1 }, 'icmp a > b echo'],
    [{ proto: 'icmp' }, 'icmp A > B echo'],
    [{ remote: '10.0.0.2/32' }, 'udp a:1 > b:2'],
    [{ remote: '0.0.0.0/0' }, 'udp [A]:1 > [B]:2'],
    [{ remoteGroup: 'web' }, 'udp a:1 > b:2'],
  ];
  test.each(stops)('%o stops: %s', (rule, frame) => {
    for (const document of [guarding({ ...ingress, ...rule }), stateless({ ...ingress, ...rule })]) {
      const tested = new GroupSwitch(document);
      expect(tested.send(frame, 'a')).toEqual([]);
      expect(tested.drops()).toEqual({ 'a group_deny': 1, 'b group_deny of copy': 1 });
    }
  });

  test('a rule of the other direction allows nothing', () => {
    expect(new GroupSwitch(guarding(egress)).send('tcp a:1024 > b:80')).toEqual([]);
    expect(new GroupSwitch(guarding(ingress)).send('tcp b:1024 > a:80')).toEqual([]);
  });
});

describe('each field of a rule from the machine', () => {
  test('its port is the destination port, its remote the destination', () => {
    const tested = new GroupSwitch(guarding({ ...egress, proto: 'tcp', port: 80, remote: '10.0.0.1/32' }));
    expect(tested.send('tcp b:1024 > a:80')).toEqual(['a']);
    expect(tested.send('tcp b:80 > a:1024')).toEqual([]);
    expect(tested.drops()).toEqual({ 'b group_deny': 1 });
  });

  test('what is denied teaches the FDB nothing', () => {
    const tested = new GroupSwitch(guarding(ingress));
    tested.send('udp b:1 > a:2', 'b', 'src 52:54:00:00:00:77');
    expect(tested.fdb.learnedByPort(tested.index('b'))).toBe(1);
  });
});

describe('groups as Neutron has them', () => {
  const defaults: GroupDocument = {
    groups: { default: { rules: [egress, { ...ingress, remoteGroup: 'default' }] }, fresh: { rules: [egress] } },
    ports: {
      a: { groups: ['default'], addresses: ['10.0.0.1/24', '2001:db8::1/64'] },
      b: { groups: ['default'], addresses: ['10.0.0.2/24', '2001:db8::2/64'] },
      c: { groups: ['fresh'], addresses: ['10.0.0.3/24'] },
      d: {},
    },
  };

  test('the default group: everything out, in from its members alone', () => {
    const tested = new GroupSwitch(defaults);
    expect(tested.send('tcp a:1024 > b:80')).toEqual(['b']);
    expect(tested.send('tcp [A]:1024 > [B]:80', 'a')).toEqual(['b']);
    expect(tested.send('tcp c:1024 > b:80')).toEqual([]);
    expect(tested.send('tcp d:1024 > b:80')).toEqual([]);
    expect(tested.send('tcp b:1024 > d:80')).toEqual(['d']);
  });

  test('a new group: everything out and its answers, nothing in', () => {
    const tested = new GroupSwitch(defaults);
    expect(tested.send('udp d:1 > c:2')).toEqual([]);
    expect(tested.send('udp c:2 > d:1')).toEqual(['d']);
    expect(tested.send('udp d:1 > c:2')).toEqual(['c']);
    expect(tested.send('udp d:3 > c:2')).toEqual([]);
  });

  test('groups add up, whatever their order', () => {
    for (const groups of [
      ['one', 'two'],
      ['two', 'one'],
    ]) {
      const rules = (port: number) => ({ rules: [{ ...ingress, proto: 'tcp', port }] });
      const tested = new GroupSwitch({ groups: { one: rules(80), two: rules(443) }, ports: { a: {}, b: { groups } } });
      expect(tested.send('tcp a:1 > b:80')).toEqual(['b']);
      expect(tested.send('tcp a:1 > b:443')).toEqual(['b']);
      expect(tested.send('tcp a:1 > b:22')).toEqual([]);
    }
  });

  test('both ends are asked when both machines are on this host', () => {
    const ends = (from: object[], to: object[]): GroupDocument => ({
      groups: { from: { rules: from }, to: { rules: to } },
      ports: { a: { groups: ['from'] }, b: { groups: ['to'] } },
    });
    expect(new GroupSwitch(ends([egress], [ingress])).send('tcp a:1 > b:80')).toEqual(['b']);
    expect(new GroupSwitch(ends([], [ingress])).send('tcp a:1 > b:80')).toEqual([]);
    expect(new GroupSwitch(ends([egress], [])).send('tcp a:1 > b:80')).toEqual([]);
    const tested = new GroupSwitch(ends([egress], [ingress]));
    tested.send('tcp a:1 > b:80 flags S');
    expect(tested.send('tcp b:80 > a:1 flags SA ack 1')).toEqual(['a']);
    expect(tested.send('tcp b:81 > a:1 flags S'), 'b may begin nothing').toEqual([]);
  });

  test('no groups let everything pass, an empty list what is always allowed alone', () => {
    const tested = new GroupSwitch({ groups: {}, ports: { a: {}, b: { groups: [] }, c: {} } });
    expect(tested.send('tcp a:1 > b:80')).toEqual([]);
    expect(tested.send('tcp b:1 > a:80')).toEqual([]);
    expect(tested.send('tcp a:1 > c:80')).toEqual(['c']);
    expect(tested.send('arp who-has 10.0.0.2 tell 10.0.0.1 src 52:54:00:00:00:01', 'a').sort()).toEqual(['b', 'c']);
    expect(usedConnections(tested)).toBe(0);
  });

  test('without state each direction needs its rule', () => {
    const tested = new GroupSwitch(stateless({ ...ingress, proto: 'tcp', port: 80 }));
    expect(tested.send('tcp a:1024 > b:80 flags S')).toEqual(['b']);
    expect(tested.send('tcp b:80 > a:1024 flags SA ack 1')).toEqual([]);
    tested.change(stateless({ ...ingress, proto: 'tcp', port: 80 }, { ...egress, proto: 'tcp', port: 1024 }));
    expect(tested.send('tcp b:80 > a:1024 flags SA ack 1')).toEqual(['a']);
    expect(tested.send('tcp a:1024 > b:80 flags A ack 1'), 'whatever state it is in').toEqual(['b']);
    expect(usedConnections(tested)).toBe(0);
  });

  test('frames that are neither ARP nor IP are dropped in both directions', () => {
    const tested = new GroupSwitch(guarding(ingress, egress));
    const other = (from: string, to: string) =>
      Uint8Array.from([
        ...hex(`5254000000${to}`),
        ...hex(`5254000000${from}`),
        0x88,
        0xb5,
        ...new Array<number>(50).fill(7),
      ]);
    expect(tested.run({ port: 'b', octets: other('02', '01') })).toEqual([]);
    expect(tested.run({ port: 'a', octets: other('01', '02') })).toEqual([]);
    expect(tested.drops()).toEqual({ 'b group_deny': 1, 'a group_deny': 1, 'b group_deny of copy': 1 });
  });

  test('a packet that can not be parsed is dropped by its fault, in both directions', () => {
    const tested = new GroupSwitch(guarding(ingress, egress));
    const broken = (text: string) => {
      const octets = frameOf(text);
      octets[14 + 20 + 12] = 0x10;
      return octets;
    };
    expect(tested.run({ port: 'a', octets: broken('tcp a:1 > b:80') })).toEqual([]);
    expect(tested.run({ port: 'b', octets: broken('tcp b:1 > a:80') })).toEqual([]);
    expect(tested.drops()).toEqual({ 'a bad_tcp_header': 1, 'b bad_tcp_header of copy': 1, 'b bad_tcp_header': 1 });
  });

  test('frames to group addresses are judged by the rules and begin no connection', () => {
    const tested = new GroupSwitch(
      guarding({ ...ingress, proto: 'udp', port: 5353 }, { ...egress, proto: 'udp', port: 5353 }),
    );
    const toGroup = 'dst 01:00:5e:00:00:fb';
    expect(tested.send('udp 10.0.0.1:5353 > 224.0.0.251:5353', 'a', toGroup)).toEqual(['b']);
    expect(tested.send('udp 10.0.0.2:5353 > 224.0.0.251:5353', 'b', toGroup)).toEqual(['a']);
    expect(tested.send('udp 10.0.0.1:5353 > 224.0.0.251:5354', 'a', toGroup)).toEqual([]);
    expect(tested.send('udp 10.0.0.2:5353 > 224.0.0.251:5354', 'b', toGroup)).toEqual([]);
    expect(usedConnections(tested)).toBe(0);
  });
});

const hex = (text: string) => [...Buffer.from(text, 'hex')];
