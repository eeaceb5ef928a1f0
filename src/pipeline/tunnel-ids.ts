/**
 * From a tunnel header's id to the network it names on an underlay port: a hash table of the configuration's ids for each
 * port, all in one array of the snapshot (tunnelIds), rows of ID_WORDS words:
 *
 *   id, member | ID_HAS_FLOW; a row whose second word is -1 is empty
 *
 * Made with the snapshot (control/compile-overlay.ts) and only read by workers. A tree by the id's octets, which this
 * replaces, costs 10 MB for 10,000 ids that lie apart, and a miss of cache and TLB for nearly every frame; this 256 KB.
 *
 * What an attacker can do: nothing. The keys are the configuration's alone; an id that a packet names costs at most the
 * longest run of rows in use, whatever it is. @hot
 */

export const ID_WORDS = 2;
const MEMBER = 1;
const NONE = -1;
/** The last eight bits of the id are the flow's (NVGRE): the row has it with those zero. */
export const ID_HAS_FLOW = 1 << 30;
const FLOW_MASK = 0xff;

/** Whose the id is in the table of `mask` + 1 rows from row `first` on; -1: nobody's. */
export function memberOfTunnelId(ids: Int32Array, first: number, mask: number, id: number): number {
  const exact = find(ids, first, mask, id);
  if (exact !== NONE) return exact & ~ID_HAS_FLOW;
  if ((id & FLOW_MASK) === 0) return NONE;
  const found = find(ids, first, mask, id & ~FLOW_MASK);
  return found !== NONE && (found & ID_HAS_FLOW) !== 0 ? found & ~ID_HAS_FLOW : NONE;
}

/** The row that the search for the id begins at, for touchRows. */
export function rowOfTunnelId(first: number, mask: number, id: number): number {
  return first + placeOf(id, mask);
}

function find(ids: Int32Array, first: number, mask: number, id: number): number {
  for (let place = placeOf(id, mask); ; place = (place + 1) & mask) {
    const at = (first + place) * ID_WORDS;
    const member = ids[at + MEMBER];
    if (member === NONE || ids[at] === id) return member;
  }
}

function placeOf(id: number, mask: number): number {
  const mixed = Math.imul(id, 0x9e37_79b1);
  return (mixed ^ (mixed >>> 15)) & mask;
}

/** A table of these ids, of which none is twice: a power of two of rows, at least half of them empty, so every search ends. */
export function tunnelIdTable(members: ReadonlyMap<number, number>): Int32Array {
  let rows = 2;
  while (rows < members.size * 2) rows *= 2;
  const table = new Int32Array(rows * ID_WORDS).fill(NONE);
  for (const [id, member] of members) {
    let place = placeOf(id, rows - 1);
    while (table[place * ID_WORDS + MEMBER] !== NONE) place = (place + 1) & (rows - 1);
    table[place * ID_WORDS] = id;
    table[place * ID_WORDS + MEMBER] = member;
  }
  return table;
}
