/** The rules of .dependency-cruiser.cjs: a rule that catches nothing protects nothing. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const CRUISER = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
const CRUISE_MS = 60_000;
/** Octets of a report; Node's own limit is what 350 modules have. */
const REPORT_SIZE_MAX = 64 * 1024 * 1024;

interface Cruise {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
    }[];
  };
}

function cruise(directory: string): Cruise {
  const args = ['--config', join(root, '.dependency-cruiser.cjs'), '--output-type', 'json', 'src'];
  const { stdout, stderr } = spawnSync(process.execPath, [CRUISER, ...args], {
    cwd: directory,
    encoding: 'utf8',
    maxBuffer: REPORT_SIZE_MAX,
  });
  expect(stdout, stderr).toMatch(/^\{/);
  return JSON.parse(stdout) as Cruise;
}

/** Violations, as `rule: from -> to`, of a tree that consists of these files; each imports what is listed. */
function violationsOf(tree: Readonly<Record<string, readonly string[]>>): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'weft-rules-'));
  try {
    writeFileSync(join(directory, 'tsconfig.json'), '{ "compilerOptions": { "module": "NodeNext" } }');
    writeFileSync(join(directory, 'package.json'), '{ "type": "module", "devDependencies": { "for-tests": "1.0.0" } }');
    for (const [path, imports] of Object.entries(tree)) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      const lines = imports.map((target, index) => `import * as name${index} from '${target}';\nvoid name${index};\n`);
      writeFileSync(join(directory, path), `${lines.join('')}export const here = 1;\n`);
    }
    return cruise(directory).summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe('the rules of import', () => {
  it('hold in src, all of which they look at', { timeout: CRUISE_MS }, () => {
    const { summary } = cruise(root);
    expect(summary.totalCruised).toBeGreaterThan(100);
    expect(summary.violations).toEqual([]);
  });

  it('let each layer import those left of it', { timeout: CRUISE_MS }, () => {
    const tree = {
      'src/limits.ts': [],
      'src/kernels/kernels.ts': ['../limits.js'],
      'src/wire/vlan.ts': ['../kernels/kernels.js'],
      'src/dataplane/port.ts': ['../wire/vlan.js'],
      'src/tunnels/registry.ts': ['../dataplane/port.js'],
      'src/pipeline/pipeline.ts': ['../tunnels/registry.js', '../wire/vlan.js'],
      'src/control/cli.ts': ['../pipeline/pipeline.js'],
      'src/demo/demo.ts': ['../control/cli.js'],
      'src/daemon.ts': ['./control/cli.js'],
    };
    expect(violationsOf(tree)).toEqual([]);
  });

  it('catch every layer that imports one right of it', { timeout: CRUISE_MS }, () => {
    const pairs = [
      ['limits', 'kernels/kernels'],
      ['kernels/fold', 'wire/vlan'],
      ['wire/arp', 'dataplane/port'],
      ['dataplane/batch', 'tunnels/registry'],
      ['tunnels/gre', 'pipeline/pipeline'],
      ['pipeline/fdb', 'control/cli'],
      ['control/command', 'daemon'],
      ['control/apply', 'demo/demo'],
      ['wire/checksum', 'worker'],
    ] as const;
    const tree: Record<string, string[]> = {};
    for (const [from, to] of pairs) {
      tree[`src/${from}.ts`] = [`${from.includes('/') ? '..' : '.'}/${to}.js`];
      tree[`src/${to}.ts`] ??= [];
    }
    const caught = violationsOf(tree).map((violation) => violation.replace(/^.*: /, ''));
    expect(caught.sort()).toEqual(pairs.map(([from, to]) => `src/${from}.ts -> src/${to}.ts`).sort());
  });

  it('catch a cycle', { timeout: CRUISE_MS }, () => {
    const violations = violationsOf({ 'src/wire/a.ts': ['./b.js'], 'src/wire/b.ts': ['./a.js'] });
    expect(violations).toContain('no-cycles: src/wire/a.ts -> src/wire/b.ts');
  });

  it('catch a port kind that is named outside of its registry', { timeout: CRUISE_MS }, () => {
    const violations = violationsOf({
      'src/dataplane/ports/tap.ts': [],
      'src/dataplane/ports/registry.ts': ['./tap.js'],
      'src/control/cli.ts': ['../dataplane/ports/registry.js'],
      'src/control/apply.ts': ['../dataplane/ports/tap.js'],
    });
    expect(violations).toEqual([
      'port-kinds-only-in-their-registry: src/control/apply.ts -> src/dataplane/ports/tap.ts',
    ]);
  });

  it('catch a kind of tunnel that is named outside of its registry', { timeout: CRUISE_MS }, () => {
    const violations = violationsOf({
      'src/tunnels/vxlan.ts': [],
      'src/tunnels/registry.ts': ['./vxlan.js'],
      'src/pipeline/decap.ts': ['../tunnels/registry.js'],
      'src/pipeline/encap.ts': ['../tunnels/vxlan.js'],
    });
    expect(violations).toEqual(['tunnel-kinds-only-in-their-registry: src/pipeline/encap.ts -> src/tunnels/vxlan.ts']);
  });

  it('catch a command that is named outside of its registry', { timeout: CRUISE_MS }, () => {
    const violations = violationsOf({
      'src/control/commands/fdb.ts': [],
      'src/control/commands/registry.ts': ['./fdb.js'],
      'src/weft.ts': ['./control/commands/registry.js', './control/commands/fdb.js'],
    });
    expect(violations).toEqual(['commands-only-in-their-registry: src/weft.ts -> src/control/commands/fdb.ts']);
  });

  it('catch an import of what does not exist', { timeout: CRUISE_MS }, () => {
    const violations = violationsOf({ 'src/wire/arp.ts': ['./nowhere.js'] });
    expect(violations).toEqual(['only-what-exists: src/wire/arp.ts -> ./nowhere.js']);
  });

  it('catch an import of a package that is installed for development only', { timeout: CRUISE_MS }, () => {
    const violations = violationsOf({ 'node_modules/for-tests/index.js': [], 'src/wire/arp.ts': ['for-tests'] });
    expect(violations).toEqual(['no-development-packages: src/wire/arp.ts -> node_modules/for-tests/index.js']);
  });
});
