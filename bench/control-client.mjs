/** Calls one method of a running switch over its control socket: newline-delimited JSON-RPC 2.0. */
import { connect } from 'node:net';
import { sleep } from './child.mjs';

/**
 * @param {string} socketPath
 * @param {string} method
 * @param {Record<string, unknown>} [params]
 * @returns {Promise<any>} the result; rejects with the switch's own message
 */
export function call(socketPath, method, params = {}) {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })}\n`));
    socket.on('data', (chunk) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0) return;
      socket.destroy();
      const answer = JSON.parse(text.slice(0, end));
      if (answer.error) reject(new Error(`${method}: ${answer.error.message}`));
      else resolve(answer.result);
    });
    socket.on('error', reject);
    socket.on('end', () => reject(new Error(`${method}: the switch hung up`)));
  });
}

/**
 * Waits until the switch says that it is ready.
 * @param {string} socketPath
 * @param {import('./child.mjs').Child} daemon
 * @param {number} timeoutMs
 * @returns {Promise<any>} its status
 */
export async function whenReady(socketPath, daemon, timeoutMs) {
  const deadline = Date.now() + timeoutMs;
  let last = 'no answer';
  while (Date.now() < deadline && !daemon.exited) {
    try {
      const status = await call(socketPath, 'status');
      if (status.ready) return status;
      last = JSON.stringify(status);
    } catch (error) {
      last = /** @type {Error} */ (error).message;
    }
    await sleep(10);
  }
  throw new Error(`weft did not become ready within ${timeoutMs} ms (${last}). ${daemon.stderr.trim()}`);
}
