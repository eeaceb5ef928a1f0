/**
 * Machines behind routers: namespaces with addresses and default routes of their own, at the switch's ports, and what they
 * send each other.
 */
import type { Child } from './child.js';
import type { Daemon } from './daemon.js';
import { DEVICE } from './machine.js';
import type { Testbed } from './testbed.js';
import { until } from './wait.js';

const IPERF_PORT = '5201';

export interface RoutedMachine {
  /** With the lengths of their prefixes. */
  readonly addresses: readonly string[];
  /** Default routers, at most one of each IP version. */
  readonly gateways?: readonly string[];
  /** These as the switch made them when absent. */
  readonly mtu?: number;
  readonly mac?: string;
}

/** Makes the device of a port, which has the machine's name, its only interface. `from`: label of the namespace it is in. */
export function placeMachine(testbed: Testbed, name: string, machine: RoutedMachine, from = 's'): void {
  testbed.ip(from, 'link', 'set', 'dev', name, 'netns', testbed.namespace(name), 'name', DEVICE);
  const settings = [`net.ipv6.conf.${DEVICE}.disable_ipv6=0`, `net.ipv6.conf.${DEVICE}.accept_dad=0`];
  testbed.run(name, 'sysctl', '-qw', ...settings);
  const mtu = machine.mtu === undefined ? [] : ['mtu', String(machine.mtu)];
  const mac = machine.mac === undefined ? [] : ['address', machine.mac];
  testbed.ip(name, 'link', 'set', DEVICE, ...mtu, ...mac, 'up');
  for (const address of machine.addresses) {
    const isIpv6 = address.includes(':');
    testbed.ip(name, 'address', 'add', address, 'dev', DEVICE, ...(isIpv6 ? ['nodad'] : []));
  }
  for (const gateway of machine.gateways ?? []) {
    testbed.ip(name, gateway.includes(':') ? '-6' : '-4', 'route', 'add', 'default', 'via', gateway);
  }
}

/** Places them all and waits until their ports carry frames. */
export async function placeMachines(
  testbed: Testbed,
  daemon: Daemon,
  machines: Readonly<Record<string, RoutedMachine>>,
  from = 's',
): Promise<void> {
  for (const [name, machine] of Object.entries(machines)) placeMachine(testbed, name, machine, from);
  await until('all ports are up', async () =>
    (await Promise.all(Object.keys(machines).map((name) => daemon.port(name)))).every(({ state }) => state === 'up'),
  );
}

/** What ping says of three packets; its status is not looked at. */
export async function ping(testbed: Testbed, from: string, to: string, ...options: string[]): Promise<string> {
  const words = ['ping', '-n', '-c', '3', '-i', '0.1', '-W', '5', ...options, to];
  const { stdout, stderr } = await testbed.start(from, words).end();
  return stdout + stderr;
}

export interface Streamed {
  /** Whom the server saw. */
  readonly host: string;
  /** Octets that arrived. */
  readonly bytes: number;
}

/**
 * Streams from one machine to a server on another at `address`; throws what the client complains of. `options`: iperf3's; `-n`
 * says how much the client sends: the last of it, still in its buffers when it ends, may never arrive.
 */
export async function stream(
  testbed: Testbed,
  from: string,
  to: string,
  address: string,
  ...options: string[]
): Promise<Streamed> {
  const server = testbed.start(to, ['iperf3', '-s', '-1', '-J', '-p', IPERF_PORT]);
  await until('iperf3 listens', () => testbed.run(to, 'ss', '-Hltn').includes(`:${IPERF_PORT}`));
  const client = await testbed.start(from, ['iperf3', '-c', address, '-n', '8M', '-J', ...options]).end();
  const { stdout } = await server.end();
  const said = JSON.parse(client.stdout) as {
    error?: string;
    end: { sum_received?: { bytes: number }; sum?: { bytes: number } };
  };
  if (said.error !== undefined) throw new Error(said.error);
  const heard = JSON.parse(stdout) as { start: { accepted_connection: { host: string } } };
  return { host: heard.start.accepted_connection.host, bytes: (said.end.sum_received ?? said.end.sum)?.bytes ?? 0 };
}

/** A TCP server at this address that answers everything it hears with the machine's name. */
export async function serveName(testbed: Testbed, label: string, address: string, port: number): Promise<Child> {
  const text = `
    const [name, address, port] = process.argv.slice(1);
    require('net').createServer((peer) => peer.on('data', () => peer.write(name + ' ')).on('error', () => {}))
      .listen(Number(port), address, () => console.log('ready'));`;
  return await testbed.start(label, [process.execPath, '-e', text, label, address, String(port)]).ready();
}

/** Connects so many times to such servers, says something five times each, and returns which names each connection heard. */
export async function meet(
  testbed: Testbed,
  from: string,
  address: string,
  port: number,
  connections: number,
): Promise<string[][]> {
  const text = `
    const [address, port, count] = process.argv.slice(1);
    const meet = () => new Promise((resolve) => {
      const heard = [];
      const socket = require('net').connect(Number(port), address, () => socket.write('x'));
      const end = () => { socket.destroy(); resolve(heard); };
      socket.on('error', end).on('data', (octets) => {
        heard.push(String(octets).trim());
        if (heard.length < 5) socket.write('x'); else end();
      });
    });
    Promise.all(Array.from({ length: Number(count) }, meet)).then((met) => console.log(JSON.stringify({ met })));`;
  const words = [process.execPath, '-e', text, address, String(port), String(connections)];
  return (await testbed.start(from, words).result<{ met: string[][] }>()).met;
}
