/**
 * Which translated connections the configuration still allows: one whose floating address, forward or outside address is gone
 * is cut, and one that came in by a mapped port as far as filtering would keep it out now. What would be translated otherwise
 * now is not: a machine that is given a floating address keeps the connections it has by SNAT until they end, as in Neutron,
 * and begins new ones by the floating address. Main thread.
 */

import type { ConnectionTranslation } from '../pipeline/connection-control.js';
import {
  ENTERED_BY_MAPPING,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  LOWER_IS_ORIGINAL,
} from '../pipeline/connection-entry.js';
import { ipText, ipWordsText } from '../wire/address.js';
import { swap32 } from '../wire/octets.js';
import { routerZone } from './compile-nat.js';
import { hidingAddresses, type Indices } from './indices.js';
import type { ResolvedConfig, ResolvedRouter } from './resolved.js';

type Translation = ConnectionTranslation;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Sender and receiver of what has this key, of which the state says whether the lower endpoint sends. */
export function endpointsOf(key: Int32Array, state: number): readonly [Endpoint, Endpoint] {
  const lower = { address: wordsText(key, KEY_LOWER), port: key[KEY_PORTS]! >>> 16 };
  const higher = { address: wordsText(key, KEY_HIGHER), port: key[KEY_PORTS]! & 0xffff };
  return (state & LOWER_IS_ORIGINAL) !== 0 ? [lower, higher] : [higher, lower];
}

/** The address that is four words in network order. */
export function wordsText(key: Int32Array, at: number): string {
  return ipWordsText(key.slice(at, at + 4).map(swap32));
}

/** By zone, what is still translated so. */
export function allowedTranslations(config: ResolvedConfig, indices: Indices): (one: Translation) => boolean {
  const routers = new Map(
    [...config.routers].flatMap(([name, router]) => {
      const index = indices.router(name);
      return index === undefined ? [] : [[routerZone(index), rulesOf(router)] as const];
    }),
  );
  return (one) => routers.get(one.key[KEY_ZONE]! >>> 16)?.(one) ?? false;
}

function rulesOf(router: ResolvedRouter): (one: Translation) => boolean {
  const floating = new Map(router.floating.map(({ outside, inside }) => [ipText(outside), ipText(inside)]));
  const hiding = new Set(hidingAddresses(router).map((address) => ipText(address)));
  const isForwarded = (protocol: number, from: Endpoint, to: Endpoint) =>
    router.forwards.some(
      (one) =>
        one.protocol === protocol &&
        ipText(one.outside) === from.address &&
        from.port >= one.ports.first &&
        from.port <= one.ports.last &&
        ipText(one.inside) === to.address &&
        to.port === one.port + (one.follows ? from.port - one.ports.first : 0),
    );
  return ({ key, state, translated, translatedState, contact }) => {
    const [source, destination] = endpointsOf(key, state);
    const [inside, outside] = endpointsOf(translated, translatedState);
    const protocol = (key[KEY_ZONE]! >>> 8) & 0xff;
    const isSourceRight =
      source.address === outside.address ||
      floating.get(outside.address) === source.address ||
      hiding.has(outside.address);
    // Its sender is inside, and hidden: filtering is not asked.
    const isHairpin = source.address !== outside.address;
    const isDestinationRight =
      destination.address === inside.address ||
      floating.get(destination.address) === inside.address ||
      isForwarded(protocol, destination, inside) ||
      ((translatedState & ENTERED_BY_MAPPING) !== 0 &&
        hiding.has(destination.address) &&
        (isHairpin || isLetIn(router, contact)));
    return isSourceRight && isDestinationRight;
  };
}

/** Whether what was let in from outside by a mapped port would be now. */
function isLetIn({ external }: ResolvedRouter, contact: number): boolean {
  if (external?.filtering === 'address-dependent') return contact !== 0;
  return external?.filtering === 'endpoint-independent';
}
