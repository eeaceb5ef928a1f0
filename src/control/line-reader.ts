/**
 * Splits what a stream brings into lines of at most `lineMax` octets. Holds one chunk and one unfinished line, never
 * more; what belongs to an over-long line is thrown away up to its newline. No I/O.
 */

const NEWLINE = 0x0a;
/** A line of nothing but spaces and control octets is no message. */
const SPACE = 0x20;
const FIRST_CAPACITY = 1024;
const EMPTY = Buffer.alloc(0);

export class LineReader {
  /** Octets of the over-long line being thrown away; 0 when there is none. */
  skipped = 0;
  private readonly lineMax: number;
  private chunk: Buffer = EMPTY;
  private position = 0;
  /** The unfinished line: grows by doubling, so one octet at a time costs no more than all at once. */
  private partial: Buffer = EMPTY;
  private partialSize = 0;

  constructor(lineMax: number) {
    this.lineMax = lineMax;
  }

  /** Takes the next chunk; the previous one has been read to its end with `next`, or is kept in front of it. */
  feed(chunk: Buffer): void {
    const rest = this.chunk.length - this.position;
    this.chunk = rest === 0 ? chunk : Buffer.concat([this.chunk.subarray(this.position), chunk]);
    this.position = 0;
  }

  /** The next whole line without its newline, valid until the next call; undefined when there is none yet. */
  next(): Uint8Array | 'too-long' | undefined {
    while (this.position < this.chunk.length) {
      const end = this.chunk.indexOf(NEWLINE, this.position);
      const piece = this.chunk.subarray(this.position, end === -1 ? this.chunk.length : end);
      this.position = end === -1 ? this.chunk.length : end + 1;
      const line = this.take(piece, end !== -1);
      if (line === 'too-long' || line?.some((octet) => octet > SPACE)) return line;
    }
    this.chunk = EMPTY;
    this.position = 0;
    return undefined;
  }

  private take(piece: Buffer, whole: boolean): Uint8Array | 'too-long' | undefined {
    if (this.skipped > 0) {
      this.skipped = whole ? 0 : this.skipped + piece.length;
      return undefined;
    }
    const size = this.partialSize + piece.length;
    if (size > this.lineMax) {
      this.forgetPartial();
      this.skipped = whole ? 0 : size;
      return 'too-long';
    }
    if (whole && this.partialSize === 0) return piece;
    this.append(piece);
    if (!whole) return undefined;
    const line = this.partial.subarray(0, size);
    this.forgetPartial();
    return line;
  }

  private append(piece: Buffer): void {
    const size = this.partialSize + piece.length;
    if (size > this.partial.length) {
      const grown = Buffer.alloc(Math.max(FIRST_CAPACITY, size, this.partial.length * 2));
      this.partial.copy(grown, 0, 0, this.partialSize);
      this.partial = grown;
    }
    piece.copy(this.partial, this.partialSize);
    this.partialSize = size;
  }

  private forgetPartial(): void {
    this.partial = EMPTY;
    this.partialSize = 0;
  }
}
