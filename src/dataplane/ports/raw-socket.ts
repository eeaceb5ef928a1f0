/**
 * The underlay driver `raw-socket`, for GRE over IPv4 by the optional package of that name. The workers' own raw sockets do
 * the same by either engine, better (beside each other: TCP 1.02 and 0.29 Gbit/s, round trip 56 and 221 us); this is for
 * comparing, and for hosts where neither works.
 *
 * The package reads and writes on its process's main loop, one packet a turn, so it runs in a process of its own
 * (raw-socket-process.ts) that each worker talks to over a stream, as ports of kind pcap do. It can't bind to an address:
 * with IP_HDRINCL our packets carry the underlay's, which IPv6 has no like of there. Main thread.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../../errors.js';
import { IPV4_SIZE, ipText, ipWords } from '../../wire/address.js';
import { PROTOCOL_GRE } from '../../wire/ip-protocol.js';
import * as native from '../native.js';
import type { RawStreamTransport } from '../port.js';

const PROGRAM = fileURLToPath(new URL('./raw-socket-process.js', import.meta.url));

/** Throws an OperatingError that says how to get the package. */
export async function requireRawSocket(name = 'raw-socket'): Promise<void> {
  try {
    await import(name);
  } catch (error) {
    const [first] = (error as Error).message.split('\n');
    throw new OperatingError(`driver: raw-socket needs the package raw-socket, which is missing here (${first})`, {
      code: 'no-package',
      fix: 'install a compiler (Debian: apt-get install g++ make python3), then: npm rebuild raw-socket; or leave out driver',
    });
  }
}

export interface RawSocketDriver {
  readonly transports: readonly RawStreamTransport[];
  /** Ends the process. The transports' descriptors are the caller's. */
  end(): void;
}

/**
 * Starts the process with a stream for each worker. When it ends, its streams do, which the workers report; `ended` is told
 * why, once.
 */
export function startRawSocketDriver(
  local: Uint8Array,
  ttl: number,
  workers: number,
  ended: (reason: string) => void,
  program = PROGRAM,
): RawSocketDriver {
  if (local.length !== IPV4_SIZE)
    throw new OperatingError('driver: raw-socket carries GRE over IPv4 only', {
      code: 'unsupported',
      fix: 'leave it out',
    });
  const pairs = Array.from({ length: workers }, () => native.streamPair());
  const child = spawn(process.execPath, [program, String(PROTOCOL_GRE), ipText(local), String(workers)], {
    stdio: ['ignore', 'ignore', 'pipe', ...pairs.map(([, theirs]) => theirs)],
  });
  for (const [, theirs] of pairs) native.close(theirs);
  let complaint = '';
  let isEnded = false;
  const end = (reason: string) => {
    if (!isEnded) ended(`the process of raw-socket: ${reason}`);
    isEnded = true;
  };
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(0, 4096);
  });
  child.on('error', (error) => end(error.message));
  child.on('close', () => end(/^(?:\w*Error|error): ?(.*)$/m.exec(complaint)?.[1] ?? 'ended'));
  const source = ipWords(local)[3]!;
  return {
    transports: pairs.map(([fd]) => ({ type: 'rawStream', fd, protocol: PROTOCOL_GRE, local: source, ttl })),
    end() {
      isEnded = true;
      child.kill('SIGKILL');
    },
  };
}
