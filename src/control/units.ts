/**
 * Quantities as they are written in configuration: durations `300s 5m 2h5m 300ms`, rates `10mbit`, sizes `64kb`, packet
 * rates `1000pps`, shares `25%`, ranges `22-25`. A number without its unit is never guessed at. Pure; runs anywhere.
 *
 * Rates are decimal (1 mbit = 10^6 bit/s) and sizes binary (1 kb = 1024 octets), as tc(8) has them.
 */
import { DURATION_MAX_MS } from '../limits.js';

export interface Unit {
  /** What the quantity is called in messages. */
  readonly noun: string;
  readonly example: string;
  /** Regular expression for the JSON Schema. */
  readonly pattern: string;
  /** Factor of each suffix to the base unit. */
  readonly factors: Readonly<Record<string, number>>;
  readonly max: number;
  /** May be several in a row, as in 2h5m. */
  readonly compound: boolean;
}

const unit = (noun: string, example: string, factors: Record<string, number>, max: number, compound = false): Unit => {
  const one = `[0-9]+(\\.[0-9]+)?(${Object.keys(factors).join('|')})`;
  return { noun, example, factors, max, compound, pattern: compound ? `^(${one})+$` : `^${one}$` };
};

/** Every unit by its name; the base is milliseconds, bit/s, octets, packets a second, percent. */
export const units = {
  duration: unit('duration', '300s', { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }, DURATION_MAX_MS, true),
  rate: unit('rate', '10mbit', { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 }, 1e12),
  size: unit('size', '64kb', { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 }, 2 ** 40),
  packetRate: unit('packet rate', '1000pps', { pps: 1, kpps: 1000, mpps: 1e6 }, 1e9),
  share: unit('share', '25%', { '%': 1 }, 100),
} as const satisfies Record<string, Unit>;
export type UnitName = keyof typeof units;

/** The quantity in its base unit, or why it is none. */
export function parseQuantity(name: UnitName, text: string): { value: number } | { fault: string } {
  const { noun, example, factors, max, compound }: Unit = units[name];
  const shown = text.length > 40 ? `${text.slice(0, 40)}...` : text;
  if (/^[0-9]+(\.[0-9]+)?$/.test(text)) return { fault: bareNumber(name, text) };
  const parts = text.length > 40 ? [] : [...text.matchAll(/([0-9]+(?:\.[0-9]+)?)([a-z%]+)/gy)];
  const read = parts.reduce((length, part) => length + part[0].length, 0);
  const malformed = parts.length === 0 || read !== text.length || (parts.length > 1 && !compound);
  if (malformed) return { fault: `"${shown}" is not a ${noun}; write it like ${example}` };
  let value = 0;
  for (const [, digits, suffix] of parts) {
    if (!Object.hasOwn(factors, suffix)) {
      return { fault: `"${shown}" has an unknown unit; a ${noun} ends in ${Object.keys(factors).join(', ')}` };
    }
    value += Number(digits) * factors[suffix];
  }
  if (value > max) return { fault: `"${shown}" is too large a ${noun}` };
  return { value };
}

/** The message for a number whose unit is missing. */
export function bareNumber(name: UnitName, number: number | string): string {
  const { noun, example } = units[name];
  const suffix = example.replace(/^[0-9.]+/, '');
  return `${number} has no unit; write the ${noun} like ${number}${suffix}`;
}

/** The quantity in its base unit. The text was validated before; a fault here is a defect of the switch. */
export function quantity(name: UnitName, text: string): number {
  const parsed = parseQuantity(name, text);
  if ('fault' in parsed) throw new TypeError(`unvalidated quantity: ${parsed.fault}`);
  return parsed.value;
}

/** A range of numbers, both ends in it: `80`, `22-25`. Undefined if the text is none or it runs backwards. */
export function parseRange(text: string | number): { first: number; last: number } | undefined {
  const match = /^([0-9]{1,10})(?:-([0-9]{1,10}))?$/.exec(String(text));
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  return last < first ? undefined : { first, last };
}
