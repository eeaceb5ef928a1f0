/** Configurations for tests: documents by example and at random. */
import fc from 'fast-check';
import { type CheckedDocument, checkDocument } from '../../src/control/check.js';
import { documentOf, parseDocument } from '../../src/control/document.js';
import type { JsonObject, JsonValue } from '../../src/control/shapes.js';
import { UserError, type UserFault } from '../../src/errors.js';

export function check(text: string): CheckedDocument {
  return checkDocument(parseDocument(text, 'switch.yaml'));
}

export function checkValue(value: JsonValue): CheckedDocument {
  return checkDocument(documentOf(value));
}

/** The faults something throws; an Error that fails the test if it throws none. */
export function faultsOf(action: () => unknown): readonly UserFault[] {
  try {
    action();
  } catch (error) {
    if (error instanceof UserError) return error.faults;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** Faults of a document as `line path: message`. */
export function told(text: string): string[] {
  return faultsOf(() => check(text)).map(({ line, path, message }) => `${line ?? '-'} ${path ?? '-'}: ${message}`);
}

type Port = { [key: string]: JsonValue };

/** A random valid document: an uplink of each kind of trunk, VM ports of every mode, networks of every type there is. */
export function validDocument(): fc.Arbitrary<JsonObject> {
  const network = fc.record({
    type: fc.constantFrom('local', 'flat', 'vlan', 'vlan', 'vlan'),
    uplink: fc.boolean(),
    mtu: fc.option(fc.integer({ min: 68, max: 9000 }), { nil: undefined }),
    learning: fc.boolean(),
  });
  const port = fc.record({
    mode: fc.constantFrom('network', 'trunk', 'tunnel'),
    picks: fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
    translate: fc.boolean(),
    native: fc.boolean(),
    nativeTagged: fc.boolean(),
    allowed: fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 4094 }), { maxLength: 5 }), { nil: undefined }),
    isolated: fc.boolean(),
    enabled: fc.boolean(),
  });
  const shape = fc.record({
    networks: fc.array(network, { minLength: 1, maxLength: 12 }),
    ports: fc.array(port, { maxLength: 16 }),
  });
  return shape.map(({ networks, ports }) => buildDocument(networks, ports));
}

interface NetworkPlan {
  type: string;
  uplink: boolean;
  mtu: number | undefined;
  learning: boolean;
}
interface PortPlan {
  mode: string;
  picks: number[];
  translate: boolean;
  native: boolean;
  nativeTagged: boolean;
  allowed: number[] | undefined;
  isolated: boolean;
  enabled: boolean;
}

function buildDocument(networkPlans: readonly NetworkPlan[], portPlans: readonly PortPlan[]): JsonObject {
  let hasFlatUplink = false;
  const networks = Object.fromEntries(
    networkPlans.map((plan, index) => {
      const uplink = plan.uplink && (plan.type === 'vlan' || (plan.type === 'flat' && !hasFlatUplink));
      if (uplink && plan.type === 'flat') hasFlatUplink = true;
      const entry: Port = { type: plan.type, learning: plan.learning };
      if (plan.type === 'vlan') entry.id = 4094 - index;
      if (plan.mtu !== undefined) entry.mtu = plan.mtu;
      if (uplink) entry.uplink = 'up';
      return [`n${index}`, entry];
    }),
  );
  const ports = Object.fromEntries(
    portPlans.map((plan, index) => [`p${index}`, buildPort(plan, networkPlans)] as const),
  );
  return { version: 1, networks, ports: { ...ports, up: { kind: 'netdev', device: 'eth0', trunk: 'auto' } } };
}

function buildPort(plan: PortPlan, networks: readonly NetworkPlan[]): Port {
  const base: Port = { kind: 'tap', isolated: plan.isolated, enabled: plan.enabled };
  const picked = [...new Set(plan.picks.map((pick) => pick % networks.length))];
  const first = `n${picked[0]}`;
  if (plan.mode === 'network') return { ...base, network: first };
  if (plan.mode === 'tunnel') {
    return { ...base, tunnel: plan.allowed ? { network: first, allowed: plan.allowed } : { network: first } };
  }
  // VIDs below 100 are free: networks have ids above 4000.
  const trunk = picked.map((pick, place) =>
    networks[pick].type === 'vlan' && !plan.translate ? `n${pick}` : { network: `n${pick}`, vlan: place + 1 },
  );
  return plan.native ? { ...base, trunk, native: first, nativeTagged: plan.nativeTagged } : { ...base, trunk };
}
