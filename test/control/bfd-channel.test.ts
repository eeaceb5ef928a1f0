import { afterEach, expect, test, vi } from 'vitest';
import { channelInside } from '../../src/control/bfd-channel.js';
import { DatagramSender } from '../../src/dataplane/datagram-sender.js';
import { check } from './configs.js';

afterEach(() => vi.restoreAllMocks());

test.each([true, false])(
  'BFD inside GRE takes the numbers of its tunnel, where the network has such (%s)',
  (sequence) => {
    const { resolved } = check(`
version: 1
networks: { n: { type: gre, id: 7, underlay: u0, remotes: [192.0.2.2], options: { sequence: ${sequence} } } }
underlays: { u0: { local: 192.0.2.1, bfd: { inside: true } } }
`);
    const sent: number[][] = [];
    vi.spyOn(DatagramSender.prototype, 'send').mockImplementation((octets) => void sent.push([...octets]));
    const numbers = [0x0102_0304, -1];
    const take = () => numbers.shift() ?? 0;
    const channel = channelInside(resolved.ports.get('u0/gre')!, resolved.networks.get('n')!, '192.0.2.2', take);
    channel.send(new Uint8Array(24));
    channel.send(new Uint8Array(24));
    const flags = sequence ? 0x30 : 0x20;
    const head = [flags, 0, 0x65, 0x58, 0, 0, 0, 7];
    expect(sent.map((octets) => octets.slice(0, 8))).toEqual([head, head]);
    if (sequence)
      expect(sent.map((octets) => octets.slice(8, 12))).toEqual([
        [1, 2, 3, 4],
        [255, 255, 255, 255],
      ]);
    else expect(numbers).toHaveLength(2);
  },
);
