/** The key that rules are matched by, made in parts: only what the rules of a set ask for. */
import { expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { compiledRulesOf } from '../../src/control/compile-acls.js';
import { documentOf } from '../../src/control/document.js';
import type { ResolvedAcl } from '../../src/control/resolved.js';
import { Batch } from '../../src/dataplane/batch.js';
import { memoryFrame } from '../../src/dataplane/ports/memory-queue.js';
import { firstMatch } from '../../src/pipeline/classifier.js';
import {
  FIELDS_ADDRESSES,
  FIELDS_ALL,
  FIELDS_LINK,
  FIELDS_MACS,
  FIELDS_OTHER,
  FIELDS_PORTS,
  fieldsOfPlace,
  KEY_ARP_OPERATION,
  KEY_ARP_SENDER,
  KEY_DESTINATION,
  KEY_KIND,
  KEY_SOURCE,
  KEY_WORDS,
  keyOfSlot,
} from '../../src/pipeline/rule-key.js';
import { POLICY_READ } from '../../src/pipeline/snapshot.js';
import { classify } from '../../src/pipeline/stages/classify.js';
import { dissect } from '../../src/pipeline/stages/dissect.js';
import { parse } from '../../src/pipeline/stages/parse.js';
import { PACKET_ARP, PACKET_IPV4 } from '../../src/wire/packet.js';
import { icmp, packet, segment, udp } from './connection-fixture.js';
import { frameOf } from './group-switch.js';
import { TestSwitch, vm } from './test-switch.js';

const tested = new TestSwitch({ networks: { red: { type: 'local' } }, ports: { a: vm({ network: 'red' }) } });
Object.assign(tested.snapshot, { policies: POLICY_READ });
tested.snapshot.networkPolicy.fill(POLICY_READ);

const frames: Readonly<Record<string, Uint8Array>> = {
  ARP: frameOf('arp who-has 10.0.0.250 tell 10.0.0.1 src 52:54:00:00:00:01'),
  TCP: segment({ flags: 'S' }),
  'UDP over IPv6': udp('2001:db8::1', '2001:db8::2', [65_535, 0]),
  'an echo': icmp('192.0.2.1', '198.51.100.2', 8, 7),
  'neighbour discovery': icmp('2001:db8::1', '2001:db8::2', 135, 0, new Uint8Array(16)),
  'a later fragment': packet({ protocol: 17, payload: new Uint8Array(16), fragment: 4 }),
  'a broken packet': segment({ flags: 'S' }).slice(0, 40),
  'a packet whose header lies': udp('192.0.2.1', '198.51.100.2', [1, 2]).fill(0xff, 16, 18),
  'another ethertype': new Uint8Array(60).fill(0xa5).fill(0x88, 12, 13),
};
const VID = 42;
const POISON = 0x5a5a_5a5a;

/** The key of the frame as its fields say, over words that mean nothing. */
function keyOf(octets: Uint8Array, fields: number, poison = POISON): Int32Array {
  const { machine, pool } = tested;
  const batch = new Batch(1);
  const slot = memoryFrame(pool, tested.index('a'), octets);
  batch.push(slot);
  for (const stage of [parse, classify, dissect]) stage.run(machine, batch);
  const key = new Int32Array(KEY_WORDS).fill(poison);
  keyOfSlot(key, pool, slot, VID, fields);
  pool.release(slot);
  return key;
}

test.each(Object.keys(frames))(
  'each part of the key of %s is as in the whole key, and the other parts are left alone',
  (what) => {
    const octets = frames[what] as Uint8Array;
    const whole = keyOf(octets, FIELDS_ALL);
    for (let fields = 0; fields <= 0x1f; fields++) {
      const part = keyOf(octets, fields);
      for (let place = 0; place < KEY_WORDS; place++) {
        const asked = fieldsOfPlace(place);
        if (asked === 0 || (asked & fields) !== 0) expect(part[place], `${fields}: ${place}`).toBe(whole[place]);
        // Ports come with what needs their packet read: nobody who has not asked may rely on them.
        else if (asked !== FIELDS_PORTS) expect(part[place], `${fields}: ${place}`).toBe(POISON);
      }
    }
  },
);

test('no word of a whole key depends on the frame before, but those that its kind of packet says nobody asks for', () => {
  for (const [what, octets] of Object.entries(frames)) {
    const [one, other] = [keyOf(octets, FIELDS_ALL), keyOf(octets, FIELDS_ALL, 7)];
    for (let place = 0; place < KEY_WORDS; place++) {
      const isAddress = place >= KEY_SOURCE && place < KEY_DESTINATION + 4;
      const isLast = place === KEY_SOURCE + 3 || place === KEY_DESTINATION + 3;
      const kind = one[KEY_KIND] as number;
      if (isAddress && (kind < PACKET_IPV4 || (kind === PACKET_IPV4 && !isLast))) continue;
      if (place >= KEY_ARP_SENDER && one[KEY_ARP_OPERATION] === -1) continue;
      expect(one[place], `${what}: ${place}`).toBe(other[place]);
    }
  }
  expect(keyOf(frames.ARP as Uint8Array, FIELDS_ALL)[KEY_KIND]).toBe(PACKET_ARP);
});

const conditions = {
  srcMac: '52:54:00:00:00:01',
  vlan: VID,
  src: '192.0.2.0/24',
  dstPort: 80,
  dscp: 0,
  arpSender: '10.0.0.1/32',
} as const;
const parts = {
  srcMac: FIELDS_MACS,
  vlan: FIELDS_LINK,
  src: FIELDS_ADDRESSES,
  dstPort: FIELDS_PORTS,
  dscp: FIELDS_OTHER,
  arpSender: FIELDS_OTHER,
};

test('a set of rules asks for the parts that its conditions are in, and finds by them what it finds by the whole key', () => {
  const names = Object.keys(conditions) as (keyof typeof conditions)[];
  for (let chosen = 1; chosen < 1 << names.length; chosen++) {
    const used = names.filter((_, index) => ((chosen >> index) & 1) === 1);
    const rules = used.map((name) => ({
      action: 'deny',
      [name]: conditions[name],
      ...(name === 'dstPort' && { proto: 'tcp' }),
    }));
    const document = { version: 1, acls: { a1: { default: 'permit', rules } } } as unknown as Parameters<
      typeof documentOf
    >[0];
    const { resolved } = checkDocument(documentOf(document));
    const compiled = compiledRulesOf(resolved.acls.get('a1') as ResolvedAcl);
    const wanted = used.reduce((sum, name) => sum | parts[name], 0);
    expect(compiled.fields & wanted, used.join()).toBe(wanted);
    for (const [what, octets] of Object.entries(frames))
      expect(firstMatch(compiled, keyOf(octets, compiled.fields)), `${used.join()}: ${what}`).toBe(
        firstMatch(compiled, keyOf(octets, FIELDS_ALL)),
      );
  }
});
