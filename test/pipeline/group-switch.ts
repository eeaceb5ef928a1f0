/** Switches with security groups, and frames from one line of text. */
import { parseFrame } from '../../src/wire/frame-text.js';
import { type TestDocument, TestSwitch, type TestSwitchOptions, vm } from './test-switch.js';

export interface GroupDocument {
  readonly groups: Readonly<Record<string, { readonly stateful?: boolean; readonly rules: readonly object[] }>>;
  /** Their network is red, unless they say otherwise. */
  readonly ports: Readonly<Record<string, object>>;
  readonly settings?: object;
}

export function documentWith({ groups, ports, ...rest }: GroupDocument): TestDocument {
  const networks = { red: { type: 'local' }, blue: { type: 'local' } };
  const full = Object.entries(ports).map(([name, port]) => [name, vm({ network: 'red', ...port })]);
  return { networks, groups, ports: Object.fromEntries(full), ...rest } as unknown as TestDocument;
}

/** Ports by letter: a is 10.0.0.1 at 52:54:00:00:00:01, and so on; their stations are learned. */
export class GroupSwitch extends TestSwitch {
  constructor(document: GroupDocument, options: TestSwitchOptions = {}) {
    super(documentWith(document), options);
    for (const port of Object.keys(document.ports)) this.teach(port);
  }

  change(document: GroupDocument): void {
    this.configure(documentWith(document));
  }

  /** The FDB learns the port's station from what is always allowed. */
  teach(port: string): void {
    this.run({ port, octets: parseFrame(`arp who-has 10.0.0.250 tell ${ip(port)} src ${mac(port)}`) });
    this.counters.values.fill(0);
    this.sent = [];
  }

  /** Sends `from`'s frame to `to`; returns the ports that got it. `text` has a and b for addresses: `tcp a:1 > b:80`. */
  send(text: string, from = text.charAt(4), options = ''): string[] {
    const octets = frameOf(text, options);
    return this.run({ port: from, octets }).map(({ port }) => port);
  }
}

/** A TCP connection from `client` to `server`, whose letters and ports are as in `a:1024`, until it stands. */
export function connect(tested: GroupSwitch, client: string, server: string): void {
  tested.send(`tcp ${client} > ${server} flags S seq 100`);
  tested.send(`tcp ${server} > ${client} flags SA seq 500 ack 101`);
  tested.send(`tcp ${client} > ${server} flags A seq 101 ack 501`);
}

export const mac = (port: string) => `52:54:00:00:00:${(port.charCodeAt(0) - 96).toString(16).padStart(2, '0')}`;
export const ip = (port: string) => `10.0.0.${port.charCodeAt(0) - 96}`;
export const ip6 = (port: string) => `2001:db8::${(port.charCodeAt(0) - 96).toString(16)}`;

/**
 * `udp a:1 > b:53` with the letters replaced by the ports' addresses, `A` and `B` by their IPv6 ones. Where no MAC is said, it
 * is the ports' own.
 */
export function frameOf(text: string, options = ''): Uint8Array {
  const match = /^(\w+) (\S+) > (\S+)(.*)$/.exec(text);
  if (match === null) return parseFrame(text);
  const [, what, source, destination, rest] = match;
  const macs = [source, destination].map((end) => (/^\[?[a-zA-Z]\b/.test(end) ? mac(letterOf(end)) : undefined));
  const said = `${rest} ${options}`;
  const src = said.includes('src ') || macs[0] === undefined ? '' : ` src ${macs[0]}`;
  const dst = said.includes('dst ') || macs[1] === undefined ? '' : ` dst ${macs[1]}`;
  return parseFrame(`${what} ${spelled(source)} > ${spelled(destination)}${said}${src}${dst}`);
}

const letterOf = (end: string) => end.replace(/^\[?(.).*$/, '$1').toLowerCase();

function spelled(end: string): string {
  return end.replace(/^(\[?)([a-zA-Z])(?=[:\]]|$)/, (_, bracket: string, letter: string) =>
    letter === letter.toLowerCase() ? `${bracket}${ip(letter)}` : `${bracket}${ip6(letter.toLowerCase())}`,
  );
}
