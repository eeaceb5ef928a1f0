/**
 * The daemon's composition root: reads the configuration, starts the dataplane, opens the control socket and the metrics,
 * and ends in order on SIGTERM or SIGINT. Main thread.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { pino } from 'pino';
import type { DaemonOptions } from './control/command.js';
import { rpcMethods } from './control/commands/registry.js';
import { Controller } from './control/controller.js';
import { MetricsServer, parseMetricsAddress } from './control/metrics.js';
import { RpcServer } from './control/rpc-server.js';
import { StartingSwitch } from './control/starting-switch.js';
import { lockState } from './control/state-lock.js';
import { SwitchService } from './control/switch-service.js';
import { portKinds } from './dataplane/ports/registry.js';
import { haveHelpersGiveWay } from './dataplane/precedence.js';
import { OperatingError } from './errors.js';
import { WORKERS_MAX } from './limits.js';

/** tmpfs on every current distribution: state lives as long as the machine is up. */
const STATE_DIRECTORY = '/run/weft/state';

/**
 * The collector of short-lived objects works in the thread that made them: spread over V8's four threads it is done no
 * sooner on few cores, and keeps every one of them busy at once, so that no core is left for the workers. Read each time it
 * runs, unlike most flags, which must not be changed in a running process.
 */
const COLLECTOR_FLAG = '--no-parallel-scavenge';

/**
 * Runs until told to stop; resolves to the exit status. What prevents a start is thrown as a UserError or OperatingError.
 *
 * The state directory and the control socket are claimed before anything else is touched: a second daemon changes nothing
 * of the first one's. Told to stop while it starts it opens no more ports and ends in order; told twice, it dies at once.
 */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  setFlagsFromString(COLLECTOR_FLAG);
  haveHelpersGiveWay();
  const version = packageVersion();
  const log = pino({ level: options.logLevel, base: null }, pino.destination(2));
  const address = parseMetricsAddress(options.metrics);
  const workers = workerCount(options.workers);
  const stateDirectory = options.stateDir ?? STATE_DIRECTORY;
  const stop = new StopSignal();
  const starting = new StartingSwitch(version);
  const { control } = starting;
  const closers: (() => Promise<void>)[] = [];
  try {
    const lock = lockState(stateDirectory);
    closers.unshift(async () => lock.release());
    const server = await RpcServer.listen({ path: options.socket, control, methods: rpcMethods, version, log });
    closers.unshift(() => server.close());
    if (address !== undefined) {
      const metrics = await MetricsServer.listen(control, address);
      closers.unshift(() => metrics.close());
    }
    const controller = await Controller.start({
      version,
      configFile: options.config,
      stateDirectory,
      workers,
      io: options.io,
      workerFile: fileURLToPath(new URL('./worker.js', import.meta.url)),
      documentFile: fileURLToPath(new URL('./control/document-thread.js', import.meta.url)),
      kinds: portKinds,
      log,
      stopping: stop.aborted,
    });
    // Behind the server and the metrics, whose last requests still look into it.
    closers.splice(closers.length - 1, 0, async () => {
      starting.stop();
      await controller.close();
    });
    starting.become(new SwitchService(controller));
    log.info({ socket: options.socket, metrics: options.metrics, pid: process.pid, version }, 'weft is ready');
    log.info({ signal: await stop.received }, 'stopping');
  } catch (error) {
    if (!stop.aborted.aborted) throw error;
    log.info({ err: error }, 'stopped before it was ready');
  } finally {
    for (const close of closers)
      await close().catch((err: unknown) => log.error({ err }, 'not everything could be closed'));
  }
  return 0;
}

/** `auto` leaves a core to the machines that are switched for; one worker carries more than most hosts ask for. */
function workerCount(asked: number | 'auto'): number {
  const count = asked === 'auto' ? Math.min(4, Math.max(1, availableParallelism() - 1)) : asked;
  if (count < 1 || count > WORKERS_MAX) {
    throw new OperatingError(`--workers ${count}: between 1 and ${WORKERS_MAX}`, { code: 'limit' });
  }
  return count;
}

/** The first signal asks; a second one finds no listener and kills. */
class StopSignal {
  readonly received: Promise<string>;
  private readonly controller = new AbortController();

  constructor() {
    this.received = new Promise((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
        process.once(signal, () => {
          for (const other of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.removeAllListeners(other);
          this.controller.abort();
          resolve(signal);
        });
      }
    });
  }

  get aborted(): AbortSignal {
    return this.controller.signal;
  }
}

function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
