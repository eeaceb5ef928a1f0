/**
 * An ordered list of rules as the numbers that pipeline/classifier.ts looks up in. Main thread: 10,000 rules take some tens
 * of milliseconds, and who has many sets keeps what did not change (compile-acls.ts).
 *
 * In a vector a rule's bit is not simply its index. A field that a rule does not ask for sets its bit in every vector of
 * that dimension, so with rules of several makes no vector would have a summary that is empty anywhere. Sets that need more
 * than one chunk are therefore sorted by which fields rules narrow down: each **section** has whole chunks, and there the
 * vectors of the fields it asks for are as good as empty. The lookup takes the first match of each section and the least of
 * these.
 */
import {
  CHUNK_SHIFT,
  type CompiledRules,
  DIMENSION_ABSENT,
  DIMENSION_BOUNDS,
  DIMENSION_BOUNDS6,
  DIMENSION_COUNT,
  DIMENSION_COUNT6,
  DIMENSION_INDEX,
  DIMENSION_INDEX_COUNT,
  DIMENSION_LEAST,
  DIMENSION_METHOD,
  DIMENSION_PLACE,
  DIMENSION_RECORDS,
  DIMENSION_RECORDS6,
  DIMENSION_SHIFT,
  DIMENSION_WORDS,
  METHOD_ADDRESS,
  METHOD_MAC,
  METHOD_OCTET,
  METHOD_TABLE,
  ORDER_BIT,
} from '../pipeline/classifier.js';
import { FIELDS_ADDRESSES, fieldsOfPlace, KEY_KIND } from '../pipeline/rule-key.js';
import { IPV4_SIZE, type Prefix } from '../wire/address.js';
import type { NumberRange } from './resolved.js';
import type { RuleConditions } from './rule-conditions.js';
import { type Dimension, dimensionsOf, readsKinds } from './rule-dimensions.js';
import { type Interval, merged, RuleVectors, WordWriter } from './rule-vectors.js';

const NO_RULE = 0x7fff_ffff;
const CHUNK_BITS = 1 << CHUNK_SHIFT;
/** Values that a dimension has, from 0. */
const NUMBERS = 2 ** 32;
const MACS = 2 ** 48;
const ADDRESSES = 1n << 128n;
/** A section of fewer rules is not worth a chunk of its own. */
const SECTION_RULES_MIN = 256;
/** From these on, a condition narrows down. */
const NARROW_PREFIX4 = 16;
const NARROW_PREFIX6 = 40;
const NARROW_PORTS = 1024;

/** Where the first bit of each section lies, with the end; and the rule of each bit. */
interface Arrangement {
  readonly order: Int32Array;
  readonly sections: number[];
  /** Bit of each rule. */
  readonly bits: Int32Array;
}

/** Compiles the rules in their order. A rule without any condition matches everything. */
export function compileRules(rules: readonly RuleConditions[]): CompiledRules {
  const writer = new WordWriter();
  const arrangement = arrange(rules);
  const vectors = new RuleVectors(writer, arrangement.order.length);
  const found = dimensionsOf(rules);
  // The lookup needs one vector at least.
  const dimensions = found.length > 0 ? found : [anything];
  for (let word = 0; word < dimensions.length * DIMENSION_WORDS; word++) writer.push(0);
  for (const [index, dimension] of dimensions.entries())
    writeDimension(writer, vectors, index * DIMENSION_WORDS, dimension, rules, arrangement.bits);
  const remoteSets = [...new Set(rules.flatMap(({ remoteSet }) => (remoteSet === undefined ? [] : [remoteSet])))];
  const setRecords = remoteSets.length === 0 ? 0 : writeSets(writer, vectors, rules, remoteSets, arrangement.bits);
  const order = writer.append(arrangement.order);
  const sections = writer.append(arrangement.sections.map((bit) => bit >> CHUNK_SHIFT));
  return {
    ruleCount: rules.length,
    readsKinds: rules.reduce((kinds, rule) => kinds | readsKinds(rule), 0),
    fields: dimensions.reduce(
      (fields, { place }) => fields | fieldsOfPlace(place),
      remoteSets.length === 0 ? 0 : FIELDS_ADDRESSES,
    ),
    dimensionCount: dimensions.length,
    remoteSets: sharedNumbers(remoteSets),
    setRecords,
    order,
    sections,
    sectionCount: rules.length === 0 ? 0 : arrangement.sections.length - 1,
    words: writer.shared(),
  };
}

/** Nobody asks for it. */
const anything: Dimension = { method: METHOD_TABLE, place: KEY_KIND, values: 0, intervals: () => undefined };

function arrange(rules: readonly RuleConditions[]): Arrangement {
  const lists = new Map<number, number[]>();
  for (const [index, rule] of rules.entries()) {
    const signature = rules.length <= CHUNK_BITS ? 0 : narrowed(rule);
    const list = lists.get(signature);
    if (list === undefined) lists.set(signature, [index]);
    else list.push(index);
  }
  const large = [...lists.values()].filter((list) => list.length >= SECTION_RULES_MIN || rules.length <= CHUNK_BITS);
  const rest = [...lists.values()].filter((list) => !large.includes(list)).flat();
  if (rest.length > 0) large.push(rest.sort((one, other) => one - other));
  const order: number[] = [];
  const sections = [0];
  for (const list of large) {
    order.push(...list);
    if (rules.length > CHUNK_BITS) while (order.length % CHUNK_BITS !== 0) order.push(NO_RULE);
    sections.push(Math.ceil(order.length / CHUNK_BITS) * CHUNK_BITS);
  }
  const bits = new Int32Array(rules.length);
  for (const [bit, rule] of order.entries()) if (rule !== NO_RULE) bits[rule] = bit;
  return { order: Int32Array.from(order), sections, bits };
}

/** A bit for each of the fields with many values that the rule narrows down. */
function narrowed({ source, destination, sourcePorts, destinationPorts }: RuleConditions): number {
  return (
    (isNarrow(destination) ? 1 : 0) |
    (isNarrow(source) ? 2 : 0) |
    (areFew(destinationPorts) ? 4 : 0) |
    (areFew(sourcePorts) ? 8 : 0)
  );
}

function isNarrow(prefix: Prefix | undefined): boolean {
  return (
    prefix !== undefined && prefix.length >= (prefix.address.length === IPV4_SIZE ? NARROW_PREFIX4 : NARROW_PREFIX6)
  );
}

function areFew(ports: readonly NumberRange[] | undefined): boolean {
  return ports !== undefined && ports.reduce((sum, { first, last }) => sum + last - first + 1, 0) <= NARROW_PORTS;
}

function writeDimension(
  writer: WordWriter,
  vectors: RuleVectors,
  at: number,
  dimension: Dimension,
  rules: readonly RuleConditions[],
  bits: Int32Array,
): void {
  const set = (word: number, value: number) => writer.set(at + word, value);
  const asked = ask(rules, bits, (rule) => dimension.intervals(rule));
  set(DIMENSION_METHOD, dimension.method);
  set(DIMENSION_PLACE, dimension.place);
  set(DIMENSION_ABSENT, vectors.recordOf(asked.free));
  if (dimension.method === METHOD_TABLE || dimension.method === METHOD_OCTET) {
    const count = dimension.values ?? 0;
    const swept = vectors.sweep(0, asked.free, asked.intervals);
    set(DIMENSION_SHIFT, dimension.shift ?? 0);
    set(DIMENSION_COUNT, count);
    set(DIMENSION_BOUNDS, writer.append(spread(swept, count)));
    return;
  }
  const isMac = dimension.method === METHOD_MAC;
  const swept = within(vectors.sweep(0, asked.free, asked.intervals), isMac ? MACS : NUMBERS);
  set(DIMENSION_COUNT, swept.bounds.length);
  set(DIMENSION_RECORDS, writer.append(swept.records));
  if (isMac) {
    set(
      DIMENSION_BOUNDS,
      writer.append(swept.bounds.flatMap((bound) => ordered([Math.floor(bound / NUMBERS), bound]))),
    );
    return;
  }
  const bounds = Int32Array.from(ordered(swept.bounds));
  set(DIMENSION_BOUNDS, writer.append(bounds));
  writeIndex(writer, at, swept.bounds);
  if (dimension.method !== METHOD_ADDRESS) return;
  const asked6 = ask(rules, bits, (rule) => dimension.intervals6?.(rule));
  const swept6 = within(vectors.sweep(0n, asked6.free, asked6.intervals), ADDRESSES);
  set(DIMENSION_COUNT6, swept6.bounds.length);
  set(DIMENSION_RECORDS6, writer.append(swept6.records));
  set(DIMENSION_BOUNDS6, writer.append(swept6.bounds.flatMap(ipv6Words)));
}

/** Bits of the rules that don't ask, and what the others ask for. */
function ask<Value extends number | bigint>(
  rules: readonly RuleConditions[],
  bits: Int32Array,
  intervalsOf: (rule: RuleConditions) => readonly Interval<Value>[] | undefined,
): { free: number[]; intervals: Map<number, Interval<Value>[]> } {
  const free: number[] = [];
  const intervals = new Map<number, Interval<Value>[]>();
  for (const [index, rule] of rules.entries()) {
    const found = intervalsOf(rule);
    if (found === undefined) free.push(bits[index]);
    else intervals.set(bits[index], merged(found));
  }
  return { free, intervals };
}

/** Record of each value below `count`. */
function spread({ bounds, records }: { bounds: number[]; records: number[] }, count: number): Int32Array {
  const table = new Int32Array(count);
  for (const [index, bound] of bounds.entries()) table.fill(records[index], bound);
  return table;
}

/** Without intervals that begin behind the last value. */
function within<Value extends number | bigint>(
  { bounds, records }: { bounds: Value[]; records: number[] },
  end: Value,
): { bounds: Value[]; records: number[] } {
  const count = bounds.filter((bound) => bound < end).length;
  return { bounds: bounds.slice(0, count), records: records.slice(0, count) };
}

const ordered = (values: readonly number[]) => values.map((value) => (value | 0) ^ ORDER_BIT);

function ipv6Words(address: bigint): number[] {
  return [96n, 64n, 32n, 0n].map((shift) => Number(BigInt.asIntN(32, address >> shift)) ^ ORDER_BIT);
}

/** Buckets from the second bound (below it is the first interval) to the last: about four for each interval. */
function writeIndex(writer: WordWriter, at: number, bounds: readonly number[]): void {
  const least = bounds.length > 1 ? bounds[1] : NUMBERS - 1;
  const span = bounds[bounds.length - 1] - least;
  let shift = 0;
  while (shift < 31 && span / 2 ** shift > bounds.length * 4) shift++;
  const count = bounds.length > 1 ? Math.floor(span / 2 ** shift) + 1 : 0;
  const index = new Int32Array(count + 1);
  let interval = 0;
  for (let bucket = 0; bucket <= count; bucket++) {
    const start = least + bucket * 2 ** shift;
    while (interval + 1 < bounds.length && bounds[interval + 1] <= start) interval++;
    index[bucket] = interval;
  }
  writer.set(at + DIMENSION_LEAST, (least | 0) ^ ORDER_BIT);
  writer.set(at + DIMENSION_SHIFT, shift);
  writer.set(at + DIMENSION_INDEX_COUNT, count);
  writer.set(at + DIMENSION_INDEX, writer.append(index));
}

function writeSets(
  writer: WordWriter,
  vectors: RuleVectors,
  rules: readonly RuleConditions[],
  sets: readonly number[],
  bits: Int32Array,
): number {
  const bySet = new Map<number | undefined, number[]>([undefined, ...sets].map((set) => [set, []]));
  for (const [index, { remoteSet }] of rules.entries()) bySet.get(remoteSet)?.push(bits[index]);
  return writer.append([...bySet.values()].map((list) => vectors.recordOf(list)));
}

function sharedNumbers(values: readonly number[]): Int32Array {
  const words = new Int32Array(new SharedArrayBuffer(values.length * Int32Array.BYTES_PER_ELEMENT));
  words.set(values);
  return words;
}
