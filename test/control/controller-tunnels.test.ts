/**
 * Networks with tunnels as the controller carries them: an underlay kind that only plays along for what is told and asked of
 * it, and the real one over loopback addresses for what passes.
 */
import { createSocket, type Socket } from 'node:dgram';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { Controller } from '../../src/control/controller.js';
import { SwitchService } from '../../src/control/switch-service.js';
import { monotonicMs } from '../../src/dataplane/clock.js';
import type { PortHandle, PortIntent, PortKind, PortWatcher, UnderlayPath } from '../../src/dataplane/port.js';
import { NO_OFFLOAD } from '../../src/dataplane/port.js';
import { memory, memoryStation } from '../../src/dataplane/ports/memory.js';
import { underlay as realUnderlay } from '../../src/dataplane/ports/underlay.js';
import { UserError } from '../../src/errors.js';
import { openTunnelTable } from '../../src/pipeline/tunnel-table.js';
import { ipWords, parseIp } from '../../src/wire/address.js';
import { buildEthernet, buildIp, buildUdp } from '../../src/wire/frame-build.js';
import { until } from '../suites/bench-worker.js';
import { testFrame } from '../suites/port-suite.js';
import { type BuiltCli, buildCli } from './built-cli.js';

let built: BuiltCli;
let workerFile: string;
beforeAll(() => {
  built = buildCli();
  const dist = dirname(built.script);
  mkdirSync(join(dist, 'kernels'), { recursive: true });
  copyFileSync(join(import.meta.dirname, '../../dist/kernels/kernels.wasm'), join(dist, 'kernels/kernels.wasm'));
  workerFile = join(dist, 'worker.js');
}, 60_000);
afterAll(() => built.remove());

/** An underlay that is up at once, has no sockets, and writes down what it is told. */
class PlayedUnderlay implements PortKind {
  readonly kind = 'underlay';
  readonly facesVm = false;
  readonly calls: string[] = [];
  readonly intents: PortIntent[] = [];
  paths: UnderlayPath[] = [];
  readonly watchers = new Map<string, PortWatcher>();

  async open(intent: PortIntent, watcher: PortWatcher): Promise<PortHandle> {
    this.calls.push(`open ${intent.device}`);
    this.intents.push(intent);
    this.watchers.set(intent.name, watcher);
    watcher.opened({ queues: [], features: NO_OFFLOAD, mtu: 1500 });
    return {
      underlay: {
        paths: () => this.paths,
        follow: (remotes) => this.calls.push(`follow ${remotes.join(' ')}`),
        heard: (remote) => this.calls.push(`heard ${remote}`),
      },
      close: async () => void this.calls.push(`close ${intent.device}`),
      released: () => {},
    };
  }

  /** Paths are others now. */
  narrow(port: string, paths: UnderlayPath[]): void {
    this.paths = paths;
    this.setMtu(port, 1500);
  }

  setMtu(port: string, mtu: number): void {
    this.watchers.get(port)?.changed({ queues: [], features: NO_OFFLOAD, mtu });
  }
}

/** Memory ports that write down the MTU their networks let pass. */
class TellingMemory implements PortKind {
  readonly kind = 'memory';
  readonly facesVm = true;
  readonly mtus = new Map<string, number | undefined>();

  async open(...[intent, watcher, kept]: Parameters<PortKind['open']>): Promise<PortHandle> {
    const handle = await memory.open(intent, watcher, kept);
    return {
      close: (fate) => handle.close(fate),
      released: () => handle.released(),
      setMtu: (mtu) => void this.mtus.set(intent.device, mtu),
    };
  }
}

let directory: string;
let played: PlayedUnderlay;
let telling: TellingMemory;
let controller: Controller | undefined;
let service: SwitchService;
const errors: string[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-tunnels-'));
  played = new PlayedUnderlay();
  telling = new TellingMemory();
  errors.length = 0;
});
afterEach(async () => {
  await controller?.close();
  controller = undefined;
  rmSync(directory, { recursive: true, force: true });
});

async function start(text: string, underlay: PortKind = played): Promise<Controller> {
  const configFile = join(directory, 'weft.yaml');
  writeFileSync(configFile, text);
  controller = await Controller.start({
    version: '0',
    configFile,
    stateDirectory: join(directory, 'state'),
    workers: 1,
    io: 'poll',
    workerFile,
    documentFile: join(dirname(workerFile), 'control/document-thread.js'),
    kinds: new Map<string, PortKind>([
      ['memory', telling],
      ['underlay', underlay],
    ]),
    log: { info: () => {}, warn: () => {}, error: (_, message) => errors.push(message) },
  });
  service = new SwitchService(controller);
  return controller;
}

interface Wish {
  readonly red?: string;
  readonly blue?: string;
  readonly underlay?: string;
}

const config = ({ red = '', blue = '', underlay = '' }: Wish = {}) => `version: 1
networks:
  red: { type: vxlan, id: 5010, underlay: u0${red} }
  blue: { type: gre, id: 7, underlay: u0${blue} }
  lab: { type: local }
underlays: { u0: { local: 192.0.2.1${underlay} } }
ports:
  a: { kind: memory, network: red }
  b: { kind: memory, network: lab }
`;
const REMOTES = ', remotes: [192.0.2.2, 192.0.2.10]';
const apply = (text: string) => controller!.apply({ text, file: 'test.yaml' }, false);
const numberOf = (network: string, remote: string) => {
  const { indices, checked } = controller!.running;
  const member = indices.member(checked.resolved.networks.get(network)?.tunnel?.port ?? '', network) ?? -1;
  return controller!.dataplane.tunnels.numbers(member, [remote])[0];
};
const rows = async () =>
  (await service.tunnelList()).map(({ network, remote, state }) => `${network} ${remote} ${state}`);

describe('an underlay', () => {
  test('is opened with a queue for each worker, and is no port in the list', async () => {
    await start(config({ red: REMOTES }));
    expect(played.calls.filter((call) => call.startsWith('open'))).toEqual([
      'open udp 192.0.2.1 4789',
      'open gre 192.0.2.1',
    ]);
    expect(played.intents[0]).toMatchObject({ name: 'u0/vxlan', queues: 1, underlay: { local: '192.0.2.1' } });
    expect((await service.portList()).map(({ name }) => name)).toEqual(['a', 'b']);
    expect((await service.status()).ports).toEqual({ up: 2, down: 0, waiting: 0 });
    expect((await service.stats()).ports.map(({ name }) => name)).toEqual(['a', 'b', 'u0']);
    expect((await service.stats('u0')).ports).toHaveLength(1);
    await expect(service.portShow('u0/vxlan')).rejects.toThrow('no port named u0/vxlan');
  });

  test('keeps its sockets when remotes come and go, and is told of them', async () => {
    await start(config());
    await apply(config({ red: REMOTES }));
    expect(played.calls.filter((call) => !call.startsWith('follow'))).toHaveLength(2);
    expect(played.calls).toContain('follow 192.0.2.2 192.0.2.10');
    await apply(config({ underlay: ', ttl: 7' }));
    expect(played.calls.filter((call) => call.startsWith('open udp'))).toHaveLength(2);
  });

  test('decides the MTU of its networks as soon as it knows, and ports are told', async () => {
    const { dataplane, running } = await start(config({ red: REMOTES }));
    expect(telling.mtus.get('a')).toBe(1450);
    expect(telling.mtus.get('b')).toBeUndefined();
    const mtuOf = async (name: string) => (await service.networkShow(name)).mtu;
    expect([await mtuOf('red'), await mtuOf('blue'), await mtuOf('lab')]).toEqual([1450, 1458, 1500]);
    played.setMtu('u0/vxlan', 9000);
    await until('the port to be told', () => telling.mtus.get('a') === 8950);
    expect([await mtuOf('red'), await mtuOf('blue'), await mtuOf('lab')]).toEqual([8950, 1458, 1500]);
    const member = running.indices.member('u0/vxlan', 'red') ?? -1;
    expect(dataplane.snapshot.memberMtu[member]).toBe(8950);
    await apply(config({ red: REMOTES }).replace('a: { kind: memory, network: red', 'a: { kind: memory, network: lab'));
    expect(telling.mtus.get('a')).toBeUndefined();
  });
});

test('a change stands whatever goes wrong with the sessions of BFD, is logged, and the next one tries again', async () => {
  const { dataplane } = await start(config());
  const follow = vi.spyOn(dataplane.bfd, 'follow').mockImplementationOnce(() => {
    throw new Error('no more descriptors');
  });
  const outcome = await apply(config({ red: REMOTES }));
  expect(outcome.applied).toBe(true);
  expect(errors).toEqual(['the remotes that live by BFD could not be followed']);
  expect(await rows()).toEqual(['red 192.0.2.2 unknown', 'red 192.0.2.10 unknown']);
  expect(numberOf('red', '192.0.2.2')).toBeGreaterThan(0);
  expect(controller!.running.checked.resolved.networks.get('red')?.tunnel?.remotes).toHaveLength(2);
  await apply(config({ red: REMOTES, blue: ', remotes: [192.0.2.3]' }));
  expect(follow).toHaveBeenCalledTimes(2);
  expect(errors).toHaveLength(1);
  expect(await rows()).toHaveLength(3);
});

describe('tunnels', () => {
  test('are listed with the state of their ways', async () => {
    await start(config({ red: REMOTES, blue: ', remotes: [192.0.2.3]' }));
    expect(await rows()).toEqual(['red 192.0.2.2 unknown', 'red 192.0.2.10 unknown', 'blue 192.0.2.3 unknown']);
    played.paths = [{ remote: '192.0.2.10', mtu: 1400, state: 'down', reason: 'host unreachable' }];
    const [first, second] = await service.tunnelList();
    expect(first).toEqual({
      network: 'red',
      type: 'vxlan',
      local: '192.0.2.1',
      remote: '192.0.2.2',
      id: 5010,
      state: 'unknown',
      reason: 'nothing heard yet',
      rxFrames: 0,
      txFrames: 0,
      rxBytes: 0,
      txBytes: 0,
      mtu: 1450,
    });
    expect(second).toMatchObject({ state: 'down', reason: 'host unreachable', mtu: 1350 });
    played.watchers.get('u0/gre')?.lost({ state: 'waiting', reason: 'no address 192.0.2.1 on this host' });
    expect((await service.tunnelList()).at(-1)).toMatchObject({
      state: 'down',
      reason: 'no address 192.0.2.1 on this host',
    });
  });

  test('let pass what the ways to their remotes do, and networks what the device does', async () => {
    const { dataplane, running } = await start(config({ red: REMOTES, blue: ', remotes: [192.0.2.10]' }));
    const figure = (network: string, remote: string) => dataplane.tunnels.entryOf(numberOf(network, remote))?.mtu;
    played.narrow('u0/vxlan', [{ remote: '192.0.2.10', mtu: 1400, state: 'up' }]);
    await until('the tunnel to be narrow', () => figure('red', '192.0.2.10') === 1350);
    expect([figure('red', '192.0.2.2'), figure('blue', '192.0.2.10')]).toEqual([0, 1358]);
    expect(telling.mtus.get('a')).toBe(1450);
    const member = running.indices.member('u0/vxlan', 'red') ?? -1;
    expect(dataplane.snapshot.memberMtu[member]).toBe(1450);
    const detail = await service.tunnelShow('red');
    expect(detail.mtu).toBe(1450);
    expect(detail.tunnels.map(({ mtu, pathMtu }) => [mtu, pathMtu])).toEqual([
      [1450, undefined],
      [1350, 1400],
    ]);
    played.narrow('u0/vxlan', []);
    await until('it to be wide again', () => figure('red', '192.0.2.10') === 0);
    expect(figure('blue', '192.0.2.10')).toBe(0);
  });

  test('that were learned are followed, and as narrow as their ways', async () => {
    const { dataplane, running } = await start(config({ underlay: ', allowFrom: [192.0.2.0/24]', red: REMOTES }));
    played.narrow('u0/vxlan', [{ remote: '192.0.2.77', mtu: 1400, state: 'up' }]);
    const member = running.indices.member('u0/vxlan', 'red') ?? -1;
    const worker = openTunnelTable(dataplane.tunnels.descriptor, 0);
    const [a, b, c, d] = ipWords(parseIp('192.0.2.77')!);
    const learned = worker.learn(member, a!, b!, c!, d!, Math.floor(performance.now() / 1000) + 1e6);
    expect(learned).toBeGreaterThan(0);
    await until('it is followed', () => played.calls.includes('follow 192.0.2.2 192.0.2.10 192.0.2.77'));
    await until('it is narrow', () => dataplane.tunnels.entryOf(learned)?.mtu === 1350);
  });

  test('of one network are shown with the reckoning of its MTU', async () => {
    await start(config({ red: `${REMOTES}, mtu: 1400` }));
    const detail = await service.tunnelShow('red');
    expect(detail).toMatchObject({ underlay: 'u0', local: '192.0.2.1', state: 'up', mtu: 1400, id: 5010 });
    expect(detail.reckoning.slice(-3)).toEqual([
      { what: 'fits', octets: 1450 },
      { what: 'configured', octets: 1400 },
      { what: 'MTU of the network', octets: 1400 },
    ]);
    expect(detail.tunnels).toHaveLength(2);
    await expect(service.tunnelShow('lab')).rejects.toThrow('network lab is local: it has no tunnels');
    await expect(service.tunnelShow('rde')).rejects.toThrow('no network named rde (did you mean red?)');
  });

  test('keep their numbers over every change that leaves them', async () => {
    await start(config({ red: REMOTES }));
    const numbers = [numberOf('red', '192.0.2.2'), numberOf('red', '192.0.2.10')];
    await apply(config({ red: ', remotes: [192.0.2.10, 192.0.2.4]', blue: ', remotes: [192.0.2.2]' }));
    expect(numberOf('red', '192.0.2.10')).toBe(numbers[1]);
    expect(numberOf('red', '192.0.2.2')).toBe(0);
    await apply(config({ red: REMOTES }));
    expect(numberOf('red', '192.0.2.10')).toBe(numbers[1]);
    expect(await rows()).toEqual(['red 192.0.2.2 unknown', 'red 192.0.2.10 unknown']);
  });

  test('of a change that is refused are gone again', async () => {
    await start(config({ red: REMOTES }));
    const refused = config({ red: ', remotes: [192.0.2.77]' }).replace(
      'b: { kind: memory',
      'c: { kind: memory, queues: 2',
    );
    await expect(apply(refused)).rejects.toThrow(UserError);
    expect(await rows()).toEqual(['red 192.0.2.2 unknown', 'red 192.0.2.10 unknown']);
    expect(numberOf('red', '192.0.2.77')).toBe(0);
  });

  test('survive the daemon with the stations behind them', async () => {
    const { dataplane } = await start(config({ red: REMOTES }));
    await service.fdbAdd('red', '52:54:00:00:00:01', 'u0', '192.0.2.10');
    await service.fdbAdd('red', '52:54:00:00:00:02', 'u0', '192.0.2.99');
    const number = numberOf('red', '192.0.2.10');
    expect(dataplane.fdb.counts().entries).toBe(2);
    await controller?.close();
    await start(config({ red: ', remotes: [192.0.2.10]' }));
    expect(numberOf('red', '192.0.2.10')).toBe(number);
    expect((await service.fdbList({})).map(({ mac, remote }) => `${mac} ${remote}`)).toEqual([
      '52:54:00:00:00:01 192.0.2.10',
      '52:54:00:00:00:02 192.0.2.99',
    ]);
    expect(numberOf('red', '192.0.2.2')).toBe(0);
  });

  test('whose network is gone after a restart leave nothing', async () => {
    await start(config({ red: REMOTES }));
    await service.fdbAdd('red', '52:54:00:00:00:01', 'u0', '192.0.2.10');
    await controller?.close();
    await start('version: 1\nnetworks: { lab: { type: local } }\n');
    expect([...controller!.dataplane.tunnels.list()]).toEqual([]);
    expect(await service.fdbList({})).toEqual([]);
  });
});

describe('a station at the far end of a tunnel', () => {
  test('is pinned by name of the underlay and address of the remote', async () => {
    await start(config({ red: REMOTES }));
    const row = await service.fdbAdd('red', '52:54:00:00:00:01', 'u0', '192.0.2.10');
    expect(row).toMatchObject({ port: 'u0', remote: '192.0.2.10', static: true });
    expect(await service.fdbList({ port: 'u0' })).toMatchObject([{ network: 'red', port: 'u0', remote: '192.0.2.10' }]);
    expect(await service.fdbList({ port: 'a' })).toEqual([]);
    expect(await service.fdbRemove('red', '52:54:00:00:00:01')).toMatchObject({ port: 'u0', remote: '192.0.2.10' });
  });

  test('behind a remote that nobody else names takes its tunnel with it', async () => {
    await start(config({ red: REMOTES }));
    await service.fdbAdd('red', '52:54:00:00:00:01', 'u0', '192.0.2.99');
    expect(await rows()).toContain('red 192.0.2.99 unknown');
    await apply(config({ red: `${REMOTES}, macAge: 60s` }));
    expect(await rows()).toContain('red 192.0.2.99 unknown');
    await service.fdbRemove('red', '52:54:00:00:00:01');
    expect(await rows()).toEqual(['red 192.0.2.2 unknown', 'red 192.0.2.10 unknown']);
  });

  test.each([
    [['red', 'a', '192.0.2.2'], 'port a has no tunnels, so no remote'],
    [['red', 'u0', undefined], 'u0 is an underlay: name the remote too'],
    [
      ['red', 'u0', '2001:db8::2'],
      "remote 2001:db8::2: 2001:db8::2 can't be reached from 192.0.2.1: another IP version",
    ],
    [['red', 'u0', '192.0.2.1'], "remote 192.0.2.1: 192.0.2.1 is this host's own end of the tunnels"],
    [['lab', 'u0', '192.0.2.2'], 'port u0 is not in network lab'],
    [['red', 'u1', '192.0.2.2'], 'no port named u1 (did you mean u0?)'],
  ] as const)('can not be %j', async ([network, port, remote], message) => {
    await start(config({ red: REMOTES }));
    await expect(service.fdbAdd(network, '52:54:00:00:00:01', port, remote)).rejects.toThrow(message);
    expect(await rows()).toHaveLength(2);
  });

  test('is forgotten with its remote', async () => {
    const { dataplane, running } = await start(config({ red: REMOTES }));
    const { indices } = running;
    const [network, member] = [indices.network('red') ?? -1, indices.member('u0/vxlan', 'red') ?? -1];
    const now = Math.floor(monotonicMs() / 1000);
    dataplane.fdb.learn(network, 0x5254, 1, member, now, dataplane.snapshot, numberOf('red', '192.0.2.2'));
    dataplane.fdb.learn(network, 0x5254, 2, member, now, dataplane.snapshot, numberOf('red', '192.0.2.10'));
    await apply(config({ red: ', remotes: [192.0.2.10]' }));
    expect((await service.fdbList({})).map(({ mac }) => mac)).toEqual(['52:54:00:00:00:02']);
  });
});

describe('a trace', () => {
  const inner = (to: number, from: number) => {
    const octets = testFrame(60);
    octets.set([2, 0, 0, 0, 0, to], 0);
    octets.set([2, 0, 0, 0, 0, from], 6);
    return octets;
  };
  /** As it would come over the wire of the underlay, in hexadecimal. */
  const outer = (from: string, id: number, ecn = 0) => {
    const udp = buildUdp(55_555, 4789, 8 + 60);
    udp.set([8, 0, 0, 0, id >> 16, (id >> 8) & 255, id & 255, 0], 8);
    udp.set(inner(0x11, 0x22), 16);
    const fields = { protocol: 17, ttl: 64, source: parseIp(from)!, destination: parseIp('192.0.2.1')! };
    const packet = buildIp(fields, udp);
    packet[1] = ecn;
    const macs = {
      source: new Uint8Array([2, 0, 0, 0, 1, 2]),
      destination: new Uint8Array([2, 0, 0, 0, 1, 1]),
      tags: [],
    };
    return Buffer.from(buildEthernet(macs, 0x0800, packet)).toString('hex');
  };
  const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');

  test('into a tunnel names every remote that a flood goes to', async () => {
    await start(config({ red: REMOTES }));
    const result = await service.trace('a', hex(inner(0xff, 0x11)));
    expect(result.verdict).toBe('flood');
    expect(result.outputs).toEqual([
      { port: 'u0', tags: [], remote: '192.0.2.2' },
      { port: 'u0', tags: [], remote: '192.0.2.10' },
    ]);
    const encap = result.stages.filter(({ stage }) => stage === 'encap').map(({ text }) => text);
    expect(encap).toEqual(['u0 to 192.0.2.2: to 192.0.2.2 in vxlan', 'u0 to 192.0.2.10: to 192.0.2.10 in vxlan']);
    expect(result.stages.some(({ stage }) => stage === 'transmit')).toBe(false);
    expect(await service.fdbList({})).toEqual([]);
  });

  test('of what comes by an underlay shows the outer packet, what is unpacked from it, and where that goes', async () => {
    await start(config({ red: REMOTES }));
    const result = await service.trace('u0', outer('192.0.2.10', 5010));
    expect(result).toMatchObject({ verdict: 'flood', outputs: [{ port: 'a', tags: [] }] });
    const [decap] = result.stages;
    expect(decap).toMatchObject({ stage: 'decap', decision: 'continue' });
    expect(decap?.text).toMatch(/^for network red, from the datagram .*udp 192\.0\.2\.10:55555 > 192\.0\.2\.1:4789/);
    expect(decap?.changes?.[0]).toMatch(
      /^takes the vxlan header off \(8 octets\); inside is 02:00:00:00:00:22 > 02:00:00:00:00:11/,
    );
    expect(await service.tunnelList()).toMatchObject([{ rxFrames: 0 }, { rxFrames: 0 }]);
  });

  test.each([
    ['an unlisted sender', '192.0.2.66', 5010, 'tunnel_unknown_source'],
    ['an id that no network has', '192.0.2.10', 5011, 'tunnel_unknown_id'],
  ])('of %s says why it is dropped', async (_what, from, id, reason) => {
    await start(config({ red: REMOTES }));
    const result = await service.trace('u0', outer(from, id));
    expect(result).toMatchObject({ verdict: 'drop', reason, outputs: [] });
    expect(result.stages).toHaveLength(1);
    expect(result.stages[0]).toMatchObject({ stage: 'decap', decision: 'drop' });
  });

  test('of a packet that fits no tunnel shows the answer to its sender beside the drop', async () => {
    await start(config({ red: REMOTES }));
    const packet = buildIp(
      { protocol: 17, ttl: 64, source: parseIp('10.0.0.1')!, destination: parseIp('10.0.0.2')! },
      buildUdp(1, 2, 1452),
    );
    packet[6] = 0x40;
    const macs = { source: inner(0x22, 0x11).slice(6, 12), destination: inner(0x22, 0x11).slice(0, 6), tags: [] };
    const result = await service.trace('a', hex(buildEthernet(macs, 0x0800, packet)));
    expect(result).toMatchObject({ verdict: 'drop', reason: 'mtu_exceeded', outputs: [{ port: 'a' }] });
    expect(result.stages.at(-1)).toMatchObject({ stage: 'answer', text: 'a: the switch answers' });
  });

  test.each([
    ['aabb', 'u0 hears whole IPv4 and IPv6 packets only'],
    [outer('192.0.2.10', 5010).replace('c0000201', 'c0000202'), '192.0.2.2 is not the address of u0'],
    [outer('192.0.2.10', 5010).replace('12b5', '12b6'), 'the packet is for none of the sockets of u0'],
  ])('of what the kernel would not give to the switch is refused', async (frame, message) => {
    await start(config({ red: REMOTES }));
    await expect(service.trace('u0', frame)).rejects.toThrow(message);
  });
});

/** VXLAN of network red over loopback: this end is a socket of the test. */
const LOOPBACK = ['127.0.0.1', '127.0.0.2', '127.0.0.3'] as const;
const PORT = 24_789;

describe('over a real underlay', () => {
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.close();
  });

  async function host(address: string): Promise<{ socket: Socket; received: Buffer[] }> {
    const socket = createSocket('udp4');
    const received: Buffer[] = [];
    socket.on('message', (message) => received.push(message));
    await new Promise<void>((resolve) => socket.bind(PORT, address, resolve));
    sockets.push(socket);
    return { socket, received };
  }

  const text = (remotes: string, underlay = '') =>
    config({ red: remotes, underlay: `${underlay}, port: ${PORT}` }).replace(
      'local: 192.0.2.1',
      `local: ${LOOPBACK[0]}`,
    );
  const vxlan = (id: number, inner: Uint8Array) => {
    const header = Buffer.alloc(8);
    header[0] = 8;
    header.writeUInt32BE(id << 8, 4);
    return Buffer.concat([header, inner]);
  };
  const send = (socket: Socket, datagram: Buffer) => socket.send(datagram, PORT, LOOPBACK[0]);
  const frame = (to: number, from: number) => {
    const octets = testFrame(100);
    octets.set([2, 0, 0, 0, 0, to], 0);
    octets.set([2, 0, 0, 0, 0, from], 6);
    return octets;
  };
  const received = async (port: string) => (await service.stats(port)).ports[0]!.rx;

  test('frames pass both ways, each is counted once, and tunnels say what passed', async () => {
    await start(text(`, remotes: [${LOOPBACK[1]}, ${LOOPBACK[2]}]`), realUnderlay);
    const [two, three] = [await host(LOOPBACK[1]), await host(LOOPBACK[2])];
    memoryStation('a')?.send(frame(0x22, 0x11));
    await until('the flood at both hosts', () => two.received.length + three.received.length === 2);
    expect(two.received[0]).toEqual(vxlan(5010, frame(0x22, 0x11)));
    send(two.socket, vxlan(5010, frame(0x11, 0x22)));
    expect((await memoryStation('a')?.receiveWithin(5000))?.octets).toEqual(frame(0x11, 0x22));
    memoryStation('a')?.send(frame(0x22, 0x11));
    await until('unicast to where it was learned', () => two.received.length === 2);
    send(two.socket, vxlan(5011, frame(0x11, 0x22)));
    const rx = () => received('u0');
    let now = await rx();
    await until('the foreign id', () => {
      void rx().then((value) => {
        now = value;
      });
      return now.frames === 2;
    });
    expect(now).toMatchObject({ frames: 2, forwarded: 1, consumed: 0, dropped: 1 });
    expect((await service.stats('a')).ports[0]).toMatchObject({
      rx: { frames: 2, forwarded: 2, dropped: 0 },
      tx: { frames: 1 },
    });
    expect((await service.drops()).map(({ port, reason, of }) => `${port} ${reason} ${of}`)).toEqual([
      'u0 tunnel_unknown_id frame',
    ]);
    expect(three.received).toHaveLength(1);
    expect(await service.tunnelList()).toMatchObject([
      { remote: LOOPBACK[1], state: 'up', rxFrames: 1, txFrames: 2, rxBytes: 100, id: 5010 },
      { remote: LOOPBACK[2], state: 'unknown', rxFrames: 0, txFrames: 1 },
    ]);
    expect(await service.fdbList({ port: 'u0' })).toMatchObject([{ mac: '02:00:00:00:00:22', remote: LOOPBACK[1] }]);
    expect(errors).toEqual([]);
  });

  test('who is within allowFrom is learned, and forgotten when that is no longer so', async () => {
    await start(text('', `, allowFrom: [${LOOPBACK[2]}/32]`), realUnderlay);
    const [two, three] = [await host(LOOPBACK[1]), await host(LOOPBACK[2])];
    send(two.socket, vxlan(5010, frame(0x11, 0x22)));
    send(three.socket, vxlan(5010, frame(0x11, 0x33)));
    expect((await memoryStation('a')?.receiveWithin(5000))?.octets).toEqual(frame(0x11, 0x33));
    expect(await service.tunnelList()).toMatchObject([
      { remote: LOOPBACK[2], learned: true, state: 'up', rxFrames: 1 },
    ]);
    memoryStation('a')?.send(frame(0x33, 0x11));
    await until('the answer', () => three.received.length === 1);
    await apply(text(''));
    expect(await service.tunnelList()).toEqual([]);
    expect(await service.fdbList({ port: 'u0' })).toEqual([]);
    await apply(text('', `, allowFrom: [${LOOPBACK[2]}/32]`));
    send(three.socket, vxlan(5010, frame(0x11, 0x33)));
    expect((await memoryStation('a')?.receiveWithin(5000))?.octets).toEqual(frame(0x11, 0x33));
    expect(await service.tunnelList()).toMatchObject([{ remote: LOOPBACK[2], rxFrames: 1, txFrames: 0 }]);
    expect((await service.drops()).map(({ port, reason }) => `${port} ${reason}`)).toEqual([
      'u0 tunnel_unknown_source',
    ]);
  });
});
