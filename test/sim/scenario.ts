/** Random switches: documents, devices behind their ports, and changes to both. */
import type { Random } from './random.js';
import type {
  ControlPolicy,
  Device,
  NetworkDocument,
  PortDocument,
  SwitchDocument,
  TrunkEntry,
} from './switch-document.js';

export const NETWORK_NAMES = ['red', 'green', 'blue', 'grey', 'pink'];
export const PORT_NAMES = ['vm1', 'vm2', 'vm3', 'vm4', 'vm5', 'fw', 'qq', 'eth0'];
const UPLINK = 'eth0';
const VIDS = [10, 20, 30, 100, 200, 4094];
const CONTROL = ['stp', 'lacp', 'lldp', 'cfm', 'pause', 'other'] as const;

/** What a whole run keeps to. */
export interface Character {
  /** Tables so small that entries give way; then a breath is one frame, so that the model can ask which did. */
  readonly smallTables: boolean;
  /** A pool so small that copies find no slot. */
  readonly smallPool: boolean;
  readonly storms: boolean;
  readonly loops: boolean;
  readonly workers: number;
}

export function randomCharacter(random: Random): Character {
  const special = random.below(10);
  return {
    smallTables: special === 0,
    smallPool: special === 1,
    storms: special === 2 || special === 3,
    loops: special === 4,
    workers: random.pick([1, 1, 2, 3]),
  };
}

export function randomDocument(random: Random, character: Character): SwitchDocument {
  const document: SwitchDocument = { version: 1, networks: {}, ports: {} };
  for (const name of NETWORK_NAMES.slice(0, random.between(1, NETWORK_NAMES.length))) {
    document.networks[name] = randomNetwork(random, character);
  }
  for (const name of PORT_NAMES) if (!random.oneIn(3)) document.ports[name] = randomPort(random, name, document);
  if (Object.keys(document.ports).length === 0) document.ports.vm1 = { kind: 'tap', network: 'red' };
  return document;
}

/** One thing of the document is different, is new or is gone. */
export function changeDocument(random: Random, before: SwitchDocument, character: Character): SwitchDocument {
  const document = structuredClone(before);
  const { networks, ports } = document;
  const kind = random.below(6);
  if (kind === 0) {
    const name = random.pick(NETWORK_NAMES);
    networks[name] = {
      ...randomNetwork(random, character),
      ...(networks[name]?.macLimit && { macLimit: networks[name].macLimit }),
    };
  } else if (kind === 1) delete ports[random.pick(PORT_NAMES)];
  else if (kind === 2) {
    const name = random.pick(Object.keys(networks));
    networks[name].learning = !(networks[name].learning ?? true);
  } else if (kind === 3) {
    const name = random.pick(Object.keys(ports));
    if (name !== undefined) ports[name].enabled = !(ports[name].enabled ?? true);
  } else {
    const name = random.pick(PORT_NAMES);
    ports[name] = randomPort(random, name, document);
  }
  return document;
}

function randomNetwork(random: Random, character: Character): NetworkDocument {
  const type = random.pick(['local', 'flat', 'vlan', 'vlan', 'vlan'] as const);
  const network: NetworkDocument = { type };
  if (type === 'vlan') network.id = random.pick(VIDS);
  if (type !== 'local' && random.oneIn(2)) network.uplink = UPLINK;
  if (random.oneIn(8)) network.learning = false;
  if (random.oneIn(4)) network.mtu = random.pick([68, 576, 1400, 1500, 9000]);
  network.macAge = random.pick(['1s', '2s', '5s', '300s']);
  if (character.smallTables) network.macLimit = random.between(1, 5);
  return network;
}

function randomPort(random: Random, name: string, { networks }: SwitchDocument): PortDocument {
  const names = Object.keys(networks);
  const port: PortDocument = { kind: random.pick(['tap', 'tap', 'netdev'] as const) };
  const mode =
    name === UPLINK ? random.pick(['auto', 'auto', 'trunk']) : random.pick(['access', 'access', 'trunk', 'tunnel']);
  if (mode === 'access') port.network = random.pick(names);
  else if (mode === 'tunnel') port.tunnel = randomTunnel(random, names);
  else randomTrunk(random, port, names, mode === 'auto');
  if (random.oneIn(3)) port.isolated = true;
  if (random.oneIn(4)) port.macLimit = random.between(1, 4);
  if (random.oneIn(10)) port.enabled = false;
  port.controlFrames = Object.fromEntries(random.some(CONTROL).map((each) => [each, 'forward'])) as ControlPolicy;
  port.storm = {};
  for (const kind of ['broadcast', 'multicast', 'unknownUnicast'] as const) {
    if (random.oneIn(2)) port.storm[kind] = random.pick(['none', '1pps', '15pps', '100pps', '3000pps']);
  }
  return port;
}

function randomTunnel(random: Random, networks: readonly string[]): NonNullable<PortDocument['tunnel']> {
  return {
    network: random.pick(networks),
    ...(random.oneIn(2) && { allowed: random.some([0, ...VIDS]) }),
    ...(random.oneIn(3) && { tpid: random.pick([0x8100, 0x88a8]) }),
  };
}

function randomTrunk(random: Random, port: PortDocument, networks: readonly string[], auto: boolean): void {
  if (auto) {
    port.trunk = 'auto';
    return;
  }
  port.trunk = random
    .some(networks)
    .map((network): TrunkEntry => (random.oneIn(2) ? network : { network, vlan: random.pick(VIDS) }));
  if (!random.oneIn(3)) port.native = random.pick(networks);
  if (port.native !== undefined && random.oneIn(2)) port.nativeTagged = true;
}

export function randomDevice(random: Random): Device {
  const yes = () => random.oneIn(2);
  const all = yes();
  return {
    mtu: random.pick([68, 1280, 1500, 1500, 1500, 9000, 65_521]),
    features: all
      ? { checksum: true, tcp4: true, tcp6: true, udp: true }
      : { checksum: yes(), tcp4: yes(), tcp6: yes(), udp: yes() },
    attached: true,
  };
}
