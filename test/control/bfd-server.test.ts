/** Sessions by configuration, and what becomes of tunnels. No socket gets anywhere here: the addresses are nobody's. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BfdServer } from '../../src/control/bfd-server.js';
import { Indices } from '../../src/control/indices.js';
import { BFD_SIZE, writeBfd } from '../../src/wire/bfd.js';
import { until } from '../system/harness/wait.js';
import { bfdFrame } from '../wire/bfd-frames.js';
import { check, told } from './configs.js';

/** Tunnels numbered as they are asked for. */
class Tunnels {
  readonly down = new Set<number>();
  readonly names: string[] = [''];
  fails = false;

  numbers(member: number, remotes: readonly string[]): number[] {
    return remotes.map((remote) => {
      const name = `${member} ${remote}`;
      if (!this.names.includes(name)) this.names.push(name);
      return this.names.indexOf(name);
    });
  }

  readonly taken: number[] = [];

  takeSequence(tunnel: number): number {
    this.taken.push(tunnel);
    return 0x0102_0300 + this.taken.length;
  }

  setDown(tunnel: number, isDown: boolean): void {
    if (this.fails) throw new Error('the table is locked');
    if (isDown) this.down.add(tunnel);
    else this.down.delete(tunnel);
  }
}

let tunnels: Tunnels;
let logged: string[];
let server: BfdServer;
let indices: Indices;

beforeEach(() => {
  tunnels = new Tunnels();
  logged = [];
  indices = new Indices();
  const log = (detail: object, message: string) => logged.push(`${message} ${JSON.stringify(detail)}`);
  server = new BfdServer(tunnels, { info: log, warn: log, error: log });
});
afterEach(() => server.close());

const LOCAL = '192.0.2.1';
const text = (bfd: string, remotes = '192.0.2.2, 192.0.2.3') => `version: 1
networks:
  red: { type: vxlan, id: 1, underlay: u0, remotes: [${remotes}] }
  blue: { type: vxlan, id: 2, underlay: u0, remotes: [192.0.2.2] }
underlays: { u0: { local: ${LOCAL}${bfd} } }
`;
const BESIDE = ', bfd: {}';
const INSIDE = ', bfd: { inside: true }';

function follow(...words: Parameters<typeof text>): void {
  const { resolved } = check(text(...words));
  indices = indices.allocate(resolved);
  server.follow(resolved, indices);
}

/** What a remote says, with a discriminator of its own. */
function said(state: number, discriminator = 7): number[] {
  const octets = new Uint8Array(BFD_SIZE);
  const silent = { isPoll: false, isFinal: false, isControlPlaneIndependent: false, isDemand: false };
  const timing = { multiplier: 3, desiredMinTxUs: 100_000, requiredMinRxUs: 100_000, requiredMinEchoRxUs: 0 };
  const ends = { myDiscriminator: discriminator, yourDiscriminator: 0 };
  writeBfd(octets, 0, { diagnostic: 0, state, ...silent, ...timing, ...ends });
  return [...octets];
}

const [ADMIN_DOWN, DOWN] = [0, 1];
const heard = (tunnel: number, state: number) => server.hearInside(bfdFrame({ packet: said(state) }), tunnel);
const tunnelTo = (network: string, remote: string) =>
  tunnels.names.indexOf(`${indices.member('u0/vxlan', network)} ${remote}`);
const allTunnels = () => [tunnelTo('red', '192.0.2.2'), tunnelTo('red', '192.0.2.3'), tunnelTo('blue', '192.0.2.2')];
const downTunnels = () => [...tunnels.down].sort();

describe('tunnels', () => {
  test.each([BESIDE, INSIDE])('to remotes that are watched are down until the session is up (%s)', (bfd) => {
    follow(bfd);
    expect(downTunnels()).toEqual(allTunnels().sort());
  });

  test('of an underlay that is not watched are not down, whatever was before', () => {
    follow('');
    for (const tunnel of allTunnels()) tunnels.down.add(tunnel);
    follow('');
    expect(downTunnels()).toEqual([]);
    follow(BESIDE);
    follow('');
    expect(downTunnels()).toEqual([]);
    expect(server.view(LOCAL, '192.0.2.2', 'red')).toBeUndefined();
  });

  test('to a remote that is new are down, and nothing happens to the others', () => {
    follow(INSIDE, '192.0.2.2');
    heard(tunnelTo('red', '192.0.2.2'), ADMIN_DOWN);
    follow(INSIDE);
    expect(downTunnels()).toEqual([tunnelTo('red', '192.0.2.3'), tunnelTo('blue', '192.0.2.2')].sort());
  });

  test('that could not be marked are marked later', async () => {
    follow(INSIDE);
    tunnels.fails = true;
    heard(tunnelTo('red', '192.0.2.2'), ADMIN_DOWN);
    expect(logged.join()).toContain('tunnels could not be marked');
    tunnels.fails = false;
    expect(tunnels.down.has(tunnelTo('red', '192.0.2.2'))).toBe(true);
    await until('it is marked', () => !tunnels.down.has(tunnelTo('red', '192.0.2.2')));
  });
});

describe('sessions', () => {
  test('beside tunnels are one for each remote, and say why they hear nothing', () => {
    follow(BESIDE);
    const view = { state: 'down', remoteState: 'down', isDown: true, detectionMs: 0 };
    const reason = `no address ${LOCAL} on this host`;
    expect(server.view(LOCAL, '192.0.2.2', 'red')).toEqual({ ...view, reason });
    expect(server.view(LOCAL, '192.0.2.2', 'blue')).toEqual({ ...view, reason });
    expect(server.view(LOCAL, '192.0.2.4', 'red')).toBeUndefined();
    expect(logged.join()).toContain('BFD hears nothing');
  });

  test('inside tunnels are one for each, and hear what came through theirs', () => {
    follow(INSIDE);
    heard(tunnelTo('red', '192.0.2.2'), DOWN);
    expect(server.view(LOCAL, '192.0.2.2', 'red')).toMatchObject({
      state: 'init',
      reason: 'coming up',
      detectionMs: 900,
    });
    expect(server.view(LOCAL, '192.0.2.2', 'blue')).toMatchObject({ state: 'down', reason: 'not up yet' });
    heard(999, DOWN);
    server.hearInside(bfdFrame({ packet: said(DOWN), ttl: 254 }), tunnelTo('blue', '192.0.2.2'));
    expect(server.view(LOCAL, '192.0.2.2', 'blue')).toMatchObject({ state: 'down', detectionMs: 0 });
  });

  test('with a remote that switched BFD off are told of once, and stop nothing', () => {
    follow(INSIDE);
    const tunnel = tunnelTo('blue', '192.0.2.2');
    for (let count = 0; count < 3; count++) heard(tunnel, ADMIN_DOWN);
    expect(tunnels.down.has(tunnel)).toBe(false);
    expect(server.view(LOCAL, '192.0.2.2', 'blue')).toMatchObject({
      remoteState: 'admin-down',
      isDown: false,
      reason: 'the remote has switched BFD off',
    });
    expect(logged.filter((line) => line.includes('has switched BFD off'))).toHaveLength(1);
    expect(logged[0]).toContain('"network":"blue"');
  });

  test('go on when their timing changes or another remote comes, and begin anew when they go another way', () => {
    follow(INSIDE, '192.0.2.2');
    const tunnel = tunnelTo('red', '192.0.2.2');
    heard(tunnel, DOWN);
    follow(', bfd: { inside: true, interval: 1s }', '192.0.2.2, 192.0.2.9');
    expect(server.view(LOCAL, '192.0.2.2', 'red')?.state).toBe('init');
    follow(`${INSIDE}, ttl: 9`);
    expect(server.view(LOCAL, '192.0.2.2', 'red')?.state).toBe('down');
    follow(BESIDE);
    heard(tunnel, DOWN);
    expect(server.view(LOCAL, '192.0.2.2', 'red')?.state).toBe('down');
  });
});

describe('the configuration', () => {
  const underlays = (first: string, second: string) =>
    `version: 1\nunderlays: { a: { local: ${LOCAL}, bfd: ${first} }, b: { local: ${LOCAL}, port: 5000, bfd: ${second} } }\n`;

  test('asks for every 300 ms and three packets by default, beside the tunnels', () => {
    const { resolved } = check(text(BESIDE));
    expect(resolved.ports.get('u0/vxlan')?.underlay?.bfd).toEqual({ intervalMs: 300, multiplier: 3, inside: false });
    expect(check(text('')).resolved.ports.get('u0/vxlan')?.underlay?.bfd).toBeUndefined();
  });

  test('can not ask for the impossible', () => {
    expect(told(text(', bfd: { interval: 5ms }')).join()).toContain('the least is 10ms');
    expect(told(text(', bfd: { interval: 61s }')).join()).toContain(
      'underlays.u0.bfd.interval: is too large; the most is 60s',
    );
    expect(told(text(', bfd: { multiplier: 0 }'))).toHaveLength(1);
    expect(told(text(', bfd: { multiplier: 256 }'))).toHaveLength(1);
    expect(() => check(text(', bfd: { interval: 60s, multiplier: 255 }'))).not.toThrow();
  });

  test('has one session between two addresses, so two underlays there must agree', () => {
    expect(told(underlays('{}', '{ interval: 1s }')).join()).toContain('underlays.b.bfd: a has the same address');
    expect(() => check(underlays('{}', '{}'))).not.toThrow();
    expect(() => check(underlays('{}', '{ interval: 1s, inside: true }'))).not.toThrow();
  });
});
