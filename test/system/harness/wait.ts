/** Waiting for what takes its time on a machine shared with others: generous, and with words for what did not come. */
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE_MS = 20_000;

/** Looks until it holds. `look` may throw: then it does not hold yet, and the last error is told at the end. */
export async function until(
  what: string,
  look: () => boolean | Promise<boolean>,
  { timeoutMs = PATIENCE_MS, everyMs = 25 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let trouble = '';
    try {
      if (await look()) return;
    } catch (error) {
      trouble = `: ${(error as Error).message}`;
    }
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}${trouble}`);
    await sleep(everyMs);
  }
}
