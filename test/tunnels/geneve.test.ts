import { describe, expect, test } from 'vitest';
import { geneve } from '../../src/tunnels/geneve.js';
import { type TunnelForm, tunnelKindSuite } from '../suites/tunnel-kind.js';

/** An option of a class for experiments, its value counting up. */
function option(type: number, words: number): number[] {
  const value = Array.from({ length: 4 * words }, (_, index) => index + 1);
  return [0xff, 0x01, type, words, ...value];
}

function form(name: string, options: readonly number[], isCritical = false): TunnelForm {
  return {
    name,
    flags: 1,
    options,
    hasId: true,
    isSummed: false,
    header: (id) => [
      options.length / 4,
      isCritical ? 0x40 : 0,
      0x65,
      0x58,
      id >> 16,
      (id >> 8) & 0xff,
      id & 0xff,
      0,
      ...options,
    ],
  };
}

/** A header that says `words` of options in front of these octets. */
const lying = (words: number, ...options: number[]) => [words, 0, 0x65, 0x58, 0, 0, 7, 0, ...options];
const longest = [...option(1, 31), ...option(2, 30)];

describe('a Geneve header', () => {
  tunnelKindSuite({
    kind: geneve,
    type: 'geneve',
    protocol: 'udp',
    defaultPort: 6081,
    forms: [
      form('without options', []),
      form('with an option without a value', option(0x01, 0)),
      form('with several options', [...option(0x7f, 3), ...option(0x10, 0), ...option(0, 31)]),
      form('with as many options as there may be', longest),
    ],
    idMax: 0xff_ffff,
    ignoredBits: [0, 0x7f, 0, 0, 0, 0, 0, 0xff],
    refusedBits: [0xc0, 0x80, 0xff, 0xff, 0, 0, 0, 0],
    idBits: [0, 0, 0, 0, 0xff, 0xff, 0xff, 0],
    vectors: [
      { name: 'with options nobody knows is accepted', octets: lying(3, ...option(1, 0), ...option(2, 1)) },
      { name: 'with reserved bits in an option is accepted', octets: lying(2, 0xff, 1, 1, 0xe1, 1, 2, 3, 4) },
      { name: 'with a critical option is refused', octets: lying(1, ...option(0x80, 0)), reason: 'tunnel_option' },
      {
        name: 'with a critical option behind others is refused',
        octets: lying(5, ...option(1, 2), ...option(0xff, 1)),
        reason: 'tunnel_option',
      },
      {
        name: 'that says it has critical options, and has none that is, is accepted',
        octets: [1, 0x40, 0x65, 0x58, 0, 0, 7, 0, ...option(1, 0)],
      },
      {
        name: 'with an option that ends behind the options is refused',
        octets: lying(2, ...option(1, 2)),
        reason: 'tunnel_bad_header',
      },
      {
        name: 'with a critical option that ends behind the options is malformed before it is critical',
        octets: lying(1, 0xff, 1, 0x80, 31),
        reason: 'tunnel_bad_header',
      },
      {
        name: 'with more options than the datagram has is refused',
        octets: lying(63, ...option(1, 3)),
        reason: 'tunnel_bad_header',
      },
      {
        name: 'of a control message is refused',
        octets: [0, 0x80, 0x65, 0x58, 0, 0, 7, 0],
        reason: 'tunnel_bad_header',
      },
      { name: 'for IPv4 packets is refused', octets: [0, 0, 0x08, 0x00, 0, 0, 7, 0], reason: 'tunnel_bad_header' },
      { name: 'of version 1 is refused', octets: [0x40, 0, 0x65, 0x58, 0, 0, 7, 0], reason: 'tunnel_bad_header' },
    ],
  });

  test('that is sent with critical options says so', () => {
    const critical = form('critical', [...option(1, 1), ...option(0x90, 1)], true);
    const arena = new Uint8Array(64).fill(0xa5);
    const options = Uint8Array.from(critical.options);
    const settings = { id: 0x123456, flags: 1, sequence: 0, options, optionsStart: 0, optionsSize: options.length };
    const start = geneve.write(arena, 40, 64, settings);
    expect([...arena.subarray(start, 40)]).toEqual(critical.header(0x123456, 0, arena));
  });
});
