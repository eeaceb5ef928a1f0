/**
 * Longest-prefix match: the value of the longest prefix that covers an address. Trees are built by the main thread
 * (control/build-prefix-tree.ts) and never changed; any number of them, of either IP version, lie in one array. @hot
 *
 * A node decides by one octet of the address, so an IPv4 address takes at most four steps and an IPv6 one sixteen, however
 * many prefixes there are and whoever sends what. A dense node would have 256 words, and 100,000 prefixes of 24 bits 64 MiB
 * of them: a cache miss at nearly every look. So a node keeps two vectors of 256 bits, one that says which octets lead to
 * another node, one that says where, among the others, the value changes; children and values lie packed one after
 * another and are found by counting bits (Asai and Ohara, "Poptrie", SIGCOMM 2015; there six bits a step). 96 octets a
 * node: those 100,000 prefixes take 7 MiB.
 *
 *   0..7    bit o: octet o has a child          16, 17  of each word of the first vector: bits set in the words before it
 *   8..15   bit o: a new value begins at o      18, 19  the same of the second
 *   20      number of the first child           21      position of the first value      22, 23 unused
 */
export const PREFIX_NODE_WORDS = 24;
export const NODE_VALUES_VECTOR = 8;
export const NODE_CHILD_COUNTS = 16;
export const NODE_VALUE_COUNTS = 18;
export const NODE_FIRST_CHILD = 20;
export const NODE_FIRST_VALUE = 21;

/** What an address has that no prefix covers. */
export const NO_PREFIX = -1;

export interface PrefixTrees {
  /** PREFIX_NODE_WORDS a node. */
  readonly nodes: Int32Array;
  readonly values: Int32Array;
}

/** Value of the longest prefix in the tree at node `root` that covers the address, four octets at `position`; or NO_PREFIX. */
export function longestPrefix4(trees: PrefixTrees, root: number, octets: Uint8Array, position: number): number {
  return longestPrefix(trees, root, octets, position, position + 4);
}

/** As `longestPrefix4`, for the sixteen octets at `position`. */
export function longestPrefix6(trees: PrefixTrees, root: number, octets: Uint8Array, position: number): number {
  return longestPrefix(trees, root, octets, position, position + 16);
}

function longestPrefix(trees: PrefixTrees, root: number, octets: Uint8Array, from: number, end: number): number {
  const { nodes, values } = trees;
  let node = root * PREFIX_NODE_WORDS;
  for (let at = from; at < end; at++) {
    const octet = octets[at];
    const word = octet >>> 5;
    const bit = octet & 31;
    const children = nodes[node + word];
    if (((children >>> bit) & 1) === 0) {
      // Up to and with the octet itself: the last value that began.
      const begun = nodes[node + NODE_VALUES_VECTOR + word] & (-1 >>> (31 - bit));
      const before = (nodes[node + NODE_VALUE_COUNTS + (word >>> 2)] >>> ((word & 3) << 3)) & 0xff;
      return values[nodes[node + NODE_FIRST_VALUE] + before + bitCount(begun) - 1];
    }
    const before = (nodes[node + NODE_CHILD_COUNTS + (word >>> 2)] >>> ((word & 3) << 3)) & 0xff;
    const child = nodes[node + NODE_FIRST_CHILD] + before + bitCount(children & ~(-1 << bit));
    node = child * PREFIX_NODE_WORDS;
  }
  // A node is only made for prefixes longer than what leads to it, so its octets don't end at a child.
  return NO_PREFIX;
}

/** Bits set in a word. */
export function bitCount(word: number): number {
  let count = word - ((word >>> 1) & 0x5555_5555);
  count = (count & 0x3333_3333) + ((count >>> 2) & 0x3333_3333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
