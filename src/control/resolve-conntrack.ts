/** settings.conntrack with its shares and durations settled. Pure; runs anywhere. */
import { connectionClasses } from '../pipeline/connection-entry.js';
import type { ResolvedConntrack } from './resolved.js';
import type { Config } from './schema.js';
import { quantity } from './units.js';

export function resolveConntrack({
  capacity,
  perPort,
  perNetwork,
  midstream,
  timeouts,
}: Config['settings']['conntrack']): ResolvedConntrack {
  const share = (text: string) => Math.max(1, Math.floor((capacity * quantity('share', text)) / 100));
  return {
    capacity,
    perPort: share(perPort),
    perNetwork: share(perNetwork),
    midstream,
    timeouts: connectionClasses.map((name) => Math.ceil(quantity('duration', timeouts[name]) / 1000)),
  };
}
