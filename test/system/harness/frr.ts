/**
 * FRR's bfdd as the far end of BFD sessions, with sockets and processes of its own: one that this machine runs is neither
 * used nor disturbed. Only the BFD daemon and zebra, which tells it of interfaces.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Child } from './child.js';
import type { Testbed } from './testbed.js';
import { until } from './wait.js';

const PROGRAMS = '/usr/lib/frr';

export interface FrrPeer {
  readonly local: string;
  readonly remote: string;
  readonly intervalMs: number;
  readonly multiplier: number;
}

/** As much of `show bfd peers json` as tests look at. */
export interface FrrSession {
  readonly peer: string;
  readonly status: string;
  readonly diagnostic: string;
  readonly 'remote-diagnostic': string;
  readonly 'receive-interval': number;
  readonly 'remote-receive-interval': number;
  readonly 'remote-transmit-interval': number;
  readonly 'remote-detect-multiplier': number;
}

export class FrrHost {
  private readonly directory: string;
  private bfdd: Child;
  private readonly launch: () => Child;

  private constructor(directory: string, launch: () => Child) {
    this.directory = directory;
    this.launch = launch;
    this.bfdd = launch();
  }

  /** Starts it in the namespace of this label, whose addresses are there. */
  static async start(testbed: Testbed, label: string, peers: readonly FrrPeer[]): Promise<FrrHost> {
    if (!existsSync(`${PROGRAMS}/bfdd`)) throw new Error(`no ${PROGRAMS}/bfdd: apt-get install frr`);
    const directory = join(testbed.directory, `frr-${label}`);
    mkdirSync(directory);
    // The daemons insist on a user of their own.
    chmodSync(testbed.directory, 0o711);
    execFileSync('chown', ['frr:frr', directory]);
    const config = join(directory, 'bfdd.conf');
    writeFileSync(config, `${['bfd', ...peers.flatMap(peerLines)].join('\n')}\n`);
    const zebraSocket = join(directory, 'zserv.api');
    const common = ['--vty_socket', directory, '-z', zebraSocket, '-P', '0', '--log', 'stdout'];
    const daemon = (name: string, ...more: string[]) =>
      testbed.start(label, [`${PROGRAMS}/${name}`, ...common, '-i', join(directory, `${name}.pid`), ...more]);
    daemon('zebra');
    await until('zebra makes its socket', () => existsSync(zebraSocket));
    const control = join(directory, 'bfdd.sock');
    const host = new FrrHost(directory, () => daemon('bfdd', '--bfdctl', control, '-f', config));
    await until('bfdd answers', () => host.sessions().length === peers.length);
    return host;
  }

  sessions(): readonly FrrSession[] {
    return JSON.parse(this.vtysh('show bfd peers json')) as FrrSession[];
  }

  /** The session with this remote. */
  session(remote: string): FrrSession {
    const found = this.sessions().find(({ peer }) => peer === remote);
    if (found === undefined) throw new Error(`bfdd has no session with ${remote}`);
    return found;
  }

  configure(...lines: string[]): void {
    this.vtysh('configure terminal', ...lines);
  }

  /** Ends it without a word to anybody. */
  async kill(): Promise<void> {
    this.bfdd.kill();
    await this.bfdd.end();
  }

  /** Starts it again after `kill`. */
  restart(): void {
    this.bfdd = this.launch();
  }

  private vtysh(...commands: string[]): string {
    const words = commands.flatMap((command) => ['-c', command]);
    const args = ['--vty_socket', this.directory, '-d', 'bfdd', ...words];
    return execFileSync('vtysh', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }
}

function peerLines({ local, remote, intervalMs, multiplier }: FrrPeer): string[] {
  return [
    ` peer ${remote} local-address ${local}`,
    `  detect-multiplier ${multiplier}`,
    `  receive-interval ${intervalMs}`,
    `  transmit-interval ${intervalMs}`,
  ];
}
