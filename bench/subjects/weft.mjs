/** weft itself, as an operator runs it: the built daemon with a config file, two TAP ports in one network. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { whenReady } from '../control-client.mjs';
import { DEVICE_A, DEVICE_B } from '../testbed.mjs';

const entry = fileURLToPath(new URL('../../dist/weft.js', import.meta.url));

/** How long a daemon may take to start, 1,000 ports included (the target is 20 s; slower is measured, not hidden). */
const READY_TIMEOUT_MS = 120_000;

export const weftAbsence = () => (existsSync(entry) ? null : 'dist/weft.js is not built (npm run build)');

/**
 * Starts a daemon on a config document and waits until it is ready.
 * @param {import('../testbed.mjs').Testbed} testbed
 * @param {Record<string, unknown>} config
 * @param {{ flags?: string[], side?: import('../testbed.mjs').Side }} [how] side: whose host, where there are two
 */
export async function startDaemon(testbed, config, { flags = [], side = 'a' } = {}) {
  const directory = `${testbed.directory}/weft-${side}`;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { mode: 0o700 });
  const configFile = `${directory}/weft.json`;
  const socketPath = `${directory}/control.sock`;
  writeFileSync(configFile, JSON.stringify(config));
  const command = [
    process.execPath,
    entry,
    'daemon',
    ...['--config', configFile, '--socket', socketPath, '--state-dir', `${directory}/state`],
    ...['--metrics', 'off', '--workers', '1', '--log-level', 'warn', ...flags],
  ];
  const daemon = testbed.host(command, { side });
  try {
    return { daemon, socketPath, status: await whenReady(socketPath, daemon, READY_TIMEOUT_MS) };
  } catch (error) {
    await daemon.stop();
    throw error;
  }
}

/**
 * @param {string} name
 * @param {string} title
 * @param {string[]} flags
 * @param {boolean} optional
 * @returns {import('./subject.mjs').Subject}
 */
function weftSubject(name, title, flags, optional) {
  return {
    name,
    title,
    optional,
    absence: weftAbsence,
    async start(testbed, { offload }) {
      const port = (/** @type {string} */ device) => ({
        kind: 'tap',
        device,
        network: 'lab',
        offload: offload ? 'auto' : 'off',
      });
      const config = {
        version: 1,
        networks: { lab: { type: 'local' } },
        ports: { a: port(DEVICE_A), b: port(DEVICE_B) },
      };
      const { daemon, status } = await startDaemon(testbed, config, { flags });
      testbed.attach(DEVICE_A, 'a');
      testbed.attach(DEVICE_B, 'b');
      return {
        pids: [daemon.pid],
        facts: { version: status.version, io: status.io, ioReason: status.ioReason },
        stop: () => daemon.stop(),
      };
    },
  };
}

export const weft = weftSubject('weft', 'weft', [], false);
export const weftPoll = weftSubject('weft-poll', 'weft, poll engine', ['--io', 'poll'], true);
