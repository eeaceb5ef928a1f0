/** Learned tunnels that have fallen silent are taken away, with injected time: when, which, and what else goes with them. */
import { beforeEach, describe, expect, test } from 'vitest';
import { TunnelServer } from '../../src/control/tunnel-server.js';
import { Counters, TUNNEL_RX_FRAMES } from '../../src/dataplane/counters.js';
import { anonymousMemory } from '../../src/dataplane/shared-memory.js';
import { TUNNEL_KEPT_S } from '../../src/limits.js';
import { fdbSize } from '../../src/pipeline/fdb.js';
import { FdbControl } from '../../src/pipeline/fdb-control.js';
import { openTunnelTable, TUNNEL_TABLE_SIZE, type TunnelTable } from '../../src/pipeline/tunnel-table.js';
import { ipWords, ipWordsText, parseIp } from '../../src/wire/address.js';

const MEMBER = 3;
const NETWORK = 1;
/** The networks' macAge: stations are remembered for the longest of them. */
const ages = new Int32Array([30, 100]);
/** A tunnel that was heard at 0 is needed this long. */
const KEPT = 100 + TUNNEL_KEPT_S;
/** How often anybody looks. */
const PERIOD = 30;

let fdb: FdbControl;
let server: TunnelServer;
let worker: TunnelTable;
let counters: Counters;

beforeEach(() => {
  fdb = new FdbControl(new SharedArrayBuffer(fdbSize(1024)), { capacity: 1024 });
  counters = new Counters();
  server = new TunnelServer(anonymousMemory(TUNNEL_TABLE_SIZE), fdb, () => [{ counters }]);
  worker = openTunnelTable(server.descriptor, 0);
});

/** A worker hears an address for the first time. */
function learn(address: string, nowSeconds: number): number {
  const [word0, word1, word2, word3] = ipWords(parseIp(address) as Uint8Array);
  const tunnel = worker.learn(MEMBER, word0 as number, word1 as number, word2 as number, word3 as number, nowSeconds);
  expect(tunnel).toBeGreaterThan(0);
  return tunnel;
}

const left = () => [...server.list()].map(({ address }) => ipWordsText(address)).sort();

describe('a learned tunnel', () => {
  test('goes once no station behind it can be remembered any more, and not a second before', () => {
    learn('192.0.2.2', 0);
    for (let now = 0; now <= KEPT; now += PERIOD) server.tick(now, ages);
    expect(left()).toEqual(['192.0.2.2']);
    server.tick(KEPT, ages);
    expect(left()).toEqual(['192.0.2.2']);
    server.tick(KEPT + PERIOD, ages);
    expect(left()).toEqual([]);
  });

  test('stays as long as something comes through it, and goes after the last that did', () => {
    const tunnel = learn('192.0.2.2', 0);
    for (let now = 0; now <= 10 * KEPT; now += PERIOD) {
      worker.refresh(tunnel, now);
      server.tick(now, ages);
    }
    expect(left()).toEqual(['192.0.2.2']);
    server.tick(12 * KEPT, ages);
    expect(left()).toEqual([]);
  });

  test('is looked for every thirty seconds, not with every tick', () => {
    server.tick(KEPT, ages);
    learn('192.0.2.2', 0);
    for (const later of [1, PERIOD - 1]) {
      server.tick(KEPT + later, ages);
      expect(left(), `${later} s later`).toEqual(['192.0.2.2']);
    }
    server.tick(KEPT + PERIOD, ages);
    expect(left()).toEqual([]);
  });

  test('goes alone: others that were heard later stay, and so does what the configuration names', () => {
    learn('192.0.2.2', 0);
    learn('192.0.2.3', 2 * PERIOD);
    server.internAddress(MEMBER, ipWords(parseIp('192.0.2.4') as Uint8Array));
    server.tick(KEPT + PERIOD, ages);
    expect(left()).toEqual(['192.0.2.3', '192.0.2.4']);
    server.tick(1000 * KEPT, ages);
    expect(left()).toEqual(['192.0.2.4']);
  });

  test('takes with it what the FDB knows behind its number, and its count: whose the number is next begins with none', () => {
    const gone = learn('192.0.2.2', 0);
    const kept = learn('192.0.2.3', KEPT);
    fdb.addStatic(NETWORK, 0x5254, 1, MEMBER, 2, undefined, gone);
    fdb.addStatic(NETWORK, 0x5254, 2, MEMBER, 2, undefined, kept);
    counters.addTunnel(gone, TUNNEL_RX_FRAMES, 5);
    expect(server.counts(gone).rxFrames).toBe(5);
    server.tick(KEPT + PERIOD, ages);
    expect([...fdb.list(KEPT, ages)].map(({ macLow, remote }) => [macLow, remote])).toEqual([[2, kept]]);
    expect(learn('192.0.2.9', KEPT + PERIOD)).toBe(gone);
    expect(server.counts(gone).rxFrames).toBe(0);
    counters.addTunnel(gone, TUNNEL_RX_FRAMES, 1);
    expect(server.counts(gone).rxFrames).toBe(1);
  });
});
