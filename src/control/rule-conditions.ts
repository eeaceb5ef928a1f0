/**
 * What a rule asks of a frame, settled: the form that ACLs and security groups give their rules before they are compiled
 * (compile-rules.ts). A condition that is absent asks for nothing; all that are there must hold. A condition on IP's or a
 * deeper header holds for packets that have it only: ports for protocols with ports, in a fragment only where its first
 * one's are known.
 */
import type { Prefix } from '../wire/address.js';

/** Both ends are in it. */
export interface NumberRange {
  readonly first: number;
  readonly last: number;
}

/** Of an address those bits that the mask has; 48-bit numbers. */
export interface MaskedMac {
  readonly value: number;
  readonly mask: number;
}

export type FragmentCondition = 'any' | 'first' | 'later' | 'none';

export interface RuleConditions {
  readonly sourceMac?: MaskedMac;
  readonly destinationMac?: MaskedMac;
  readonly ethertype?: number;
  /** VID of the tag the frame came with, 0: untagged. */
  readonly vlan?: number;
  readonly priority?: number;
  readonly family?: 'ipv4' | 'ipv6';
  readonly protocol?: number;
  readonly source?: Prefix;
  readonly destination?: Prefix;
  readonly sourcePorts?: readonly NumberRange[];
  readonly destinationPorts?: readonly NumberRange[];
  readonly icmpType?: number;
  readonly icmpCode?: number;
  /** Flags that are set, of those that are looked at (bits of wire/tcp.ts). */
  readonly tcpFlags?: { readonly set: number; readonly mask: number };
  readonly dscp?: number;
  /** any: the first or a later one. */
  readonly fragment?: FragmentCondition;
  readonly arpOperation?: number;
  readonly arpSender?: Prefix;
  readonly arpTarget?: Prefix;
  /** The caller's number of a set of addresses that must have the remote one (CompiledRules.remoteSets). */
  readonly remoteSet?: number;
}
