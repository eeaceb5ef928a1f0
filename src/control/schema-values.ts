/**
 * The words of which the configuration's schema is made: names, quantities, addresses, ranges. Each is a zod type that
 * says in one sentence what it expected. None changes what was written, except that addresses become lower case, so a
 * validated document is itself a document and can be validated again. Pure; runs anywhere.
 */
import { z } from 'zod';
import { parseIp, parseMac, parsePrefix } from '../wire/address.js';
import { bareNumber, parseQuantity, parseRange, type UnitName, units } from './units.js';

/** How two spellings of a value are compared: as quantities of a unit, or as numbers whatever their base. */
export type ValueMeaning = UnitName | 'number';

const shown = (text: string) => (text.length > 64 ? `${text.slice(0, 64)}...` : text);

/** The message for a value that should have been text but is something else. */
function notText(expected: string) {
  return (issue: { input?: unknown }) => {
    if (issue.input === undefined || issue.input === null) return `is missing; expected ${expected}`;
    if (typeof issue.input === 'number') return `expected ${expected}; write "${issue.input}" in quotes if it is one`;
    return `expected ${expected}`;
  };
}

/** Text that a predicate accepts; the pattern is for the JSON Schema only. */
function text(expected: string, accepts: (text: string) => boolean, pattern?: string) {
  const type = z
    .string({ error: notText(expected) })
    .refine(accepts, { error: (issue) => `"${shown(String(issue.input))}" is not ${expected}` });
  return pattern === undefined ? type : type.meta({ pattern });
}

function quantityText(unit: UnitName) {
  const { noun, example, pattern } = units[unit];
  return z
    .string({
      error: ({ input }) =>
        typeof input === 'number' ? bareNumber(unit, input) : `expected a ${noun}, written like ${example}`,
    })
    .superRefine((value, context) => {
      const parsed = parseQuantity(unit, value);
      if ('fault' in parsed) context.addIssue({ code: 'custom', message: parsed.fault });
    })
    .meta({ pattern, meaning: unit satisfies ValueMeaning });
}

/** Refuses quantities below `least`, which is written in the same unit. */
function atLeast(type: z.ZodType<string, string>, unit: UnitName, least: string) {
  const bound = parseQuantity(unit, least);
  return type.refine(
    (value) => {
      const parsed = parseQuantity(unit, value);
      return 'fault' in parsed || 'fault' in bound || parsed.value >= bound.value;
    },
    { error: `is too small; the least is ${least}` },
  );
}

export const duration = (least = '1ms') => atLeast(quantityText('duration'), 'duration', least);
export const rate = () => atLeast(quantityText('rate'), 'rate', '1kbit');
export const size = () => atLeast(quantityText('size'), 'size', '1b');
export const packetRate = () => atLeast(quantityText('packetRate'), 'packetRate', '1pps');
export const share = () => quantityText('share');

/** A whole number between two others. */
export function whole(least: number, most: number, noun = 'a whole number') {
  const range = `expected ${noun} from ${least} to ${most}`;
  const error = ({ input }: { input?: unknown }) => (input === undefined ? `is missing; ${range}` : range);
  return z.int({ error }).min(least, { error: range }).max(most, { error: range });
}

export const flag = () => z.boolean({ error: 'expected true or false' });

/** One of some words; the message suggests the nearest (see validate.ts). */
export const oneOf = <const Words extends readonly [string, ...string[]]>(...words: Words) => z.enum(words);

export const NAME_PATTERN = '^[a-z0-9][a-z0-9_.-]{0,62}$';
const NAME = new RegExp(NAME_PATTERN);
export const NAME_RULE =
  'a name: a-z, 0-9, "_", "." and "-", at most 63 of them, beginning with a letter or a digit (no capitals)';

/** The name of an object, as key of its section. */
export const name = () => text(NAME_RULE, (value) => NAME.test(value), NAME_PATTERN);
/** A name that must be that of an object elsewhere in the document; references.ts looks it up. */
export const reference = (noun: string) => z.string({ error: notText(`the name of ${noun}`) }).max(64);

export const mac = () =>
  text('a MAC address like 52:54:00:00:00:01', (value) => parseMac(value) !== undefined).overwrite((value) =>
    value.toLowerCase().replaceAll('-', ':'),
  );
/** A MAC address that a station can have. */
export const stationMac = () =>
  mac().superRefine((value, context) => {
    const octets = parseMac(value);
    if (octets === undefined) return;
    if ((octets[0] & 1) === 1)
      context.addIssue({ code: 'custom', message: `${value} is a group address, not a station's` });
    if (octets.every((octet) => octet === 0)) context.addIssue({ code: 'custom', message: 'is all zeros' });
  });

export const ip = () => text('an IP address', (value) => parseIp(value) !== undefined).overwrite(lower);
export const cidr = () =>
  text('a prefix like 10.0.0.0/8', (value) => parsePrefix(value) !== undefined).overwrite(lower);
export const interfaceAddress = () =>
  text('an address with its prefix length, like 10.0.0.5/24', (value) => parsePrefix(value) !== undefined).overwrite(
    lower,
  );
export const ipOrCidr = () =>
  text(
    'an IP address or a prefix',
    (value) => parseIp(value) !== undefined || parsePrefix(value) !== undefined,
  ).overwrite(lower);
const lower = (value: string) => value.toLowerCase();

export const ipRange = () =>
  text('two addresses like 10.0.0.100-10.0.0.200', (value) => {
    const ends = value.split('-').map(parseIp);
    return ends.length === 2 && ends[0] !== undefined && ends[0].length === ends[1]?.length;
  });
export const endpoint = () =>
  text('an address and port like 10.0.0.5:80', (value) =>
    /^([0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}(-[0-9]{1,5})?$/.test(value),
  );

/** `80`, `22-25` or a list of those, all within [least, most]. */
export function ranges(least: number, most: number) {
  const expected = `expected a number from ${least} to ${most}, a range like 22-25, or a list of those`;
  const within = (value: string | number) => {
    const range = parseRange(value);
    return range !== undefined && range.first >= least && range.last <= most;
  };
  const one = z.union([z.int(), z.string()]).refine(within, { error: expected });
  return z.union([one, z.array(one).min(1)], { error: expected });
}

/** A name the field knows, or a number. */
export const nameOrNumber = (noun: string, most: number) =>
  z.union([whole(0, most), text(noun, (value) => /^[a-z][a-z0-9-]{0,31}$/.test(value))], {
    error: `expected ${noun} or a number up to ${most}`,
  });

export const vid = (least = 1) => whole(least, 4094, 'a VLAN id');

/** A number that people write in hexadecimal; as text where the notation has no such numbers (JSON). */
const hexText = (accepts: (value: number) => boolean, expected: string) =>
  z
    .union([z.int(), z.string().regex(/^0x[0-9a-f]{1,4}$/i)], { error: expected })
    .refine((value) => accepts(Number(value)), { error: expected });
export const ethertype = () =>
  hexText((value) => value >= 0x600 && value <= 0xffff, 'expected an ethertype like 0x88b5').meta({
    meaning: 'number',
  });
export const optionClass = () =>
  hexText((value) => value >= 0 && value <= 0xffff, 'expected an option class like 0x0102').meta({ meaning: 'number' });
/** Octets in hexadecimal, `most` of them, in whole words of four. */
export const hexWords = (most: number) =>
  text(
    `hexadecimal digits of whole four-octet words, at most ${most} octets`,
    (value) => /^([0-9a-f]{8})*$/i.test(value) && value.length <= 2 * most,
  ).overwrite(lower);
export const tpid = () =>
  hexText((value) => value === 0x88a8 || value === 0x8100, 'expected 0x88a8 or 0x8100').meta({ meaning: 'number' });

/** The name of a Linux interface. "%" would make the kernel invent a name, "/" and ":" it refuses. */
export const deviceName = () =>
  text('the name of an interface', (value) => /^[^\s/:%]{1,63}$/.test(value) && value !== '.' && value !== '..');
export const absolutePath = () => text('an absolute path', (value) => /^\/[^\0]+$/.test(value) && !value.endsWith('/'));
export const plainText = (expected = 'text', most = 255) =>
  text(expected, (value) => value.length > 0 && value.length <= most);
