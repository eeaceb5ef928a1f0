/** What a switch's connection table holds. */
import type { TestSwitch } from './test-switch.js';

export function usedConnections({ connections }: TestSwitch): number {
  return connections.table.used;
}
