/**
 * Metadata as machines meet it: curl and wget over the kernel's own TCP, in namespaces behind TAPs, with and without a default
 * route; the endpoint is in a namespace that only the daemon can reach. What goes over the wire is judged by tcpdump.
 */
import { createHash, createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject, StatusResult, TraceResult } from '../../src/control/shapes.js';
import type { Child } from './harness/child.js';
import { Daemon } from './harness/daemon.js';
import { startOutside } from './harness/outside-server.js';
import { placeMachines, type RoutedMachine } from './harness/routed-machines.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const ENDPOINT = '203.0.113.53';
const SECRET = 'between the daemon and the endpoint';
const URL4 = 'http://169.254.169.254';
const URL6 = 'http://[fe80::a9fe:a9fe%25eth0]';
const GUARDED = '52:54:00:00:00:05';
const gateways = ['192.0.2.1'];
const machines: Readonly<Record<string, RoutedMachine>> = {
  routed: { addresses: ['192.0.2.7/24'], gateways },
  // Gets its address and the way to the metadata by DHCP.
  alone: { addresses: [] },
  guarded: { addresses: ['192.0.2.5/24'], gateways, mac: GUARDED },
};

const config: JsonObject = {
  version: 1,
  settings: { metadata: { endpoint: `http://${ENDPOINT}:8775/base`, secret: SECRET } },
  networks: { red: { type: 'local', mtu: 1400 }, blue: { type: 'local' } },
  ports: {
    routed: { kind: 'tap', network: 'red', instance: { id: 'i-0123', tenant: 't-9' } },
    alone: { kind: 'tap', network: 'blue' },
    guarded: {
      kind: 'tap',
      network: 'red',
      mac: GUARDED,
      addresses: ['192.0.2.5/24'],
      antiSpoof: true,
      groups: ['web'],
    },
  },
  groups: { web: { rules: [{ direction: 'egress', proto: 'tcp', port: 80 }] } },
  routers: { r: { interfaces: { red: '192.0.2.1/24' } } },
  subnets: {
    red4: { network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1', dhcp: { pool: '192.0.2.100-192.0.2.150' } },
    // No gateway: the way to the metadata is a host route of DHCP's.
    blue4: { network: 'blue', cidr: '198.51.100.0/24', dhcp: { pool: '198.51.100.100-198.51.100.150' } },
  },
};

let testbed: Testbed;
let daemon: Daemon;
let endpoint: Child;

const file = (name: string) => join(testbed.directory, name);
const curl = (from: string, ...words: string[]) => testbed.run(from, 'curl', '-sS', '-g', '--max-time', '20', ...words);

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly size: number;
  readonly headers: Readonly<Record<string, string>>;
}
const ask = (from: string, ...words: string[]) => JSON.parse(curl(from, ...words)) as Seen;

beforeAll(async () => {
  testbed = new Testbed();
  endpoint = await startOutside(testbed, 'metadata-endpoint.mjs', ENDPOINT);
  daemon = await Daemon.start(testbed, config);
  await placeMachines(testbed, daemon, machines);
}, 60_000);

afterAll(async () => {
  try {
    await daemon?.stop();
  } finally {
    testbed?.dispose();
  }
});

describe('a request', () => {
  test('reaches the endpoint with who asks, signed', () => {
    const { method, url, headers } = ask('routed', `${URL4}/latest/meta-data?x=1`);
    expect({ method, url }).toEqual({ method: 'GET', url: '/base/latest/meta-data?x=1' });
    expect(headers).toMatchObject({
      host: `${ENDPOINT}:8775`,
      'x-forwarded-for': '192.0.2.7',
      'x-instance-id': 'i-0123',
      'x-tenant-id': 't-9',
      'x-network-id': 'red',
      'x-router-id': 'r',
      'x-instance-id-signature': createHmac('sha256', SECRET).update('i-0123').digest('hex'),
    });
  });

  test('says nothing of who asks but what the switch says', () => {
    const lies = ['X-Instance-ID: root', 'X_Instance_ID: root', 'X-Forwarded-For: 192.0.2.99', 'Forwarded: for=x'];
    const { headers } = ask('routed', ...lies.flatMap((lie) => ['-H', lie]), `${URL4}/`);
    expect(headers).toMatchObject({ 'x-instance-id': 'i-0123', 'x-forwarded-for': '192.0.2.7' });
    expect(Object.keys(headers)).not.toEqual(expect.arrayContaining(['x_instance_id']));
    expect(JSON.stringify(headers)).not.toMatch(/root|99|for=x/);
  });

  test('finds its way without a default route, by the route that DHCP gives', () => {
    const script = file('udhcpc.sh');
    const routes = 'set -- $staticroutes; while [ $# -gt 1 ]; do ip route replace $1 via $2 dev eth0; shift 2; done';
    writeFileSync(
      script,
      `#!/bin/sh\n[ "$1" = bound ] && { ip address replace $ip/24 dev eth0; ${routes}; }\nexit 0\n`,
      {
        mode: 0o755,
      },
    );
    const options = ['-O', 'staticroutes', '-s', script];
    testbed.run('alone', 'udhcpc', '-i', 'eth0', '-f', '-q', '-n', '-t', '5', '-T', '1', ...options);
    expect(testbed.ip('alone', 'route', 'show', 'default')).toBe('');
    expect(ask('alone', `${URL4}/`).headers).toMatchObject({ 'x-instance-id': 'alone', 'x-network-id': 'blue' });
    // Nor is a route needed where the address is taken to be on the link.
    testbed.ip('alone', 'route', 'replace', '169.254.169.254', 'dev', 'eth0');
    expect(ask('alone', `${URL4}/`).headers['x-instance-id']).toBe('alone');
  });

  test('goes by IPv6 as well', () => {
    const { headers } = ask('routed', `${URL6}/`);
    expect(headers['x-forwarded-for']).toMatch(/^fe80::/);
    expect(headers['x-instance-id']).toBe('i-0123');
  });

  test('passes anti-spoofing and the rule of a security group, and nothing else does', async () => {
    expect(ask('guarded', `${URL4}/`).headers['x-instance-id']).toBe('guarded');
    const dig = testbed.start('guarded', ['dig', '+tries=1', '+time=1', '@192.0.2.1', 'x.example']);
    await dig.end();
    expect(await daemon.drops()).toContainEqual(expect.objectContaining({ port: 'guarded', reason: 'group_deny' }));
  });

  test('with a body longer than any window arrives whole, and one too long is refused', () => {
    writeFileSync(file('body'), Buffer.alloc(50_000, 'x'));
    expect(ask('routed', '--data-binary', `@${file('body')}`, `${URL4}/password`)).toMatchObject({
      method: 'POST',
      size: 50_000,
    });
    writeFileSync(file('long'), Buffer.alloc(70_000, 'x'));
    const status = ['-o', '/dev/null', '-w', '%{http_code}'];
    expect(curl('routed', ...status, '-H', 'Expect:', '--data-binary', `@${file('long')}`, `${URL4}/`)).toBe('413');
    expect(curl('routed', ...status, '-X', 'DELETE', `${URL4}/`)).toBe('405');
  });
});

describe('an answer', () => {
  test('of megabytes arrives whole, by curl and wget', () => {
    const right = createHash('sha256').update(Buffer.alloc(3_000_000, 'weft')).digest('hex');
    for (const command of [`curl -sS --max-time 30 ${URL4}/large`, `wget -q -T 30 -O - ${URL4}/large`])
      expect(testbed.run('routed', 'sh', '-c', `${command} | sha256sum`)).toContain(right);
  }, 60_000);

  test('arrives whole through loss in both directions', () => {
    const nft = (...words: string[]) => testbed.run('routed', 'nft', words.join(' '));
    nft('add table inet loss');
    for (const hook of ['input', 'output']) {
      nft(`add chain inet loss ${hook} { type filter hook ${hook} priority 0; }`);
      nft(`add rule inet loss ${hook} meta l4proto tcp numgen random mod 100 < 2 drop`);
    }
    const right = createHash('sha256').update(Buffer.alloc(3_000_000, 'weft')).digest('hex');
    expect(testbed.run('routed', 'sh', '-c', `curl -sS --max-time 50 ${URL4}/large | sha256sum`)).toContain(right);
    nft('delete table inet loss');
  }, 60_000);

  test('comes in well-formed segments that fit the network', async () => {
    const judge = testbed.start('routed', ['tcpdump', '-i', 'eth0', '-n', '-vv', '-l', '-c', '20', 'tcp src port 80']);
    await until('tcpdump listens', async () => judge.complaints.includes('listening'));
    curl('routed', '-o', '/dev/null', `${URL4}/large`);
    const seen = (await judge.end()).stdout;
    expect(seen).toContain('options [mss 1360]');
    expect(seen).not.toMatch(/bad|incorrect|wrong|length 1(4(?!00)|[5-9])[0-9]{2}\)/);
  });

  test('to several requests of one connection comes in turn', () => {
    const both = testbed.run('routed', 'curl', '-sS', '-v', `${URL4}/a`, `${URL4}/b`, '--stderr', '-');
    expect(both).toContain('Re-using existing connection');
    expect(both).toContain('"/base/a"');
    expect(both).toContain('"/base/b"');
  });
});

test('a port that nobody listens on is refused at once, and one that floods with SYNs is served when it stops', async () => {
  const began = performance.now();
  const flood =
    "const net = require('net'); for (let i = 0; i < 200; i++) net.connect(80, '169.254.169.254').on('error', () => {});";
  const flooding = testbed.start('routed', [process.execPath, '-e', `${flood} setTimeout(() => process.exit(), 1500)`]);
  expect(ask('guarded', `${URL4}/`).headers['x-instance-id']).toBe('guarded');
  await flooding.end();
  await until('it is served', async () => ask('routed', `${URL4}/`).headers['x-instance-id'] === 'i-0123');
  expect(performance.now() - began).toBeLessThan(20_000);
}, 30_000);

test('a new connection is served though the daemon was started anew, and an old one is told that it is over', async () => {
  await daemon.stop();
  await daemon.start();
  await until('it is served', async () => ask('guarded', `${URL4}/`).headers['x-instance-id'] === 'guarded');
}, 30_000);

test('an endpoint that is not there is told of as such; counters and traces know', async () => {
  endpoint.kill();
  await endpoint.end();
  expect(curl('routed', '-o', '/dev/null', '-w', '%{http_code}', `${URL4}/`)).toBe('502');
  const { services } = await daemon.call<StatusResult>('status');
  expect(services.metadata).toMatchObject({ failed: 1, outstanding: 0 });
  expect(services.metadata.answered).toBeGreaterThan(0);
  const frame = 'tcp 192.0.2.7:4000 > 169.254.169.254:80';
  const trace = await daemon.call<TraceResult>('trace', { port: 'routed', frame });
  expect(trace.stages.map(({ text }) => text)).toContain('goes to the metadata service');
});
