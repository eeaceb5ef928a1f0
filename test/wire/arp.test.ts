import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ARP_REPLY_FRAME_SIZE, isArp, writeArpReply } from '../../src/wire/arp.js';
import { macHighAt, macLowAt } from '../../src/wire/ethernet.js';
import { arpFrame, mac } from './neighbor-frames.js';

const MARGIN = 64;
const request = arpFrame({ from: '52:54:00:00:00:01', sender: '192.0.2.1', target: '192.0.2.2' });

/** The answer written into memory full of 0xa5, and whether nothing else was touched. */
function reply(asked: Uint8Array, answerer: Uint8Array): Uint8Array {
  const octets = new Uint8Array(512).fill(0xa5);
  octets.set(asked, 0);
  const to = 256;
  writeArpReply(octets, 14, to, macHighAt(answerer, 0), macLowAt(answerer, 0));
  const end = to + ARP_REPLY_FRAME_SIZE;
  const beside = [...octets.subarray(to - MARGIN, to), ...octets.subarray(end, end + MARGIN)];
  expect(beside.every((octet) => octet === 0xa5)).toBe(true);
  return octets.slice(to, end);
}

test('a reply is, octet by octet, what the owner of the address would send', () => {
  const expected = arpFrame({
    from: '52:54:00:00:00:02',
    to: '52:54:00:00:00:01',
    operation: 2,
    sender: '192.0.2.2',
    targetMac: '52:54:00:00:00:01',
    target: '192.0.2.1',
  });
  expect(Buffer.compare(reply(request, mac('52:54:00:00:00:02')), expected)).toBe(0);
});

test('whatever was asked, the reply turns the pairs round', () => {
  const octets = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
  fc.assert(
    fc.property(octets(6), octets(4), octets(6), octets(4), octets(6), (asker, sender, unknown, target, answerer) => {
      const asked = Uint8Array.of(
        ...request.slice(0, 6),
        ...asker,
        ...request.slice(12, 22),
        ...asker,
        ...sender,
        ...unknown,
        ...target,
      );
      const found = reply(asked, answerer);
      expect(found).toHaveLength(42);
      expect([...found.slice(0, 12)]).toEqual([...asker, ...answerer]);
      expect([...found.slice(12, 22)]).toEqual([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
      expect([...found.slice(22)]).toEqual([...answerer, ...target, ...asker, ...sender]);
    }),
  );
});

test('a message is one only when it lies whole before the end', () => {
  for (let end = 14; end < request.length; end++) expect(isArp(request, 14, end)).toBe(false);
  expect(isArp(request, 14, request.length)).toBe(true);
});

test('what is not IPv4 over Ethernet is no such message', () => {
  for (const at of [14, 15, 16, 17, 18, 19]) {
    const other = request.slice();
    other[at] ^= 1;
    expect(isArp(other, 14, other.length)).toBe(false);
  }
});
