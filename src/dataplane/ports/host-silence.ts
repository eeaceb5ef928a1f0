/**
 * Takes an interface away from the host's own network stack, so that only the switch answers on it, and gives it back.
 * Main thread.
 *
 * AF_PACKET sees a frame before traffic control does. So a filter on the interface's ingress that drops everything leaves
 * the switch all frames and the host none: cls_bpf with one classic instruction, "return TC_ACT_SHOT", on a clsact qdisc
 * (distribution kernels have it; matchall + gact and nftables were tried too, and need more of the kernel). Where the
 * kernel has no cls_bpf, sysctls keep the host from answering ARP and from speaking IPv6; it then still answers IPv4 that
 * is sent to the interface's own MAC and an address of the host, which no station learns by itself.
 *
 * An interface that was down is set up, after its IPv6 is switched off: QEMU leaves a TAP it made down. One that was up
 * keeps its IPv6 setting, for switching it off would delete configured addresses for good.
 *
 * The filter outlives a killed daemon. What is to be undone is therefore kept in PortMemory, for this boot and interface.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { bootId } from '../boot-id.js';
import { queryInterface, setInterfaceUp } from '../interface.js';
import { attribute, NLM_F_CREATE, NLM_F_EXCL, request, text, uint16, uint32 } from '../netlink-message.js';
import type { PortMemory } from '../port.js';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_BPF_OPS_LEN = 4;
const TCA_BPF_OPS = 5;
const TCA_BPF_FLAGS = 8;
const TCA_BPF_FLAG_ACT_DIRECT = 1;
const CLSACT_HANDLE = 0xffff_0000;
const CLSACT_PARENT = 0xffff_fff1;
const INGRESS_PARENT = 0xffff_fff2;
/** First in the row, for all protocols (ETH_P_ALL in network order). */
const FILTER_PRIORITY = (1 << 16) | 0x0300;
/** "weft": tells our filter from others. */
const FILTER_HANDLE = 0x7765_6674;
/** struct sock_filter { code: BPF_RET | BPF_K, jt, jf, k: TC_ACT_SHOT }. */
const DROP_PROGRAM = new Uint8Array([0x06, 0, 0, 0, 2, 0, 0, 0]);
const EEXIST = 17;

const MEMORY_KEY = 'silenced';

/** What was done to an interface, as the memory keeps it. */
interface Silenced {
  readonly boot: string;
  readonly device: string;
  readonly index: number;
  readonly filter: boolean;
  readonly qdisc: boolean;
  readonly broughtUp: boolean;
  /** Former values of sysctls by path below /proc/sys/net. */
  readonly sysctls: Readonly<Record<string, string>>;
}

/** The host falls silent on the interface, which is up then. Doing it again to the same interface is harmless. */
export function silenceHost(device: string, memory: PortMemory): void {
  const state = queryInterface(device);
  if (state === undefined) return;
  const before = recall(memory, state.index);
  const qdisc = changeQdisc(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, state.index);
  const filter = (qdisc === 0 || qdisc === EEXIST) && changeFilter(RTM_NEWTFILTER, NLM_F_CREATE, state.index) === 0;
  const broughtUp = before?.broughtUp === true || !state.isUp;
  const sysctls: Record<string, string> = { ...before?.sysctls };
  if (broughtUp || !filter) change(sysctls, `ipv6/conf/${device}/disable_ipv6`, '1');
  if (!filter) change(sysctls, `ipv4/conf/${device}/arp_ignore`, '8');
  const done: Silenced = {
    boot: bootId(),
    device,
    index: state.index,
    filter,
    qdisc: before?.qdisc === true || qdisc === 0,
    broughtUp,
    sysctls,
  };
  memory.set(MEMORY_KEY, JSON.stringify(done));
  if (!state.isUp) setInterfaceUp(device, true);
}

/** Undoes silenceHost, if the interface is still the same one. */
export function unsilenceHost(device: string, memory: PortMemory): void {
  const state = queryInterface(device);
  const done = state === undefined ? undefined : recall(memory, state.index);
  memory.set(MEMORY_KEY, undefined);
  if (state === undefined || done === undefined) return;
  if (done.broughtUp && state.isUp) setInterfaceUp(device, false);
  for (const [path, value] of Object.entries(done.sysctls)) writeSysctl(path, value);
  if (done.filter) changeFilter(RTM_DELTFILTER, 0, state.index);
  if (done.qdisc) changeQdisc(RTM_DELQDISC, 0, state.index);
}

/** The interface on which this memory's port has silenced the host since this boot. */
export function silencedDevice(memory: PortMemory): string | undefined {
  const kept = memory.get(MEMORY_KEY);
  const done = kept === undefined ? undefined : (JSON.parse(kept) as Silenced);
  return done?.boot === bootId() ? done.device : undefined;
}

/** Whether an earlier opening of this port has brought this very interface up already. */
export function wasSilenced(index: number, memory: PortMemory): boolean {
  return recall(memory, index) !== undefined;
}

function recall(memory: PortMemory, index: number): Silenced | undefined {
  const kept = memory.get(MEMORY_KEY);
  if (kept === undefined) return undefined;
  const done = JSON.parse(kept) as Silenced;
  return done.boot === bootId() && done.index === index ? done : undefined;
}

function changeQdisc(type: number, flags: number, index: number): number {
  return request(type, flags, tcMessage(index, CLSACT_HANDLE, CLSACT_PARENT, 0), attribute(TCA_KIND, text('clsact')));
}

function changeFilter(type: number, flags: number, index: number): number {
  return request(
    type,
    flags,
    tcMessage(index, FILTER_HANDLE, INGRESS_PARENT, FILTER_PRIORITY),
    attribute(TCA_KIND, text('bpf')),
    attribute(
      TCA_OPTIONS,
      attribute(TCA_BPF_FLAGS, uint32(TCA_BPF_FLAG_ACT_DIRECT)),
      attribute(TCA_BPF_OPS_LEN, uint16(1)),
      attribute(TCA_BPF_OPS, DROP_PROGRAM),
    ),
  );
}

/** struct tcmsg. */
function tcMessage(index: number, handle: number, parent: number, info: number): Uint8Array {
  return new Uint8Array(new Uint32Array([0, index, handle, parent, info]).buffer);
}

/** Remembers the first former value only: that is the operator's. */
function change(former: Record<string, string>, path: string, value: string): void {
  try {
    former[path] ??= readFileSync(`/proc/sys/net/${path}`, 'utf8').trim();
  } catch {
    return; // a kernel without IPv6 has nothing to switch off
  }
  writeSysctl(path, value);
}

function writeSysctl(path: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/net/${path}`, value);
  } catch {
    // Read-only in some containers, and gone with the interface; the filter is what counts.
  }
}
