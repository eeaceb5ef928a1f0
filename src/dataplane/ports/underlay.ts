/**
 * Underlay ports: the network that carries tunnels, as the switch sees it. Made by the control plane from `underlays`, one
 * for each kind of tunnel, never by an operator. The kernel routes; this follows whether the local address is there, what
 * fits the paths to the remotes, and what routers say of them. Main thread.
 *
 *   waiting (no such address) --it comes--> sockets open --it goes--> lost --workers let go (released)--> waiting
 *
 * The port's MTU is that of the outer IP packets that its device takes; `paths` tells of ways that take less. A remote without a route keeps the port up: `paths` tells of it.
 */
import { OperatingError } from '../../errors.js';
import { QUEUES_PER_PORT_MAX } from '../../limits.js';
import { ipText, parseIp } from '../../wire/address.js';
import * as native from '../native.js';
import {
  type DatagramTransport,
  NO_OFFLOAD,
  type OpenPort,
  type PortAbsence,
  type PortHandle,
  type PortIntent,
  type PortKind,
  type PortWatcher,
  type RawStreamTransport,
  type UnderlayHandle,
  type UnderlayIntent,
  type UnderlayPath,
} from '../port.js';
import { watchRouting } from '../routing-watch.js';
import { type RawSocketDriver, requireRawSocket, startRawSocketDriver } from './raw-socket.js';
import { askForPaths, deviceOf, narrowWays, underlayMtu } from './underlay-paths.js';
import { descriptorsOf, openUnderlaySockets } from './underlay-sockets.js';
import { watchUnreachable } from './unreachable-watch.js';

/** How often the kernel is asked again without having said that anything changed: what it learned of MTUs it forgets silently. */
const LOOK_PERIOD_MS = 10_000;
const RETRY_MS = 1000;
/** From sockets that were given back to new ones, when no event comes before. */
const REOPEN_MS = 300;
/** How soon after an ICMP message the kernel is asked: it acts on the message after we hear of it. */
const TOO_BIG_DELAY_MS = 50;
/** How long a remote is called unreachable after a message said so. */
const UNREACHABLE_MS = 30_000;

export const underlay: PortKind = {
  kind: 'underlay',
  facesVm: false,
  async open(intent, watcher) {
    const local = parseIp(intent.underlay?.local ?? '');
    if (intent.underlay === undefined || local === undefined)
      throw new TypeError('an underlay port is made from an underlay with an address');
    if (intent.underlay.driver === 'raw-socket') await requireRawSocket();
    if (intent.queues > QUEUES_PER_PORT_MAX)
      throw new OperatingError(`a port has at most ${QUEUES_PER_PORT_MAX} queues`, { code: 'limit' });
    const port = new UnderlayPort(intent, intent.underlay, local, watcher);
    port.start();
    return port;
  },
};

/** The sockets that are served now. */
interface Served {
  readonly transports: readonly (DatagramTransport | RawStreamTransport)[];
  readonly driver: RawSocketDriver | undefined;
  readonly stopHearing: () => void;
  told: OpenPort;
  /** As `narrowWays` has them. */
  narrow: string;
  /** Reported lost; the workers have not let go yet. */
  isLost: boolean;
}

interface Complaint {
  readonly reason: string;
  readonly untilMs: number;
}

class UnderlayPort implements PortHandle, UnderlayHandle {
  readonly underlay: UnderlayHandle = this;
  private readonly intent: PortIntent;
  private readonly options: UnderlayIntent;
  private readonly local: Uint8Array;
  private readonly watcher: PortWatcher;
  private remotes: ReadonlySet<string>;
  private known: readonly UnderlayPath[] = [];
  /** The interface with the local address, found last. */
  private device: string | undefined;
  /** What was said of remotes that there is a route to. */
  private readonly complaints = new Map<string, Complaint>();
  private served: Served | undefined;
  private absence = '';
  private stopWatching = () => {};
  private lookTimer: NodeJS.Timeout | undefined;
  private soonTimer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(intent: PortIntent, options: UnderlayIntent, local: Uint8Array, watcher: PortWatcher) {
    this.intent = intent;
    this.options = options;
    this.local = local;
    this.watcher = watcher;
    this.remotes = canonical(options.remotes);
  }

  /** Listens before it looks, so that nothing falls between. Throws only for what no waiting mends. */
  start(): void {
    this.stopWatching = watchRouting(() => this.tryLook());
    const lookAnew = () => {
      this.device = deviceOf(this.local) ?? this.device;
      this.tryLook();
    };
    this.lookTimer = setInterval(lookAnew, LOOK_PERIOD_MS).unref();
    try {
      this.look();
    } catch (error) {
      if (error instanceof OperatingError && error.code !== 'no-privilege') this.failed(error);
      else {
        this.stop();
        throw error;
      }
    }
  }

  paths(): readonly UnderlayPath[] {
    const now = performance.now();
    return this.known.map((path) => {
      const complaint = this.complaints.get(path.remote);
      if (path.state === 'down' || complaint === undefined || complaint.untilMs < now) return path;
      return { ...path, state: 'down', reason: complaint.reason };
    });
  }

  follow(remotes: readonly string[]): void {
    this.remotes = canonical(remotes);
    for (const remote of this.complaints.keys()) if (!this.remotes.has(remote)) this.complaints.delete(remote);
    if (!this.isClosed) this.tryLook();
  }

  heard(remote: string): void {
    this.complaints.delete(remote);
  }

  released(): void {
    if (this.isClosed) return;
    this.closeSockets();
    // Not at once: a worker that could not take the sockets would be given new ones as fast as it refuses them.
    this.lookSoon(REOPEN_MS);
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.stop();
    this.closeSockets();
  }

  private stop(): void {
    this.stopWatching();
    clearInterval(this.lookTimer);
    clearTimeout(this.soonTimer);
  }

  private tryLook(): void {
    try {
      this.look();
    } catch (error) {
      this.failed(error as Error);
    }
  }

  /** Compares what the kernel says now with what was told last, and acts on the difference. */
  private look(): void {
    const { served } = this;
    if (served?.isLost === true) return;
    const paths = askForPaths(this.local, [...this.remotes]);
    this.known = paths ?? [];
    if (paths === undefined) this.missing();
    else if (served === undefined) this.open();
    else {
      const now = this.describe(served.transports);
      const narrow = narrowWays(this.known, now.mtu);
      if (now.mtu === served.told.mtu && narrow === served.narrow) return;
      served.told = now;
      served.narrow = narrow;
      this.watcher.changed(now);
    }
  }

  private open(): void {
    this.device = deviceOf(this.local);
    const driver = this.startDriver();
    const transports = driver?.transports ?? openUnderlaySockets(this.local, this.options, this.intent.queues);
    try {
      const stopHearing = watchUnreachable({ local: this.local, port: this.options.port }, this.hearing());
      const told = this.describe(transports);
      const narrow = narrowWays(this.known, told.mtu);
      this.served = { transports, driver, stopHearing, told, narrow, isLost: false };
    } catch (error) {
      driver?.end();
      for (const fd of descriptorsOf(transports)) native.close(fd);
      throw error;
    }
    this.absence = '';
    this.watcher.opened(this.served.told);
  }

  private startDriver(): RawSocketDriver | undefined {
    const { driver, ttl } = this.options;
    if (driver !== 'raw-socket') return undefined;
    return startRawSocketDriver(this.local, ttl, this.intent.queues, (reason) => this.driverEnded(reason));
  }

  /** Workers let go of its streams; `released` then starts another. */
  private driverEnded(reason: string): void {
    if (this.served === undefined || this.served.isLost || this.isClosed) return;
    this.served.isLost = true;
    this.absent({ state: 'down', reason });
  }

  private describe(queues: Served['transports']): OpenPort {
    // An address is there before its interface runs.
    this.device ??= deviceOf(this.local);
    const mtu = underlayMtu(this.device, this.known);
    return { queues, features: NO_OFFLOAD, mtu: Math.min(mtu, this.intent.mtu ?? mtu) };
  }

  /** Only remotes that are followed are remembered, so nobody can fill the memory with others. */
  private hearing() {
    return {
      unreachable: (remote: string, reason: string) => {
        if (!this.remotes.has(remote)) return;
        this.complaints.set(remote, { reason, untilMs: performance.now() + UNREACHABLE_MS });
      },
      tooBig: () => this.lookSoon(TOO_BIG_DELAY_MS),
    };
  }

  private missing(): void {
    const absence: PortAbsence = { state: 'waiting', reason: `no address ${this.options.local} on this host` };
    if (this.served !== undefined) this.served.isLost = true;
    this.absent(absence);
  }

  /** Tells of a new reason once, not with every event. */
  private absent(absence: PortAbsence): void {
    if (absence.reason === this.absence) return;
    this.absence = absence.reason;
    this.watcher.lost(absence);
  }

  private failed(error: Error): void {
    if (this.served === undefined) this.absent({ state: 'down', reason: error.message });
    this.lookSoon(RETRY_MS);
  }

  private lookSoon(delayMs: number): void {
    if (this.isClosed || this.soonTimer !== undefined) return;
    this.soonTimer = setTimeout(() => {
      this.soonTimer = undefined;
      this.tryLook();
    }, delayMs).unref();
  }

  private closeSockets(): void {
    const { served } = this;
    if (served === undefined) return;
    served.stopHearing();
    served.driver?.end();
    for (const fd of descriptorsOf(served.transports)) native.close(fd);
    this.served = undefined;
  }
}

/** One spelling of each address (RFC 5952): that of quotations in ICMP messages. */
function canonical(remotes: readonly string[]): ReadonlySet<string> {
  return new Set(remotes.map((remote) => ipText(parseIp(remote)!)));
}
