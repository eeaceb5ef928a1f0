/** Connections that the policy in force does not allow any more are ended without a packet of theirs. */
import { describe, expect, test } from 'vitest';
import { CONNECTION_HOLD_MAX } from '../../src/limits.js';
import { ConnectionReview } from '../../src/pipeline/connection-review.js';
import { C_REMOVED } from '../../src/pipeline/connection-table.js';
import { usedConnections } from './group-connections.js';
import { connect, type GroupDocument, GroupSwitch } from './group-switch.js';

const http = { direction: 'ingress', proto: 'tcp', port: 80 };
const ssh = { direction: 'ingress', proto: 'tcp', port: 22 };
const any = { direction: 'ingress' };
const egress = { direction: 'egress' };
const web = (rules: object[], ports: object = { a: {}, b: { groups: ['web'] } }): GroupDocument => ({
  groups: { web: { rules } },
  ports: ports as GroupDocument['ports'],
});

/** A clock that moves by a millisecond each time it is asked. */
function ticking(): () => number {
  let now = 0;
  return () => now++;
}

const review = (tested: GroupSwitch) => new ConnectionReview(tested.connections).turn(tested.snapshot.groups, () => 0);

describe('a change of policy', () => {
  test('ends the connections that only the removed rule allowed, and no others', () => {
    const tested = new GroupSwitch(web([http, ssh]));
    connect(tested, 'a:1024', 'b:80');
    connect(tested, 'a:1025', 'b:22');
    expect(review(tested)).toBe(true);
    expect(usedConnections(tested), 'nothing has changed').toBe(2);
    tested.change(web([ssh]));
    expect(review(tested)).toBe(true);
    expect(usedConnections(tested)).toBe(1);
    expect(tested.connections.usedBy(tested.index('b')), "its port's share is free again").toBe(1);
    expect(tested.connections.counts[C_REMOVED]).toBe(1);
    expect(tested.send('tcp b:22 > a:1025 flags A seq 501 ack 101')).toEqual(['a']);
    expect(tested.send('tcp b:80 > a:1024 flags A seq 501 ack 101')).toEqual([]);
  });

  test('ends what the end that began may not begin any more, and what left a remote group', () => {
    const ports = (address: string) => ({
      a: { groups: ['web'], addresses: [address] },
      b: { groups: ['web'] },
      c: { groups: ['web'] },
    });
    const rules = [{ ...any, remoteGroup: 'web' }, egress];
    const tested = new GroupSwitch(web(rules, ports('10.0.0.1/24')));
    tested.send('udp a:1 > b:2');
    expect(usedConnections(tested)).toBe(1);
    tested.change(web(rules, ports('10.0.0.77/24')));
    review(tested);
    expect(usedConnections(tested)).toBe(0);
    tested.change(web([any, egress], ports('10.0.0.1/24')));
    tested.send('udp a:1 > b:2');
    tested.change(web([any], ports('10.0.0.1/24')));
    review(tested);
    expect(usedConnections(tested)).toBe(0);
  });

  test('is looked at once: a second turn ends nothing, and what a worker has judged meanwhile is left alone', () => {
    const tested = new GroupSwitch(web([http]));
    connect(tested, 'a:1024', 'b:80');
    tested.change(web([{ ...http, remote: '10.0.0.0/24' }]));
    expect(tested.send('tcp a:1024 > b:80 flags A seq 101 ack 501')).toEqual(['b']);
    expect(review(tested)).toBe(true);
    expect(usedConnections(tested)).toBe(1);
  });
});

describe('many connections', () => {
  const COUNT = 1000;
  const crowd = (): GroupSwitch => {
    const tested = new GroupSwitch(web([{ ...any, proto: 'udp' }, http]), { connectionEntries: COUNT + 24 });
    for (let port = 1; port <= COUNT; port++) tested.send(`udp a:${port} > b:7`);
    connect(tested, 'a:1024', 'b:80');
    expect(usedConnections(tested)).toBe(COUNT + 1);
    return tested;
  };

  test('are ended in turns, each no longer than it was given', () => {
    const tested = crowd();
    tested.change(web([http]));
    const { groups } = tested.snapshot;
    const reviews = new ConnectionReview(tested.connections);
    const clock = ticking();
    expect(reviews.turn(groups, clock, 3)).toBe(false);
    const left = usedConnections(tested);
    expect(left).toBeLessThan(COUNT);
    expect(COUNT + 1 - left, 'as many as strides were begun').toBeLessThanOrEqual(3 * CONNECTION_HOLD_MAX);
    let turns = 1;
    while (!reviews.turn(groups, clock, 3)) turns++;
    expect(turns).toBeGreaterThan(3);
    expect(usedConnections(tested)).toBe(1);
  });

  test('are all looked at although the policy changes again in the middle of it', () => {
    const tested = crowd();
    const reviews = new ConnectionReview(tested.connections);
    tested.change(web([{ ...any, proto: 'udp' }]));
    reviews.turn(tested.snapshot.groups, ticking(), 1);
    tested.change(web([http]));
    for (const clock = ticking(); !reviews.turn(tested.snapshot.groups, clock, 1); );
    expect(
      usedConnections(tested),
      'the one that the first of the two policies had ended, if any, and no more',
    ).toBeLessThan(2);
    tested.change(web([]));
    for (const clock = ticking(); !reviews.turn(tested.snapshot.groups, clock, 1); );
    expect(usedConnections(tested)).toBe(0);
  });

  test('wait for a writer that keeps the lock, and are ended afterwards', () => {
    const tested = crowd();
    tested.change(web([]));
    const reviews = new ConnectionReview(tested.connections);
    expect(tested.connections.table.tryLock(9)).toBe(true);
    expect(reviews.turn(tested.snapshot.groups, () => 0)).toBe(false);
    expect(usedConnections(tested)).toBe(COUNT + 1);
    tested.connections.table.unlock(9);
    expect(reviews.turn(tested.snapshot.groups, () => 0)).toBe(true);
    expect(usedConnections(tested)).toBe(0);
  });
});
