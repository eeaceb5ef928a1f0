/** An FDB over its own memory and a policy that tests change by hand. */

import { Fdb, fdbSize } from '../../src/pipeline/fdb.js';
import { FdbControl } from '../../src/pipeline/fdb-control.js';

export interface TestPolicy {
  readonly memberPort: Int32Array;
  readonly portMacLimit: Int32Array;
  readonly networkMacLimit: Int32Array;
  readonly networkMacAge: Int32Array;
}

/** Member m is on port m in network 1 unless changed; nothing is limited; addresses live for 300 s. */
export function testPolicy(): TestPolicy {
  return {
    memberPort: Int32Array.from({ length: 64 }, (_, member) => member),
    portMacLimit: new Int32Array(64),
    networkMacLimit: new Int32Array(64).fill(1_000_000),
    networkMacAge: new Int32Array(64).fill(300),
  };
}

export function makeFdb(capacity: number): FdbControl {
  return new FdbControl(new SharedArrayBuffer(fdbSize(capacity)), { capacity, seed: [0x12345678, 0x0badcafe] });
}

/** A second thread's Fdb over the same memory. */
export function workerFdb(memory: SharedArrayBuffer, capacity: number, index: number): Fdb {
  return new Fdb(memory, index + 1, { capacity });
}

/** Member behind which the FDB finds the station, or -1. */
export function whereIs(fdb: Fdb, network: number, mac: number, now: number, age = 300): number {
  return fdb.find(network, 0x0200, mac, now, age) === -1 ? -1 : fdb.foundMember;
}
