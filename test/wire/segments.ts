/** TCP segments as frames, one after the other of a flow, and what can be wrong with one. */
import { fillOctets } from '../kernels/reference.js';
import { concatenate, type Layout, writeNetwork, writeTransportChecksum } from './reference.js';

export interface Flow {
  readonly isIpv4: boolean;
  readonly tunnel: number;
  /** Last octet of both addresses, and low octet of the source port: flows with different ones are different. */
  readonly host: number;
  readonly port: number;
  /** Four-octet words of TCP options. */
  readonly tcpOptions: number;
  /** Payload octets of a full segment. */
  readonly size: number;
  readonly sequence: number;
  readonly id: number;
  /** Added to the IPv4 id from segment to segment. */
  readonly idStep: number;
}

export interface Segment {
  readonly octets: Uint8Array;
  readonly tunnel: number;
}

/** What a segment of a flow differs in from a plain one. */
export interface Deviation {
  readonly payloadSize?: number;
  readonly flags?: number;
  /** Changes the frame; lengths and checksums are made right afterwards. */
  readonly edit?: (frame: Uint8Array, layout: Layout) => void;
  /** Changes the finished frame: what it breaks stays broken. */
  readonly spoil?: (frame: Uint8Array, layout: Layout) => Uint8Array;
}

const ACK = 0x10;

export function layoutOf(flow: Flow): Layout {
  const transport = 14 + (flow.isIpv4 ? 20 : 40);
  return { isIpv4: flow.isIpv4, isUdp: false, network: 14, transport, payload: transport + 20 + 4 * flow.tcpOptions };
}

/** Segment `index` of the flow, whose payload begins `position` octets into the stream. */
export function buildSegment(flow: Flow, index: number, position: number, deviation: Deviation = {}): Segment {
  const layout = layoutOf(flow);
  const frame = new Uint8Array(layout.payload + (deviation.payloadSize ?? flow.size));
  const view = new DataView(frame.buffer);
  frame.set([0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1]);
  if (flow.isIpv4) {
    frame.set([8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, flow.host, 198, 51, 100, flow.host], 12);
    view.setUint16(18, (flow.id + index * flow.idStep) % 65_536);
  } else {
    frame.set([0x86, 0xdd, 0x60, 0x01, 0x23, 0x45, 0, 0, 6, 64, 0x20, 0x01, 0x0d, 0xb8], 12);
    frame.set([0x20, 0x01, 0x0d, 0xb8], 38);
    frame[37] = flow.host;
    frame[53] = flow.host;
  }
  frame.set([0xc0, flow.port, 0x14, 0x51], layout.transport);
  view.setUint32(layout.transport + 4, (flow.sequence + position) % 2 ** 32);
  view.setUint32(layout.transport + 8, 0x1234_5678);
  frame[layout.transport + 12] = (5 + flow.tcpOptions) << 4;
  frame[layout.transport + 13] = deviation.flags ?? ACK;
  view.setUint16(layout.transport + 14, 502);
  for (let at = layout.transport + 20; at < layout.payload; at++) frame[at] = 1;
  fillOctets(frame.subarray(layout.payload), flow.host * 7919 + flow.port * 104_729 + position);
  deviation.edit?.(frame, layout);
  writeNetwork(frame, layout);
  writeTransportChecksum(frame, layout);
  return { octets: deviation.spoil?.(frame, layout) ?? frame, tunnel: flow.tunnel };
}

/** Consecutive segments of the flow, one for each deviation. */
export function buildStream(flow: Flow, deviations: readonly Deviation[]): Segment[] {
  let position = 0;
  return deviations.map((deviation, index) => {
    const segment = buildSegment(flow, index, position, deviation);
    position += deviation.payloadSize ?? flow.size;
    return segment;
  });
}

const insert = (frame: Uint8Array, at: number, ...octets: readonly number[]) =>
  concatenate(frame.slice(0, at), Uint8Array.from(octets), frame.slice(at));

function xor(frame: Uint8Array, at: number, bits: number): Uint8Array {
  frame[at] ^= bits;
  return frame;
}

/** Sets one octet. */
export function put(frame: Uint8Array, at: number, value: number): Uint8Array {
  frame[at] = value;
  return frame;
}

/** What makes a segment unlike its neighbours in a way that both IP versions know. */
export const tcpDeviations: Readonly<Record<string, Deviation>> = {
  'a FIN': { flags: ACK | 0x01 },
  'a SYN': { flags: ACK | 0x02 },
  'a RST': { flags: ACK | 0x04 },
  'a URG': { flags: ACK | 0x20 },
  'another ECE': { flags: ACK | 0x40 },
  'a CWR': { flags: ACK | 0x80 },
  'no ACK': { flags: 0 },
  'a reserved bit': { edit: (frame, { transport }) => xor(frame, transport + 12, 0x02) },
  'a gap in front': { edit: (frame, { transport }) => xor(frame, transport + 5, 1) },
  'an octet missing in front': { edit: (frame, { transport }) => xor(frame, transport + 7, 1) },
  'another acknowledgement': { edit: (frame, { transport }) => xor(frame, transport + 8, 0x80) },
  'another window': { edit: (frame, { transport }) => xor(frame, transport + 15, 1) },
  'another urgent pointer': { edit: (frame, { transport }) => xor(frame, transport + 19, 1) },
  'another option octet': { edit: (frame, { payload }) => xor(frame, payload - 1, 1) },
  'another data offset': { edit: (frame, { transport }) => xor(frame, transport + 12, 0x30) },
  'another destination address in Ethernet': { edit: (frame) => xor(frame, 5, 1) },
  'another source address in Ethernet': { edit: (frame) => xor(frame, 6, 2) },
  'a wrong TCP checksum': { spoil: (frame, { transport }) => xor(frame, transport + 17, 1) },
  'an octet of payload changed on the way': { spoil: (frame) => xor(frame, frame.length - 1, 0x40) },
  'no payload': { payloadSize: 0 },
  'no payload, but padding': { payloadSize: 0, spoil: (frame) => concatenate(frame, new Uint8Array(6)) },
  'its last octet cut off': { spoil: (frame) => frame.slice(0, -1) },
  'another version': { edit: (frame) => xor(frame, 14, 0x10) },
  'a VLAN tag': { spoil: (frame) => insert(frame, 12, 0x81, 0, 0, 0) },
};

export const ipv4Deviations: Readonly<Record<string, Deviation>> = {
  'another TOS': { edit: (frame) => xor(frame, 15, 4) },
  'another TTL': { edit: (frame) => xor(frame, 22, 1) },
  'another DF': { edit: (frame) => xor(frame, 20, 0x40) },
  'the reserved flag': { edit: (frame) => xor(frame, 20, 0x80) },
  'an id out of step': { edit: (frame) => xor(frame, 18, 1) },
  'MF set': { edit: (frame) => xor(frame, 20, 0x20) },
  'a fragment offset': { edit: (frame) => xor(frame, 21, 1) },
  'a wrong header checksum': { spoil: (frame) => xor(frame, 24, 1) },
  'IPv4 options': {
    spoil: (frame, layout) => {
      const longer = insert(frame, 34, 1, 1, 1, 0);
      longer[14] = 0x46;
      writeNetwork(longer, layout);
      return longer;
    },
  },
};

export const ipv6Deviations: Readonly<Record<string, Deviation>> = {
  'another traffic class': { edit: (frame) => xor(frame, 15, 0x10) },
  'another flow label': { edit: (frame) => xor(frame, 17, 1) },
  'another hop limit': { edit: (frame) => xor(frame, 21, 1) },
  'an extension header': {
    spoil: (frame, layout) => {
      const longer = insert(frame, 54, 6, 0, 1, 4, 0, 0, 0, 0);
      longer[20] = 60;
      writeNetwork(longer, layout);
      return longer;
    },
  },
  'a fragment header': {
    spoil: (frame, layout) => {
      const longer = insert(frame, 54, 6, 0, 0, 1, 0, 0, 0, 9);
      longer[20] = 44;
      writeNetwork(longer, layout);
      return longer;
    },
  },
};

/** Deviations that never merge, not even with each other. */
export const unmergeable: readonly string[] = [
  'a FIN',
  'a SYN',
  'a RST',
  'a URG',
  'a CWR',
  'no ACK',
  'a reserved bit',
  'another version',
  'a wrong TCP checksum',
  'no payload',
  'no payload, but padding',
  'its last octet cut off',
  'a VLAN tag',
  'MF set',
  'a fragment offset',
  'a wrong header checksum',
  'IPv4 options',
  'an extension header',
  'a fragment header',
];

/** What belongs to the flow and may join it, but not as any other does. */
export const endings: Readonly<Record<string, Deviation>> = {
  'a PSH': { flags: ACK | 0x08 },
  'less payload': { payloadSize: 31 },
  'a PSH and less payload': { flags: ACK | 0x08, payloadSize: 31 },
};
