import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { classlessRoutes, type DhcpReply, domainNames, readDhcp, writeDhcp } from '../../src/wire/dhcp-message.js';
import { dhcpMessage } from './address-frames.js';

/** Reads the message where memory around it is 0xa5. */
function read(message: Uint8Array, end = message.length) {
  const octets = new Uint8Array(message.length + 512).fill(0xa5);
  octets.set(message, 64);
  return readDhcp(octets, 64, 64 + end);
}

/** A message whose options field is exactly this. */
function withOptions(field: readonly number[]): Uint8Array {
  const whole = dhcpMessage({ type: 1 }).subarray(0, 240);
  return Uint8Array.of(...whole, ...field);
}

const reply = (options: DhcpReply['options'], file = ''): DhcpReply => ({
  xid: 0xdead_beef,
  flags: 0x8000,
  ciaddr: 0,
  yiaddr: 0xc000_0205,
  siaddr: 0,
  giaddr: 0xc633_6401,
  chaddr: Uint8Array.of(0x52, 0x54, 0, 0, 0, 1, ...new Uint8Array(10)),
  hardwareSize: 6,
  file,
  options,
});

describe('what is read', () => {
  test('has its fields and options', () => {
    const options = [
      [50, [192, 0, 2, 5]],
      [55, [1, 3, 6]],
    ] as const;
    const found = read(
      dhcpMessage({ type: 3, xid: 7, flags: 0x8000, ciaddr: '192.0.2.9', giaddr: '198.51.100.1', options }),
    );
    expect(found).toMatchObject({ op: 1, xid: 7, flags: 0x8000, ciaddr: 0xc000_0209, giaddr: 0xc633_6401, type: 3 });
    expect([...(found?.options.get(55) ?? [])]).toEqual([1, 3, 6]);
  });

  test('is none when it ends early: at every octet there is a verdict and nothing behind the end is read', () => {
    const whole = withOptions([53, 1, 1, 50, 4, 192, 0, 2, 5, 255]);
    for (let end = 0; end < whole.length; end++) {
      const found = read(whole, end);
      // Between two options a message may end without END.
      if (![240, 243, 249].includes(end)) expect(found, `${end} octets`).toBeUndefined();
    }
  });

  test('is none when an option of any length is longer than its field', () => {
    for (let length = 0; length < 256; length++) {
      const found = read(withOptions([53, 1, 1, 61, length, 1, 2, 3, 4]));
      // What is left behind a shorter one is read as options, too.
      const rest = [1, 2, 3, 4].slice(length);
      const isSound = length <= 4 && (rest.length === 0 || (rest.length >= 2 && rest[1] === rest.length - 2));
      expect(found !== undefined, `length ${length}`).toBe(isSound);
    }
  });

  test('joins the parts of one option (RFC 3396)', () => {
    const found = read(withOptions([53, 1, 1, 61, 2, 1, 2, 61, 2, 3, 4, 255]));
    expect([...(found?.options.get(61) ?? [])]).toEqual([1, 2, 3, 4]);
  });

  test('goes on in the fields that option 52 names, and nowhere else', () => {
    const message = withOptions([53, 1, 1, 52, 1, 3, 255]);
    message.set([50, 4, 192, 0, 2, 5, 255], 108);
    message.set([12, 1, 0x61, 52, 1, 3, 255], 44);
    expect([...(read(message)?.options.get(50) ?? [])]).toEqual([192, 0, 2, 5]);
    expect([...(read(message)?.options.get(12) ?? [])]).toEqual([0x61]);
    message.set([52, 1, 1], 243);
    expect(read(message)?.options.has(12)).toBe(false);
    for (const wrong of [0, 4, 255]) {
      message[245] = wrong;
      expect(read(message), `overload ${wrong}`).toBeUndefined();
    }
    message.set([52, 1, 3], 243);
    message.set([50, 200], 108);
    expect(read(message)).toBeUndefined();
  });

  test('is none without the cookie (BOOTP), or with a hardware address longer than its field', () => {
    const message = dhcpMessage({ type: 1 });
    message[236] = 0;
    expect(read(message)).toBeUndefined();
    expect(
      read(Uint8Array.from(dhcpMessage({ type: 1 }), (octet, index) => (index === 2 ? 17 : octet))),
    ).toBeUndefined();
  });

  test('whatever octets come, there is a verdict', () => {
    const random = fc.uint8Array({ maxLength: 400 });
    fc.assert(fc.property(random, (tail) => void read(withOptions([...tail]))));
    fc.assert(fc.property(random, (octets) => void read(octets)));
  });
});

describe('what is written', () => {
  const option = fc
    .tuple(fc.integer({ min: 1, max: 254 }), fc.uint8Array({ minLength: 1, maxLength: 300 }))
    .filter(([code]) => code !== 52 && code !== 53);

  test('reads back the same, whatever options there are room for', () => {
    fc.assert(
      fc.property(fc.uniqueArray(option, { maxLength: 4, selector: ([code]) => code }), (options) => {
        const all = [[53, Uint8Array.of(2)] as const, ...options];
        const octets = writeDhcp(reply(all), 1472);
        const back = readDhcp(octets, 0, octets.length);
        for (const [code, value] of all) expect([...(back?.options.get(code) ?? [])]).toEqual([...value]);
      }),
    );
  });

  test('uses the file and sname fields when the options field is too short, and says so', () => {
    const options = Array.from({ length: 5 }, (_, index) => [200 + index, new Uint8Array(90).fill(index)] as const);
    const octets = writeDhcp(reply([[53, Uint8Array.of(5)], ...options], 'boot'), 548);
    expect(octets.length).toBeLessThanOrEqual(548);
    const back = readDhcp(octets, 0, octets.length);
    expect(back?.options.get(52)).toEqual(Uint8Array.of(1));
    expect([...(back?.options.keys() ?? [])].filter((code) => code >= 200)).toHaveLength(4);
  });

  test('has no octet that was not meant: everything else is zero', () => {
    const octets = writeDhcp(reply([[53, Uint8Array.of(2)]]), 548);
    expect(octets).toHaveLength(300);
    const meant = new Set([0, 1, 2, 10, 11, ...range(4, 8), ...range(16, 20), ...range(24, 34), ...range(236, 244)]);
    for (const [index, octet] of octets.entries()) if (!meant.has(index)) expect(octet, `octet ${index}`).toBe(0);
  });

  test('has routes with the significant octets of their prefixes, and names label by label', () => {
    const routes = classlessRoutes([
      { destination: 0, prefixLength: 0, via: 0xc000_0201 },
      { destination: 0xc633_6400, prefixLength: 25, via: 0xc000_0202 },
    ]);
    expect([...routes]).toEqual([0, 192, 0, 2, 1, 25, 198, 51, 100, 0, 192, 0, 2, 2]);
    expect(Buffer.from(domainNames(['a.example', 'b'])).toString('latin1')).toBe('\x01a\x07example\0\x01b\0');
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
