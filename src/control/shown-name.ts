/**
 * Underlay ports are the switch's own: one for each type of tunnel on an underlay, called `u0/vxlan` inside. What operators
 * see is the underlay, which shares one name space with the ports. Pure.
 */
import type { TunnelType } from './resolved.js';

const SEPARATOR = '/';

/** Name of the underlay port inside. No name of the configuration has a slash in it. */
export function underlayPortName(underlay: string, type: TunnelType): string {
  return underlay + SEPARATOR + type;
}

/** What operators call the port. */
export function shownName(port: string): string {
  const end = port.indexOf(SEPARATOR);
  return end < 0 ? port : port.slice(0, end);
}

/** Whether it is one that `port list` has no row of. */
export function isUnderlayPort(port: string): boolean {
  return port.includes(SEPARATOR);
}
