/**
 * What the control socket offers, answered from the controller: rows, rates, traces and changes in the shapes of
 * shapes.ts. Holds no state of the switch itself. Main thread.
 */
import { monotonicMs } from '../dataplane/clock.js';
import { UserError } from '../errors.js';
import { NETWORKS_MAX, WORKER_STUCK_MS } from '../limits.js';
import type { Names } from '../pipeline/stage.js';
import { ipWords, ipWordsText, macWordsText, parseIp, parseMac } from '../wire/address.js';
import { macHighAt, macLowAt } from '../wire/ethernet.js';
import { parseFrame } from '../wire/frame-text.js';
import { aclDetail, aclRows } from './acl-rows.js';
import { conntrackRow, conntrackStats } from './connection-rows.js';
import type { Controller } from './controller.js';
import { diff } from './diff.js';
import { FdbListing } from './fdb-listing.js';
import { groupDetail, groupRows } from './group-rows.js';
import { configuredNatRows, dependentRow, mappingRow } from './nat-rows.js';
import { natStatistics, natTotals } from './nat-statistics.js';
import { outerDatagram } from './outer-datagram.js';
import { networkRow, portRow } from './port-rows.js';
import { remoteFault } from './resolve-tunnels.js';
import type { ResolvedNetwork, ResolvedPort } from './resolved.js';
import { neighborRows, routerDetail, routerRows } from './router-rows.js';
import type {
  AclDetail,
  AclRow,
  ChangeResult,
  ConntrackRow,
  ConntrackStats,
  DhcpLeaseRow,
  DropRow,
  FdbRow,
  GroupDetail,
  GroupRow,
  HealthResult,
  JsonObject,
  NatRow,
  NatStatsRow,
  NeighborRow,
  NetworkDetail,
  NetworkRow,
  PortDetail,
  PortRow,
  RouterDetail,
  RouterRow,
  StatsResult,
  StatusResult,
  TraceResult,
  TunnelDetail,
  TunnelRow,
} from './shapes.js';
import { isUnderlayPort, shownName } from './shown-name.js';
import { portsByShownName, sumDrops, sumStats } from './shown-ports.js';
import { didYouMean } from './suggest.js';
import type { FdbSelection, SubmittedDocument, SwitchControl } from './switch-control.js';
import { traceResult } from './trace-result.js';
import { TunnelRows } from './tunnel-rows.js';

const DROPS_PERIOD_MS = 1000;

export class SwitchService implements SwitchControl {
  private readonly controller: Controller;
  private readonly fdbListing: FdbListing;

  constructor(controller: Controller) {
    this.controller = controller;
    this.fdbListing = new FdbListing(controller.dataplane.fdb);
  }

  async status(): Promise<StatusResult> {
    const { controller } = this;
    const { dataplane } = controller;
    const ports = { up: 0, down: 0, waiting: 0 };
    const rates = { rx: { framesPerSecond: 0, bitsPerSecond: 0 }, tx: { framesPerSecond: 0, bitsPerSecond: 0 } };
    for (const [name, index] of this.portIndices()) {
      if (!isUnderlayPort(name)) ports[dataplane.ports.status(index).state]++;
      const rate = dataplane.statistics.portRates(index);
      for (const direction of ['rx', 'tx'] as const) {
        rates[direction].framesPerSecond += rate[direction].framesPerSecond;
        rates[direction].bitsPerSecond += rate[direction].bitsPerSecond;
      }
    }
    const [first] = dataplane.workers.seats;
    const { entries, capacity } = dataplane.fdb.counts();
    return {
      version: controller.options.version,
      uptimeSeconds: (monotonicMs() - controller.startedMs) / 1000,
      pid: process.pid,
      ready: controller.isReady && dataplane.workers.seats.every((seat) => seat.state === 'running'),
      io: first?.io ?? 'uring',
      ioReason: first?.ioReason ?? 'no worker runs',
      workers: dataplane.statistics.workerStatus(),
      ports,
      rates,
      fdb: { entries, capacity },
      connections: { used: dataplane.connections.used, capacity: dataplane.connections.capacity },
      ...natTotals(await this.natStats()),
      services: dataplane.services.status,
      epoch: controller.snapshotEpoch,
      ...(dataplane.fdbSurvived ? { kept: { connections: controller.keptConnections, fdb: controller.keptFdb } } : {}),
    };
  }

  async stats(port?: string): Promise<StatsResult> {
    const { statistics } = this.controller.dataplane;
    const shown = port === undefined ? [...this.shownPorts()] : [[port, this.shownPort(port)] as const];
    const ports = shown.map(([name, indices]) => sumStats(indices.map((index) => statistics.port(index, name))));
    return { ports, workers: statistics.workerStats() };
  }

  async health(): Promise<HealthResult> {
    const workers = this.controller.dataplane.statistics.workerStatus().map(({ index, state, lastBreathSeconds }) => ({
      index,
      breathing: state === 'running' && lastBreathSeconds * 1000 < WORKER_STUCK_MS,
      lastBreathSeconds,
    }));
    return { healthy: workers.every(({ breathing }) => breathing), workers };
  }

  async portList(): Promise<readonly PortRow[]> {
    const { dataplane, running } = this.controller;
    const ports = [...running.checked.resolved.ports].filter(([name]) => !isUnderlayPort(name));
    return ports.map(([name, port]) => portRow(dataplane, running, name, port));
  }

  async portShow(name: string): Promise<PortDetail> {
    const index = this.portIndex(name);
    const { dataplane, running } = this.controller;
    const port = running.checked.resolved.ports.get(name) as ResolvedPort;
    return {
      ...portRow(dataplane, running, name, port),
      rates: dataplane.statistics.portRates(index),
      config: section(this.controller.document(), 'ports', name),
      fdbEntries: dataplane.fdb.learnedByPort(index),
      drops: dataplane.statistics.drops(index, name, dataplane.statistics.dropSamples()),
    };
  }

  async portAdd(name: string, config: JsonObject): Promise<ChangeResult> {
    return await this.controller.edit({ op: 'add', section: 'ports', name, values: config });
  }
  async portSet(name: string, config: JsonObject): Promise<ChangeResult> {
    return await this.controller.edit({ op: 'set', section: 'ports', name, values: config });
  }
  async portRemove(name: string): Promise<ChangeResult> {
    return await this.controller.edit({ op: 'remove', section: 'ports', name });
  }

  async networkList(): Promise<readonly NetworkRow[]> {
    const { dataplane, running } = this.controller;
    const { networks } = running.checked.resolved;
    return [...networks].map(([name, network]) => networkRow(dataplane, running, name, network));
  }

  async networkShow(name: string): Promise<NetworkDetail> {
    const index = this.networkIndex(name);
    const { dataplane, running } = this.controller;
    const network = running.checked.resolved.networks.get(name) as ResolvedNetwork;
    return {
      ...networkRow(dataplane, running, name, network),
      config: section(this.controller.document(), 'networks', name),
      fdb: { entries: dataplane.fdb.learnedInNetwork(index), limit: network.macLimit },
    };
  }

  async networkAdd(name: string, config: JsonObject): Promise<ChangeResult> {
    return await this.controller.edit({ op: 'add', section: 'networks', name, values: config });
  }
  async networkSet(name: string, config: JsonObject): Promise<ChangeResult> {
    return await this.controller.edit({ op: 'set', section: 'networks', name, values: config });
  }
  async networkRemove(name: string): Promise<ChangeResult> {
    return await this.controller.edit({ op: 'remove', section: 'networks', name });
  }

  async fdbList(selection: FdbSelection): Promise<readonly FdbRow[]> {
    const query = {
      network: selection.network === undefined ? undefined : this.networkIndex(selection.network),
      ports: selection.port === undefined ? undefined : this.shownPort(selection.port),
      offset: selection.offset ?? 0,
      limit: selection.limit ?? Number.POSITIVE_INFINITY,
    };
    return await this.fdbListing.page(query, this.controller.dataplane.snapshot, this.names());
  }

  async fdbAdd(network: string, mac: string, port: string, remote?: string): Promise<FdbRow> {
    const { dataplane } = this.controller;
    const networkIndex = this.networkIndex(network);
    const [portIndex, member] = this.memberOf(network, port);
    const { high, low } = macOf(mac);
    const tunnel = this.tunnelTo(network, port, member, remote);
    const expiry = { nowSeconds: nowSeconds(), networkMacAge: dataplane.snapshot.networkMacAge };
    if (!dataplane.fdb.addStatic(networkIndex, high, low, member, portIndex, expiry, tunnel)) {
      this.controller.releaseTunnels();
      throw refusal('limit', 'the FDB is full of static entries');
    }
    return { network, mac: macWordsText(high, low), port, ...this.remoteText(tunnel), static: true, ageSeconds: 0 };
  }

  /** Indices of the port that has the name, of those the one that carries the network, and of its membership. */
  private memberOf(network: string, port: string): [port: number, member: number] {
    const { checked, indices } = this.controller.running;
    this.shownPort(port);
    for (const name of portsByShownName(checked.resolved).get(port) ?? []) {
      const member = indices.member(name, network);
      if (member !== undefined) return [indices.port(name) ?? -1, member];
    }
    throw refusal('bad-request', `port ${port} is not in network ${network}`);
  }

  /** Number of the tunnel to the remote that a static entry names, made if need be; 0 where the port has no tunnels. */
  private tunnelTo(network: string, port: string, member: number, remote: string | undefined): number {
    const { dataplane, running } = this.controller;
    const tunnel = running.checked.resolved.networks.get(network)?.tunnel;
    const isUnderlay = tunnel !== undefined && shownName(tunnel.port) === port;
    if (!isUnderlay) {
      if (remote !== undefined) throw refusal('bad-request', `port ${port} has no tunnels, so no remote`);
      return 0;
    }
    if (remote === undefined) throw refusal('bad-request', `${port} is an underlay: name the remote too`);
    const address = parseIp(remote);
    const local = parseIp(running.checked.resolved.ports.get(tunnel.port)?.intent.underlay?.local ?? '');
    const fault = address === undefined || local === undefined ? 'is not an IP address' : remoteFault(address, local);
    if (address === undefined || fault !== undefined) throw refusal('bad-request', `remote ${remote}: ${fault}`);
    return dataplane.tunnels.internAddress(member, ipWords(address));
  }

  private remoteText(tunnel: number): { remote?: string } {
    return tunnel === 0 ? {} : { remote: this.names().remote(tunnel) };
  }

  async fdbRemove(network: string, mac: string): Promise<FdbRow> {
    const { high, low } = macOf(mac);
    const text = macWordsText(high, low);
    const { fdb, snapshot } = this.controller.dataplane;
    const index = this.networkIndex(network);
    const entry = fdb.entryOf(index, high, low, nowSeconds(), snapshot.networkMacAge);
    const port = entry === undefined ? -1 : (snapshot.memberPort[entry.member] ?? -1);
    if (entry === undefined || port < 0 || !fdb.remove(index, high, low)) {
      throw refusal('not-found', `${text} is not in the FDB of network ${network}`);
    }
    const { isStatic, ageSeconds, remote } = entry;
    const row = { network, mac: text, port: this.names().port(port), ...this.remoteText(remote) };
    if (isStatic && remote !== 0) this.controller.releaseTunnels();
    return { ...row, static: isStatic, ageSeconds };
  }

  async fdbFlush(selection: { readonly network?: string; readonly port?: string }): Promise<number> {
    const { fdb } = this.controller.dataplane;
    const network = selection.network === undefined ? {} : { network: this.networkIndex(selection.network) };
    if (selection.port === undefined) return fdb.flush(network);
    return this.shownPort(selection.port).reduce((sum, port) => sum + fdb.flush({ ...network, port }), 0);
  }

  async conntrackList(port: string | undefined, limit: number): Promise<readonly ConntrackRow[]> {
    const { connections, snapshot } = this.controller.dataplane;
    const selector = port === undefined ? {} : { port: this.portIndex(port) };
    const names = this.names();
    const rows = connections.list(nowSeconds(), snapshot.connectionTimeouts, selector, limit);
    return Array.from(rows, (row) => conntrackRow(row, names));
  }

  async natList(): Promise<readonly NatRow[]> {
    const { checked } = this.controller.running;
    const { connections, snapshot } = this.controller.dataplane;
    const names = this.names();
    const routerOf = (zone: number) => names.network(zone);
    const rows = configuredNatRows(checked.resolved.routers);
    for (const { key, value } of connections.mappings()) rows.push(mappingRow(key, value, routerOf));
    for (const row of connections.list(nowSeconds(), snapshot.connectionTimeouts)) {
      const dependent = dependentRow(row, checked.resolved.routers, routerOf);
      if (dependent !== undefined) rows.push(dependent);
    }
    return rows;
  }

  async natStats(): Promise<readonly NatStatsRow[]> {
    const { checked, indices } = this.controller.running;
    return natStatistics(checked.resolved, indices, this.controller.dataplane.connections);
  }

  async conntrackFlush(port?: string): Promise<number> {
    const { connections } = this.controller.dataplane;
    return connections.flush(port === undefined ? {} : { port: this.portIndex(port) });
  }

  async conntrackStats(): Promise<ConntrackStats> {
    const { connections, snapshot } = this.controller.dataplane;
    const byPort = [...this.portIndices()]
      .map(([name, index]) => ({ port: shownName(name), used: connections.usedBy(index) }))
      .filter(({ used }) => used > 0);
    return conntrackStats(connections.totals(), byPort, snapshot.connectionsPerPort);
  }

  async drops(): Promise<readonly DropRow[]> {
    const { statistics } = this.controller.dataplane;
    const samples = statistics.dropSamples();
    const rows = [...this.shownPorts()].flatMap(([name, indices]) =>
      sumDrops(indices.flatMap((index) => statistics.drops(index, name, samples))),
    );
    return rows.sort((left, right) => right.count - left.count);
  }

  subscribeDrops(callback: (rows: readonly DropRow[]) => void): () => void {
    const key = (row: DropRow) => `${row.port} ${row.reason} ${row.of}`;
    let seen: Map<string, number> | undefined;
    const look = async () => {
      const rows = await this.drops();
      const before = seen;
      seen = new Map(rows.map((row) => [key(row), row.count]));
      const grown = before === undefined ? [] : rows.filter((row) => row.count > (before.get(key(row)) ?? 0));
      if (grown.length > 0) callback(grown);
    };
    // What fails here has nobody to hear it; it must not end the process.
    const tryLook = () =>
      void look().catch((error: unknown) =>
        this.controller.options.log.error({ err: error }, 'drops could not be looked at'),
      );
    tryLook();
    const timer = setInterval(tryLook, DROPS_PERIOD_MS);
    timer.unref();
    return () => clearInterval(timer);
  }

  async trace(port: string, frame: string): Promise<TraceResult> {
    const octets = parseFrame(frame);
    const { running, dataplane } = this.controller;
    const underlays = [...running.checked.resolved.ports.values()].filter(({ underlay }) => underlay?.name === port);
    const names = this.names();
    if (underlays.length === 0) return traceResult(dataplane.trace(this.portIndex(port), { octets }, names), names);
    const { port: found, input } = outerDatagram(port, underlays, octets);
    return traceResult(dataplane.trace(running.indices.port(found.intent.name) ?? -1, input, names), names);
  }

  async groupList(): Promise<readonly GroupRow[]> {
    return groupRows(this.controller.running.checked.resolved, this.controller.dataplane.ruleNumbers);
  }

  async groupShow(name: string): Promise<GroupDetail> {
    const { resolved } = this.controller.running.checked;
    const detail = groupDetail(resolved, this.controller.dataplane.ruleNumbers, name);
    if (detail === undefined)
      throw refusal('not-found', `no group named ${name}${didYouMean(name, [...resolved.groups.keys()])}`);
    return detail;
  }

  async aclList(): Promise<readonly AclRow[]> {
    return aclRows(this.controller.running.checked.resolved, this.controller.dataplane.ruleNumbers);
  }

  async aclShow(name: string): Promise<AclDetail> {
    const detail = aclDetail(this.controller.running.checked.resolved, this.controller.dataplane.ruleNumbers, name);
    if (detail === undefined) throw refusal('not-found', `no ACL named ${name}`);
    return detail;
  }

  async tunnelList(): Promise<readonly TunnelRow[]> {
    return new TunnelRows(this.controller.dataplane, this.controller.running).list();
  }

  async tunnelShow(name: string): Promise<TunnelDetail> {
    const { dataplane, running } = this.controller;
    this.networkIndex(name);
    const network = running.checked.resolved.networks.get(name) as ResolvedNetwork;
    if (network.tunnel === undefined)
      throw refusal('bad-request', `network ${name} is ${network.type}: it has no tunnels`);
    return new TunnelRows(dataplane, running).detail(name, network, network.tunnel);
  }

  async routerList(): Promise<readonly RouterRow[]> {
    return routerRows(this.controller.running);
  }

  async routerShow(name: string): Promise<RouterDetail> {
    const { dataplane, running } = this.controller;
    const detail = routerDetail(dataplane, running, name);
    const names = [...running.checked.resolved.routers.keys()];
    if (detail === undefined) throw refusal('not-found', `no router named ${name}${didYouMean(name, names)}`);
    return detail;
  }

  async neighborList(): Promise<readonly NeighborRow[]> {
    return neighborRows(this.controller.dataplane, this.controller.running);
  }

  async dhcpLeases(): Promise<readonly DhcpLeaseRow[]> {
    return this.controller.dataplane.addresses.list();
  }

  async configApply(document: SubmittedDocument, dryRun: boolean): Promise<ChangeResult> {
    return await this.controller.apply(document, dryRun);
  }

  async configDiff(document: SubmittedDocument): Promise<ChangeResult> {
    const checked = await this.controller.check(document);
    return { changes: diff(this.controller.running.checked.config, checked.config), applied: false };
  }

  async configShow(): Promise<JsonObject> {
    return this.controller.document();
  }

  private portIndices(): ReadonlyMap<string, number> {
    const { checked, indices } = this.controller.running;
    return new Map([...checked.resolved.ports.keys()].map((name) => [name, indices.port(name) ?? -1]));
  }

  /** Indices of the ports that are shown under each name. */
  private shownPorts(): Map<string, number[]> {
    const { checked, indices } = this.controller.running;
    const names = [...portsByShownName(checked.resolved)];
    return new Map(names.map(([shown, ports]) => [shown, ports.map((port) => indices.port(port) ?? -1)]));
  }

  private shownPort(name: string): number[] {
    const shown = this.shownPorts();
    const indices = shown.get(name);
    if (indices === undefined)
      throw refusal('not-found', `no port named ${name}${didYouMean(name, [...shown.keys()])}`);
    return indices;
  }

  /** Of a port of the configuration. */
  private portIndex(name: string): number {
    const indices = this.portIndices();
    const index = indices.get(name);
    if (index !== undefined && !isUnderlayPort(name)) return index;
    const names = [...indices.keys()].filter((known) => !isUnderlayPort(known));
    throw refusal('not-found', `no port named ${name}${didYouMean(name, names)}`);
  }

  private networkIndex(name: string): number {
    const { checked, indices } = this.controller.running;
    const index = checked.resolved.networks.has(name) ? indices.network(name) : undefined;
    if (index === undefined) {
      throw refusal('not-found', `no network named ${name}${didYouMean(name, [...checked.resolved.networks.keys()])}`);
    }
    return index;
  }

  private names(): Names {
    const { indices } = this.controller.running;
    const { tunnels, ruleNumbers } = this.controller.dataplane;
    const ports = inverse(indices.ports);
    const networks = inverse(indices.networks);
    const routers = inverse(indices.routers);
    return {
      port: (index) => shownName(ports.get(index) ?? `port ${index}`),
      network: (index) => networks.get(index) ?? routers.get(index - NETWORKS_MAX) ?? `network ${index}`,
      remote: (tunnel) => {
        const entry = tunnels.entryOf(tunnel);
        return entry === undefined ? `tunnel ${tunnel}` : ipWordsText(entry.address);
      },
      rule: (number) => ruleNumbers.nameOf(number) ?? `rule ${number}`,
    };
  }
}

function section(document: JsonObject, name: string, key: string): JsonObject {
  const objects = document[name] as JsonObject | undefined;
  return (objects?.[key] ?? {}) as JsonObject;
}

function refusal(code: 'not-found' | 'bad-request' | 'limit', message: string): UserError {
  return new UserError([{ code, message }]);
}

function macOf(text: string): { high: number; low: number } {
  const octets = parseMac(text);
  if (octets === undefined) throw refusal('bad-request', `${text} is not a MAC address`);
  return { high: macHighAt(octets, 0), low: macLowAt(octets, 0) };
}

function inverse(table: ReadonlyMap<string, number>): Map<number, string> {
  return new Map([...table].map(([name, index]) => [index, name]));
}

function nowSeconds(): number {
  return Math.floor(monotonicMs() / 1000);
}
