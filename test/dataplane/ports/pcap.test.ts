import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { queryInterface, setInterfaceUp } from '../../../src/dataplane/interface.js';
import { pcapKind, requireCap } from '../../../src/dataplane/ports/pcap.js';
import { BenchWorker, until } from '../../suites/bench-worker.js';
import { ownInterface } from '../../suites/leftovers.js';
import { ip, ipIfThere, RawStation, TestNamespace } from '../../suites/namespace.js';
import { PortDouble, type PortRig, portSuite } from '../../suites/port-suite.js';
import { addVeth, carrier, FAR } from '../../suites/veth.js';

/** The port's process runs compiled code, and a test must not need a build: compiled here, where it finds its packages. */
const directory = fileURLToPath(new URL(`../../../node_modules/.cache/weft-pcap-${process.pid}/`, import.meta.url));
const program = `${directory}pcap-process.mjs`;
const source = readFileSync(new URL('../../../src/dataplane/ports/pcap-process.ts', import.meta.url), 'utf8');
const compilerOptions = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
mkdirSync(directory, { recursive: true });
writeFileSync(program, ts.transpileModule(source, { compilerOptions }).outputText);
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const pcap = pcapKind(program);

function makeRig(): PortRig {
  const namespace = new TestNamespace();
  const device = ownInterface('wpp');
  let station: RawStation | undefined;
  const add = () => {
    addVeth(device, namespace);
    setInterfaceUp(device, true);
  };
  add();
  return {
    intent: { device },
    async connect() {
      station?.close();
      await until('the interface is there', () => queryInterface(device) !== undefined);
      await carrier(device, namespace);
      station = new RawStation(FAR, namespace.fd);
    },
    send: (octets) => station!.send(octets),
    receive: () => station!.receive(),
    vanish: () => ip('link', 'del', device),
    absence: { state: 'waiting', reason: new RegExp(`^no interface ${device}$`) },
    appear: add,
    setMtu: (mtu) => ip('link', 'set', device, 'mtu', String(mtu)),
    setLink: (up) => setInterfaceUp(FAR, up, namespace.fd),
    canFill: true,
    sizes: [14, 60, 1514],
    close() {
      station?.close();
      ipIfThere('link', 'del', device);
      namespace.close();
    },
  };
}

describe('a pcap port', () => {
  portSuite(pcap, makeRig, ['poll', 'uring']);

  test('says what to do when the package is missing', async () => {
    await expect(requireCap('a-package-that-nobody-has')).rejects.toMatchObject({
      code: 'no-package',
      fix: expect.stringMatching(/libpcap-dev.*npm rebuild cap/),
    });
  });

  test('waits for an interface that is not there', async () => {
    const worker = new BenchWorker('poll', 64);
    const port = new PortDouble(worker);
    onTestFinished(async () => {
      await port.close();
      await worker.close();
    });
    await port.start(pcap, { intent: { device: 'wpnothere' } });
    expect(port.absence).toEqual({ state: 'waiting', reason: 'no interface wpnothere' });
    await expect(new PortDouble(worker).start(pcap, { intent: { device: 'wpnothere', queues: 2 } })).rejects.toThrow(
      /one queue/,
    );
  });
});
