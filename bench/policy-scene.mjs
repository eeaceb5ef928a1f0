/**
 * The switch that policy is measured in: two guests on memory ports of one network, each allowed to send as itself only, with
 * an ACL and stateful groups, or with none of that. Guest a talks to guest b by UDP or TCP, every pair of ports a connection;
 * by TCP each segment says ten octets more.
 */
import { ConnectionScene } from './connection-scene.mjs';
import { memoryPort, write16, write32 } from './memory-switch.mjs';

/** @typedef {import('./memory-switch.mjs').SwitchModules} SwitchModules */

const FRAME_SIZE = 64;
const GUESTS = /** @type {const} */ ([
  { name: 'a', mac: '02:00:00:00:00:0a', address: '192.0.2.1' },
  { name: 'b', mac: '02:00:00:00:00:0b', address: '192.0.2.2' },
]);
const IPV4_HEADER = 14;
const TRANSPORT_HEADER = 34;
const TCP_HEADER_SIZE = 20;
const TCP_PAYLOAD_SIZE = FRAME_SIZE - TRANSPORT_HEADER - TCP_HEADER_SIZE;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
/** SYN, then SYN and ACK, then ACK, by age of the connection. */
const TCP_FLAGS = [0x02, 0x12, 0x10];
/** Source ports a guest uses before it goes on with the next destination port. */
const SOURCE_PORTS = 32_768;
const SOURCE_PORT_FIRST = 32_768;
const DESTINATION_PORT_FIRST = 1000;

export class PolicyScene extends ConnectionScene {
  /**
   * @param {SwitchModules} modules
   * @param {{ connections: number, rules?: number, seed: number, isPlain?: boolean, isTcp?: boolean }} shape connections: pairs of
   *   ports that talk; rules: of the ACL; isPlain: no policy at all
   */
  constructor(modules, { connections, rules = 100, seed, isPlain = false, isTcp = false }) {
    super(modules, configOf(rules, isPlain), seed, connections);
    this.ports = GUESTS.map(({ name }) => this.port(name));
    this.isTcp = isTcp;
    this.templates = [templateOf(0, isTcp), templateOf(1, isTcp)];
    /** The sequence number that each connection's guest sends next, by guest; behind them, of the one by which both are learned. */
    this.sequences = [new Int32Array(connections + 1), new Int32Array(connections + 1)];
  }

  /** @override @param {number} connection @param {0 | 1} from */
  receive(connection, from) {
    const { pool } = this;
    const slot = pool.allocate();
    const at = pool.frameStart(slot);
    pool.octets.set(this.templates[from], at);
    const client = SOURCE_PORT_FIRST + (connection % SOURCE_PORTS);
    const server = DESTINATION_PORT_FIRST + Math.floor(connection / SOURCE_PORTS);
    write16(pool.octets, at + TRANSPORT_HEADER, from === 0 ? client : server);
    write16(pool.octets, at + TRANSPORT_HEADER + 2, from === 0 ? server : client);
    if (this.isTcp) this.writeTcp(at + TRANSPORT_HEADER, connection, from);
    pool.receive(slot, this.ports[from], FRAME_SIZE);
    this.batch.push(slot);
  }

  /** The next segment of the connection. @param {number} at @param {number} connection @param {0 | 1} from @private */
  writeTcp(at, connection, from) {
    const { pool, sequences, age } = this;
    const isOpen = age === TCP_FLAGS.length - 1;
    write32(pool.octets, at + 4, sequences[from][connection]);
    write32(pool.octets, at + 8, sequences[1 - from][connection]);
    pool.octets[at + 13] = TCP_FLAGS[age];
    if (!isOpen) write16(pool.octets, at - 18, FRAME_SIZE - IPV4_HEADER - TCP_PAYLOAD_SIZE);
    sequences[from][connection] += isOpen ? TCP_PAYLOAD_SIZE : 1;
  }

  /** @override @param {any} pipeline */
  learnAll(pipeline) {
    // One at a time at first: unknown destinations flood.
    for (const from of /** @type {const} */ ([0, 1])) {
      this.receive(this.connections, from);
      this.run(pipeline);
    }
    this.establishAll(pipeline);
  }
}

/** @param {0 | 1} from @param {boolean} isTcp */
function templateOf(from, isTcp) {
  const frame = Buffer.alloc(FRAME_SIZE);
  const [source, destination] = from === 0 ? GUESTS : [GUESTS[1], GUESTS[0]];
  frame.write(destination.mac.replaceAll(':', '') + source.mac.replaceAll(':', ''), 'hex');
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, IPV4_HEADER);
  frame.writeUInt16BE(FRAME_SIZE - IPV4_HEADER, IPV4_HEADER + 2);
  frame.writeUInt8(64, IPV4_HEADER + 8);
  frame.writeUInt8(isTcp ? PROTOCOL_TCP : PROTOCOL_UDP, IPV4_HEADER + 9);
  Buffer.from(source.address.split('.').map(Number)).copy(frame, IPV4_HEADER + 12);
  Buffer.from(destination.address.split('.').map(Number)).copy(frame, IPV4_HEADER + 16);
  if (isTcp) frame.write('50001000', TRANSPORT_HEADER + 12, 'hex');
  else frame.writeUInt16BE(FRAME_SIZE - TRANSPORT_HEADER, TRANSPORT_HEADER + 4);
  return frame;
}

/** Rules that deny what no frame is, and a last one that permits. @param {number} count */
export const rulesOf = (count) => [
  ...Array.from({ length: count - 1 }, (_, index) => ({
    ...{ action: 'deny', proto: index % 2 === 0 ? 'tcp' : 'udp' },
    dst: `198.${18 + ((index >> 8) & 1)}.${index & 255}.${(index >> 9) & 255}/32`,
    dstPort: String(1000 + (index % 20_000)),
  })),
  { action: 'permit' },
];

/** @param {number} rules @param {boolean} isPlain */
function configOf(rules, isPlain) {
  const policy = (/** @type {(typeof GUESTS)[number]} */ { mac, address }, /** @type {string} */ group) =>
    isPlain
      ? {}
      : {
          ...{ antiSpoof: true, mac, addresses: [`${address}/24`] },
          ...{ groups: [group], acl: { ingress: 'many' } },
        };
  return {
    settings: isPlain ? {} : { conntrack: { capacity: 4_000_000, perPort: '100%' } },
    networks: { lab: { type: 'local' } },
    ports: {
      a: memoryPort({ network: 'lab', ...policy(GUESTS[0], 'client') }),
      b: memoryPort({ network: 'lab', ...policy(GUESTS[1], 'server') }),
    },
    ...(isPlain
      ? {}
      : {
          acls: { many: { default: 'deny', rules: rulesOf(rules) } },
          groups: {
            client: { rules: [{ direction: 'egress' }] },
            server: {
              rules: ['udp', 'tcp'].map((proto) => ({ direction: 'ingress', proto, remoteGroup: 'client' })),
            },
          },
        }),
  };
}
