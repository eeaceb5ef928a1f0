/**
 * The two ways BFD packets go: in UDP beside the tunnels (RFC 5881), or in a frame inside the tunnel they watch over, as Open
 * vSwitch has it. Inside, the main thread makes the whole datagram and sends it by a socket of its own: no worker need know.
 */
import { randomBytes } from 'node:crypto';
import type { BfdChannel } from '../dataplane/bfd-speaker.js';
import { DatagramSender, type DatagramWay } from '../dataplane/datagram-sender.js';
import { SLOT_HEADROOM } from '../limits.js';
import { tunnelKindIndex, tunnelKinds } from '../tunnels/registry.js';
import { TUNNEL_SENDS_SEQUENCE, type TunnelSettings } from '../tunnels/tunnel.js';
import { parseIp } from '../wire/address.js';
import { BFD_PORT, BFD_TTL } from '../wire/bfd.js';
import { BFD_FRAME_SIZE, writeBfdFrame } from '../wire/bfd-frame.js';
import { MAC_SIZE } from '../wire/ethernet.js';
import { tunnelFlags, tunnelId } from './compile-overlay.js';
import type { ResolvedNetwork, ResolvedPort } from './resolved.js';

/** Internetwork control (DSCP CS6), as other BFD speakers mark it: it must not wait behind what it watches over. */
const TRAFFIC_CLASS = 0xc0;

/** The session between two addresses. */
export function channelBeside(local: string, remote: string): BfdChannel {
  const ends = { local: octetsOf(local), remote: octetsOf(remote) };
  return new DatagramSender({ ...ends, protocol: 'udp', port: BFD_PORT, ttl: BFD_TTL, trafficClass: TRAFFIC_CLASS });
}

/** The session of a network's tunnel to the remote, which leaves by the underlay port. */
export function channelInside(
  port: ResolvedPort,
  network: ResolvedNetwork,
  remote: string,
  /** Sequence numbers are the tunnel's, whoever sends by it: a receiver takes none twice (RFC 2890 section 2.2). */
  takeSequence: () => number,
): BfdChannel {
  const { tunnel } = network;
  const { underlay } = port.intent;
  if (tunnel === undefined || underlay === undefined) throw new TypeError('a network without tunnels');
  const { protocol } = tunnelKinds[tunnelKindIndex(tunnel.type)];
  const ends = { local: octetsOf(underlay.local), remote: octetsOf(remote) };
  const way: DatagramWay = { ...ends, protocol, port: underlay.port, ttl: underlay.ttl, trafficClass: TRAFFIC_CLASS };
  return new TunnelChannel(way, network, takeSequence);
}

class TunnelChannel implements BfdChannel {
  private readonly sender: DatagramSender;
  private readonly kind;
  private readonly settings: TunnelSettings;
  private readonly octets = new Uint8Array(SLOT_HEADROOM + BFD_FRAME_SIZE);
  /** Nobody learns it: frames of BFD are taken out in front of that. Locally administered. */
  private readonly mac = Uint8Array.of(0x02, ...randomBytes(MAC_SIZE - 1));

  private readonly takeSequence: () => number;

  constructor(way: DatagramWay, network: ResolvedNetwork, takeSequence: () => number) {
    this.takeSequence = takeSequence;
    const { tunnel } = network;
    if (tunnel === undefined) throw new TypeError('a network without tunnels');
    this.sender = new DatagramSender(way);
    this.kind = tunnelKinds[tunnelKindIndex(tunnel.type)];
    this.settings = {
      id: tunnelId(network, tunnel),
      flags: tunnelFlags(network, tunnel),
      sequence: 0,
      options: tunnel.options,
      optionsStart: 0,
      optionsSize: tunnel.options.length,
    };
  }

  send(packet: Uint8Array): void {
    const { octets, settings } = this;
    writeBfdFrame(octets, SLOT_HEADROOM, this.mac, packet);
    settings.sequence = (settings.flags & TUNNEL_SENDS_SEQUENCE) === 0 ? 0 : this.takeSequence();
    const start = this.kind.write(octets, SLOT_HEADROOM, octets.length, settings);
    this.sender.send(octets.subarray(start));
  }

  close(): void {
    this.sender.close();
  }
}

export function octetsOf(address: string): Uint8Array {
  const octets = parseIp(address);
  if (octets === undefined) throw new TypeError(`${address} is no address`);
  return octets;
}
