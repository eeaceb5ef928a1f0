/**
 * Logs what rules with `log` matched: at most RULE_LOG_PER_SECOND lines a second over all workers; how many more there
 * were is said once a second. Main thread.
 */
import { RULE_LOG_PER_SECOND } from '../limits.js';
import type { RuleCounters } from '../pipeline/rule-counters.js';
import { RuleLog, type RuleMatch } from '../pipeline/rule-log.js';
import { ACTION_PERMIT, ACTION_REJECT } from '../pipeline/snapshot.js';
import { frameLine } from '../wire/print.js';
import type { Log } from './log.js';
import type { RuleNumbers } from './rule-numbers.js';

export class RuleLogServer {
  private readonly log: Log;
  private readonly numbers: RuleNumbers;
  private readonly counters: readonly RuleCounters[];
  private readonly portName: (index: number) => string;
  private lines = 0;
  private unlogged = 0;
  private suppressedBefore = 0;

  constructor(log: Log, numbers: RuleNumbers, counters: readonly RuleCounters[], portName: (index: number) => string) {
    this.log = log;
    this.numbers = numbers;
    this.counters = counters;
    this.portName = portName;
  }

  /** Reads the workers' rings until the signal. */
  read(memories: readonly SharedArrayBuffer[], signal: AbortSignal): void {
    for (const memory of memories) void new RuleLog(memory).read((match) => this.hear(match), signal);
  }

  hear(match: RuleMatch): void {
    if (this.lines >= RULE_LOG_PER_SECOND) {
      this.unlogged++;
      return;
    }
    this.lines++;
    const { rule, port, action, isEgress, length, octets } = match;
    const detail = {
      rule: this.numbers.nameOf(rule) ?? `rule ${rule}`,
      port: this.portName(port),
      direction: isEgress ? 'egress' : 'ingress',
      action: action === ACTION_PERMIT ? 'permit' : action === ACTION_REJECT ? 'reject' : 'deny',
      length,
      hex: Buffer.from(octets).toString('hex'),
    };
    this.log.info(detail, `a rule matched: ${frameLine(octets, 0, octets.length)}`);
  }

  /** Once a second. */
  tick(): void {
    this.lines = 0;
    const suppressed = this.counters.reduce((sum, counters) => sum + counters.suppressed, 0);
    const count = this.unlogged + suppressed - this.suppressedBefore;
    this.unlogged = 0;
    this.suppressedBefore = suppressed;
    if (count > 0) this.log.info({ suppressed: count }, 'more frames matched rules with log than are logged a second');
  }
}
