/** What a switch of the tests hands over to the main thread. */
import type { Punt, PuntedFrame } from '../../src/pipeline/punt-ring.js';

/** Takes whatever comes and keeps it in `handed`, in order. */
export function recordPunts(): { punt: Punt; handed: PuntedFrame[] } {
  const handed: PuntedFrame[] = [];
  const punt: Punt = {
    put(octets, start, length, kind, member, tunnel) {
      handed.push({ octets: octets.slice(start, start + length), kind, member, tunnel });
      return true;
    },
  };
  return { punt, handed };
}
