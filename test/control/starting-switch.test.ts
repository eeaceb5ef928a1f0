/** What the control socket answers before the switch is there, and after it is gone. */
import { expect, test } from 'vitest';
import { StartingSwitch } from '../../src/control/starting-switch.js';
import { FakeSwitch } from './fake-switch.js';

test('while it starts, status says not ready, health says unhealthy, and everything else is refused', async () => {
  const { control } = new StartingSwitch('1.2.3');
  expect(await control.status()).toMatchObject({ version: '1.2.3', ready: false, pid: process.pid, workers: [] });
  expect(await control.health()).toEqual({ healthy: false, workers: [] });
  expect(() => control.portList()).toThrow('the switch is starting');
  expect(() => control.configApply({ text: '', file: '' }, false)).toThrow('the switch is starting');
  expect(() => control.subscribeDrops(() => {})).toThrow('the switch is starting');
});

test('once the switch is there it answers itself; once it stops nothing is asked of it any more', async () => {
  const starting = new StartingSwitch('1.2.3');
  const { control } = starting;
  const fake = new FakeSwitch();
  starting.become(fake);
  expect(await control.portList()).toEqual(await fake.portList());
  expect((await control.status()).ready).toBe(true);
  starting.stop();
  expect(() => control.status()).toThrow('the switch is stopping');
});
