/**
 * The two keys of a connection that a router translates: of its packets as they come, and of the replies as they will. No two
 * connections have one reply. One pair a thread, of the connection that is being made; the connections' lock is held. @hot
 */
import { PROTOCOL_GRE } from '../wire/ip-protocol.js';
import { CONNECTION_KEY_WORDS, KEY_ZONE, V_STATE } from './connection-entry.js';
import { keyOfTuple } from './connection-key.js';
import type { Machine } from './machine.js';
import { natPlan, ownEntryOf } from './nat-plan.js';

export const newKey = new Int32Array(CONNECTION_KEY_WORDS);
export const replyKey = new Int32Array(CONNECTION_KEY_WORDS);

/** The reply's key: from where the packet goes to, to what it comes from there. */
export function makeReplyKey(): number {
  const { from, to, newPorts } = natPlan;
  // GRE has one key for both directions in the place of ports.
  const isGre = ((newKey[KEY_ZONE] >>> 8) & 0xff) === PROTOCOL_GRE;
  return keyOfTuple(replyKey, to, from, isGre ? newPorts : (newPorts << 16) | (newPorts >>> 16), newKey[KEY_ZONE]);
}

/** Whether the reply's key is free; what is over gives way. */
export function isReplyFree({ connections, snapshot, nowSeconds }: Machine): boolean {
  const { table } = connections;
  let isSame = true;
  for (let word = 0; word < CONNECTION_KEY_WORDS; word++) if (replyKey[word] !== newKey[word]) isSame = false;
  // A hairpin that ends where it began: it would go round for ever.
  if (isSame) return false;
  const there = table.find(table.hashKey(replyKey, 0), replyKey, 0);
  if (there === -1) return true;
  const own = ownEntryOf(there, table.found);
  if (!connections.isOver(own, table.valueWord(own, V_STATE), snapshot.connectionTimeouts, nowSeconds)) return false;
  connections.drop(own);
  return true;
}
