/**
 * A virtual machine that boots with nothing but weft beside it: DHCP gives it address, gateway and MTU, and the router's SNAT
 * its way to a server in the "internet", a namespace behind another one that knows no way back to inside addresses.
 */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { DhcpLeaseRow, PortStats } from '../../src/control/shapes.js';
import { buildGuestImage, kitIsThere, Lab, until } from './lab.js';

const DOWNLOAD_MB = 100;
const DOWNLOAD_MAX_MS = 150_000;
const OUTSIDE = '203.0.113.10';
const EDGE = '203.0.113.1';
const SERVER = '198.51.100.80';

/** Serves so many MB of what no compression and no repeated buffer would give; says its MD5, and whom it serves. */
const SERVE = `
  const crypto = require('crypto');
  const megabytes = Number(process.argv[1]);
  const content = () => crypto.createCipheriv('aes-128-ctr', 'weft-test-sample', Buffer.alloc(16));
  const zeros = Buffer.alloc(1e6);
  const hash = crypto.createHash('md5');
  for (let left = megabytes, source = content(); left > 0; left--) hash.update(source.update(zeros));
  console.log('md5 ' + hash.digest('hex'));
  require('net').createServer((peer) => {
    console.log('serves ' + peer.remoteAddress);
    const source = content();
    let left = megabytes;
    const more = () => { while (left-- > 0) if (!peer.write(source.update(zeros))) return; peer.end(); };
    peer.on('drain', more).on('error', () => {});
    more();
  }).listen(8000, () => console.log('ready'));`;

let lab: Lab | undefined;

afterEach(async () => {
  await lab?.close();
  lab = undefined;
});

/** The router's far side, and a server behind one more router. */
function buildInternet(inside: Lab): void {
  inside.ip(undefined, 'link', 'set', 'world', 'netns', inside.host('edge'), 'name', 'wan');
  inside.ip('edge', 'link', 'set', 'wan', 'up');
  inside.ip('edge', 'address', 'add', `${EDGE}/24`, 'dev', 'wan');
  inside.ip('edge', 'link', 'add', 'lan', 'type', 'veth', 'peer', 'name', 'lan', 'netns', inside.host('server'));
  for (const [host, address] of [
    ['edge', '198.51.100.1/24'],
    ['server', `${SERVER}/24`],
  ] as const) {
    inside.ip(host, 'link', 'set', 'lan', 'up');
    inside.ip(host, 'address', 'add', address, 'dev', 'lan');
  }
  inside.ip('server', 'route', 'add', 'default', 'via', '198.51.100.1');
}

const config = {
  networks: { lab: { type: 'local' }, outside: { type: 'local' } },
  subnets: {
    lab4: {
      network: 'lab',
      cidr: '192.0.2.0/24',
      gateway: '192.0.2.1',
      dhcp: { pool: '192.0.2.100-192.0.2.150', dns: ['198.51.100.53'] },
    },
  },
  routers: {
    r: {
      interfaces: { lab: '192.0.2.1/24' },
      routes: [{ to: '0.0.0.0/0', via: EDGE }],
      external: { network: 'outside', addresses: [`${OUTSIDE}/24`] },
    },
  },
};

const isBalanced = ({ rx }: PortStats) => rx.frames === rx.forwarded + rx.consumed + rx.dropped;

if (kitIsThere) {
  describe('a virtual machine with nothing but weft', () => {
    beforeAll(buildGuestImage, 120_000);

    test(`boots by DHCP, sees the hops to a server, and downloads ${DOWNLOAD_MB} MB from it through SNAT`, async () => {
      lab = new Lab('boot');
      const attachment = lab.tap('vmtap1');
      await lab.startDaemon({ vm1: attachment.port, world: { kind: 'tap', network: 'outside' } }, config);
      buildInternet(lab);
      await lab.startOn('edge', ['sysctl', '-qw', 'net.ipv4.ip_forward=1']).end();
      const server = lab.startOn('server', [process.execPath, '-e', SERVE, String(DOWNLOAD_MB)]);

      const guest = await lab.boot('vm1', attachment, { number: 1, net: 'dhcp' });
      const [lease] = (await lab.weft('dhcp', 'leases')) as DhcpLeaseRow[];
      expect(lease).toMatchObject({ subnet: 'lab4', port: 'vm1', mac: '52:54:00:00:00:01', fixed: false });
      expect(await guest.run('ip -4 address show dev eth0')).toContain(`inet ${lease?.address}/24`);
      expect(await guest.run('ip route')).toContain('default via 192.0.2.1 dev eth0');
      expect(await guest.run('cat /etc/resolv.conf')).toContain('nameserver 198.51.100.53');

      await until('the server is ready', () => server.output.includes('ready'));
      const hops = await guest.run(`traceroute -n -q 1 -w 5 ${SERVER}`);
      expect([...hops.matchAll(/^ *\d+ +([0-9.]+) /gm)].map(([, hop]) => hop)).toEqual(['192.0.2.1', EDGE, SERVER]);

      // Why nc, and why its input stays open: vm.test.ts.
      const receive = `rm -f /tmp/open; mkfifo /tmp/open; nc -w 10 ${SERVER} 8000 0<> /tmp/open | md5sum`;
      const received = await guest.run(receive, DOWNLOAD_MAX_MS);
      expect(received.split(' ')[0]).toBe(/md5 (\w+)/.exec(server.output)?.[1]);
      expect(server.output).toMatch(new RegExp(`serves (::ffff:)?${OUTSIDE}\n`));

      let ports: readonly PortStats[] = [];
      await until('every frame is accounted for', async () => {
        ports = (await lab?.stats()) ?? [];
        return ports.length === 2 && ports.every(isBalanced);
      });
      await guest.powerOff();
      expect(await lab.stopDaemon()).toBe(0);
    }, 240_000);
  });
} else {
  test('tests with virtual machines are left out: ../shared/vm, which has the guests, is not there', () => {
    expect(process.env.CI, 'with CI=true the virtual machines of ../shared/vm are required').not.toBe('true');
  });
}
