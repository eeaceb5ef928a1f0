/**
 * The hash of every table that is keyed by what packets say. @hot
 *
 * An attacker chooses the keys but never sees a hash nor the seed, so it must not be possible to choose keys that
 * collide under most seeds. Multiply-xorshift and murmur mixing fail that: a difference in a word's top bits passes an
 * odd multiplier almost unchanged whatever the seed, and the next word can cancel it (256 keys of two words in one
 * bucket, for every seed). So:
 *
 * - Two words (the FDB): simple tabulation. Each octet picks a random word, and the words are xored. It is 3-independent:
 *   for any fixed set of keys the expected chain is that of a random function (Patrascu and Thorup, 2012). 4.4 ns.
 * - Four words (connections of IPv4): the same with sixteen tables, 16 KiB. 9 ns, against 17 for the next.
 * - Any length: HalfSipHash-1-3, as Linux uses it for its tables (hsiphash), without the length block because all keys
 *   of a table have one length. 10.5 ns for two words, about 2 ns a word more.
 *
 * The tables of random words are derived from the 64-bit seed, so every thread that knows the seed hashes alike.
 */
export class SeededHash {
  private readonly seed0: number;
  private readonly seed1: number;
  /** 16 octets of key times 256 random words: 16 KiB, of which the first half is for pairs, and stays in the first-level cache during a batch. */
  private readonly words: Int32Array;

  constructor(seed0: number, seed1: number) {
    this.seed0 = seed0 | 0;
    this.seed1 = seed1 | 0;
    this.words = new Int32Array(16 * 256);
    const index = new Int32Array(1);
    for (let word = 0; word < this.words.length; word++) {
      index[0] = word;
      this.words[word] = this.sip(index, 0, 1);
    }
  }

  /** Hash of a key of two words; all 32 bits are usable. */
  pair(word0: number, word1: number): number {
    const words = this.words;
    return (
      words[word0 & 255]! ^
      words[256 + ((word0 >>> 8) & 255)]! ^
      words[512 + ((word0 >>> 16) & 255)]! ^
      words[768 + (word0 >>> 24)]! ^
      words[1024 + (word1 & 255)]! ^
      words[1280 + ((word1 >>> 8) & 255)]! ^
      words[1536 + ((word1 >>> 16) & 255)]! ^
      words[1792 + (word1 >>> 24)]!
    );
  }

  /** Hash of a key of four words; all 32 bits are usable. Another function than `words32` of four. */
  quad(word0: number, word1: number, word2: number, word3: number): number {
    const words = this.words;
    return (
      this.pair(word0, word1) ^
      words[2048 + (word2 & 255)]! ^
      words[2304 + ((word2 >>> 8) & 255)]! ^
      words[2560 + ((word2 >>> 16) & 255)]! ^
      words[2816 + (word2 >>> 24)]! ^
      words[3072 + (word3 & 255)]! ^
      words[3328 + ((word3 >>> 8) & 255)]! ^
      words[3584 + ((word3 >>> 16) & 255)]! ^
      words[3840 + (word3 >>> 24)]!
    );
  }

  /** Hashes of the first `count` pairs; as `pair`, with the table at hand. */
  pairs(words0: Int32Array, words1: Int32Array, hashes: Int32Array, count: number): void {
    const words = this.words;
    for (let index = 0; index < count; index++) {
      const word0 = words0[index]!;
      const word1 = words1[index]!;
      hashes[index] =
        words[word0 & 255]! ^
        words[256 + ((word0 >>> 8) & 255)]! ^
        words[512 + ((word0 >>> 16) & 255)]! ^
        words[768 + (word0 >>> 24)]! ^
        words[1024 + (word1 & 255)]! ^
        words[1280 + ((word1 >>> 8) & 255)]! ^
        words[1536 + ((word1 >>> 16) & 255)]! ^
        words[1792 + (word1 >>> 24)]!;
    }
  }

  /** Hash of `count` words of `key` from `start`; two words hash as `pair` does. */
  words32(key: Int32Array, start: number, count: number): number {
    return count === 2 ? this.pair(key[start]!, key[start + 1]!) : this.sip(key, start, count);
  }

  /** HalfSipHash-1-3 (Aumasson and Bernstein; lib/siphash.c of Linux) over whole words. */
  private sip(key: Int32Array, start: number, count: number): number {
    let v0 = this.seed0;
    let v1 = this.seed1;
    let v2 = 0x6c796765 ^ v0;
    let v3 = 0x74656462 ^ v1;
    for (let round = 0; round < count + 3; round++) {
      const word = round < count ? key[start + round]! : 0;
      if (round === count) v2 ^= 0xff;
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    return v1 ^ v3;
  }
}
