/**
 * The part of a snapshot that concerns ACLs: those in use, compiled, and who uses which. What an ACL says is compiled once
 * for as long as it stays the same, whatever else changes. Main thread; the rules of a long document are compiled in the
 * thread that checks it, so that the main thread stays free to answer machines meanwhile.
 */
import type { CompiledRules } from '../pipeline/classifier.js';
import {
  ACTION_DENY,
  ACTION_LOG,
  ACTION_PERMIT,
  ACTION_REJECT,
  type CompiledAcl,
  POLICY_FRAGMENTS,
  POLICY_NETWORK_ACL,
  POLICY_NETWORK_EGRESS_ACL,
  POLICY_PORT_ACL,
  POLICY_PORT_EGRESS_ACL,
  POLICY_READ,
  type Snapshot,
} from '../pipeline/snapshot.js';
import { compileRules } from './compile-rules.js';
import type { Indices } from './indices.js';
import type { AclAction, AclNames, ResolvedAcl, ResolvedConfig } from './resolved.js';
import { RuleNumbers } from './rule-numbers.js';

type AclPart = Pick<Snapshot, 'acls' | 'portAclIngress' | 'portAclEgress' | 'networkAclIngress' | 'networkAclEgress'>;

const actionNumbers: Readonly<Record<AclAction, number>> = {
  permit: ACTION_PERMIT,
  deny: ACTION_DENY,
  reject: ACTION_REJECT,
};

export class AclCompiler {
  readonly numbers: RuleNumbers;
  /** By content. */
  private compiled = new Map<string, CompiledAcl>();

  constructor(numbers: RuleNumbers = new RuleNumbers()) {
    this.numbers = numbers;
  }

  /** `ports` and `networks`: lengths of arrays by these. Between numbers.begin() and the next one. */
  compile(config: ResolvedConfig, indices: Indices, ports: number, networks: number): AclPart {
    const acls: CompiledAcl[] = [];
    const places = new Map<string, number>();
    const kept = new Map<string, CompiledAcl>();
    const place = (name: string | undefined): number => {
      const acl = name === undefined ? undefined : config.acls.get(name);
      if (name === undefined || acl === undefined) return -1;
      const known = places.get(name);
      if (known !== undefined) return known;
      places.set(name, acls.length);
      return acls.push(this.compileAcl(name, acl, kept)) - 1;
    };
    const take = (length: number) => new Int32Array(new SharedArrayBuffer(length * 4)).fill(-1);
    const part = {
      acls,
      portAclIngress: take(ports),
      portAclEgress: take(ports),
      networkAclIngress: take(networks),
      networkAclEgress: take(networks),
    };
    for (const [name, { acl }] of config.ports) {
      const index = indices.port(name) ?? -1;
      part.portAclIngress[index] = place(acl?.ingress);
      part.portAclEgress[index] = place(acl?.egress);
    }
    for (const [name, { acl }] of config.networks) {
      const index = indices.network(name) ?? -1;
      part.networkAclIngress[index] = place(acl?.ingress);
      part.networkAclEgress[index] = place(acl?.egress);
    }
    this.compiled = kept;
    return part;
  }

  private compileAcl(name: string, acl: ResolvedAcl, kept: Map<string, CompiledAcl>): CompiledAcl {
    const content = aclContent(acl);
    const known = kept.get(content) ?? this.compiled.get(content) ?? compileContent(acl);
    kept.set(content, known);
    return { ...known, counterBase: this.numbers.claim(`acls.${name}`, content, acl.rules.length + 1) };
  }
}

/** What is the same where it is. */
export function aclContent(acl: ResolvedAcl): string {
  return [acl.default, ...acl.rules.map(({ text }) => text)].join('\n');
}

/** The ACL with its rules compiled. */
export function withCompiledRules(acl: ResolvedAcl): ResolvedAcl {
  return { ...acl, matching: { compiled: compiledRulesOf(acl) } };
}

export function compiledRulesOf({ matching }: ResolvedAcl): CompiledRules {
  return 'compiled' in matching ? matching.compiled : compileRules(matching.conditions);
}

function compileContent(acl: ResolvedAcl): CompiledAcl {
  const actions = new Int32Array(new SharedArrayBuffer((acl.rules.length + 1) * 4));
  for (const [index, { action, log }] of acl.rules.entries())
    actions[index] = actionNumbers[action] | (log ? ACTION_LOG : 0);
  actions[acl.rules.length] = actionNumbers[acl.default];
  return { rules: compiledRulesOf(acl), actions, counterBase: -1 };
}

/**
 * Sets the bits of who has ACLs. A port's egress ACL judges what comes in by other ports, so in its networks every packet is
 * read.
 */
export function setAclPolicy(snapshot: Snapshot, config: ResolvedConfig, indices: Indices): void {
  const { portPolicy, networkPolicy } = snapshot;
  const readBits = (acl: AclNames) => POLICY_READ | (asksForPorts(config, acl) ? POLICY_FRAGMENTS : 0);
  for (const [name, { acl, members }] of config.ports) {
    if (acl === undefined) continue;
    const port = indices.port(name) ?? -1;
    if (acl.ingress !== undefined) portPolicy[port] |= POLICY_PORT_ACL | readBits(acl);
    if (acl.egress === undefined) continue;
    portPolicy[port] |= POLICY_PORT_EGRESS_ACL;
    for (const { network } of members) networkPolicy[indices.network(network) ?? -1] |= readBits(acl);
  }
  for (const [name, { acl }] of config.networks) {
    if (acl === undefined) continue;
    const network = indices.network(name) ?? -1;
    if (acl.ingress !== undefined) networkPolicy[network] |= POLICY_NETWORK_ACL | readBits(acl);
    if (acl.egress !== undefined) networkPolicy[network] |= POLICY_NETWORK_EGRESS_ACL | readBits(acl);
  }
}

function asksForPorts({ acls }: ResolvedConfig, { ingress, egress }: AclNames): boolean {
  return [ingress, egress].some((name) => acls.get(name ?? '')?.asksForPorts);
}
