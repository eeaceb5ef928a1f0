/**
 * Where a system test takes place: network namespaces of its own, one for the daemon ("s") and as many as it asks for
 * machines, and a directory of its own. Nothing of the host's network is touched. Everything is gone when `dispose` has
 * run, which also happens when the test process ends; for runs that were killed see ../../suites/leftovers.ts.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ownName, removeNamespace } from '../../suites/leftovers.js';
import { Child } from './child.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** The built executable; WEFT_ENTRY names another build's. */
export const WEFT_ENTRY = process.env.WEFT_ENTRY ?? join(ROOT, 'dist/weft.js');
export const CACHE = join(ROOT, '.cache');

const open = new Set<Testbed>();
let count = 0;
let isGuarded = false;

export function ip(...words: string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export class Testbed {
  readonly directory: string;
  private readonly prefix: string;
  private readonly namespaces = new Set<string>();
  private readonly children: Child[] = [];

  constructor() {
    requireRoot();
    guard();
    this.prefix = ownName('sys', `${count++}-`);
    this.directory = mkdtempSync(join(tmpdir(), this.prefix));
    open.add(this);
  }

  /** The namespace of this label, made when it is first asked for. In it, interfaces speak no IPv6 unless told to. */
  namespace(label: string): string {
    const name = `${this.prefix}${label}`;
    if (this.namespaces.has(name)) return name;
    ip('netns', 'add', name);
    this.namespaces.add(name);
    const settings = ['net.ipv6.conf.default.disable_ipv6=1', 'net.ipv6.conf.all.disable_ipv6=1'];
    execFileSync('ip', ['netns', 'exec', name, 'sysctl', '-qw', ...settings], { stdio: 'ignore' });
    ip('-n', name, 'link', 'set', 'lo', 'up');
    return name;
  }

  /** The daemon's namespace. */
  get switchNamespace(): string {
    return this.namespace('s');
  }

  /** Starts a program in the namespace of this label. */
  start(label: string, command: readonly string[], environment?: NodeJS.ProcessEnv): Child {
    const child = new Child(this.namespace(label), command, environment);
    this.children.push(child);
    return child;
  }

  /** Runs a program there to its end; throws if that is not a good one. */
  run(label: string, ...command: string[]): string {
    const words = ['netns', 'exec', this.namespace(label), ...command];
    return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** ip(8) on the namespace of this label. */
  ip(label: string, ...words: string[]): string {
    return ip('-n', this.namespace(label), ...words);
  }

  /** Starts peer.c in the namespace of this label. */
  peer(label: string, ...words: string[]): Child {
    return this.start(label, [peerProgram(), ...words]);
  }

  /** Two ends of a cable: one in the switch's namespace, the other in a machine's. */
  veth(nearEnd: string, label: string, farEnd: string): void {
    this.ip('s', 'link', 'add', nearEnd, 'type', 'veth', 'peer', 'name', farEnd, 'netns', this.namespace(label));
    this.ip('s', 'link', 'set', nearEnd, 'up');
    this.ip(label, 'link', 'set', farEnd, 'up');
  }

  /** Undoes everything. Synchronous, because it also runs when the process exits. */
  dispose(): void {
    if (!open.delete(this)) return;
    for (const child of this.children) child.kill();
    for (const name of this.namespaces) removeNamespace(name);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new Error('system tests make network namespaces and TAPs: run them as root (sudo npm test)');
}

function guard(): void {
  if (isGuarded) return;
  isGuarded = true;
  process.on('exit', () => {
    for (const testbed of open) testbed.dispose();
  });
}

/** peer.c compiled, once for each text of it. */
function peerProgram(): string {
  const source = fileURLToPath(new URL('peer.c', import.meta.url));
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const program = join(CACHE, `system-peer-${digest}`);
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  const scratch = `${program}.${process.pid}`;
  execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-o', scratch, source], { stdio: ['ignore', 'pipe', 'inherit'] });
  renameSync(scratch, program);
  return program;
}
