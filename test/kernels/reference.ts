/** The kernels once more, slow and obvious: the text of RFC 1071 in code. */

/** One's complement sum of big-endian 16-bit words, an odd last octet padded with zero, folded to 16 bits. */
export function referenceSum(octets: Uint8Array, start: number, length: number, initial = 0): number {
  let sum = initial;
  for (let index = 0; index < length; index += 2) {
    const high = octets[start + index];
    const low = index + 1 < length ? octets[start + index + 1] : 0;
    sum += high * 256 + low;
  }
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

/** A repeatable stream of octets (a multiplicative generator), so that a failing length can be looked at again. */
export function fillOctets(octets: Uint8Array, seed: number): void {
  let state = seed | 1;
  for (let index = 0; index < octets.length; index++) {
    state = (Math.imul(state, 48271) + 0x9e3779b9) | 0;
    octets[index] = state >>> 24;
  }
}
