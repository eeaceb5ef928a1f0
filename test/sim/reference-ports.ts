/** Which networks each port carries, and how: the "Layer 2" section of the configuration reference, read a second time. */
import type { Device, NetworkDocument, PortDocument, SwitchDocument } from './switch-document.js';

export interface ModelMember {
  readonly network: string;
  readonly vid?: number | undefined;
  readonly untagged: boolean;
  readonly tag?: { readonly tpid: number; readonly vid: number } | undefined;
  readonly mtu: number;
}

export interface ModelPort {
  readonly mode: 'access' | 'trunk' | 'tunnel';
  readonly members: readonly ModelMember[];
  readonly allowed?: ReadonlySet<number> | undefined;
  readonly isolated: boolean;
  /** 0: unlimited. */
  readonly macLimit: number;
  readonly storm: Readonly<Record<'broadcast' | 'multicast' | 'unknownUnicast', number>>;
  readonly controlFrames: ReadonlySet<string>;
  /** Undefined: the port is down. */
  readonly device: Device | undefined;
}

/** All ports of a document, in its order. */
export function readPorts(document: SwitchDocument, devices: ReadonlyMap<string, Device>): Map<string, ModelPort> {
  const names = Object.keys(document.ports);
  return new Map(names.map((name) => [name, readPort(name, document, devices.get(name))]));
}

function readPort(name: string, document: SwitchDocument, device: Device | undefined): ModelPort {
  const port = document.ports[name];
  const isUplink = port.trunk === 'auto' || Object.values(document.networks).some(({ uplink }) => uplink === name);
  const limited = port.kind === 'tap' && !isUplink;
  const rate = (kind: 'broadcast' | 'multicast' | 'unknownUnicast', otherwise: number) => {
    const written = port.storm?.[kind];
    if (written === undefined) return limited ? otherwise : 0;
    return written === 'none' ? 0 : Number.parseInt(written, 10);
  };
  return {
    mode: port.trunk !== undefined ? 'trunk' : port.tunnel !== undefined ? 'tunnel' : 'access',
    members: readMembers(name, port, document, isUplink),
    allowed: port.tunnel?.allowed && new Set(port.tunnel.allowed),
    isolated: port.isolated ?? false,
    macLimit: port.macLimit ?? (isUplink ? 0 : 1024),
    storm: {
      broadcast: rate('broadcast', 2000),
      multicast: rate('multicast', 10_000),
      unknownUnicast: rate('unknownUnicast', 2000),
    },
    controlFrames: new Set(
      Object.entries(port.controlFrames ?? {}).flatMap(([key, is]) => (is === 'forward' ? [key] : [])),
    ),
    device: port.enabled === false ? undefined : device,
  };
}

const ownVid = (network: NetworkDocument) => (network.type === 'vlan' ? network.id : undefined);

function readMembers(name: string, port: PortDocument, document: SwitchDocument, isUplink: boolean): ModelMember[] {
  const { networks } = document;
  const mtuOf = (network: string) => networks[network].mtu ?? Number.POSITIVE_INFINITY;
  const single = port.network ?? port.tunnel?.network;
  if (single !== undefined) return [{ network: single, untagged: true, mtu: mtuOf(single) }];
  const vids = new Map<string, number | undefined>();
  let native = port.native;
  if (port.trunk === 'auto') {
    for (const [network, { type, uplink }] of Object.entries(networks)) {
      if (uplink !== name) continue;
      vids.set(network, ownVid(networks[network]));
      if (type === 'flat') native = network;
    }
  } else {
    for (const entry of port.trunk ?? []) {
      if (typeof entry === 'string') vids.set(entry, ownVid(networks[entry]));
      else vids.set(entry.network, entry.vlan);
    }
  }
  if (native !== undefined && !vids.has(native)) vids.set(native, ownVid(networks[native]));
  return [...vids].map(([network, vid]) => {
    const untagged = network === native;
    const isTagged = !untagged || port.nativeTagged === true;
    const tpid = (isUplink ? tunnelTpid(network, document) : undefined) ?? 0x8100;
    return {
      network,
      vid,
      untagged,
      tag: isTagged && vid !== undefined ? { tpid, vid } : undefined,
      mtu: mtuOf(network),
    };
  });
}

function tunnelTpid(network: string, { ports }: SwitchDocument): number | undefined {
  const tunnel = Object.values(ports).find((port) => port.tunnel?.network === network)?.tunnel;
  return tunnel && (tunnel.tpid ?? 0x88a8);
}
