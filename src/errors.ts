/**
 * The error kinds that are exceptions. Frame faults are drop reasons and back pressure is a returned count; neither is
 * ever thrown. Every message says what to do.
 */

/** Codes an operator's tool may rely on. One row a code; the text is the default message. */
export const errorCodes = {
  'bad-config': 'The configuration is not valid.',
  'bad-request': 'The request is not valid.',
  'not-found': 'There is no such object.',
  exists: 'An object of this name is there already.',
  'no-privilege': 'The process lacks a privilege.',
  'no-device': 'A device is missing.',
  'no-package': 'An optional package is missing.',
  'no-kernel-feature': 'The kernel lacks a feature.',
  busy: 'Another process is using it.',
  limit: 'A limit is reached.',
  unsupported: 'This version does not do that yet.',
  operating: 'A system call failed.',
  internal: 'The switch has a defect.',
} as const;
export type ErrorCode = keyof typeof errorCodes;

/** A failed system call or missing resource: which operation, which errno, what to do. */
export class OperatingError extends Error {
  override readonly name = 'OperatingError';
  readonly code: ErrorCode;
  /** errno's name (ENETDOWN), if a system call failed. */
  readonly errno?: string;
  /** What the operator can do. */
  readonly fix?: string;
  constructor(message: string, detail: { code?: ErrorCode; errno?: string; fix?: string } = {}) {
    super(message);
    this.code = detail.code ?? 'operating';
    if (detail.errno !== undefined) this.errno = detail.errno;
    if (detail.fix !== undefined) this.fix = detail.fix;
  }
}

/** One thing wrong in what a user wrote. */
export interface UserFault {
  readonly code: ErrorCode;
  readonly message: string;
  /** Config path: ports.vm1.acl.ingress */
  readonly path?: string;
  /** Line in the file, from 1. */
  readonly line?: number;
  readonly fix?: string;
}

/** A user's mistake; carries every fault found, not only the first. */
export class UserError extends Error {
  override readonly name = 'UserError';
  readonly faults: readonly UserFault[];
  constructor(faults: readonly UserFault[]) {
    super(faults.map((fault) => (fault.path ? `${fault.path}: ${fault.message}` : fault.message)).join('\n'));
    this.faults = faults;
  }
}
