import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MetricsServer, parseMetricsAddress } from '../../src/control/metrics.js';
import { FakeSwitch, fakeDrops, fakePorts } from './fake-switch.js';

let control: FakeSwitch;
let server: MetricsServer;
beforeEach(async () => {
  control = new FakeSwitch();
  server = await MetricsServer.listen(control, { host: '127.0.0.1', port: 0 });
});
afterEach(() => server.close());

const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${server.port}${path}`, init);
const scrape = async () => (await get('/metrics')).text();

describe('the metrics', () => {
  it('count frames and octets of each port in both directions, exactly', async () => {
    const text = await scrape();
    expect(text).toContain('weft_port_frames_total{port="vm1",direction="rx"} 1000\n');
    expect(text).toContain('weft_port_frames_total{port="vm1",direction="tx"} 12345678\n');
    expect(text).toContain('weft_port_bytes_total{port="vm1",direction="tx"} 18518517000\n');
  });

  it('count drops by port, reason and what was dropped', async () => {
    expect(await scrape()).toContain('weft_drops_total{port="vm1",reason="vlan_not_allowed",of="frame"} 3\n');
  });

  it('count what passes through tunnels by network and remote, those of learned remotes in one', async () => {
    const text = await scrape();
    for (const line of [
      'weft_tunnel_frames_total{network="overlay",remote="192.0.2.2",direction="rx"} 10',
      'weft_tunnel_frames_total{network="overlay",remote="192.0.2.2",direction="tx"} 20',
      'weft_tunnel_bytes_total{network="overlay",remote="192.0.2.2",direction="tx"} 2000',
      'weft_tunnel_frames_total{network="overlay",remote="learned",direction="rx"} 5',
      'weft_tunnel_up{network="overlay",remote="192.0.2.2"} 1',
      'weft_tunnel_up{network="overlay",remote="192.0.2.3"} 0',
    ]) {
      expect(text).toContain(`${line}\n`);
    }
    expect(text).not.toContain('192.0.2.77');
  });

  it('tell of outside ports by address and protocol, and of what NAT refused', async () => {
    const text = await scrape();
    for (const line of [
      'weft_nat_ports_used{router="r1",external="203.0.113.10",proto="tcp"} 3',
      'weft_nat_ports_limit{router="r1",external="203.0.113.10",proto="tcp"} 64511',
      'weft_nat_refused_total{router="r1",why="exhausted"} 2',
      'weft_nat_refused_total{router="r1",why="limit"} 1',
    ])
      expect(text).toContain(`${line}\n`);
  });

  it('tell of the FDB, the workers and the daemon', async () => {
    const text = await scrape();
    for (const line of [
      'weft_fdb_entries 2',
      'weft_fdb_limit 1048576',
      'weft_worker_busy_share{worker="0"} 0.42',
      'weft_worker_batch_frames{worker="0"} 12',
      'weft_worker_breaths_total{worker="0"} 5000',
      'weft_worker_last_breath_seconds{worker="0"} 0.01',
      'weft_worker_restarts_total{worker="0"} 1',
      'weft_worker_io_failures_total{worker="0",operation="receive",errno="EINVAL"} 3',
      'weft_ports{state="waiting"} 1',
      'weft_info{version="0.1.0",io="uring"} 1',
      'weft_ready 1',
    ]) {
      expect(text).toContain(`${line}\n`);
    }
  });

  it('have a help line that ends as a sentence and a type for every name', async () => {
    const text = await scrape();
    const names = new Set([...text.matchAll(/^(weft_\w+)/gm)].map(([, name]) => name));
    expect(names.size).toBeGreaterThan(15);
    for (const name of names) {
      expect(text).toMatch(new RegExp(`^# HELP ${name} .+\\.$`, 'm'));
      expect(text).toMatch(new RegExp(`^# TYPE ${name} (counter|gauge)$`, 'm'));
    }
  });

  it('do not add up from scrape to scrape', async () => {
    expect(await scrape()).toBe(await scrape());
  });

  it('forget a port that was removed', async () => {
    await scrape();
    control.ports = fakePorts.slice(1);
    control.dropRows = [];
    const text = await scrape();
    expect(text).not.toContain('port="vm1"');
    expect(text).toContain('port="fw"');
  });

  it('are read once for scrapes at the same time', async () => {
    let readings = 0;
    control.beforeStatus = async () => {
      readings++;
      await new Promise((resolve) => setTimeout(resolve, 100));
    };
    await Promise.all(Array.from({ length: 5 }, scrape));
    expect(readings).toBe(1);
  });

  it('answer 500 when the switch could not be read, and recover', async () => {
    control.beforeStatus = async () => {
      throw new Error('no');
    };
    expect((await get('/metrics')).status).toBe(500);
    control.beforeStatus = async () => {};
    expect(await scrape()).toContain('weft_ready 1');
    expect(fakeDrops).toHaveLength(1);
  });
});

describe('/healthz', () => {
  it('is 200 while every worker breathes and 503 otherwise', async () => {
    expect((await get('/healthz')).status).toBe(200);
    control.healthy = false;
    const response = await get('/healthz');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ healthy: false, workers: [{ index: 0, breathing: false }] });
  });
});

describe('the metrics listener', () => {
  it('knows two paths and two methods', async () => {
    expect((await get('/other')).status).toBe(404);
    expect((await get('/metrics', { method: 'POST', body: 'x' })).status).toBe(405);
    expect(await (await get('/metrics', { method: 'HEAD' })).text()).toBe('');
  });

  it('survives what is no HTTP and more connections than it takes', async () => {
    const sockets = Array.from({ length: 40 }, () => connect(server.port, '127.0.0.1').on('error', () => {}));
    for (const socket of sockets) socket.write('\u0000garbage\r\n\r\n');
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve).resume())));
    expect(await scrape()).toContain('weft_ready 1');
  });

  it('says what to do when the address is taken', async () => {
    const again = MetricsServer.listen(control, { host: '127.0.0.1', port: server.port });
    await expect(again).rejects.toMatchObject({
      faults: [{ code: 'busy', fix: expect.stringContaining('--metrics') }],
    });
  });

  it.each([
    ['127.0.0.1:9617', { host: '127.0.0.1', port: 9617 }],
    ['[::1]:1', { host: '::1', port: 1 }],
    [':9617', { host: '127.0.0.1', port: 9617 }],
    ['off', undefined],
  ])('reads the address %s', (text, address) => {
    expect(parseMetricsAddress(text)).toEqual(address);
  });

  it.each(['9617', 'host', '::1:9617', 'host:70000', ''])('refuses the address %j', (text) => {
    expect(() => parseMetricsAddress(text)).toThrow(/expected HOST:PORT/);
  });
});
