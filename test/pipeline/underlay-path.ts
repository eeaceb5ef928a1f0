/** What lies between two tunnels' ends: the kernel's headers around a datagram, and the ways in which datagrams arrive. */

import { referenceSum } from '../kernels/reference.js';
import { concatenate } from '../wire/reference.js';
import { host, local, type OverlayForm } from './overlay.js';
import { addressWords, type Received, type Sent } from './test-switch.js';

/** Port of each kind's datagrams; GRE has none. */
const udpPorts = { vxlan: 4789, geneve: 6081, gre: 0 };

/** The Ethernet frame in which the host's kernel would send a message's datagram, between these MACs. */
export function outerFrame(
  form: OverlayForm,
  datagram: Uint8Array,
  address: readonly number[],
  macs: string,
): Uint8Array {
  const to = new Uint8Array(Int32Array.from(address).buffer);
  const from = new Uint8Array(addressWords(local(form)).slice().buffer);
  const isUdp = form.type !== 'gre';
  const udp = new Uint8Array(isUdp ? 8 : 0);
  if (isUdp) {
    const view = new DataView(udp.buffer);
    view.setUint16(0, 50_000);
    view.setUint16(2, udpPorts[form.type]);
    view.setUint16(4, 8 + datagram.length);
  }
  const size = udp.length + datagram.length;
  const ethernet = new Uint8Array(Buffer.from(`${macs}${form.isIpv6 ? '86dd' : '0800'}`, 'hex'));
  const protocol = isUdp ? 17 : 47;
  if (form.isIpv6)
    return concatenate(
      ethernet,
      Uint8Array.of(0x60, 0, 0, 0, size >> 8, size & 0xff, protocol, 64),
      from,
      to,
      udp,
      datagram,
    );
  const ip = Uint8Array.of(0x45, 0, (size + 20) >> 8, (size + 20) & 0xff, 0, 0, 0x40, 0, 64, protocol, 0, 0);
  const header = concatenate(ip, from.slice(12), to.slice(12));
  new DataView(header.buffer).setUint16(10, 0xffff - referenceSum(header, 0, 20));
  return concatenate(ethernet, header, udp, datagram);
}

/** How a message reaches the other end: whole (UDP_GRO), datagram by datagram, or in bundles of some. */
export const arrivals = ['whole', 'single', 'in threes'] as const;
export type Arrival = (typeof arrivals)[number];

/** What the other end, to which the sender is far end 1, receives of what left through a tunnel. */
export function arrivingOf(form: OverlayForm, sent: readonly Sent[], arrival: Arrival): Received[] {
  const from = host(form, 1);
  const most = arrival === 'whole' && form.type !== 'gre' ? 64 : arrival === 'in threes' && form.type !== 'gre' ? 3 : 1;
  const received: Received[] = [];
  for (const { message, port } of sent) {
    if (message === undefined) continue;
    const { datagrams, trafficClass } = message;
    for (let at = 0; at < datagrams.length; at += most) {
      const some = datagrams.slice(at, at + most);
      const datagramSize = some.length > 1 ? some[0].length : 0;
      received.push({ port, from, octets: concatenate(...some), datagramSize, trafficClass });
    }
  }
  return received;
}
