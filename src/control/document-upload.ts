/**
 * Documents that are sent in pieces, because one message of the control socket holds only 64 KiB. Each belongs to the
 * session that began it and goes with it. A hostile client can hold at most its share of CONTROL_DOCUMENTS_MAX
 * documents, and the longest idle gives way to a new one, so nobody is kept from sending. Main thread.
 */

import { UserError } from '../errors.js';
import { CONTROL_DOCUMENT_SIZE_MAX, CONTROL_DOCUMENTS_MAX, CONTROL_MESSAGE_SIZE_MAX } from '../limits.js';

interface Upload {
  readonly owner: object;
  /** Grows by doubling, so that a document sent octet by octet costs no more memory than any other. */
  octets: Buffer;
  size: number;
}

export class DocumentUploads {
  /** In order of last use: the first is the longest idle. */
  private readonly uploads = new Map<string, Upload>();
  private sequence = 0;

  begin(owner: object): string {
    if (this.uploads.size >= CONTROL_DOCUMENTS_MAX) {
      const [oldest] = this.uploads.keys();
      if (oldest !== undefined) this.uploads.delete(oldest);
    }
    const token = `document-${++this.sequence}`;
    this.uploads.set(token, { owner, octets: Buffer.alloc(CONTROL_MESSAGE_SIZE_MAX), size: 0 });
    return token;
  }

  /** Adds a piece; returns the octets there are now. */
  append(owner: object, token: string, text: string): number {
    const upload = this.find(owner, token);
    const size = upload.size + Buffer.byteLength(text);
    if (size > CONTROL_DOCUMENT_SIZE_MAX) {
      this.uploads.delete(token);
      throw new UserError([
        { code: 'limit', message: `the document is longer than ${CONTROL_DOCUMENT_SIZE_MAX} octets` },
      ]);
    }
    if (size > upload.octets.length) {
      const grown = Buffer.alloc(Math.min(CONTROL_DOCUMENT_SIZE_MAX, Math.max(size, upload.octets.length * 2)));
      upload.octets.copy(grown, 0, 0, upload.size);
      upload.octets = grown;
    }
    upload.octets.write(text, upload.size);
    upload.size = size;
    this.uploads.delete(token);
    this.uploads.set(token, upload);
    return size;
  }

  /** The whole text; the upload is over. */
  take(owner: object, token: string): string {
    const upload = this.find(owner, token);
    this.uploads.delete(token);
    return upload.octets.toString('utf8', 0, upload.size);
  }

  /** Forgets what a session that ended had begun. */
  drop(owner: object): void {
    for (const [token, upload] of this.uploads) if (upload.owner === owner) this.uploads.delete(token);
  }

  private find(owner: object, token: string): Upload {
    const upload = this.uploads.get(token);
    if (upload?.owner === owner) return upload;
    throw new UserError([
      { code: 'not-found', message: `no document ${token} is being sent`, fix: 'Begin again with document.begin.' },
    ]);
  }
}
