/** Octets that wait to be acknowledged, in the pieces they came in: none is copied until a segment is made of it. Pure. */
export class SendQueue {
  private readonly pieces: Uint8Array[] = [];
  /** Octets of the first piece that are gone. */
  private start = 0;
  private octets = 0;

  get size(): number {
    return this.octets;
  }

  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.pieces.push(piece);
    this.octets += piece.length;
  }

  /** A copy of `length` octets from `from` on, which are there. */
  copy(from: number, length: number): Uint8Array {
    const copy = new Uint8Array(length);
    let at = this.start + from;
    let filled = 0;
    for (const piece of this.pieces) {
      if (filled === length) break;
      if (at < piece.length) {
        const part = piece.subarray(at, Math.min(piece.length, at + length - filled));
        copy.set(part, filled);
        filled += part.length;
      }
      at = Math.max(0, at - piece.length);
    }
    return copy;
  }

  /** Forgets the first `length` octets. */
  drop(length: number): void {
    this.octets -= length;
    this.start += length;
    let gone = 0;
    while (gone < this.pieces.length && this.start >= this.pieces[gone].length)
      this.start -= this.pieces[gone++].length;
    this.pieces.splice(0, gone);
  }
}
