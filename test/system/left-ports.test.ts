/** Ports that leave the configuration while no daemon runs: what weft made for them goes, what was there before stays. */
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { Daemon } from './harness/daemon.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

let testbed: Testbed;
beforeEach(() => {
  testbed = new Testbed();
});
afterEach(() => testbed.dispose());

const tap = (device: string) => ({ kind: 'tap', device, network: 'lab' });
const config = (ports: JsonObject): JsonObject => ({ version: 1, networks: { lab: { type: 'local' } }, ports });
const devices = (label: string) =>
  [...testbed.ip(label, '-o', 'link').matchAll(/^\d+: ((?:tap-|eth)[^:@]*)/gm)].map(([, name]) => name);

async function startAgain(daemon: Daemon, ports: JsonObject): Promise<void> {
  writeFileSync(daemon.configFile, JSON.stringify(config(ports)));
  await daemon.start();
}

test('a TAP that weft made is removed at the next start wherever its end lies, others stay', async () => {
  testbed.ip('s', 'tuntap', 'add', 'tap-theirs', 'mode', 'tap');
  const ports = { home: tap('tap-home'), away: tap('tap-away'), theirs: tap('tap-theirs'), stays: tap('tap-stays') };
  const daemon = await Daemon.start(testbed, config({ ...ports, renamed: tap('tap-renamed') }));
  testbed.ip('s', 'link', 'set', 'tap-away', 'netns', testbed.namespace('m'), 'name', 'eth0');
  await until(
    'the daemon has seen where it went',
    async () => (await daemon.port('away')).reason?.includes('eth0') === true,
  );
  await daemon.killHard();
  expect(devices('s')).toEqual(expect.arrayContaining(['tap-home', 'tap-theirs', 'tap-stays', 'tap-renamed']));
  expect(devices('m')).toContain('eth0');

  await startAgain(daemon, { stays: tap('tap-stays'), other: tap('tap-renamed') });
  expect(devices('s').sort()).toEqual(['tap-renamed', 'tap-stays', 'tap-theirs']);
  expect(devices('m')).toEqual([]);

  // The port that took a device over has also taken over that weft made it.
  await daemon.apply(config({ stays: tap('tap-stays') }));
  expect(devices('s').sort()).toEqual(['tap-stays', 'tap-theirs']);
});

test('a TAP that somebody made in its place since stays', async () => {
  const daemon = await Daemon.start(testbed, config({ one: tap('tap-one') }));
  await daemon.killHard();
  testbed.ip('s', 'link', 'del', 'tap-one');
  testbed.ip('s', 'tuntap', 'add', 'tap-one', 'mode', 'tap');
  await startAgain(daemon, {});
  expect(devices('s')).toContain('tap-one');
});

test('a host that was silenced on an interface is heard again', async () => {
  testbed.veth('veth-up', 'm', 'far');
  testbed.ip('s', 'address', 'add', '192.0.2.1/24', 'dev', 'veth-up');
  testbed.ip('m', 'address', 'add', '192.0.2.2/24', 'dev', 'far');
  const ping = () => testbed.start('m', ['ping', '-c', '1', '-W', '1', '192.0.2.1']).end();
  expect((await ping()).status).toBe(0);
  const daemon = await Daemon.start(testbed, config({ up: { kind: 'netdev', device: 'veth-up', network: 'lab' } }));
  expect((await ping()).status).toBe(1);
  await daemon.killHard();
  expect((await ping()).status).toBe(1);
  await startAgain(daemon, {});
  expect((await ping()).status).toBe(0);
});
