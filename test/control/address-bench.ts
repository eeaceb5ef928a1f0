/** An address service with a virtual clock and disk of its own, and machines that ask it. For address-*.test.ts. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Claimant } from '../../src/control/address-probes.js';
import { AddressService } from '../../src/control/address-service.js';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import { LeaseStore } from '../../src/control/lease-store.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { diskFiles, type StoreFiles } from '../../src/control/store.js';
import { TO_NETWORK } from '../../src/pipeline/egress-batch.js';
import { PUNT_ADDRESS_SERVICE } from '../../src/pipeline/punt-ring.js';
import { ipText } from '../../src/wire/address.js';
import { DHCP_DISCOVER, DHCP_REQUEST, type DhcpMessage, readDhcp } from '../../src/wire/dhcp-message.js';
import { CLIENT, type DhcpRecipe, dhcpFrame, dhcpMessage } from '../wire/address-frames.js';

export const OTHER = '52:54:00:00:00:0b';
const log = { info: () => {}, warn: () => {}, error: () => {}, debug: () => {} };
export const dhcp4 = { network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1' };
export const pool = '192.0.2.100-192.0.2.109';

export interface Document {
  readonly networks?: Record<string, JsonValue>;
  readonly subnets?: Record<string, JsonValue>;
  readonly ports?: Record<string, JsonValue>;
}

const config = ({ networks, subnets, ports }: Document = {}) =>
  checkDocument(
    documentOf({
      version: 1,
      networks: networks ?? { red: { type: 'local' }, blue: { type: 'local' } },
      ports: {
        known: { kind: 'memory', network: 'red', mac: CLIENT, addresses: ['192.0.2.5/24', '2001:db8::5/64'] },
        guest: { kind: 'memory', network: 'red' },
        thief: { kind: 'memory', network: 'red' },
        far: { kind: 'memory', network: 'blue' },
        ...ports,
      },
      subnets: subnets ?? { red4: { ...dhcp4, dhcp: { pool, lease: '1h', perPort: 3 } } },
    }),
  ).resolved;

export interface Sent {
  readonly octets: Uint8Array;
  readonly member: number;
  readonly worker: number;
}

export class Bench {
  now = 1_000_000;
  wall = 5_000_000;
  boot = 'first';
  /** Who answers for an address that is asked for. */
  readonly claims = new Map<string, Claimant>();
  /** Time that passes at once, unless a test wants to look meanwhile. */
  isWaiting = false;
  readonly timers: (() => void)[] = [];
  sent: Sent[] = [];
  /** ARP that asks whether somebody has an address. */
  readonly probed: Sent[] = [];
  service: AddressService;
  readonly directory: string;
  private indices = new Indices();
  private readonly files: StoreFiles;

  constructor(document: Document = {}, files: StoreFiles = diskFiles) {
    this.directory = mkdtempSync(join(tmpdir(), 'weft-leases-'));
    this.files = files;
    this.service = this.open(document);
  }

  /** A daemon that begins, with what an earlier one left. */
  open(document: Document = {}): AddressService {
    const clocks = { monotonicMs: () => this.now, wallMs: () => this.wall, bootId: this.boot };
    this.service = new AddressService({
      store: new LeaseStore(this.directory, clocks, this.files),
      log: log as never,
      clock: () => this.now,
      random: () => 0.5,
      send: (worker, octets, _network, member) => {
        (member === TO_NETWORK ? this.probed : this.sent).push({ worker, octets, member });
      },
      memberMtu: () => 1450,
      tunnelMtu: () => 0,
      probes: {
        claimant: (_network, address) => this.claims.get(ipText(address)),
        later: (_ms, act) => void (this.isWaiting ? this.timers.push(act) : act()),
      },
    });
    this.follow(document);
    return this.service;
  }

  follow(document: Document): void {
    const resolved = config(document);
    this.indices = this.indices.allocate(resolved);
    this.service.follow(resolved, this.indices);
  }

  member(port: string, network = port === 'far' ? 'blue' : 'red'): number {
    return this.indices.member(port, network) ?? -1;
  }

  /** Hands a frame over; what was sent once all is saved. */
  async hear(port: string, octets: Uint8Array): Promise<Sent[]> {
    this.service.hear(2, { octets, kind: PUNT_ADDRESS_SERVICE, member: this.member(port), tunnel: 0 });
    await this.service.close();
    return this.sent.splice(0);
  }

  /** The one answer to a DHCP message, or undefined. */
  async ask(port: string, recipe: DhcpRecipe, where = {}): Promise<(DhcpMessage & { frame: Uint8Array }) | undefined> {
    const sent = await this.hear(port, dhcpFrame(dhcpMessage(recipe), { from: recipe.chaddr ?? CLIENT, ...where }));
    expect(sent.length).toBeLessThan(2);
    const [answer] = sent;
    if (answer === undefined) return undefined;
    expect(answer).toMatchObject({ worker: 2, member: this.member(port) });
    const read = readDhcp(answer.octets, 42, answer.octets.length);
    if (read === undefined) throw new Error('the answer is no DHCP message');
    return { ...read, frame: answer.octets };
  }

  /** DISCOVER and REQUEST; the address that was given. */
  async lease(port: string, chaddr: string): Promise<string | undefined> {
    const offer = await this.ask(port, { type: DHCP_DISCOVER, chaddr });
    if (offer === undefined) return undefined;
    const options = [[50, words(offer.yiaddr)] as const, [54, SERVER] as const];
    const ack = await this.ask(port, { type: DHCP_REQUEST, chaddr, options });
    return ack === undefined ? undefined : text(ack.yiaddr);
  }
}

export const SERVER = [192, 0, 2, 1];
export const words = (number: number) => [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];
export const text = (number: number) => words(number).join('.');
export const requested = (address: string) => [50, address.split('.').map(Number)] as const;
export const ip = (frame: Uint8Array, at: number) => ipText(frame.slice(14 + at, 14 + at + 4));
