/**
 * Prometheus metrics and /healthz over HTTP, read from SwitchControl at each scrape. Main thread.
 *
 * Series are bounded by the configuration: labels are names of ports, networks, routers, workers and errnos, configured remotes and outside addresses, and the table of drop reasons, never
 * anything a frame holds, and what left the configuration leaves the metrics. What a hostile client of the listener
 * can do: hold one of METRICS_CONNECTIONS_MAX connections for a few seconds; scrapes at the same time share one reading.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, Gauge, Registry } from 'prom-client';
import { UserError } from '../errors.js';
import { METRICS_CONNECTIONS_MAX } from '../limits.js';
import type {
  ConntrackStats,
  DhcpLeaseRow,
  DropRow,
  NatStatsRow,
  ServicesStatus,
  StatsResult,
  StatusResult,
  TunnelRow,
} from './shapes.js';
import { errorCode } from './socket-path.js';
import type { SwitchControl } from './switch-control.js';

const REQUEST_TIMEOUT_MS = 5000;
const HEADER_SIZE_MAX = 8192;

export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

/** Reads HOST:PORT or [HOST]:PORT; undefined for `off`. */
export function parseMetricsAddress(text: string): MetricsAddress | undefined {
  if (text === 'off') return undefined;
  const parts = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(parts?.[3]);
  if (parts === null || port > 65_535) {
    const message = `--metrics ${text}: expected HOST:PORT, [HOST]:PORT or off`;
    throw new UserError([{ code: 'bad-request', message }]);
  }
  return { host: parts[1] ?? (parts[2] || '127.0.0.1'), port };
}

/** One reading of the switch, as metrics show it. */
interface Reading {
  readonly status: StatusResult;
  readonly stats: StatsResult;
  readonly drops: readonly DropRow[];
  readonly tunnels: readonly TunnelRow[];
  readonly conntrack: ConntrackStats;
  readonly nat: readonly NatStatsRow[];
  readonly leases: readonly DhcpLeaseRow[];
}

const natLabels: ('router' | 'external' | 'proto')[] = ['router', 'external', 'proto'];

/** In place of the remotes that are not in the configuration, whose number a sender within allowFrom decides. */
const LEARNED = 'learned';

/** The metrics, set anew from each reading. */
export class SwitchMetrics {
  readonly registry = new Registry();
  private readonly info = this.gauge('weft_info', 'Version and I/O engine in use; always 1.', ['version', 'io']);
  private readonly ready = this.gauge('weft_ready', '1 when every worker forwards by the configuration asked for.');
  private readonly uptime = this.gauge('weft_uptime_seconds', 'Seconds since the daemon started.');
  private readonly epoch = this.gauge('weft_config_epoch', 'Number of the snapshot all workers forward by.');
  private readonly ports = this.gauge('weft_ports', 'Ports by state.', ['state']);
  private readonly frames = this.counter('weft_port_frames_total', 'Frames a port received (rx) and sent (tx).', [
    'port',
    'direction',
  ]);
  private readonly bytes = this.counter('weft_port_bytes_total', 'Octets a port received (rx) and sent (tx).', [
    'port',
    'direction',
  ]);
  private readonly drops = this.counter('weft_drops_total', 'Frames and copies dropped, by reason.', [
    'port',
    'reason',
    'of',
  ]);
  private readonly notLearned = this.counter('weft_fdb_not_learned_total', 'Addresses a limit kept out.', ['port']);
  private readonly moves = this.counter('weft_station_moves_total', 'Stations that moved to a port.', ['port']);
  private readonly fdbEntries = this.gauge('weft_fdb_entries', 'Addresses in the FDB.');
  private readonly fdbLimit = this.gauge('weft_fdb_limit', 'Addresses the FDB has room for.');
  private readonly connections = this.gauge('weft_conntrack_entries', 'Connections that are tracked.');
  private readonly connectionLimit = this.gauge('weft_conntrack_limit', 'Connections there is room for.');
  private readonly connectionsCreated = this.counter('weft_conntrack_created_total', 'Connections begun.', []);
  private readonly connectionsExpired = this.counter('weft_conntrack_expired_total', 'Connections that timed out.', []);
  private readonly connectionsRefused = this.counter('weft_conntrack_refused_total', 'New connections refused.', [
    'why',
  ]);
  private readonly connectionsByPort = this.gauge('weft_conntrack_port_entries', "Connections of a port's share.", [
    'port',
  ]);
  private readonly busyShare = this.gauge('weft_worker_busy_share', 'Share of the last second worked.', ['worker']);
  private readonly busy = this.counter('weft_worker_busy_seconds_total', 'Seconds spent working.', ['worker']);
  private readonly workerFrames = this.counter('weft_worker_frames_total', 'Frames received.', ['worker']);
  private readonly batches = this.counter('weft_worker_batches_total', 'Batches received.', ['worker']);
  private readonly batchFrames = this.gauge('weft_worker_batch_frames', 'Mean frames a batch since start.', ['worker']);
  private readonly breaths = this.counter('weft_worker_breaths_total', 'Passes of the loop: the heartbeat.', [
    'worker',
  ]);
  private readonly lastBreath = this.gauge('weft_worker_last_breath_seconds', 'Since the last pass.', ['worker']);
  private readonly restarts = this.counter('weft_worker_restarts_total', 'Times it was replaced.', ['worker']);
  private readonly ioFailures = this.counter('weft_worker_io_failures_total', 'Calls the kernel refused, by errno.', [
    'worker',
    'operation',
    'errno',
  ]);
  private readonly slotsFree = this.gauge('weft_worker_slots_free', 'Slots of its pool nobody holds.', ['worker']);

  private readonly tunnelFrames = this.counter('weft_tunnel_frames_total', 'Frames through tunnels to a remote.', [
    'network',
    'remote',
    'direction',
  ]);
  private readonly tunnelBytes = this.counter('weft_tunnel_bytes_total', 'Octets of those frames.', [
    'network',
    'remote',
    'direction',
  ]);
  private readonly tunnelUp = this.gauge(
    'weft_tunnel_up',
    '1 when BFD says so or, without BFD, something came within a minute.',
    ['network', 'remote'],
  );

  private readonly natPorts = this.gauge('weft_nat_ports_used', 'Outside ports that are mapped.', natLabels);
  private readonly natPool = this.gauge('weft_nat_ports_limit', 'Outside ports there are.', natLabels);
  private readonly natRefused = this.counter('weft_nat_refused_total', 'Connections that NAT refused.', [
    'router',
    'why',
  ]);

  private readonly leases = this.gauge('weft_dhcp_leases', 'Addresses given and in force.', ['subnet']);

  private readonly questions = this.counter(
    'weft_dns_queries_total',
    'DNS questions of machines, by what became of them.',
    ['result'],
  );
  private readonly requests = this.counter(
    'weft_metadata_requests_total',
    'Metadata requests of machines, by what became of them.',
    ['result'],
  );
  private readonly serviceConnections = this.gauge(
    'weft_service_connections',
    'TCP connections of machines to services.',
  );
  private readonly questionsWaiting = this.gauge('weft_dns_outstanding', 'Questions that wait for a resolver.');

  update({ status, stats, drops, tunnels, conntrack, nat, leases }: Reading): void {
    this.registry.resetMetrics();
    this.info.set({ version: status.version, io: status.io }, 1);
    this.ready.set(status.ready ? 1 : 0);
    this.uptime.set(status.uptimeSeconds);
    this.epoch.set(status.epoch);
    this.fdbEntries.set(status.fdb.entries);
    this.fdbLimit.set(status.fdb.capacity);
    this.updateConnections(conntrack);
    for (const state of ['up', 'down', 'waiting'] as const) this.ports.set({ state }, status.ports[state]);
    this.updatePorts(stats);
    for (const { port, reason, of, count } of drops) this.drops.inc({ port, reason, of }, count);
    this.updateTunnels(tunnels);
    this.updateNat(nat);
    for (const { subnet } of leases) this.leases.inc({ subnet });
    this.updateWorkers(status, stats);
    this.updateServices(status.services);
  }

  private updateServices({ names, metadata, connections }: ServicesStatus): void {
    const { queries: _, outstanding, ...results } = names;
    for (const [result, count] of Object.entries(results)) this.questions.inc({ result }, count);
    this.questionsWaiting.set(outstanding);
    for (const result of ['answered', 'refused', 'failed'] as const) this.requests.inc({ result }, metadata[result]);
    this.serviceConnections.set(connections);
  }

  private updateConnections({ capacity, used, created, expired, refused, byPort }: ConntrackStats): void {
    this.connections.set(used);
    this.connectionLimit.set(capacity);
    this.connectionsCreated.inc(created);
    this.connectionsExpired.inc(expired);
    for (const [why, count] of Object.entries(refused)) this.connectionsRefused.inc({ why }, count);
    for (const { port, used: ofPort } of byPort) this.connectionsByPort.set({ port }, ofPort);
  }

  private updateNat(rows: readonly NatStatsRow[]): void {
    for (const { router, ports, refused } of rows) {
      for (const { external, proto, used, size } of ports) {
        this.natPorts.set({ router, external, proto }, used);
        this.natPool.set({ router, external, proto }, size);
      }
      for (const why of ['exhausted', 'limit'] as const) this.natRefused.inc({ router, why }, refused[why]);
    }
  }

  private updateTunnels(tunnels: readonly TunnelRow[]): void {
    for (const { network, remote: address, learned, state, rxFrames, rxBytes, txFrames, txBytes } of tunnels) {
      const remote = learned === true ? LEARNED : address;
      this.tunnelFrames.inc({ network, remote, direction: 'rx' }, rxFrames);
      this.tunnelFrames.inc({ network, remote, direction: 'tx' }, txFrames);
      this.tunnelBytes.inc({ network, remote, direction: 'rx' }, rxBytes);
      this.tunnelBytes.inc({ network, remote, direction: 'tx' }, txBytes);
      if (learned !== true) this.tunnelUp.set({ network, remote }, state === 'up' ? 1 : 0);
    }
  }

  private updatePorts(stats: StatsResult): void {
    for (const { name: port, rx, tx, notLearned, stationMoves } of stats.ports) {
      this.frames.inc({ port, direction: 'rx' }, rx.frames);
      this.frames.inc({ port, direction: 'tx' }, tx.frames);
      this.bytes.inc({ port, direction: 'rx' }, rx.bytes);
      this.bytes.inc({ port, direction: 'tx' }, tx.bytes);
      this.notLearned.inc({ port }, notLearned);
      this.moves.inc({ port }, stationMoves);
    }
  }

  private updateWorkers(status: StatusResult, stats: StatsResult): void {
    for (const { index, busyShare, restarts, lastBreathSeconds, ioFailures } of status.workers) {
      const worker = String(index);
      this.busyShare.set({ worker }, busyShare);
      this.restarts.inc({ worker }, restarts);
      this.lastBreath.set({ worker }, lastBreathSeconds);
      for (const { operation, errno, count } of ioFailures) this.ioFailures.inc({ worker, operation, errno }, count);
    }
    for (const { index, breaths, frames, batches, busySeconds, slotsFree } of stats.workers) {
      const worker = String(index);
      this.breaths.inc({ worker }, breaths);
      this.workerFrames.inc({ worker }, frames);
      this.batches.inc({ worker }, batches);
      this.batchFrames.set({ worker }, batches === 0 ? 0 : frames / batches);
      this.busy.inc({ worker }, busySeconds);
      this.slotsFree.set({ worker }, slotsFree);
    }
  }

  private gauge<Label extends string = never>(name: string, help: string, labelNames: Label[] = []): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }

  private counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }
}

export class MetricsServer {
  private readonly control: SwitchControl;
  private readonly metrics = new SwitchMetrics();
  private readonly server: Server;
  /** The reading that scrapes of this moment share. */
  private reading: Promise<string> | undefined;

  private constructor(control: SwitchControl) {
    this.control = control;
    const limits = {
      maxHeaderSize: HEADER_SIZE_MAX,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: REQUEST_TIMEOUT_MS,
    };
    this.server = createServer({ ...limits, connectionsCheckingInterval: 1000 }, (request, response) => {
      this.answer(request, response).catch(() => reply(response, 500, 'text/plain', 'the switch could not answer\n'));
    });
    this.server.headersTimeout = REQUEST_TIMEOUT_MS;
    this.server.maxConnections = METRICS_CONNECTIONS_MAX;
  }

  /** Listens. Throws a UserError when the address can't be had. */
  static async listen(control: SwitchControl, { host, port }: MetricsAddress): Promise<MetricsServer> {
    const metrics = new MetricsServer(control);
    await new Promise<void>((resolve, reject) => {
      metrics.server.once('error', (error) => {
        const message = `metrics can't listen on ${host}:${port} (${errorCode(error)})`;
        reject(
          new UserError([{ code: 'busy', message, fix: 'Choose another --metrics HOST:PORT, or --metrics off.' }]),
        );
      });
      metrics.server.listen({ host, port }, resolve);
    });
    metrics.server.removeAllListeners('error');
    // Accepting may fail later (EMFILE): that costs a scrape, not the switch.
    metrics.server.on('error', () => {});
    return metrics;
  }

  /** The port in use, for an address with port 0. */
  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      reply(response, 405, 'text/plain', 'only GET and HEAD\n');
      return;
    }
    const [path] = (request.url ?? '').split('?');
    if (path === '/metrics') reply(response, 200, this.metrics.registry.contentType, await this.read());
    else if (path === '/healthz') await this.answerHealth(response);
    else reply(response, 404, 'text/plain', 'there are /metrics and /healthz\n');
  }

  private async answerHealth(response: ServerResponse): Promise<void> {
    const health = await this.control.health();
    reply(response, health.healthy ? 200 : 503, 'application/json', `${JSON.stringify(health)}\n`);
  }

  private read(): Promise<string> {
    this.reading ??= this.readNow().finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private async readNow(): Promise<string> {
    const { control } = this;
    const [status, stats, drops, tunnels, conntrack, nat, leases] = await Promise.all([
      control.status(),
      control.stats(),
      control.drops(),
      control.tunnelList(),
      control.conntrackStats(),
      control.natStats(),
      control.dhcpLeases(),
    ]);
    this.metrics.update({ status, stats, drops, tunnels, conntrack, nat, leases });
    return await this.metrics.registry.metrics();
  }
}

function reply(response: ServerResponse, status: number, type: string, body: string): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}
