/** How results look on a terminal: aligned tables, and numbers a person can compare at a glance. No state. */
import type { Rate } from './shapes.js';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** A cell without what would move the cursor: nothing that a name or a message holds may speak to the terminal. */
export function plainText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

/** Columns two spaces apart, no trailing spaces; a title line, then the rows. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const cells = [columns.map((column) => column.title), ...rows.map((row) => row.map(plainText))];
  const widths = columns.map((_, index) => cells.reduce((widest, row) => Math.max(widest, row[index]!.length), 0));
  return cells
    .map((row) =>
      row
        .map((cell, index) => pad(cell, widths[index]!, columns[index]!.align))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `name   value` lines with the values aligned. */
export function formatFields(fields: readonly (readonly [string, string])[]): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields.map(([name, value]) => `${pad(name, width)}  ${plainText(value)}`.trimEnd()).join('\n');
}

function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  return align === 'right' ? text.padStart(width) : text.padEnd(width);
}

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P'];

/** `1.23 M` + unit: three significant digits and a decimal prefix. */
function scaled(value: number, unit: string): string {
  let rest = value;
  let prefix = 0;
  while (rest >= 999.5 && prefix < PREFIXES.length - 1) {
    rest /= 1000;
    prefix++;
  }
  const digits = rest >= 99.95 || (prefix === 0 && Number.isInteger(rest)) ? 0 : rest >= 9.995 ? 1 : 2;
  const number = rest.toFixed(digits);
  return `${number} ${PREFIXES[prefix]}${unit}`.trimEnd();
}

/** 1.23 Mpps */
export function packetRate(framesPerSecond: number): string {
  return scaled(Math.round(framesPerSecond), 'pps');
}

/** 3.40 Gbit/s */
export function bitRate(bitsPerSecond: number): string {
  return scaled(Math.round(bitsPerSecond), 'bit/s');
}

export function rateText(rate: Rate): string {
  return `${packetRate(rate.framesPerSecond)}  ${bitRate(rate.bitsPerSecond)}`;
}

/** Counters: exact to six digits, then 12.3 M. */
export function countText(count: number): string {
  return count < 1_000_000 ? String(count) : scaled(count, '');
}

/** 1.50 GB */
export function sizeText(octets: number): string {
  return scaled(octets, 'B');
}

/** The two largest units: 3d 4h, 12m 5s, 7s. */
export function durationText(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${whole % 60}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${Math.floor((whole % 3600) / 60)}m`;
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3600)}h`;
}

export function shareText(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** `1 port`, `2 ports` */
export function plural(count: number, word: string, many = `${word}s`): string {
  return `${count} ${count === 1 ? word : many}`;
}
