/**
 * The address service as machines meet it: the DHCP clients that distributions ship and the kernel's own SLAAC, each in a
 * namespace behind a TAP, with no router, no dnsmasq and no radvd. What a client does with its lease is judged by the client's
 * own hook and the kernel; what went over the wire by tcpdump.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DhcpLeaseRow, JsonObject, TraceResult } from '../../src/control/shapes.js';
import type { Child } from './harness/child.js';
import { Daemon } from './harness/daemon.js';
import { placeMachines, type RoutedMachine } from './harness/routed-machines.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const MAC = '52:54:00:00:00:01';
const names = ['udhcpc', 'dhclient', 'dhcpcd', 'networkd', 'kernel', 'squatter'];
/** Short, so that clients renew while a test waits; dhcpcd takes none for less. */
const LEASE_S = 20;

const config: JsonObject = {
  version: 1,
  networks: { red: { type: 'local', mtu: 1400 } },
  ports: {
    udhcpc: {
      kind: 'tap',
      network: 'red',
      mac: MAC,
      addresses: ['192.0.2.5/24', '2001:db8::5/64'],
      dhcp: { options: { 66: 'tftp.example.org' } },
    },
    ...Object.fromEntries(names.slice(1).map((name) => [name, { kind: 'tap', network: 'red' }])),
  },
  subnets: {
    red4: {
      network: 'red',
      cidr: '192.0.2.0/24',
      gateway: '192.0.2.1',
      dhcp: {
        pool: '192.0.2.100-192.0.2.150',
        dns: ['192.0.2.53'],
        domain: 'example.org',
        routes: [{ to: '198.51.100.0/24', via: '192.0.2.9' }],
        lease: `${LEASE_S}s`,
      },
    },
    red6: {
      network: 'red',
      cidr: '2001:db8::/64',
      gateway: '2001:db8::1',
      ra: { mode: 'stateful', rdnss: ['2001:db8::53'] },
      dhcp6: { pool: '2001:db8::100-2001:db8::1ff' },
    },
    self6: {
      network: 'red',
      cidr: '2001:db8:0:1::/64',
      ra: { mode: 'slaac' },
    },
  },
};

let testbed: Testbed;
let daemon: Daemon;

const leases = () => daemon.call<DhcpLeaseRow[]>('dhcp.leases');
const file = (name: string) => join(testbed.directory, name);

/** A hook that writes down the client's environment, and what it wrote. */
function hook(name: string): { readonly path: string; readonly said: () => string } {
  const [path, log] = [file(`${name}.sh`), file(`${name}.log`)];
  writeFileSync(path, `#!/bin/sh\n{ echo "call=$1"; env; } >> ${log}\n`);
  chmodSync(path, 0o755);
  return { path, said: () => (existsSync(log) ? readFileSync(log, 'utf8') : '') };
}

/** Clients that go on, to renew what they have. */
const clients: Child[] = [];

/** tcpdump on a client's DHCP; `repeats()` is what the client said a second time, because no answer came within its patience. */
async function watch(name: string): Promise<{ readonly repeats: () => string[] }> {
  const judge = testbed.start(name, ['tcpdump', '-i', 'eth0', '-n', '-v', '-l', 'udp port 67']);
  clients.push(judge);
  const said: string[] = [];
  judge.onLine((line) => {
    const kind = /DHCP-Message.*: (Discover|Request)/.exec(line)?.[1];
    if (kind !== undefined) said.push(kind);
  });
  await until('tcpdump listens', () => judge.complaints.includes('listening'));
  return { repeats: () => said.filter((kind, index) => said.indexOf(kind) !== index) };
}

beforeAll(async () => {
  testbed = new Testbed();
  daemon = await Daemon.start(testbed, config);
  const machine = (name: string): RoutedMachine => ({ addresses: [], ...(name === 'udhcpc' ? { mac: MAC } : {}) });
  await placeMachines(testbed, daemon, Object.fromEntries(names.map((name) => [name, machine(name)])));
}, 60_000);

afterAll(() => testbed?.dispose());

describe('udhcpc', () => {
  test('gets the address of its port within a second, with routes, MTU and options', async () => {
    const { path, said } = hook('udhcpc');
    const options = ['-O', 'mtu', '-O', 'staticroutes', '-O', 'tftp'];
    const { repeats } = await watch('udhcpc');
    // It asks again after a second.
    testbed.run('udhcpc', 'udhcpc', '-i', 'eth0', '-f', '-q', '-n', '-t', '5', '-T', '1', '-s', path, ...options);
    expect(repeats()).toEqual([]);
    const words = said().split('\n');
    expect(words).toEqual(
      expect.arrayContaining([
        'call=bound',
        'ip=192.0.2.5',
        'subnet=255.255.255.0',
        'router=192.0.2.1',
        'mtu=1400',
        'dns=192.0.2.53',
        'domain=example.org',
        'tftp=tftp.example.org',
        'staticroutes=198.51.100.0/24 192.0.2.9 0.0.0.0/0 192.0.2.1',
        `lease=${LEASE_S}`,
        'hostname=udhcpc',
      ]),
    );
    expect(await leases()).toContainEqual(
      expect.objectContaining({ subnet: 'red4', address: '192.0.2.5', port: 'udhcpc', mac: MAC, fixed: true }),
    );
  });

  test('renews in unicast, and gives back what it has when it ends', async () => {
    const { path, said } = hook('renewing');
    // What the hook of a distribution does: without an address there is nothing to renew from.
    testbed.ip('udhcpc', 'address', 'replace', '192.0.2.5/24', 'dev', 'eth0');
    const client = testbed.start('udhcpc', ['udhcpc', '-i', 'eth0', '-f', '-R', '-t', '5', '-T', '1', '-s', path]);
    await until('it is bound', async () => said().includes('call=bound'));
    process.kill(client.pid, 'SIGUSR1');
    await until('it has renewed', async () => said().includes('call=renew'));
    await client.stop();
    await until('the lease is over', async () => !(await leases()).some(({ address }) => address === '192.0.2.5'));
    testbed.ip('udhcpc', 'address', 'del', '192.0.2.5/24', 'dev', 'eth0');
  });
});

describe('dhclient', () => {
  test('gets an address of the pool within a second', async () => {
    const { path, said } = hook('dhclient');
    const { repeats } = await watch('dhclient');
    // Its clock counts whole seconds: it asks again after one at least.
    writeFileSync(file('dhclient.conf'), 'initial-interval 2;\nbackoff-cutoff 2;\n');
    const conf = file('dhclient.conf');
    const places = ['-sf', path, '-lf', file('dhclient.leases'), '-pf', file('dhclient.pid'), '-cf', conf];
    clients.push(testbed.start('dhclient', ['dhclient', '-4', '-d', ...places, 'eth0']));
    await until('it is bound', async () => said().includes('reason=BOUND\n'));
    expect(repeats()).toEqual([]);
    expect(said()).toMatch(/new_ip_address=192\.0\.2\.1[0-9]{2}\n/);
    expect(said()).toContain('new_domain_name_servers=192.0.2.53\n');
    const lease = (await leases()).find(({ port }) => port === 'dhclient');
    expect(lease?.fixed).toBe(false);
    // As the hook of a distribution would: without the address it could not renew in unicast.
    testbed.ip('dhclient', 'address', 'add', `${lease?.address}/24`, 'dev', 'eth0');
  });

  test('gets an address by DHCPv6, which tcpdump finds nothing wrong with', async () => {
    const { path, said } = hook('dhclient6');
    const judge = testbed.start('dhclient', [
      'tcpdump',
      '-i',
      'eth0',
      '-n',
      '-vv',
      '-l',
      '-c',
      '2',
      'udp src port 547',
    ]);
    await until('tcpdump listens', async () => judge.complaints.includes('listening'));
    const places = ['-sf', path, '-lf', file('dhclient6.leases'), '-pf', file('dhclient6.pid'), '-cf', '/dev/null'];
    const client = testbed.start('dhclient', ['dhclient', '-6', '-d', ...places, 'eth0']);
    await until('it is bound', async () => said().includes('reason=BOUND6\n'));
    expect(said()).toMatch(/new_ip6_address=2001:db8::1[0-9a-f]{2}\n/);
    await client.stop();
    const seen = (await judge.end()).stdout;
    expect(seen).toContain('dhcp6 reply');
    expect(seen).not.toMatch(/bad udp cksum|invalid|\[\|dhcp6/);
  }, 30_000);
});

test('dhcpcd gets both addresses, and need not ask twice', async () => {
  const { repeats } = await watch('dhcpcd');
  mkdirSync(file('dhcpcd'));
  // Its helpers outlive it: they go with their PID namespace, whose first process is the shell.
  const isolated = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c'];
  const options = '-B -A -q -c /bin/true -f /dev/null';
  const command = `mount --bind ${file('dhcpcd')} /var/lib/dhcpcd; dhcpcd ${options} eth0 >/dev/null 2>&1; true`;
  const client = testbed.start('dhcpcd', [...isolated, command]);
  await until('it has both', async () => {
    const rows = (await leases()).filter(({ port }) => port === 'dhcpcd');
    return rows.length === 2;
  });
  clients.push(client);
  expect(repeats()).toEqual([]);
}, 40_000);

test('systemd-networkd configures addresses, routes and MTU, and need not ask twice', async () => {
  const { repeats } = await watch('networkd');
  writeFileSync(
    file('10-eth.network'),
    '[Match]\nName=eth0\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n[DHCPv4]\nUseMTU=yes\n',
  );
  // Where /sys can't be written to it does not wait for udev, which a namespace has none of.
  const setting = [
    'mount --bind /sys /sys; mount -o remount,ro,bind /sys; mount -t tmpfs tmpfs /run',
    `mkdir -p /run/systemd/network /run/systemd/netif; cp ${file('10-eth.network')} /run/systemd/network/`,
    'chown -R systemd-network:systemd-network /run/systemd/netif',
    '/lib/systemd/systemd-networkd >/dev/null 2>&1; true',
  ];
  const isolated = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c'];
  const client = testbed.start('networkd', [...isolated, setting.join('\n')]);
  const shown = (...words: string[]) => testbed.ip('networkd', ...words);
  await until('it has configured all', async () => {
    const addresses = shown('address', 'show', 'dev', 'eth0');
    return /inet 192\.0\.2\.1[0-9]{2}\/24/.test(addresses) && /inet6 2001:db8::1[0-9a-f]{2}\/128/.test(addresses);
  });
  const routes = shown('route');
  expect(routes).toMatch(/default via 192\.0\.2\.1 dev eth0 proto dhcp/);
  expect(routes).toMatch(/198\.51\.100\.0\/24 via 192\.0\.2\.9 dev eth0 proto dhcp/);
  expect(shown('link', 'show', 'dev', 'eth0')).toContain('mtu 1400');
  clients.push(client);
  expect(repeats()).toEqual([]);
}, 40_000);

test.each(['dhclient', 'dhcpcd', 'networkd'])(
  '%s renews before its lease is over, and keeps its address',
  async (name) => {
    const mine = async () => (await leases()).find(({ port, address }) => port === name && !address.includes(':'));
    const first = await mine();
    let least = LEASE_S;
    await until(
      'the lease is longer again',
      async () => {
        const lease = await mine();
        expect(lease?.address).toBe(first?.address);
        const seconds = lease?.expiresSeconds ?? 0;
        least = Math.min(least, seconds);
        return seconds > least + 2;
      },
      { timeoutMs: LEASE_S * 1000 },
    );
    // Half of it is when it is to ask (RFC 2131 4.4.5).
    expect(least).toBeGreaterThan(LEASE_S / 4);
  },
  40_000,
);

test('an address that a machine uses without a lease is given to nobody', async () => {
  const taken = '192.0.2.140';
  testbed.ip('squatter', 'address', 'add', `${taken}/24`, 'dev', 'eth0');
  const { path, said } = hook('late');
  const options = ['-q', '-n', '-t', '5', '-T', '1', '-r', taken];
  testbed.run('kernel', 'udhcpc', '-i', 'eth0', '-f', ...options, '-s', path);
  expect(said()).toMatch(/^ip=192\.0\.2\.1[0-9]{2}$/m);
  expect(said()).not.toContain(`ip=${taken}\n`);
  testbed.ip('squatter', 'address', 'del', `${taken}/24`, 'dev', 'eth0');
});

test("the kernel makes itself an address from the advertisements, with the network's MTU and a default route", async () => {
  testbed.run('kernel', 'sysctl', '-qw', 'net.ipv6.conf.eth0.accept_ra=2');
  await until('it has an address', async () => {
    const addresses = testbed.ip('kernel', '-6', 'address', 'show', 'dev', 'eth0');
    return addresses.includes('2001:db8:0:1:');
  });
  const routes = testbed.ip('kernel', '-6', 'route');
  expect(routes).toMatch(/default via fe80::[0-9a-f:]+ dev eth0 proto ra .*mtu 1400/);
  // No address of its own making in the subnet that has a server.
  expect(testbed.ip('kernel', '-6', 'address', 'show', 'dev', 'eth0')).not.toMatch(/inet6 2001:db8::[0-9a-f]/);
}, 40_000);

test('a killed daemon that comes back has the leases it gave', async () => {
  for (const client of clients) client.kill();
  const begin = performance.now();
  const rows = (list: readonly DhcpLeaseRow[]) => list.map(({ address, port, mac }) => ({ address, port, mac }));
  const before = await leases();
  expect(before.length).toBeGreaterThan(2);
  await daemon.killHard();
  await daemon.start();
  const after = await leases();
  // Nobody renews them any more: on a busy machine some are over by now.
  const elapsedS = (performance.now() - begin) / 1000 + 1;
  const standing = new Set(
    before.filter(({ expiresSeconds }) => expiresSeconds > elapsedS).map(({ address }) => address),
  );
  const isStanding = ({ address }: DhcpLeaseRow) => standing.has(address);
  expect(standing.size).toBeGreaterThan(2);
  expect(rows(after.filter(isStanding))).toEqual(rows(before.filter(isStanding)));
  expect(rows(before)).toEqual(expect.arrayContaining(rows(after)));
}, 40_000);

test('every frame is accounted for, and a trace says what the service would do', async () => {
  await daemon.expectConservation();
  const shown = await daemon.weft('dhcp', 'leases');
  expect(shown.stdout).toMatch(/^SUBNET +ADDRESS +MAC +PORT +EXPIRES +KIND/m);
  const trace = await daemon.call<TraceResult>('trace', {
    port: 'kernel',
    frame: `333300000002${'5254000000aa'}86dd6000000000083aff${'fe80000000000000505400fffe0000aa'}ff020000000000000000000000000002850000000000${'0000'}`,
  });
  expect(trace.verdict).toBe('consume');
  expect(trace.stages.at(-1)?.text).toBe('answers the solicitation with an advertisement');
});
