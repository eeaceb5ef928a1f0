/** The table of leases: what is a change of who has what. Servers' tests say the rest. */
import { expect, test } from 'vitest';
import { type Lease, LeaseTable } from '../../src/control/lease-table.js';

const lease = (part: Partial<Lease> = {}): Lease => ({
  subnet: 'red4',
  address: 0xc000_0264n,
  port: 'vm1',
  client: '01',
  mac: '52:54:00:00:00:01',
  state: 'bound',
  expiresMs: 1000,
  fixed: false,
  ...part,
});

test('the revision grows when an address is given, moves or is given back, and by no offer or renewal', () => {
  const table = new LeaseTable();
  const grows = (act: () => void): boolean => {
    const before = table.revision;
    act();
    return table.revision !== before;
  };
  expect(grows(() => table.put(lease({ state: 'offered' })))).toBe(false);
  expect(grows(() => table.put(lease({ state: 'offered', client: '02' })))).toBe(false);
  expect(grows(() => table.remove('red4', lease().address))).toBe(false);
  expect(grows(() => table.put(lease()))).toBe(true);
  expect(grows(() => table.put(lease({ expiresMs: 2000 })))).toBe(false);
  expect(grows(() => table.put(lease({ port: 'vm2' })))).toBe(true);
  expect(grows(() => table.put(lease({ port: 'vm2', state: 'released' })))).toBe(true);
  expect(grows(() => table.put(lease()))).toBe(true);
  expect(grows(() => table.remove('red4', lease().address))).toBe(true);
  expect(grows(() => table.remove('red4', lease().address))).toBe(false);
});
