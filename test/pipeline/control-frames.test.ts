/** Link-control protocols: each is let in by its own word of `controlFrames` and by no other. */
import { describe, expect, test } from 'vitest';
import type { ControlPolicy } from '../sim/switch-document.js';
import { frame, TestSwitch, vm } from './test-switch.js';

const PROTOCOLS = ['stp', 'lacp', 'lldp', 'cfm', 'pause', 'other'] as const;
type Protocol = (typeof PROTOCOLS)[number];

const LLC = 38;
const frames: [string, string, number, Protocol][] = [
  ['a spanning-tree BPDU', '0180c2000000', LLC, 'stp'],
  ['a BPDU of Cisco', '01000ccccccd', LLC, 'stp'],
  ['PAUSE', '0180c2000001', 0x8808, 'pause'],
  ['LACP', '0180c2000002', 0x8809, 'lacp'],
  ['LLDP to the nearest bridge', '0180c200000e', 0x88cc, 'lldp'],
  ['LLDP to the nearest non-TPMR bridge', '0180c2000003', 0x88cc, 'lldp'],
  ['LLDP to the nearest customer bridge', '0180c2000000', 0x88cc, 'lldp'],
  ['a continuity check', '0180c2000030', 0x8902, 'cfm'],
  ['a link trace of the highest level', '0180c200003f', 0x8902, 'cfm'],
  ['802.1X', '0180c2000003', 0x888e, 'other'],
  ['a provider bridge group', '0180c2000008', LLC, 'other'],
  ['the last reserved group', '0180c200000f', 0x88b5, 'other'],
  ['CDP, VTP and UDLD of Cisco', '01000ccccccc', LLC, 'other'],
];

function switchWith(controlFrames: ControlPolicy): TestSwitch {
  const networks = { red: { type: 'local' } } as const;
  return new TestSwitch({ networks, ports: { a: vm({ network: 'red', controlFrames }), b: vm({ network: 'red' }) } });
}

describe.each(frames)('%s', (_, to, type, protocol) => {
  test.each(PROTOCOLS)('with only %s forwarded', (forwarded) => {
    const tested = switchWith({ [forwarded]: 'forward' });
    const sent = tested.run({ port: 'a', octets: frame({ to, type }) });
    expect(sent.map(({ port }) => port)).toEqual(forwarded === protocol ? ['b'] : []);
    const reason = protocol === 'other' ? 'reserved_group' : 'control_frame';
    expect(tested.drops()).toEqual(forwarded === protocol ? {} : { [`a ${reason}`]: 1 });
  });
});

test.each([
  ['an ordinary group next to the reserved ones', '0180c2000010'],
  ['the group after those of CFM', '0180c2000040'],
  ['another group of Cisco', '01000cccccce'],
  ['IPv4 multicast', '01005e000001'],
])('%s is not a control frame', (_, to) => {
  const tested = switchWith({});
  expect(tested.run({ port: 'a', octets: frame({ to }) }).map(({ port }) => port)).toEqual(['b']);
});

test('a group of CFM carries other protocols freely', () => {
  const tested = switchWith({});
  expect(tested.run({ port: 'a', octets: frame({ to: '0180c2000030', type: 0x88b5 }) })).toHaveLength(1);
});

test('a control frame that is dropped teaches nothing', () => {
  const tested = switchWith({});
  tested.run({ port: 'a', octets: frame({ to: '0180c2000000', type: LLC }) });
  expect(tested.fdb.counts().entries).toBe(0);
});
