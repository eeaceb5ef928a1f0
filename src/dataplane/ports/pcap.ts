/**
 * pcap ports: an interface through libpcap, by the optional package `cap`. On Linux kind netdev does the same, better: pcap
 * knows no offloads, so on a veth or a NIC with offloads switch them off (ethtool -K DEVICE gro off; at the far end tx off),
 * or frames arrive over-long or with unfinished checksums. It is for comparing and for odd devices. Main thread.
 *
 * `cap` runs in a process of its own (pcap-process.ts) that a worker talks to over a stream: cap 0.2.1 asserts, and so
 * aborts its process, when the interface goes down under it, and frees its libuv handle without closing it. A switch must
 * survive both, and its main thread touches no frame.
 *
 *   waiting (no interface) --appears--> opening --the process is ready--> open --it ends, interface gone or down--> lost
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { OperatingError } from '../../errors.js';
import { type InterfaceState, interfaceRequest, queryInterface } from '../interface.js';
import * as native from '../native.js';
import { watchLinks } from '../netlink.js';
import {
  NO_OFFLOAD,
  type OpenPort,
  type PortAbsence,
  type PortHandle,
  type PortIntent,
  type PortKind,
  type PortWatcher,
} from '../port.js';

const RETRY_MS = 1000;
/** Octets kept of what a process says before it ends. */
const COMPLAINT_SIZE_MAX = 4096;

/** The kind, with the program that captures: a compiled pcap-process.ts. */
export function pcapKind(program: string): PortKind {
  return {
    kind: 'pcap',
    facesVm: false,
    async open(intent, watcher) {
      if (intent.queues !== 1)
        throw new OperatingError('a pcap port has one queue', { code: 'limit', fix: 'leave out queues' });
      interfaceRequest(intent.device);
      await requireCap();
      const port = new PcapPort(intent, watcher, program);
      port.start();
      return port;
    },
  };
}

export const pcap: PortKind = pcapKind(fileURLToPath(new URL('./pcap-process.js', import.meta.url)));

/** Throws an OperatingError that says how to get the package. */
export async function requireCap(name = 'cap'): Promise<void> {
  try {
    await import(name);
  } catch (error) {
    const [first] = (error as Error).message.split('\n');
    throw new OperatingError(`pcap ports need the package cap, which is missing here (${first})`, {
      code: 'no-package',
      fix: 'install libpcap and a compiler (Debian: apt-get install libpcap-dev g++ make python3), then: npm rebuild cap; or use kind: netdev',
    });
  }
}

/** The process that captures now. */
interface Capture {
  readonly index: number;
  readonly process: ChildProcess;
  readonly fd: number;
  /** What the watcher was told; undefined until the process is ready. */
  told: OpenPort | undefined;
  /** Reported lost; the worker has not let go yet. */
  isLost: boolean;
}

class PcapPort implements PortHandle {
  private readonly intent: PortIntent;
  private readonly watcher: PortWatcher;
  private readonly program: string;
  private capture: Capture | undefined;
  private absence = '';
  private isClosed = false;
  private stopWatching = () => {};
  private retryTimer: NodeJS.Timeout | undefined;

  constructor(intent: PortIntent, watcher: PortWatcher, program: string) {
    this.intent = intent;
    this.watcher = watcher;
    this.program = program;
  }

  start(): void {
    this.stopWatching = watchLinks((event) => {
      if (event === undefined || event.name === this.intent.device || event.index === this.capture?.index) this.look();
    });
    this.look();
  }

  released(): void {
    this.endCapture();
    if (!this.isClosed) this.look();
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.retryTimer);
    this.stopWatching();
    this.endCapture();
  }

  private look(): void {
    const { capture } = this;
    if (this.isClosed || capture?.isLost === true) return;
    const state = queryInterface(this.intent.device);
    const absence = absenceOf(this.intent.device, state);
    if (state === undefined || absence !== undefined) this.away(absence!);
    else if (capture === undefined) this.startCapture(state);
    else if (capture.index !== state.index) this.away({ state: 'waiting', reason: `${state.name} was replaced` });
    else if (capture.told !== undefined) this.tell(capture, capture.told, this.describe(state, capture.fd));
  }

  private startCapture(state: InterfaceState): void {
    const [fd, theirs] = native.streamPair();
    const child = spawn(process.execPath, [this.program, state.name, state.mac], {
      stdio: ['ignore', 'pipe', 'pipe', theirs],
    });
    native.close(theirs);
    const capture: Capture = { index: state.index, process: child, fd, told: undefined, isLost: false };
    this.capture = capture;
    let complaint = '';
    child.stdout?.on('data', () => this.ready(capture));
    child.stderr?.on('data', (chunk: Buffer) => {
      if (complaint.length < COMPLAINT_SIZE_MAX) complaint += chunk.toString();
    });
    child.on('error', (error) => this.ended(capture, error.message));
    child.on('close', () =>
      this.ended(capture, /^(?:Error|error): ?(.*)$/m.exec(complaint)?.[1] ?? 'its process ended'),
    );
  }

  private ready(capture: Capture): void {
    const state = queryInterface(this.intent.device);
    if (capture !== this.capture || capture.isLost || capture.told !== undefined || state === undefined) return;
    capture.told = this.describe(state, capture.fd);
    this.absence = '';
    this.watcher.opened(capture.told);
  }

  private ended(capture: Capture, reason: string): void {
    if (capture !== this.capture || capture.isLost || this.isClosed) return;
    this.away({ state: 'down', reason: `capturing on ${this.intent.device}: ${reason}` });
    this.retryTimer = setTimeout(() => this.look(), RETRY_MS);
    this.retryTimer.unref();
  }

  private describe(state: InterfaceState, fd: number): OpenPort {
    const { mtu } = this.intent;
    return {
      queues: [{ type: 'stream', fd }],
      features: NO_OFFLOAD,
      mtu: mtu === undefined ? state.mtu : Math.min(mtu, state.mtu),
      mac: state.mac,
      ...(state.hasCarrier ? {} : { linkDown: `${state.name} has no carrier` }),
    };
  }

  private tell(capture: Capture, before: OpenPort, now: OpenPort): void {
    if (now.mtu === before.mtu && now.mac === before.mac && now.linkDown === before.linkDown) return;
    capture.told = now;
    this.watcher.changed(now);
  }

  /** The interface can't be used now. An open port is lost; otherwise only a new reason is told. */
  private away(absence: PortAbsence): void {
    const { capture } = this;
    if (capture?.told !== undefined) capture.isLost = true;
    else this.endCapture();
    if (capture?.told === undefined && absence.reason === this.absence) return;
    this.absence = absence.reason;
    capture?.process.kill('SIGKILL');
    this.watcher.lost(absence);
  }

  private endCapture(): void {
    const { capture } = this;
    if (capture === undefined) return;
    this.capture = undefined;
    capture.process.kill('SIGKILL');
    native.close(capture.fd);
  }
}

function absenceOf(device: string, state: InterfaceState | undefined): PortAbsence | undefined {
  if (state === undefined) return { state: 'waiting', reason: `no interface ${device}` };
  return state.isUp ? undefined : { state: 'down', reason: `${device} is administratively down` };
}
