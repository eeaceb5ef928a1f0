/**
 * The benchmark in its shortest form, so that it doesn't rot: every subject that this machine has, every workload, a
 * fraction of a second each. Says nothing of speed.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const TIMEOUT_MS = 300_000;
const root = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'weft-bench-smoke-'));

interface Spread {
  readonly median: number;
}
interface Comparison {
  readonly workloads: readonly {
    readonly name: string;
    readonly metrics: readonly {
      readonly name: string;
      readonly bySubject: Readonly<Record<string, Spread | null>>;
      readonly weftTo: Readonly<Record<string, Spread>>;
      readonly targets: readonly { readonly subject: string; readonly reference: string | null }[];
    }[];
  }[];
}
interface SizeRow {
  readonly size: number;
  readonly nanoseconds: Spread;
}
interface Results {
  readonly machine: { readonly cores: number; readonly kernel: string };
  readonly versions: { readonly node: string; readonly weft: string };
  readonly seed: number;
  readonly absent: readonly { readonly name: string }[];
  readonly failures: readonly unknown[];
  readonly comparison: Comparison;
  readonly overlay: Comparison;
  readonly manyPorts: {
    readonly portCount: number;
    readonly portsUp: number;
    readonly train: { readonly sent: number; readonly lost: number };
  };
  readonly pipeline: {
    readonly byFdbEntries: readonly SizeRow[];
    readonly targets: readonly { readonly name: string }[];
  };
  readonly policy: Comparison;
  readonly policyPipeline: {
    readonly tcp: SizeRow['nanoseconds'];
    readonly byConnections: readonly SizeRow[];
    readonly byRules: readonly SizeRow[];
    readonly newConnectionsPerSecond: Spread;
  };
  readonly policyFlood: { readonly targets: readonly { readonly name: string; readonly met: boolean }[] };
  readonly policyApply: {
    readonly rules: number;
    readonly sent: number;
    readonly lost: number;
    readonly applyMilliseconds: Spread;
    readonly slowestQuiet: Spread;
    readonly slowestDuring: Spread;
    readonly longestWayQuiet: Spread;
    readonly longestWayDuring: Spread;
  };
  readonly routingPipeline: { readonly plain: Spread; readonly byPrefixes: readonly SizeRow[] };
  readonly nat: Comparison;
  readonly natPipeline: {
    readonly byWay: readonly { readonly way: string; readonly nanoseconds: Spread }[];
    readonly byConnections: readonly SizeRow[];
    readonly byStage: readonly { readonly stage: string; readonly nanoseconds: Spread }[];
    readonly newConnectionsPerSecond: Spread;
    readonly lastPortToFirst: Spread;
    readonly targets: readonly { readonly name: string }[];
  };
  readonly overlayPipeline: {
    readonly byWork: readonly { readonly work: string; readonly nanoseconds: Spread }[];
    readonly byNetworks: readonly SizeRow[];
    readonly byRemotes: readonly SizeRow[];
    readonly targets: readonly { readonly name: string; readonly value: number }[];
  };
  readonly merge: readonly {
    readonly works: readonly { readonly work: string; readonly gigabytesPerSecond: number }[];
  }[];
}

/** Runs the harness; its output is the message when it fails. */
function runBenchmark(args: readonly string[]): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'bench/run.mjs'), ...args], { cwd: root });
    let output = '';
    child.stdout.on('data', (text) => {
      output += text;
    });
    child.stderr.on('data', (text) => {
      output += text;
    });
    child.on('close', (status) => resolve({ status, output }));
  });
}

describe('the benchmark', () => {
  let results: Results;

  beforeAll(async () => {
    if (process.getuid?.() !== 0)
      throw new Error('The benchmark needs root for namespaces and TAPs: run the tests with sudo.');
    const { status, output } = await runBenchmark(['--smoke', '--results', directory]);
    expect(status, output).toBe(0);
    results = JSON.parse(readFileSync(join(directory, 'latest.json'), 'utf8'));
  }, TIMEOUT_MS);

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('measures weft and the C patch panels under every workload', () => {
    const main = new Map(results.comparison.workloads.map((workload) => [workload.name, workload.metrics[0]]));
    expect([...main.keys()]).toEqual(['tcp-offload', 'tcp-plain', 'frames-64', 'rr', 'idle']);
    for (const [name, metric] of main) {
      for (const subject of ['weft', 'c-readwrite', 'c-readwrite-busy', 'c-uring']) {
        const figure = metric?.bySubject[subject]?.median ?? Number.NaN;
        if (name === 'idle') expect(figure, `${name} ${subject}`).toBeGreaterThanOrEqual(0);
        else expect(figure, `${name} ${subject}`).toBeGreaterThan(0);
      }
    }
    expect(results.failures).toEqual([]);
  });

  it('measures tunnels of every kind between two hosts beside the kernel and Open vSwitch', () => {
    expect(results.overlay.workloads.map(({ name }) => name)).toEqual(['tcp-offload', 'tcp-plain', 'frames-64', 'rr']);
    for (const { name, metrics } of results.overlay.workloads) {
      const [{ bySubject, weftTo }] = metrics;
      for (const kind of ['vxlan', 'geneve', 'gre'])
        for (const subject of [`weft-${kind}`, `ovs-${kind}`])
          expect(bySubject[subject]?.median, `${name} ${subject}`).toBeGreaterThan(0);
      expect(bySubject['kernel-vxlan']?.median, `${name} kernel`).toBeGreaterThan(0);
      expect(weftTo['kernel-vxlan']?.median, `${name}, weft to the kernel`).toBeGreaterThan(0);
    }
  });

  it('judges the targets of tunnels by the subjects they name', () => {
    const judged = results.overlay.workloads.flatMap(({ name, metrics }) =>
      metrics.flatMap(({ targets }) => targets.map(({ subject, reference }) => `${name} ${subject} ${reference}`)),
    );
    expect(judged).toEqual([
      'tcp-offload weft-vxlan ovs-vxlan',
      'tcp-offload weft-geneve weft-vxlan',
      'tcp-offload weft-gre ovs-gre',
      'tcp-plain weft-vxlan kernel-vxlan',
      'tcp-plain weft-vxlan ovs-vxlan',
      'frames-64 weft-vxlan ovs-vxlan',
      'rr weft-vxlan kernel-vxlan',
    ]);
  });

  it('starts a switch with many ports and adds one without losing a datagram between two others', () => {
    expect(results.manyPorts.portsUp).toBe(results.manyPorts.portCount + 1);
    expect(results.manyPorts.train.sent).toBeGreaterThan(0);
    expect(results.manyPorts.train.lost).toBe(0);
  });

  it('measures the pipeline on memory ports', () => {
    for (const row of results.pipeline.byFdbEntries) expect(row.nanoseconds.median).toBeGreaterThan(0);
    expect(results.pipeline.targets.map(({ name }) => name)).toContain(
      'growth with FDB entries from 1,000 on, 500 pairs talking',
    );
  });

  it('measures a policy between two guests beside others that enforce the same', () => {
    const { workloads } = results.policy;
    expect(workloads.map(({ name }) => name)).toEqual(['frames-64-established', 'new-connections']);
    for (const { metrics } of workloads) {
      const [delivered] = metrics;
      expect(Object.keys(delivered!.bySubject)).toEqual(['weft', 'weft-policy', 'ovs-policy', 'linux-policy']);
      for (const figures of Object.values(delivered!.bySubject)) expect(figures!.median).toBeGreaterThan(0);
    }
  });

  it('measures policy on memory ports, and that a flood of connections harms nobody else', () => {
    const { tcp, byConnections, byRules, newConnectionsPerSecond } = results.policyPipeline;
    expect(tcp.median).toBeGreaterThan(0);
    for (const row of [...byConnections, ...byRules]) expect(row.nanoseconds.median).toBeGreaterThan(0);
    expect(newConnectionsPerSecond.median).toBeGreaterThan(0);
    expect(results.policyFlood.targets.map(({ met }) => met)).toEqual([true, true, true]);
  });

  it('replaces an ACL while datagrams pass, and loses none of them', () => {
    const { sent, lost, applyMilliseconds, slowestQuiet, slowestDuring, longestWayQuiet, longestWayDuring } =
      results.policyApply;
    expect(sent).toBeGreaterThan(0);
    expect(lost).toBe(0);
    for (const { median } of [applyMilliseconds, slowestQuiet, slowestDuring, longestWayQuiet, longestWayDuring])
      expect(median).toBeGreaterThan(0);
  });

  it('measures routing on memory ports beside plain L2, by prefixes', () => {
    const { plain, byPrefixes } = results.routingPipeline;
    expect(byPrefixes.map(({ size }) => size)).toEqual([10, 1_000]);
    for (const { median } of [plain, ...byPrefixes.map(({ nanoseconds }) => nanoseconds)])
      expect(median).toBeGreaterThan(0);
  });

  it('measures routers that translate beside others that do the same', () => {
    const { workloads } = results.nat;
    expect(workloads.map(({ name }) => name)).toEqual(['tcp-offload', 'frames-64-established', 'new-connections']);
    for (const { name, metrics } of workloads) {
      const [delivered] = metrics;
      expect(Object.keys(delivered!.bySubject)).toEqual(['weft', 'weft-nat', 'ovs-nat', 'kernel-nat']);
      for (const [subject, figures] of Object.entries(delivered!.bySubject))
        expect(figures?.median, `${name} ${subject}`).toBeGreaterThan(0);
      expect(delivered!.targets.length).toBeLessThanOrEqual(1);
    }
  });

  it('measures NAT on memory ports: by connections, by stage, of new connections, and when few ports are left', () => {
    const { byWay, byConnections, byStage, newConnectionsPerSecond, lastPortToFirst } = results.natPipeline;
    expect(byWay.map(({ way }) => way)).toEqual(['switched', 'routed', 'translated']);
    for (const { nanoseconds } of [...byWay, ...byConnections]) expect(nanoseconds.median).toBeGreaterThan(0);
    expect(byStage.map(({ stage }) => stage)).toContain('route');
    for (const { median } of [newConnectionsPerSecond, lastPortToFirst]) expect(median).toBeGreaterThan(0);
    expect(results.natPipeline.targets.length).toBe(4);
  });

  it('measures tunnels on memory ports: each kind, by networks and by remotes', () => {
    const { byWork, byNetworks, byRemotes, targets } = results.overlayPipeline;
    expect(byWork.map(({ work }) => work)).toEqual(
      ['L2', 'vxlan', 'geneve', 'gre'].flatMap((kind) => [`${kind}, out`, `${kind}, in`]),
    );
    for (const row of [...byWork, ...byNetworks, ...byRemotes]) expect(row.nanoseconds.median).toBeGreaterThan(0);
    expect(targets.map(({ value }) => Number.isFinite(value))).toEqual([true, true, true, true, true]);
  });

  it('measures segmentation and merging beside a copy', () => {
    expect(results.merge.length).toBe(2);
    for (const { works } of results.merge) {
      expect(works.map(({ work }) => work)).toEqual(['cut', 'merge', 'copy']);
      for (const { gigabytesPerSecond } of works) expect(gigabytesPerSecond).toBeGreaterThan(0);
    }
  });

  it('says what machine, versions and seed the figures belong to', () => {
    expect(results.machine.cores).toBeGreaterThan(0);
    expect(results.versions.node).toBe(process.version);
    expect(results.seed).toBeGreaterThan(0);
  });

  it('draws the figures', () => {
    expect(readFileSync(join(directory, 'comparison.svg'), 'utf8')).toMatch(
      /^<svg [\s\S]*C patch panel, io_uring[\s\S]*<\/svg>\n$/,
    );
    expect(readFileSync(join(directory, 'pipeline.svg'), 'utf8')).toMatch(/^<svg [\s\S]*FDB entries[\s\S]*<\/svg>\n$/);
    expect(readFileSync(join(directory, 'overlay.svg'), 'utf8')).toMatch(/^<svg [\s\S]*weft, GRE[\s\S]*<\/svg>\n$/);
    expect(readFileSync(join(directory, 'overlay-pipeline.svg'), 'utf8')).toMatch(/^<svg [\s\S]*VNIs[\s\S]*<\/svg>\n$/);
  });

  it('refuses an unknown name with the names there are', async () => {
    const { status, output } = await runBenchmark(['--only', 'no-such-switch']);
    expect(status).toBe(2);
    expect(output).toContain('--only knows no no-such-switch; there are weft,');
  });
});
