/** What the last translation of a thread did, in words: for `weft trace`. */
import { ipWordsText } from '../wire/address.js';
import { PROTOCOL_ICMP } from '../wire/ip-protocol.js';
import { swap32 } from '../wire/octets.js';
import { hasPorts } from '../wire/packet.js';
import type { Machine } from './machine.js';
import { natPlan, PLAN_ERROR, PLAN_KNOWN, PLAN_NEW, recallTuple } from './nat-plan.js';

/** Begins with `; `, or is empty where nothing was translated. `protocol`: the packet's. */
export function translationText(machine: Machine, protocol: number): string {
  if (natPlan.kind === PLAN_KNOWN) recallTuple(machine);
  const { kind, source, destination, ports, from, to, newPorts, entry } = natPlan;
  if (kind !== PLAN_KNOWN && kind !== PLAN_NEW && kind !== PLAN_ERROR) return '';
  const shown = hasPorts(protocol) || protocol === PROTOCOL_ICMP ? -1 : 0;
  const before = `${endText(source, (ports & shown) >>> 16)} > ${endText(destination, ports & shown & 0xffff)}`;
  const after = `${endText(from, (newPorts & shown) >>> 16)} > ${endText(to, newPorts & shown & 0xffff)}`;
  if (kind === PLAN_ERROR)
    return `; an error about a translated packet, from ${addressText(from)} to ${addressText(to)}`;
  if (before === after) return '';
  return `; ${before} becomes ${after}${kind === PLAN_KNOWN ? ` (connection ${entry})` : ' (a new connection)'}`;
}

function addressText(words: Int32Array): string {
  return ipWordsText(words.map(swap32));
}

function endText(words: Int32Array, port: number): string {
  const address = addressText(words);
  if (port === 0) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
