/** What a step of the pipeline is. Stages write verdicts into the pool; the runner frees, counts and traces. */
import type { Batch } from '../dataplane/batch.js';
import type { EgressBatch } from './egress-batch.js';
import type { Machine } from './machine.js';

/** What the operator calls the things that stages know by index; for explanations only. */
export interface Names {
  port(index: number): string;
  network(index: number): string;
  /** Address of a tunnel's remote end. */
  remote(tunnel: number): string;
  /** A rule by its number: `acls.a1.rules[3]`. */
  rule(number: number): string;
}

/** A step on received frames. It skips slots whose `reason` is set, and sets `reason` to end a frame. */
export interface Stage {
  readonly name: string;
  run(machine: Machine, batch: Batch): void;
  /** What the stage, just run, decided about this frame: one sentence for `weft trace`. */
  explain(machine: Machine, slot: number, names: Names): string;
  /** What was wrong with this frame, which the stage has just dropped; absent: the reason says it all. */
  explainDrop?(machine: Machine, slot: number, names: Names): string;
  /** What decided it, as a path of the configuration: `acls.a1.rules[3]`. Of stages that go by rules; undefined: none did. */
  rule?(machine: Machine, slot: number, names: Names): string | undefined;
}

/** A step on copies, each on its way out by one member. It skips copies whose reason is set. */
export interface EgressStage {
  readonly name: string;
  run(machine: Machine, copies: EgressBatch): void;
  explain(machine: Machine, copies: EgressBatch, index: number, names: Names): string;
  /** As of a Stage: of a copy that the stage has just stopped. */
  explainDrop?(machine: Machine, copies: EgressBatch, index: number, names: Names): string;
  rule?(machine: Machine, copies: EgressBatch, index: number, names: Names): string | undefined;
}
