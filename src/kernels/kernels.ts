/**
 * Loads the byte kernels (kernels.as.ts, compiled to WebAssembly) over a frame arena. One instance a worker, made once
 * at start; the methods are plain calls into WebAssembly, about 10 ns each, so short headers are better done in
 * TypeScript. @hot
 *
 * Positions are octets from the start of the memory. A range outside the memory traps (a programmer's error that ends
 * the worker): callers have proved their bounds before.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../errors.js';

type Checksum = (start: number, length: number, initial: number) => number;
type Copy = (from: number, to: number, length: number) => void;
type SameHeaders = (first: number, second: number, tcpHeaderSize: number) => number;
type CopyAndChecksum = (from: number, to: number, length: number, initial: number) => number;

/** Beside this file in dist/; in dist/ seen from src/, when the sources are run by the tests. */
const places = ['./kernels.wasm', '../../dist/kernels/kernels.wasm'];

let compiled: WebAssembly.Module | undefined;

/** Compiled once a thread, however many arenas it serves. */
function kernelModule(): WebAssembly.Module {
  if (compiled !== undefined) return compiled;
  const path = places.map((place) => fileURLToPath(new URL(place, import.meta.url))).find((place) => existsSync(place));
  if (path === undefined) {
    throw new OperatingError('The byte kernels (kernels.wasm) are missing.', { fix: 'Run: npm run build' });
  }
  compiled = new WebAssembly.Module(readFileSync(path));
  return compiled;
}

export class Kernels {
  /** Octets of the memory the kernels work on; what a caller in TypeScript reads beside them. */
  readonly octets: Uint8Array;

  /**
   * One's complement sum (RFC 1071) of `length` octets (at most 262,144) read as big-endian 16-bit words, an odd last
   * octet padded with zero, plus `initial` (any unsigned 32-bit partial sum), folded to 16 bits. Not complemented.
   */
  readonly checksum: Checksum;
  /** Copies octets between ranges that don't overlap, or overlap with the target below the source (a move to the left). */
  readonly copy: Copy;
  /** `copy` that returns the `checksum` of what it copied: the payload is touched once. */
  readonly copyAndChecksum: CopyAndChecksum;
  /**
   * Whether two frames' headers (untagged Ethernet, IPv4 of 20 octets, TCP of the given size) agree in all that the
   * segments of one super-frame share: all but lengths, id, sequence number, PSH and checksums. 1 or 0. A call instead of
   * reading some 80 octets twice in TypeScript.
   */
  readonly sameHeaders4: SameHeaders;
  /** The same for IPv6 without extension headers. */
  readonly sameHeaders6: SameHeaders;

  constructor(memory: WebAssembly.Memory) {
    this.octets = new Uint8Array(memory.buffer);
    const { exports } = new WebAssembly.Instance(kernelModule(), { env: { memory } });
    this.checksum = exports.checksum as Checksum;
    this.copy = exports.copy as Copy;
    this.copyAndChecksum = exports.copyAndChecksum as CopyAndChecksum;
    this.sameHeaders4 = exports.sameHeaders4 as SameHeaders;
    this.sameHeaders6 = exports.sameHeaders6 as SameHeaders;
  }
}
