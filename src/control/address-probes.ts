/**
 * Whether somebody uses an address that is about to be given to a client (RFC 2131 2.2: a server should look first). A probe as
 * of RFC 5227 2.1.1 asks the whole network; who answers is learned by the workers (stages/responders.ts), and found in their
 * table of neighbours a moment later. Main thread.
 *
 * One probe, not three: the client looks for itself, too, before it uses what it got (RFC 2131 4.4.1). Behind a guarded port
 * nobody can answer for what is not his; what others may claim is bounded by who asks here (address-service.ts).
 */
import { TO_NETWORK } from '../pipeline/egress-batch.js';
import { IPV4_SIZE } from '../wire/address.js';
import { ARP_REQUEST } from '../wire/arp.js';
import { ETHERTYPE_ARP, MAC_SIZE } from '../wire/ethernet.js';
import { buildArp, buildEthernet } from '../wire/frame-build.js';
import { ipv4Octets } from './address-range.js';

/** An answer is looked for so many times, so far apart: 300 ms in all. Machines answer within a few. */
const LOOKS_MAX = 6;
const LOOK_MS = 50;
/**
 * Probes under way at once, and those of them that one port's clients caused; beyond that addresses are given without. So a port
 * that asks in many names has the network hear 27 questions a second, not as many as it asks, and others have theirs asked.
 */
const PROBES_MAX = 256;
const PROBES_PER_PORT = 8;
const BROADCAST_MAC = new Uint8Array(MAC_SIZE).fill(0xff);

/** Who answers for an address, or wants it. */
export interface Claimant {
  readonly mac: string;
  /** Name of the port it is behind. */
  readonly port: string;
}

export interface ProbeParts {
  readonly clock: () => number;
  /** Has a worker send the frame; `destination` is TO_NETWORK. */
  readonly send: (frame: Uint8Array, network: number, destination: number) => void;
  /** Who said in that second of the clock, or later, that the address is his; as machines do unasked as well. */
  readonly claimant: (network: number, address: Uint8Array, sinceSeconds: number) => Claimant | undefined;
  readonly later: (ms: number, act: () => void) => void;
}

export class AddressProbes {
  private readonly parts: ProbeParts;
  /** By network and address: the port it is asked for. */
  private readonly underWay = new Map<string, string>();

  constructor(parts: ProbeParts) {
    this.parts = parts;
  }

  isUnderWay(network: number, address: number): boolean {
    return this.underWay.has(`${network} ${address}`);
  }

  /**
   * Asks who has the address, in the name of the service's own `mac`, and tells in a moment: undefined is nobody but the client
   * itself, who asks from behind its port. False: nobody is asked, and nothing is told.
   */
  begin(
    network: number,
    address: number,
    mac: Uint8Array,
    client: Claimant,
    tell: (claimant: Claimant | undefined) => void,
  ): boolean {
    const key = `${network} ${address}`;
    if (this.underWay.size >= PROBES_MAX || this.underWay.has(key)) return false;
    const ofPort = [...this.underWay.values()].filter((port) => port === client.port);
    if (ofPort.length >= PROBES_PER_PORT) return false;
    this.underWay.set(key, client.port);
    const octets = ipv4Octets(address);
    const sinceSeconds = Math.floor(this.parts.clock() / 1000);
    this.parts.send(probe(octets, mac), network, TO_NETWORK);
    let looks = 0;
    const look = () => {
      const found = this.parts.claimant(network, octets, sinceSeconds);
      const claimant = found?.mac === client.mac ? undefined : found;
      if (claimant === undefined && ++looks < LOOKS_MAX) {
        this.parts.later(LOOK_MS, look);
        return;
      }
      this.underWay.delete(key);
      tell(claimant);
    };
    this.parts.later(LOOK_MS, look);
    return true;
  }
}

/** From 0.0.0.0, so that nobody's table is touched. */
function probe(address: Uint8Array, mac: Uint8Array): Uint8Array {
  const nobody = { senderIp: new Uint8Array(IPV4_SIZE), targetMac: new Uint8Array(MAC_SIZE) };
  const message = buildArp({ operation: ARP_REQUEST, senderMac: mac, ...nobody, targetIp: address });
  return buildEthernet({ destination: BROADCAST_MAC, source: mac, tags: [] }, ETHERTYPE_ARP, message);
}
