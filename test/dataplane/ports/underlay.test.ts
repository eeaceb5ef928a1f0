/** Underlay ports, in a namespace that the test's thread moves into, with a second one as the network. Needs root. */
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { inNamespace, type NamespaceFd, openNamespace } from '../../../src/dataplane/interface.js';
import type { DatagramQueue } from '../../../src/dataplane/io-engine.js';
import * as native from '../../../src/dataplane/native.js';
import type { DatagramTransport, UnderlayIntent, UnderlayPath } from '../../../src/dataplane/port.js';
import { underlay } from '../../../src/dataplane/ports/underlay.js';
import { socketAddress } from '../../../src/dataplane/socket-address.js';
import { ipWords, ipWordsText, parseIp } from '../../../src/wire/address.js';
import { BenchWorker, engineKinds, sleep, until } from '../../suites/bench-worker.js';
import { ip, TestNamespace } from '../../suites/namespace.js';
import { PortDouble } from '../../suites/port-suite.js';

const CLONE_NEWNET = 0x4000_0000;
const UDP_PORT = 4789;
const NEAR = 'und0';
const FAR = 'und1';
const families = [
  {
    family: 'IPv4',
    local: '192.0.2.1',
    remote: '192.0.2.2',
    length: 24,
    beyond: '203.0.113.5',
    beyondNet: '203.0.113.0/24',
  },
  {
    family: 'IPv6',
    local: '2001:db8::1',
    remote: '2001:db8::2',
    length: 64,
    beyond: '2001:db8:1::5',
    beyondNet: '2001:db8:1::/64',
  },
] as const;

let home: NamespaceFd;
let near: TestNamespace;
let far: TestNamespace;
let worker: BenchWorker;
let port: PortDouble;

beforeEach(() => {
  near = new TestNamespace();
  far = new TestNamespace();
  near.ip('link', 'add', NEAR, 'type', 'veth', 'peer', 'name', FAR, 'netns', far.name);
  far.ip('address', 'add', '192.0.2.2/24', 'dev', FAR);
  far.ip('address', 'add', '2001:db8::2/64', 'dev', FAR, 'nodad');
  near.ip('link', 'set', NEAR, 'up');
  far.ip('link', 'set', FAR, 'up');
  home = openNamespace('/proc/thread-self/ns/net');
  native.check('entering a namespace', native.setns(near.fd, CLONE_NEWNET));
  worker = new BenchWorker('uring');
  port = new PortDouble(worker);
});
afterEach(async () => {
  await port.close();
  await worker.close();
  native.check('going home', native.setns(home, CLONE_NEWNET));
  native.close(home);
  near.close();
  far.close();
  expect(worker.pool.available, 'slots that came back').toBe(worker.pool.slotCount);
});

function addAddress(local: string, length: number): void {
  near.ip('address', 'add', `${local}/${length}`, 'dev', NEAR, ...(local.includes(':') ? ['nodad'] : []));
}

const removeAddress = (local: string, length: number) => near.ip('address', 'del', `${local}/${length}`, 'dev', NEAR);

const start = (local: string, extra: Partial<UnderlayIntent> = {}, queues = 1) =>
  port.start(underlay, {
    intent: {
      device: '',
      queues,
      underlay: {
        type: 'vxlan',
        local,
        port: UDP_PORT,
        sourcePorts: 4,
        ttl: 64,
        driver: 'socket',
        checksum: true,
        remotes: [],
        ...extra,
      },
    },
  });

const paths = (): readonly UnderlayPath[] => port.handle!.underlay!.paths();

function sendTo(to: string, size: number): void {
  const slot = worker.frame(new Uint8Array(size).fill(0xa5));
  const [a0, a1, a2, a3] = ipWords(parseIp(to)!);
  const queue = port.queues[0] as DatagramQueue;
  if (!queue.sendTo(slot, 0, 0, 0, a0!, a1!, a2!, a3!)) worker.pool.release(slot);
  worker.breathe();
}

/** Sends until the condition holds: the first datagrams may only ask for a neighbour. */
async function sending(
  what: string,
  to: string,
  size: number,
  condition: () => boolean,
  timeoutMs = 5000,
): Promise<void> {
  await until(
    what,
    () => {
      sendTo(to, size);
      return condition();
    },
    timeoutMs,
  );
}

const openDescriptors = () => readdirSync('/proc/self/fd').length;

describe.each(families)('an underlay port over $family', ({ local, remote, length, beyond, beyondNet }) => {
  test.each(engineKinds)('sends to its remote and hears it, by the %s engine', async (engine) => {
    await worker.close();
    worker = new BenchWorker(engine);
    port = new PortDouble(worker);
    addAddress(local, length);
    await start(local, { remotes: [remote] });
    expect(port.told).toEqual(['opened']);
    const address = parseIp(remote)!;
    const fd = inNamespace(far.fd, () => native.socket(address.length === 4 ? 2 : 10, 2 | native.O_NONBLOCK, 0));
    try {
      native.check('binding', native.bind(fd, socketAddress(address, UDP_PORT)));
      native.check('connecting', native.connect(fd, socketAddress(parseIp(local)!, UDP_PORT)));
      worker.breathe();
      native.check('sending', native.send(fd, new Uint8Array(100).fill(7)));
      await until('it came', () => worker.breathe(1) >= 0 && worker.received.length === 1);
      expect(worker.received[0]!.octets).toEqual(new Uint8Array(100).fill(7));
      expect(ipWordsText(Int32Array.from(worker.received[0]!.source))).toBe(remote);
      sendTo(remote, 100);
      await until('it was sent', () => worker.breathe(1) >= 0 && worker.sent.length === 1);
      expect(worker.sent[0]!.reason).toBe('none');
    } finally {
      native.close(fd);
    }
  });

  test('waits for its address, and follows it within a second when it comes, goes and comes back', async () => {
    const absence = { state: 'waiting', reason: `no address ${local} on this host` };
    await start(local);
    expect(port.absence).toEqual(absence);
    for (let turn = 1; turn <= 3; turn++) {
      addAddress(local, length);
      await until('it is open', () => port.open !== undefined, 1000);
      sendTo(remote, 100);
      removeAddress(local, length);
      await until('it is lost', () => port.absence !== undefined, 1000);
      expect(port.absence).toEqual(absence);
      await until('the worker let go', () => port.queues.length === 0);
      await sleep(20);
    }
    expect(port.told).toEqual(['lost', 'opened', 'lost', 'opened', 'lost', 'opened', 'lost']);
  });

  test('has the MTU of the interface with its address while it has no remotes, and tells of changes', async () => {
    addAddress(local, length);
    near.ip('link', 'set', NEAR, 'mtu', '1450');
    await until('the interface runs', () => /LOWER_UP/.test(near.ip('link', 'show', NEAR)));
    await sleep(20);
    await start(local);
    await until('its MTU is told', () => port.open?.mtu === 1450);
    const { queues } = port.open!;
    near.ip('link', 'set', NEAR, 'mtu', '1400');
    await until('the change is told', () => port.open?.mtu === 1400);
    expect(port.open!.queues).toEqual(queues);
  });

  test('has the MTU of its interface, whatever fits the routes to its remotes, and tells when those change', async () => {
    addAddress(local, length);
    near.ip('route', 'add', beyondNet, 'via', remote, 'mtu', '1300');
    await start(local, { remotes: [remote, beyond] });
    expect(port.open?.mtu).toBe(1500);
    expect(paths()).toEqual([
      { remote, mtu: 1500, state: 'up' },
      { remote: beyond, mtu: 1300, state: 'up' },
    ]);
    near.ip('route', 'change', beyondNet, 'via', remote, 'mtu', '1350');
    await until('the change is told', () => port.told.at(-1) === 'changed');
    expect(paths()[1]!.mtu).toBe(1350);
    expect(port.told).toEqual(['opened', 'changed']);
    port.handle!.underlay!.follow([remote]);
    expect(paths().map((path) => path.remote)).toEqual([remote]);
    expect(port.told, 'no path is narrow any more').toEqual(['opened', 'changed', 'changed']);
    near.ip('link', 'set', NEAR, 'mtu', '1320');
    await until('the interface’s is told', () => port.open?.mtu === 1320);
    near.ip('link', 'set', NEAR, 'mtu', '1500');
    await until('it is again as it was', () => port.open?.mtu === 1500);
    expect(port.told.filter((what) => what !== 'changed')).toEqual(['opened']);
  });

  test('whose address is the loopback’s has the MTU of the widest path', async () => {
    addAddress(local.replace(/1$/, '9'), length);
    near.ip('link', 'set', 'lo', 'up');
    near.ip('address', 'add', `${local.replace(/1$/, '8')}/${local.includes(':') ? 128 : 32}`, 'dev', 'lo');
    near.ip('route', 'add', beyondNet, 'via', remote, 'mtu', '1300');
    await start(local.replace(/1$/, '8'), { remotes: [beyond] });
    expect(port.open?.mtu).toBe(1300);
    port.handle!.underlay!.follow([beyond, remote]);
    expect(port.open?.mtu).toBe(1500);
  });

  test('says of a remote that there is no route, and stays up', async () => {
    addAddress(local, length);
    await start(local, { remotes: [remote, beyond] });
    expect(port.open?.mtu).toBe(1500);
    expect(paths()[1]).toEqual({ remote: beyond, mtu: 0, state: 'down', reason: `no route to ${beyond}` });
    near.ip('route', 'add', beyondNet, 'via', remote);
    await until('the route is seen', () => paths()[1]!.state === 'up');
    near.ip('route', 'del', beyondNet, 'via', remote);
    await until('it is missed', () => paths()[1]!.state === 'down');
    expect(port.told).toEqual(['opened']);
  });

  test('says that nobody listens at a remote, until something is heard from there', async () => {
    addAddress(local, length);
    await start(local, { remotes: [remote, beyond] });
    await sending('it is down', remote, 100, () => paths()[0]!.state === 'down');
    expect(paths()[0]).toEqual({ remote, mtu: 1500, state: 'down', reason: `port unreachable by ${remote}` });
    port.handle!.underlay!.heard(remote);
    expect(paths()[0]).toEqual({ remote, mtu: 1500, state: 'up' });
    expect(worker.sent.every(({ reason }) => reason === 'none')).toBe(true);
  });

  test('says that a remote answers no neighbour request', async () => {
    const silent = local.replace(/1$/, '77');
    addAddress(local, length);
    await start(local, { remotes: [silent] });
    await sending('it is down', silent, 100, () => paths()[0]!.state === 'down', 8000);
    expect(paths()[0]!.reason).toBe(`host unreachable by ${local}`);
  });

  test('learns a path’s MTU from a router that could not forward', async () => {
    addAddress(local, length);
    far.ip('link', 'add', 'narrow', 'mtu', '1300', 'type', 'veth', 'peer', 'name', 'narrower');
    far.ip('link', 'set', 'narrower', 'up');
    far.ip('address', 'add', `${beyondNet.replace('.0/', '.1/').replace('::/', '::1/')}`, 'dev', 'narrow');
    far.ip('link', 'set', 'narrow', 'up');
    inFar('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    near.ip('route', 'add', beyondNet, 'via', remote);
    await start(local, { remotes: [beyond] });
    expect(port.open?.mtu).toBe(1500);
    await sending('it is told', beyond, 1400, () => port.told.at(-1) === 'changed');
    expect(port.open?.mtu).toBe(1500);
    expect(paths()).toEqual([{ remote: beyond, mtu: 1300, state: 'up' }]);
    worker.sent.length = 0;
    sendTo(beyond, 1400);
    await until('it is reported', () => worker.breathe(1) >= 0 && worker.sent.length === 1);
    expect(worker.sent[0]!.reason).toBe('mtu_exceeded');
  });

  test('is not misled by ICMP messages about others’ datagrams', async () => {
    addAddress(local, length);
    await start(local, { remotes: [remote] });
    // Another program's datagram to another closed port of the remote.
    const fd = native.socket(local.includes(':') ? 10 : 2, 2 | native.O_NONBLOCK, 0);
    try {
      native.check('binding', native.bind(fd, socketAddress(parseIp(local)!, 0)));
      native.check('connecting', native.connect(fd, socketAddress(parseIp(remote)!, 4000)));
      const refused = () => native.send(fd, new Uint8Array(10)) < 0 && native.errno() === 111;
      await until('it was refused', refused);
    } finally {
      native.close(fd);
    }
    await sleep(50);
    expect(paths()).toEqual([{ remote, mtu: 1500, state: 'up' }]);
  });

  test('opens when a port that another program has becomes free', async () => {
    addAddress(local, length);
    const fd = native.socket(local.includes(':') ? 10 : 2, 2, 0);
    native.check('binding', native.bind(fd, socketAddress(parseIp(local)!, UDP_PORT)));
    const before = openDescriptors();
    await start(local);
    expect(port.absence?.state).toBe('down');
    expect(port.absence?.reason).toMatch(/port 4789.*EADDRINUSE/);
    await sleep(1100);
    expect(port.told, 'one reason is told once').toEqual(['lost']);
    expect(openDescriptors(), 'what was opened before it failed is closed').toBeLessThanOrEqual(before + 4);
    native.close(fd);
    await until('it is open', () => port.open !== undefined, 2500);
  });

  test('has one socket to receive by for each worker, and all send by the same', async () => {
    addAddress(local, length);
    await start(local, { checksum: false, sourcePorts: 5 }, 3);
    const queues = port.open!.queues as readonly DatagramTransport[];
    expect(new Set(queues.map(({ fd }) => fd)).size).toBe(3);
    for (const { senders, segmentSenders, ...rest } of queues) {
      expect(senders).toEqual(queues[0]!.senders);
      expect(segmentSenders).toHaveLength(5);
      expect(rest).toMatchObject({ type: 'datagram', protocol: 'udp', remotePort: UDP_PORT });
    }
  });

  test('of GRE has one socket, and says when the remote does not know the protocol', async () => {
    addAddress(local, length);
    await start(local, { type: 'gre', port: 0, remotes: [remote] }, 3);
    expect(port.open!.queues).toHaveLength(1);
    const [queue] = port.open!.queues as readonly DatagramTransport[];
    expect(queue).toMatchObject({ protocol: 'gre', senders: [queue!.fd], remotePort: 0 });
    await sending('it is down', remote, 100, () => paths()[0]!.state === 'down');
    expect(paths()[0]!.reason).toBe(`protocol unreachable by ${remote}`);
  });

  test('closing it leaves no descriptor open, whether its address is there or not', async () => {
    const before = openDescriptors();
    for (const isThere of [false, true]) {
      if (isThere) addAddress(local, length);
      const second = new PortDouble(worker);
      await second.start(underlay, {
        intent: {
          device: '',
          underlay: {
            type: 'vxlan',
            local,
            port: UDP_PORT,
            sourcePorts: 4,
            ttl: 64,
            driver: 'socket',
            checksum: false,
            remotes: [remote],
          },
        },
      });
      expect(second.open !== undefined).toBe(isThere);
      await second.close();
      await until('the descriptors are closed', () => openDescriptors() <= before);
    }
  });
});

test('an underlay port refuses more queues than a port may have', async () => {
  await expect(start('192.0.2.1', {}, 17)).rejects.toThrow(/at most 16 queues/);
});

function inFar(...words: string[]): void {
  ip('netns', 'exec', far.name, ...words);
}
