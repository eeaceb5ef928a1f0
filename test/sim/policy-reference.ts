/**
 * The whole policy a second time: slow, obvious, over frames as objects, and written from the configuration reference, the
 * design's rules of the dataplane and the tables of semantics (1.4, 1.5), not from the pipeline. It judges the frames of a
 * reference switch, which knows about networks, tags and stations. The parts: policy-guard-reference.ts (what a guarded
 * port may send), policy-acl-reference.ts (ordered rules), policy-groups-reference.ts (security groups, connections).
 */
import type { DropReason } from '../../src/dataplane/drop-reason.js';
import { judgeByAcl, type VlanTag } from './policy-acl-reference.js';
import { GroupsReference, type Standing } from './policy-groups-reference.js';
import { alwaysBlocked, brokenReasons, guardViolations } from './policy-guard-reference.js';
import type { Frame, PolicyDocument, PolicyPort, Refusal } from './policy-model.js';
import { type Judge, type ModelFrame, ReferenceSwitch } from './reference-switch.js';
import type { Device } from './switch-document.js';

export interface PolicyFrame extends ModelFrame {
  readonly frame: Frame;
}

export interface PolicyOutcome {
  /** Ports that must receive the frame, and no other. */
  readonly to: readonly string[];
  /** Why nobody does: any of these; empty: the reference can't tell. */
  readonly reasons: ReadonlySet<Refusal>;
  /** Some ACL tells the sender. */
  readonly isRejected: boolean;
}

interface Notes {
  readonly reasons: Set<Refusal>;
  standing: Standing;
  isRejected: boolean;
}

const UNTRACKED: Standing = { is: 'untracked' };

export class PolicyReference implements Judge<PolicyFrame> {
  readonly groups = new GroupsReference();
  readonly l2: ReferenceSwitch<PolicyFrame>;
  private document: PolicyDocument = { version: 1, networks: {}, ports: {}, acls: {}, groups: {} };
  private readonly notes = new Map<PolicyFrame, Notes>();
  /** Later fragments wait for these: by port, network and what a datagram's fragments share. */
  private readonly firstFragments = new Set<string>();

  constructor() {
    const gone = () => {
      throw new Error('the oracle does not fill tables');
    };
    this.l2 = new ReferenceSwitch({ gone, moved: () => {}, notLearned: () => {} }, this);
  }

  configure(document: PolicyDocument, devices: ReadonlyMap<string, Device>): void {
    this.document = document;
    this.groups.configure(document);
    this.l2.configure(document, devices);
  }

  /** One batch. */
  receive(frames: readonly PolicyFrame[], nowMs: number): PolicyOutcome[] {
    this.notes.clear();
    this.l2.setTime(nowMs);
    return this.l2.receive(frames).map(({ reason, copies }, index) => {
      const { reasons, isRejected } = this.notesOf(frames[index]);
      if (reasons.size === 0 && reason !== undefined) reasons.add(reason);
      const to = copies.flatMap((copy) => (copy.reason === undefined ? [copy.port] : []));
      for (const copy of copies) if (copy.reason !== undefined) reasons.add(copy.reason);
      return { to, reasons, isRejected };
    });
  }

  enters(received: PolicyFrame, network: string): DropReason | undefined {
    const { frame } = received;
    const notes = this.notesOf(received);
    const port = this.document.ports[frame.port];
    const first = this.guard(port, frame) ?? this.fragments(network, frame) ?? this.aclIngress(notes, network, frame);
    if (first !== undefined) return refuse(notes, first);
    const blocked = port.groups === undefined ? [] : alwaysBlocked(frame);
    if (blocked.length > 0) return refuse(notes, blocked);
    notes.standing = this.groups.track(frame, network);
    return refuse(notes, this.groups.judgeFrom(frame.port, frame, notes.standing));
  }

  leaves(received: PolicyFrame, network: string, to: string): DropReason | undefined {
    const { frame } = received;
    const notes = this.notesOf(received);
    const names = [this.document.ports[to].acl?.egress, this.document.networks[network].acl?.egress];
    const tag = this.tagAt(to, network, frame);
    const reasons = this.judgeByAcls(notes, names, frame, tag);
    if (reasons.length > 0) return refuse(notes, reasons);
    const refusal = refuse(notes, this.groups.judgeTo(to, frame, notes.standing));
    if (refusal === undefined) this.groups.commit(frame, network, notes.standing, to);
    return refusal;
  }

  private notesOf(frame: PolicyFrame): Notes {
    const notes = this.notes.get(frame) ?? { reasons: new Set(), standing: UNTRACKED, isRejected: false };
    this.notes.set(frame, notes);
    return notes;
  }

  private guard(port: PolicyPort, frame: Frame): readonly Refusal[] | undefined {
    const found = port.antiSpoof ? guardViolations(port, frame) : [];
    return found.length === 0 ? undefined : found;
  }

  /** "Later ones wait for the first and share its verdict", where anybody's rules ask. */
  private fragments(network: string, frame: Frame): readonly Refusal[] | undefined {
    const { content } = frame;
    if (content.kind !== 'ip' || content.fragment === 'none') return undefined;
    const { source, destination, protocol, fragmentId } = content;
    const key = `${frame.port} ${network} ${source.value} ${destination.value} ${protocol} ${fragmentId}`;
    if (content.fragment === 'first') this.firstFragments.add(key);
    return this.firstFragments.has(key) ? undefined : ['fragment_timeout'];
  }

  private aclIngress(notes: Notes, network: string, frame: Frame): readonly Refusal[] | undefined {
    const names = [this.document.ports[frame.port].acl?.ingress, this.document.networks[network].acl?.ingress];
    const reasons = this.judgeByAcls(notes, names, frame, frame.tags[0]);
    return reasons.length === 0 ? undefined : reasons;
  }

  /** The tag that a copy leaves by this port with: its network's VID, and the priority it came with. */
  private tagAt(name: string, network: string, frame: Frame): VlanTag | undefined {
    const { trunk } = this.document.ports[name];
    const entries = Array.isArray(trunk) ? trunk : [];
    const entry = entries.find((each) => typeof each !== 'string' && each.network === network);
    const pcp = frame.tags[0]?.pcp ?? 0;
    return typeof entry === 'object' ? { vid: entry.vlan, pcp } : { vid: 0, pcp };
  }

  /** Both have to permit. What can't be read, no rule can judge. */
  private judgeByAcls(
    notes: Notes,
    names: readonly (string | undefined)[],
    frame: Frame,
    tag: VlanTag | undefined,
  ): Refusal[] {
    const { content } = frame;
    const found: Refusal[] = [];
    for (const name of names) {
      if (name === undefined) continue;
      if (content.kind === 'ip') found.push(...brokenReasons(content));
      const { reason, isRejected } = judgeByAcl(this.document.acls[name], frame, tag);
      if (reason !== undefined) found.push(reason);
      notes.isRejected ||= isRejected;
    }
    return found;
  }
}

function refuse(notes: Notes, reasons: readonly Refusal[]): DropReason | undefined {
  for (const reason of reasons) notes.reasons.add(reason);
  // The reference switch only passes it on.
  return reasons[0] as DropReason | undefined;
}
