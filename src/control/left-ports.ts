/**
 * Ports that left the configuration, or got another device, while no daemon ran: what they left on the host (a TAP that
 * weft made, a host that was silenced) is undone at the next start, as it is when it happens under a running daemon. A
 * device that another port of the kind names now is that port's, with all that is remembered of it. Main thread.
 */
import type { PortIntent, PortKind } from '../dataplane/port.js';
import { OperatingError } from '../errors.js';
import type { Log } from './log.js';
import type { PortMemories } from './port-memories.js';

/** To be called before any port is opened. What can't be undone is logged, stays remembered, and is tried at the next start. */
export function undoLeftPorts(
  memories: PortMemories,
  kinds: Iterable<PortKind>,
  intents: readonly PortIntent[],
  log: Log,
): void {
  const heirs = new Map<string, string>();
  const known = [...kinds];
  for (const port of memories.ports) {
    const memory = memories.of(port);
    for (const { kind, leftBehind } of known) {
      const device = leftBehind?.deviceOf(memory);
      if (leftBehind === undefined || device === undefined) continue;
      const owner = intents.find((intent) => intent.kind === kind && intent.device === device)?.name;
      if (owner === port) continue;
      if (owner !== undefined) heirs.set(port, owner);
      else undo(port, device, () => leftBehind.undo(memory), log);
    }
  }
  memories.pass(heirs);
}

function undo(port: string, device: string, work: () => void, log: Log): void {
  try {
    work();
    log.info({ port, device }, 'a port left the configuration while no daemon ran; its device is given up');
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.warn({ port, device, err: error }, 'what a port left could not be undone');
  }
}
