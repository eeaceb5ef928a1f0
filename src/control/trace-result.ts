/** A trace in the shape that the control socket answers. Pure. */

import { VLAN_TAGS_MAX } from '../limits.js';
import type { Names } from '../pipeline/stage.js';
import type { TraceOutcome } from '../pipeline/tracer.js';
import { ETHERNET_ETHERTYPE, ETHERNET_HEADER_SIZE } from '../wire/ethernet.js';
import { isTpid, TPID_SERVICE, VID_MASK, VLAN_TAG_SIZE } from '../wire/vlan.js';
import type { TraceResult } from './shapes.js';

export function traceResult(outcome: TraceOutcome, names: Names): TraceResult {
  return {
    verdict: outcome.verdict,
    ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
    ...(outcome.rule === undefined ? {} : { rule: outcome.rule }),
    outputs: outcome.outputs.map(({ port, octets, remote }) => ({
      port: names.port(port),
      tags: tagsOf(octets),
      ...(remote === undefined ? {} : { remote }),
    })),
    stages: outcome.stages.map(({ stage, decision, rule, text, changes }) => ({
      stage,
      decision,
      ...(rule === undefined ? {} : { rule }),
      text,
      ...(changes.length === 0 ? {} : { changes }),
    })),
  };
}

/** The tags a frame begins with, from the outside in, as `802.1Q vid 10 pcp 0`. */
function tagsOf(octets: Uint8Array): string[] {
  const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  const tags: string[] = [];
  let at = ETHERNET_ETHERTYPE;
  while (tags.length < VLAN_TAGS_MAX && at + ETHERNET_HEADER_SIZE - ETHERNET_ETHERTYPE + 2 <= octets.length) {
    const tpid = view.getUint16(at);
    if (!isTpid(tpid)) break;
    const control = view.getUint16(at + 2);
    const dei = (control & 0x1000) === 0 ? '' : ' dei';
    tags.push(`${tpid === TPID_SERVICE ? '802.1ad' : '802.1Q'} vid ${control & VID_MASK} pcp ${control >> 13}${dei}`);
    at += VLAN_TAG_SIZE;
  }
  return tags;
}
