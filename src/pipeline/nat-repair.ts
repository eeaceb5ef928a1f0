/**
 * Brings what NAT keeps beside connections in order after a writer died in the midst: every second entry has a connection and
 * every connection of a second entry has it, mappings are pairs that some connection uses, and the maps of ports say what the
 * mappings do. Main thread, the lock is held.
 */
import {
  IS_TRANSLATED_REPLY,
  KEY_PORTS,
  KEY_ZONE,
  KIND_MAPPED,
  KIND_MAPPED_INSIDE,
  M_OUTSIDE,
  M_REFERENCES,
  T_MAPPING,
  V_LINK,
  V_STATE,
} from './connection-entry.js';
import type { ConnectionTable } from './connection-table.js';

export function mendTranslations(connections: ConnectionTable): void {
  dropWidows(connections);
  const references = countReferences(connections);
  const { table, ports } = connections;
  ports.clear();
  for (let entry = 1; entry < table.entryLimit; entry++) {
    if (!table.isLive(entry) || (table.keyWord(entry, KEY_ZONE) & KIND_MAPPED) === 0) continue;
    const isInside = (table.keyWord(entry, KEY_ZONE) & KIND_MAPPED_INSIDE) !== 0;
    const inside = isInside ? entry : table.valueWord(entry, V_LINK);
    if (!isPair(connections, entry) || !references.has(inside)) {
      table.remove(entry);
      continue;
    }
    if (isInside) table.setValueWord(entry, M_REFERENCES, references.get(entry) ?? 0);
    else ports.take(table.valueWord(entry, M_OUTSIDE), table.keyWord(entry, KEY_PORTS) >>> 16);
  }
}

/** Two entries that name each other. */
function isPair({ table }: ConnectionTable, entry: number): boolean {
  const other = table.valueWord(entry, V_LINK);
  return other > 0 && other < table.entryLimit && table.isLive(other) && table.valueWord(other, V_LINK) === entry;
}

/** Entries of translated connections whose other one, or whose mapping, is not there. */
function dropWidows(connections: ConnectionTable): void {
  const { table } = connections;
  for (let entry = 1; entry < table.entryLimit; entry++) {
    if (!table.isLive(entry) || (table.keyWord(entry, KEY_ZONE) & KIND_MAPPED) !== 0) continue;
    const isSecond = (table.valueWord(entry, V_STATE) & IS_TRANSLATED_REPLY) !== 0;
    if (!isSecond && table.valueWord(entry, V_LINK) === 0) continue;
    if (!isPair(connections, entry)) table.remove(entry);
  }
  for (let entry = 1; entry < table.entryLimit; entry++) {
    if (!table.isLive(entry) || (table.keyWord(entry, KEY_ZONE) & KIND_MAPPED) !== 0) continue;
    if ((table.valueWord(entry, V_STATE) & IS_TRANSLATED_REPLY) === 0) continue;
    const mapping = table.valueWord(entry, T_MAPPING);
    if (mapping === 0) continue;
    const isThere =
      table.isLive(mapping) &&
      (table.keyWord(mapping, KEY_ZONE) & KIND_MAPPED_INSIDE) !== 0 &&
      isPair(connections, mapping);
    if (isThere) continue;
    table.remove(table.valueWord(entry, V_LINK));
    table.remove(entry);
  }
}

/** By inside mapping: the connections that use it. */
function countReferences({ table }: ConnectionTable): Map<number, number> {
  const references = new Map<number, number>();
  for (let entry = 1; entry < table.entryLimit; entry++) {
    if (!table.isLive(entry) || (table.keyWord(entry, KEY_ZONE) & KIND_MAPPED) !== 0) continue;
    if ((table.valueWord(entry, V_STATE) & IS_TRANSLATED_REPLY) === 0) continue;
    const mapping = table.valueWord(entry, T_MAPPING);
    if (mapping !== 0) references.set(mapping, (references.get(mapping) ?? 0) + 1);
  }
  return references;
}
