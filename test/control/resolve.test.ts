import { describe, expect, test } from 'vitest';
import { documentOf } from '../../src/control/document.js';
import { resolve } from '../../src/control/resolve.js';
import type { ResolvedPort } from '../../src/control/resolved.js';
import { validate } from '../../src/control/validate.js';
import { check, faultsOf, told } from './configs.js';

const NETWORKS = `
  red: { type: vlan, id: 10, uplink: up }
  blue: { type: vlan, id: 20, uplink: up }
  green: { type: vlan, id: 30 }
  ext: { type: flat, uplink: up }
  lab: { type: local }
  lab2: { type: local }`;

/** A switch with an uplink `up` (unless given) and the ports given, one a line from line 10. */
function document(...ports: string[]): string {
  const uplink = ports.some((port) => port.startsWith('up:'))
    ? []
    : ['up: { kind: netdev, device: eth0, trunk: auto }'];
  return `version: 1\nnetworks:${NETWORKS}\nports:\n${[...ports, ...uplink].map((port) => `  ${port}`).join('\n')}\n`;
}

function port(text: string, name = 'p', ...others: string[]): ResolvedPort {
  const found = check(document(text, ...others)).resolved.ports.get(name);
  if (found === undefined) throw new Error(`no port ${name}`);
  return found;
}

const networksFrom = (text: string) => told(`version: 1\nnetworks:\n${text}`);

describe('modes and members', () => {
  test('an access port carries its network untagged and takes no VID', () => {
    expect(port('p: { kind: tap, network: red }')).toMatchObject({
      mode: 'access',
      members: [{ network: 'red', untagged: true }],
    });
  });

  test("a trunk's VIDs are those of its vlan networks, or what it says", () => {
    expect(
      port('p: { kind: tap, trunk: [red, { network: lab, vlan: 100 }, { network: blue, vlan: 7 }] }').members,
    ).toEqual([
      { network: 'red', untagged: false, vid: 10, tag: { tpid: 0x8100, vid: 10 } },
      { network: 'lab', untagged: false, vid: 100, tag: { tpid: 0x8100, vid: 100 } },
      { network: 'blue', untagged: false, vid: 7, tag: { tpid: 0x8100, vid: 7 } },
    ]);
  });

  test('the native network is carried though not listed, leaves untagged, and its VID is accepted', () => {
    expect(port('p: { kind: tap, trunk: [blue], native: red }').members).toEqual([
      { network: 'blue', untagged: false, vid: 20, tag: { tpid: 0x8100, vid: 20 } },
      { network: 'red', untagged: true, vid: 10 },
    ]);
  });

  test('a native network without a VID is fine, and has none', () => {
    expect(port('p: { kind: tap, trunk: [blue], native: lab }').members).toContainEqual({
      network: 'lab',
      untagged: true,
    });
  });

  test('nativeTagged leaves with its VID', () => {
    expect(port('p: { kind: tap, trunk: [], native: red, nativeTagged: true }').members).toEqual([
      { network: 'red', untagged: true, vid: 10, tag: { tpid: 0x8100, vid: 10 } },
    ]);
  });

  test('a native network that is listed too is one member, with the VID it is listed with', () => {
    const text = 'p: { kind: tap, trunk: [{ network: lab, vlan: 7 }, blue], native: lab, nativeTagged: true }';
    expect(port(text).members).toEqual([
      { network: 'lab', untagged: true, vid: 7, tag: { tpid: 0x8100, vid: 7 } },
      { network: 'blue', untagged: false, vid: 20, tag: { tpid: 0x8100, vid: 20 } },
    ]);
    expect(port('p: { kind: tap, trunk: [lab, blue], native: lab }').members[0]).toEqual({
      network: 'lab',
      untagged: true,
    });
  });

  test('an empty trunk carries nothing', () => {
    expect(port('p: { kind: tap, trunk: [] }')).toMatchObject({ mode: 'trunk', members: [] });
  });

  test('trunk: auto carries what names it as uplink: vlan networks tagged, the flat one untagged', () => {
    expect(port('p: { kind: tap, network: lab }', 'up')).toMatchObject({
      uplink: true,
      members: [
        { network: 'red', untagged: false, vid: 10, tag: { tpid: 0x8100, vid: 10 } },
        { network: 'blue', untagged: false, vid: 20, tag: { tpid: 0x8100, vid: 20 } },
        { network: 'ext', untagged: true },
      ],
    });
  });

  test('a tunnel port puts whole frames into its network, which uplinks and only they send with its TPID', () => {
    const tunnel = 'qq: { kind: tap, tunnel: { network: red, allowed: [0, 100, 100] } }';
    const fw = 'fw: { kind: tap, trunk: [red] }';
    expect(port(tunnel, 'qq')).toMatchObject({
      mode: 'tunnel',
      innerVids: [0, 100],
      members: [{ network: 'red', untagged: true }],
    });
    expect(port(tunnel, 'up').members[0].tag).toEqual({ tpid: 0x88a8, vid: 10 });
    expect(port(tunnel, 'up').members[1].tag).toEqual({ tpid: 0x8100, vid: 20 });
    expect(port(tunnel, 'fw', fw).members[0].tag).toEqual({ tpid: 0x8100, vid: 10 });
    expect(port('qq: { kind: tap, tunnel: { network: red, tpid: "0x8100" } }', 'up').members[0].tag?.tpid).toBe(0x8100);
    expect(port('qq: { kind: tap, tunnel: { network: red } }', 'qq').innerVids).toBeUndefined();
  });
});

describe('defaults that depend on the port', () => {
  test.each([
    ['p: { kind: tap, network: lab }', 1024, 2000],
    ['p: { kind: qemu, path: /run/p.sock, network: lab }', 1024, 2000],
    ['p: { kind: netdev, network: lab }', 1024, 0],
    ['p: { kind: tap, network: lab, macLimit: none, storm: { broadcast: none } }', 0, 0],
    ['p: { kind: netdev, network: lab, macLimit: 5, storm: { broadcast: 7pps } }', 5, 7],
    ['p: { kind: tap, trunk: auto }', 0, 0],
  ])('%s: %d addresses, %d broadcasts a second', (text, macLimit, broadcast) => {
    const resolved = port(text);
    expect(resolved.macLimit).toBe(macLimit);
    expect(resolved.storm.broadcast).toBe(broadcast);
  });

  test('an uplink has no limits of its own accord, whatever its kind', () => {
    expect(port('up: { kind: tap, trunk: [red, blue], native: ext }', 'up')).toMatchObject({
      uplink: true,
      macLimit: 0,
      storm: { broadcast: 0, multicast: 0, unknownUnicast: 0 },
    });
  });

  test('one storm rate that is given leaves the others as they are', () => {
    expect(port('p: { kind: tap, network: lab, storm: { multicast: 5kpps } }').storm).toEqual({
      broadcast: 2000,
      multicast: 5000,
      unknownUnicast: 2000,
    });
  });

  test('the device is called like the port', () => {
    expect(port('p: { kind: tap, network: lab, queues: 2, mtu: 9000 }').intent).toEqual({
      name: 'p',
      kind: 'tap',
      device: 'p',
      mtu: 9000,
      queues: 2,
      offload: 'auto',
    });
  });

  test('control frames are dropped unless a protocol is let through', () => {
    expect(
      port('p: { kind: tap, network: lab, controlFrames: { lldp: forward, stp: forward } }').controlFrames,
    ).toEqual(['stp', 'lldp']);
    expect(port('p: { kind: tap, network: lab }').controlFrames).toEqual([]);
  });

  test('ages are whole seconds, rounded up', () => {
    const { resolved } = check('version: 1\nnetworks: { a: { type: local, macAge: 1500ms }, b: { type: local } }');
    expect(resolved.networks.get('a')?.macAgeSeconds).toBe(2);
    expect(resolved.networks.get('b')).toMatchObject({
      type: 'local',
      learning: true,
      macAgeSeconds: 300,
      macLimit: 8192,
    });
  });
});

describe('ports that contradict themselves or others', () => {
  test.each([
    ['p: { kind: tap }', '10 ports.p: says no network; give exactly one of network, trunk (perhaps auto) or tunnel'],
    [
      'p: { kind: tap, network: red, tunnel: { network: red } }',
      '10 ports.p: has network and tunnel; exactly one of network, trunk and tunnel is allowed',
    ],
    ['p: { kind: tap, network: red, native: blue }', '10 ports.p.native: is only for trunks'],
    ['p: { kind: tap, network: red, nativeTagged: true }', '10 ports.p.nativeTagged: is only for trunks'],
    ['p: { kind: tap, trunk: [red], nativeTagged: true }', '10 ports.p.nativeTagged: needs native: NETWORK'],
    [
      'p: { kind: tap, trunk: [lab] }',
      '10 ports.p.trunk[1]: lab is a local network and has no VID of its own; write { network: lab, vlan: VID }',
    ],
    [
      'p: { kind: tap, trunk: [red], native: lab, nativeTagged: true }',
      '10 ports.p.nativeTagged: lab has no VID to leave with; write { network: lab, vlan: VID } in trunk',
    ],
    [
      'p: { kind: tap, trunk: [red, { network: lab, vlan: 10 }] }',
      '10 ports.p.trunk[2]: VID 10 is that of red on this trunk already',
    ],
    [
      'p: { kind: tap, trunk: [{ network: lab, vlan: 10 }], native: red }',
      '10 ports.p.native: VID 10 is that of lab on this trunk already',
    ],
    [
      'p: { kind: tap, trunk: [red, { network: red, vlan: 9 }] }',
      '10 ports.p.trunk[2]: red is carried by this trunk already',
    ],
    [
      'up: { kind: netdev, trunk: auto, native: lab }',
      '10 ports.up.native: ext is carried untagged already, being flat with this port as uplink',
    ],
    ['p: { kind: qemu, network: lab }', '10 ports.p: a qemu port needs path: the Unix socket that QEMU connects to'],
    ['p: { kind: tap, path: /run/x, network: lab }', '10 ports.p.path: a tap port has no path; it is for qemu ports'],
    [
      `p: { kind: qemu, path: /${'x'.repeat(107)}, network: lab }`,
      "10 ports.p.path: is longer than the 107 octets a Unix socket's path can have",
    ],
    ['p: { kind: qemu, path: /run/x, network: lab, queues: 2 }', '10 ports.p.queues: a qemu port has one queue'],
    [
      'p: { kind: tap, device: a234567890123456, network: lab }',
      "10 ports.p.device: an interface can't be called a234567890123456: more than 15 characters",
    ],
    [
      'a234567890123456: { kind: tap, network: lab }',
      "10 ports.a234567890123456: an interface can't be called a234567890123456: more than 15 characters; give a shorter one as device",
    ],
    ['p: { kind: netdev, device: eth0, network: lab }', '11 ports.up.device: p uses the device eth0 already'],
    ['eth0: { kind: pcap, network: lab }', '11 ports.up.device: eth0 uses the device eth0 already'],
  ])('%s', (text, expected) => {
    expect(told(document(text))).toEqual([expected]);
  });

  test('a name that is too long for an interface is fine where there is none', () => {
    expect(port('a234567890123456: { kind: memory, network: lab }', 'a234567890123456').intent.device).toBe(
      'a234567890123456',
    );
  });

  test('two qemu ports on one socket, two TPIDs for one network', () => {
    const ports = [
      'a: { kind: qemu, path: /run/x, network: lab }',
      'b: { kind: qemu, path: /run/x, network: lab }',
      'c: { kind: tap, tunnel: { network: lab } }',
      'd: { kind: tap, tunnel: { network: lab, tpid: 0x8100 } }',
    ];
    expect(told(document(...ports))).toEqual([
      '11 ports.b.path: a uses the path /run/x already',
      '13 ports.d.tunnel.tpid: c tunnels in lab with TPID 0x88a8; a network has one',
    ]);
  });
});

describe('networks that contradict themselves or others', () => {
  test.each([
    ['  n: { type: vlan }', '3 networks.n: a vlan network needs id: its VID, 1 to 4094'],
    ['  n: { type: vlan, id: 0 }', '3 networks.n.id: 0 is not a VID; expected 1 to 4094'],
    ['  n: { type: vlan, id: 4095 }', '3 networks.n.id: 4095 is not a VID; expected 1 to 4094'],
    ['  n: { type: local, id: 5 }', '3 networks.n.id: a local network has no id; remove it'],
    ['  n: { type: flat, id: 5 }', '3 networks.n.id: a flat network has no id; remove it'],
    [
      '  n: { type: vlan, id: 5, remotes: [192.0.2.1] }',
      '3 networks.n.remotes: a vlan network has no remotes; remove it',
    ],
    [
      '  n: { type: local, uplink: up }\nports: { up: { kind: netdev, trunk: auto } }',
      '3 networks.n.uplink: a local network has no uplink; remove it',
    ],
    [
      '  n: { type: vlan, id: 5, uplink: up }\nports: { up: { kind: netdev, trunk: [] } }',
      '3 networks.n.uplink: up does not carry n; make it trunk: auto, or list n in its trunk',
    ],
    [
      '  a: { type: vlan, id: 5, uplink: up }\n  b: { type: vlan, id: 5 }\n  c: { type: vlan, id: 5, uplink: up }\nports: { up: { kind: netdev, trunk: auto } }',
      '5 networks.c.id: a has vlan id 5 on up already|5 networks.c.uplink: VID 5 is that of a on this trunk already',
    ],
    [
      '  a: { type: flat, uplink: up }\n  b: { type: flat, uplink: up }\nports: { up: { kind: netdev, trunk: auto } }',
      '4 networks.b.uplink: up carries a untagged already; only one flat network fits an uplink',
    ],
  ])('%s', (text, expected) => {
    expect(networksFrom(text)).toEqual(expected.split('|'));
  });

  test('an uplink may carry a network by listing it, as its native one, or as its only one', () => {
    const text = `version: 1
networks:
  a: { type: vlan, id: 1, uplink: u1 }
  b: { type: flat, uplink: u1 }
  c: { type: flat, uplink: u2 }
ports:
  u1: { kind: netdev, trunk: [a], native: b }
  u2: { kind: netdev, network: c }
`;
    expect(check(text).resolved.ports.get('u1')?.uplink).toBe(true);
  });

  test('one VID on two uplinks is two networks', () => {
    const text = `version: 1
networks:
  a: { type: vlan, id: 1, uplink: u1 }
  b: { type: vlan, id: 1, uplink: u2 }
ports:
  u1: { kind: netdev, trunk: auto }
  u2: { kind: netdev, trunk: auto }
`;
    expect(check(text).resolved.networks.size).toBe(2);
  });

  test('tunnel networks: underlay, ids, and one UDP type on a port', () => {
    const faults = networksFrom(`  a: { type: vxlan, id: 5, underlay: u0 }
  b: { type: vxlan, id: 5, underlay: u0 }
  c: { type: vxlan, underlay: u0 }
  d: { type: geneve, id: 16777216, underlay: u0 }
  e: { type: gre }
underlays:
  u0: { local: 192.0.2.1, port: 4789 }
ports:
  u0: { kind: tap, network: a }
`).filter((fault) => !fault.includes('this version'));
    expect(faults).toEqual([
      '4 networks.b.id: a has vxlan id 5 on u0 already',
      '5 networks.c: a vxlan network needs id: its VNI',
      '6 networks.d.id: 16777216 is not a VNI; expected 0 to 16777215',
      '6 networks.d.underlay: a (vxlan) uses the port of u0; a geneve network needs another underlay',
      '7 networks.e: a gre network needs underlay: an entry of underlays',
      '9 underlays.u0: a port is called u0 too; the two share one name space',
    ]);
  });
});

describe('resolve by itself', () => {
  test('finds names that name nothing', () => {
    const config = validate(documentOf({ version: 1, ports: { p: { kind: 'tap', network: 'red' } } }));
    expect(faultsOf(() => resolve(config))).toEqual([
      { code: 'not-found', path: 'ports.p.network', message: 'no network named red' },
    ]);
  });

  test('counts what does not fit the dataplane', () => {
    const names = Array.from({ length: 4097 }, (_, index) => `p${index}`);
    const ports = Object.fromEntries(names.map((name) => [name, { kind: 'memory', network: 'n' }]));
    const config = validate(documentOf({ version: 1, networks: { n: { type: 'local' } }, ports }));
    expect(faultsOf(() => resolve(config))).toEqual([
      { code: 'limit', path: 'ports', message: '4097 ports; at most 4096 fit' },
    ]);
  });
});
