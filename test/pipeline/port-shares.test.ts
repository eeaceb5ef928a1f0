/** Which port has most, against looking at all of them. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PortShares } from '../../src/pipeline/port-shares.js';

const PER_PORT = 5;

test('the port with most is known after whatever was taken and left, and who may take of its places', () => {
  const step = fc.record({ port: fc.integer({ min: 0, max: 6 }), leaves: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const shares = new PortShares(PER_PORT);
      const counts = new Array<number>(7).fill(0);
      for (const { port, leaves } of steps) {
        const count = counts[port] ?? 0;
        if (leaves && count > 0) {
          shares.leave(port);
          counts[port] = count - 1;
        } else if (!leaves && count < PER_PORT) {
          shares.take(port);
          counts[port] = count + 1;
        }
        const most = Math.max(...counts);
        expect(shares.most).toBe(most);
        for (const [one, has] of counts.entries())
          expect([shares.of(one), shares.mayTakeFromMost(one)]).toEqual([has, has + 1 < most]);
      }
    }),
  );
});
