import { describe, expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { unsupported } from '../../src/control/unsupported.js';
import { CONFIG_FAULTS_MAX } from '../../src/limits.js';
import { check, checkValue, faultsOf, told } from './configs.js';

/** A document of networks red (vlan 10), blue (vlan 20), lab (local) and the ports given, one a line from line 6. */
const withPorts = (...ports: string[]) =>
  `version: 1
networks:
  red: { type: vlan, id: 10 }
  blue: { type: vlan, id: 20 }
  lab: { type: local }
${ports.length === 0 ? 'ports: {}' : `ports:\n${ports.map((port) => `  ${port}`).join('\n')}`}
`;

const withNetworks = (...networks: string[]) =>
  `version: 1\nports: { up: { kind: netdev, trunk: auto }, vm1: { kind: tap, network: n1 } }\nnetworks:\n${networks
    .map((network) => `  ${network}`)
    .join('\n')}\n`;

describe('a document that is fine', () => {
  test('with all of layer 2 in it is accepted', () => {
    const { config, resolved } = check(`
version: 1
networks:
  red:  { type: vlan, id: 10, uplink: eth0 }
  blue: { type: vlan, id: 20, uplink: eth0, mtu: 1450, macAge: 60s, macLimit: 100, learning: false }
  ext:  { type: flat, uplink: eth0 }
  lab:  { type: local }
ports:
  vm1:  { kind: tap, device: tap-vm1, network: red, mac: 52-54-00-00-00-0A, addresses: [192.0.2.5/24, "2001:DB8::5/64"], macLimit: 16 }
  fw:   { kind: tap, trunk: [red, { network: lab, vlan: 100 }], native: blue }
  fw2:  { kind: tap, trunk: [blue], native: red, nativeTagged: true, queues: 2, offload: off, isolated: true }
  qq:   { kind: tap, tunnel: { network: lab, allowed: [0, 100, 200] }, controlFrames: { stp: forward }, storm: { broadcast: 10pps } }
  eth0: { kind: netdev, trunk: auto }
  vm2:  { kind: qemu, path: /run/weft/vm2.sock, network: ext, enabled: false }
`);
    expect(config.ports.vm1.mac).toBe('52:54:00:00:00:0a');
    expect(config.ports.vm1.addresses).toEqual(['192.0.2.5/24', '2001:db8::5/64']);
    expect(config.networks.red.macAge).toBe('300s');
    expect([...resolved.ports.keys()]).toEqual(['vm1', 'fw', 'fw2', 'qq', 'eth0', 'vm2']);
  });

  test('may be nothing but its version', () => {
    expect(check('version: 1').resolved.ports.size).toBe(0);
  });

  test('is accepted again with all its defaults written out', () => {
    const { config } = check(withPorts('vm1: { kind: tap, network: red }'));
    expect(checkValue(JSON.parse(JSON.stringify(config))).config).toEqual(config);
  });

  test('may have objects with names that JavaScript knows', () => {
    const { resolved } = checkValue({
      version: 1,
      networks: { constructor: { type: 'local' } },
      ports: { constructor: { kind: 'tap', network: 'constructor' } },
    });
    expect(resolved.ports.get('constructor')?.members).toEqual([{ network: 'constructor', untagged: true }]);
  });

  test('may have definitions that nothing uses yet', () => {
    const text =
      'version: 1\nacls: { a1: { default: deny } }\ngroups: { web: { rules: [{ direction: egress }] } }\nunderlays: { u0: { local: 192.0.2.1 } }\n';
    expect(check(text).config.acls.a1).toEqual({ default: 'deny', rules: [] });
  });
});

describe('what does not fit the schema', () => {
  test.each([
    [
      'vm1: { kind: tap, netwrok: red }',
      [
        '6 ports.vm1.netwrok: unknown key (did you mean network?)',
        '6 ports.vm1: says no network; give exactly one of network, trunk (perhaps auto) or tunnel',
      ],
    ],
    ['vm1: { network: red }', ['6 ports.vm1.kind: is missing; expected one of tap, netdev, qemu, pcap, memory']],
    [
      'vm1: { kind: tpa, network: red }',
      ['6 ports.vm1.kind: expected one of tap, netdev, qemu, pcap, memory, not "tpa" (did you mean tap?)'],
    ],
    [
      'vm1: { kind: tap, network: 10 }',
      ['6 ports.vm1.network: expected the name of a network; write "10" in quotes if it is one'],
    ],
    [
      'vm1: { kind: tap, network: red, mac: 01:00:5e:00:00:01 }',
      ["6 ports.vm1.mac: 01:00:5e:00:00:01 is a group address, not a station's"],
    ],
    ['vm1: { kind: tap, network: red, mac: "00:00:00:00:00:00" }', ['6 ports.vm1.mac: is all zeros']],
    [
      'vm1: { kind: tap, network: red, mac: 5254 }',
      ['6 ports.vm1.mac: expected a MAC address like 52:54:00:00:00:01; write "5254" in quotes if it is one'],
    ],
    [
      'vm1: { kind: tap, network: red, addresses: [192.0.2.5] }',
      ['6 ports.vm1.addresses[1]: "192.0.2.5" is not an address with its prefix length, like 10.0.0.5/24'],
    ],
    ['vm1: { kind: tap, network: red, mtu: 20 }', ['6 ports.vm1.mtu: expected an MTU in octets from 68 to 65521']],
    ['vm1: { kind: tap, network: red, mtu: 70000 }', ['6 ports.vm1.mtu: expected an MTU in octets from 68 to 65521']],
    ['vm1: { kind: tap, network: red, queues: 0 }', ['6 ports.vm1.queues: expected a whole number from 1 to 16']],
    ['vm1: { kind: tap, network: red, queues: 1.5 }', ['6 ports.vm1.queues: expected a whole number from 1 to 16']],
    ['vm1: { kind: tap, network: red, isolated: yes }', ['6 ports.vm1.isolated: expected true or false']],
    [
      'vm1: { kind: tap, network: red, macLimit: 0 }',
      ['6 ports.vm1.macLimit: expected a whole number from 1 to 1048576'],
    ],
    [
      'vm1: { kind: tap, network: red, storm: { broadcast: 5 } }',
      ['6 ports.vm1.storm.broadcast: expected a packet rate like 2000pps, or none'],
    ],
    [
      'vm1: { kind: tap, network: red, storm: { broadcast: 5mbit } }',
      ['6 ports.vm1.storm.broadcast: "5mbit" has an unknown unit; a packet rate ends in pps, kpps, mpps'],
    ],
    [
      'vm1: { kind: tap, network: red, controlFrames: { lldp: allow } }',
      ['6 ports.vm1.controlFrames.lldp: expected one of drop, forward, not "allow"'],
    ],
    [
      'vm1: { kind: tap, network: red, device: "tap%d" }',
      ['6 ports.vm1.device: "tap%d" is not the name of an interface'],
    ],
    [
      'vm1: { kind: tap, trunk: [{ network: red, vlan: 4095 }] }',
      ['6 ports.vm1.trunk[1].vlan: expected a VLAN id from 1 to 4094'],
    ],
    [
      'vm1: { kind: tap, trunk: [red, { network: blue }] }',
      ['6 ports.vm1.trunk[2].vlan: is missing; expected a VLAN id from 1 to 4094'],
    ],
    ['vm1: { kind: tap, trunk: all }', ['6 ports.vm1.trunk: expected auto or a list of networks']],
    [
      'vm1: { kind: tap, tunnel: { network: red, allowed: [5000] } }',
      ['6 ports.vm1.tunnel.allowed[1]: expected a VLAN id from 0 to 4094'],
    ],
    [
      'vm1: { kind: tap, tunnel: { network: red, tpid: 0x9100 } }',
      ['6 ports.vm1.tunnel.tpid: expected 0x88a8 or 0x8100'],
    ],
    ['vm1:', ['6 ports.vm1: has no value; expected a mapping (key: value), or remove it']],
    ['vm1: tap', ['6 ports.vm1: expected a mapping (key: value)']],
    [
      'VM1: { kind: tap, network: red }',
      [
        '6 ports.VM1: "VM1" is not a name: a-z, 0-9, "_", "." and "-", at most 63 of them, beginning with a letter or a digit (no capitals)',
      ],
    ],
  ])('%s', (port, expected) => {
    // Line 6 of the text is "ports:", the port is on line 7.
    expect(told(withPorts(port))).toEqual(expected.map((line) => line.replace(/^6/, '7')));
  });

  test.each([
    ['n1: { type: local, macAge: 300 }', '4 networks.n1.macAge: 300 has no unit; write the duration like 300s'],
    ['n1: { type: local, macAge: 500ms }', '4 networks.n1.macAge: is too small; the least is 1s'],
    ['n1: { type: local, macAge: 500d }', '4 networks.n1.macAge: "500d" is too large a duration'],
    [
      'n1: { type: vlna, id: 5 }',
      '4 networks.n1.type: expected one of local, flat, vlan, vxlan, gre, geneve, not "vlna" (did you mean vlan?)',
    ],
    ['n1: { type: local, macLimit: many }', '4 networks.n1.macLimit: expected a whole number from 1 to 1048576'],
  ])('%s', (network, expected) => {
    expect(told(withNetworks(network))).toEqual([expected]);
  });

  test.each([
    ['ports: {}', '1 version: expected version: 1'],
    ['version: 2', '1 version: expected version: 1'],
    ['version: 1\nportz: {}', '2 portz: unknown key (did you mean ports?)'],
    ['version: 1\nports:', '2 ports: has no value; expected a mapping (name: value), or remove it'],
    ['version: 1\nports: []', '2 ports: expected a mapping (name: value)'],
    ['version: 1\nsettings: { workers: 99 }', '2 settings.workers: expected a whole number from 1 to 16'],
    ['version: 1\nsettings: { workers: many }', '2 settings.workers: expected auto or a number from 1 to 16'],
    [
      'version: 1\nacls: { a1: { default: deny, rules: [{ action: deny }, { action: permit, dstPort: 25-22 }] } }',
      '2 acls.a1.rules[2].dstPort: expected a number from 0 to 65535, a range like 22-25, or a list of those',
    ],
    ['- a list', '1 -: expected a mapping (key: value)'],
  ])('%j', (text, expected) => {
    expect(told(text)).toEqual([expected]);
  });
});

describe('names that name nothing', () => {
  test.each([
    ['vm1: { kind: tap, network: rde }', ['7 ports.vm1.network: no network named rde (did you mean red?)']],
    [
      'vm1: { kind: tap, trunk: [red, { network: bleu, vlan: 5 }], native: lba }',
      [
        '7 ports.vm1.trunk[2].network: no network named bleu (did you mean blue?)',
        '7 ports.vm1.native: no network named lba (did you mean lab?)',
      ],
    ],
    ['vm1: { kind: tap, tunnel: { network: zebra } }', ['7 ports.vm1.tunnel.network: no network named zebra']],
    ['vm1: { kind: tap, network: toString }', ['7 ports.vm1.network: no network named toString']],
  ])('%s', (port, expected) => {
    expect(told(withPorts(port))).toEqual(expected);
  });

  test('an ACL, a group, an uplink, an underlay: all are told with their lines and the nearest name', () => {
    const text = `version: 1
acls:
  a1: { default: permit }
groups:
  web: { rules: [{ direction: ingress, remoteGroup: wbe }] }
networks:
  red: { type: vlan, id: 10, uplink: eht0 }
  far: { type: vxlan, id: 5, underlay: u1 }
underlays:
  u0: { local: 192.0.2.1 }
ports:
  eth0: { kind: netdev, trunk: auto }
  vm1:
    kind: tap
    network: red
    acl:
      ingress: a3
    groups: [web, db]
subnets:
  s: { network: rde, cidr: 192.0.2.0/24 }
routers:
  r: { interfaces: { bleu: 192.0.2.1/24 }, external: { network: ext, addresses: [203.0.113.1/24] } }
`;
    const dangling = told(text).filter((line) => line.includes(': no '));
    expect(dangling).toEqual([
      '5 groups.web.rules[1].remoteGroup: no group named wbe (did you mean web?)',
      '7 networks.red.uplink: no port named eht0 (did you mean eth0?)',
      '8 networks.far.underlay: no underlay named u1 (did you mean u0?)',
      '17 ports.vm1.acl.ingress: no ACL named a3 (did you mean a1?)',
      '18 ports.vm1.groups[2]: no group named db',
      '20 subnets.s.network: no network named rde (did you mean red?)',
      '22 routers.r.interfaces.bleu: no network named bleu',
      '22 routers.r.external.network: no network named ext',
    ]);
  });

  test('have the code not-found', () => {
    const [fault] = faultsOf(() => check(withPorts('vm1: { kind: tap, network: rde }')));
    expect(fault.code).toBe('not-found');
  });
});

describe('several faults at once', () => {
  test('of every sort are told together, in the order of lines', () => {
    const text = `version: 1
networks:
  red: { type: vlan, macAge: 300 }
  lab: { type: local }
ports:
  a: { kind: tap }
  b: { kind: tap, network: red, trunk: [red] }
  c: { kind: tpa, network: lab }
  d: { kind: tap, network: lba, antiSpoof: true }
  e: { kind: tap, trunk: [lab] }
foo: 1
`;
    expect(told(text)).toEqual([
      '3 networks.red.macAge: 300 has no unit; write the duration like 300s',
      '3 networks.red: a vlan network needs id: its VID, 1 to 4094',
      '6 ports.a: says no network; give exactly one of network, trunk (perhaps auto) or tunnel',
      '7 ports.b: has network and trunk; exactly one of network, trunk and tunnel is allowed',
      '8 ports.c.kind: expected one of tap, netdev, qemu, pcap, memory, not "tpa" (did you mean tap?)',
      '9 ports.d.network: no network named lba (did you mean lab?)',
      '9 ports.d.antiSpoof: needs mac: which address is the machine’s own must be said',
      '10 ports.e.trunk[1]: lab is a local network and has no VID of its own; write { network: lab, vlan: VID }',
      '11 foo: unknown key',
    ]);
  });

  test('a faulty object is no reason to complain about those that name it', () => {
    const text = `version: 1
networks:
  red: { type: nonsense, uplink: eth0 }
  blue: { type: vlan, id: 20, uplink: eth0 }
ports:
  eth0: { kind: nonsense, trunk: auto }
  vm1: { kind: tap, network: red }
  fw: { kind: tap, trunk: [red, blue] }
`;
    expect(told(text).map((line) => line.split(':')[0])).toEqual(['3 networks.red.type', '6 ports.eth0.kind']);
  });

  test('without end are counted, not all told', () => {
    const ports = Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`p${index}`, { kind: 'tap' }]));
    const faults = faultsOf(() => checkDocument(documentOf({ version: 1, ports })));
    expect(faults).toHaveLength(CONFIG_FAULTS_MAX + 1);
    expect(faults.at(-1)?.message).toBe('and 2000 more errors');
  });
});

describe('what this version does not do yet', () => {
  const uses: Record<string, string> = {
    'ports.p.rate': 'rate: { in: 10mbit }',
  };

  test.each(Object.entries(uses))('%s is refused as such', (path, use) => {
    const text = path.startsWith('ports')
      ? `version: 1\nnetworks: { n: { type: local } }\nacls: { a: { default: deny } }\nports: { p: { kind: tap, network: n, ${use} } }\n`
      : `version: 1\n${use}\n`;
    const faults = faultsOf(() => check(text));
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatchObject({ path, code: 'unsupported' });
    expect(faults[0].message).toMatch(/^this version does not .* yet; remove it$/);
    expect(faults[0].line).toBeGreaterThan(1);
  });

  test('every row of the table has its test', () => {
    const patterns = Object.keys(uses).map((path) =>
      path.replace(/^(networks|underlays|ports|subnets|routers)\.[a-z]/, '$1.*'),
    );
    expect(patterns.sort()).toEqual(unsupported.map(({ at }) => at).sort());
  });

  test('asking for nothing is no use', () => {
    const port = 'kind: tap, network: red, antiSpoof: false, acl: {}, rate: {}, dhcp: {}';
    expect(check(withPorts(`vm1: { ${port} }`)).resolved.ports.has('vm1')).toBe(true);
  });
});
