/**
 * Networks in tunnels for tests: every form of header over either underlay, written from the RFCs with plain arrays; a
 * switch with such a network; frames and datagrams for it. Shares no code with src/.
 */
import { referenceSum } from '../kernels/reference.js';
import type { TestDocument, TestSwitchOptions } from './test-switch.js';
import { A, B, frame, type OverlayNetworkDocument, type Received, type Sent, TestSwitch, vm } from './test-switch.js';

export interface OverlayForm {
  readonly name: string;
  readonly type: 'vxlan' | 'geneve' | 'gre';
  readonly isIpv6: boolean;
  /** Port by whose name drops are counted. */
  readonly port: string;
  /** Absent: GRE without a key. */
  readonly id?: number;
  readonly options: Readonly<Record<string, unknown>>;
  /** Of header octets. */
  readonly size: number;
  readonly hasSequence: boolean;
  header(octets: Uint8Array, sequence?: number, id?: number): number[];
}

const word = (value: number) => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];

function greHeader(flags: { key?: number; checksum: boolean; sequence?: number }, octets: Uint8Array): number[] {
  const first =
    (flags.checksum ? 0x80 : 0) + (flags.key === undefined ? 0 : 0x20) + (flags.sequence === undefined ? 0 : 0x10);
  const rest = [
    ...(flags.key === undefined ? [] : word(flags.key)),
    ...(flags.sequence === undefined ? [] : word(flags.sequence)),
  ];
  if (!flags.checksum) return [first, 0, 0x65, 0x58, ...rest];
  const covered = Uint8Array.of(first, 0, 0x65, 0x58, 0, 0, 0, 0, ...rest, ...octets);
  const checksum = 0xffff - referenceSum(covered, 0, covered.length);
  return [first, 0, 0x65, 0x58, checksum >> 8, checksum & 0xff, 0, 0, ...rest];
}

const vxlan = {
  name: 'vxlan',
  type: 'vxlan',
  id: 5010,
  options: {},
  size: 8,
  hasSequence: false,
  header: (_octets: Uint8Array, _sequence = 0, id = 5010) => [8, 0, 0, 0, ...word((id << 8) >>> 0)],
} as const;

const geneveOptions = [0x01, 0x02, 0x05, 1, 0xde, 0xad, 0xbe, 0xef];
const geneve = (isLong: boolean) =>
  ({
    name: isLong ? 'geneve with an option' : 'geneve',
    type: 'geneve',
    id: 0xff_fffe,
    options: isLong ? { geneve: [{ class: '0x0102', type: 5, data: 'deadbeef' }] } : {},
    size: isLong ? 16 : 8,
    hasSequence: false,
    header: (_octets: Uint8Array, _sequence = 0, id = 0xff_fffe) => [
      isLong ? 2 : 0,
      0,
      0x65,
      0x58,
      ...word((id << 8) >>> 0),
      ...(isLong ? geneveOptions : []),
    ],
  }) as const;

function gre(bits: number) {
  const [hasKey, checksum, hasSequence] = [1, 2, 4].map((bit) => (bits & bit) !== 0);
  const words = ['gre', hasKey ? 'with a key' : 'without a key', checksum && 'checksum', hasSequence && 'sequence'];
  return {
    name: words.filter(Boolean).join(', '),
    type: 'gre',
    ...(hasKey && { id: 0xfedc_ba98 }),
    options: { ...(checksum && { checksum }), ...(hasSequence && { sequence: true }) },
    size: 4 + 4 * [hasKey, checksum, hasSequence].filter(Boolean).length,
    hasSequence,
    header: (octets: Uint8Array, sequence = 0, id = 0xfedc_ba98) =>
      greHeader({ ...(hasKey && { key: id }), checksum, ...(hasSequence && { sequence }) }, octets),
  } as const;
}

const plainForms = [vxlan, geneve(false), geneve(true), ...[1, 0, 2, 3, 4, 5, 6, 7].map(gre)];

/** Every form of header over IPv4 and over IPv6. */
export const overlayForms: readonly OverlayForm[] = [false, true].flatMap((isIpv6) =>
  plainForms.map((form) => ({
    ...form,
    name: `${form.name} over ${isIpv6 ? 'IPv6' : 'IPv4'}`,
    isIpv6,
    port: `u0/${form.type}`,
  })),
);

/** One of each kind, over IPv4. */
export const oneOfEachKind = overlayForms.filter(
  ({ name }) => name === 'vxlan over IPv4' || name === 'geneve over IPv4' || name === 'gre, with a key over IPv4',
);
export const vxlanForm = overlayForms[0];

export const local = (form: OverlayForm) => (form.isIpv6 ? '2001:db8::1' : '192.0.2.1');
/** Address of a far end: number 1 and so on are remotes. */
export const host = (form: OverlayForm, number: number) =>
  form.isIpv6 ? `2001:db8::1${number.toString(16).padStart(3, '0')}` : `198.51.${100 + (number >> 8)}.${number & 0xff}`;

export interface OverlayShape {
  readonly remotes?: number;
  readonly network?: Partial<OverlayNetworkDocument>;
  readonly networks?: TestDocument['networks'];
  readonly ports?: TestDocument['ports'];
  readonly underlay?: Partial<NonNullable<TestDocument['underlays']>[string]>;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly test?: TestSwitchOptions;
}

/** A switch with network `red` in tunnels of this form to remotes 1 to `remotes`, and the ports a and b in it. */
export function overlaySwitch(form: OverlayForm, shape: OverlayShape = {}): TestSwitch {
  const { remotes = 3, network = {}, networks = {}, ports = {}, underlay = {}, settings, test = {} } = shape;
  const red: OverlayNetworkDocument = {
    type: form.type,
    ...(form.id !== undefined && { id: form.id }),
    underlay: 'u0',
    remotes: Array.from({ length: remotes }, (_, index) => host(form, index + 1)),
    ...(Object.keys(form.options).length > 0 && { options: form.options }),
    ...network,
  };
  const access = vm({ network: 'red' });
  return new TestSwitch(
    {
      networks: { red, ...networks },
      ports: { a: access, b: access, ...ports },
      underlays: { u0: { local: local(form), ...underlay } },
      ...(settings !== undefined && { settings }),
    },
    test,
  );
}

/** A station behind a remote. */
export const X = '525400000101';
export const Y = '525400000102';

export interface DatagramRecipe {
  readonly sequence?: number;
  readonly id?: number;
  readonly trafficClass?: number;
}

/** A frame in a datagram. */
export function wrap(form: OverlayForm, octets: Uint8Array, { sequence, id }: DatagramRecipe = {}): Uint8Array {
  return Uint8Array.of(...form.header(octets, sequence, id), ...octets);
}

/** What the underlay port receives from far end `number`: one frame in one datagram. */
export function arriving(form: OverlayForm, number: number, octets: Uint8Array, recipe: DatagramRecipe = {}): Received {
  const { trafficClass = 0 } = recipe;
  return { port: form.port, from: host(form, number), octets: wrap(form, octets, recipe), trafficClass };
}

/** Datagrams as they are, from far end `number`, as UDP_GRO hands them over: all but the last of one size. */
export function bundle(form: OverlayForm, number: number, datagrams: readonly Uint8Array[]): Received {
  const octets = new Uint8Array(Buffer.concat(datagrams));
  const datagramSize = datagrams.length > 1 ? datagrams[0].length : 0;
  return { port: form.port, from: host(form, number), octets, datagramSize, trafficClass: 0 };
}

/** Makes the switch know `station` behind far end `number`. */
export function teach(tested: TestSwitch, form: OverlayForm, number: number, station = X): void {
  tested.run(arriving(form, number, frame({ from: station, to: 'ffffffffffff' }), { sequence: 1 }));
}

/** `port` for what left by a port of this host, the remote's address for what left through a tunnel. */
export function targets(sent: readonly Sent[], form: OverlayForm): string[] {
  return sent.map((each) => targetOf(each, form)).sort();
}

function targetOf({ port, message }: Sent, form: OverlayForm): string {
  if (message === undefined) return port;
  const octets = Buffer.from(Int32Array.from(message.address).buffer);
  for (let number = 0; number < 2000; number++)
    if (Buffer.compare(octets, addressOctets(host(form, number))) === 0) return `remote ${number}`;
  return octets.toString('hex');
}

/** The sixteen octets of `host`'s addresses, by hand. */
function addressOctets(text: string): Buffer {
  if (text.includes(':')) return Buffer.from(`20010db8${'0'.repeat(20)}${text.slice(-4).padStart(4, '0')}`, 'hex');
  return Buffer.from([...new Array(10).fill(0), 0xff, 0xff, ...text.split('.').map(Number)]);
}

export const datagramsOf = (sent: readonly Sent[]): Uint8Array[] =>
  sent.flatMap(({ message }) => message?.datagrams ?? []);

/** Frames from `a` to the station behind a tunnel. */
export const toX = (size = 46) => frame({ to: X, from: A, size });
export const fromX = (size = 46, to = B) => frame({ to, from: X, size });
