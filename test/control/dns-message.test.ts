/** DNS messages: questions that are right, that lie, and that are cut off anywhere; answers as another reader sees them. */
import { decode, encode } from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DNS_FORMAT_ERROR,
  DNS_NO_ERROR,
  DNS_NOT_IMPLEMENTED,
  type DnsQuery,
  isAnswerTo,
  readQuery,
  truncated,
  writeFault,
  writeReply,
} from '../../src/control/dns-message.js';

/** A question written octet by octet. */
function question(name: string, { type = 1, id = 0x1234, flags = 0x0100, additional = [] as number[] } = {}) {
  const labels = name === '' ? [] : name.split('.');
  const octets = labels.flatMap((label) => [label.length, ...Buffer.from(label)]);
  const count = additional.length > 0 ? 1 : 0;
  const head = [id >> 8, id & 255, flags >> 8, flags & 255, 0, 1, 0, 0, 0, 0, 0, count];
  return Uint8Array.from([...head, ...octets, 0, type >> 8, type & 255, 0, 1, ...additional]);
}

const option = (size: number, version = 0, isDnssecOk = false) => [
  ...[0, 0, 41, size >> 8, size & 255, 0, version, isDnssecOk ? 0x80 : 0, 0, 0, 0],
];

function read(message: Uint8Array): DnsQuery {
  const query = readQuery(message);
  if (query === undefined || 'code' in query) throw new Error('no question');
  return query;
}

describe('a question', () => {
  test('is read, its name in lower case and its octets as they came', () => {
    const message = question('Vm1.Example.ORG', { type: 28 });
    expect(read(message)).toMatchObject({
      id: 0x1234,
      flags: 0x0100,
      name: 'vm1.example.org',
      type: 28,
      class: 1,
      size: 512,
      isExtended: false,
    });
    expect(read(message).question).toEqual(message.slice(12));
    expect(read(question('')).name).toBe('');
  });

  test('says how much its asker takes', () => {
    const query = read(question('a.b', { additional: option(4096, 0, true) }));
    expect(query).toMatchObject({ size: 4096, isExtended: true, isDnssecOk: true, version: 0 });
    expect(read(question('a', { additional: option(100) })).size).toBe(512);
    expect(read(question('a', { additional: option(1232, 1) })).version).toBe(1);
  });

  test('whose every octet behind any is cut off is a fault or nothing, and no throw', () => {
    const message = question('vm1.example.org', { additional: option(1232) });
    for (let end = 0; end < message.length; end++) {
      const answer = readQuery(message.slice(0, end));
      if (end < 12) expect(answer).toBeUndefined();
      else expect(answer).toMatchObject({ code: DNS_FORMAT_ERROR, id: 0x1234 });
    }
  });

  const lies: Record<string, Uint8Array> = {
    'with a pointer to itself': question('a').fill(0xc0, 12, 13).fill(12, 13, 14),
    'with a pointer forwards': Uint8Array.from([...question('').slice(0, 12), 0xc0, 14, 0, 0, 1, 0, 1]),
    'with a pointer into its header': Uint8Array.from([...question('').slice(0, 12), 0xc0, 0, 0, 1, 0, 1]),
    'with a label of a kind that is none': Uint8Array.from([...question('').slice(0, 12), 0x40, 0, 0, 1, 0, 1]),
    'with a name too long': question(Array.from({ length: 130 }, () => 'a').join('.')),
    'with two questions': question('a').fill(2, 5, 6),
    'without a question': question('a').fill(0, 5, 6),
    'with 65,535 answers': question('a').fill(255, 6, 8),
    'with 65,535 authorities': question('a').fill(255, 8, 10),
    'with 65,535 additional records': question('a').fill(255, 10, 12),
    'with an additional record that is not there': question('a').fill(1, 11, 12),
    'with two OPT records': question('a', { additional: [...option(1232), ...option(1232)] }).fill(2, 11, 12),
    'with an option longer than the message': question('a', {
      additional: [...option(1232).slice(0, 9), 0, 9, 0, 3, 0, 200, 1],
    }),
    'with an additional name in a loop': question('a', { additional: [0xc0, 18 + 1, 0xc0, 18 - 1, 0, 41, 0, 0, 0, 0] }),
  };
  test.each(Object.entries(lies))('%s is a format error', (_, message) => {
    expect(readQuery(message)).toMatchObject({ code: DNS_FORMAT_ERROR });
  });

  test('that is an answer is not heard, and of another opcode not understood', () => {
    expect(readQuery(question('a', { flags: 0x8100 }))).toBeUndefined();
    const notify = readQuery(question('a', { flags: 0x2000 }));
    expect(notify).toMatchObject({ code: DNS_NOT_IMPLEMENTED });
    if (notify === undefined || !('code' in notify)) throw new Error('no fault');
    expect(decode(Buffer.from(writeFault(notify)))).toMatchObject({ id: 0x1234, rcode: 'NOTIMP', opcode: 'NOTIFY' });
  });

  test('of any octets is read without a throw, and quickly', () => {
    const head = fc.constant([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 4]);
    const octets = fc.tuple(head, fc.array(fc.constantFrom(0, 1, 12, 63, 0xc0, 0xff, 0x29), { maxLength: 500 }));
    fc.assert(
      fc.property(octets, ([start, rest]) => {
        const answer = readQuery(Uint8Array.from([...start, ...rest]));
        expect(answer === undefined || 'code' in answer || answer.question.length >= 5).toBe(true);
      }),
    );
  });
});

describe('an answer', () => {
  const answers = [{ type: 'A' as const, name: 'vm1.example.org', ttl: 60, data: '192.0.2.5' }];

  test('echoes the question, and another reader finds its records', () => {
    const message = question('VM1.example.org', { additional: option(1232, 0, true) });
    const written = writeReply(
      read(message),
      { code: DNS_NO_ERROR, isAuthoritative: true, recurses: true, answers },
      512,
    );
    expect(written.slice(12, message.length - 11)).toEqual(message.slice(12, -11));
    expect(decode(Buffer.from(written))).toMatchObject({
      id: 0x1234,
      type: 'response',
      rcode: 'NOERROR',
      flag_aa: true,
      flag_rd: true,
      flag_ra: true,
      flag_tc: false,
      answers,
      additionals: [{ type: 'OPT', udpPayloadSize: 1232, flag_do: true, options: [] }],
    });
  });

  test('that does not fit says so, and has a question and an OPT record only', () => {
    const many = Array.from({ length: 40 }, (_, index) => ({ ...answers[0], data: `192.0.2.${index}` }));
    const query = read(question('vm1.example.org', { additional: option(1232) }));
    const reply = { code: DNS_NO_ERROR, recurses: false, answers: many as typeof answers };
    const short = writeReply(query, reply, 512);
    expect(short.length).toBeLessThan(60);
    expect(decode(Buffer.from(short))).toMatchObject({ flag_tc: true, answers: [], additionals: [{ type: 'OPT' }] });
    expect(decode(Buffer.from(writeReply(query, reply, 4096))).answers).toHaveLength(40);
  });

  test('with an extended code has its upper bits in the OPT record', () => {
    const query = read(question('a', { additional: option(1232, 3) }));
    const written = decode(Buffer.from(writeReply(query, { code: 16, recurses: false }, 512)));
    expect(written).toMatchObject({ rcode: 'NOERROR', additionals: [{ extendedRcode: 1, ednsVersion: 0 }] });
  });

  test('of a resolver is one to this question with this id only', () => {
    const asked = question('vm1.example.org');
    const section = asked.slice(12);
    const given = Uint8Array.from(
      encode({ type: 'response', id: 0x1234, questions: [{ type: 'A', name: 'vm1.example.org' }], answers }),
    );
    expect(isAnswerTo(given, 0x1234, section)).toBe(true);
    expect(isAnswerTo(given, 0x1235, section)).toBe(false);
    expect(isAnswerTo(given, 0x1234, question('Vm1.example.org').slice(12))).toBe(false);
    expect(isAnswerTo(asked, 0x1234, section)).toBe(false);
    for (let end = 0; end < asked.length; end++) expect(isAnswerTo(given.slice(0, end), 0x1234, section)).toBe(false);
    const short = decode(Buffer.from(truncated(given, section)));
    expect(short).toMatchObject({ flag_tc: true, answers: [], questions: [{ name: 'vm1.example.org' }] });
  });
});
