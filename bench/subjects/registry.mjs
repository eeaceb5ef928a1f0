/** Every subject of the benchmark, in the order reports and plots show them. A new one: its file, one line here. */
import { readWrite, readWriteBusy, uring } from './c-patch.mjs';
import { linuxBridge } from './linux-bridge.mjs';
import { openVswitch } from './open-vswitch.mjs';
import { weft, weftPoll } from './weft.mjs';

/** @type {readonly import('./subject.mjs').Subject[]} */
export const subjects = [weft, weftPoll, readWrite, readWriteBusy, uring, openVswitch, linuxBridge];
