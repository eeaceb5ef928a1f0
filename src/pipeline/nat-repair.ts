/**
 * Brings what NAT keeps beside connections in order after a writer died in the midst: every second entry has a connection and
 * every connection of a second entry has it, mappings are pairs that some connection uses, contacts are used, and the maps of
 * ports say what the mappings do. Main thread, the lock is held.
 */
import {
  IS_TRANSLATED_REPLY,
  KEY_PORTS,
  KEY_ZONE,
  KIND_BESIDE,
  KIND_CONTACT,
  KIND_MAPPED_INSIDE,
  M_OUTSIDE,
  M_REFERENCES,
  T_CONTACT,
  T_MAPPING,
  V_LINK,
  V_STATE,
} from './connection-entry.js';
import type { ConnectionTable } from './connection-table.js';

export function mendTranslations(connections: ConnectionTable): void {
  dropWidows(connections);
  const users = countUsers(connections);
  const { table, ports } = connections;
  ports.clear();
  for (let entry = 1; entry < table.entryLimit; entry++) {
    if (!table.isLive(entry) || (table.keyWord(entry, KEY_ZONE) & KIND_BESIDE) === 0) continue;
    const isOutside = (table.keyWord(entry, KEY_ZONE) & (KIND_CONTACT | KIND_MAPPED_INSIDE)) === 0;
    const used = users.get(isOutside ? table.valueWord(entry, V_LINK) : entry);
    if (used === undefined || !(isContact(connections, entry) || isPair(connections, entry))) table.remove(entry);
    else if (isOutside) ports.take(table.valueWord(entry, M_OUTSIDE), table.keyWord(entry, KEY_PORTS) >>> 16);
    else table.setValueWord(entry, M_REFERENCES, used);
  }
}

function isLiveEntry({ table }: ConnectionTable, entry: number): boolean {
  return entry > 0 && entry < table.entryLimit && table.isLive(entry);
}

/** Two entries that name each other. */
function isPair(connections: ConnectionTable, entry: number): boolean {
  const { table } = connections;
  const other = table.valueWord(entry, V_LINK);
  return isLiveEntry(connections, other) && table.valueWord(other, V_LINK) === entry;
}

function isContact(connections: ConnectionTable, entry: number): boolean {
  return isLiveEntry(connections, entry) && (connections.table.keyWord(entry, KEY_ZONE) & KIND_CONTACT) !== 0;
}

function isInsideMapping(connections: ConnectionTable, entry: number): boolean {
  if (!isLiveEntry(connections, entry)) return false;
  return (connections.table.keyWord(entry, KEY_ZONE) & KIND_MAPPED_INSIDE) !== 0 && isPair(connections, entry);
}

/** The second entries of translated connections. */
function* secondEntries({ table }: ConnectionTable): Generator<number> {
  for (let entry = 1; entry < table.entryLimit; entry++) {
    if (!table.isLive(entry) || (table.keyWord(entry, KEY_ZONE) & KIND_BESIDE) !== 0) continue;
    if ((table.valueWord(entry, V_STATE) & IS_TRANSLATED_REPLY) !== 0) yield entry;
  }
}

/** Entries of translated connections whose other one, or whose mapping or contact, is not there. */
function dropWidows(connections: ConnectionTable): void {
  const { table } = connections;
  for (let entry = 1; entry < table.entryLimit; entry++) {
    if (!table.isLive(entry) || (table.keyWord(entry, KEY_ZONE) & KIND_BESIDE) !== 0) continue;
    const isSecond = (table.valueWord(entry, V_STATE) & IS_TRANSLATED_REPLY) !== 0;
    if (!isSecond && table.valueWord(entry, V_LINK) === 0) continue;
    if (!isPair(connections, entry)) table.remove(entry);
  }
  for (const entry of secondEntries(connections)) {
    const mapping = table.valueWord(entry, T_MAPPING);
    const contact = table.valueWord(entry, T_CONTACT);
    const isMapped = mapping === 0 || isInsideMapping(connections, mapping);
    if (isMapped && (contact === 0 || isContact(connections, contact))) continue;
    table.remove(table.valueWord(entry, V_LINK));
    table.remove(entry);
  }
}

/** By inside mapping and by contact: the connections that use it. */
function countUsers(connections: ConnectionTable): Map<number, number> {
  const { table } = connections;
  const users = new Map<number, number>();
  for (const entry of secondEntries(connections))
    for (const used of [table.valueWord(entry, T_MAPPING), table.valueWord(entry, T_CONTACT)])
      if (used !== 0) users.set(used, (users.get(used) ?? 0) + 1);
  return users;
}
