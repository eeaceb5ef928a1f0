/**
 * Names as machines meet them: dig and the C library's resolver in namespaces behind TAPs, a lease by udhcpc, and a resolver
 * of the world in a namespace that only the daemon can reach.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject, StatusResult, TraceResult } from '../../src/control/shapes.js';
import { Daemon } from './harness/daemon.js';
import { startOutside } from './harness/outside-server.js';
import { placeMachines, type RoutedMachine } from './harness/routed-machines.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const RESOLVER = '203.0.113.53';
const machines: Readonly<Record<string, RoutedMachine>> = {
  a: { addresses: ['192.0.2.5/24', '2001:db8::5/64'] },
  // Gets one by DHCP.
  b: { addresses: [] },
  other: { addresses: ['198.51.100.5/24'] },
};

const config = (settings: JsonObject): JsonObject => ({
  version: 1,
  settings,
  networks: { red: { type: 'local' }, blue: { type: 'local' } },
  ports: {
    a: { kind: 'tap', network: 'red', addresses: ['192.0.2.5/24', '2001:db8::5/64'] },
    b: { kind: 'tap', network: 'red', groups: ['out'] },
    other: { kind: 'tap', network: 'blue' },
  },
  groups: { out: { rules: [{ direction: 'egress' }] } },
  routers: { r: { interfaces: { red: ['192.0.2.1/24', '2001:db8::1/64'] } } },
  subnets: {
    red4: {
      network: 'red',
      cidr: '192.0.2.0/24',
      gateway: '192.0.2.1',
      dhcp: { pool: '192.0.2.100-192.0.2.150', domain: 'lab.example' },
    },
    red6: { network: 'red', cidr: '2001:db8::/64', gateway: '2001:db8::1', ra: { mode: 'slaac' } },
    // No router: the address service is at the gateway's address.
    blue4: { network: 'blue', cidr: '198.51.100.0/24', gateway: '198.51.100.1', dhcp: { domain: 'lab.example' } },
  },
});
const forwarding = { dns: { forward: [RESOLVER] } };

let testbed: Testbed;
let daemon: Daemon;

const file = (name: string) => join(testbed.directory, name);
const dig = (from: string, ...words: string[]) =>
  testbed.run(from, 'dig', '+tries=1', '+time=5', ...words).replaceAll(/[ \t]+/g, ' ');
const short = (from: string, ...words: string[]) => dig(from, '+short', ...words).trim();

/** getent with a resolv.conf of its own. */
function getent(from: string, ...words: string[]): string {
  writeFileSync(file('resolv.conf'), 'nameserver 192.0.2.1\nsearch lab.example\n');
  const script = `mount --bind ${file('resolv.conf')} /etc/resolv.conf; getent ${words.join(' ')}`;
  return testbed.run(from, 'unshare', '--mount', 'sh', '-c', script);
}

beforeAll(async () => {
  testbed = new Testbed();
  await startOutside(testbed, 'resolver.mjs', RESOLVER);
  daemon = await Daemon.start(testbed, config(forwarding));
  await placeMachines(testbed, daemon, machines);
}, 60_000);

afterAll(async () => {
  try {
    await daemon?.stop();
  } finally {
    testbed?.dispose();
  }
});

describe('a machine', () => {
  test('is found by its fixed addresses, by IPv4 and IPv6, UDP and TCP', () => {
    for (const server of ['@192.0.2.1', '@2001:db8::1'])
      for (const how of ['+notcp', '+tcp']) {
        expect(short('a', server, how, 'a.lab.example', 'A')).toBe('192.0.2.5');
        expect(short('a', server, how, 'a.lab.example', 'AAAA')).toBe('2001:db8::5');
      }
    expect(short('a', '@192.0.2.1', '-x', '192.0.2.5')).toBe('a.lab.example.');
    expect(short('a', '@192.0.2.1', '-x', '2001:db8::5')).toBe('a.lab.example.');
  });

  test('learns its resolver by DHCP, and is found by its lease', () => {
    const script = file('udhcpc.sh');
    const apply = 'ip address replace $ip/24 dev eth0; ip route replace default via $router; echo "dns=$dns"';
    writeFileSync(script, `#!/bin/sh\n[ "$1" = bound ] && { ${apply}; }\nexit 0\n`, { mode: 0o755 });
    const said = testbed.run('b', 'udhcpc', '-i', 'eth0', '-f', '-q', '-n', '-t', '5', '-T', '1', '-s', script);
    expect(said).toContain('dns=192.0.2.1');
    const [address] = /192\.0\.2\.1[0-9]{2}/.exec(testbed.ip('b', 'address', 'show', 'dev', 'eth0')) ?? [];
    expect(short('a', '@192.0.2.1', 'b.lab.example')).toBe(address);
    expect(getent('a', 'hosts', 'b')).toContain(address);
    // b has security groups: its questions pass by its rule, by UDP and by the whole of a connection.
    expect(getent('b', 'ahostsv4', 'a')).toContain('192.0.2.5');
    expect(short('b', '@192.0.2.1', '+tcp', 'a.lab.example')).toBe('192.0.2.5');
  });

  test('of another network does not exist, there and back', () => {
    expect(dig('a', '@192.0.2.1', 'other.lab.example')).toContain('status: NXDOMAIN');
    expect(dig('other', '@198.51.100.1', 'a.lab.example')).toContain('status: NXDOMAIN');
    expect(dig('a', '@192.0.2.1', 'other.lab.example')).toContain('lab.example. 5 IN SOA');
    expect(dig('a', '@192.0.2.1', 'a.lab.example', 'MX')).toMatch(/status: NOERROR.*[\s\S]*ANSWER: 0/);
  });
});

describe('the rest of the world', () => {
  test('is asked of the resolver that the daemon can reach', () => {
    expect(short('a', '@192.0.2.1', 'www.example.net')).toBe('203.0.113.99');
    expect(getent('a', 'ahostsv4', 'www.example.net')).toContain('203.0.113.99');
    expect(dig('a', '@192.0.2.1', 'www.example.net')).toMatch(/flags: qr rd ra;/);
  });

  test('with a long answer is truncated by UDP and whole by TCP', () => {
    expect(dig('a', '@192.0.2.1', '+ignore', '+bufsize=512', 'long.example.net', 'TXT')).toMatch(/flags: qr tc rd ra;/);
    // dig comes back by TCP by itself.
    expect(short('a', '@192.0.2.1', 'long.example.net', 'TXT').split('\n')).toHaveLength(40);
  });

  test('that does not answer is a server failure', async () => {
    expect(dig('a', '@192.0.2.1', 'silent.example.net', '+time=8')).toContain('status: SERVFAIL');
  }, 20_000);

  test('is refused when nobody may be asked', async () => {
    await daemon.apply(config({}));
    expect(dig('a', '@192.0.2.1', 'www.example.net')).toContain('status: REFUSED');
    expect(short('a', '@192.0.2.1', 'a.lab.example')).toBe('192.0.2.5');
    await daemon.apply(config(forwarding));
  });
});

test('what was asked is counted, and a trace says what would be answered', async () => {
  const { services } = await daemon.call<StatusResult>('status');
  expect(services.names).toMatchObject({ malformed: 0, outstanding: 0, refused: 1 });
  expect(services.names.answered).toBeGreaterThan(8);
  expect(services.names.forwarded).toBeGreaterThan(3);
  const frame = 'udp 192.0.2.5:4000 > 192.0.2.1:53 length 4';
  const trace = await daemon.call<TraceResult>('trace', { port: 'a', frame });
  expect(trace.verdict).toBe('consume');
  expect(trace.stages.map(({ text }) => text)).toContain('goes to the names service');
  expect(trace.stages.at(-1)?.text).toBe('names: no question, no answer');
});

test('no word about it is invented: tcpdump finds nothing wrong with any answer', async () => {
  const judge = testbed.start('a', ['tcpdump', '-i', 'eth0', '-n', '-vv', '-l', '-c', '2', 'udp src port 53']);
  await until('tcpdump listens', async () => judge.complaints.includes('listening'));
  dig('a', '@192.0.2.1', 'a.lab.example');
  dig('a', '@2001:db8::1', 'a.lab.example');
  const seen = (await judge.end()).stdout;
  expect(seen).toContain('192.0.2.1.53 >');
  expect(seen).toContain('2001:db8::1.53 >');
  expect(seen).not.toMatch(/bad|incorrect|wrong/);
});
