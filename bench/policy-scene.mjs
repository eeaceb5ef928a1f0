/**
 * The switch that policy is measured in: two guests on memory ports of one network, each allowed to send as itself only, with
 * an ACL and stateful groups, or with none of that. Guest a talks to guest b by UDP, every pair of ports a connection.
 */
import { ConnectionScene } from './connection-scene.mjs';
import { memoryPort, write16 } from './memory-switch.mjs';

/** @typedef {import('./memory-switch.mjs').SwitchModules} SwitchModules */

const FRAME_SIZE = 64;
const GUESTS = /** @type {const} */ ([
  { name: 'a', mac: '02:00:00:00:00:0a', address: '192.0.2.1' },
  { name: 'b', mac: '02:00:00:00:00:0b', address: '192.0.2.2' },
]);
const IPV4_HEADER = 14;
const UDP_HEADER = 34;
/** Source ports a guest uses before it goes on with the next destination port. */
const SOURCE_PORTS = 32_768;
const SOURCE_PORT_FIRST = 32_768;
const DESTINATION_PORT_FIRST = 1000;

export class PolicyScene extends ConnectionScene {
  /**
   * @param {SwitchModules} modules
   * @param {{ connections: number, rules?: number, seed: number, isPlain?: boolean }} shape connections: pairs of ports that talk;
   *   rules: of the ACL; isPlain: no policy at all
   */
  constructor(modules, { connections, rules = 100, seed, isPlain = false }) {
    super(modules, configOf(rules, isPlain), seed, connections);
    this.ports = GUESTS.map(({ name }) => this.port(name));
    this.templates = [templateOf(0), templateOf(1)];
  }

  /** @override @param {number} connection @param {0 | 1} from */
  receive(connection, from) {
    const { pool } = this;
    const slot = pool.allocate();
    const at = pool.frameStart(slot);
    pool.octets.set(this.templates[from], at);
    const client = SOURCE_PORT_FIRST + (connection % SOURCE_PORTS);
    const server = DESTINATION_PORT_FIRST + Math.floor(connection / SOURCE_PORTS);
    write16(pool.octets, at + UDP_HEADER, from === 0 ? client : server);
    write16(pool.octets, at + UDP_HEADER + 2, from === 0 ? server : client);
    pool.receive(slot, this.ports[from], FRAME_SIZE);
    this.batch.push(slot);
  }

  /** @override @param {any} pipeline */
  learnAll(pipeline) {
    // One at a time at first: unknown destinations flood.
    for (const from of /** @type {const} */ ([0, 1])) {
      this.receive(0, from);
      this.run(pipeline);
    }
    this.establishAll(pipeline);
  }
}

/** @param {0 | 1} from */
function templateOf(from) {
  const frame = Buffer.alloc(FRAME_SIZE);
  const [source, destination] = from === 0 ? GUESTS : [GUESTS[1], GUESTS[0]];
  frame.write(destination.mac.replaceAll(':', '') + source.mac.replaceAll(':', ''), 'hex');
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, IPV4_HEADER);
  frame.writeUInt16BE(FRAME_SIZE - IPV4_HEADER, IPV4_HEADER + 2);
  frame.writeUInt8(64, IPV4_HEADER + 8);
  frame.writeUInt8(17, IPV4_HEADER + 9);
  Buffer.from(source.address.split('.').map(Number)).copy(frame, IPV4_HEADER + 12);
  Buffer.from(destination.address.split('.').map(Number)).copy(frame, IPV4_HEADER + 16);
  frame.writeUInt16BE(FRAME_SIZE - UDP_HEADER, UDP_HEADER + 4);
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
            server: { rules: [{ direction: 'ingress', proto: 'udp', remoteGroup: 'client' }] },
          },
        }),
  };
}
