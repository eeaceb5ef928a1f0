/**
 * Checks the texts of configuration documents for the daemon: short ones there and then, long ones one at a time in a
 * thread that ends when there have been none for a while, because a text of 16 MiB takes seconds, in which the main thread
 * has workers to watch, ports to follow and operators to answer. Main thread.
 *
 * A text that is made to be expensive costs its sender time and nobody else anything: the thread's heap and its time are
 * bounded, and so is what waits for it.
 */
import { Piscina } from 'piscina';
import { UserError, type UserFault } from '../errors.js';
import {
  CONTROL_DOCUMENTS_MAX,
  DOCUMENT_CHECK_MAX_MS,
  DOCUMENT_DIRECT_LENGTH_MAX,
  DOCUMENT_HEAP_MIB,
  DOCUMENT_THREAD_IDLE_MS,
} from '../limits.js';
import { type CheckedDocument, checkDocument } from './check.js';
import { documentOf, parseDocument } from './document.js';
import type { checkText, DocumentTask } from './document-thread.js';

type Outcome = ReturnType<typeof checkText>;

export class DocumentChecks {
  private readonly piscina: Piscina<DocumentTask, Outcome>;
  /** Being checked and waiting. */
  private count = 0;
  private isClosed = false;

  /** `threadFile`: document-thread.js as it lies on disk. */
  constructor(threadFile: string) {
    this.piscina = new Piscina<DocumentTask, Outcome>({
      filename: threadFile,
      minThreads: 0,
      maxThreads: 1,
      // Changes come in groups: who begins anew loads modules for some 200 ms, and compiles them as it goes.
      idleTimeout: DOCUMENT_THREAD_IDLE_MS,
      resourceLimits: { maxOldGenerationSizeMb: DOCUMENT_HEAP_MIB },
    });
    // Of a thread that died: whoever waits for its text hears of it by the task's promise. Unheard it would end the process.
    this.piscina.on('error', () => undefined);
  }

  /** Parses, validates and resolves. Throws a UserError with every fault and its line. */
  async check(text: string, fileName: string): Promise<CheckedDocument> {
    if (text.length <= DOCUMENT_DIRECT_LENGTH_MAX) return checkDocument(parseDocument(text, fileName));
    if (this.count >= CONTROL_DOCUMENTS_MAX) {
      throw refusal('busy', `${this.count} long documents are being checked already`, 'Try again in a moment.');
    }
    this.count++;
    try {
      const outcome = await this.inThread({ text, fileName });
      if ('faults' in outcome) throw new UserError(outcome.faults);
      const { value, config, resolved } = outcome;
      return { source: documentOf(value, fileName), config, resolved };
    } finally {
      this.count--;
    }
  }

  /** What is being checked is given up, and refused. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.piscina.destroy();
  }

  private async inThread(task: DocumentTask): Promise<Outcome> {
    // From here on, not from when its turn comes: those before it have the same bound.
    const patience = AbortSignal.timeout(DOCUMENT_CHECK_MAX_MS * this.count);
    try {
      return await this.piscina.run(task, { name: 'checkText', signal: patience });
    } catch (error) {
      if (this.isClosed) throw refusal('busy', 'the switch is stopping', 'Start the daemon again.');
      const fix = 'Write it shorter or less deeply nested.';
      if (patience.aborted) throw refusal('limit', `${task.fileName} takes too long to check`, fix);
      if (!isOutOfMemory(error)) throw error;
      throw refusal('limit', `${task.fileName} takes more than ${DOCUMENT_HEAP_MIB} MiB of memory to check`, fix);
    }
  }
}

function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
}

function refusal(code: UserFault['code'], message: string, fix: string): UserError {
  return new UserError([{ code, message, fix }]);
}
