/**
 * tcpdump's collection of odd and hostile captures through the whole pipeline: every Ethernet frame, and every
 * truncation of it (of its first 160 octets), from a port of every mode, with and without offload headers that lie.
 * Nothing may throw, every frame must end once, and every slot must come back.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { RX_FORWARDED, RX_FRAMES } from '../../src/dataplane/counters.js';
import { LINK_TYPE_ETHERNET, readCapture } from '../../src/wire/pcap-file.js';
import { ALL_FEATURES, TestSwitch, vm } from '../pipeline/test-switch.js';
import { Random } from '../sim/random.js';
import type { VnetHeader } from '../sim/traffic.js';

const directory = fileURLToPath(new URL('../../../shared/corpus/tcpdump', import.meta.url));
const TRUNCATED_SIZE_MAX = 160;
const CASES = 733_859;
/** With the licence beside them, 447 files. */
const CAPTURES = 446;

/** A switch whose port under test is `probe`; the others take what it sends in every way there is. */
function switchWith(probe: object): TestSwitch {
  const allowed = [0, 1, 10, 20, 100, 4094];
  return new TestSwitch(
    {
      networks: {
        red: { type: 'vlan', id: 10, macLimit: 400 },
        blue: { type: 'vlan', id: 20, macLimit: 400 },
        lab: { type: 'local' },
      },
      ports: {
        probe: vm({ macLimit: 300, controlFrames: { stp: 'forward', lldp: 'forward' }, ...probe }),
        access: vm({ network: 'red' }),
        tagged: vm({ trunk: ['red', 'blue'], native: 'red', nativeTagged: true }),
        native: vm({ trunk: ['blue'], native: 'red' }),
        tunnel: vm({ tunnel: { network: 'blue', allowed } }),
        isolated: vm({ network: 'red', isolated: true }),
      },
    },
    {
      slots: 2048,
      fdbEntries: 1024,
      devices: {
        tagged: { features: ALL_FEATURES },
        native: { mtu: 9000 },
        tunnel: { mtu: 128, features: ALL_FEATURES },
      },
    },
  );
}

/** VIDs 1213 and 202 are those that the captures have most of. */
const modes = {
  'an access port': { network: 'red' },
  'an isolated access port': { network: 'red', isolated: true },
  'a trunk with a native network': { trunk: ['blue', { network: 'lab', vlan: 7 }], native: 'red' },
  'a trunk without one': {
    trunk: [
      { network: 'red', vlan: 1213 },
      { network: 'blue', vlan: 202 },
    ],
  },
  'an 802.1ad tunnel port': { tunnel: { network: 'blue' } },
};

/** A virtio-net header as a hostile guest would write it. */
function randomHeader(random: Random, length: number): VnetHeader {
  return {
    flags: random.below(4),
    gsoType: random.pick([0, 0, 1, 3, 4, 5, 0x81, 0x84, 0xff]),
    headerLength: random.pick([0, 14, 54, length, 65_535]),
    gsoSize: random.pick([0, 1, 7, 8, 48, 64, 535, 1460, 65_535]),
    start: random.pick([0, 13, 14, 34, 38, 54, length - 2, length, 65_535]),
    offset: random.pick([0, 6, 16, 65_535]),
  };
}

/** Every case of the corpus, as views of the captures. */
function* corpusCases(): Generator<Uint8Array> {
  for (const name of captureNames()) {
    for (const { linkType, octets } of captureFrames(name)) {
      if (linkType !== LINK_TYPE_ETHERNET) continue;
      yield octets;
      for (let size = Math.min(octets.length, TRUNCATED_SIZE_MAX) - 1; size >= 0; size--)
        yield octets.subarray(0, size);
    }
  }
}

function captureNames(): string[] {
  return readdirSync(directory).filter((name) => name !== 'LICENSE');
}

function captureFrames(name: string) {
  return readCapture(readFileSync(`${directory}/${name}`)).frames;
}

if (existsSync(directory)) {
  describe('the capture corpus', () => {
    test(`has ${CAPTURES} captures that can be read`, () => {
      const names = captureNames();
      expect(names.length).toBe(CAPTURES);
      expect(names.reduce((sum, name) => sum + captureFrames(name).length, 0)).toBeGreaterThan(8000);
    });

    test.each(Object.entries(modes))(
      'every frame and truncation ends once when %s sent it',
      { timeout: 120_000 },
      (_, probe) => {
        const random = new Random(2);
        const tested = switchWith(probe);
        let cases = 0;
        for (const octets of corpusCases()) {
          cases++;
          const vnet = random.oneIn(2) ? undefined : randomHeader(random, octets.length);
          const received = { port: 'probe', octets, ...(vnet && { vnet }) };
          if (tested.receive(received)) continue;
          tested.now += 1;
          tested.run();
          expect(tested.receive(received)).toBe(true);
        }
        tested.run();
        expect(cases).toBeGreaterThanOrEqual(CASES);
        expect(tested.value('probe', RX_FRAMES)).toBe(cases);
        expect(tested.value('probe', RX_FORWARDED)).toBeGreaterThan(0);
      },
    );
  });
} else {
  test('the tests of the capture corpus are left out, which is told, and is a failure under CI', () => {
    console.warn(
      `The captures of ${directory} are not part of the repository: the tests that replay them are left out.`,
    );
    expect(process.env.CI ?? '', `under CI the captures must be in ${directory}`).toMatch(/^(false)?$/);
  });
}
