import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

interface Script {
  benchSection(run: object): string;
  withFigures(readme: string, results: string | undefined): string;
}
const place = fileURLToPath(new URL('../../scripts/readme-figures.mjs', import.meta.url));
const { benchSection, withFigures } = (await import(place)) as Script;

const figures = (median: number) => ({ median, min: median * 0.9, max: median * 1.1 });
const run = {
  date: '2030-01-02',
  machine: { cores: 2, processor: 'Processor', kernel: '6.1' },
  versions: { node: 'v20.0.0' },
  rounds: 7,
  seconds: 3,
  smoke: false,
  comparison: {
    subjects: { other: { title: 'Other switch' }, weft: { title: 'weft' }, unused: { title: 'Never ran' } },
    workloads: [
      {
        title: 'Frames',
        metrics: [
          {
            text: 'delivered',
            unit: 'frames/s',
            better: 'higher',
            bySubject: { weft: figures(1_500_000), other: figures(1_000_000), unused: null },
            weftTo: { other: { median: 1.5 } },
          },
          { text: 'offered', unit: 'frames/s', better: null, bySubject: { weft: figures(1) }, weftTo: {} },
        ],
      },
    ],
  },
};

describe("the README's figures", () => {
  it('are a table of medians, with ratios and what they were measured on', () => {
    expect(benchSection(run)).toBe(
      [
        'Measured 2030-01-02 on 2 cores of Processor, Linux 6.1, Node v20.0.0: medians of 7 rounds of 3 s, all switches interleaved in one run.',
        '',
        '| | weft | Other switch |',
        '| --- | --: | --: |',
        '| Frames: delivered, frames/s, higher is better | **1.5 M** (1.35 M to 1.65 M) | 1 M; weft 1.50 x |',
        '',
        '![the same as bars](bench/results/comparison.svg)',
        '',
      ].join('\n'),
    );
  });

  it('tell of the pipeline and of many ports', () => {
    const row = (size: number, median: number) => ({ size, nanoseconds: { median } });
    const text = benchSection({
      ...run,
      comparison: undefined,
      pipeline: { byFdbEntries: [row(1, 60), row(1_000_000, 75.4)], byPorts: [row(2, 61), row(1000, 70)] },
      manyPorts: { portCount: 1000, targets: [{ name: 'readySeconds', value: 3.21 }] },
    });
    expect(text).toContain(
      '60 ns with 1 FDB entries, 75 ns with 1,000,000 FDB entries, 61 ns with 2 ports, 70 ns with 1,000 ports',
    );
    expect(text).toContain('**1,000 TAP ports on one switch**: readySeconds 3.21.');
  });

  it('have a row for each kind of tunnel between two hosts, and what it costs in the pipeline', () => {
    const metric = {
      name: 'gigabitsPerSecond',
      text: 'payload delivered',
      unit: 'Gbit/s',
      better: 'higher',
      bySubject: { 'weft-vxlan': figures(13.34), 'kernel-vxlan': figures(38.8), 'ovs-vxlan': null },
      weftTo: { 'kernel-vxlan': { median: 0.344 } },
    };
    const text = benchSection({
      ...run,
      comparison: undefined,
      overlay: {
        subjects: { 'kernel-vxlan': { title: 'Kernel' }, 'weft-vxlan': { title: 'weft, VXLAN' } },
        workloads: [{ title: 'TCP', metrics: [metric, { ...metric, name: 'gigabitsPerCpuSecond' }] }],
      },
      overlayPipeline: { targets: [{ name: 'growth with VNIs', value: 1.234 }] },
      merge: [{ family: 'IPv4', works: [{ work: 'merge', gigabytesPerSecond: 11.04 }] }],
    });
    expect(text).toContain(
      [
        '| tunnels between two hosts | TCP: payload delivered, Gbit/s, higher is better |',
        '| --- | --: |',
        '| weft, VXLAN | **13.3** |',
        '| Kernel | 38.8; weft 0.34 x |',
        '',
        '![the same as bars](bench/results/overlay.svg)',
      ].join('\n'),
    );
    expect(text).toContain('on memory ports: growth with VNIs 1.23.');
    expect(text).toContain('GB/s of payload, IPv4: merging 11.');
  });

  it('are not there when weft was not measured, or only in a smoke run', () => {
    const nothing = 'Not measured yet';
    expect(benchSection({ ...run, smoke: true })).toContain(nothing);
    expect(benchSection({ ...run, comparison: undefined })).toContain(nothing);
    expect(withFigures('a\n<!-- bench -->\nold\n<!-- /bench -->\nz\n', undefined)).toMatch(
      /^a\n<!-- bench -->\nNot measured yet.*\n<!-- \/bench -->\nz\n$/,
    );
  });

  it('replace what stood there and nothing else', () => {
    const text = withFigures('a\n<!-- bench -->\nold\n<!-- /bench -->\nz\n', JSON.stringify(run));
    expect(text).toBe(`a\n<!-- bench -->\n${benchSection(run)}<!-- /bench -->\nz\n`);
  });
});
