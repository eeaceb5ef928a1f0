/** Every subject of the benchmark, in the order reports and plots show them. A new one: its file, one line here. */
import { readWrite, readWriteBusy, uring } from './c-patch.mjs';
import { linuxBridge } from './linux-bridge.mjs';
import { kernelNat, openVswitchNat, weftNat } from './nat.mjs';
import { openVswitch } from './open-vswitch.mjs';
import { kernelVxlan } from './overlay-kernel.mjs';
import { openVswitchGeneve, openVswitchGre, openVswitchVxlan } from './overlay-open-vswitch.mjs';
import { weftGeneve, weftGre, weftGreRawSocket, weftVxlan } from './overlay-weft.mjs';
import { linuxBridgeNftables, openVswitchConntrack, weftPolicy } from './policy.mjs';
import { weft, weftPoll } from './weft.mjs';

/** One switch between two guests. @type {readonly import('./subject.mjs').Subject[]} */
export const subjects = [weft, weftPoll, readWrite, readWriteBusy, uring, openVswitch, linuxBridge];

/** Two switches on two hosts. @type {readonly import('./subject.mjs').Subject[]} */
export const overlaySubjects = [
  ...[weftVxlan, weftGeneve, weftGre, weftGreRawSocket, kernelVxlan],
  ...[openVswitchVxlan, openVswitchGeneve, openVswitchGre],
];

/** One switch that enforces a policy between two guests; the first does not, to say what policy costs. */
export const policySubjects = [weft, weftPolicy, openVswitchConntrack, linuxBridgeNftables];

/** One router between two guests that hides the first; the first subject is a switch, to say what a router costs. */
export const natSubjects = [weft, weftNat, openVswitchNat, kernelNat];
