/**
 * Builds the trees of pipeline/prefix-tree.ts. Main thread; 100,000 prefixes take a fraction of a second (the test says what),
 * and nothing is kept between two builds but the arrays.
 */
import {
  bitCount,
  NO_PREFIX,
  NODE_CHILD_COUNTS,
  NODE_FIRST_CHILD,
  NODE_FIRST_VALUE,
  NODE_VALUE_COUNTS,
  NODE_VALUES_VECTOR,
  PREFIX_NODE_WORDS,
  type PrefixTrees,
} from '../pipeline/prefix-tree.js';

export interface Prefix {
  /** Four or sixteen octets in network order; those behind the prefix are ignored. */
  readonly address: Uint8Array;
  /** Bits. */
  readonly length: number;
  /** From 0. */
  readonly value: number;
}

const OCTETS = 256;

/** Several trees in one pair of arrays. A prefix that is given twice has the value given last. */
export class PrefixTreeBuilder {
  private readonly nodes: number[] = [];
  private readonly values: number[] = [];

  /** Adds a tree of prefixes of one IP version; returns its root. */
  add(prefixes: readonly Prefix[]): number {
    const [root] = this.reserve(1);
    this.fill(root, byAddress(prefixes), 0, NO_PREFIX);
    return root;
  }

  /** The trees in shared memory. */
  finish(): PrefixTrees {
    return { nodes: sharedWords(this.nodes), values: sharedWords(this.values) };
  }

  /** Numbers of `count` new nodes, one after another. */
  private reserve(count: number): number[] {
    const first = this.nodes.length / PREFIX_NODE_WORDS;
    for (let word = 0; word < count * PREFIX_NODE_WORDS; word++) this.nodes.push(0);
    return Array.from({ length: count }, (_, index) => first + index);
  }

  /**
   * Writes the node for `prefixes`, all equal in the octets before `depth` and longer than those, in order of address;
   * `inherited` is the value of the longest prefix that ends before.
   */
  private fill(node: number, prefixes: readonly Prefix[], depth: number, inherited: number): void {
    const values = new Int32Array(OCTETS).fill(inherited);
    const here = prefixes.filter(({ length }) => length <= (depth + 1) * 8);
    for (const { address, length, value } of here.sort((one, other) => one.length - other.length)) {
      const bits = length - depth * 8;
      const first = bits === 0 ? 0 : address[depth]! & (0xff << (8 - bits));
      values.fill(value, first, first + 2 ** (8 - bits));
    }
    const longer = prefixes.filter(({ length }) => length > (depth + 1) * 8);
    const octets = [...new Set(longer.map(({ address }) => address[depth]!))];
    const children = this.reserve(octets.length);
    this.write(node, octets, children[0] ?? 0, values);
    let from = 0;
    for (const [index, octet] of octets.entries()) {
      let to = from;
      while (to < longer.length && longer[to]!.address[depth] === octet) to++;
      this.fill(children[index]!, longer.slice(from, to), depth + 1, values[octet]!);
      from = to;
    }
  }

  /** `octets` in ascending order lead to nodes from `firstChild`; the others have `values`. */
  private write(node: number, octets: readonly number[], firstChild: number, values: Int32Array): void {
    const at = node * PREFIX_NODE_WORDS;
    const { nodes } = this;
    for (const octet of octets) nodes[at + (octet >>> 5)]! |= 1 << (octet & 31);
    nodes[at + NODE_FIRST_CHILD] = firstChild;
    nodes[at + NODE_FIRST_VALUE] = this.values.length;
    let last: number | undefined;
    for (let octet = 0; octet < OCTETS; octet++) {
      const hasChild = ((nodes[at + (octet >>> 5)]! >>> (octet & 31)) & 1) === 1;
      if (hasChild || values[octet] === last) continue;
      last = values[octet]!;
      nodes[at + NODE_VALUES_VECTOR + (octet >>> 5)]! |= 1 << (octet & 31);
      this.values.push(last);
    }
    this.count(at, 0, NODE_CHILD_COUNTS);
    this.count(at, NODE_VALUES_VECTOR, NODE_VALUE_COUNTS);
  }

  /** An octet for each of a vector's eight words: bits set in the words before it (at most 224). */
  private count(node: number, vector: number, counts: number): void {
    const { nodes } = this;
    let before = 0;
    for (let word = 0; word < 8; word++) {
      nodes[node + counts + (word >>> 2)]! |= before << ((word & 3) << 3);
      before += bitCount(nodes[node + vector + word]!);
    }
  }
}

/** In order of address, the later of two equal prefixes alone. */
function byAddress(prefixes: readonly Prefix[]): Prefix[] {
  const unique = new Map(prefixes.map((prefix) => [`${masked(prefix).join('.')}/${prefix.length}`, prefix]));
  const plain = [...unique.values()].map((prefix) => ({ ...prefix, address: masked(prefix) }));
  return plain.sort((one, other) => Buffer.compare(one.address, other.address));
}

function masked({ address, length }: Prefix): Uint8Array {
  return address.map((octet, index) => octet & (0xff00 >>> Math.min(Math.max(length - index * 8, 0), 8)));
}

function sharedWords(words: readonly number[]): Int32Array {
  const shared = new Int32Array(new SharedArrayBuffer(words.length * Int32Array.BYTES_PER_ELEMENT));
  shared.set(words);
  return shared;
}
