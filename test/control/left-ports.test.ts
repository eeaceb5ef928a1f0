/** What ports that are no more left behind: undone, passed on to the port that has the device now, or kept for another try. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { undoLeftPorts } from '../../src/control/left-ports.js';
import { PortMemories } from '../../src/control/port-memories.js';
import type { PortKind } from '../../src/dataplane/port.js';
import { OperatingError } from '../../src/errors.js';

let directory: string;
let memories: PortMemories;
const undone: string[] = [];
const warnings: string[] = [];
let isHeld = false;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-left-'));
  memories = new PortMemories(directory);
  undone.length = 0;
  warnings.length = 0;
  isHeld = false;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A kind that remembers the device it opened. */
const made: PortKind = {
  kind: 'made',
  facesVm: true,
  leftBehind: {
    deviceOf: (memory) => memory.get('made'),
    undo(memory) {
      if (isHeld) throw new OperatingError('another process has it');
      undone.push(memory.get('made') ?? '');
      memory.set('made', undefined);
    },
  },
  open: () => Promise.reject(new Error('nothing is opened here')),
};
const { leftBehind: _, ...plain } = { ...made, kind: 'plain' };

/** Starts with these ports: name, device, kind. */
function start(...ports: readonly (readonly [name: string, device: string, kind?: string])[]): void {
  const intents = ports.map(([name, device, kind = 'made']) => {
    return { name, kind, device, queues: 1, offload: 'auto' } as const;
  });
  const log = { info: () => {}, error: () => {}, warn: (_: object, message: string) => warnings.push(message) };
  undoLeftPorts(memories, [plain, made], intents, log);
}

const remembered = () => Object.fromEntries(memories.ports.map((port) => [port, memories.of(port).get('made')]));

beforeEach(() => {
  memories.of('a').set('made', 'tap-a');
  memories.of('b').set('made', 'tap-b');
});

test('of ports that are still there nothing is touched', () => {
  start(['a', 'tap-a'], ['b', 'tap-b'], ['c', 'tap-c']);
  expect(undone).toEqual([]);
  expect(remembered()).toEqual({ a: 'tap-a', b: 'tap-b' });
});

test('of a port that is gone, has another device or is of another kind it is undone', () => {
  memories.of('c').set('made', 'tap-c');
  start(['b', 'other'], ['c', 'tap-c', 'plain']);
  expect(undone.sort()).toEqual(['tap-a', 'tap-b', 'tap-c']);
  expect(remembered()).toEqual({});
});

test('a device that another port names now is that port’s, also when two changed places', () => {
  start(['a', 'tap-b'], ['renamed', 'tap-a']);
  expect(undone).toEqual([]);
  expect(remembered()).toEqual({ a: 'tap-b', renamed: 'tap-a' });
  start(['a', 'tap-a'], ['renamed', 'tap-b']);
  expect(remembered()).toEqual({ a: 'tap-a', renamed: 'tap-b' });
});

test('what can not be undone stays remembered and is tried at the next start', () => {
  isHeld = true;
  start(['b', 'tap-b']);
  expect(warnings).toEqual(['what a port left could not be undone']);
  expect(remembered()).toEqual({ a: 'tap-a', b: 'tap-b' });
  isHeld = false;
  start(['b', 'tap-b']);
  expect(undone).toEqual(['tap-a']);
  expect(remembered()).toEqual({ b: 'tap-b' });
});
