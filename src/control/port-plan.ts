/** Which ports must be opened and closed to get from one configuration to another. Pure; main thread. */
import type { PortIntent } from '../dataplane/port.js';
import type { ResolvedConfig } from './resolved.js';

export interface PortPlan {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Ports whose device must be opened anew. */
  readonly replaced: readonly string[];
  /** Those of them that go on with the same device: it is not to vanish from under the machine behind it. */
  readonly keepsDevice: ReadonlySet<string>;
  /** Removed ports whose device another port takes over: closing them later would undo what that one did to it. */
  readonly yielding: readonly string[];
}

/** A port whose intent is the same keeps its device and its traffic, whatever else of it changes. */
export function planPorts(before: ResolvedConfig, after: ResolvedConfig): PortPlan {
  const added: string[] = [];
  const replaced: string[] = [];
  const keepsDevice = new Set<string>();
  const taken = new Set<string>();
  for (const [name, { intent }] of after.ports) {
    const old = before.ports.get(name)?.intent;
    if (isSameIntent(intent, old)) continue;
    for (const device of devicesOf(intent)) taken.add(device);
    if (old === undefined) added.push(name);
    else replaced.push(name);
    if (old !== undefined && isSameDevice(intent, old)) keepsDevice.add(name);
  }
  const removed = [...before.ports.keys()].filter((name) => !after.ports.has(name));
  const yielding = removed.filter((name) =>
    devicesOf(before.ports.get(name)?.intent).some((device) => taken.has(device)),
  );
  return { added, removed, replaced, keepsDevice, yielding };
}

function devicesOf(intent: PortIntent | undefined): string[] {
  if (intent === undefined) return [];
  return intent.path === undefined ? [intent.device] : [intent.device, intent.path];
}

/** A TAP made with one queue can't get a second one, nor the other way round. */
function isSameDevice(left: PortIntent, right: PortIntent): boolean {
  const isSame = left.kind === right.kind && left.device === right.device && left.path === right.path;
  return isSame && left.queues > 1 === right.queues > 1;
}

/** Remotes of an underlay port may come and go while it is open (UnderlayHandle.follow). */
function isSameIntent(left: PortIntent, right: PortIntent | undefined): boolean {
  const lasting = (intent: PortIntent | undefined) =>
    JSON.stringify(intent, (key, value: unknown) => (key === 'remotes' ? undefined : value));
  return lasting(left) === lasting(right);
}
