import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compile, type UpPort } from '../../src/control/compile.js';
import { Indices } from '../../src/control/indices.js';
import type { ResolvedConfig } from '../../src/control/resolved.js';
import { NO_OFFLOAD } from '../../src/dataplane/port.js';
import {
  CONTROL_LLDP,
  NETWORK_LEARNS,
  PORT_ACCESS,
  PORT_CLOSED,
  PORT_FACES_VM,
  PORT_INNER_VIDS,
  PORT_ISOLATED,
  PORT_TAKES_CHECKSUM,
  PORT_TAKES_TCP4,
  PORT_TRUNK,
  PORT_TUNNEL,
  type Snapshot,
} from '../../src/pipeline/snapshot.js';
import { check, checkValue, validDocument } from './configs.js';

const plain: UpPort = { mtu: 1500, features: NO_OFFLOAD };
const allUp = () => plain;

function compiled(config: ResolvedConfig, upPort: (name: string) => UpPort | undefined = allUp) {
  const indices = new Indices().allocate(config);
  return { indices, snapshot: compile(config, indices, upPort, 7) };
}

/** Of all its parts. */
function arraysOf(part: object): ArrayBufferView[] {
  return Object.values(part).flatMap((value: unknown) => {
    if (ArrayBuffer.isView(value)) return [value];
    return typeof value === 'object' && value !== null ? arraysOf(value) : [];
  });
}

/** Ports a flood in the network goes to, by index. */
function flooded(snapshot: Snapshot, network: number): number[] {
  const start = snapshot.networkStart[network];
  const members = snapshot.networkMembers.subarray(start, start + snapshot.networkCount[network]);
  return [...members].map((member) => snapshot.memberPort[member]);
}

const SWITCH = `version: 1
networks:
  red: { type: vlan, id: 10, uplink: up, mtu: 1400 }
  blue: { type: vlan, id: 20, uplink: up, learning: false, macAge: 60s, macLimit: 77 }
  lab: { type: local }
ports:
  vm1: { kind: tap, network: red, isolated: true, macLimit: 16, storm: { multicast: 5pps }, controlFrames: { lldp: forward } }
  fw:  { kind: tap, trunk: [red, { network: blue, vlan: 7 }], native: lab }
  fw2: { kind: tap, trunk: [], native: blue, nativeTagged: true }
  qq:  { kind: tap, tunnel: { network: blue, allowed: [0, 31, 32, 4094] } }
  up:  { kind: netdev, trunk: auto }
`;

describe('a snapshot', () => {
  const { resolved } = check(SWITCH);
  const { indices, snapshot } = compiled(resolved);
  const port = (name: string) => indices.port(name) ?? Number.NaN;
  const network = (name: string) => indices.network(name) ?? Number.NaN;
  const member = (name: string, of: string) => indices.member(name, of) ?? Number.NaN;
  const byVid = (name: string, vid: number) => snapshot.vidMembers[snapshot.portVidTable[port(name)] * 4096 + vid];

  test('lies in shared memory, each array as long as the highest index needs', () => {
    const arrays = arraysOf(snapshot);
    expect(arrays.length).toBeGreaterThan(40);
    for (const array of arrays) expect(array.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(snapshot.epoch).toBe(7);
    expect(snapshot.portMode).toHaveLength(5);
    expect(snapshot.portStormRate).toHaveLength(15);
    expect(snapshot.memberPort).toHaveLength(8);
    expect(snapshot.networkFlags).toHaveLength(3);
    expect(snapshot.vidMembers).toHaveLength(3 * 4096);
    expect(snapshot.innerVids).toHaveLength(128);
  });

  test('has the mode and the policy of an access port', () => {
    const index = port('vm1');
    expect(snapshot.portMode[index]).toBe(PORT_ACCESS);
    expect(snapshot.portFlags[index]).toBe(PORT_ISOLATED | PORT_FACES_VM);
    expect(snapshot.portUntaggedMember[index]).toBe(member('vm1', 'red'));
    expect(snapshot.portVidTable[index]).toBe(-1);
    expect(snapshot.portInnerVids[index]).toBe(-1);
    expect(snapshot.portMacLimit[index]).toBe(16);
    expect([...snapshot.portStormRate.subarray(index * 3, index * 3 + 3)]).toEqual([2000, 5, 2000]);
    expect(snapshot.portControlFrames[index]).toBe(CONTROL_LLDP);
  });

  test('has the members of a trunk by VID, with the tags they leave with', () => {
    expect(snapshot.portMode[port('fw')]).toBe(PORT_TRUNK);
    expect(byVid('fw', 10)).toBe(member('fw', 'red'));
    expect(byVid('fw', 7)).toBe(member('fw', 'blue'));
    expect(byVid('fw', 20)).toBe(-1);
    expect(snapshot.portUntaggedMember[port('fw')]).toBe(member('fw', 'lab'));
    expect(snapshot.memberTag[member('fw', 'red')]).toBe((0x8100 << 16) | 10);
    expect(snapshot.memberTag[member('fw', 'blue')]).toBe((0x8100 << 16) | 7);
    expect(snapshot.memberTag[member('fw', 'lab')]).toBe(0);
  });

  test('takes a native network tagged and untagged', () => {
    const native = member('fw2', 'blue');
    expect(snapshot.portUntaggedMember[port('fw2')]).toBe(native);
    expect(byVid('fw2', 20)).toBe(native);
    expect(snapshot.memberTag[native]).toBe((0x8100 << 16) | 20);
  });

  test('has the inner VIDs of a tunnel port, and its TPID where the uplink sends its network', () => {
    expect(snapshot.portMode[port('qq')]).toBe(PORT_TUNNEL);
    expect(snapshot.portFlags[port('qq')] & PORT_INNER_VIDS).toBe(PORT_INNER_VIDS);
    const allowed = [...Array(4096).keys()].filter((vid) => (snapshot.innerVids[vid >> 5] >>> (vid & 31)) & 1);
    expect(allowed).toEqual([0, 31, 32, 4094]);
    expect(snapshot.memberTag[member('up', 'blue')]).toBe((0x88a8 << 16) | 20);
    expect(snapshot.memberTag[member('up', 'red')]).toBe((0x8100 << 16) | 10);
    expect(snapshot.memberTag[member('qq', 'blue')]).toBe(0);
  });

  test('has what networks are told', () => {
    expect(snapshot.networkFlags[network('red')]).toBe(NETWORK_LEARNS);
    expect(snapshot.networkFlags[network('blue')]).toBe(0);
    expect(snapshot.networkMacAge[network('blue')]).toBe(60);
    expect(snapshot.networkMacLimit[network('blue')]).toBe(77);
    expect(flooded(snapshot, network('red')).sort()).toEqual([port('vm1'), port('fw'), port('up')].sort());
  });

  test('caps the MTU by network, not by port', () => {
    expect(snapshot.memberMtu[member('fw', 'red')]).toBe(1400);
    expect(snapshot.memberMtu[member('fw', 'blue')]).toBe(1500);
    expect(snapshot.portMtu[port('fw')]).toBe(1500);
    expect(snapshot.portMtu[port('vm1')]).toBe(1400);
  });
});

describe('a port that is not up', () => {
  const { resolved } = check(SWITCH.replace('fw:  { kind: tap', 'fw:  { kind: tap, enabled: false'));
  const { indices, snapshot } = compiled(resolved, (name) => (name === 'vm1' ? undefined : plain));

  test.each(['vm1', 'fw'])('is closed, stays a member, and is no target of a flood: %s', (name) => {
    const index = indices.port(name) ?? Number.NaN;
    const red = indices.network('red') ?? Number.NaN;
    expect(snapshot.portMode[index]).toBe(PORT_CLOSED);
    expect(snapshot.memberPort[indices.member(name, 'red') ?? Number.NaN]).toBe(index);
    expect(flooded(snapshot, red)).not.toContain(index);
    expect(flooded(snapshot, red)).toContain(indices.port('up'));
  });
});

describe('compiling', () => {
  test('passes on what a device takes', () => {
    const up = { mtu: 9000, features: { checksum: true, tcp4: true, tcp6: false, udp: false } };
    const { snapshot } = compiled(
      check('version: 1\nnetworks: { n: { type: local } }\nports: { a: { kind: tap, network: n } }').resolved,
      () => up,
    );
    expect(snapshot.portFlags[0]).toBe(PORT_FACES_VM | PORT_TAKES_CHECKSUM | PORT_TAKES_TCP4);
    expect(snapshot.portMtu[0]).toBe(9000);
  });

  test('leaves holes where indices are not in use', () => {
    const text = (names: string[]) =>
      `version: 1\nnetworks: { n: { type: local } }\nports: { ${names.map((name) => `${name}: { kind: tap, network: n }`).join(', ')} }`;
    const first = new Indices().allocate(check(text(['a', 'b', 'c'])).resolved);
    const rest = check(text(['c'])).resolved;
    const snapshot = compile(rest, first.release(rest), allUp, 1);
    expect([...snapshot.portMode]).toEqual([PORT_CLOSED, PORT_CLOSED, PORT_ACCESS]);
    expect([...snapshot.memberPort]).toEqual([-1, -1, 2]);
    expect(flooded(snapshot, 0)).toEqual([2]);
  });

  test('without indices is a defect', () => {
    expect(() => compile(check(SWITCH).resolved, new Indices(), allUp, 1)).toThrow('no index was allocated for red');
  });

  test('an empty configuration is an empty snapshot', () => {
    expect(compiled(check('version: 1').resolved).snapshot.portMode).toHaveLength(0);
  });

  test('of any valid configuration agrees with it in every table', () => {
    fc.assert(
      fc.property(validDocument(), fc.func(fc.boolean()), (document, isUp) => {
        const { resolved } = checkValue(document);
        const upPort = (name: string) => (isUp(name) ? plain : undefined);
        const { indices, snapshot } = compiled(resolved, upPort);
        for (const [name, port] of resolved.ports) {
          expectPort(snapshot, resolved, indices, name, port.enabled && isUp(name));
        }
        expectFloods(snapshot);
      }),
      { numRuns: 200 },
    );
  });
});

/** The port's tables hold its members and nothing else. */
function expectPort(snapshot: Snapshot, config: ResolvedConfig, indices: Indices, name: string, isOpen: boolean): void {
  const index = indices.port(name) ?? Number.NaN;
  const port = config.ports.get(name);
  expect(snapshot.portMode[index] !== PORT_CLOSED).toBe(isOpen);
  const own = new Set<number>();
  for (const { network, vid, untagged, tag } of port?.members ?? []) {
    const member = indices.member(name, network) ?? Number.NaN;
    own.add(member);
    expect(snapshot.memberPort[member]).toBe(index);
    expect(snapshot.memberNetwork[member]).toBe(indices.network(network));
    expect(snapshot.memberTag[member]).toBe(tag === undefined ? 0 : (tag.tpid << 16) | tag.vid);
    expect(snapshot.portUntaggedMember[index] === member).toBe(untagged);
    if (vid !== undefined) expect(snapshot.vidMembers[snapshot.portVidTable[index] * 4096 + vid]).toBe(member);
  }
  const table = snapshot.portVidTable[index];
  expect(table >= 0).toBe(port?.mode === 'trunk');
  if (table < 0) return;
  const carried = [...snapshot.vidMembers.subarray(table * 4096, table * 4096 + 4096)].filter((member) => member >= 0);
  expect(carried.every((member) => own.has(member))).toBe(true);
  expect(carried).toHaveLength(port?.members.filter(({ vid }) => vid !== undefined).length ?? 0);
}

/** Every member of an open port is flooded to once, in its own network, and nothing else is. */
function expectFloods(snapshot: Snapshot): void {
  const listed: number[] = [];
  for (let network = 0; network < snapshot.networkStart.length; network++) {
    const start = snapshot.networkStart[network];
    for (const member of snapshot.networkMembers.subarray(start, start + snapshot.networkCount[network])) {
      expect(snapshot.memberNetwork[member]).toBe(network);
      listed.push(member);
    }
  }
  const open = [...snapshot.memberPort.keys()].filter((member) => {
    const port = snapshot.memberPort[member];
    return port >= 0 && snapshot.portMode[port] !== PORT_CLOSED;
  });
  expect(listed.sort((a, b) => a - b)).toEqual(open);
}
