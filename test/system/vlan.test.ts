/**
 * VLANs as they are on the wire: tagged frames made by hand go into every mode of port, real TAPs and a veth as the
 * uplink, and what leaves every other port is compared octet by octet. Each frame is traced first: what the switch says
 * it would do must be what it does.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { Daemon } from './harness/daemon.js';
import { ProbeField } from './harness/probe.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const calm = { storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' } };
const tap = (mode: JsonObject): JsonObject => ({ kind: 'tap', ...calm, ...mode });
const vlan = (id: number): JsonObject => ({ type: 'vlan', id, uplink: 'up' });

const ports = {
  access: tap({ network: 'red' }),
  blue: tap({ network: 'blue' }),
  flat: tap({ network: 'flat' }),
  native: tap({ trunk: ['red', 'blue'], native: 'green' }),
  ntagged: tap({ trunk: ['blue'], native: 'red', nativeTagged: true }),
  picky: tap({ tunnel: { network: 'service', allowed: [0, 100] } }),
  swap: tap({
    trunk: [
      { network: 'red', vlan: 110 },
      { network: 'blue', vlan: 10 },
    ],
  }),
  trunk: tap({ trunk: ['red', 'blue'] }),
  tunnel: tap({ tunnel: { network: 'service' } }),
  tunnelq: tap({ tunnel: { network: 'plainq', tpid: 0x8100 } }),
  up: { kind: 'netdev', device: 'up0', trunk: 'auto' },
} satisfies JsonObject;

const config: JsonObject = {
  version: 1,
  networks: {
    red: vlan(10),
    blue: vlan(20),
    green: vlan(30),
    service: vlan(40),
    plainq: vlan(50),
    flat: { type: 'flat', uplink: 'up' },
  },
  ports,
};

let testbed: Testbed;
let daemon: Daemon;
let field: ProbeField;

beforeAll(async () => {
  testbed = new Testbed();
  testbed.veth('up0', 'm', 'wire');
  daemon = await Daemon.start(testbed, config);
  const places: Record<string, readonly [string, string]> = { up: ['m', 'wire'] };
  for (const port of Object.keys(ports).filter((name) => name !== 'up')) {
    testbed.ip('s', 'link', 'set', port, 'netns', testbed.namespace('m'), 'up');
    places[port] = ['m', port];
  }
  await until('all ports carry frames', async () => {
    const rows = await Promise.all(Object.keys(ports).map((port) => daemon.port(port)));
    return rows.every(({ state, reason }) => state === 'up' && reason === undefined);
  });
  field = await ProbeField.open(testbed, daemon, places);
}, 60_000);

afterAll(() => testbed?.dispose());

/** Where a frame of network red that came in by none of them leaves, with this priority. */
const red = (priority = '', payload = '') =>
  [
    `access ${payload}`,
    `native 8100:10${priority} ${payload}`,
    `ntagged 8100:10${priority} ${payload}`,
    `swap 8100:110${priority} ${payload}`,
    `trunk 8100:10${priority} ${payload}`,
    `up 8100:10${priority} ${payload}`,
  ].map((output) => output.trim());
const blue = (priority = '') => [
  'blue',
  `native 8100:20${priority}`,
  `ntagged 8100:20${priority}`,
  `swap 8100:10${priority}`,
  `trunk 8100:20${priority}`,
  `up 8100:20${priority}`,
];
const but = (port: string, outputs: readonly string[]) => outputs.filter((output) => output.split(' ')[0] !== port);

type Case = readonly [port: string, tags: string, expected: readonly string[] | string];

/** A string in place of the outputs is the reason the frame dies of. */
const cases: Readonly<Record<string, readonly Case[]>> = {
  'an access port takes untagged and VID-0 frames, keeps their priority, and no tagged one, not even its own': [
    ['access', '', but('access', red())],
    ['access', '8100:0', but('access', red())],
    ['access', '8100:0p5', but('access', red('p5'))],
    ['access', '8100:0p3d', but('access', red('p3d'))],
    ['access', '8100:10', 'vlan_not_allowed'],
    ['access', '8100:20p1', 'vlan_not_allowed'],
    ['access', '88a8:10', 'vlan_not_allowed'],
    ['flat', '8100:10', 'vlan_not_allowed'],
  ],
  'a trunk takes its VIDs, keeps their priority, and nothing else': [
    ['trunk', '8100:10', but('trunk', red())],
    ['trunk', '8100:10p7d', but('trunk', red('p7d'))],
    ['trunk', '8100:20p2', but('trunk', blue('p2'))],
    ['trunk', '88a8:10', but('trunk', red())],
    ['trunk', '', 'vlan_not_allowed'],
    ['trunk', '8100:0p5', 'vlan_not_allowed'],
    ['trunk', '8100:30', 'vlan_not_allowed'],
    ['trunk', '8100:99', 'vlan_not_allowed'],
    ['trunk', '8100:4095', 'bad_vlan_tag'],
  ],
  'a native network arrives untagged, by VID 0 or by its VID, and leaves untagged': [
    ['native', '', ['up 8100:30']],
    ['native', '8100:0p5', ['up 8100:30p5']],
    ['native', '8100:30p5', ['up 8100:30p5']],
    ['native', '8100:10p1', but('native', red('p1'))],
    ['up', '8100:30p6', ['native']],
  ],
  'a native network that stays tagged leaves with its VID': [
    ['ntagged', '', but('ntagged', red())],
    ['ntagged', '8100:10p4', but('ntagged', red('p4'))],
    ['ntagged', '8100:20', but('ntagged', blue())],
    ['ntagged', '8100:30', 'vlan_not_allowed'],
  ],
  'VIDs are translated on the trunk that says so, both ways': [
    ['swap', '8100:110p6', but('swap', red('p6'))],
    ['swap', '8100:10d', but('swap', blue('d'))],
    ['swap', '8100:20', 'vlan_not_allowed'],
    ['swap', '88a8:110', but('swap', red())],
  ],
  'the uplink carries every network that names it: tagged, the flat one untagged': [
    ['up', '', ['flat']],
    ['flat', '', ['up']],
    ['up', '8100:10p2', but('up', red('p2'))],
    ['up', '8100:20', but('up', blue())],
    ['up', '8100:99', 'vlan_not_allowed'],
  ],
  'what follows the tag is payload, also when it looks like a tag': [
    ['trunk', '8100:10 8100:77p3', but('trunk', red('', '8100:77p3'))],
    ['up', '8100:10p5 88a8:20', but('up', red('p5', '88a8:20'))],
  ],
  'a tunnel port carries whole frames, and outside they ride behind the outer tag': [
    ['tunnel', '', ['picky', 'up 88a8:40']],
    ['tunnel', '8100:100p5', ['picky 8100:100p5', 'up 88a8:40p5 8100:100p5']],
    ['tunnel', '8100:200', ['up 88a8:40 8100:200']],
    ['tunnel', '8100:100 8100:5', ['picky 8100:100 8100:5', 'up 88a8:40 8100:100 8100:5']],
    ['tunnelq', '8100:7p1', ['up 8100:50p1 8100:7p1']],
    ['up', '88a8:40', ['picky', 'tunnel']],
    ['up', '88a8:40p3 8100:100', ['picky 8100:100', 'tunnel 8100:100']],
    ['up', '8100:40 8100:100', ['picky 8100:100', 'tunnel 8100:100']],
    ['up', '88a8:40 8100:300', ['tunnel 8100:300']],
    ['up', '8100:50 8100:300', ['tunnelq 8100:300']],
  ],
  'a tunnel port with a list lets only those inner VIDs in, 0 standing for untagged': [
    ['picky', '8100:100', ['tunnel 8100:100', 'up 88a8:40 8100:100']],
    ['picky', '', ['tunnel', 'up 88a8:40']],
    ['picky', '8100:200', 'vlan_not_allowed'],
    ['picky', '8100:40', 'vlan_not_allowed'],
  ],
};

describe.each(Object.entries(cases))('%s', (_, rows) => {
  test.each(rows)('into %s with tags "%s"', async (port, tags, expected) => {
    const { outputs, reason } = await field.expectAsTraced({ port, tags });
    if (typeof expected === 'string') expect({ outputs, reason }).toEqual({ outputs: [], reason: expected });
    else expect({ outputs, reason }).toEqual({ outputs: [...expected].sort(), reason: undefined });
  });
});

describe('learning is per network', () => {
  const station = '02:00:00:00:02:01';

  test('the same address lives in two networks behind two ports, and each is sent only what is for its own', async () => {
    await daemon.call('fdb.flush');
    await field.send([
      { port: 'access', tags: '', source: station },
      { port: 'trunk', tags: '8100:20', source: station },
    ]);
    const known = (await daemon.fdb()).filter(({ mac }) => mac === station);
    expect(known.map(({ network, port }) => `${network} ${port}`).sort()).toEqual(['blue trunk', 'red access']);
    const outputs = await field.send([
      { port: 'up', tags: '8100:10p3', destination: station },
      { port: 'up', tags: '8100:20p3', destination: station },
      { port: 'native', tags: '8100:10', destination: station },
      { port: 'swap', tags: '8100:10', destination: station },
      { port: 'native', tags: '', destination: station },
    ]);
    expect(outputs).toEqual([['access'], ['trunk 8100:20p3'], ['access'], ['trunk 8100:20'], ['up 8100:30']]);
  });

  test('a destination behind the port the frame came from is a drop, not a flood', async () => {
    await field.send([{ port: 'access', tags: '', source: station }]);
    expect(await field.expectAsTraced({ port: 'access', tags: '', destination: station })).toEqual({
      outputs: [],
      reason: 'hairpin',
    });
  });

  test('a frame that is dropped for its tag teaches nothing', async () => {
    const stranger = '02:00:00:00:02:99';
    await field.expectAsTraced({ port: 'access', tags: '8100:10', source: stranger });
    expect((await daemon.fdb()).filter(({ mac }) => mac === stranger)).toEqual([]);
  });
});

test('every frame of all these tests is accounted for', async () => {
  const { ports: rows } = await daemon.stats();
  expect(rows.reduce((sum, { rx }) => sum + rx.frames, 0)).toBeGreaterThan(50);
  await daemon.expectConservation();
});
