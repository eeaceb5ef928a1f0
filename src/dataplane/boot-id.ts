/** Tells one boot of the machine from the next: what is remembered of devices over a restart ends with it. */
import { readFileSync } from 'node:fs';

let known: string | undefined;

export function bootId(): string {
  known ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return known;
}
