/**
 * What routers translate, with addresses and ports parsed, and what must hold for it: floating addresses and forwards have an
 * outside to be reached from, no outside address or port leads to two places, and none is also inside. Pure.
 */
import { ipText, parseIp, prefixContains } from '../wire/address.js';
import type { ConfigFault, ConfigPath } from './config-path.js';
import { protocolNumbers } from './protocol-names.js';
import type {
  NumberRange,
  ResolvedExternal,
  ResolvedFloating,
  ResolvedForward,
  ResolvedRouterInterface,
} from './resolved.js';
import type { RouterConfig } from './schema.js';
import { parseRange } from './units.js';

type ForwardConfig = NonNullable<RouterConfig['forwards']>[number];

export function resolveExternal(external: NonNullable<RouterConfig['external']>): ResolvedExternal {
  const { network, snat, pool, mapping, filtering, perVm } = external;
  return { network, snat, pool: merged(rangesOf(pool)), mapping, filtering, perVm };
}

export function resolveNat(
  router: RouterConfig,
  interfaces: readonly ResolvedRouterInterface[],
  at: ConfigPath,
  faults: ConfigFault[],
): { floating: ResolvedFloating[]; forwards: ResolvedForward[] } {
  const outer = interfaces.find(({ isExternal }) => isExternal);
  for (const key of ['floating', 'forwards'] as const) {
    const given = router[key];
    if (outer === undefined && given !== undefined && Object.keys(given).length > 0)
      faults.push({ path: [...at, key], message: 'needs external: there is no outside to be reached from' });
  }
  if (outer === undefined) return { floating: [], forwards: [] };
  const inner = interfaces.filter(({ isExternal }) => !isExternal);
  const floating = resolveFloating(router, outer, inner, at, faults);
  const forwards = resolveForwards(router, outer, inner, floating, at, faults);
  return { floating, forwards };
}

const text = (address: Uint8Array) => ipText(address);
const has = (one: ResolvedRouterInterface, address: Uint8Array) =>
  one.addresses.some((prefix) => text(prefix.address) === text(address));
const covers = (one: ResolvedRouterInterface, address: Uint8Array) =>
  one.addresses.some((prefix) => prefixContains(prefix, address));

function resolveFloating(
  router: RouterConfig,
  outer: ResolvedRouterInterface,
  inner: readonly ResolvedRouterInterface[],
  at: ConfigPath,
  faults: ConfigFault[],
): ResolvedFloating[] {
  const owners = new Map<string, string>();
  const outsides = new Set<string>();
  return Object.entries(router.floating ?? {}).flatMap(([outsideText, insideText]) => {
    const path = [...at, 'floating', outsideText];
    const outside = parseIp(outsideText);
    const inside = parseIp(insideText);
    if (outside === undefined || inside === undefined) return [];
    const fault = (message: string) => faults.push({ path, message });
    if (outside.length !== inside.length) fault('both addresses must be of one IP version');
    else if (has(outer, outside)) fault(`${text(outside)} is the router's own address`);
    else if (outsides.has(text(outside))) fault(`${text(outside)} is there twice`);
    else if (!isPlace(outside, inside, inner)) fault(`${text(inside)} can't be behind ${text(outside)}`);
    else if (owners.has(text(inside))) fault(`${text(inside)} has ${owners.get(text(inside))} already`);
    else {
      owners.set(text(inside), text(outside));
      outsides.add(text(outside));
      return [{ outside, inside }];
    }
    return [];
  });
}

/** Whether the one may stand for the other: the outside address is not inside, the inside one is a station's. */
function isPlace(outside: Uint8Array, inside: Uint8Array, inner: readonly ResolvedRouterInterface[]): boolean {
  return !inner.some((one) => covers(one, outside)) && !inner.some((one) => has(one, inside));
}

function resolveForwards(
  router: RouterConfig,
  outer: ResolvedRouterInterface,
  inner: readonly ResolvedRouterInterface[],
  floating: readonly ResolvedFloating[],
  at: ConfigPath,
  faults: ConfigFault[],
): ResolvedForward[] {
  const all: ResolvedForward[] = [];
  for (const [index, forward] of (router.forwards ?? []).entries()) {
    const path = [...at, 'forwards', index];
    const fault = (message: string) => void faults.push({ path, message });
    const target = targetOf(forward);
    if (target === undefined) fault(`${forward.to} has no ports from 1 to 65535`);
    const outside = outsideOf(forward, outer, target?.inside);
    if (target === undefined || outside === undefined) {
      if (target !== undefined) fault('no outside address of the same IP version');
      continue;
    }
    if (floating.some((one) => text(one.outside) === text(outside)))
      fault(`${text(outside)} floats: it can't have forwards too`);
    else if (!isPlace(outside, target.inside, inner)) fault(`${text(target.inside)} can't be behind ${text(outside)}`);
    else for (const one of rowsOf(forward, outside, target, fault)) addForward(one, all, fault);
  }
  return all;
}

function addForward(one: ResolvedForward, all: ResolvedForward[], fault: (message: string) => void): void {
  const other = all.find(
    ({ protocol, outside, ports }) =>
      protocol === one.protocol &&
      text(outside) === text(one.outside) &&
      ports.first <= one.ports.last &&
      one.ports.first <= ports.last,
  );
  if (other === undefined) all.push(one);
  else fault(`ports ${one.ports.first}-${one.ports.last} of ${text(one.outside)} are forwarded already`);
}

interface Target {
  readonly inside: Uint8Array;
  readonly first: number;
  readonly last: number;
}

function targetOf({ to }: ForwardConfig): Target | undefined {
  const [, bare, bracketed, first, last] = /^(?:([0-9.]+)|\[(.+)\]):([0-9]+)(?:-([0-9]+))?$/.exec(to) ?? [];
  const inside = parseIp(bare ?? bracketed ?? '');
  if (inside === undefined || first === undefined) return undefined;
  const target = { inside, first: Number(first), last: Number(last ?? first) };
  return target.first >= 1 && target.last <= 65_535 && target.first <= target.last ? target : undefined;
}

function outsideOf(
  { address }: ForwardConfig,
  outer: ResolvedRouterInterface,
  inside: Uint8Array | undefined,
): Uint8Array | undefined {
  const given = address === undefined ? undefined : parseIp(address);
  const all = given === undefined ? outer.addresses.map((prefix) => prefix.address) : [given];
  return all.find(({ length }) => length === inside?.length);
}

/** Of one inside port, all outside ones lead to it; otherwise there must be as many, in order. */
function rowsOf(
  forward: ForwardConfig,
  outside: Uint8Array,
  { inside, first, last }: Target,
  fault: (message: string) => void,
): ResolvedForward[] {
  const ranges = rangesOf(forward.port);
  const count = ranges.reduce((sum, range) => sum + range.last - range.first + 1, 0);
  const follows = last !== first;
  if (follows && count !== last - first + 1) {
    fault(`${count} outside ports can't lead to ${last - first + 1} inside ones`);
    return [];
  }
  let port = first;
  return ranges.map((ports) => {
    const row = { protocol: protocolNumbers.get(forward.proto) ?? 0, outside, ports, inside, port, follows };
    if (follows) port += ports.last - ports.first + 1;
    return row;
  });
}

function rangesOf(given: string | number | readonly (string | number)[]): NumberRange[] {
  const list = Array.isArray(given) ? given : [given];
  return list.flatMap((one: string | number) => {
    const range = parseRange(one);
    return range === undefined ? [] : [{ first: range.first, last: range.last }];
  });
}

/** In order, what touches or overlaps as one. */
function merged(ranges: readonly NumberRange[]): NumberRange[] {
  const sorted = [...ranges].sort((one, other) => one.first - other.first);
  const result: NumberRange[] = [];
  for (const range of sorted) {
    const before = result.at(-1);
    if (before === undefined || range.first > before.last + 1) result.push(range);
    else result[result.length - 1] = { first: before.first, last: Math.max(before.last, range.last) };
  }
  return result;
}
