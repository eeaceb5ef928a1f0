/** Underlays and the networks that tunnels carry: what becomes of them, and what is wrong with them. */
import { describe, expect, test } from 'vitest';
import { check, told } from './configs.js';

const text = (networks: string, underlays = 'u0: { local: 192.0.2.1 }') =>
  `version: 1\nnetworks: { ${networks} }\nunderlays: { ${underlays} }\n`;
const resolved = (networks: string, underlays?: string) => check(text(networks, underlays)).resolved;
const messages = (networks: string, underlays?: string) =>
  told(text(networks, underlays)).map((line) => line.replace(/^\S+ /, ''));

describe('an underlay port', () => {
  test('is made for each type of tunnel in use on an underlay, with a member for each network', () => {
    const { ports } = resolved(
      'a: { type: vxlan, id: 1, underlay: u0, remotes: [192.0.2.2, 192.0.2.3] }, b: { type: vxlan, id: 2, underlay: u0, remotes: [192.0.2.3] }, g: { type: gre, underlay: u0 }, l: { type: local }',
    );
    expect([...ports.keys()]).toEqual(['u0/vxlan', 'u0/gre']);
    const vxlan = ports.get('u0/vxlan');
    expect(vxlan?.intent).toEqual({
      name: 'u0/vxlan',
      kind: 'underlay',
      device: 'udp 192.0.2.1 4789',
      queues: 1,
      offload: 'auto',
      underlay: {
        type: 'vxlan',
        local: '192.0.2.1',
        port: 4789,
        sourcePorts: 64,
        ttl: 64,
        driver: 'socket',
        checksum: false,
        remotes: ['192.0.2.2', '192.0.2.3'],
      },
    });
    expect(vxlan).toMatchObject({ mode: 'underlay', macLimit: 0, isolated: false, enabled: true });
    expect(vxlan?.members).toEqual([
      { network: 'a', untagged: false },
      { network: 'b', untagged: false },
    ]);
    expect(vxlan?.storm).toEqual({ broadcast: 0, multicast: 0, unknownUnicast: 0 });
    expect(ports.get('u0/gre')?.intent.underlay?.port).toBe(0);
    expect(ports.get('u0/gre')?.members).toEqual([{ network: 'g', untagged: true }]);
  });

  test('has the driver that the underlay names, for GRE over IPv4', () => {
    const driven = (local: string) => `u0: { local: "${local}", driver: raw-socket }`;
    const { ports } = resolved(
      'g: { type: gre, underlay: u0 }, v: { type: vxlan, id: 1, underlay: u0 }',
      driven('192.0.2.1'),
    );
    expect([...ports].map(([name, { intent }]) => [name, intent.underlay?.driver])).toEqual([
      ['u0/vxlan', 'socket'],
      ['u0/gre', 'raw-socket'],
    ]);
    expect(messages('g: { type: gre, underlay: u0 }', driven('2001:db8::1'))).toEqual([
      'underlays.u0.driver: raw-socket carries GRE over IPv4 only',
    ]);
  });

  test('is not made for an underlay that no network uses', () => {
    expect(resolved('l: { type: local }').ports.size).toBe(0);
  });

  test.each([
    ['geneve, id: 1', {}, 6081],
    ['vxlan, id: 1', { port: 8472 }, 8472],
    ['geneve, id: 1', { port: 7000 }, 7000],
    ['gre', { port: 7000 }, 0],
  ])('of %s with %j hears on port %i', (type, more, port) => {
    const { ports } = resolved(
      `n: { type: ${type}, underlay: u }`,
      `u: ${JSON.stringify({ local: '192.0.2.1', ...more })}`,
    );
    expect([...ports.values()][0]?.intent.underlay?.port).toBe(port);
  });

  test('has the outer headers as the underlay says, addresses in one spelling', () => {
    const { ports, networks } = resolved(
      'n: { type: vxlan, id: 1, underlay: u, remotes: ["2001:DB8:0::2"] }',
      'u: { local: "2001:db8:0:0::1", dscp: inherit, ttl: 9, checksum: true, allowFrom: ["2001:db8::/32"] }',
    );
    const port = ports.get('u/vxlan');
    expect(port?.intent.underlay).toMatchObject({ local: '2001:db8::1', ttl: 9, checksum: true });
    expect(port?.underlay).toEqual({ name: 'u', dscp: 'inherit', joinsDatagrams: true, allowFrom: ['2001:db8::/32'] });
    expect(networks.get('n')?.tunnel?.remotes).toEqual(['2001:db8::2']);
  });

  test.each([
    ['192.0.2.1', undefined, false],
    ['192.0.2.1', true, true],
    ['2001:db8::1', undefined, true],
    ['2001:db8::1', false, false],
  ])('at %s whose checksum is %j sends checksums: %j', (local, checksum, sends) => {
    const { ports } = resolved('n: { type: vxlan, id: 1, underlay: u }', `u: ${JSON.stringify({ local, checksum })}`);
    expect(ports.get('u/vxlan')?.intent.underlay?.checksum).toBe(sends);
  });
});

describe('options of tunnels', () => {
  test('of geneve are put into wire form', () => {
    const { networks } = resolved(
      'n: { type: geneve, id: 1, underlay: u0, options: { geneve: [{ class: 0x0102, type: 3, critical: true, data: "deadBEEF" }, { class: 258, type: 127 }] } }',
    );
    expect(Buffer.from(networks.get('n')?.tunnel?.options ?? []).toString('hex')).toBe('01028301deadbeef01027f00');
  });

  test('of gre are flags', () => {
    const { networks } = resolved('n: { type: gre, underlay: u0, options: { checksum: true, innerVlan: true } }');
    expect(networks.get('n')?.tunnel).toMatchObject({ checksum: true, sequence: false, innerVlan: true });
  });

  test('of NVGRE make the id a VSID, which has neither checksum, sequence nor inner tag', () => {
    const nvgre = (id: number, more = '') =>
      `n: { type: gre, id: ${id}, underlay: u0, options: { nvgre: true${more} } }`;
    expect(resolved(nvgre(0xff_ffff)).networks.get('n')?.tunnel).toMatchObject({ nvgre: true });
    expect(messages(nvgre(0x100_0000))).toEqual(['networks.n.id: 16777216 is not a VSID; expected 0 to 16777215']);
    expect(messages(nvgre(1, ', checksum: true, sequence: true, innerVlan: true'))).toHaveLength(3);
    expect(messages(`${nvgre(5)}, k: { type: gre, id: ${5 * 256 + 9}, underlay: u0 }`)).toEqual([
      'networks.k.id: key 1289 is one of the VSID of n',
    ]);
    expect(resolved(`${nvgre(5)}, k: { type: gre, id: 5, underlay: u0 }`).networks.size).toBe(2);
    expect(messages('n: { type: vxlan, id: 1, underlay: u0, options: { nvgre: true } }')).toEqual([
      'networks.n.options.nvgre: is for gre networks; a vxlan header has none',
    ]);
    expect(messages('n: { type: local, mssClamp: true }')).toEqual([
      'networks.n.mssClamp: a local network has no mssClamp; remove it',
    ]);
  });

  test.each([
    ['{ checksum: true }', 'networks.n.options.checksum: is for gre networks; a vxlan header has none'],
    ['{ sequence: true }', 'networks.n.options.sequence: is for gre networks; a vxlan header has none'],
    [
      '{ geneve: [{ class: 1, type: 1 }] }',
      'networks.n.options.geneve: is for geneve networks; a vxlan header has no options',
    ],
  ])('that the type has no place for are refused: %s', (options, message) => {
    expect(messages(`n: { type: vxlan, id: 1, underlay: u0, options: ${options} }`)).toEqual([message]);
  });

  test.each(['abc', 'zz000000', '0102', '00'.repeat(128)])('of geneve with data %s are refused', (data) => {
    const options = `{ geneve: [{ class: 1, type: 1, data: "${data}" }] }`;
    const [fault, ...others] = messages(`n: { type: geneve, id: 1, underlay: u0, options: ${options} }`);
    expect(fault).toContain('is not hexadecimal digits of whole four-octet words, at most 124 octets');
    expect(others).toEqual([]);
  });

  test('that do not fit a header are refused', () => {
    const option = `{ class: 1, type: 1, data: "${'00'.repeat(124)}" }`;
    expect(messages(`n: { type: geneve, id: 1, underlay: u0, options: { geneve: [${option}, ${option}] } }`)).toEqual([
      'networks.n.options.geneve: take 256 octets; at most 224 fit',
    ]);
  });

  test('by another name are refused', () => {
    expect(messages('n: { type: gre, underlay: u0, options: { chekcsum: true } }')).toHaveLength(1);
  });
});

describe('a remote', () => {
  test.each([
    ['192.0.2.1', "192.0.2.1 is this host's own end of the tunnels"],
    ['"2001:db8::1"', "2001:db8::1 can't be reached from 192.0.2.1: another IP version"],
    ['224.0.0.1', '224.0.0.1 is a group address; tunnels need each remote by itself'],
    ['255.255.255.255', '255.255.255.255 is a group address; tunnels need each remote by itself'],
    ['0.0.0.0', '0.0.0.0 is no address of a host'],
    ['"::ffff:192.0.2.9"', '::ffff:192.0.2.9 is an IPv4 address; write it as one'],
  ])('can not be %s', (remote, message) => {
    expect(messages(`n: { type: vxlan, id: 1, underlay: u0, remotes: [${remote}] }`)).toEqual([
      `networks.n.remotes[1]: ${message}`,
    ]);
  });

  test('is listed once', () => {
    expect(messages('n: { type: vxlan, id: 1, underlay: u0, remotes: [192.0.2.2, 192.0.2.2] }')).toEqual([
      'networks.n.remotes[2]: 192.0.2.2 is listed already',
    ]);
  });

  test('has room in the table', () => {
    const remotes = Array.from({ length: 17_000 }, (_, index) => `10.1.${index >> 8}.${index & 255}`).join(', ');
    expect(messages(`n: { type: vxlan, id: 1, underlay: u0, remotes: [${remotes}] }`)).toEqual([
      'networks: 34000 tunnels to remotes; at most 32768 fit',
    ]);
  });
});

describe('an underlay', () => {
  test.each([
    ['local: 239.0.0.1', 'underlays.u0.local: 239.0.0.1 is a group address; tunnels need each remote by itself'],
    ['local: 0.0.0.0', 'underlays.u0.local: 0.0.0.0 is no address of a host'],
    [
      'local: 192.0.2.1, allowFrom: ["2001:db8::/32"]',
      'underlays.u0.allowFrom[1]: nobody in 2001:db8::/32 can reach 192.0.2.1: another IP version',
    ],
  ])('can not have %s', (keys, message) => {
    expect(messages('n: { type: local }', `u0: { ${keys} }`)).toEqual([message]);
  });

  test('does not make more sockets with others than a worker can know', () => {
    const networks = Array.from({ length: 3 }, (_, index) => `n${index}: { type: vxlan, id: 1, underlay: u${index} }`);
    const of = (checksum: boolean) =>
      networks
        .map((_, index) => `u${index}: { local: 192.0.2.${index + 1}, sourcePorts: 1024, checksum: ${checksum} }`)
        .join(', ');
    expect(messages(networks.join(', '), of(false))).toEqual([
      'underlays.u2.sourcePorts: with the other underlays make 6144 sockets; at most 4096 in all',
    ]);
    expect(resolved(networks.join(', '), of(true)).ports.size).toBe(3);
  });

  test('does not share its socket with another one', () => {
    const networks = 'a: { type: vxlan, id: 1, underlay: u0 }, b: { type: vxlan, id: 1, underlay: u1 }';
    expect(messages(networks, 'u0: { local: 192.0.2.1 }, u1: { local: 192.0.2.1 }')).toEqual([
      'underlays.u1.local: u0 uses udp 192.0.2.1 4789 already; two underlays need two addresses or ports',
    ]);
    const { ports } = resolved(networks, 'u0: { local: 192.0.2.1 }, u1: { local: 192.0.2.1, port: 4790 }');
    expect([...ports.keys()]).toEqual(['u0/vxlan', 'u1/vxlan']);
  });
});
