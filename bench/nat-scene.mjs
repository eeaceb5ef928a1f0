/**
 * The switch that routing with NAT is measured in: a guest inside, behind a router that hides it behind outside addresses of
 * its own, and a guest outside who is the way to everybody else, on memory ports. UDP with checksums; every pair of endpoints a
 * connection. Or two guests in one network without a router, or a router that does not translate, to say what each costs.
 */
import { ConnectionScene } from './connection-scene.mjs';
import { addressText, memoryPort, write16, write32 } from './memory-switch.mjs';

/** @typedef {import('./memory-switch.mjs').SwitchModules} SwitchModules */
/** @typedef {'switched' | 'routed' | 'translated'} Way what becomes of a frame between the guests */

const FRAME_SIZE = 64;
const IPV4_HEADER = 14;
const UDP_HEADER = 34;
const UDP_LENGTH = FRAME_SIZE - UDP_HEADER;
const PROTOCOL_UDP = 17;
const GUEST_A = 0x02_00_00_00_00_0a;
const GUEST_B = 0x02_00_00_00_00_0b;
/** 192.0.2.5, the first inside address; 203.0.113.10, the first outside address; 203.0.113.1, guest b; servers behind it. */
const INSIDE_FIRST = 0xc000_0205;
const OUTSIDE_FIRST = 0xcb00_710a;
const NEIGHBOR = 0xcb00_7101;
const SERVER_FIRST = 0xc633_6401;
const SERVERS = 64;
const SERVER_PORT_FIRST = 1000;

export class NatScene extends ConnectionScene {
  /**
   * @param {SwitchModules} modules
   * @param {{ connections: number, seed: number, way?: Way, insides?: number, portsEach?: number, portFirst?: number,
   *   outsides?: number, pool?: string }} shape
   *   connections: how many talk; insides: inside addresses, which have `portsEach` source ports each from `portFirst` on;
   *   outsides: outside addresses; pool: their ports
   */
  constructor(modules, shape) {
    const { connections, seed, way = 'translated', insides = 1, portsEach = 32_768, portFirst = 32_768 } = shape;
    const { outsides = 1, pool = '1024-65535' } = shape;
    super(modules, configOf(way, outsides, pool), seed, connections);
    this.way = way;
    this.insides = insides;
    this.portsEach = portsEach;
    this.portFirst = portFirst;
    this.guests = [this.port('a'), this.port('b')];
    this.templates = [templateOf(this.gateway(0), GUEST_A), templateOf(this.gateway(1), GUEST_B)];
    /** Of each connection that was opened: what its answers are sent to. */
    this.outside = new Int32Array(connections);
    this.outsidePort = new Int32Array(connections);
  }

  /** Whom a guest's frames are addressed to: a router's MAC, or the other guest. @param {0 | 1} from @private */
  gateway(from) {
    if (this.way === 'switched') return from === 0 ? GUEST_B : GUEST_A;
    const { interfaceMacHigh, interfaceMacLow, interfaceNetwork } = this.machine.snapshot.routing;
    const at = interfaceNetwork.indexOf(this.indices.network(from === 0 ? 'lan' : 'ext'));
    return interfaceMacHigh[at] * 2 ** 32 + (interfaceMacLow[at] >>> 0);
  }

  /** @param {number} connection */
  inside(connection) {
    return INSIDE_FIRST + (Math.floor(connection / this.portsEach) % this.insides);
  }

  /** @param {number} connection */
  insidePort(connection) {
    return this.portFirst + (connection % this.portsEach);
  }

  /** @override @param {number} connection @param {0 | 1} from */
  receive(connection, from) {
    const inside = this.inside(connection);
    const server = SERVER_FIRST + (connection % SERVERS);
    const serverPort = SERVER_PORT_FIRST + Math.floor(connection / this.portsEach / this.insides);
    if (from === 0) this.push(0, inside, server, this.insidePort(connection), serverPort);
    else if (this.way !== 'translated') this.push(1, server, inside, serverPort, this.insidePort(connection));
    else this.push(1, server, this.outside[connection], serverPort, this.outsidePort[connection]);
  }

  /** @param {0 | 1} from @param {number} source @param {number} destination @param {number} sourcePort @param {number} destinationPort @private */
  push(from, source, destination, sourcePort, destinationPort) {
    const { pool } = this;
    const { octets } = pool;
    const slot = pool.allocate();
    const at = pool.frameStart(slot);
    octets.set(this.templates[from], at);
    const ip = at + IPV4_HEADER;
    const udp = at + UDP_HEADER;
    const addresses = (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff);
    write32(octets, ip + 12, source);
    write32(octets, ip + 16, destination);
    write16(octets, ip + 10, complement(addresses + 0x4500 + FRAME_SIZE - IPV4_HEADER + 0x4000 + PROTOCOL_UDP));
    write16(octets, udp, sourcePort);
    write16(octets, udp + 2, destinationPort);
    write16(octets, udp + 6, complement(addresses + PROTOCOL_UDP + UDP_LENGTH * 2 + sourcePort + destinationPort));
    pool.receive(slot, this.guests[from], FRAME_SIZE);
    this.batch.push(slot);
  }

  /** Guest b says where it is, and a; then all connections are established. @override @param {any} pipeline */
  learnAll(pipeline) {
    this.announce(1, NEIGHBOR);
    this.run(pipeline);
    this.announce(0, INSIDE_FIRST, this.insides);
    this.run(pipeline);
    this.establishAll(pipeline);
  }

  /** Keeps what the connections' frames have become. @override @param {number} first */
  noteLeaving(first) {
    const { outbox, pool } = this;
    for (let index = 0; index < outbox.count; index++) {
      const at = pool.offset[outbox.slots[index]] + IPV4_HEADER;
      this.outside[first + index] = read32(pool.octets, at + 12);
      this.outsidePort[first + index] = read32(pool.octets, at + 20) >>> 16;
    }
  }

  /** Removes connections that inside endpoints began. @param {(inside: number, port: number) => boolean} isMeant */
  forget(isMeant) {
    const { connections } = this.machine;
    const { KEY_LOWER, KEY_PORTS } = this.modules.connections;
    const { table } = connections;
    for (let entry = 1; entry < table.entryLimit; entry++) {
      if (!table.isLive(entry) || !connections.isConnection(entry)) continue;
      // Inside addresses are lower than servers'.
      const inside = table.keyWord(entry, KEY_LOWER + 3) >>> 0;
      if (isMeant(inside, table.keyWord(entry, KEY_PORTS) >>> 16)) connections.remove(entry, table.stampOf(entry));
    }
  }

  /** ARP: this is where these addresses are. @param {0 | 1} from @param {number} address @param {number} [count] @private */
  announce(from, address, count = 1) {
    const target = from === 0 ? 0xc000_0201 : OUTSIDE_FIRST;
    for (let index = 0; index < count; index++) {
      const frame = Buffer.alloc(FRAME_SIZE);
      const [to, own] = [hex(this.gateway(from), 12), hex(from === 0 ? GUEST_A : GUEST_B, 12)];
      const pairs = `${own}${hex(address + index, 8)}${to}${hex(target, 8)}`;
      frame.write(`${to}${own}08060001080006040002${pairs}`, 'hex');
      const slot = this.pool.allocate();
      this.pool.octets.set(frame, this.pool.frameStart(slot));
      this.pool.receive(slot, this.guests[from], FRAME_SIZE);
      this.batch.push(slot);
    }
  }
}

/** @param {number} value @param {number} digits */
const hex = (value, digits) => value.toString(16).padStart(digits, '0');

/** @param {number} sum */
const complement = (sum) => {
  const once = (sum & 0xffff) + (sum >>> 16);
  return ~(once + (once >>> 16)) & 0xffff;
};

/** @param {Uint8Array} octets @param {number} at */
const read32 = (octets, at) => (octets[at] << 24) | (octets[at + 1] << 16) | (octets[at + 2] << 8) | octets[at + 3];

/** @param {number} to @param {number} from */
function templateOf(to, from) {
  const frame = Buffer.alloc(FRAME_SIZE);
  frame.write(`${hex(to, 12)}${hex(from, 12)}08004500`, 'hex');
  frame.writeUInt16BE(FRAME_SIZE - IPV4_HEADER, IPV4_HEADER + 2);
  frame.write('4011', IPV4_HEADER + 8, 'hex');
  frame.writeUInt16BE(UDP_LENGTH, UDP_HEADER + 4);
  return frame;
}

/** @param {Way} way @param {number} outsides @param {string} pool */
function configOf(way, outsides, pool) {
  const addresses = Array.from({ length: outsides }, (_, index) => `${addressText(OUTSIDE_FIRST + index)}/24`);
  const settings = { conntrack: { capacity: 4_000_000, perPort: '100%' } };
  const external = { network: 'ext', addresses, snat: true, pool, perVm: 1_000_000 };
  const routes = [{ to: '0.0.0.0/0', via: addressText(NEIGHBOR) }];
  const networks = { lan: { type: 'local' }, ext: { type: 'local' } };
  const ports = { a: memoryPort({ network: 'lan' }), b: memoryPort({ network: way === 'switched' ? 'lan' : 'ext' }) };
  switch (way) {
    case 'switched':
      return { networks, ports };
    case 'routed':
      return { networks, ports, routers: { r: { interfaces: { lan: '192.0.2.1/24', ext: addresses[0] }, routes } } };
    default:
      return { settings, networks, ports, routers: { r: { interfaces: { lan: '192.0.2.1/24' }, external, routes } } };
  }
}
