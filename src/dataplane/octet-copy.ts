/** Copies octets between two memories (within one arena use copyWithin or the copy kernel). @hot */

/** Below this a loop is quicker than making a view for a bulk copy (about 40 ns). */
const LOOP_SIZE_MAX = 128;

export function copyOctets(source: Uint8Array, from: number, target: Uint8Array, to: number, length: number): void {
  if (length > LOOP_SIZE_MAX) {
    target.set(source.subarray(from, from + length), to);
    return;
  }
  for (let index = 0; index < length; index++) target[to + index] = source[from + index];
}
