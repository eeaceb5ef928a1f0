/**
 * Leases in the state directory, so that a daemon that is killed or restarted goes on with those it gave. Main thread.
 *
 *   leases.json     two lines: a header with the checksum of the second, and the leases with the clocks they were written by
 *
 * Written as the configuration is (store.ts): a new file beside the old one, fsync, renamed over it, directory fsync. So the
 * file is always whole; what does not prove whole all the same is told and not used. Leases end by the monotonic clock; after
 * a boot of the machine, which begins that anew, by the wall clock, which nobody promises to be right.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ipText, parseIp } from '../wire/address.js';
import { addressNumber, addressOctets } from './address-range.js';
import { isConfigObject } from './config-path.js';
import type { Lease, LeaseState } from './lease-table.js';
import { diskFiles, hashText, type StoreFiles } from './store.js';

const FORMAT = 1;
const FILE_NAME = 'leases.json';
const DRAFT_NAME = 'leases.draft';
const STATES: readonly string[] = ['bound', 'released', 'declined'];

/** What time it is, by both clocks, in this boot of the machine. */
export interface StoreClocks {
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  readonly bootId: string;
}

export interface LoadedLeases {
  readonly leases: readonly Lease[];
  /** One clause: why the file that is there can't be used. */
  readonly damaged?: string;
}

export class LeaseStore {
  private readonly directory: string;
  private readonly clocks: StoreClocks;
  private readonly files: StoreFiles;

  /** The directory is there and belongs to the daemon alone. */
  constructor(directory: string, clocks: StoreClocks, files: StoreFiles = diskFiles) {
    this.directory = directory;
    this.clocks = clocks;
    this.files = files;
  }

  load(): LoadedLeases {
    let text: string;
    try {
      text = readFileSync(join(this.directory, FILE_NAME), 'utf8');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return code === 'ENOENT' ? { leases: [] } : { leases: [], damaged: `it can't be read (${code})` };
    }
    const read = readText(text);
    return typeof read === 'string' ? { leases: [], damaged: read } : { leases: this.leasesOf(read) };
  }

  /** Durable when it returns. Throws what the system says. Offers are not kept: nobody relies on them. */
  async save(leases: Iterable<Lease>): Promise<void> {
    const kept = [...leases].filter(({ state }) => state !== 'offered').map(rowOf);
    const { monotonicMs, wallMs, bootId } = this.clocks;
    const content = JSON.stringify({ bootId, monotonicMs: monotonicMs(), wallMs: wallMs(), leases: kept });
    const text = `${JSON.stringify({ format: FORMAT, checksum: hashText(content) })}\n${content}\n`;
    const draft = join(this.directory, DRAFT_NAME);
    await this.files.remove(draft);
    await this.files.write(draft, text);
    await this.files.sync(draft);
    await this.files.rename(draft, join(this.directory, FILE_NAME));
    await this.files.sync(this.directory);
  }

  /** With their ends by this daemon's clock. */
  private leasesOf(saved: SavedLeases): Lease[] {
    const { monotonicMs, wallMs, bootId } = this.clocks;
    const now = monotonicMs();
    const elapsed = saved.bootId === bootId ? now - saved.monotonicMs : wallMs() - saved.wallMs;
    return saved.leases.map((lease) => ({
      ...lease,
      expiresMs: now + (lease.expiresMs - saved.monotonicMs) - Math.max(0, elapsed),
    }));
  }
}

interface SavedLeases {
  readonly bootId: string;
  readonly monotonicMs: number;
  readonly wallMs: number;
  readonly leases: readonly Lease[];
}

/** The address with its family's size, so that it can be read back. */
function rowOf(lease: Lease): Record<string, unknown> {
  const size = lease.address > 0xffff_ffffn ? 16 : 4;
  return { ...lease, address: ipText(addressOctets(lease.address, size)) };
}

function readText(text: string): SavedLeases | string {
  const lines = text.split('\n');
  if (lines.length !== 3 || lines[2] !== '') return 'it is cut off';
  try {
    const header: unknown = JSON.parse(lines[0]);
    if (!isConfigObject(header) || header.format !== FORMAT) return 'its format is none that this version reads';
    if (header.checksum !== hashText(lines[1])) return 'its checksum does not match';
    const content: unknown = JSON.parse(lines[1]);
    if (!isConfigObject(content) || !Array.isArray(content.leases)) return 'it holds no leases';
    const { bootId, monotonicMs, wallMs, leases } = content;
    if (typeof bootId !== 'string' || typeof monotonicMs !== 'number' || typeof wallMs !== 'number')
      return 'it does not say when it was written';
    return { bootId, monotonicMs, wallMs, leases: leases.flatMap((row: unknown) => leaseOf(row) ?? []) };
  } catch {
    return 'it is damaged';
  }
}

function leaseOf(row: unknown): Lease | undefined {
  if (!isConfigObject(row)) return undefined;
  const { subnet, port, client, mac, state, expiresMs, fixed } = row;
  const address = typeof row.address === 'string' ? parseIp(row.address) : undefined;
  const texts = [subnet, port, client, mac, state];
  if (address === undefined || texts.some((text) => typeof text !== 'string') || typeof expiresMs !== 'number')
    return undefined;
  if (!STATES.includes(String(state)) || typeof fixed !== 'boolean') return undefined;
  const names = { subnet: String(subnet), port: String(port), client: String(client), mac: String(mac) };
  return { ...names, address: addressNumber(address), state: state as LeaseState, expiresMs, fixed };
}
