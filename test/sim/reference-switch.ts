/**
 * The switch a second time: slow, obvious, made of Maps and objects, and written from the configuration reference and the
 * table of semantics (1.1, 1.2), not from the pipeline. The simulator compares the two.
 *
 * Frames of one breath count as simultaneous: where source and destination are is looked up before any of them teaches;
 * a destination unknown then is looked for once more when all have taught.
 */
import type { DropReason } from '../../src/dataplane/drop-reason.js';
import { concatenate, type Layout, referenceSegments, writeTransportChecksum } from '../wire/reference.js';
import { type ModelPort, readPorts } from './reference-ports.js';
import type { Device, SwitchDocument } from './switch-document.js';

/** What the sender truthfully said about a frame whose checksum is partial; `size` 0: no super-frame. */
export interface Offload {
  readonly layout: Layout;
  readonly size: number;
}

export interface ModelFrame {
  readonly port: string;
  readonly octets: Uint8Array;
  /** 'lie': a virtio-net header that contradicts the frame. */
  readonly offload?: Offload | 'lie';
}

export interface SentFrame {
  readonly octets: Uint8Array;
  readonly offload?: Offload;
}

export interface Copy {
  readonly port: string;
  readonly reason?: DropReason;
  /** What leaves: one frame, or the segments of a super-frame. */
  readonly frames: readonly SentFrame[];
}

/** `reason`: why no copy was made of the frame. */
export interface Outcome {
  readonly reason?: DropReason;
  readonly copies: readonly Copy[];
}

export interface Station {
  readonly network: string;
  readonly mac: string;
  port: string;
  isStatic: boolean;
  seen: number;
  /** Where it was before it moved here, unless it has gone back since, and when it was last seen there. */
  origin?: { readonly port: string; readonly seen: number } | undefined;
}

/** Which of several entries that may equally give way did; and told of what the counters should say. */
export interface Observer {
  gone(candidates: readonly Station[]): Station;
  moved(port: string): void;
  notLearned(port: string): void;
}

/** Policy over the switch: names why a frame, or one copy of it, may not pass. A refused frame teaches nothing. */
export interface Judge<Received> {
  enters(frame: Received, network: string): DropReason | undefined;
  leaves(frame: Received, network: string, port: string): DropReason | undefined;
}

/** A frame inside the switch: as its network sees it. */
interface Inside<Received> {
  readonly received: Received;
  readonly port: string;
  readonly network: string;
  readonly octets: Uint8Array;
  readonly offload?: Offload;
  readonly priority: number;
  /** Octets behind the Ethernet header and its tags; of a super-frame, those of its longest segment. */
  readonly packetSize: number;
  readonly knownDestination?: Station | undefined;
  readonly knownSource?: Station | undefined;
  reason?: DropReason | undefined;
}

const isTpid = (value: number) => value === 0x8100 || value === 0x88a8;
const word = (octets: Uint8Array, at: number) => octets[at] * 256 + octets[at + 1];
export const macText = (octets: Uint8Array, at: number) =>
  Buffer.from(octets.buffer, octets.byteOffset + at, 6).toString('hex');

export class ReferenceSwitch<Received extends ModelFrame = ModelFrame> {
  readonly stations = new Map<string, Station>();
  ports = new Map<string, ModelPort>();
  private document: SwitchDocument = { version: 1, networks: {}, ports: {} };
  private readonly buckets = new Map<string, { level: number; at: number }>();
  /** Moves of a station that speak against a port, by `station|port`. */
  private readonly suspects = new Map<string, { since: number; count: number; before: number }>();
  private readonly blocked = new Map<string, number>();
  private readonly observer: Observer;
  private readonly judge: Judge<Received> | undefined;
  private now = 0;

  constructor(observer: Observer, judge?: Judge<Received>) {
    this.observer = observer;
    this.judge = judge;
  }

  /** A device that is absent is a port that is down: what was learned behind it is forgotten, as that of members gone. */
  configure(document: SwitchDocument, devices: ReadonlyMap<string, Device>): void {
    this.document = document;
    for (const port of this.ports.keys()) {
      if (document.ports[port] !== undefined) continue;
      this.blocked.delete(port);
      for (const key of this.suspects.keys()) if (key.endsWith(`|${port}`)) this.suspects.delete(key);
      for (const kind of ['broadcast', 'multicast', 'unknownUnicast']) this.buckets.delete(`${port} ${kind}`);
    }
    this.ports = readPorts(document, devices);
    this.forget((station) => {
      const port = this.ports.get(station.port);
      if (!port?.members.some(({ network }) => network === station.network)) return true;
      if (station.isStatic) return false;
      return port.device === undefined || document.networks[station.network].learning === false;
    });
    for (const station of this.stations.values()) {
      const origin = station.origin && this.ports.get(station.origin.port);
      if (!origin?.members.some(({ network }) => network === station.network)) station.origin = undefined;
    }
  }

  forget(which: (station: Station) => boolean): void {
    for (const [key, station] of this.stations) if (which(station)) this.stations.delete(key);
  }

  addStatic(network: string, mac: string, port: string): void {
    this.stations.set(`${network} ${mac}`, { network, mac, port, isStatic: true, seen: 0 });
  }

  blockedUntil(port: string): number {
    return this.blocked.get(port) ?? 0;
  }

  setTime(nowMs: number): void {
    this.now = nowMs;
    this.forget((station) => !station.isStatic && this.second - station.seen > this.ageOf(station.network));
  }

  /** One breath. */
  receive(frames: readonly Received[]): Outcome[] {
    const inside = frames.map((frame) => this.admit(frame));
    for (const frame of inside)
      if (typeof frame !== 'string') frame.reason = this.judge?.enters(frame.received, frame.network);
    for (const frame of inside) if (typeof frame !== 'string' && frame.reason === undefined) this.passStorm(frame);
    for (const frame of inside) if (typeof frame !== 'string' && frame.reason === undefined) this.learn(frame);
    return inside.map((frame) => (typeof frame === 'string' ? { reason: frame, copies: [] } : this.forward(frame)));
  }

  private get second(): number {
    return Math.floor(this.now / 1000);
  }

  private ageOf(network: string): number {
    return Number.parseInt(this.document.networks[network].macAge ?? '300s', 10);
  }

  // ---- the way in -------------------------------------------------------------------------------------------------

  /** The frame in its network, or why it may not enter. */
  private admit(received: Received): Inside<Received> | DropReason {
    const { port: name, octets, offload } = received;
    if (octets.length < 14) return 'runt';
    if (octets.length >= 65_600) return 'too_long';
    if ((octets[6] & 1) === 1) return 'group_source';
    if (macText(octets, 6) === '000000000000') return 'zero_source';
    let tags = 0;
    while (tags < 2 && isTpid(word(octets, 12 + tags * 4))) {
      tags++;
      if (octets.length < 14 + tags * 4) return 'runt';
    }
    if (offload === 'lie') return 'bad_vnet_header';
    const port = this.ports.get(name);
    if (port?.device === undefined) return 'port_down';
    if (this.blockedUntil(name) > this.now) return 'loop';
    const control = tags === 0 ? 0 : word(octets, 14);
    const vid = control % 4096;
    if (vid === 4095) return 'bad_vlan_tag';
    const innerVid = tags === 2 ? word(octets, 18) % 4096 : 0;
    if (port.mode === 'access' && tags > 0 && (vid !== 0 || innerVid !== 0)) return 'vlan_not_allowed';
    if (port.mode === 'tunnel' && port.allowed?.has(vid) === false) return 'vlan_not_allowed';
    const member = port.members.find((each) =>
      port.mode === 'tunnel' || vid === 0 ? each.untagged : each.vid === vid,
    );
    if (member === undefined) return 'vlan_not_allowed';
    const refusal = refuseControl(port, macText(octets, 0), word(octets, 12 + tags * 4));
    if (refusal !== undefined) return refusal;
    const taken = port.mode !== 'tunnel' && tags > 0 ? 4 : 0;
    const headers = 14 + tags * 4;
    const inner = concatenate(octets.slice(0, 12), octets.slice(12 + taken));
    return {
      received,
      port: name,
      network: member.network,
      octets: inner,
      ...(offload && { offload: shift(offload, -taken) }),
      priority: control & 0xf000,
      packetSize:
        offload && offload.size > 0 ? offload.layout.payload - headers + offload.size : octets.length - headers,
      knownSource: snapshotOf(this.stations.get(`${member.network} ${macText(octets, 6)}`)),
      knownDestination: snapshotOf(this.stations.get(`${member.network} ${macText(octets, 0)}`)),
    };
  }

  private passStorm(frame: Inside<Received>): void {
    const destination = macText(frame.octets, 0);
    const isGroup = (frame.octets[0] & 1) === 1;
    if (!isGroup && frame.knownDestination !== undefined) return;
    const kind = !isGroup ? 'unknownUnicast' : destination === 'ffffffffffff' ? 'broadcast' : 'multicast';
    const rate = this.ports.get(frame.port)!.storm[kind];
    if (rate === 0) return;
    const now = Math.floor(this.now);
    const most = Math.max(rate / 10, 1);
    const bucket = this.buckets.get(`${frame.port} ${kind}`) ?? { level: most, at: now };
    this.buckets.set(`${frame.port} ${kind}`, bucket);
    if (now > bucket.at) bucket.level = Math.min(most, thousandths(bucket.level + (rate * (now - bucket.at)) / 1000));
    bucket.at = now;
    if (bucket.level >= 1) bucket.level = thousandths(bucket.level - 1);
    else frame.reason = 'storm';
  }

  // ---- learning ---------------------------------------------------------------------------------------------------

  private learn(frame: Inside<Received>): void {
    const { network, port } = frame;
    if (this.document.networks[network].learning === false) return;
    const mac = macText(frame.octets, 6);
    const key = `${network} ${mac}`;
    // Simultaneous frames: what this one found is what it judges by.
    if (frame.knownSource?.port === port && this.stations.get(key)?.port !== port) return;
    const known = this.stations.get(key);
    if (known?.isStatic) return;
    if (known?.port === port) {
      known.seen = this.second;
      return;
    }
    const limit = this.ports.get(port)!.macLimit;
    const behind = [...this.stations.values()].filter((station) => station.port === port && !station.isStatic);
    if (limit !== 0 && behind.length >= limit) {
      this.observer.notLearned(port);
      return;
    }
    if (known !== undefined) {
      const isBack = known.origin?.port === port && this.second - known.origin.seen <= this.ageOf(network);
      this.observer.moved(port);
      if (isBack) this.noteMove(key, port, known.port);
      else this.noteMove(key, known.port, port);
      known.origin = isBack ? undefined : { port: known.port, seen: known.seen };
      known.port = port;
      known.seen = this.second;
      return;
    }
    if (!this.makeRoom(network, port)) this.observer.notLearned(port);
    else this.stations.set(key, { network, mac, port, isStatic: false, seen: this.second });
  }

  /** A full network evicts the oldest entry of the port that holds most; among equals not the learner's. */
  private makeRoom(network: string, learner: string): boolean {
    const learned = [...this.stations.values()].filter((station) => station.network === network && !station.isStatic);
    if (learned.length < (this.document.networks[network].macLimit ?? 8192)) return true;
    const held = (port: string) => learned.filter((station) => station.port === port);
    const most = Math.max(0, ...learned.map((station) => held(station.port).length));
    const holders = [...new Set(learned.map((station) => station.port))].filter((port) => held(port).length === most);
    const victims = holders.length > 1 ? holders.filter((port) => port !== learner) : holders;
    const candidates = victims.flatMap((port) => {
      const oldest = Math.min(...held(port).map(({ seen }) => seen));
      return held(port).filter(({ seen }) => seen === oldest);
    });
    if (candidates.length === 0) return false;
    const gone = this.observer.gone(candidates);
    this.stations.delete(`${network} ${gone.mac}`);
    return true;
  }

  /**
   * More than 20 moves of a station in a second are a loop: the port that came later is blocked for 10 s; or the earlier
   * one, if three moves of the last two seconds spoke against it and fewer against the later one.
   */
  private noteMove(station: string, earlier: string, later: string): void {
    const against = (port: string) => {
      const suspect = this.suspects.get(`${station}|${port}`);
      const elapsed = suspect === undefined ? Number.POSITIVE_INFINITY : this.now - suspect.since;
      if (suspect === undefined || elapsed >= 2000) return 0;
      return suspect.count + (elapsed < 1000 ? suspect.before : 0);
    };
    const port = against(earlier) >= 3 && against(later) < 3 ? earlier : later;
    let suspect = this.suspects.get(`${station}|${port}`);
    if (suspect === undefined || this.now - suspect.since >= 1000)
      suspect = { since: this.now, count: 0, before: against(port) };
    this.suspects.set(`${station}|${port}`, suspect);
    if (++suspect.count > 20) this.blocked.set(port, this.now + 10_000);
  }

  // ---- the way out ------------------------------------------------------------------------------------------------

  private forward(frame: Inside<Received>): Outcome {
    if (frame.reason !== undefined) return { reason: frame.reason, copies: [] };
    const destination = frame.knownDestination ?? this.stations.get(`${frame.network} ${macText(frame.octets, 0)}`);
    if (destination?.port === frame.port) return { reason: 'hairpin', copies: [] };
    if (destination !== undefined) return { copies: [this.leave(frame, destination.port)] };
    const others = [...this.ports.keys()].filter((name) => {
      const port = this.ports.get(name)!;
      return name !== frame.port && port.device && port.members.some(({ network }) => network === frame.network);
    });
    if (others.length === 0) return { reason: 'no_port', copies: [] };
    return { copies: others.map((name) => this.leave(frame, name)) };
  }

  private leave(frame: Inside<Received>, name: string): Copy {
    const port = this.ports.get(name)!;
    const member = port.members.find(({ network }) => network === frame.network)!;
    const refuse = (reason: DropReason): Copy => ({ port: name, reason, frames: [] });
    const { device } = port;
    if (device === undefined) return refuse('port_down');
    if (this.blockedUntil(name) > this.now) return refuse('loop');
    if (port.isolated && this.ports.get(frame.port)!.isolated) return refuse('isolated');
    const innerVid = isTpid(word(frame.octets, 12)) ? word(frame.octets, 14) % 4096 : 0;
    if (port.mode === 'tunnel' && port.allowed?.has(innerVid) === false) return refuse('vlan_not_allowed');
    // Untagged on a trunk, the payload's own tag would put the frame into another network that the trunk carries.
    if (port.mode === 'trunk' && member.tag === undefined && innerVid !== 0) {
      if (port.members.some((each) => each !== member && each.vid === innerVid)) return refuse('vlan_not_allowed');
    }
    const refusal = this.judge?.leaves(frame.received, frame.network, name);
    if (refusal !== undefined) return refuse(refusal);
    if (frame.packetSize > Math.min(device.mtu, member.mtu)) return refuse('mtu_exceeded');
    if (!device.attached) return refuse('port_down');
    const tag = member.tag && [member.tag.tpid, frame.priority + member.tag.vid];
    const pushed = tag === undefined ? [] : tag.flatMap((value) => [Math.floor(value / 256), value % 256]);
    const octets = concatenate(frame.octets.slice(0, 12), Uint8Array.from(pushed), frame.octets.slice(12));
    return { port: name, frames: finish(octets, frame.offload && shift(frame.offload, pushed.length), device) };
  }
}

/** What the port's device can't do is done before the frame leaves. */
function finish(octets: Uint8Array, offload: Offload | undefined, device: Device): SentFrame[] {
  if (offload === undefined) return [{ octets }];
  const { layout, size } = offload;
  const { checksum, tcp4, tcp6, udp } = device.features;
  if (size === 0 ? checksum : layout.isUdp ? udp : layout.isIpv4 ? tcp4 : tcp6) return [{ octets, offload }];
  if (size > 0) return referenceSegments(octets, layout, size).map((segment) => ({ octets: segment }));
  writeTransportChecksum(octets, layout);
  return [{ octets }];
}

function shift({ layout, size }: Offload, by: number): Offload {
  const { isIpv4, isUdp, network, transport, payload } = layout;
  return { size, layout: { isIpv4, isUdp, network: network + by, transport: transport + by, payload: payload + by } };
}

const snapshotOf = (station: Station | undefined) => station && { ...station };
const thousandths = (value: number) => Math.round(value * 1000) / 1000;

function refuseControl(port: ModelPort, destination: string, ethertype: number): DropReason | undefined {
  const reserved = /^0180c200000[0-9a-f]$/.test(destination);
  let protocol: string | undefined;
  if (destination === '01000ccccccd') protocol = 'stp';
  else if (destination === '01000ccccccc') protocol = 'other';
  else if (/^0180c200003[0-9a-f]$/.test(destination) && ethertype === 0x8902) protocol = 'cfm';
  else if (reserved && ethertype === 0x88cc) protocol = 'lldp';
  else if (reserved && ethertype === 0x8809) protocol = 'lacp';
  else if (reserved && ethertype === 0x8902) protocol = 'cfm';
  else if (reserved && ethertype === 0x8808) protocol = 'pause';
  else if (reserved) protocol = destination.endsWith('0') ? 'stp' : 'other';
  if (protocol === undefined || port.controlFrames.has(protocol)) return undefined;
  return protocol === 'other' ? 'reserved_group' : 'control_frame';
}
