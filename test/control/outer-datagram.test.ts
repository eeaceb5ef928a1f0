/** What the sockets of an underlay would get of a frame. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { outerDatagram } from '../../src/control/outer-datagram.js';
import type { ResolvedPort } from '../../src/control/resolved.js';
import { UserError } from '../../src/errors.js';
import { ipWordsText, parseIp } from '../../src/wire/address.js';
import { buildEthernet, buildIp, buildUdp, type Tag } from '../../src/wire/frame-build.js';
import { check } from './configs.js';

function portsOf(local: string): ResolvedPort[] {
  const { resolved } = check(`version: 1
networks: { a: { type: vxlan, id: 1, underlay: u }, b: { type: gre, underlay: u }, c: { type: geneve, id: 1, underlay: u } }
underlays: { u: { local: "${local}" } }
`);
  return [...resolved.ports.values()];
}

const MACS = { source: [2, 0, 0, 0, 0, 2], destination: [2, 0, 0, 0, 0, 1] };

function frame(from: string, to: string, protocol: number, payload: Uint8Array, tags: readonly Tag[] = []): Uint8Array {
  const packet = buildIp({ protocol, ttl: 64, source: parseIp(from)!, destination: parseIp(to)! }, payload);
  return buildEthernet({ ...MACS, tags }, from.includes(':') ? 0x86dd : 0x0800, packet);
}

function datagram(port: number): Uint8Array {
  const udp = buildUdp(50_000, port, 12);
  udp.set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 8);
  return udp;
}

const CARRIED = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

describe.each([
  ['192.0.2.1', '192.0.2.9'],
  ['2001:db8::1', '2001:db8::9'],
])('at %s', (local, remote) => {
  const ports = portsOf(local);
  const open = (octets: Uint8Array) => outerDatagram('u', ports, octets);

  test.each([
    ['udp to 4789', 17, datagram(4789), 'u/vxlan'],
    ['udp to 6081', 17, datagram(6081), 'u/geneve'],
    ['gre', 47, Uint8Array.from(CARRIED), 'u/gre'],
  ])('%s is for its socket, without the outer headers and what pads the frame', (_what, protocol, payload, name) => {
    const padded = new Uint8Array([...frame(remote, local, protocol, payload), 0, 0, 0, 0]);
    const { port, input } = open(padded);
    expect(port.intent.name).toBe(name);
    expect([...input.octets]).toEqual(CARRIED);
    expect(ipWordsText(input.outer!.source)).toBe(remote);
  });

  test('the traffic class is that of the packet, behind tags too', () => {
    const octets = frame(remote, local, 17, datagram(4789), [{ vid: 5, priority: 0, tpid: 0x8100 }]);
    if (local.includes(':')) octets.set([0x6b, 0xa0], 18);
    else octets[19] = 0xba;
    expect(open(octets).input.outer?.trafficClass).toBe(0xba);
  });

  test('what is for another address, port or protocol is refused', () => {
    expect(() => open(frame(local, remote, 17, datagram(4789)))).toThrow(`${remote} is not the address of u`);
    expect(() => open(frame(remote, local, 17, datagram(4790)))).toThrow('none of the sockets of u');
    expect(() => open(frame(remote, local, 6, datagram(4789)))).toThrow('none of the sockets of u');
  });

  test('a frame that is cut off anywhere is refused, or a shorter one is taken, and nothing else is thrown', () => {
    const whole = frame(remote, local, 17, datagram(4789));
    for (let length = 0; length < whole.length; length++) expect(() => open(whole.slice(0, length))).toThrow(UserError);
  });

  test('any octets are taken or refused', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(70), fc.nat(255)), { maxLength: 6 }), (changes) => {
        const octets = frame(remote, local, 17, datagram(4789));
        for (const [at, value] of changes) octets[at % octets.length] = value;
        try {
          expect(open(octets).input.octets.length).toBeLessThanOrEqual(octets.length);
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
        }
      }),
    );
  });
});

test('a fragment is refused: the kernel would put it together first', () => {
  const octets = frame('192.0.2.9', '192.0.2.1', 17, datagram(4789));
  octets[20] = 0x20;
  expect(() => outerDatagram('u', portsOf('192.0.2.1'), octets)).toThrow('hears whole IPv4 and IPv6 packets only');
});
