/** ACLs as the control socket shows them: their rules, what these did, and who uses them. Pure but for the clock. */
import { monotonicMs } from '../dataplane/clock.js';
import type { AclNames, ResolvedConfig } from './resolved.js';
import type { RuleNumbers } from './rule-numbers.js';
import type { AclDetail, AclRow } from './shapes.js';

export function aclRows(config: ResolvedConfig, numbers: RuleNumbers): AclRow[] {
  return [...config.acls.keys()].flatMap((name) => {
    const detail = aclDetail(config, numbers, name);
    if (detail === undefined) return [];
    const { hits, usedBy, rules } = detail;
    return [{ name, default: detail.default, ruleCount: rules.length, hits, usedBy }];
  });
}

/** Undefined: there is no such ACL. */
export function aclDetail(config: ResolvedConfig, numbers: RuleNumbers, name: string): AclDetail | undefined {
  const acl = config.acls.get(name);
  if (acl === undefined) return undefined;
  const counts = numbers.counts(`acls.${name}`);
  const nowSeconds = monotonicMs() / 1000;
  const rules = acl.rules.map(({ action, text }, place) => {
    const { frames = 0, bytes = 0, lastSeconds = -1 } = counts?.[place] ?? {};
    const last = lastSeconds < 0 ? {} : { lastHitSeconds: Math.max(0, nowSeconds - lastSeconds) };
    return { index: place + 1, action, text, frames, bytes, ...last };
  });
  const unmatched = counts?.[acl.rules.length];
  return {
    name,
    default: acl.default,
    hits: rules.reduce((sum, { frames }) => sum + frames, 0),
    rules,
    defaultFrames: unmatched?.frames ?? 0,
    defaultBytes: unmatched?.bytes ?? 0,
    usedBy: usersOf(config, name),
  };
}

function usersOf(config: ResolvedConfig, name: string): string[] {
  const of = (section: string, objects: Iterable<[string, { readonly acl?: AclNames }]>) =>
    [...objects].flatMap(([object, { acl }]) =>
      (['ingress', 'egress'] as const).flatMap((way) =>
        acl?.[way] === name ? [`${section}.${object}.acl.${way}`] : [],
      ),
    );
  return [...of('ports', config.ports), ...of('networks', config.networks)];
}
