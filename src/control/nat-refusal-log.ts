/**
 * Says when routers run out of outside ports, or machines of their share: one line a second at most, however many connections
 * are refused, with what is known of the last one. Main thread.
 */
import { ROUTERS_MAX } from '../limits.js';
import { type NatRefusal, type NatRefusals, REFUSED_EXHAUSTED, REFUSED_LIMIT } from '../pipeline/nat-refusals.js';
import { PROTOCOL_ICMP } from '../wire/ip-protocol.js';
import { hasPorts } from '../wire/packet.js';
import type { Log } from './log.js';
import { wordsText } from './nat-connections.js';
import { protocolName } from './protocol-names.js';

export class NatRefusalLog {
  private readonly log: Log;
  private readonly refusals: NatRefusals;
  private readonly routerName: (index: number) => string | undefined;
  private readonly portName: (index: number) => string | undefined;
  /** By router and kind, when it was last looked at. */
  private readonly seen = new Uint32Array(ROUTERS_MAX * 2);

  constructor(
    log: Log,
    refusals: NatRefusals,
    routerName: (index: number) => string | undefined,
    portName: (index: number) => string | undefined,
  ) {
    this.log = log;
    this.refusals = refusals;
    this.routerName = routerName;
    this.portName = portName;
    this.countNew();
  }

  /** Once a second. */
  tick(): void {
    const [exhausted, limit] = this.countNew();
    if (exhausted + limit === 0) return;
    const last = this.refusals.last(exhausted > 0 ? REFUSED_EXHAUSTED : REFUSED_LIMIT);
    const what =
      exhausted > 0
        ? 'no outside port was free for new connections (nat_exhausted)'
        : 'a machine has used up its share of mappings, external.perVm (nat_limit)';
    this.log.warn({ exhausted, limit, ...(last !== undefined && this.detail(last)) }, what);
  }

  /** Of all routers since the last time, by kind. */
  private countNew(): [exhausted: number, limit: number] {
    const sums: [number, number] = [0, 0];
    for (let router = 0; router < ROUTERS_MAX; router++)
      for (const kind of [REFUSED_EXHAUSTED, REFUSED_LIMIT] as const) {
        const at = router * 2 + kind;
        const now = this.refusals.count(router, kind);
        // Less than before: the number went to another router.
        sums[kind] += now >= this.seen[at] ? now - this.seen[at] : now;
        this.seen[at] = now;
      }
    return sums;
  }

  private detail({ router, protocol, port, inside, insidePort, outside }: NatRefusal): object {
    return {
      router: this.routerName(router),
      external: wordsText(outside, 0),
      proto: protocolName(protocol),
      internal: wordsText(inside, 0),
      ...((hasPorts(protocol) || protocol === PROTOCOL_ICMP) && { internalPort: insidePort }),
      port: this.portName(port),
    };
  }
}
