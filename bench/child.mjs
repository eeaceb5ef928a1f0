/**
 * Child processes of the benchmark: started in a network namespace, heard line by line, killed by their own pid. Every
 * one dies with the harness (parent-death signal), whatever becomes of it.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const STDERR_KEPT = 4096;

export class Child {
  /**
   * @param {string | null} namespace network namespace to run in; null: the harness's own
   * @param {string[]} command
   * @param {NodeJS.ProcessEnv} [environment] added to the harness's own
   */
  constructor(namespace, command, environment = {}) {
    const inside = namespace === null ? [] : ['ip', 'netns', 'exec', namespace];
    // `ip netns exec` and setpriv replace themselves by the command, so the pid is the command's own.
    const [program, ...rest] = [...inside, 'setpriv', '--pdeathsig', 'KILL', ...command];
    this.name = command.slice(0, 2).join(' ');
    this.process = spawn(program, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    /** @type {string[]} */
    this.lines = [];
    this.stderr = '';
    this.exited = false;
    /** @type {(() => void)[]} */
    this.waiters = [];
    this.listen();
  }

  /** The pid of the command itself. */
  get pid() {
    return /** @type {number} */ (this.process.pid);
  }

  /** @private */
  listen() {
    let rest = '';
    this.process.stdout?.setEncoding('utf8').on('data', (text) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      this.lines.push(...parts);
      this.wake();
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderr = (this.stderr + text).slice(-STDERR_KEPT);
    });
    this.process.on('error', (error) => {
      this.stderr += error.message;
      this.end();
    });
    this.process.on('close', () => this.end());
  }

  /** @private */
  wake() {
    for (const waiter of this.waiters.splice(0)) waiter();
  }

  /** @private */
  end() {
    this.exited = true;
    this.wake();
  }

  /**
   * The first line not yet taken that the test accepts; lines before it are passed over.
   * @param {(line: string) => boolean} accepts
   * @param {number} timeoutMs
   * @returns {Promise<string>}
   */
  async line(accepts, timeoutMs) {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      while (this.lines.length > 0) {
        const line = /** @type {string} */ (this.lines.shift());
        if (accepts(line)) return line;
      }
      if (this.exited) throw new Error(`${this.name} ended early: ${this.stderr.trim() || 'without a message'}`);
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${this.name} said nothing for ${timeoutMs} ms. ${this.stderr.trim()}`);
      await this.change(left);
    }
  }

  /**
   * Its next line of JSON, parsed.
   * @param {number} timeoutMs
   * @returns {Promise<Record<string, number>>}
   */
  async result(timeoutMs) {
    return JSON.parse(await this.line((line) => line.startsWith('{'), timeoutMs));
  }

  /**
   * Resolves on the next output or the end, at the latest after `timeoutMs`.
   * @param {number} timeoutMs @returns {Promise<void>}
   */
  change(timeoutMs) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.waiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Ends it at once, without waiting. */
  kill() {
    if (!this.exited) this.process.kill('SIGKILL');
  }

  /** Asks it to end, insists after two seconds, and waits until it is gone. */
  async stop() {
    if (this.exited) return;
    this.process.kill('SIGTERM');
    const insist = setTimeout(() => this.process.kill('SIGKILL'), 2000);
    while (!this.exited) await this.change(1000);
    clearTimeout(insist);
  }
}

/**
 * CPU time of all threads of the processes so far, in seconds, user and system. From the scheduler's nanosecond count
 * where the kernel keeps one: the clock ticks of `stat` are 10 ms.
 * @param {number[]} pids
 */
export function cpuSeconds(pids) {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`))
      nanoseconds += threadNanoseconds(`/proc/${pid}/task/${thread}`);
  }
  return nanoseconds / 1e9;
}

/** @param {string} directory */
function threadNanoseconds(directory) {
  try {
    return Number(readFileSync(`${directory}/schedstat`, 'utf8').split(' ')[0]);
  } catch {
    try {
      // Fields 14 and 15, counted behind the name, which may hold spaces.
      const fields = readFileSync(`${directory}/stat`, 'utf8').split(') ')[1].split(' ');
      return (Number(fields[11]) + Number(fields[12])) * 1e7;
    } catch {
      return 0; // The thread ended while we looked.
    }
  }
}

/** Seconds that all cores of the machine were busy so far, whoever kept them so. */
export function machineBusySeconds() {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) / 100;
}

/** @param {number} milliseconds @returns {Promise<void>} */
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
