import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bareNumber, parseQuantity, parseRange, quantity } from '../../src/control/units.js';

describe('quantities', () => {
  test.each([
    ['duration', '300s', 300_000],
    ['duration', '300ms', 300],
    ['duration', '2h5m', 7_500_000],
    ['duration', '1.5s', 1500],
    ['duration', '1d', 86_400_000],
    ['rate', '10mbit', 10_000_000],
    ['rate', '1.5gbit', 1_500_000_000],
    ['size', '64kb', 65_536],
    ['size', '1b', 1],
    ['packetRate', '1000pps', 1000],
    ['packetRate', '2kpps', 2000],
    ['share', '25%', 25],
  ] as const)('a %s of %s is %d in its base unit', (unit, text, value) => {
    expect(quantity(unit, text)).toBe(value);
  });

  test.each([
    ['duration', '300', '300 has no unit; write the duration like 300s'],
    ['rate', '10', '10 has no unit; write the rate like 10mbit'],
    ['duration', '5 m', '"5 m" is not a duration; write it like 300s'],
    ['duration', '-5s', '"-5s" is not a duration; write it like 300s'],
    ['duration', '', '"" is not a duration; write it like 300s'],
    ['rate', '10Mbit', '"10Mbit" is not a rate; write it like 10mbit'],
    ['rate', '10mbps', '"10mbps" has an unknown unit; a rate ends in bit, kbit, mbit, gbit'],
    ['size', '1kb1b', '"1kb1b" is not a size; write it like 64kb'],
    ['size', '64constructor', '"64constructor" has an unknown unit; a size ends in b, kb, mb, gb'],
    ['share', '101%', '"101%" is too large a share'],
    ['duration', '999999d', '"999999d" is too large a duration'],
  ] as const)('as a %s, "%s" is refused with its reason', (unit, text, fault) => {
    expect(parseQuantity(unit, text)).toEqual({ fault });
  });

  test('a long text costs nothing and is shown cut off', () => {
    const parsed = parseQuantity('duration', '1s'.repeat(100_000));
    expect(parsed).toHaveProperty('fault');
    expect(JSON.stringify(parsed).length).toBeLessThan(120);
  });

  test('parts of a duration add up in any number', () => {
    fc.assert(
      fc.property(fc.nat(100), fc.nat(59), fc.nat(59), (hours, minutes, seconds) => {
        expect(quantity('duration', `${hours}h${minutes}m${seconds}s`)).toBe(
          ((hours * 60 + minutes) * 60 + seconds) * 1000,
        );
      }),
    );
  });

  test('a number that lacks its unit is shown with one', () => {
    expect(bareNumber('packetRate', 5)).toBe('5 has no unit; write the packet rate like 5pps');
  });

  test('a quantity that was not validated is a defect', () => {
    expect(() => quantity('duration', 'soon')).toThrow(TypeError);
  });
});

describe('ranges', () => {
  test.each([
    ['80', { first: 80, last: 80 }],
    [80, { first: 80, last: 80 }],
    ['22-25', { first: 22, last: 25 }],
    ['25-22', undefined],
    ['22-', undefined],
    ['-22', undefined],
    ['2 2', undefined],
    ['', undefined],
  ])('%j is %j', (text, range) => {
    expect(parseRange(text)).toEqual(range);
  });
});
