/**
 * Router advertisements of each network (RFC 4861 6.2): what they say, when they are due, and the last one, with lifetimes of
 * zero, when a network's are taken out of the configuration. Pure but for the clock and the dice it is given. Main thread.
 *
 * Beside those that are asked for, each network's stations are told at random times between a third of the interval and the
 * interval, the first three times at most 16 s apart (6.2.4). An answer to a solicitation leaves at once and to the asker
 * only: the delay of 6.2.6 keeps several routers of one link from answering together, and here each port is a link to this
 * one. A daemon that ends says nothing: the machines' routes are to outlive its restart.
 */

import { writeRouterAdvertisement } from '../wire/router-advertisement.js';
import { addressNumber } from './address-range.js';
import type { ResolvedSubnet } from './resolved-subnet.js';
import { virtualMac } from './virtual-mac.js';

/** RFC 4861 section 10. */
const INITIAL_COUNT = 3;
const INITIAL_INTERVAL_MS = 16_000;
/** RFC 4861 6.2.1: MinRtrAdvInterval. */
const INTERVAL_MIN_SHARE = 1 / 3;
/** RFC 8106 5.1: a list of resolvers lives for three intervals. */
const RESOLVERS_INTERVALS = 3;
/** RFC 4862 5.5.3: hosts do not let go of a prefix sooner than this, so less says nothing. */
const PREFIX_VALID_MIN_S = 7200;

interface Advertised {
  readonly subnets: readonly ResolvedSubnet[];
  dueMs: number;
  count: number;
}

export class Advertiser {
  private readonly random: () => number;
  private readonly networks = new Map<string, Advertised>();

  /** `random`: from [0, 1). */
  constructor(random: () => number) {
    this.random = random;
  }

  /** The configuration's subnets. Returns networks whose stations are to be told that it is over, and with what. */
  follow(subnets: Iterable<ResolvedSubnet>, nowMs: number): Map<string, Uint8Array> {
    const wanted = new Map<string, ResolvedSubnet[]>();
    for (const subnet of subnets) {
      if (subnet.ra === undefined) continue;
      const known = wanted.get(subnet.network);
      if (known === undefined) wanted.set(subnet.network, [subnet]);
      else known.push(subnet);
    }
    const over = new Map<string, Uint8Array>();
    for (const [network, { subnets: before }] of this.networks) {
      const now = wanted.get(network) ?? [];
      const gone = before.filter((subnet) => !now.some((one) => isSamePrefix(one, subnet)));
      if (now.length === 0) this.networks.delete(network);
      if (gone.length > 0) over.set(network, advertisementOf(network, now, 1500, gone));
    }
    for (const [network, now] of wanted) {
      const known = this.networks.get(network);
      // What changed is to be known soon.
      const isSame = known !== undefined && isSameList(known.subnets, now);
      if (isSame) this.networks.set(network, { ...known, subnets: now });
      else this.networks.set(network, { subnets: now, dueMs: nowMs, count: 0 });
    }
    return over;
  }

  /** Networks whose stations are to be told now; each is due again later. */
  due(nowMs: number): string[] {
    const names: string[] = [];
    for (const [network, advertised] of this.networks) {
      if (advertised.dueMs > nowMs) continue;
      names.push(network);
      advertised.count++;
      advertised.dueMs = nowMs + this.pause(advertised);
    }
    return names;
  }

  /** The network's advertisement, an ICMPv6 message; undefined when it has none. */
  advertisement(network: string, mtu: number): Uint8Array | undefined {
    const advertised = this.networks.get(network);
    return advertised === undefined ? undefined : advertisementOf(network, advertised.subnets, mtu, []);
  }

  private pause({ subnets, count }: Advertised): number {
    const most = Math.min(...subnets.map(({ ra }) => (ra?.intervalSeconds ?? 0) * 1000));
    const pause = most * (INTERVAL_MIN_SHARE + this.random() * (1 - INTERVAL_MIN_SHARE));
    return count < INITIAL_COUNT ? Math.min(pause, INITIAL_INTERVAL_MS) : pause;
  }
}

/** One for all subnets of the network; prefixes that are `gone` are told to be over. */
function advertisementOf(
  network: string,
  subnets: readonly ResolvedSubnet[],
  mtu: number,
  gone: readonly ResolvedSubnet[],
): Uint8Array {
  const all = subnets.flatMap(({ ra }) => ra ?? []);
  const lifetimeSeconds = Math.max(0, ...all.map((ra) => ra.lifetimeSeconds));
  const interval = Math.min(...all.map((ra) => ra.intervalSeconds), Number.MAX_SAFE_INTEGER);
  const prefixOf = (subnet: ResolvedSubnet, isOver: boolean) => {
    const { mode = 'slaac' } = subnet.ra ?? {};
    // RFC 9096 section 3.1: preferred no longer than the router itself, so that a stale prefix does not stay in use.
    const preferred = Math.max(lifetimeSeconds, RESOLVERS_INTERVALS * (isOver ? 0 : interval));
    return {
      address: subnet.prefix.address,
      length: subnet.prefix.length,
      autonomous: mode !== 'stateful',
      preferredSeconds: isOver ? 0 : preferred,
      validSeconds: isOver ? PREFIX_VALID_MIN_S : Math.max(PREFIX_VALID_MIN_S, 2 * preferred),
    };
  };
  return writeRouterAdvertisement({
    mac: virtualMac(network),
    managed: all.some(({ mode }) => mode === 'stateful'),
    other: all.some(({ mode }) => mode !== 'slaac'),
    lifetimeSeconds,
    mtu,
    prefixes: [...subnets.map((subnet) => prefixOf(subnet, false)), ...gone.map((subnet) => prefixOf(subnet, true))],
    resolvers: all.flatMap(({ rdnss }) => rdnss),
    search: [...new Set(all.flatMap(({ search }) => search))],
    resolversSeconds: all.length === 0 ? 0 : RESOLVERS_INTERVALS * interval,
  });
}

function isSamePrefix(one: ResolvedSubnet, other: ResolvedSubnet): boolean {
  return (
    one.prefix.length === other.prefix.length &&
    addressNumber(one.prefix.address) === addressNumber(other.prefix.address)
  );
}

function isSameList(some: readonly ResolvedSubnet[], others: readonly ResolvedSubnet[]): boolean {
  const text = (list: readonly ResolvedSubnet[]) =>
    JSON.stringify(list.map(({ prefix, ra, gateway }) => [[...prefix.address], prefix.length, ra, gateway]));
  return text(some) === text(others);
}
