/**
 * Answers machines' DNS questions: names of their own network itself (network-names.ts), all others by the resolvers of
 * settings.dns (dns-forwarder.ts), or with REFUSED where there are none. Main thread.
 *
 * What is under a network's domain, or about an address in its subnets, never leaves the switch and is never asked elsewhere.
 * What a machine asks is bounded by the workers (limits.dns a port) and by the forwarder's shares of outstanding questions.
 */
import type { Answer } from 'dns-packet';
import { ipText } from '../wire/address.js';
import type { DnsForwarder } from './dns-forwarder.js';
import {
  CLASS_IN,
  DNS_BAD_VERSION,
  DNS_NO_ERROR,
  DNS_NO_NAME,
  DNS_REFUSED,
  DNS_SERVER_FAILURE,
  DNS_UDP_SIZE_MAX,
  type DnsQuery,
  type DnsReply,
  readQuery,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_META_FIRST,
  TYPE_META_LAST,
  TYPE_PTR,
  TYPE_SOA,
  truncated,
  writeFault,
  writeReply,
} from './dns-message.js';
import { type Known, type NamedLeases, NetworkNames } from './network-names.js';
import type { ResolvedConfig } from './resolved.js';
import type { NamesCounts } from './shapes.js';

/** Seconds that a machine's name is good for: it may move, and be asked for again at little cost. */
const TTL_S = 60;
/** And that it does not exist: it may be about to boot. */
const NEGATIVE_TTL_S = 5;
const TCP_SIZE_MAX = 65_535;

export interface NameServiceParts {
  readonly clock: () => number;
  readonly leases: NamedLeases;
  readonly forwarder: Pick<DnsForwarder, 'ask' | 'outstanding' | 'follow'>;
}

/** Who asks. */
export interface Asker {
  readonly port: string;
  readonly network: string;
  readonly transport: 'udp' | 'tcp';
  /** Octets of a message that fit his network in one packet. */
  readonly sizeMax: number;
}

export class NameService {
  private readonly parts: NameServiceParts;
  private config: ResolvedConfig | undefined;
  private names: NetworkNames | undefined;
  private readonly counted = { queries: 0, answered: 0, forwarded: 0, refused: 0, failed: 0, malformed: 0 };

  constructor(parts: NameServiceParts) {
    this.parts = parts;
  }

  /** Answers by this configuration from now on. */
  follow(config: ResolvedConfig): void {
    this.config = config;
    this.names = new NetworkNames(config, this.parts.leases);
    this.parts.forwarder.follow(config.services.forward);
  }

  get counts(): NamesCounts {
    return { ...this.counted, outstanding: this.parts.forwarder.outstanding };
  }

  /** The answer, if there is to be one. Never throws. */
  async answer(message: Uint8Array, asker: Asker): Promise<Uint8Array | undefined> {
    this.counted.queries++;
    const query = readQuery(message);
    if (query === undefined || 'code' in query) {
      this.counted.malformed++;
      return query && writeFault(query);
    }
    const sizeMax = sizeFor(query, asker);
    const reply = this.decide(query, asker.network);
    if (reply !== 'forward') {
      this.counted[reply.code === DNS_REFUSED ? 'refused' : 'answered']++;
      return writeReply(query, reply, sizeMax);
    }
    this.counted.forwarded++;
    const answer = await this.parts.forwarder.ask(message, query.question, asker.transport, asker.port);
    if (answer === undefined) {
      this.counted.failed++;
      return writeReply(query, { code: DNS_SERVER_FAILURE, recurses: true }, sizeMax);
    }
    return answer.length > sizeMax ? truncated(answer, query.question) : answer;
  }

  /** What would be answered, for `weft trace`. */
  explain(message: Uint8Array, network: string): string {
    const query = readQuery(message);
    if (query === undefined) return 'names: no question, no answer';
    if ('code' in query) return 'names: malformed, answered as such';
    const reply = this.decide(query, network);
    const asked = `"${query.name.replaceAll(/[^a-z0-9._-]/g, '?')}."`;
    if (reply === 'forward') return `names: asks a resolver of settings.dns for ${asked}`;
    if (reply.code === DNS_REFUSED) return `names: refuses ${asked}: it is no name of this network`;
    return `names: answers ${asked} itself, with ${reply.answers?.length ?? 0} records`;
  }

  private decide(query: DnsQuery, network: string): DnsReply | 'forward' {
    const recurses = (this.config?.services.forward.length ?? 0) > 0;
    if (query.version !== 0) return { code: DNS_BAD_VERSION, recurses };
    const isMeta = query.type >= TYPE_META_FIRST && query.type <= TYPE_META_LAST;
    if (query.class !== CLASS_IN || isMeta) return { code: DNS_REFUSED, recurses };
    const known = this.names?.find(network, query.name, this.parts.clock());
    if (known !== undefined) return replyOf(query, known, recurses);
    return recurses ? 'forward' : { code: DNS_REFUSED, recurses };
  }
}

function sizeFor(query: DnsQuery, { transport, sizeMax }: Asker): number {
  return transport === 'tcp' ? TCP_SIZE_MAX : Math.min(query.size, DNS_UDP_SIZE_MAX, sizeMax);
}

function replyOf(query: DnsQuery, known: Known, recurses: boolean): DnsReply {
  const isThere = known.kind === 'pointer' ? known.name !== undefined : known.kind === 'host';
  const answers = recordsOf(query, known);
  const code = isThere || query.name === known.zone ? DNS_NO_ERROR : DNS_NO_NAME;
  // RFC 2308: what there is none of is said with the zone's SOA, which tells for how long.
  const authorities = answers.length > 0 ? [] : [soaOf(known.zone)];
  return { code, isAuthoritative: true, recurses, answers, authorities };
}

function recordsOf({ name, type }: DnsQuery, known: Known): Answer[] {
  if (type === TYPE_SOA && name === known.zone) return [soaOf(known.zone)];
  if (known.kind === 'none') return [];
  if (known.kind === 'pointer') {
    const isAsked = type === TYPE_PTR || type === TYPE_ANY;
    return isAsked && known.name !== undefined ? [{ type: 'PTR', name, ttl: TTL_S, data: known.name }] : [];
  }
  return known.addresses.flatMap((address): Answer[] => {
    const own = address.length === 4 ? TYPE_A : TYPE_AAAA;
    if (type !== own && type !== TYPE_ANY) return [];
    return [{ type: own === TYPE_A ? 'A' : 'AAAA', name, ttl: TTL_S, data: ipText(address) }];
  });
}

function soaOf(zone: string): Answer {
  const times = { serial: 1, refresh: 3600, retry: 600, expire: 86_400, minimum: NEGATIVE_TTL_S };
  return {
    type: 'SOA',
    name: zone === '' ? '.' : zone,
    ttl: NEGATIVE_TTL_S,
    data: { mname: 'weft.invalid', rname: 'nobody.invalid', ...times },
  };
}
