/**
 * How long a packet may be in a network that tunnels carry: the underlay's MTU less every header in front of the packet, and
 * what `weft tunnel show` prints of the reckoning. Pure.
 */
import { tunnelKindIndex, tunnelKinds } from '../tunnels/registry.js';
import { ETHERNET_HEADER_SIZE } from '../wire/ethernet.js';
import { IPV4_HEADER_SIZE_MIN } from '../wire/ipv4.js';
import { IPV6_HEADER_SIZE, IPV6_MTU_MIN } from '../wire/ipv6.js';
import { UDP_HEADER_SIZE } from '../wire/udp.js';
import { VLAN_TAG_SIZE } from '../wire/vlan.js';
import { tunnelFlags } from './compile-overlay.js';
import type { ResolvedConfig, ResolvedNetwork, ResolvedTunnel } from './resolved.js';
import type { MtuStep } from './shapes.js';

/** Until an underlay is up, and where nothing is known of a way. */
export const UNDERLAY_MTU_DEFAULT = 1500;

/** What stands in front of a packet in a tunnel, from the outside in. */
function headersOf(network: ResolvedNetwork, tunnel: ResolvedTunnel, config: ResolvedConfig): MtuStep[] {
  const isIpv6 = config.ports.get(tunnel.port)?.intent.underlay?.local.includes(':') ?? false;
  const kind = tunnelKinds[tunnelKindIndex(tunnel.type)];
  return [
    isIpv6 ? { what: 'IPv6 header', octets: IPV6_HEADER_SIZE } : { what: 'IPv4 header', octets: IPV4_HEADER_SIZE_MIN },
    ...(kind.protocol === 'udp' ? [{ what: 'UDP header', octets: UDP_HEADER_SIZE }] : []),
    { what: `${kind.type} header`, octets: kind.headerSize(tunnelFlags(network, tunnel), tunnel.options.length) },
    { what: 'inner Ethernet header', octets: ETHERNET_HEADER_SIZE },
    ...(tunnel.innerVlan ? [{ what: 'inner VLAN tag', octets: VLAN_TAG_SIZE }] : []),
  ];
}

/** What fits through the network's tunnels; `underlayMtu` is the largest IP packet that gets to their far ends. */
export function tunnelMtu(
  network: ResolvedNetwork,
  tunnel: ResolvedTunnel,
  config: ResolvedConfig,
  underlayMtu: number,
): number {
  const taken = headersOf(network, tunnel, config).reduce((sum, { octets }) => sum + octets, 0);
  return Math.max(0, underlayMtu - taken);
}

/** The MTU of a network: what it is told to have, what fits through its tunnels; undefined where it has no say. */
export function networkMtu(
  network: ResolvedNetwork,
  config: ResolvedConfig,
  underlayMtu: (port: string) => number | undefined,
): number | undefined {
  const { tunnel } = network;
  if (tunnel === undefined) return network.mtu;
  const fits = tunnelMtu(network, tunnel, config, underlayMtu(tunnel.port) ?? UNDERLAY_MTU_DEFAULT);
  return Math.min(network.mtu ?? fits, fits);
}

/**
 * The MTU that devices of a network's machines are given: the network's, but not less than IPv6 demands of a link, unless the
 * configuration asks for less: below it Linux takes a device's IPv6 addresses away and does not give them back. What does not
 * fit the tunnels then is told its sender, and so is what does not fit one narrow way (tunnel-paths.ts).
 */
export function deviceMtu(
  network: ResolvedNetwork,
  config: ResolvedConfig,
  underlayMtu: (port: string) => number | undefined,
): number | undefined {
  const mtu = networkMtu(network, config, underlayMtu);
  if (mtu === undefined || mtu >= IPV6_MTU_MIN) return mtu;
  return Math.min(network.mtu ?? IPV6_MTU_MIN, IPV6_MTU_MIN);
}

/** The reckoning, line by line; the last is the result. */
export function mtuReckoning(
  network: ResolvedNetwork,
  tunnel: ResolvedTunnel,
  config: ResolvedConfig,
  underlayMtu: number | undefined,
): MtuStep[] {
  const from = underlayMtu ?? UNDERLAY_MTU_DEFAULT;
  const what = underlayMtu === undefined ? 'MTU of the underlay, assumed while it is not up' : 'MTU of the underlay';
  const steps: MtuStep[] = [{ what, octets: from }];
  for (const step of headersOf(network, tunnel, config)) steps.push({ what: step.what, octets: -step.octets });
  const fits = tunnelMtu(network, tunnel, config, from);
  if (network.mtu !== undefined) {
    steps.push({ what: 'fits', octets: fits });
    const isTooLong = network.mtu > fits;
    steps.push({ what: isTooLong ? 'configured, more than fits' : 'configured', octets: network.mtu });
  }
  steps.push({ what: 'MTU of the network', octets: Math.min(network.mtu ?? fits, fits) });
  return steps;
}
