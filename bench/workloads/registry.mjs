/** Every workload between two guests. A new one: its file, one line here, and its figures in targets.mjs if it has any. */
import { frames64, frames64Established, newConnections } from './frames.mjs';
import { idle } from './idle.mjs';
import { requestResponse } from './request-response.mjs';
import { tcpOffload, tcpPlain } from './tcp-stream.mjs';

/** @type {readonly import('./workload.mjs').Workload[]} */
export const workloads = [tcpOffload, tcpPlain, frames64, requestResponse, idle];

/** Those that are measured between two hosts, too. @type {readonly import('./workload.mjs').Workload[]} */
export const overlayWorkloads = [tcpOffload, tcpPlain, frames64, requestResponse];

/** Those that are measured between two guests with a policy. */
export const policyWorkloads = [frames64Established, newConnections];

/** Those that are measured between two guests with a router that translates. */
export const natWorkloads = [tcpOffload, frames64Established, newConnections];
