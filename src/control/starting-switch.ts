/**
 * What answers at the control socket from the moment the socket is claimed until the switch forwards: `status` says that it
 * is not ready, everything else is refused with the reason. The socket is claimed before any device is touched, so a second
 * daemon fails there and then, and an operator who asks a slow start gets an answer. Main thread.
 */
import { monotonicMs } from '../dataplane/clock.js';
import { UserError } from '../errors.js';
import type { HealthResult, StatusResult } from './shapes.js';
import type { SwitchControl } from './switch-control.js';

const NO_RATE = { framesPerSecond: 0, bitsPerSecond: 0 };

/** Stands in for the switch, and passes everything on to it once it is there. */
export class StartingSwitch {
  /** To be given to whoever serves operators. */
  readonly control: SwitchControl;
  private readonly version: string;
  private readonly startedMs = monotonicMs();
  private running: SwitchControl | undefined;
  private isStopping = false;

  constructor(version: string) {
    this.version = version;
    this.control = new Proxy({} as SwitchControl, {
      get: (_, name) => this.methodOf(name as keyof SwitchControl),
    });
  }

  /** From now on requests are the running switch's to answer. */
  become(running: SwitchControl): void {
    this.running = running;
  }

  /** From now on nothing is asked of the switch any more: what it would look into is being taken down. */
  stop(): void {
    this.isStopping = true;
  }

  private methodOf(name: keyof SwitchControl): unknown {
    if (this.isStopping) return () => refuse('the switch is stopping', 'Start the daemon again.');
    const { running } = this;
    if (running !== undefined) return running[name].bind(running);
    if (name === 'status') return async () => this.status();
    if (name === 'health') return async (): Promise<HealthResult> => ({ healthy: false, workers: [] });
    return () => refuse('the switch is starting', 'Try again when weft status says that it is ready.');
  }

  private status(): StatusResult {
    return {
      version: this.version,
      uptimeSeconds: (monotonicMs() - this.startedMs) / 1000,
      pid: process.pid,
      ready: false,
      io: 'uring',
      ioReason: 'starting',
      workers: [],
      ports: { up: 0, down: 0, waiting: 0 },
      rates: { rx: NO_RATE, tx: NO_RATE },
      fdb: { entries: 0, capacity: 0 },
      connections: { used: 0, capacity: 0 },
      services: { names: NO_NAMES, metadata: NO_METADATA, connections: 0 },
      epoch: 0,
    };
  }
}

const NO_NAMES = { queries: 0, answered: 0, forwarded: 0, refused: 0, failed: 0, malformed: 0, outstanding: 0 };
const NO_METADATA = { requests: 0, answered: 0, refused: 0, failed: 0, outstanding: 0 };

function refuse(message: string, fix: string): never {
  throw new UserError([{ code: 'busy', message, fix }]);
}
