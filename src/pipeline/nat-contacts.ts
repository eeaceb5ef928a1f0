/**
 * Address-dependent filtering (RFC 4787 section 5): whom somebody behind an outside endpoint has sent to, by address alone, so
 * that any port of that address may answer. Only routers with `filtering: address-dependent` have contacts; others look
 * nothing up. The connections' lock is held where a contact is made. @hot
 *
 * A contact is an entry of the connection table (KIND_CONTACT) that all connections between the outside endpoint and the
 * address share, and that goes with the last of them: those that began inside, and those that its being there let in. So
 * there are never more of them than connections, and each counts against the share of the port that caused it.
 *
 * What an attacker can do: outside, nothing before somebody inside has sent to his address, then what any answer could do.
 */
import {
  CONNECTION_KEY_WORDS,
  CONNECTION_VALUE_WORDS,
  GROUP_ATTACHED,
  GROUPS_PER_PORT,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  KIND_CONTACT,
  KIND_IPV6,
} from './connection-entry.js';
import type { ConnectionTable } from './connection-table.js';
import { ADDRESS_WORDS } from './routing-tables.js';

const key = new Int32Array(CONNECTION_KEY_WORDS);
const value = new Int32Array(CONNECTION_VALUE_WORDS);

/** Addresses are four words in network order, IPv4 mapped. */
function setKey(zone: number, protocol: number, outside: Int32Array, port: number, remote: Int32Array): void {
  for (let word = 0; word < ADDRESS_WORDS; word++) {
    key[KEY_LOWER + word] = outside[word];
    key[KEY_HIGHER + word] = remote[word];
  }
  key[KEY_PORTS] = port << 16;
  const family = (outside[0] | outside[1]) === 0 && outside[2] === 0xffff ? 0 : KIND_IPV6;
  key[KEY_ZONE] = (zone << 16) | (protocol << 8) | KIND_CONTACT | family;
}

/** Whether somebody behind the outside endpoint has sent to `remote`. Overwrites `table.found`. Takes no lock. */
export function isContact(
  { table }: ConnectionTable,
  zone: number,
  protocol: number,
  outside: Int32Array,
  port: number,
  remote: Int32Array,
): boolean {
  setKey(zone, protocol, outside, port, remote);
  return table.find(table.hashKey(key, 0), key, 0) !== -1;
}

/** The contact, made if it is not there, with no reference counted yet; -1: the table is full. `charged`: port it counts against. */
export function contactOf(
  { table }: ConnectionTable,
  zone: number,
  protocol: number,
  outside: Int32Array,
  port: number,
  remote: Int32Array,
  charged: number,
  nowSeconds: number,
): number {
  setKey(zone, protocol, outside, port, remote);
  const hash = table.hashKey(key, 0);
  const there = table.find(hash, key, 0);
  if (there !== -1) return there;
  value.fill(0);
  return table.insert(hash, key, value, charged * GROUPS_PER_PORT + GROUP_ATTACHED, nowSeconds);
}
