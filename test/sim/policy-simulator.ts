/**
 * Runs random configurations and frames through the real pipeline on memory queues and through the policy reference, and
 * compares: who received each frame, why nobody did, and that every frame ended once. One seed is one run: a
 * configuration, some hundred frames, and a few changes of the configuration between them.
 */

import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { unsupported } from '../../src/control/unsupported.js';
import { dropReasons } from '../../src/dataplane/drop-reason.js';
import { UserError } from '../../src/errors.js';
import { NO_FEATURES, TestSwitch } from '../pipeline/test-switch.js';
import { changedDocument, type Features, randomDocument, STATIONS } from './policy-documents.js';
import type { Frame, PolicyDocument } from './policy-model.js';
import { frameOctets } from './policy-octets.js';
import { type PolicyFrame, type PolicyOutcome, PolicyReference } from './policy-reference.js';
import { PolicyTraffic } from './policy-traffic.js';
import { Random } from './random.js';
import type { Device } from './switch-document.js';

const isServed = (at: string) => !unsupported.some((row) => row.at === at);
/** What this version enforces; the rest is not in the configurations. */
export const served: Features = {
  guard: isServed('ports.*.antiSpoof') && isServed('ports.*.allowedPairs') && isServed('ports.*.allowEthertypes'),
  acl: isServed('ports.*.acl') && isServed('networks.*.acl'),
  groups: isServed('ports.*.groups'),
};

const DEVICE: Device = { mtu: 9000, features: NO_FEATURES, attached: true };
const PORTS = [...new Set(STATIONS.map(({ port }) => port))];
const devices = new Map(PORTS.map((port) => [port, DEVICE]));
const testDevices = Object.fromEntries(PORTS.map((port) => [port, { mtu: DEVICE.mtu, features: NO_FEATURES }]));
/** Longer than fragments wait. */
const FRAGMENT_TIMEOUT_MS = 16_000;

export interface RunCounts {
  frames: number;
  delivered: number;
  changes: number;
  /** Documents that contradict themselves, and so were refused. */
  refused: number;
}

export class PolicySimulator {
  readonly counts: RunCounts = { frames: 0, delivered: 0, changes: 0, refused: 0 };
  private readonly random: Random;
  private readonly features: Features;
  private readonly reference = new PolicyReference();
  private document: PolicyDocument;
  private readonly real: TestSwitch;
  private readonly traffic: PolicyTraffic;
  private batch: Frame[] = [];
  private readonly keys = new Set<string>();

  constructor(seed: number, features: Features = served) {
    this.random = new Random(seed);
    this.features = features;
    this.document = this.soundDocument(() => randomDocument(this.random, this.features));
    this.real = new TestSwitch(this.document, { devices: testDevices, fdbEntries: 64, slots: 256 });
    this.reference.configure(this.document, devices);
    this.traffic = new PolicyTraffic(this.random, this.document, this.reference.groups);
    // Where connections are known by their ports, stations do not move.
    for (const { network, mac, port } of STATIONS)
      if (this.reference.groups.isTracked(network)) this.pin(network, mac, port);
  }

  run(frames: number, changes: number): void {
    for (let part = 0; part <= changes; part++) {
      if (part > 0) this.change();
      for (let index = 0; index < frames / (changes + 1); index++) this.add();
      this.flush();
    }
    this.real.now += FRAGMENT_TIMEOUT_MS;
    this.runBatch([]);
    this.real.expectConservation();
  }

  private soundDocument(make: () => PolicyDocument): PolicyDocument {
    for (let attempt = 0; attempt < 100; attempt++) {
      const document = make();
      try {
        checkDocument(documentOf(document as unknown as JsonValue));
        return document;
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        this.counts.refused++;
      }
    }
    throw new Error('no configuration in a hundred is sound');
  }

  private change(): void {
    this.counts.changes++;
    this.document = this.soundDocument(() => changedDocument(this.random, this.document, this.features));
    this.real.configure(this.document);
    this.reference.configure(this.document, devices);
    this.traffic.reconfigure(this.document);
  }

  private pin(network: string, mac: string, port: string): void {
    const high = Number.parseInt(mac.slice(0, 4), 16);
    const low = Number.parseInt(mac.slice(4), 16) | 0;
    this.real.fdb.addStatic(
      this.real.network(network),
      high,
      low,
      this.real.member(port, network),
      this.real.index(port),
    );
    this.reference.l2.addStatic(network, mac, port);
  }

  private add(): void {
    const frame = this.traffic.next();
    const keys = this.traffic.conflictKeys(frame);
    // It was made before the one it meets is through: what it would be then may be something else.
    if (keys.some((key) => this.keys.has(key))) {
      this.flush();
      if (frame.content.kind !== 'ip' || frame.content.fragment !== 'later') return;
    }
    for (const key of keys) this.keys.add(key);
    this.batch.push(frame);
    if (this.batch.length >= 32 || this.random.oneIn(8)) this.flush();
  }

  private flush(): void {
    const batch = this.batch.map((frame): PolicyFrame => {
      const padded = this.random.oneIn(6) ? this.random.below(80) : 0;
      return { port: frame.port, octets: frameOctets(frame, padded), frame };
    });
    this.batch = [];
    this.keys.clear();
    if (batch.length > 0) this.runBatch(batch);
  }

  private runBatch(batch: readonly PolicyFrame[]): void {
    const { real } = this;
    real.now += 100;
    for (const frame of batch) if (!real.receive(frame)) throw new Error('the pool is full');
    const slots = real.received;
    real.runBatch();
    const sent = real.sent.splice(0);
    const outcomes = this.reference.receive(batch, real.now);
    for (const [index, outcome] of outcomes.entries()) {
      const copies = sent.filter(({ original, isGenerated }) => original === slots[index] && !isGenerated);
      this.compare(
        batch[index],
        outcome,
        copies.map(({ port }) => port),
        this.reasonOf(slots[index]),
      );
    }
    const rejected = new Set(batch.filter((_, index) => outcomes[index].isRejected).map(({ port }) => port));
    for (const { port, isGenerated } of sent)
      if (isGenerated && !rejected.has(port)) throw new Error(`${port} was told of a rejection it did not cause`);
    this.counts.frames += batch.length;
  }

  /** The slot was let go, and is as it was. */
  private reasonOf(slot: number): string {
    const { pool } = this.real;
    return dropReasons[pool.reason[slot] === 0 ? pool.copyFailure[slot] : pool.reason[slot]] ?? 'consumed';
  }

  private compare({ frame, octets }: PolicyFrame, outcome: PolicyOutcome, to: string[], reason: string): void {
    const expected = [...outcome.to].sort().join(' ');
    const actual = to.sort().join(' ');
    this.counts.delivered += to.length;
    const reasons: ReadonlySet<string> = outcome.reasons;
    const isReason = to.length > 0 || reasons.has('fragment_timeout') || reasons.has(reason);
    if (expected === actual && isReason) return;
    const lines = [
      actual === expected
        ? `dropped for ${reason}, not ${[...reasons].join(' or ')}`
        : `went to [${actual}] (${reason}), not [${expected}] (${[...reasons].join(' or ')})`,
      `frame ${this.counts.frames} and on: ${text(frame)}`,
      Buffer.from(octets).toString('hex'),
      `configuration: ${JSON.stringify(this.document)}`,
    ];
    throw new Error(lines.join('\n'));
  }
}

const text = (frame: Frame) =>
  JSON.stringify(frame, (_, value) => (typeof value === 'bigint' ? value.toString(16) : value));
