/**
 * The loops over octets, in AssemblyScript (a TypeScript dialect that compiles to WebAssembly): checksum, copy, both at
 * once, and the comparison of headers for merging, 16 octets at a time. scripts/kernels.mjs compiles this file to dist/kernels/kernels.wasm; kernels.ts loads it.
 *
 * All positions are octets from the start of the one imported memory (a FramePool's arena). An access outside the
 * arena traps; callers prove bounds before, as for any hot code. Nothing here keeps state, so every worker has its own
 * instance over its own arena. Payload is never looked at, only summed: an attacker can steer neither time nor branches.
 *
 * Copies run upwards and load every piece whole before they store it, so they are right for ranges that overlap as long
 * as the target is below the source: what a store reaches of the source was loaded already. (memory.copy is right for any
 * overlap.) Merging moves payload to the left that way.
 *
 * Sums are one's complement sums (RFC 1071). They don't depend on byte order (section 2 B there), so words are summed as
 * the machine loads them, little-endian, and the two octets of the result are swapped once at the end.
 */

/** Folds a sum of 16-bit words to 16 bits, end-around carries included. */
// @ts-ignore: decorator
@inline
function fold(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return <u32>sum;
}

// @ts-ignore: decorator
@inline
function swap(word: u32): u32 {
  return ((word & 0xff) << 8) | (word >> 8);
}

/** Adds the eight 16-bit words of a vector to four 32-bit sums. 2^15 vectors, 512 KiB, fit before a sum could overflow. */
// @ts-ignore: decorator
@inline
function accumulate(sums: v128, octets: v128): v128 {
  return i32x4.add(sums, i32x4.extadd_pairwise_i16x8_u(octets));
}

// @ts-ignore: decorator
@inline
function horizontal(sums: v128): u64 {
  return (
    <u64>(<u32>i32x4.extract_lane(sums, 0)) +
    <u64>(<u32>i32x4.extract_lane(sums, 1)) +
    <u64>(<u32>i32x4.extract_lane(sums, 2)) +
    <u64>(<u32>i32x4.extract_lane(sums, 3))
  );
}

/**
 * One's complement sum of `length` (0 to 262,144) octets as big-endian 16-bit words, an odd last octet padded with zero,
 * plus `initial`, folded to 16 bits. Not complemented.
 */
export function checksum(start: usize, length: u32, initial: u32): u32 {
  let position = start;
  const end = start + length;
  let a = i32x4.splat(0);
  if (length >= 64) {
    let b = i32x4.splat(0);
    let c = i32x4.splat(0);
    let d = i32x4.splat(0);
    const wideEnd = end - 64;
    while (position <= wideEnd) {
      a = accumulate(a, v128.load(position));
      b = accumulate(b, v128.load(position, 16));
      c = accumulate(c, v128.load(position, 32));
      d = accumulate(d, v128.load(position, 48));
      position += 64;
    }
    a = i32x4.add(i32x4.add(a, b), i32x4.add(c, d));
  }
  while (position + 16 <= end) {
    a = accumulate(a, v128.load(position));
    position += 16;
  }
  let sum = horizontal(a);
  if (position + 8 <= end) {
    const word = load<u64>(position);
    sum += (word & 0xffffffff) + (word >> 32);
    position += 8;
  }
  if (position + 4 <= end) {
    sum += load<u32>(position);
    position += 4;
  }
  if (position + 2 <= end) {
    sum += load<u16>(position);
    position += 2;
  }
  if (position < end) sum += load<u8>(position);
  return fold(<u64>swap(fold(sum)) + <u64>initial);
}

/** Copies `length` octets. The two ranges must not overlap, unless `to` < `from`. */
export function copy(from: usize, to: usize, length: u32): void {
  // memory.copy leaves WebAssembly for a C function: worth its ~15 ns only for long copies.
  if (length > 512) {
    memory.copy(to, from, length);
    return;
  }
  const end = from + length;
  while (from + 16 <= end) {
    v128.store(to, v128.load(from));
    from += 16;
    to += 16;
  }
  if (from + 8 <= end) {
    store<u64>(to, load<u64>(from));
    from += 8;
    to += 8;
  }
  if (from + 4 <= end) {
    store<u32>(to, load<u32>(from));
    from += 4;
    to += 4;
  }
  if (from + 2 <= end) {
    store<u16>(to, load<u16>(from));
    from += 2;
    to += 2;
  }
  if (from < end) store<u8>(to, load<u8>(from));
}

/** Copies `length` (0 to 262,144) octets and returns what `checksum` says of the source as it was. Overlap as in `copy`. */
export function copyAndChecksum(from: usize, to: usize, length: u32, initial: u32): u32 {
  const end = from + length;
  let a = i32x4.splat(0);
  if (length >= 64) {
    let b = i32x4.splat(0);
    let c = i32x4.splat(0);
    let d = i32x4.splat(0);
    const wideEnd = end - 64;
    while (from <= wideEnd) {
      const first = v128.load(from);
      const second = v128.load(from, 16);
      const third = v128.load(from, 32);
      const fourth = v128.load(from, 48);
      v128.store(to, first);
      v128.store(to, second, 16);
      v128.store(to, third, 32);
      v128.store(to, fourth, 48);
      a = accumulate(a, first);
      b = accumulate(b, second);
      c = accumulate(c, third);
      d = accumulate(d, fourth);
      from += 64;
      to += 64;
    }
    a = i32x4.add(i32x4.add(a, b), i32x4.add(c, d));
  }
  while (from + 16 <= end) {
    const octets = v128.load(from);
    v128.store(to, octets);
    a = accumulate(a, octets);
    from += 16;
    to += 16;
  }
  let sum = horizontal(a);
  if (from + 8 <= end) {
    const word = load<u64>(from);
    store<u64>(to, word);
    sum += (word & 0xffffffff) + (word >> 32);
    from += 8;
    to += 8;
  }
  if (from + 4 <= end) {
    const word = load<u32>(from);
    store<u32>(to, word);
    sum += word;
    from += 4;
    to += 4;
  }
  if (from + 2 <= end) {
    const word = load<u16>(from);
    store<u16>(to, word);
    sum += word;
    from += 2;
    to += 2;
  }
  if (from < end) {
    const octet = load<u8>(from);
    store<u8>(to, octet);
    sum += octet;
  }
  return fold(<u64>swap(fold(sum)) + <u64>initial);
}

/** Whether two TCP headers of `size` octets agree but for sequence number, PSH and checksum. */
// @ts-ignore: decorator
@inline
function sameTcp(a: usize, b: usize, size: u32): bool {
  // Ports; acknowledgement; data offset, flags and window (in memory's order: PSH is bit 3 of the second octet); urgent.
  let difference = load<u32>(a) ^ load<u32>(b);
  difference |= load<u32>(a, 8) ^ load<u32>(b, 8);
  difference |= (load<u32>(a, 12) ^ load<u32>(b, 12)) & 0xfffff7ff;
  difference |= <u32>(load<u16>(a, 18) ^ load<u16>(b, 18));
  for (let at: u32 = 20; at < size; at += 4) difference |= load<u32>(a + at) ^ load<u32>(b + at);
  return difference == 0;
}

/**
 * Whether the headers of two untagged frames, Ethernet, IPv4 without options and TCP of `size` octets (at least 20, a
 * multiple of four), agree in all that segments of one super-frame share: everything but total length, id, header
 * checksum, sequence number, PSH and TCP checksum. Both frames have that many octets.
 */
export function sameHeaders4(a: usize, b: usize, size: u32): bool {
  const shared = i8x16(0, 0, 0, 0, -1, -1, -1, -1, 0, 0, -1, -1, -1, -1, -1, -1);
  let difference = v128.xor(v128.load(a), v128.load(b));
  difference = v128.or(difference, v128.and(v128.xor(v128.load(a, 16), v128.load(b, 16)), shared));
  if (v128.any_true(difference)) return false;
  return load<u16>(a, 32) == load<u16>(b, 32) && sameTcp(a + 34, b + 34, size);
}

/** As sameHeaders4 behind an IPv6 header; there all but the payload length is shared. */
export function sameHeaders6(a: usize, b: usize, size: u32): bool {
  const shared = i8x16(-1, -1, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  let difference = v128.xor(v128.load(a), v128.load(b));
  difference = v128.or(difference, v128.and(v128.xor(v128.load(a, 16), v128.load(b, 16)), shared));
  // 38 to 53: the rest of the addresses, ten octets twice.
  difference = v128.or(difference, v128.xor(v128.load(a, 32), v128.load(b, 32)));
  difference = v128.or(difference, v128.xor(v128.load(a, 38), v128.load(b, 38)));
  if (v128.any_true(difference)) return false;
  return sameTcp(a + 54, b + 54, size);
}
