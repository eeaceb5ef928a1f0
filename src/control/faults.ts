/** Turns whatever was thrown into the fault shapes that refusals and `--json` errors carry. No state. */
import type { z } from 'zod';
import { OperatingError, UserError, type UserFault } from '../errors.js';
import type { FaultShape } from './shapes.js';
import { didYouMean } from './suggest.js';

/** The faults of an expected error; undefined for anything else, which is a defect of the switch. */
export function faultsOf(error: unknown): readonly FaultShape[] | undefined {
  if (error instanceof UserError) return error.faults;
  if (error instanceof OperatingError) {
    const fault = { code: error.code, message: error.message };
    return [error.fix === undefined ? fault : { ...fault, fix: error.fix }];
  }
  return undefined;
}

/** `message (path, line 3). Do this.` as one line of text. */
export function faultText(fault: FaultShape): string {
  const place = [fault.path, fault.line === undefined ? undefined : `line ${fault.line}`].filter(Boolean).join(', ');
  const head = place === '' ? fault.message : `${place}: ${fault.message}`;
  return fault.fix === undefined ? head : `${head}\n  ${fault.fix}`;
}

/** What zod found wrong with parameters, one fault an issue; `known` are the names that exist at the top level. */
export function parameterFaults(error: z.ZodError, known: readonly string[]): UserFault[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.map(String).join('.');
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        code: 'bad-request' as const,
        message: `there is no parameter ${key}${didYouMean(key, known)}`,
        path: path === '' ? key : `${path}.${key}`,
      }));
    }
    const fault = { code: 'bad-request' as const, message: lowerFirst(issue.message) };
    return [path === '' ? fault : { ...fault, path }];
  });
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
