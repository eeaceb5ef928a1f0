/** The configuration's ACLs and security groups; see schema.ts. */
import { z } from 'zod';
import { parseMac } from '../wire/address.js';
import { cidr, ethertype, flag, nameOrNumber, oneOf, ranges, reference, vid, whole } from './schema-values.js';

const protocol = () => nameOrNumber('a protocol', 255);
const icmpType = () => nameOrNumber('an ICMP type', 255);
const portRange = () => ranges(0, 65_535);

const maskedMac = () =>
  z
    .string()
    .refine((text) => text.split('/').length <= 2 && text.split('/').every((part) => parseMac(part) !== undefined), {
      error: 'expected a MAC address, or address/mask',
    });

const aclRule = z.strictObject({
  action: oneOf('permit', 'deny', 'reject').describe('What happens to what matches.'),
  log: flag().default(false).describe('Log what matches.'),
  family: oneOf('ipv4', 'ipv6').optional().describe('IP version.'),
  proto: protocol().optional().describe('IP protocol, by name or number.'),
  src: cidr().optional().describe('Source address.'),
  dst: cidr().optional().describe('Destination address.'),
  srcPort: portRange().optional().describe('Source ports.'),
  dstPort: portRange().optional().describe('Destination ports.'),
  icmpType: icmpType().optional().describe('ICMP type.'),
  icmpCode: whole(0, 255).optional().describe('ICMP code.'),
  tcpFlags: z
    .string()
    .regex(/^[FSRPAUEC]*\/[FSRPAUEC]+$/, { error: 'expected flags set / flags looked at, like S/SA' })
    .optional()
    .describe('TCP flags: set / looked at.'),
  dscp: whole(0, 63).optional().describe('DSCP.'),
  fragment: oneOf('any', 'first', 'later', 'none').optional().describe('Which fragments.'),
  srcMac: maskedMac().optional().describe('Source MAC address, with or without a mask.'),
  dstMac: maskedMac().optional().describe('Destination MAC address, with or without a mask.'),
  ethertype: z
    .union([oneOf('arp', 'ipv4', 'ipv6'), ethertype()], { error: 'expected arp, ipv4, ipv6 or a number like 0x88b5' })
    .optional()
    .describe('Ethertype.'),
  vlan: vid(0).optional().describe('VID.'),
  pcp: whole(0, 7).optional().describe('Priority of the tag.'),
  arpOp: oneOf('request', 'reply').optional().describe('ARP operation.'),
  arpSender: cidr().optional().describe('ARP sender address.'),
  arpTarget: cidr().optional().describe('ARP target address.'),
});

export const aclSchema = z.strictObject({
  default: oneOf('permit', 'deny').describe('What happens to what no rule matches.'),
  rules: z.array(aclRule).default([]).describe('The first rule that matches decides. Numbered from 1.'),
});

const groupRule = z.strictObject({
  direction: oneOf('ingress', 'egress').describe('ingress: towards the VM.'),
  family: oneOf('ipv4', 'ipv6').optional().describe('IP version; both if absent.'),
  proto: protocol().optional().describe('IP protocol, by name or number; any if absent.'),
  port: portRange().optional().describe('Destination ports.'),
  icmpType: icmpType().optional().describe('ICMP type.'),
  icmpCode: whole(0, 255).optional().describe('ICMP code.'),
  remote: cidr().optional().describe('The other side, as a prefix.'),
  remoteGroup: reference('a security group').optional().describe('The other side, as members of a group.'),
});

export const groupSchema = z.strictObject({
  stateful: flag().default(true).describe('Replies pass by themselves.'),
  rules: z.array(groupRule).default([]).describe('What is allowed. Numbered from 1.'),
});
