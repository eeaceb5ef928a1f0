/**
 * What a daemon that was killed leaves its successor about a TAP: for which device of the configuration it stands, whether
 * weft made it, and where its kernel end was last seen (namespace, name, address). Main thread. A record of an earlier boot says nothing: no TAP survives one, and inode
 * numbers are given anew.
 */
import { bootId } from '../boot-id.js';
import {
  HERE,
  type InterfaceState,
  interfaceDriver,
  type NamespaceFd,
  namespaceInode,
  openNamespace,
  queryInterface,
} from '../interface.js';
import { listNamespaces } from '../namespaces.js';
import * as native from '../native.js';
import type { PortMemory } from '../port.js';

/** Where a TAP was found. The caller closes `namespace` unless it is HERE. */
export interface TapPlace {
  readonly name: string;
  readonly namespace: NamespaceFd;
}

export class TapRecord {
  private readonly memory: PortMemory;

  constructor(memory: PortMemory) {
    this.memory = memory;
    if (memory.get('boot') !== bootId()) this.forget();
  }

  /** Whether weft made the device and so removes it. */
  get isMade(): boolean {
    return this.memory.get('made') === 'yes';
  }

  /** Said before the device is made at home, so that a daemon killed in between leaves none that nobody removes. */
  making(device: string): void {
    this.write('device', device);
    this.write('made', 'yes');
    this.write('namespace', String(namespaceInode(HERE)));
    this.write('name', device);
  }

  located(device: string, inode: number, state: InterfaceState): void {
    this.write('device', device);
    this.write('namespace', String(inode));
    this.write('name', state.name);
    this.write('mac', state.mac);
  }

  /** The device as the configuration named it. */
  get device(): string | undefined {
    return this.memory.get('device');
  }

  forget(): void {
    for (const key of ['boot', 'device', 'made', 'namespace', 'name', 'mac']) this.memory.set(key, undefined);
  }

  /**
   * Where the TAP is now. Undefined: nowhere that is known of, so it may be made at home, or attached there by its name.
   * A device at home is taken as it is unless the record says that ours was moved away and still lives there.
   */
  find(device: string): TapPlace | undefined {
    const name = this.memory.get('name');
    const inode = Number(this.memory.get('namespace'));
    if (name === undefined) return undefined;
    const home = namespaceInode(HERE);
    if (inode === home && queryInterface(name) !== undefined) return { name, namespace: HERE };
    const namespaces = listNamespaces();
    const remembered = namespaces.get(inode);
    if (inode !== home && remembered !== undefined) {
      const place = this.enter(remembered, name, false);
      if (place !== undefined) return place;
    }
    if (queryInterface(device) !== undefined) return undefined;
    // Moved just before its daemon was killed: then only the address tells it.
    for (const [other, path] of namespaces) {
      const place = other === home || other === inode ? undefined : this.enter(path, name, true);
      if (place !== undefined) return place;
    }
    return undefined;
  }

  /** Where the TAP is now if weft made it, and nobody has put another in its place meanwhile. */
  findMade(): TapPlace | undefined {
    const place = this.isMade && this.device !== undefined ? this.find(this.device) : undefined;
    if (place === undefined) return undefined;
    const mac = this.memory.get('mac');
    const isSame = mac === undefined || queryInterface(place.name, place.namespace)?.mac === mac;
    if (isSame && interfaceDriver(place.name, place.namespace)?.driver === 'tun') return place;
    if (place.namespace !== HERE) native.close(place.namespace);
    return undefined;
  }

  /** The TAP of this name in the namespace at `path`, if there is one and (when asked for) its address is the recorded one. */
  private enter(path: string, name: string, byAddress: boolean): TapPlace | undefined {
    let namespace: NamespaceFd;
    try {
      namespace = openNamespace(path);
    } catch {
      return undefined; // its last process ended
    }
    const state = queryInterface(name, namespace);
    const isOurs =
      state !== undefined &&
      interfaceDriver(name, namespace)?.driver === 'tun' &&
      (!byAddress || state.mac === this.memory.get('mac'));
    if (isOurs) return { name, namespace };
    native.close(namespace);
    return undefined;
  }

  /** The memory is durable, so what has not changed is not written again. */
  private write(key: string, value: string): void {
    if (this.memory.get('boot') === undefined) this.memory.set('boot', bootId());
    if (this.memory.get(key) !== value) this.memory.set(key, value);
  }
}
