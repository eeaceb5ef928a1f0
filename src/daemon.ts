/**
 * The daemon's composition root: reads the configuration, starts the dataplane, opens the control socket and the metrics,
 * and ends in order on SIGTERM or SIGINT. Main thread.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import type { DaemonOptions } from './control/command.js';
import { rpcMethods } from './control/commands/registry.js';
import { Controller } from './control/controller.js';
import { MetricsServer, parseMetricsAddress } from './control/metrics.js';
import { RpcServer } from './control/rpc-server.js';
import { SwitchService } from './control/switch-service.js';
import { portKinds } from './dataplane/ports/registry.js';
import { OperatingError } from './errors.js';
import { WORKERS_MAX } from './limits.js';

/** tmpfs on every current distribution: state lives as long as the machine is up. */
const STATE_DIRECTORY = '/run/weft/state';

/** Runs until told to stop; resolves to the exit status. What prevents a start is thrown as a UserError or OperatingError. */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  const version = packageVersion();
  const log = pino({ level: options.logLevel, base: null }, pino.destination(2));
  const address = parseMetricsAddress(options.metrics);
  const controller = await Controller.start({
    version,
    configFile: options.config,
    stateDirectory: options.stateDir ?? STATE_DIRECTORY,
    workers: workerCount(options.workers),
    io: options.io,
    workerFile: fileURLToPath(new URL('./worker.js', import.meta.url)),
    kinds: portKinds,
    log,
  });
  const closers: { close(): Promise<void> }[] = [controller];
  const control = new SwitchService(controller);
  try {
    const server = await RpcServer.listen({ path: options.socket, control, methods: rpcMethods, version, log });
    closers.unshift(server);
    if (address !== undefined) closers.unshift(await MetricsServer.listen(control, address));
    log.info({ socket: options.socket, metrics: options.metrics, pid: process.pid, version }, 'weft is ready');
    const signal = await stopSignal();
    log.info({ signal }, 'stopping');
  } finally {
    for (const closer of closers) await closer.close();
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

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => resolve(signal));
  });
}

function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
