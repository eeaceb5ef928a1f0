/** Source translation: what leaves, what comes back, and what does not get in. */
import { beforeEach, describe, expect, test } from 'vitest';
import { ACK, ADDRESSES, type Flow, NatSwitch, OUTSIDE, SYN } from './nat-switch.js';

const SERVER = '198.51.100.200';
let tested: NatSwitch;

beforeEach(() => {
  tested = new NatSwitch();
});

const out = (proto: Flow['proto'], more: Partial<Flow> = {}): Flow => ({
  proto,
  src: ADDRESSES.a,
  dst: SERVER,
  sport: 4000,
  dport: proto === 'icmp' ? 4000 : 80,
  ...more,
});

describe.each(['tcp', 'udp', 'icmp'] as const)('%s from inside', (proto) => {
  test('leaves from the outside address, and its answer gets back', () => {
    const [sent, ...others] = tested.say('a', out(proto));
    expect(others).toEqual([]);
    expect(sent).toMatchObject({ port: 'o', src: OUTSIDE, dst: SERVER, sport: 4000 });
    const answer = { ...out(proto), src: SERVER, dst: OUTSIDE, sport: sent!.dport, dport: sent!.sport };
    const back = tested.say('o', { ...answer, type: 0, flags: SYN | ACK, ack: 14 });
    expect(back).toMatchObject([{ port: 'a', src: SERVER, dst: ADDRESSES.a, dport: 4000 }]);
  });

  test('of two machines with one port has two ports outside', () => {
    const [one] = tested.say('a', out(proto));
    const [other] = tested.say('b', out(proto, { src: ADDRESSES.b }));
    expect(other!.src).toBe(OUTSIDE);
    expect(other!.sport).not.toBe(one!.sport);
    expect(other!.sport & 1).toBe(0);
    expect(other!.sport).toBeGreaterThanOrEqual(1024);
  });

  test('has the same outside endpoint whoever it goes to', () => {
    tested.say('b', out(proto, { src: ADDRESSES.b }));
    const [one] = tested.say('a', out(proto));
    const [other] = tested.say('a', out(proto, { dst: '198.51.100.201', dport: proto === 'icmp' ? 4000 : 81 }));
    expect(one!.sport).not.toBe(4000);
    expect([other!.src, other!.sport]).toEqual([one!.src, one!.sport]);
  });
});
