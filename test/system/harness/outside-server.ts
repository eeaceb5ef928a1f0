/** Servers that only the daemon can reach: its resolver, its metadata endpoint. */
import { fileURLToPath } from 'node:url';
import type { Child } from './child.js';
import type { Testbed } from './testbed.js';

/** Starts a program of this folder in a namespace of its own, beside the daemon's, at an address of 203.0.113.0/24. */
export async function startOutside(testbed: Testbed, program: string, address: string): Promise<Child> {
  testbed.veth('world0', 'world', 'eth0');
  testbed.ip('s', 'address', 'add', '203.0.113.1/24', 'dev', 'world0');
  testbed.ip('world', 'address', 'add', `${address}/24`, 'dev', 'eth0');
  const path = fileURLToPath(new URL(program, import.meta.url));
  return await testbed.start('world', [process.execPath, path, address]).ready();
}
