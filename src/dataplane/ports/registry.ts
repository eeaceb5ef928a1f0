/** The port kinds: the one place that names them. */
import type { PortKind } from '../port.js';
import { memory } from './memory.js';
import { netdev } from './netdev.js';
import { pcap } from './pcap.js';
import { qemu } from './qemu.js';
import { tap } from './tap.js';
import { underlay } from './underlay.js';

export const portKinds: ReadonlyMap<string, PortKind> = new Map(
  [tap, netdev, qemu, pcap, memory, underlay].map((kind) => [kind.kind, kind]),
);
