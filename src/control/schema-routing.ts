/** The configuration's subnets and routers; see schema.ts. */
import { z } from 'zod';
import {
  cidr,
  duration,
  endpoint,
  flag,
  interfaceAddress,
  ip,
  ipRange,
  oneOf,
  plainText,
  ranges,
  reference,
  whole,
} from './schema-values.js';

const dhcpOptions = () =>
  z.record(z.string().regex(/^[0-9]{1,3}$/, { error: 'expected the number of an option' }), plainText()).optional();

const dhcp = z.strictObject({
  pool: ipRange().optional().describe('Addresses for VMs without one of their own.'),
  unknown: oneOf('serve', 'ignore').optional().describe('VMs that are not known; serve if there is a pool.'),
  lease: duration('1s').default('24h').describe('Lease time.'),
  dns: z.array(ip()).optional().describe('Resolvers.'),
  domain: plainText().optional().describe('Domain name.'),
  search: z.array(plainText()).optional().describe('Domains to search.'),
  ntp: z.array(ip()).optional().describe('Time servers.'),
  routes: z
    .array(z.strictObject({ to: cidr().describe('Destination.'), via: ip().describe('Next hop.') }))
    .optional()
    .describe('Routes for VMs.'),
  options: dhcpOptions().describe('Other options by number.'),
  perPort: whole(1, 65_536).default(8).describe('Leases one port may hold.'),
  server: ip().optional().describe('Address of the server; the gateway, else the first free one, if absent.'),
});

const dhcp6 = z.strictObject({
  pool: ipRange().optional().describe('Addresses for VMs without one of their own.'),
  lease: duration('1s').default('24h').describe('Lease time.'),
  dns: z.array(ip()).optional().describe('Resolvers.'),
  search: z.array(plainText()).optional().describe('Domains to search.'),
  options: dhcpOptions().describe('Other options by number.'),
  perPort: whole(1, 65_536).default(8).describe('Leases one port may hold.'),
});

export const subnetSchema = z.strictObject({
  network: reference('a network').describe('The network it belongs to.'),
  cidr: cidr().describe('Its prefix.'),
  gateway: ip().optional().describe('Default gateway.'),
  dhcp: dhcp.optional().describe('DHCPv4 server.'),
  ra: z
    .strictObject({
      mode: oneOf('slaac', 'stateless', 'stateful').describe('How VMs get their addresses.'),
      lifetime: duration('1s').default('30m').describe('Router lifetime.'),
      interval: duration('4s').default('200s').describe('Between two advertisements.'),
      rdnss: z.array(ip()).optional().describe('Resolvers.'),
    })
    .optional()
    .describe('Router advertisements.'),
  dhcp6: dhcp6.optional().describe('DHCPv6 server.'),
  names: flag().default(true).describe("Answers <port>.<domain> on the gateway's port 53."),
});

const forward = z.strictObject({
  proto: oneOf('tcp', 'udp').describe('Protocol.'),
  address: ip().optional().describe('Outside address; the first external one if absent.'),
  port: ranges(1, 65_535).describe('Outside ports.'),
  to: endpoint().describe('Inside address and port.'),
});

export const routerSchema = z.strictObject({
  interfaces: z
    .record(
      reference('a network'),
      z.union([interfaceAddress(), z.array(interfaceAddress()).min(1)], {
        error: 'expected an address like 10.0.0.1/24, or a list of those',
      }),
    )
    .describe('Addresses by network.'),
  routes: z
    .array(
      z.strictObject({
        to: cidr().describe('Destination.'),
        via: z
          .union([z.literal('blackhole'), ip(), z.array(ip()).min(1)], {
            error: 'expected an address, a list of those, or blackhole',
          })
          .describe('Next hop; several share the traffic.'),
      }),
    )
    .optional()
    .describe('Static routes.'),
  external: z
    .strictObject({
      network: reference('a network').describe('The network towards the outside.'),
      addresses: z.array(interfaceAddress()).min(1).describe('Outside addresses of the router.'),
      snat: flag().default(true).describe('Whether inside addresses are hidden.'),
      pool: ranges(1, 65_535).default('1024-65535').describe('Ports for SNAT.'),
      mapping: oneOf('endpoint-independent', 'endpoint-dependent')
        .default('endpoint-independent')
        .describe('Whether a port inside has one outside for all it sends to, or one for each (RFC 4787).'),
      filtering: oneOf('endpoint-dependent', 'endpoint-independent', 'address-dependent')
        .default('endpoint-dependent')
        .describe(
          'Who may send to a mapped port (RFC 4787): whom was sent to, any port of such an address, or anybody.',
        ),
      perVm: whole(1, 1_048_576).default(4096).describe('Mappings one VM may hold.'),
    })
    .optional()
    .describe('The side towards the outside.'),
  floating: z.record(ip(), ip()).optional().describe('Floating IPs: outside address to inside address.'),
  forwards: z.array(forward).optional().describe('Port forwards.'),
});
