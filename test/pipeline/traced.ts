/** `weft trace` on a switch of the tests. */
import { LOOP_GUARD_SIZE } from '../../src/pipeline/loop-guard.js';
import type { Names } from '../../src/pipeline/stage.js';
import { TOKEN_BUCKETS_SIZE } from '../../src/pipeline/token-bucket.js';
import { type TraceOutcome, Tracer } from '../../src/pipeline/tracer.js';
import type { TestSwitch } from './test-switch.js';

/** Numbers, where a test does not look at names. */
const numbers: Names = { port: String, network: String, remote: String, rule: String };
let tracer: Tracer | undefined;

/** What becomes of a frame that comes in by the port. Of connections nothing is kept; the other tables are the switch's own. */
export function traced(tested: TestSwitch, port: string, octets: Uint8Array, names: Names = numbers): TraceOutcome {
  tracer ??= new Tracer();
  const { fdb, tunnels, neighbors, fragments } = tested.machine;
  const state = {
    ...{ fdb, tunnels, neighbors, fragments },
    snapshot: tested.snapshot,
    connections: tested.connections.frozen(),
    loops: new ArrayBuffer(LOOP_GUARD_SIZE),
    storm: new ArrayBuffer(TOKEN_BUCKETS_SIZE),
    nowMs: tested.now,
  };
  return tracer.trace(state, tested.index(port), { octets }, names);
}
