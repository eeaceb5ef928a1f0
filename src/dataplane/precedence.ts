/**
 * Who of the switch's threads comes first where more threads want to run than there are CPUs, so that frames don't wait for
 * work that can. Takes no privilege, and takes nothing from others: workers get no more of a CPU than machines do, only
 * sooner; what is done in the background gives way to both.
 *
 *   forwarding workers    nice as the daemon was started, in turns of 0.1 ms (3 and less are usual)
 *   main thread           as the daemon was started: it answers machines' DHCP and names, too
 *   long documents        nice 5 more
 *   V8's own threads      nice 5 more: they collect garbage and compile for all of the above
 *
 * Measured with 10,000 rules applied four times a second beside 5,000 round trips a second on two cores that others used as
 * well: waits of the worker of more than 1 ms in which the switch's own threads ran, 70 an apply before and 1 after. (With
 * nice -10 for the workers, as Open vSwitch's scripts start it, machines would wait for the switch; V8's threads as SCHED_IDLE
 * may get nothing for seconds, and the collector waits for what they have begun.)
 *
 * What the kernel does not know or refuses is left as it is: nothing depends on it.
 */
import { readdirSync } from 'node:fs';
import * as native from './native.js';

const BACKGROUND_NICE = 5;
const NICE_MAX = 19;
/** The least a thread can ask for. */
const TURN_NS = 100_000n;
/** struct sched_attr of its first version: size, policy (32 bits each), flags (64), nice, priority, then runtime, ... (64). */
const ATTRIBUTES_SIZE = 48;
const ATTRIBUTES_NICE = 16;
const ATTRIBUTES_RUNTIME = 24;

/**
 * Asks for the calling thread to run in short turns: of two that may run, the kernel prefers the one whose turn would end
 * sooner (EEVDF; a thread's own turn since Linux 6.12, ignored before). Returns whether that was taken.
 */
export function takeShortTurns(): boolean {
  const attributes = Buffer.alloc(ATTRIBUTES_SIZE);
  attributes.writeUInt32LE(ATTRIBUTES_SIZE, 0);
  attributes.writeInt32LE(native.niceOf(0), ATTRIBUTES_NICE);
  attributes.writeBigUInt64LE(TURN_NS, ATTRIBUTES_RUNTIME);
  return native.setScheduling(attributes) === 0;
}

/** Has the calling thread, or the one with this number of the kernel's, give way to others. */
export function giveWay(thread = 0): void {
  native.setNice(thread, Math.min(NICE_MAX, native.niceOf(thread) + BACKGROUND_NICE));
}

/** Has all threads of this process but the main one give way: before any but V8's own are started. */
export function haveHelpersGiveWay(): void {
  for (const thread of threadsOfProcess()) if (thread !== process.pid) giveWay(thread);
}

/** None where /proc is not mounted. */
function threadsOfProcess(): number[] {
  try {
    return readdirSync('/proc/self/task').map(Number);
  } catch {
    return [];
  }
}
