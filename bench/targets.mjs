/** What weft must reach, as a ratio to a reference measured in the same run, or as an absolute bound. */

/**
 * @typedef {{ workload: string, metric: string, subject?: string, reference: string | null, atLeast?: number,
 *   atMost?: number }} Target
 * `subject`: whose figure it is, weft's when absent. `reference` null: the bound holds for the figure itself.
 */

/** @type {readonly Target[]} */
export const targets = [
  { workload: 'tcp-offload', metric: 'gigabitsPerSecond', reference: 'c-readwrite', atLeast: 0.95 },
  { workload: 'tcp-plain', metric: 'gigabitsPerSecond', reference: 'c-readwrite', atLeast: 1.3 },
  { workload: 'tcp-plain', metric: 'gigabitsPerSecond', reference: 'c-uring', atLeast: 0.95 },
  { workload: 'frames-64', metric: 'framesPerSecond', reference: 'c-readwrite', atLeast: 1.1 },
  { workload: 'frames-64', metric: 'framesPerSecond', reference: 'c-uring', atLeast: 0.95 },
  { workload: 'frames-64', metric: 'framesPerCpuSecond', reference: 'c-readwrite', atLeast: 1.1 },
  { workload: 'frames-64', metric: 'framesPerCpuSecond', reference: 'c-uring', atLeast: 0.95 },
  { workload: 'rr', metric: 'p50', reference: 'c-readwrite-busy', atMost: 1.15 },
  { workload: 'rr', metric: 'p99', reference: 'c-readwrite-busy', atMost: 2 },
  { workload: 'idle', metric: 'corePercent', reference: null, atMost: 0.5 },
];

/** Between two hosts. @type {readonly Target[]} */
export const overlayTargets = [
  { workload: 'tcp-offload', metric: 'gigabitsPerSecond', subject: 'weft-vxlan', reference: 'ovs-vxlan', atLeast: 6 },
  {
    workload: 'tcp-offload',
    metric: 'gigabitsPerSecond',
    subject: 'weft-geneve',
    reference: 'weft-vxlan',
    atLeast: 0.9,
  },
  { workload: 'tcp-offload', metric: 'gigabitsPerSecond', subject: 'weft-gre', reference: 'ovs-gre', atLeast: 3 },
  {
    workload: 'tcp-plain',
    metric: 'gigabitsPerSecond',
    subject: 'weft-vxlan',
    reference: 'kernel-vxlan',
    atLeast: 0.5,
  },
  { workload: 'tcp-plain', metric: 'gigabitsPerSecond', subject: 'weft-vxlan', reference: 'ovs-vxlan', atLeast: 2 },
  { workload: 'frames-64', metric: 'framesPerSecond', subject: 'weft-vxlan', reference: 'ovs-vxlan', atLeast: 4 },
  { workload: 'rr', metric: 'p50', subject: 'weft-vxlan', reference: 'kernel-vxlan', atMost: 1.5 },
];

/** Between two guests with a policy. @type {readonly Target[]} */
export const policyTargets = [
  {
    workload: 'frames-64-established',
    metric: 'framesPerCpuSecond',
    subject: 'weft-policy',
    reference: 'weft',
    atLeast: 0.85,
  },
  {
    workload: 'new-connections',
    metric: 'framesPerSecond',
    subject: 'weft-policy',
    reference: null,
    atLeast: 100_000,
  },
];

/** Between two guests with a router that translates. @type {readonly Target[]} */
export const natTargets = [
  { workload: 'tcp-offload', metric: 'gigabitsPerSecond', subject: 'weft-nat', reference: 'weft', atLeast: 0.85 },
  {
    workload: 'frames-64-established',
    metric: 'framesPerCpuSecond',
    subject: 'weft-nat',
    reference: 'weft',
    atLeast: 0.8,
  },
  { workload: 'new-connections', metric: 'framesPerSecond', subject: 'weft-nat', reference: null, atLeast: 70_000 },
];

/** For many-ports.mjs. */
export const manyPortsTargets = { readySeconds: 20, addMilliseconds: 50, lost: 0, idleCorePercent: 0.5 };
/** For pipeline.mjs: ns a frame, and the growth allowed from the smallest table to the largest. */
export const pipelineTargets = { nanosecondsPerFrame: 120, growth: 1.3 };
/** For overlay-pipeline.mjs: ns that encapsulation and decapsulation of a frame add, and growth with VNIs and remotes. */
export const overlayPipelineTargets = { addedNanoseconds: 150, growth: 1.3 };

/** For routing-pipeline.mjs: growth of ns a frame from ten prefixes to 100,000. */
export const routingPipelineTargets = { prefixesGrowth: 2 };

/**
 * For nat-pipeline.mjs: ns a frame on established connections, growth from 1,000 connections to a million, connections begun a
 * second, and how many times as long the last free port may take as the first.
 */
export const natPipelineTargets = {
  nanosecondsPerFrame: 350,
  connectionsGrowth: 2,
  newConnections: 200_000,
  lastPort: 3,
};

/**
 * For policy-pipeline.mjs: ns a frame on established connections, growth from 1,000 connections to a million and from ten
 * rules to 10,000, connections begun a second.
 */
export const policyPipelineTargets = {
  nanosecondsPerFrame: 250,
  connectionsGrowth: 2,
  rulesGrowth: 1.3,
  newConnections: 300_000,
};

/** For policy-apply.mjs: how long 10,000 other rules take to be in force, and how much later the slowest frame is meanwhile. */
export const policyApplyTargets = { applyMilliseconds: 1000, extraMilliseconds: 1 };

/**
 * @param {{ atLeast?: number, atMost?: number }} target
 * @param {number} value
 */
export function meets(target, value) {
  return value >= (target.atLeast ?? -Infinity) && value <= (target.atMost ?? Infinity);
}

/**
 * Figures with whether they are met.
 * @template {{ atLeast?: number, atMost?: number, value: number }} T
 * @param {readonly T[]} figures
 */
export const judged = (figures) => figures.map((figure) => ({ ...figure, met: meets(figure, figure.value) }));
