/** What the tests of NAT send: a packet from inside, its answer as it comes to the outside endpoint. */
import { ACK, ADDRESSES, type Flow, type Heard, type NatSwitch, OUTSIDE, SYN } from './nat-switch.js';

export const SERVER = '198.51.100.200';
export const OTHER = '198.51.100.201';
export const PROTOCOLS = ['tcp', 'udp', 'icmp'] as const;

/** From machine a to the server, unless said otherwise. Of ICMP the identifier is in both ports. */
export function out(proto: Flow['proto'], more: Partial<Flow> = {}): Flow {
  const sport = more.sport ?? 4000;
  return { proto, src: ADDRESSES.a, dst: SERVER, sport, dport: proto === 'icmp' ? sport : 80, ...more };
}

/** The same by UDP, from this port. */
export function outFrom(sport: number, more: Partial<Flow> = {}): Flow {
  return out('udp', { sport, ...more });
}

export function udp(src: string, dst: string, sport: number, dport: number): Flow {
  return { proto: 'udp', src, dst, sport, dport };
}

/** The answer to what was heard outside; TCP: SYN and ACK. */
export function answerTo({ src, dst, sport, dport }: Heard, flow: Flow, more: Partial<Flow> = {}): Flow {
  const ends = { src: dst, dst: src, sport: dport, dport: sport };
  return { ...flow, ...ends, type: 0, flags: SYN | ACK, ack: 1 + (flow.size ?? 12) + 1, seq: 900, ttl: 64, ...more };
}

/** From outside to a port of the router. */
export function inward(proto: Flow['proto'], dport: number, more: Partial<Flow> = {}): Flow {
  return { proto, src: SERVER, dst: OUTSIDE, sport: proto === 'icmp' ? dport : 9, dport, ...more };
}

/** The outside endpoint that a packet from inside gets. */
export function mappingOf(tested: NatSwitch, flow: Flow, name: 'a' | 'b' | 'c' = 'a'): string {
  const [heard] = tested.say(name, flow);
  return heard === undefined ? 'none' : `${heard.src}:${heard.sport}`;
}

/** Opens a TCP connection from inside: SYN, SYN and ACK, ACK. Returns what was heard outside of the SYN. */
export function open(tested: NatSwitch, flow: Flow = out('tcp', { size: 0 })): Heard {
  const [heard] = tested.say('a', flow);
  if (heard === undefined) throw new Error('the SYN did not leave');
  tested.say('o', answerTo(heard, flow, { ack: 2 }));
  tested.say('a', { ...flow, flags: ACK, seq: 2, ack: 901 });
  return heard;
}
