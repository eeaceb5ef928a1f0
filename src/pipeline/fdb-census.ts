/**
 * How many learned addresses each port, network and member holds, who holds most, and where members are: what the FDB's
 * limits are judged by. Static entries are not counted; the configuration alone limits them.
 *
 * Zeroed memory is an empty census. Changed only under the table's lock, through the table's `write`; after a writer's
 * death it is cleared and all entries are counted again. Every operation costs the same however many members there are.
 */
import type { SharedTable } from '../dataplane/shared-table.js';
import { MEMBERS_MAX, NETWORKS_MAX, PORTS_MAX } from '../limits.js';
import { FdbRanking, rankingWords } from './fdb-ranking.js';
import { FdbRoster, rosterWords } from './fdb-roster.js';

const RANK_BY_NETWORK = rankingWords(MEMBERS_MAX, NETWORKS_MAX);
const RANK_OF_ALL = rankingWords(MEMBERS_MAX, 1);
const ROSTER_BY_PORT = rosterWords(MEMBERS_MAX, PORTS_MAX);
const ROSTER_BY_NETWORK = rosterWords(MEMBERS_MAX, NETWORKS_MAX);
const ROSTER_OF_ALL = rosterWords(MEMBERS_MAX, 1);
const RANKINGS = RANK_BY_NETWORK + RANK_OF_ALL;
const ROSTERS = ROSTER_BY_PORT + ROSTER_BY_NETWORK + ROSTER_OF_ALL;
export const CENSUS_WORDS = MEMBERS_MAX * 2 + PORTS_MAX + NETWORKS_MAX + RANKINGS + ROSTERS;

export class FdbCensus {
  /** Port and network of a member; valid while the member holds an entry. */
  readonly memberPort: Int32Array;
  readonly memberNetwork: Int32Array;
  readonly portLearned: Int32Array;
  readonly networkLearned: Int32Array;
  readonly byNetwork: FdbRanking;
  /** Of the only domain 0, as `members`. */
  readonly ofAll: FdbRanking;
  readonly membersOfPort: FdbRoster;
  readonly membersOfNetwork: FdbRoster;
  readonly members: FdbRoster;
  private readonly table: SharedTable;

  /** `words` are CENSUS_WORDS. */
  constructor(table: SharedTable, words: Int32Array) {
    let start = 0;
    const take = (count: number) => {
      start += count;
      return words.subarray(start - count, start);
    };
    this.table = table;
    this.memberPort = take(MEMBERS_MAX);
    this.memberNetwork = take(MEMBERS_MAX);
    this.portLearned = take(PORTS_MAX);
    this.networkLearned = take(NETWORKS_MAX);
    this.byNetwork = new FdbRanking(table, take(RANK_BY_NETWORK), MEMBERS_MAX, NETWORKS_MAX);
    this.ofAll = new FdbRanking(table, take(RANK_OF_ALL), MEMBERS_MAX, 1);
    this.membersOfPort = new FdbRoster(table, take(ROSTER_BY_PORT), MEMBERS_MAX, PORTS_MAX);
    this.membersOfNetwork = new FdbRoster(table, take(ROSTER_BY_NETWORK), MEMBERS_MAX, NETWORKS_MAX);
    this.members = new FdbRoster(table, take(ROSTER_OF_ALL), MEMBERS_MAX, 1);
  }

  /** Notes where a member is. Not while it holds entries: they must be counted out where they were counted in. */
  placeMember(member: number, port: number, network: number): void {
    this.table.write(this.memberPort, member, port);
    this.table.write(this.memberNetwork, member, network);
  }

  /** The member holds one more learned entry. */
  countIn(member: number, network: number): void {
    const port = this.memberPort[member]!;
    this.table.write(this.portLearned, port, this.portLearned[port]! + 1);
    this.table.write(this.networkLearned, network, this.networkLearned[network]! + 1);
    this.byNetwork.increment(network, member);
    if (this.ofAll.increment(0, member) !== 1) return;
    this.membersOfPort.join(port, member);
    this.membersOfNetwork.join(network, member);
    this.members.join(0, member);
  }

  /** The member holds one less. */
  countOut(member: number, network: number): void {
    const port = this.memberPort[member]!;
    this.table.write(this.portLearned, port, this.portLearned[port]! - 1);
    this.table.write(this.networkLearned, network, this.networkLearned[network]! - 1);
    this.byNetwork.decrement(network, member);
    if (this.ofAll.decrement(0, member) !== 0) return;
    this.membersOfPort.leave(port, member);
    this.membersOfNetwork.leave(network, member);
    this.members.leave(0, member);
  }

  /** Forgets all counts; where members are stays known. */
  clear(): void {
    this.portLearned.fill(0);
    this.networkLearned.fill(0);
    for (const part of [this.byNetwork, this.ofAll, this.membersOfPort, this.membersOfNetwork, this.members])
      part.clear();
  }
}
