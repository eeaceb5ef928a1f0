/**
 * The part of the hot-path scene that passes policy: guarded ports with ACLs of a hundred rules on both ways, stateful groups
 * at both ends and stateless ones, connections of every protocol, what none of them lets pass, and answers to rejects.
 */
import { parseFrame } from '../../src/wire/frame-text.js';
import { fragmentFrame } from '../wire/fragment-frames.js';

/** Behind g1 to g4: the first three are tracked, the fourth's groups are stateless, the fifth has neither guard nor groups. */
const MACHINES = 5;
const GUARDED = 4;

const name = (machine: number) => `g${machine}`;
const mac = (machine: number) => `52:54:02:00:00:0${machine}`;
const ip4 = (machine: number) => `203.0.113.${machine}`;
const ip6 = (machine: number) => `2001:db8:9::${machine}`;

const DENIED = 5001;
const REJECTED = 5002;
const LOGGED = 5003;

/** Ninety-six rules that match nothing here, of every sort, in front of those that do. */
const rules = [
  ...Array.from(
    { length: 96 },
    (_, index) =>
      [
        { action: 'deny', proto: 'tcp', dstPort: 10_000 + index, src: `198.51.100.${index}/32` },
        { action: 'deny', src: `2001:db8:${index}::/48`, dst: '2001:db8:ffff::/48' },
        { action: 'permit', proto: 'udp', srcPort: `${20_000 + index}-${20_100 + index}`, dscp: 46 },
        { action: 'deny', srcMac: `02:00:00:00:${index.toString(16).padStart(2, '0')}:00/ff:ff:ff:ff:ff:00` },
      ][index & 3],
  ),
  { action: 'deny', dstPort: DENIED, proto: 'udp' },
  { action: 'reject', dstPort: REJECTED, proto: 'tcp' },
  { action: 'reject', dstPort: REJECTED, proto: 'udp' },
  { action: 'permit', dstPort: LOGGED, proto: 'udp', log: true },
];

const everything = [{ direction: 'ingress' }, { direction: 'egress' }];

const portOf = (machine: number) => ({
  kind: 'tap',
  network: 'policy',
  storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' },
  mac: mac(machine),
  addresses: [`${ip4(machine)}/24`, `${ip6(machine)}/64`],
  antiSpoof: true,
  groups: [machine === GUARDED ? 'stateless' : 'web'],
  acl: { ingress: 'hundred', egress: 'hundred' },
});

export const policyDocument = {
  networks: { policy: { type: 'local', acl: { ingress: 'hundred', egress: 'hundred' } } },
  acls: { hundred: { default: 'permit', rules } },
  groups: {
    web: {
      rules: [
        { direction: 'egress', remote: '203.0.113.0/24' },
        { direction: 'egress', remote: '2001:db8:9::/64' },
        { direction: 'ingress', proto: 'tcp', port: '80-90', remoteGroup: 'web' },
        { direction: 'ingress', proto: 'udp', port: '1-9999', remoteGroup: 'web' },
        { direction: 'ingress', proto: 'icmp', remoteGroup: 'web' },
        { direction: 'ingress', proto: 'icmpv6' },
        { direction: 'ingress', proto: 'sctp' },
      ],
    },
    stateless: { stateful: false, rules: everything },
  },
  ports: {
    ...Object.fromEntries(Array.from({ length: GUARDED }, (_, index) => [name(index + 1), portOf(index + 1)] as const)),
    [name(MACHINES)]: { kind: 'tap', network: 'policy' },
  },
};

export interface PolicyTemplate {
  readonly port: string;
  readonly octets: Uint8Array;
}

type Below = (count: number) => number;

/** The MACs of two machines, as `parseFrame` reads them. */
const macs = (from: number, to: number) => `src ${mac(from)} dst ${mac(to)}`;

function line(port: number, text: string): PolicyTemplate {
  return { port: name(port), octets: parseFrame(text) };
}

/** A segment of one of a few connections, in any order: most of them stand, and some segments fit nothing. */
function tcp(below: Below): PolicyTemplate {
  const client = 1 + below(3);
  const server = 1 + (client % 3);
  const isIpv4 = below(2) === 0;
  const at = (machine: number, port: number) => (isIpv4 ? `${ip4(machine)}:${port}` : `[${ip6(machine)}]:${port}`);
  const [here, there] = [at(client, 30_000 + below(4)), at(server, 80)];
  const out = `tcp ${here} > ${there}`;
  const back = `tcp ${there} > ${here}`;
  const [forth, answer] = [macs(client, server), macs(server, client)];
  switch (below(12)) {
    case 0:
      return line(client, `${out} flags S seq 100 ${forth}`);
    case 1:
      return line(server, `${back} flags SA seq 500 ack 101 ${answer}`);
    case 2:
      return line(client, `${out} flags A seq 4000000 ack 501 ${forth}`);
    case 3:
    case 4:
    case 5:
    case 6:
      return line(server, `${back} flags A seq 501 ack 101 length ${below(1200)} ${answer}`);
    default:
      return line(client, `${out} flags PA seq 101 ack 501 length ${below(1200)} ${forth}`);
  }
}

/** Datagrams and echoes between any two, of more ports than the table has entries. */
function datagram(below: Below): PolicyTemplate {
  const from = 1 + below(GUARDED);
  const to = 1 + below(MACHINES);
  const ports = [
    4000 + below(below(2) === 0 ? 16 : 4000),
    [53, 53, 53, 53, DENIED, REJECTED, LOGGED, 20_000][below(8)],
  ];
  const size = `length ${18 + below(1200)} ${macs(from, to)}`;
  switch (below(6)) {
    case 0:
      return line(from, `icmp ${ip4(from)} > ${ip4(to)} echo id ${below(8)} ${size}`);
    case 1:
      return line(from, `icmp ${ip6(from)} > ${ip6(to)} echo id ${below(8)} ${size}`);
    case 2:
      return line(from, `udp [${ip6(from)}]:${ports[0]} > [${ip6(to)}]:${ports[1]} ${size}`);
    case 3:
      return line(from, `udp ${ip4(from)}:53 > ${ip4(to)}:${4000 + below(16)} ${size}`);
    default:
      return line(from, `udp ${ip4(from)}:${ports[0]} > ${ip4(to)}:${ports[1]} ${size}`);
  }
}

/** First packets that begin connections, and those that are rejected. */
function beginning(below: Below): PolicyTemplate {
  const from = 1 + below(3);
  const to = 1 + below(4);
  const port = [80, 81, 82, REJECTED, 9000][below(5)];
  return line(from, `tcp ${ip4(from)}:${1024 + below(50_000)} > ${ip4(to)}:${port} flags S ${macs(from, to)}`);
}

/** Said of somebody else, or by protocols that guarded ports may not speak. */
function forged(below: Below): PolicyTemplate {
  const from = 1 + below(GUARDED);
  const other = 1 + (from % GUARDED);
  const texts = [
    `udp ${ip4(other)}:1 > ${ip4(5)}:2 ${macs(from, 5)}`,
    `udp ${ip4(from)}:1 > ${ip4(5)}:2 ${macs(other, 5)}`,
    `udp [${ip6(other)}]:1 > [${ip6(5)}]:2 ${macs(from, 5)}`,
    `arp who-has ${ip4(5)} tell ${ip4(other)} src ${mac(from)}`,
    `udp ${ip4(from)}:67 > ${ip4(5)}:68 ${macs(from, 5)}`,
    `udp 0.0.0.0:68 > 255.255.255.255:67 src ${mac(from)} dst ff:ff:ff:ff:ff:ff`,
    `icmp ${ip6(from)} > ff02::1 type 134 src ${mac(from)} dst 33:33:00:00:00:01`,
    `arp who-has ${ip4(5)} tell ${ip4(from)} src ${mac(from)}`,
    `icmp ${ip4(from)} > ${ip4(5)} type 3 code 1 ${macs(from, 5)}`,
  ];
  return line(from, texts[below(texts.length)]);
}

function fragment(below: Below): PolicyTemplate {
  const from = 1 + below(3);
  const id = below(16);
  const to = 1 + (from % 3);
  const start = below(3) * 24;
  const isIpv6 = below(2) === 0;
  const [source, destination] = isIpv6 ? [ip6(from), ip6(to)] : [ip4(from), ip4(to)];
  const ports = [4000 + id, 53] as const;
  const place = { isIpv6, source, destination, id, ports, start, size: 24, isLast: start === 48 };
  return { port: name(from), octets: fragmentFrame({ from: mac(from), to: mac(to), ...place }) };
}

export function makePolicyTemplate(below: Below): PolicyTemplate {
  const kind = below(20);
  if (kind < 9) return tcp(below);
  if (kind < 15) return datagram(below);
  if (kind < 17) return beginning(below);
  return kind < 19 ? forged(below) : fragment(below);
}
