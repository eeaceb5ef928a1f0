/**
 * One seeded run of three hosts with networks in tunnels between them: random kinds of tunnels, random stations that move
 * from host to host, super-frames, a network between the hosts that loses, repeats, reorders and bundles datagrams, remotes
 * that die, hosts that restart, strangers. After each batch what left a host is compared, octet for octet, with what the
 * reference says, and its counters and slots are checked (TestSwitch.run); in the end all of its drops are compared.
 */
import { Counters } from '../../src/dataplane/counters.js';
import { host as addressOf, type OverlayForm, overlayForms } from '../pipeline/overlay.js';
import {
  ALL_FEATURES,
  addressWords,
  frame,
  NO_FEATURES,
  type Received,
  type Sent,
  TestSwitch,
  vm,
} from '../pipeline/test-switch.js';
import {
  type Layout,
  referenceSegments,
  writeNetwork,
  writePartialChecksum,
  writeTransportChecksum,
} from '../wire/reference.js';
import { buildSuperFrame } from '../wire/super-frame.js';
import { type FrameInside, type Place, ReferenceHost, type ReferenceNetwork } from './overlay-reference.js';
import { Random } from './random.js';

const HOSTS = [1, 2, 3];
const STRANGER = 77;
const STEPS = 60;
const STATIONS = Array.from({ length: 6 }, (_, index) => `5254000000${(0x10 + index).toString(16)}`);

interface Network {
  readonly name: string;
  readonly form: OverlayForm;
  readonly id: number;
  readonly learns: boolean;
}

interface Host {
  readonly number: number;
  readonly networks: ReadonlyMap<string, ReferenceNetwork>;
  readonly hearsAll: boolean;
  readonly features: typeof ALL_FEATURES;
  tested: TestSwitch;
  model: ReferenceHost;
  /** Next sequence number by network and remote. */
  sequences: Map<string, number>;
  drops: Map<string, number>;
}

/** Datagrams on their way: of one message, so of one size but for the last. */
interface InTransit {
  readonly from: number;
  readonly to: number;
  readonly port: string;
  readonly network: Network;
  readonly datagrams: readonly Uint8Array[];
}

/** A frame with what leaves of it: itself, or its segments. */
interface Sending {
  readonly received: Received;
  readonly inside: FrameInside;
  readonly frames: readonly Uint8Array[];
}

const underlayOf = (form: OverlayForm) => (form.isIpv6 ? 'u6' : 'u4');
const portOf = (form: OverlayForm) => `${underlayOf(form)}/${form.type}`;
const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');
const macAt = (octets: Uint8Array, at: number) => hex(octets.subarray(at, at + 6));
const counters = HOSTS.map(() => new Counters());

export class OverlaySimulator {
  private readonly random: Random;
  private readonly networks: readonly Network[];
  private readonly hosts: Host[];
  private transit: InTransit[] = [];
  private now = 1_000_000;

  constructor(seed: number) {
    this.random = new Random(seed);
    const { random } = this;
    this.networks = ['red', 'green', 'blue'].map((name, index) => {
      const form = random.pick(overlayForms.filter((each) => each.id !== undefined || index === 0));
      return { name, form, id: 100 + index * 256, learns: !random.oneIn(5) };
    });
    this.hosts = HOSTS.map((number) => this.makeHost(number));
  }

  run(): void {
    for (let step = 0; step < STEPS; step++) {
      this.now += this.random.pick([200, 200, 300, 5000, 40_000]);
      const kind = this.random.below(20);
      const host = this.random.pick(this.hosts);
      if (kind < 8) this.send(host);
      else if (kind < 16) this.deliver(host);
      else if (kind === 16) this.toggleRemote(host);
      else if (kind === 17) this.intrude(host);
      else if (kind === 18 && this.random.oneIn(4)) this.restart(host);
      else this.loseSome();
    }
    for (const host of this.hosts) this.compareDrops(host);
  }

  // ---- hosts ------------------------------------------------------------------------------------------------------

  private makeHost(number: number): Host {
    const { random } = this;
    const networks = new Map<string, ReferenceNetwork>();
    const hearsAll = random.oneIn(2);
    for (const { name, learns } of this.networks) {
      const ports = Array.from({ length: 1 + random.below(2) }, (_, index) => `${name}${index}`);
      const others = HOSTS.filter((other) => other !== number);
      networks.set(name, {
        ports,
        remotes: hearsAll && random.oneIn(3) ? others.slice(1) : others,
        learns,
        ageSeconds: 60,
      });
    }
    const features = random.oneIn(2) ? ALL_FEATURES : NO_FEATURES;
    const tested = this.startSwitch(number, networks, hearsAll, features);
    const model = new ReferenceHost(networks);
    return { number, networks, hearsAll, features, tested, model, sequences: new Map(), drops: new Map() };
  }

  private startSwitch(
    number: number,
    networks: ReadonlyMap<string, ReferenceNetwork>,
    hearsAll: boolean,
    features: typeof ALL_FEATURES,
  ): TestSwitch {
    const [four, six] = [false, true].map(
      (isIpv6) => overlayForms.find((form) => form.isIpv6 === isIpv6) ?? overlayForms[0],
    );
    const underlay = (form: OverlayForm, all: string) => ({
      local: addressOf(form, number),
      ...(hearsAll && { allowFrom: [all] }),
    });
    const document = {
      networks: Object.fromEntries(
        this.networks.map(({ name, form, id, learns }) => [
          name,
          {
            type: form.type,
            ...(form.id !== undefined && { id }),
            underlay: underlayOf(form),
            remotes: (networks.get(name)?.remotes ?? []).map((remote) => addressOf(form, remote)),
            learning: learns,
            macAge: '60s',
            ...(Object.keys(form.options).length > 0 && { options: form.options }),
          },
        ]),
      ),
      ports: Object.fromEntries(
        [...networks].flatMap(([network, { ports }]) => ports.map((port) => [port, vm({ network })])),
      ),
      underlays: { u4: underlay(four, '198.51.100.0/29'), u6: underlay(six, '2001:db8::1000/125') },
    };
    const devices = Object.fromEntries(
      [...networks.values()].flatMap(({ ports }) => ports.map((port) => [port, { features }])),
    );
    return new TestSwitch(document, { slots: 1024, devices, counters: counters[number - 1] });
  }

  private restart(host: Host): void {
    this.compareDrops(host);
    host.tested = this.startSwitch(host.number, host.networks, host.hearsAll, host.features);
    host.model = new ReferenceHost(host.networks);
    host.sequences = new Map();
    host.drops = new Map();
  }

  private toggleRemote(host: Host): void {
    const network = this.random.pick(this.networks);
    const remote = this.random.pick(host.networks.get(network.name)?.remotes ?? []);
    if (remote === undefined) return;
    const isDown = this.random.oneIn(2);
    host.tested.tunnels.setDown(host.tested.tunnel(network.name, addressOf(network.form, remote)), isDown);
    host.model.setDown(network.name, remote, isDown);
  }

  // ---- what happens -----------------------------------------------------------------------------------------------

  private send(host: Host): void {
    const sending = Array.from({ length: 1 + this.random.below(4) }, () => this.makeSending(host));
    this.runBatch(host, sending);
  }

  private makeSending(host: Host): Sending {
    const { random } = this;
    const { name } = random.pick(this.networks);
    const port = random.pick(host.networks.get(name)?.ports ?? []);
    const source = random.pick(STATIONS);
    const destination = random.pick([...STATIONS, ...STATIONS, 'ffffffffffff', '01005e000001', '525400000099']);
    const inside = { network: name, from: { port }, destination, source };
    if (!random.oneIn(3)) {
      const octets = frame({ to: destination, from: source, size: 46 + random.below(1200) });
      return { received: { port, octets }, inside, frames: [octets] };
    }
    const isIpv4 = random.oneIn(2);
    const recipe = {
      isIpv4,
      isUdp: random.oneIn(4),
      tags: 0,
      options: 0,
      tcpOptions: 3,
      flags: 0x18,
      id: random.below(65_536),
    };
    const payloadSize = 500 + random.below(30_000);
    const built = buildSuperFrame({
      ...recipe,
      sequence: random.below(2 ** 31),
      payloadSize,
      size: 400 + random.below(900),
      seed: 1,
    });
    const { octets, layout, size } = built;
    octets.set(Buffer.from(destination + source, 'hex'));
    writeNetwork(octets, layout);
    writePartialChecksum(octets, layout);
    const isTrain = size < payloadSize;
    const gso = { gsoType: layout.isUdp ? 5 : isIpv4 ? 1 : 4, gsoSize: size };
    const vnet = {
      flags: 1,
      ...(isTrain ? gso : { gsoType: 0, gsoSize: 0 }),
      headerLength: layout.payload,
      start: layout.transport,
      offset: layout.isUdp ? 6 : 16,
    };
    const frames = isTrain ? referenceSegments(octets, layout, size) : [completed(octets, layout)];
    return { received: { port, octets, vnet }, inside, frames };
  }

  /** Some of what is under way to the host arrives in one batch, in any order, whole or in parts. */
  private deliver(host: Host): void {
    const { random } = this;
    const mine = this.transit.filter(({ to }) => to === host.number);
    const taken = mine.filter(() => random.oneIn(2)).slice(0, 6);
    if (random.oneIn(3)) taken.reverse();
    if (!random.oneIn(10)) this.transit = this.transit.filter((each) => !taken.includes(each));
    this.runBatch(
      host,
      taken.flatMap((each) => this.arrivalsOf(each)),
    );
  }

  private arrivalsOf({ from, port, network, datagrams }: InTransit): Sending[] {
    const { form } = network;
    const most = form.type === 'gre' ? 1 : this.random.pick([1, 3, 64]);
    const arrivals: Sending[] = [];
    for (let at = 0; at < datagrams.length; at += most) {
      const some = datagrams.slice(at, at + most);
      const octets = new Uint8Array(Buffer.concat(some));
      const received = {
        port,
        octets,
        from: addressOf(form, from),
        datagramSize: some.length > 1 ? some[0].length : 0,
        trafficClass: 0,
      };
      const frames = some.map((datagram) => datagram.slice(form.size));
      for (const [index, octetsInside] of frames.entries())
        arrivals.push({
          // The first stands for the bundle; the others came with it.
          received: index === 0 ? received : { ...received, octets: new Uint8Array(0), from: '' },
          inside: {
            network: network.name,
            from: { remote: from },
            destination: macAt(octetsInside, 0),
            source: macAt(octetsInside, 6),
          },
          frames: [octetsInside],
        });
    }
    return arrivals;
  }

  private intrude(host: Host): void {
    const { form, id } = this.random.pick(this.networks);
    const inner = frame({ from: this.random.pick(STATIONS), to: 'ffffffffffff' });
    const octets = Uint8Array.of(...form.header(inner, 0, id), ...inner);
    const sent = host.tested.run({ port: portOf(form), octets, from: addressOf(form, STRANGER), trafficClass: 0 });
    if (sent.length > 0) throw new Error('a stranger’s frame was delivered');
    this.count(host, `${portOf(form)} tunnel_unknown_source`);
  }

  private loseSome(): void {
    this.transit = this.transit.filter(() => !this.random.oneIn(4)).slice(-60);
  }

  // ---- a batch ----------------------------------------------------------------------------------------------------

  private runBatch(host: Host, all: readonly Sending[]): void {
    const { tested, model } = host;
    const sending = all.filter(({ inside }) => this.mayEnter(host, inside));
    tested.now = this.now;
    const sent = tested.run(...all.map(({ received }) => received).filter(({ from }) => from !== ''));
    const decisions = model.receive(
      sending.map(({ inside }) => inside),
      Math.floor(this.now / 1000),
    );
    const expected = new Map<string, string[]>();
    for (const [index, { to, reason }] of decisions.entries()) {
      const { inside, frames } = sending[index];
      if (reason !== undefined) this.countDropped(host, inside, reason, frames);
      for (const place of to) this.expectAt(host, expected, inside.network, place, frames);
    }
    this.compare(host, expected, sent);
    this.putOnWire(host, sent);
  }

  /** Who may send in the network; otherwise the drop is counted. */
  private mayEnter(host: Host, { network, from }: FrameInside): boolean {
    if ('port' in from || host.hearsAll || host.networks.get(network)?.remotes.includes(from.remote)) return true;
    const { form } = this.networkOf(network);
    this.count(host, `${portOf(form)} tunnel_unknown_source`);
    return false;
  }

  /** A drop of what was put together from several datagrams is one drop; so drops of those are not told apart. */
  private countDropped(
    host: Host,
    { network, from }: FrameInside,
    reason: string,
    frames: readonly Uint8Array[],
  ): void {
    const port = 'port' in from ? from.port : portOf(this.networkOf(network).form);
    if ('port' in from || frames[0][12] === 0x88) this.count(host, `${port} ${reason}`);
  }

  private expectAt(
    host: Host,
    expected: Map<string, string[]>,
    name: string,
    place: Place,
    frames: readonly Uint8Array[],
  ): void {
    const { form, id } = this.networkOf(name);
    const key = 'port' in place ? place.port : `${portOf(form)} ${place.remote}`;
    const list = expected.get(key) ?? [];
    expected.set(key, list);
    for (const octets of frames) {
      if ('port' in place) list.push(hex(octets));
      else
        list.push(
          hex(Uint8Array.of(...form.header(octets, this.nextSequence(host, name, place.remote), id), ...octets)),
        );
    }
  }

  private nextSequence(host: Host, network: string, remote: number): number {
    const key = `${network} ${remote}`;
    const sequence = host.sequences.get(key) ?? 0;
    host.sequences.set(key, sequence + 1);
    return sequence;
  }

  private compare(host: Host, expected: ReadonlyMap<string, string[]>, sent: readonly Sent[]): void {
    const found = new Map<string, string[]>();
    for (const each of sent) {
      const key = each.message === undefined ? each.port : `${each.port} ${this.hostAt(each)}`;
      const list = found.get(key) ?? [];
      found.set(key, list);
      const frames = each.message?.datagrams ?? cut(each);
      list.push(...frames.map(hex));
    }
    for (const key of new Set([...expected.keys(), ...found.keys()])) {
      const [was, wanted] = [found.get(key) ?? [], expected.get(key) ?? []].map((list) => [...list].sort());
      const at = wanted.findIndex((octets, index) => octets !== was[index]);
      if (was.length !== wanted.length || at >= 0)
        throw new Error(
          `host ${host.number}, ${key}: ${was.length} frames, expected ${wanted.length}; ${was[at]} instead of ${wanted[at]}`,
        );
    }
  }

  private putOnWire(host: Host, sent: readonly Sent[]): void {
    for (const each of sent) {
      if (each.message === undefined) continue;
      const to = this.hostAt(each);
      const { datagrams } = each.message;
      const network = this.networks.find(({ form, id }) => portOf(form) === each.port && isOf(form, id, datagrams[0]));
      if (network === undefined) throw new Error('a datagram without a network');
      this.transit.push({ from: host.number, to, port: each.port, network, datagrams });
    }
  }

  private hostAt({ message }: Sent): number {
    const form = (isIpv6: boolean) => overlayForms.find((each) => each.isIpv6 === isIpv6) ?? overlayForms[0];
    for (const number of HOSTS)
      for (const isIpv6 of [false, true])
        if (addressWords(addressOf(form(isIpv6), number)).join() === message?.address.join()) return number;
    throw new Error('a datagram to nobody');
  }

  private networkOf(name: string): Network {
    return this.networks.find((network) => network.name === name) ?? this.networks[0];
  }

  private count(host: Host, key: string): void {
    host.drops.set(key, (host.drops.get(key) ?? 0) + 1);
  }

  private compareDrops(host: Host): void {
    const found = host.tested.drops();
    for (const key of new Set([...Object.keys(found), ...host.drops.keys()])) {
      const [was, wanted] = [found[key] ?? 0, host.drops.get(key) ?? 0];
      // Segments that were put together before they were dropped are fewer drops than datagrams.
      const isFair = key.endsWith('hairpin') && key.includes('/') ? was >= wanted : was === wanted;
      if (!isFair) throw new Error(`host ${host.number}: ${was} drops ${key}, expected ${wanted}`);
    }
  }
}

/** Whether the datagram has this id in its header. */
function isOf(form: OverlayForm, id: number, datagram: Uint8Array): boolean {
  const inner = datagram.slice(form.size);
  const header = form.header(inner, 0, id);
  // Ids and keys lie in the words that neither checksum nor sequence number are in.
  const from = form.type !== 'gre' ? 4 : (header[0] & 0x80) !== 0 ? 8 : 4;
  const to = form.type !== 'gre' || (header[0] & 0x20) !== 0 ? from + 4 : from;
  return hex(Uint8Array.from(header.slice(from, to))) === hex(datagram.slice(from, to)) && header[0] === datagram[0];
}

function completed(octets: Uint8Array, layout: Layout): Uint8Array {
  const whole = octets.slice();
  writeTransportChecksum(whole, layout);
  return whole;
}

/** What a port got, as it would be on the wire of a station without offloads. */
function cut({ octets, gsoSize, checksumStart }: Sent): Uint8Array[] {
  if (checksumStart === 0) return [octets];
  const isIpv4 = octets[12] === 8;
  const isUdp = octets[isIpv4 ? 23 : 20] === 17;
  const payload = checksumStart + (isUdp ? 8 : (octets[checksumStart + 12] >> 4) * 4);
  const layout = { isIpv4, isUdp, network: 14, transport: checksumStart, payload };
  return gsoSize === 0 ? [completed(octets, layout)] : referenceSegments(octets, layout, gsoSize);
}
