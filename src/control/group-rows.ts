/** Security groups as the control socket shows them: rules, what these did, ports and members. Pure but for the clock. */
import { monotonicMs } from '../dataplane/clock.js';
import { ipText, parsePrefix, prefixText } from '../wire/address.js';
import { protocolName } from './protocol-names.js';
import type { ResolvedConfig, ResolvedGroupRule, ResolvedPort } from './resolved.js';
import type { RuleNumbers } from './rule-numbers.js';
import type { GroupDetail, GroupRow } from './shapes.js';

export function groupRows(config: ResolvedConfig, numbers: RuleNumbers): GroupRow[] {
  return [...config.groups.keys()].flatMap((name) => {
    const detail = groupDetail(config, numbers, name);
    if (detail === undefined) return [];
    const { stateful, hits, ports, rules } = detail;
    return [{ name, stateful, ruleCount: rules.length, hits, ports }];
  });
}

/** Undefined: there is no such group. */
export function groupDetail(config: ResolvedConfig, numbers: RuleNumbers, name: string): GroupDetail | undefined {
  const group = config.groups.get(name);
  if (group === undefined) return undefined;
  const counts = numbers.counts(`groups.${name}`);
  const nowSeconds = monotonicMs() / 1000;
  const rules = group.rules.map((rule, place) => {
    const { frames = 0, bytes = 0, lastSeconds = -1 } = counts?.[place] ?? {};
    const last = lastSeconds < 0 ? {} : { lastHitSeconds: Math.max(0, nowSeconds - lastSeconds) };
    const { direction } = rule;
    return { index: place + 1, direction, action: 'permit' as const, text: ruleText(rule), frames, bytes, ...last };
  });
  const ports = [...config.ports].filter(([, { groups }]) => groups?.includes(name));
  return {
    name,
    stateful: group.stateful,
    default: 'deny',
    hits: rules.reduce((sum, { frames }) => sum + frames, 0),
    rules,
    ports: ports.map(([port]) => port),
    members: [...new Set(ports.flatMap(([, port]) => membersOf(port)))],
  };
}

function membersOf({ addresses, allowedPairs }: ResolvedPort): string[] {
  const own = addresses.flatMap((text) => parsePrefix(text) ?? []).map(({ address }) => ipText(address));
  const pairs = allowedPairs.map(({ prefix }) =>
    prefix.length === prefix.address.length * 8 ? ipText(prefix.address) : prefixText(prefix),
  );
  return [...own, ...pairs];
}

function ruleText({ family, protocol, ports, icmpType, icmpCode, remote, remoteGroup }: ResolvedGroupRule): string {
  const range = ({ first, last }: { first: number; last: number }) =>
    first === last ? `${first}` : `${first}-${last}`;
  const words = [
    family,
    protocol === undefined ? undefined : `proto ${protocolName(protocol)}`,
    ports.length === 0 ? undefined : `port ${ports.map(range).join(',')}`,
    icmpType === undefined ? undefined : `icmpType ${icmpType}`,
    icmpCode === undefined ? undefined : `icmpCode ${icmpCode}`,
    remote === undefined ? undefined : `remote ${prefixText(remote)}`,
    remoteGroup === undefined ? undefined : `remoteGroup ${remoteGroup}`,
  ].filter((word) => word !== undefined);
  return words.length === 0 ? 'anything' : words.join(' ');
}
