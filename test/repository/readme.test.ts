/** The README is true: what it shows works, what it lists is what there is. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { METRICS_DEFAULT } from '../../src/control/commands/daemon.js';
import { commands } from '../../src/control/commands/registry.js';
import { parseDocument } from '../../src/control/document.js';
import { SwitchMetrics } from '../../src/control/metrics.js';
import { portKinds } from '../../src/control/schema.js';
import { dropReasons, dropReasonText } from '../../src/dataplane/drop-reason.js';
import * as limits from '../../src/limits.js';
import { egressStages, ingressStages } from '../../src/pipeline/pipeline.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');
const readme = read('README.md');
const manifest = JSON.parse(read('package.json')) as {
  readonly scripts: Readonly<Record<string, string>>;
  readonly engines: { readonly node: string };
};

function section(title: string): string {
  const found = new RegExp(`^## ${title}\n([\\s\\S]*?)(?=^## |(?![\\s\\S]))`, 'm').exec(readme);
  expect(found, `a section "${title}"`).not.toBeNull();
  return found?.[1] ?? '';
}

/** Cells of the section's table rows, without title and rule. */
function rows(title: string): string[][] {
  const lines = section(title)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  return lines.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const code = (text: string) => text.replaceAll('`', '');
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, text = '']) => text);

describe('the README', () => {
  it('shows configurations that weft accepts', () => {
    expect(blocks('yaml').length).toBeGreaterThanOrEqual(2);
    for (const text of blocks('yaml')) expect(() => checkDocument(parseDocument(text, 'README.md'))).not.toThrow();
  });

  it('quotes the fault that its misspelt network gives', () => {
    const text = 'version: 1\nnetworks: { red: { type: local } }\nports: { vm2: { kind: tap, network: rde } }\n';
    expect(() => checkDocument(parseDocument(text, 'switch.yaml'))).toThrow('no network named rde (did you mean red?)');
    expect(readme).toContain('ports.vm2.network, line 8: no network named rde (did you mean red?)');
  });

  it('gives one command that shows traffic and one that tests, which is the one CI runs', () => {
    const [demo, test] = [...section('Quick start').matchAll(/^```sh\n(.*)\n```$/gm)].map(
      ([, command = '']) => command,
    );
    expect([demo, test]).toEqual(['npm run demo', 'npm test']);
    expect(manifest.scripts).toMatchObject({ demo: 'node scripts/demo.mjs', test: 'node scripts/test.mjs' });
    expect(read('.ci/run').trim().split('\n').at(-1)).toBe(`cd "$(dirname "$0")/.." && exec ${test}`);
  });

  it('names only npm scripts that there are', () => {
    const named = [...readme.matchAll(/npm run ([a-z-]+)/g)].map(([, name = '']) => name);
    expect(named.length).toBeGreaterThan(3);
    for (const name of named) expect(Object.keys(manifest.scripts)).toContain(name);
  });

  it('lists every command with its summary', () => {
    const expected = commands.filter(({ hidden }) => !hidden).map(({ words, summary }) => [`weft ${words}`, summary]);
    expect(rows('Commands').map(([name = '', summary = '']) => [code(name), summary])).toEqual(expected);
  });

  it('lists every drop reason with its sentence', () => {
    const expected = dropReasons.filter((name) => name !== 'none').map((name) => [`\`${name}\``, dropReasonText(name)]);
    expect(rows('Drop reasons')).toEqual(expected);
  });

  it('lists every metric with its labels', async () => {
    const metrics = await new SwitchMetrics().registry.getMetricsAsJSON();
    const listed = rows('Metrics').map(([name = '']) => code(name));
    expect(listed.sort()).toEqual(metrics.map(({ name }) => name).sort());
    expect(section('Metrics')).toContain(`http://${METRICS_DEFAULT}/metrics`);
  });

  it('states limits as they are', () => {
    const stated = rows('Limits').map(([, value = '', name = '']) => [code(name), Number(value.replaceAll(',', ''))]);
    expect(stated.length).toBeGreaterThan(10);
    const actual: Readonly<Record<string, unknown>> = limits;
    expect(stated).toEqual(stated.map(([name]) => [name, actual[String(name)]]));
  });

  it('follows a frame through the stages that there are, in their order', () => {
    const text = section('Life of a frame');
    const steps = [...text.matchAll(/^\d+\. \*\*([a-z-]+)\*\*/gm)].map(([, name]) => name);
    const names = [...ingressStages, ...egressStages].map(({ name }) => name);
    expect(steps).toEqual(['receive', ...names]);
    const picture = /```\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
    expect(picture.match(/[a-z-]*[a-z](?= ->|$)/gm)).toEqual(['receive', ...names]);
    expect(text).toContain(`up to ${limits.BATCH_SIZE} frames`);
  });

  it('names every port kind', () => {
    const kinds = /\*\*Kinds\*\*:([\s\S]*?)\n- /.exec(section('Configuration'))?.[1] ?? '';
    for (const kind of Object.keys(portKinds)) expect(kinds).toContain(`\`${kind}\` (`);
  });

  it('lists the system packages that the tests install', async () => {
    const script = (await import(`${root}scripts/system-packages.mjs`)) as {
      readonly systemPackages: { readonly tests: object; readonly demo: object };
    };
    const listed = /<!-- packages -->([\s\S]*?)<!-- \/packages -->/.exec(readme)?.[1] ?? '';
    const names = [...listed.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
    expect(names).toEqual(Object.keys(script.systemPackages.tests));
    expect(names.slice(0, 2)).toEqual(Object.keys(script.systemPackages.demo));
  });

  it('states the Node version that package.json asks for', () => {
    const least = /^>=(\d+\.\d+)$/.exec(manifest.engines.node)?.[1];
    expect(readme).toContain(`**Node ${least} or newer.**`);
  });

  it('has the figures of the last benchmark and no others', async () => {
    const script = (await import(`${root}scripts/readme-figures.mjs`)) as {
      withFigures(readme: string, results: string | undefined): string;
    };
    const results = existsSync(`${root}bench/results/latest.json`) ? read('bench/results/latest.json') : undefined;
    expect(readme, 'npm run figures').toBe(script.withFigures(readme, results));
  });

  it('points at files that exist', () => {
    const targets = [...readme.matchAll(/\]\(([^)]+)\)/g)].map(([, target = '']) => target);
    expect(targets.length).toBeGreaterThan(2);
    for (const target of targets) expect(existsSync(`${root}${target}`), target).toBe(true);
    const places = [...readme.matchAll(/`((?:src|bench|test|docs|scripts)(?:\/[\w./-]+)?)`/g)].map(
      ([, place]) => place,
    );
    for (const place of places) expect(existsSync(`${root}${place}`), place).toBe(true);
  });
});

describe('the lock file', () => {
  it('names no download address, so that every registry serves it', () => {
    expect(read('package-lock.json')).not.toContain('"resolved"');
  });

  it('has an entry for every optional platform package, or npm ci refuses it', () => {
    const { packages } = JSON.parse(read('package-lock.json')) as {
      readonly packages: Readonly<Record<string, { readonly optionalDependencies?: object }>>;
    };
    for (const [path, entry] of Object.entries(packages)) {
      for (const name of Object.keys(entry.optionalDependencies ?? {})) {
        expect(Object.keys(packages), `${name}, asked for by ${path}`).toContain(`node_modules/${name}`);
      }
    }
  });
});
