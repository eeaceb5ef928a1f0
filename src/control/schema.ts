/**
 * The configuration document: the one definition that validates it, types it (`Config`) and documents it (`weft schema`).
 * Keys, defaults and meanings are those of the configuration reference. Objects are strict: a key that is not here is an
 * error. What depends on more than one place (dangling names, who carries what) is resolve.ts's matter; what this
 * version can't do yet is listed in unsupported.ts. Pure; runs anywhere.
 *
 * `Config` is the document with its defaults. Quantities stay as they were written (`300s`), so a Config is a document
 * again; resolve.ts turns them into numbers.
 */
import { z } from 'zod';
import {
  CONNECTION_CAPACITY_MAX,
  FDB_CAPACITY,
  FRAGMENT_DATAGRAMS_MAX,
  GENEVE_OPTION_SIZE_MAX,
  MTU_MAX,
  MTU_MIN,
  NETWORK_MAC_LIMIT_DEFAULT,
  QUEUES_PER_PORT_MAX,
  WORKERS_MAX,
} from '../limits.js';
import { aclSchema, groupSchema } from './schema-policy.js';
import { routerSchema, subnetSchema } from './schema-routing.js';
import {
  absolutePath,
  cidr,
  deviceName,
  duration,
  ethertype,
  flag,
  hexWords,
  interfaceAddress,
  ip,
  ipOrCidr,
  name,
  oneOf,
  optionClass,
  packetRate,
  plainText,
  rate,
  reference,
  share,
  size,
  stationMac,
  tpid,
  vid,
  whole,
} from './schema-values.js';

const count = (most: number) => whole(1, most);
const mtu = () => whole(MTU_MIN, MTU_MAX, 'an MTU in octets');

const settingsSchema = z.strictObject({
  workers: z
    .union([z.literal('auto'), whole(1, WORKERS_MAX)], { error: `expected auto or a number from 1 to ${WORKERS_MAX}` })
    .default('auto')
    .describe('Forwarding threads; auto chooses by the processors there are.'),
  conntrack: z
    .strictObject({
      capacity: count(CONNECTION_CAPACITY_MAX)
        .default(262_144)
        .describe('Connections in all. A change counts from the next start of the daemon.'),
      perPort: share().default('25%').describe('Share of the capacity one port may use.'),
      perNetwork: share().default('100%').describe('Share of the capacity one network may use.'),
      midstream: flag().default(false).describe('Whether a TCP connection may be taken up without its beginning.'),
      timeouts: z
        .strictObject({
          tcpSyn: duration('1s').default('60s').describe('A TCP connection being set up.'),
          tcpEstablished: duration('1s').default('2h5m').describe('An established TCP connection without traffic.'),
          tcpFin: duration('1s').default('4m').describe('A TCP connection being closed.'),
          tcpTimeWait: duration('1s').default('4m').describe('A closed TCP connection.'),
          tcpReset: duration('1s').default('4m').describe('A reset TCP connection.'),
          udp: duration('1s').default('2m').describe('UDP without a reply yet.'),
          udpStream: duration('1s').default('5m').describe('UDP in both directions.'),
          icmp: duration('1s').default('60s').describe('ICMP queries.'),
          other: duration('1s').default('5m').describe('Any other protocol.'),
        })
        .prefault({})
        .describe('How long a connection is kept without traffic, by its state.'),
    })
    .prefault({})
    .describe('Connection tracking.'),
  fragments: z
    .strictObject({
      datagrams: count(FRAGMENT_DATAGRAMS_MAX)
        .default(1024)
        .describe('Datagrams whose fragments are followed, in all.'),
      perPort: count(FRAGMENT_DATAGRAMS_MAX).default(128).describe('Of those, from one port.'),
      timeout: duration('1s').default('15s').describe('How long later fragments wait for the first.'),
    })
    .prefault({})
    .describe('Fragments of IP datagrams.'),
  neighbors: z
    .strictObject({
      capacity: count(1_048_576).default(65_536).describe('Neighbours of all routers.'),
      perPort: count(1_048_576).default(1024).describe('Of those, behind one port.'),
      queue: count(1024).default(8).describe('Packets that wait while a neighbour is looked for.'),
    })
    .prefault({})
    .describe('ARP and ND tables of routers.'),
  limits: z
    .strictObject({
      icmpErrors: packetRate().default('100pps').describe('ICMP errors made for a port.'),
      arp: packetRate().default('1000pps').describe('ARP and ND answered for a port.'),
      dhcp: packetRate().default('100pps').describe('DHCP messages answered for a port.'),
      dns: packetRate().default('200pps').describe('DNS queries answered for a port.'),
    })
    .prefault({})
    .describe('What a port may make the switch itself do, as token buckets.'),
  metadata: z
    .strictObject({
      endpoint: plainText('a URL').describe('Where instance metadata is fetched, from the daemon’s own namespace.'),
      secret: plainText('a secret').optional().describe('Signs the instance id.'),
    })
    .optional()
    .describe('Instance metadata at 169.254.169.254.'),
  dns: z
    .strictObject({ forward: z.array(ip()).min(1).describe('Resolvers that questions are passed on to.') })
    .optional()
    .describe('The resolver for VMs.'),
});

/** Text that an HTTP header can carry. */
const headerValue = () => z.string().regex(/^[!-~]{1,255}$/, { error: 'expected printable ASCII without spaces' });

const policyNames = z.strictObject({
  ingress: reference('an ACL').optional().describe('ACL for what enters the switch.'),
  egress: reference('an ACL').optional().describe('ACL for what leaves the switch.'),
});

export const networkTypes = ['local', 'flat', 'vlan', 'vxlan', 'gre', 'geneve'] as const;

const geneveOption = z.strictObject({
  class: optionClass().describe('Who defined the option (RFC 8926 section 3.5).'),
  type: whole(0, 127).describe('Its type within the class, without the critical bit.'),
  critical: flag().default(false).describe('Receivers that do not know the option drop the packet.'),
  data: hexWords(GENEVE_OPTION_SIZE_MAX).default('').describe('Its octets in hexadecimal.'),
});

const tunnelOptions = z.strictObject({
  innerVlan: flag().default(false).describe('Frames in the tunnels may have a VLAN tag.'),
  checksum: flag().default(false).describe('gre: headers have a checksum of header and payload.'),
  sequence: flag().default(false).describe('gre: headers have a sequence number.'),
  nvgre: flag()
    .default(false)
    .describe('gre: NVGRE (RFC 7637). The id is a VSID of 24 bits, the key has 8 bits of the flow behind it.'),
  geneve: z.array(geneveOption).optional().describe('geneve: options that every packet is sent with.'),
});

export const networkSchema = z.strictObject({
  type: oneOf(...networkTypes).describe('What carries the network beyond this host.'),
  id: whole(0, 0xffff_ffff).optional().describe('VID (vlan: 1 to 4094), VNI (vxlan, geneve) or key (gre).'),
  uplink: reference('a port').optional().describe('The port towards the physical network (flat, vlan).'),
  underlay: reference('an underlay').optional().describe('The underlay that carries the tunnels (vxlan, gre, geneve).'),
  remotes: z.array(ip()).optional().describe('Far ends of the tunnels.'),
  learning: flag().default(true).describe('Whether addresses are learned; without, unicast floods.'),
  mtu: mtu().optional().describe('Caps the MTU of the ports of this network.'),
  macAge: duration('1s').default('300s').describe('How long a learned address is kept after it was last seen.'),
  macLimit: count(FDB_CAPACITY).default(NETWORK_MAC_LIMIT_DEFAULT).describe('Most addresses learned in the network.'),
  arpSuppression: flag().default(false).describe('Answers ARP and ND for known stations instead of flooding.'),
  acl: policyNames.optional().describe('ACLs at every port of the network.'),
  mssClamp: flag()
    .optional()
    .describe('Lowers the MSS of TCP connections that enter tunnels to what fits; for guests that hear no ICMP.'),
  options: tunnelOptions.optional().describe('Options of the tunnels.'),
});

const underlaySchema = z.strictObject({
  local: ip().describe('Own address of the tunnels.'),
  port: whole(1, 65_535).optional().describe('UDP port; 4789 for vxlan, 6081 for geneve if absent.'),
  allowFrom: z.array(cidr()).optional().describe('Who may send tunnel packets; the remotes if absent.'),
  sourcePorts: count(1024).default(64).describe('UDP source ports that flows are spread over.'),
  ttl: whole(1, 255).default(64).describe('TTL of the outer header.'),
  dscp: z
    .union([z.literal('inherit'), whole(0, 63)], { error: 'expected inherit or a number from 0 to 63' })
    .default(0)
    .describe('DSCP of the outer header: a number, or the inner one.'),
  driver: z
    .enum(['socket', 'raw-socket'])
    .default('socket')
    .describe('What moves GRE packets: sockets of the workers, or the optional package raw-socket (IPv4 only).'),
  checksum: flag()
    .optional()
    .describe(
      'Whether outer UDP checksums are sent. If it is not said: over IPv6, where receivers expect them (RFC 6936), and of what leaves several in a message.',
    ),
  bfd: z
    .strictObject({
      interval: duration('10ms').default('300ms').describe('Between two BFD packets.'),
      multiplier: count(255).default(3).describe('Packets missed until the tunnel is down.'),
      inside: flag()
        .default(false)
        .describe("BFD goes through the tunnels, each network's by itself, as Open vSwitch has it."),
    })
    .optional()
    .describe('Liveness of the remotes by BFD (RFC 5880).'),
});

/** The port kinds the configuration knows, and whether a VM is behind them (else the port counts as an uplink). */
export const portKinds = {
  tap: { facesVm: true },
  netdev: { facesVm: false },
  qemu: { facesVm: true },
  pcap: { facesVm: false },
  memory: { facesVm: false },
} as const satisfies Record<string, { facesVm: boolean }>;

const controlPolicy = (what: string) => oneOf('drop', 'forward').default('drop').describe(what);
const stormRate = (what: string) =>
  z
    .union([z.literal('none'), packetRate()], { error: 'expected a packet rate like 2000pps, or none' })
    .optional()
    .describe(`${what}; none lifts the limit.`);

const trunkMember = z.union(
  [
    reference('a network'),
    z.strictObject({
      network: reference('a network').describe('The network that is carried.'),
      vlan: vid().describe('Its VID on this trunk.'),
    }),
  ],
  { error: 'expected the name of a network, or { network: NET, vlan: VID }' },
);

export const portSchema = z.strictObject({
  kind: oneOf('tap', 'netdev', 'qemu', 'pcap', 'memory').describe('What the port is made of.'),
  device: deviceName().optional().describe('The interface; the name of the port if absent.'),
  path: absolutePath().optional().describe('The Unix socket that QEMU connects to (qemu).'),
  mtu: mtu().optional().describe('MTU of the interface.'),
  queues: count(QUEUES_PER_PORT_MAX).default(1).describe('Queues of the device, served by different workers.'),
  offload: oneOf('auto', 'off').default('auto').describe('Checksum and segmentation offloads.'),
  enabled: flag().default(true).describe('false closes the port and keeps its device.'),
  network: reference('a network').optional().describe('Access port: the one network, untagged.'),
  trunk: z
    .union([z.literal('auto'), z.array(trunkMember)], { error: 'expected auto or a list of networks' })
    .optional()
    .describe('Trunk port: networks by VID. auto: every vlan and flat network that names this port as uplink.'),
  native: reference('a network').optional().describe('The network a trunk carries untagged.'),
  nativeTagged: flag().default(false).describe('Frames of the native network leave with its VID all the same.'),
  tunnel: z
    .strictObject({
      network: reference('a network').describe('The network that whole frames, tagged or not, ride in.'),
      allowed: z.array(vid(0)).optional().describe('Inner VIDs let through, 0 for untagged; all if absent.'),
      tpid: tpid().default(0x88a8).describe('TPID of the outer tag on uplinks.'),
    })
    .optional()
    .describe('802.1ad tunnel port (dot1q-tunnel).'),
  mac: stationMac().optional().describe('MAC address of the VM.'),
  addresses: z.array(interfaceAddress()).optional().describe('Addresses of the VM.'),
  antiSpoof: flag().default(false).describe('The VM may send from its own addresses only.'),
  allowedPairs: z
    .array(
      z.strictObject({
        ip: ipOrCidr().describe('Address or prefix.'),
        mac: stationMac().optional().describe("MAC address; the port's if absent."),
      }),
    )
    .optional()
    .describe('More pairs of address and MAC the VM may send from.'),
  allowEthertypes: z.array(ethertype()).optional().describe('Ethertypes a guarded port may send besides ARP and IP.'),
  groups: z
    .array(reference('a security group'))
    .optional()
    .describe('Security groups; [] lets nothing but the basics pass.'),
  acl: policyNames.optional().describe('ACLs of the port.'),
  isolated: flag().default(false).describe('Isolated ports do not talk to each other.'),
  macLimit: z
    .union([z.literal('none'), count(FDB_CAPACITY)], { error: `expected none or a number from 1 to ${FDB_CAPACITY}` })
    .optional()
    .describe('Most addresses learned behind the port; 1024 if absent, none for uplinks.'),
  controlFrames: z
    .strictObject({
      stp: controlPolicy('Spanning tree, also of Cisco.'),
      lacp: controlPolicy('LACP and other slow protocols.'),
      lldp: controlPolicy('LLDP.'),
      cfm: controlPolicy('Connectivity fault management.'),
      pause: controlPolicy('PAUSE.'),
      other: controlPolicy('Other reserved groups, also those of CDP, VTP and UDLD.'),
    })
    .prefault({})
    .describe('Frames to reserved group addresses: drop or forward.'),
  storm: z
    .strictObject({
      broadcast: stormRate('Broadcast; 2000pps for VM ports if absent'),
      multicast: stormRate('Multicast; 10000pps for VM ports if absent'),
      unknownUnicast: stormRate('Unicast to unknown stations; 2000pps for VM ports if absent'),
    })
    .prefault({})
    .describe('Storm control; none for uplinks unless given.'),
  rate: z
    .strictObject({
      in: rate().optional().describe('From the VM.'),
      out: rate().optional().describe('To the VM.'),
      burst: size().optional().describe('What may pass at once.'),
    })
    .optional()
    .describe('Rate limits.'),
  dhcp: z
    .strictObject({
      options: z
        .record(z.string().regex(/^[0-9]{1,3}$/), plainText())
        .optional()
        .describe('DHCP options by number.'),
    })
    .optional()
    .describe('What DHCP tells this VM.'),
  instance: z
    .strictObject({
      id: headerValue().optional().describe('Id of the VM; the name of the port if absent.'),
      tenant: headerValue().optional().describe('Id of whom it belongs to.'),
    })
    .optional()
    .describe('Who the VM is for the metadata endpoint.'),
});

const section = <Schema extends z.ZodType>(entry: Schema, description: string) =>
  z.record(name(), entry).default({}).describe(description);

export const documentSchema = z
  .strictObject({
    version: z.literal(1, { error: 'expected version: 1' }).describe('Version of this format.'),
    settings: settingsSchema.prefault({}).describe('The switch as a whole.'),
    networks: section(networkSchema, 'Broadcast domains.'),
    underlays: section(underlaySchema, 'Networks that carry tunnels.'),
    ports: section(portSchema, 'Where something attaches.'),
    acls: section(aclSchema, 'Ordered stateless rules.'),
    groups: section(groupSchema, 'Security groups: stateful allow-lists.'),
    subnets: section(subnetSchema, 'Addresses of a network, DHCP and router advertisements.'),
    routers: section(routerSchema, 'Routers with NAT.'),
  })
  .meta({ title: 'weft configuration' });

/** The document with its defaults. */
export type Config = z.output<typeof documentSchema>;
export type PortConfig = z.output<typeof portSchema>;
export type SubnetConfig = z.output<typeof subnetSchema>;
export type NetworkConfig = z.output<typeof networkSchema>;
export type UnderlayConfig = z.output<typeof underlaySchema>;
export type RouterConfig = z.output<typeof routerSchema>;
