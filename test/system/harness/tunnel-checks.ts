/** What tests of tunnels ask of hosts and machines again and again. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { TunnelRow } from '../../../src/control/shapes.js';
import type { Daemon } from './daemon.js';
import type { Machine } from './machine.js';
import type { Testbed } from './testbed.js';
import type { Tunnels } from './tunnel-hosts.js';

/** Around the MTU of every kind of tunnel, frames shorter than Ethernet's least, and datagrams of many fragments. */
export const PING_SIZES = '0-1330:95,1331-1480:7,1402,1422,1423,1500,2900,20000,65507';
/** What the two machines exchange: as much there as back. */
export const TRANSFER = 4 * 1024 * 1024;

/** Echoes of all sizes and TCP both ways, begun at either end, by IPv4 and IPv6 inside. */
export async function expectTraffic(one: Machine, two: Machine, octets = TRANSFER): Promise<void> {
  await one.expectPings(two.ipv4, PING_SIZES);
  await two.expectPings(one.ipv6, PING_SIZES);
  await one.expectTransfer(two, two.ipv4, octets);
  await two.expectTransfer(one, one.ipv6, octets);
}

/** What a capture hears that is to hear a tunnel's packets and nothing else. */
export function tunnelFilter({ type, family }: Tunnels): string {
  const port = { vxlan: 4789, geneve: 6081, gre: 0 }[type];
  const version = family === 4 ? 'ip' : 'ip6';
  return port === 0 ? `${version} proto 47` : `${version} and udp port ${port}`;
}

/** Drops of frames and copies under a reason, at all ports. */
export async function dropCount(daemon: Daemon, reason: string): Promise<number> {
  const rows = (await daemon.drops()).filter((row) => row.reason === reason);
  return rows.reduce((sum, { count }) => sum + count, 0);
}

export async function tunnelTo(daemon: Daemon, remote: string): Promise<TunnelRow> {
  const row = (await daemon.call<readonly TunnelRow[]>('tunnel.list')).find((candidate) => candidate.remote === remote);
  if (row === undefined) throw new Error(`there is no tunnel to ${remote}`);
  return row;
}

/** ping(8) with don't-fragment set: what it said. `size`: of the whole IP packet. */
export async function pingWhole(testbed: Testbed, from: Machine, to: string, size: number): Promise<string> {
  const data = size - (to.includes(':') ? 48 : 28);
  const words = ['-n', '-c', '3', '-i', '0.2', '-W', '1', '-M', 'do', '-s', String(data), to];
  const { stdout, stderr } = await testbed.start(from.label, ['ping', ...words]).end();
  return stdout + stderr;
}

/** The MTU that the answers to too long packets told: now, or earlier, so that the machine's kernel knows. */
export async function expectTooBig(
  testbed: Testbed,
  from: Machine,
  to: string,
  size: number,
  mtu: number,
): Promise<void> {
  const said = await pingWhole(testbed, from, to, size);
  const told = to.includes(':') ? `Packet too big: mtu=${mtu}` : `Frag needed and DF set (mtu = ${mtu})`;
  const known = ['=', ': '].map((between) => `message too long, mtu${between}${mtu}`);
  const isTold = [told, ...known].some((words) => said.includes(words));
  expect(isTold, said).toBe(true);
}

/** Nanoseconds of CPU that a process' threads have taken. */
export function cpuTime(pid: number): number {
  const times = readdirSync(`/proc/${pid}/task`).map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  );
  return times.reduce((sum, time) => sum + time, 0);
}
