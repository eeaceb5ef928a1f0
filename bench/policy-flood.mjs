/**
 * What a flood of SYNs does to others: a minute of them, each of another connection, from one port into a table that is much
 * too small, while two other guests keep connections and begin new ones. On memory ports and by a clock of its own, so a
 * minute of flood takes as long as its frames do.
 */
import { loadSwitch, MemorySwitch, memoryPort, nextRandom, write16, write32 } from './memory-switch.mjs';
import { judged } from './targets.mjs';

const GUESTS = /** @type {const} */ ([
  { name: 'attacker', mac: '02:00:00:00:00:0a', address: '192.0.2.1' },
  { name: 'target', mac: '02:00:00:00:00:0b', address: '192.0.2.2' },
  { name: 'client', mac: '02:00:00:00:00:0c', address: '192.0.2.3' },
  { name: 'server', mac: '02:00:00:00:00:0d', address: '192.0.2.4' },
]);
const [ATTACKER, TARGET, CLIENT, SERVER] = [0, 1, 2, 3];
const FRAME_SIZE = 64;
const IPV4_HEADER = 14;
const TCP_HEADER = 34;
const [SYN, ACK] = [0x02, 0x10];
const CAPACITY = 262_144;
const ESTABLISHED = 1_000;
const FLOOD_PER_SECOND = 300_000;
const NEW_PER_SECOND = 1_000;
const START_SECONDS = 1_000;

/** @param {{ smoke: boolean, seed: number }} plan */
export async function measurePolicyFlood({ smoke, seed }) {
  const modules = await loadSwitch();
  const scene = new FloodScene(modules, seed);
  const seconds = smoke ? 2 : 60;
  const perSecond = smoke ? 3_000 : FLOOD_PER_SECOND;
  scene.establish();
  const before = process.memoryUsage();
  let begun = 0;
  let survived = 0;
  let exchanged = 0;
  const began = performance.now();
  for (let second = 1; second <= seconds; second++) {
    scene.now = (START_SECONDS + second) * 1000;
    scene.flood(perSecond);
    begun += scene.beginOthers(second, NEW_PER_SECOND);
    survived += scene.exchange();
    exchanged += ESTABLISHED;
    scene.expire();
  }
  const elapsed = performance.now() - began;
  const after = process.memoryUsage();
  const grown =
    (after.external + after.arrayBuffers + after.heapUsed - before.external - before.arrayBuffers - before.heapUsed) /
    2 ** 20;
  const wanted = seconds * NEW_PER_SECOND;
  const figures = [
    { name: 'established connections that lived, share', atLeast: 1, value: survived / exchanged },
    { name: "others' new connections that began, share", atLeast: 0.99, value: begun / wanted },
    { name: 'memory grown, MiB', atMost: 16, value: Math.max(grown, 0) },
  ];
  return {
    seconds,
    synsPerSecond: perSecond,
    capacity: CAPACITY,
    used: scene.control.used,
    millisecondsForIt: elapsed,
    targets: judged(figures),
  };
}

class FloodScene extends MemorySwitch {
  /** @param {any} modules @param {number} seed */
  constructor(modules, seed) {
    super(modules, config(), seed);
    this.ports = GUESTS.map(({ name }) => this.port(name));
    this.pipeline = new modules.pipeline.Pipeline(this.machine);
    this.control = new modules.connectionControl.ConnectionControl(this.connectionMemory, { capacity: CAPACITY });
    this.now = START_SECONDS * 1000;
    this.state = seed | 1;
  }

  /**
   * @param {number} from @param {number} to @param {number} sourcePort @param {number} destinationPort @param {number} flags
   * @param {number} sequence @param {number} acknowledgement
   */
  segment(from, to, sourcePort, destinationPort, flags, sequence, acknowledgement) {
    const { pool } = this;
    const slot = pool.allocate();
    const at = pool.frameStart(slot);
    pool.octets.set(templateOf(from, to), at);
    const tcp = at + TCP_HEADER;
    write16(pool.octets, tcp, sourcePort);
    write16(pool.octets, tcp + 2, destinationPort);
    write32(pool.octets, tcp + 4, sequence);
    write32(pool.octets, tcp + 8, acknowledgement);
    pool.octets[tcp + 13] = flags;
    pool.receive(slot, this.ports[from], FRAME_SIZE);
    this.batch.push(slot);
    if (this.batch.full) this.send();
  }

  /** Runs what is in the batch. */
  send() {
    this.machine.setTime(this.now);
    this.run(this.pipeline);
  }

  /** The counter of frames that left by a port. @param {number} guest */
  sentTo(guest) {
    return this.counters.portValue(this.ports[guest], this.modules.counters.TX_FRAMES);
  }

  /** @param {number} connection @param {number} port the server's */
  open(connection, port) {
    this.segment(CLIENT, SERVER, 1024 + connection, port, SYN, 100, 0);
    this.send();
    this.segment(SERVER, CLIENT, port, 1024 + connection, SYN | ACK, 200, 101);
    this.send();
    this.segment(CLIENT, SERVER, 1024 + connection, port, ACK, 101, 201);
    this.send();
  }

  establish() {
    for (const [from, to] of /** @type {const} */ ([
      [TARGET, ATTACKER],
      [SERVER, CLIENT],
      [CLIENT, SERVER],
    ])) {
      // Teaches the switch where everybody is; it begins nothing.
      this.segment(from, to, 9, 9, SYN, 1, 0);
      this.send();
    }
    for (let connection = 0; connection < ESTABLISHED; connection++) this.open(connection, 80);
  }

  /** As many SYNs, to random ports from random ports. @param {number} count */
  flood(count) {
    for (let index = 0; index < count; index++) {
      this.state = nextRandom(this.state);
      this.segment(ATTACKER, TARGET, this.state & 0xffff, (this.state >>> 16) & 0xffff, SYN, this.state, 0);
    }
    this.send();
  }

  /** Opens others' connections; returns how many could. @param {number} second @param {number} count */
  beginOthers(second, count) {
    const before = this.sentTo(SERVER) + this.sentTo(CLIENT);
    for (let connection = 0; connection < count; connection++) this.open(2000 + connection, 1000 + second);
    return Math.floor((this.sentTo(SERVER) + this.sentTo(CLIENT) - before) / 3);
  }

  /** A segment of each established connection, from the server, which could begin nothing; returns how many arrived. */
  exchange() {
    const before = this.sentTo(CLIENT);
    for (let connection = 0; connection < ESTABLISHED; connection++)
      this.segment(SERVER, CLIENT, 80, 1024 + connection, ACK, 201, 101);
    this.send();
    return this.sentTo(CLIENT) - before;
  }

  expire() {
    const { snapshot, nowSeconds } = this.machine;
    const clock = () => 0;
    while (!this.control.expire(nowSeconds, snapshot.connectionTimeouts, clock));
  }
}

/** @type {Map<string, Uint8Array>} */
const templates = new Map();

/** @param {number} from @param {number} to */
function templateOf(from, to) {
  const key = `${from} ${to}`;
  const known = templates.get(key);
  if (known !== undefined) return known;
  const frame = Buffer.alloc(FRAME_SIZE);
  frame.write(GUESTS[to].mac.replaceAll(':', '') + GUESTS[from].mac.replaceAll(':', ''), 'hex');
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, IPV4_HEADER);
  frame.writeUInt16BE(40, IPV4_HEADER + 2);
  frame.writeUInt8(64, IPV4_HEADER + 8);
  frame.writeUInt8(6, IPV4_HEADER + 9);
  Buffer.from(GUESTS[from].address.split('.').map(Number)).copy(frame, IPV4_HEADER + 12);
  Buffer.from(GUESTS[to].address.split('.').map(Number)).copy(frame, IPV4_HEADER + 16);
  frame.writeUInt8(0x50, TCP_HEADER + 12);
  frame.writeUInt16BE(1000, TCP_HEADER + 14);
  templates.set(key, frame);
  return frame;
}

function config() {
  const port = (/** @type {(typeof GUESTS)[number]} */ { mac, address }) =>
    memoryPort({ network: 'lab', antiSpoof: true, mac, addresses: [`${address}/24`], groups: ['open'] });
  return {
    networks: { lab: { type: 'local' } },
    settings: { conntrack: { capacity: CAPACITY } },
    ports: Object.fromEntries(GUESTS.map((guest) => [guest.name, port(guest)])),
    groups: { open: { rules: [{ direction: 'egress' }, { direction: 'ingress', proto: 'tcp' }] } },
  };
}
