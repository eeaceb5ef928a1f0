/**
 * Gives later fragments the ports, the protocol and the TCP flags of their datagram's first one, so that all stages behind
 * judge them as they judge that: what drops the first drops them too, and nothing more is needed for it. A later one that
 * comes before its first waits (waiting-fragments.ts); pipeline.ts takes it in again. @hot
 *
 * A fragment whose headers have a fault, the tiny ones among them (RFC 1858, 3128, 7112), is dropped for that: its ports
 * could not be told. So is one that can be a fragment of nothing: empty, not of whole eight octets and not the last, past
 * the longest datagram. It says nothing about its datagram, which goes on without it (RFC 8200 section 4.5: "that fragment
 * must be discarded"); only fragments that contradict each other end it (fragment-table.ts).
 */
import type { Batch } from '../../dataplane/batch.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { FragmentReader } from '../../wire/fragment.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP } from '../../wire/ip-protocol.js';
import { FRAGMENT_FIRST, FRAGMENT_NONE, PACKET_IPV6 } from '../../wire/packet.js';
import { TCP_FLAGS } from '../../wire/tcp.js';
import { FRAGMENT_BUSY, FRAGMENT_LIMITED, FRAGMENT_PASSES, FRAGMENT_WAITS } from '../fragment-table.js';
import type { Machine } from '../machine.js';
import { POLICY_FRAGMENTS } from '../snapshot.js';
import type { Stage } from '../stage.js';
import { fragmentReasons, UNDECIDED, WAITING } from '../waiting-fragments.js';

/** One worker is one thread, and no fragment is read while another is. */
const reader = new FragmentReader();

export const fragments: Stage = {
  name: 'fragments',

  run(machine: Machine, batch: Batch): void {
    if ((batch.policy & POLICY_FRAGMENTS) === 0 || batch.hasFragment === 0) return;
    const { pool, waiting } = machine;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0 || (pool.policy[slot] & POLICY_FRAGMENTS) === 0) continue;
      if (pool.fragment[slot] === FRAGMENT_NONE) continue;
      if (pool.packetFault[slot] !== 0) pool.reason[slot] = pool.packetFault[slot];
      else if (batch.isReturned && waiting.decided[index] !== 0) {
        pool.ports[slot] = waiting.ports[index];
        pool.protocol[slot] = waiting.protocols[index];
        pool.firstFlags[slot] = waiting.tcpFlags[index];
      } else follow(machine, slot);
    }
  },

  explain({ pool, snapshot }: Machine, slot: number): string {
    if ((pool.policy[slot] & POLICY_FRAGMENTS) === 0 || pool.fragment[slot] === FRAGMENT_NONE) return 'no fragment';
    if (pool.reason[slot] === WAITING) {
      const timeout = `${snapshot.fragmentTimeout} s`;
      return `a later fragment whose first one was not seen: it waits for that, and is dropped (fragment_timeout) after ${timeout}`;
    }
    const identity = identityOf(pool.protocol[slot], pool.ports[slot]);
    return pool.fragment[slot] === FRAGMENT_FIRST
      ? `the first fragment: later ones are judged as ${identity}`
      : `a later fragment, judged as its first one was: ${identity}`;
  },
};

function identityOf(protocol: number, ports: number): string {
  const isIcmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  const text = isIcmp
    ? `type ${ports >>> 24} code ${(ports >>> 16) & 255}`
    : `ports ${ports >>> 16} > ${ports & 0xffff}`;
  return `protocol ${protocol}, ${text}`;
}

/** Looks for the fragment's datagram: it passes with what that has, waits, or is dropped. */
function follow(machine: Machine, slot: number): void {
  const { pool, fragments: table, snapshot, waiting } = machine;
  const frameEnd = pool.offset[slot] + pool.length[slot];
  const isIpv6 = pool.packetKind[slot] === PACKET_IPV6;
  reader.read(pool.octets, isIpv6, pool.networkHeader[slot], pool.packetEnd[slot], frameEnd);
  table.select(pool.network[slot], pool.ingressPort[slot], pool.octets, reader);
  const answer = table.take(
    reader,
    pool.ports[slot],
    pool.protocol[slot],
    flagsOf(pool, slot),
    snapshot,
    machine.nowSeconds,
  );
  if (answer === FRAGMENT_PASSES) {
    pool.ports[slot] = table.foundPorts;
    pool.protocol[slot] = table.foundProtocol;
    pool.firstFlags[slot] = table.foundTcpFlags;
  } else if (answer === FRAGMENT_WAITS) {
    if (!waiting.park(machine, slot, table.entry, table.serial, table.created)) refuse(machine, slot);
  } else if (answer !== FRAGMENT_BUSY) pool.reason[slot] = fragmentReasons[answer];
  else if (!waiting.park(machine, slot, UNDECIDED, 0, machine.nowSeconds))
    pool.reason[slot] = fragmentReasons[FRAGMENT_LIMITED];
}

/** The TCP flags of a first fragment, whose header is whole; of all else 0. */
function flagsOf(pool: FramePool, slot: number): number {
  const has = pool.transport[slot] !== 0 && pool.protocol[slot] === PROTOCOL_TCP;
  return has ? pool.octets[pool.transport[slot] + TCP_FLAGS] : 0;
}

/** There was no place for it to wait in; the table's row counts it no more. */
function refuse({ pool, fragments: table }: Machine, slot: number): void {
  if (table.tryLock()) {
    table.forgo(table.entry, table.serial);
    table.unlock();
  }
  pool.reason[slot] = fragmentReasons[FRAGMENT_LIMITED];
}
