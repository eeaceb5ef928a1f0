/** ACLs through the whole pipeline: what passes, what is answered, counted and logged, in which order, and what learns. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allocateFrameRing } from '../../src/dataplane/frame-ring.js';
import { RULE_LOG_PER_SECOND, RULE_LOG_RING_SIZE } from '../../src/limits.js';
import { RuleLog, type RuleMatch } from '../../src/pipeline/rule-log.js';
import { parseFrame } from '../../src/wire/frame-text.js';
import { frameLine } from '../../src/wire/print.js';
import { until } from '../system/harness/wait.js';
import { type FragmentRecipe, fragmentFrame } from '../wire/fragment-frames.js';
import { type AclDocument, type Sent, TestSwitch, vm } from './test-switch.js';

type Names = { ingress?: string; egress?: string };
type Acls = Readonly<Record<string, AclDocument>>;

/** Three ports in one network; ACLs of port a, of port b and of the network. */
function lab(acls: Acls, { a, b, network }: { a?: Names; b?: Names; network?: Names }, more = {}): TestSwitch {
  return new TestSwitch(
    {
      networks: { red: { type: 'local', ...(network && { acl: network }) } },
      ports: {
        a: vm({ network: 'red', ...(a && { acl: a }) }),
        b: vm({ network: 'red', ...(b && { acl: b }) }),
        c: vm({ network: 'red' }),
      },
      acls,
    },
    more,
  );
}

const from = (port: string, text: string) => ({ port, octets: parseFrame(text) });
const ports = (sent: readonly Sent[]) => sent.map(({ port }) => port).sort();
const lines = (sent: readonly Sent[]) =>
  sent.map(({ port, octets }) => `${port} ${frameLine(octets, 0, octets.length)}`);
/** Sequence and acknowledgement number of IPv4 segments. */
const sequences = (sent: readonly Sent[]) =>
  sent.map(({ octets }) => [38, 42].map((at) => new DataView(octets.buffer, octets.byteOffset).getUint32(at)));
const SSH = 'tcp 10.0.0.1:1000 > 10.0.0.2:22';
const WEB = 'tcp 10.0.0.1:1000 > 10.0.0.2:80';
const noSsh: AclDocument = { default: 'permit', rules: [{ action: 'deny', proto: 'tcp', dstPort: 22 }] };
const frames = (tested: TestSwitch, acl: string) => tested.rules.counts(`acls.${acl}`)?.map((count) => count.frames);

describe('an ACL on the way in', () => {
  test('drops what a rule denies and lets the rest go on', () => {
    const tested = lab({ a1: noSsh }, { a: { ingress: 'a1' } });
    expect(ports(tested.run(from('a', SSH)))).toEqual([]);
    expect(ports(tested.run(from('a', WEB)))).toEqual(['b', 'c']);
    expect(ports(tested.run(from('b', SSH)))).toEqual(['a', 'c']);
    expect(tested.drops()).toEqual({ 'a acl_deny': 1 });
  });

  test('with default deny stops ARP and neighbour discovery as well', () => {
    const tested = lab(
      { a1: { default: 'deny', rules: [{ action: 'permit', proto: 'tcp' }] } },
      { a: { ingress: 'a1' } },
    );
    expect(tested.run(from('a', 'arp who-has 10.0.0.2 tell 10.0.0.1'))).toEqual([]);
    expect(tested.run(from('a', 'icmp 2001:db8::1 > ff02::1 type 135'))).toEqual([]);
    expect(ports(tested.run(from('a', WEB)))).toEqual(['b', 'c']);
    expect(tested.drops()).toEqual({ 'a acl_default': 2 });
  });

  test('teaches the FDB nothing from what it denies', () => {
    const tested = lab({ a1: noSsh }, { a: { ingress: 'a1' } });
    tested.run(from('a', SSH));
    expect(tested.fdb.counts().entries).toBe(0);
    tested.run(from('a', WEB));
    expect(tested.fdb.counts().entries).toBe(1);
  });

  test("tries the port's own rules before the network's", () => {
    const acls: Acls = {
      port: { default: 'permit', rules: [{ action: 'deny', dscp: 0, proto: 'tcp', dstPort: 22 }] },
      net: { default: 'permit', rules: [{ action: 'deny', proto: 'tcp', dstPort: '22-80' }] },
    };
    const tested = lab(acls, { a: { ingress: 'port' }, network: { ingress: 'net' } });
    expect(tested.run(from('a', SSH), from('a', WEB), from('b', SSH))).toEqual([]);
    expect(frames(tested, 'port')).toEqual([1, 1]);
    expect(frames(tested, 'net')).toEqual([2, 0]);
    expect(tested.drops()).toEqual({ 'a acl_deny': 2, 'b acl_deny': 1 });
  });
});

describe('frames that follow each other', () => {
  const field = (values: readonly string[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
  /** Bounds of which frames lie before, at and behind. */
  const rule = fc.record({
    action: fc.constantFrom('permit', 'permit', 'deny', 'reject'),
    proto: field(['tcp', 'udp']),
    src: field(['10.0.0.1/32', '10.0.0.0/30', '0.0.0.0/1', '255.255.255.255/32']),
    dst: field(['10.0.0.2/32', '10.0.0.2/31', '128.0.0.0/1', '255.255.255.254/31']),
    srcPort: field(['0', '1000', '1000-1001', '65535']),
    dstPort: field(['22', '22-80', '81-65535']),
    dscp: fc.constantFrom(undefined, undefined, undefined, undefined, 0),
    log: fc.constantFrom(false, false, true),
  });
  const acl = fc.record({ default: fc.constantFrom('permit', 'deny'), rules: fc.array(rule, { maxLength: 5 }) });
  const frame = fc
    .record({
      port: fc.constantFrom('a', 'a', 'b'),
      protocol: fc.constantFrom('tcp', 'udp', 'udp'),
      source: fc.constantFrom('10.0.0.1', '10.0.0.1', '10.0.0.3', '10.0.0.4', '128.0.0.1'),
      destination: fc.constantFrom('10.0.0.2', '10.0.0.2', '10.0.0.1', '10.0.0.3', '127.255.255.255', '223.0.0.1'),
      sourcePort: fc.constantFrom(0, 1000, 1000, 1001, 65535),
      destinationPort: fc.constantFrom(22, 22, 21, 80, 81),
      change: fc.constantFrom('', '', '', '', '', '', 'options', 'service', 'cut'),
    })
    .map(({ port, protocol, source, destination, sourcePort, destinationPort, change }) => {
      const octets = parseFrame(`${protocol} ${source}:${sourcePort} > ${destination}:${destinationPort}`);
      if (change === 'options') octets[14] = 0x46;
      if (change === 'service') octets[15] = 0x20;
      if (change === 'cut') octets[17] = 24;
      return { port, octets };
    });

  test('are judged and counted as if each came alone', () => {
    let permitted = 0;
    const property = fc.property(
      ...([
        acl,
        acl,
        fc.constantFrom(undefined, 'net', 'net'),
        fc.array(frame, { minLength: 10, maxLength: 60 }),
      ] as const),
      (port, net, network, some) => {
        const acls = { port: withoutGaps(port), net: withoutGaps(net) };
        const config = { a: { ingress: 'port' }, ...(network !== undefined && { network: { ingress: network } }) };
        const [together, alone] = [lab(acls, config), lab(acls, config)] as const;
        together.run(...some);
        for (const one of some) alone.run(one);
        for (const name of ['port', 'net'])
          expect(together.rules.counts(`acls.${name}`)).toEqual(alone.rules.counts(`acls.${name}`));
        expect(together.drops()).toEqual(alone.drops());
        permitted += together.rules.counts('acls.port')?.[0]?.frames ?? 0;
      },
    );
    fc.assert(property, { numRuns: 100 });
    expect(permitted).toBeGreaterThan(100);
  });
});

/** As a document has it: what is not asked for is not there. */
const withoutGaps = (acl: object): AclDocument => JSON.parse(JSON.stringify(acl));

describe('an ACL on the way out', () => {
  test('drops the copy by that port and no other', () => {
    const tested = lab({ a1: noSsh }, { b: { egress: 'a1' } });
    expect(ports(tested.run(from('a', SSH)))).toEqual(['c']);
    expect(ports(tested.run(from('a', WEB)))).toEqual(['b', 'c']);
    expect(tested.drops()).toEqual({ 'b acl_deny of copy': 1 });
  });

  test("tries the network's rules before the port's own", () => {
    const acls: Acls = { port: noSsh, net: { default: 'permit', rules: [{ action: 'deny', proto: 'tcp' }] } };
    const tested = lab(acls, { b: { egress: 'port' }, network: { egress: 'net' } });
    expect(tested.run(from('a', SSH))).toEqual([]);
    expect(frames(tested, 'net')).toEqual([2, 0]);
    expect(frames(tested, 'port')).toEqual([0, 0]);
  });

  test('judges what came in where nobody asked, and keeps a fault of it from passing', () => {
    const tested = lab({ a1: noSsh }, { b: { egress: 'a1' } });
    const broken = parseFrame(SSH);
    broken[17] = 10;
    expect(ports(tested.run({ port: 'a', octets: broken }))).toEqual(['c']);
    expect(tested.drops()).toEqual({ 'b bad_ip_header of copy': 1 });
  });

  test("judges the switch's own frames by it too", () => {
    const acls: Acls = {
      no: { default: 'permit', rules: [{ action: 'reject', proto: 'tcp' }] },
      out: { default: 'permit', rules: [{ action: 'deny', proto: 'tcp', tcpFlags: 'R/R' }] },
    };
    const tested = lab(acls, { a: { ingress: 'no', egress: 'out' } });
    expect(tested.run(from('a', SSH))).toEqual([]);
    expect(frames(tested, 'out')).toEqual([1, 0]);
  });
});

describe('a rule that rejects', () => {
  const reject: Acls = {
    r: {
      default: 'permit',
      rules: [
        { action: 'reject', dst: '10.0.0.2/32' },
        { action: 'reject', dst: '2001:db8::2/128' },
      ],
    },
  };
  const inward = () => lab(reject, { a: { ingress: 'r' } });

  test('answers a SYN with a reset that acknowledges it', () => {
    const answers = inward().run(from('a', `${SSH} seq 4294967295`));
    expect(lines(answers)).toEqual([expect.stringContaining('tcp 10.0.0.2:22 > 10.0.0.1:1000 flags RA length 0')]);
    expect(sequences(answers)).toEqual([[0, 0]]);
  });

  test('counts data, SYN and FIN in what it acknowledges', () => {
    expect(sequences(inward().run(from('a', `${SSH} flags SF seq 100 length 10`)))).toEqual([[0, 112]]);
  });

  test('answers a segment with ACK by a reset at the sequence number it acknowledges', () => {
    const answers = inward().run(from('a', `${SSH} flags PA seq 5 ack 77 length 10`));
    expect(lines(answers)).toEqual([expect.stringContaining('flags R length 0')]);
    expect(sequences(answers)).toEqual([[77, 0]]);
  });

  test('answers other packets with administratively prohibited', () => {
    const [four] = inward().run(from('a', 'udp 10.0.0.1:5 > 10.0.0.2:6 length 9'));
    expect([...(four?.octets.slice(34, 36) ?? [])]).toEqual([3, 13]);
    const [six] = inward().run(from('a', 'udp [2001:db8::1]:5 > [2001:db8::2]:6 length 9'));
    expect([...(six?.octets.slice(54, 56) ?? [])]).toEqual([1, 1]);
  });

  test('is silent towards resets, errors, and what is for a group', () => {
    const silent = [
      `${SSH} flags R`,
      'icmp 10.0.0.1 > 10.0.0.2 type 3 code 1',
      'icmp 2001:db8::1 > 2001:db8::2 type 1',
      `${SSH} dst ff:ff:ff:ff:ff:ff`,
      'udp 224.0.0.1:5 > 10.0.0.2:6',
    ];
    for (const text of silent) expect(inward().run(from('a', text)), text).toEqual([]);
  });

  test('answers no more than limits.icmpErrors allows', () => {
    const tested = inward();
    const answers = tested.run(...Array.from({ length: 60 }, () => from('a', SSH)));
    // 100 a second, of which the bucket holds a tenth.
    expect(answers).toHaveLength(10);
    expect(tested.drops()).toEqual({ 'a acl_deny': 60 });
  });

  test('on the way out answers the sender once, however many copies it stops', () => {
    const tested = lab(reject, { network: { egress: 'r' } });
    expect(ports(tested.run(from('a', SSH)))).toEqual(['a']);
    expect(tested.copiesDropped('b', 'acl_deny') + tested.copiesDropped('c', 'acl_deny')).toBe(2);
  });
});

describe('what rules did', () => {
  test('is counted by rule in frames, octets and time', () => {
    const tested = lab({ a1: noSsh }, { a: { ingress: 'a1' } });
    tested.run(from('a', SSH), from('a', SSH), from('a', WEB));
    const size = parseFrame(SSH).length;
    const nowSeconds = tested.now / 1000;
    expect(tested.rules.counts('acls.a1')).toEqual([
      { frames: 2, bytes: 2 * size, lastSeconds: nowSeconds },
      { frames: 1, bytes: size, lastSeconds: nowSeconds },
    ]);
  });

  test('is in the sample of a frame that a rule dropped', () => {
    const tested = lab({ a1: noSsh }, { a: { ingress: 'a1' }, b: { egress: 'a1' } });
    tested.run(from('a', SSH));
    tested.now++;
    tested.run(from('c', SSH));
    const rules = tested.machine.samples.list().map(({ rule, of }) => [of, tested.rules.nameOf(rule - 1)]);
    expect(rules).toEqual([
      [0, 'acls.a1.rules[1]'],
      [1, 'acls.a1.rules[1]'],
    ]);
  });

  test('goes to the log where the rule asks for it, so many a second and no more', async () => {
    const memory = allocateFrameRing(RULE_LOG_RING_SIZE);
    const rules = [{ action: 'deny', proto: 'tcp', dstPort: 22, log: true }];
    const tested = lab(
      { a1: { default: 'permit', rules } },
      { a: { ingress: 'a1' } },
      { ruleLog: new RuleLog(memory) },
    );
    const most = RULE_LOG_PER_SECOND + 7;
    tested.run(...Array.from({ length: most }, () => from('a', SSH)), from('a', WEB));
    const heard: RuleMatch[] = [];
    const end = new AbortController();
    void new RuleLog(memory).read((match) => {
      heard.push({ ...match, octets: match.octets.slice() });
    }, end.signal);
    await until('all are read', () => heard.length >= RULE_LOG_PER_SECOND);
    end.abort();
    expect(heard).toHaveLength(RULE_LOG_PER_SECOND);
    expect(heard[0]).toMatchObject({ port: tested.index('a'), action: 1, isEgress: false, octets: parseFrame(SSH) });
    expect(tested.rules.nameOf(heard[0]?.rule ?? -1)).toBe('acls.a1.rules[1]');
    expect(tested.machine.ruleCounters.suppressed).toBe(7);
  });
});

describe('hostile frames (threats.md section 2)', () => {
  const denied: AclDocument = {
    default: 'permit',
    rules: [
      { action: 'deny', dst: '10.0.0.2/32' },
      { action: 'deny', dst: '2001:db8::2/128' },
    ],
  };
  const guarded = () => lab({ a1: denied }, { a: { ingress: 'a1' } });

  test('row 2: a total length below the header or beyond the frame does not get past a deny', () => {
    for (const total of [0, 1, 19, 41, 65_535]) {
      const octets = parseFrame(SSH);
      octets[16] = total >> 8;
      octets[17] = total & 0xff;
      expect(guarded().run({ port: 'a', octets }), `total length ${total}`).toEqual([]);
    }
  });

  test('row 5: an IPv6 payload length beyond the frame does not get past a deny', () => {
    for (let more = 1; more <= 40; more++) {
      const octets = parseFrame('udp [2001:db8::1]:5 > [2001:db8::2]:6 length 9');
      octets[19] += more;
      expect(guarded().run({ port: 'a', octets }), `${more} octets more`).toEqual([]);
    }
  });

  test('row 6: a padded frame is judged as the unpadded one is, and others after it as before', () => {
    const tested = guarded();
    const pad = (text: string) => {
      const octets = new Uint8Array(1514).fill(0xa5);
      octets.set(parseFrame(text));
      return octets;
    };
    const allowed = 'tcp 10.0.0.1:1 > 10.0.0.3:22';
    for (const octets of [parseFrame(allowed), pad(allowed), parseFrame(allowed)])
      expect(ports(tested.run({ port: 'a', octets }))).toEqual(['b', 'c']);
    for (const octets of [parseFrame(SSH), pad(SSH), parseFrame(SSH)])
      expect(tested.run({ port: 'a', octets })).toEqual([]);
  });

  test('row 13: no protocol number that came first changes what becomes of TCP and UDP', () => {
    const acl: AclDocument = { default: 'permit', rules: [{ action: 'deny', proto: 'tcp', dstPort: 22 }] };
    const tested = lab({ a1: acl }, { a: { ingress: 'a1' } });
    for (let protocol = 0; protocol < 256; protocol++) {
      tested.run(from('a', `ip 10.0.0.1 > 10.0.0.2 proto ${protocol} length 40`));
      expect(ports(tested.run(from('a', WEB)))).toEqual(['b', 'c']);
      expect(tested.run(from('a', SSH))).toEqual([]);
      expect(ports(tested.run(from('a', 'udp 10.0.0.1:1 > 10.0.0.2:22')))).toEqual(['b', 'c']);
    }
  });

  test('a later fragment never matches a rule with ports, whatever its octets look like', () => {
    const tested = lab(
      { a1: { default: 'deny', rules: [{ action: 'permit', proto: 'udp', dstPort: 53 }] } },
      { a: { ingress: 'a1' } },
    );
    const octets = parseFrame('udp 10.0.0.1:5 > 10.0.0.2:53 length 64');
    octets[20] = 0;
    octets[21] = 5;
    tested.run({ port: 'a', octets });
    expect(frames(tested, 'a1')?.[0]).toBe(0);
  });
});

describe('later fragments', () => {
  const fragments = (recipe: Partial<FragmentRecipe>) => [
    { port: 'a', octets: fragmentFrame({ ...recipe, start: 0, size: 24 }) },
    { port: 'a', octets: fragmentFrame({ ...recipe, start: 24, size: 24, isLast: true, head: new Uint8Array(0) }) },
  ];
  const tcp = (flags: number) => Uint8Array.of(0, 7, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0);
  const sent = (acl: AclDocument, recipe: Partial<FragmentRecipe>) =>
    lab({ a1: acl }, { a: { ingress: 'a1' } }).run(...fragments(recipe)).length / 2;

  test.each([false, true])('share the verdict that their first one got by its TCP flags (IPv6: %s)', (isIpv6) => {
    const denies: AclDocument = { default: 'permit', rules: [{ action: 'deny', proto: 'tcp', tcpFlags: 'A/A' }] };
    const permits: AclDocument = { default: 'deny', rules: [{ action: 'permit', proto: 'tcp', tcpFlags: 'A/A' }] };
    for (const [flags, isMatched] of [
      [0x02, false],
      [0x18, true],
    ] as const) {
      expect(sent(denies, { isIpv6, protocol: 6, head: tcp(flags) })).toBe(isMatched ? 0 : 2);
      expect(sent(permits, { isIpv6, protocol: 6, head: tcp(flags) })).toBe(isMatched ? 2 : 0);
    }
  });

  test('share the verdict that their first one got by its protocol, which an extension header behind theirs names', () => {
    const permits: AclDocument = { default: 'deny', rules: [{ action: 'permit', proto: 'tcp' }] };
    const head = Uint8Array.of(6, 0, 1, 4, 0, 0, 0, 0, ...tcp(0x10));
    const all = [
      { start: 0, size: 32, head },
      { start: 32, size: 24, isLast: true, head: new Uint8Array(0) },
    ];
    const arrived = all.map((recipe) => ({
      port: 'a',
      octets: fragmentFrame({ isIpv6: true, protocol: 60, ...recipe }),
    }));
    expect(lab({ a1: permits }, { a: { ingress: 'a1' } }).run(...arrived)).toHaveLength(4);
    expect(lab({ a1: permits }, { a: { ingress: 'a1' } }).run(arrived[1])).toEqual([]);
  });

  test('share it also where all that was read of their first one is zero', () => {
    const permits: AclDocument = {
      default: 'deny',
      rules: [{ action: 'permit', proto: 'icmp', icmpType: 'echo-reply' }],
    };
    expect(sent(permits, { protocol: 1, head: new Uint8Array(8) })).toBe(2);
  });
});
