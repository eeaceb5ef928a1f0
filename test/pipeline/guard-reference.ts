/**
 * What a frame from the guarded port of guard-frames.ts claims to be, read slowly with DataView and strings from the RFCs.
 * Shares no code with src/. It is only asked about frames that passed: every claim in them must be own.
 */
const OWN: Readonly<Record<string, readonly RegExp[]>> = {
  '52:54:00:00:00:01': [/^192\.0\.2\.5$/, /^192\.0\.2\.50$/, /^2001:db8:0:0:0:0:0:5$/, /^fe80:0:0:0:5054:ff:fe00:1$/],
  '00:00:5e:00:01:09': [/^198\.51\.100\.([0-9]|1[0-5])$/, /^2001:db8:9:0:/, /^fe80:0:0:0:200:5eff:fe00:109$/],
};

const EXTENSIONS: readonly number[] = [0, 43, 44, 51, 60, 135, 139, 140];

/** What is not own or must not be said, in words; empty: the frame may pass. */
export function claimsNotOwn(frame: Uint8Array): string[] {
  return new Reader(frame).read();
}

class Reader {
  private readonly view: DataView;
  private readonly wrong: string[] = [];
  private mac = '';

  constructor(frame: Uint8Array) {
    this.view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  }

  read(): string[] {
    const { view } = this;
    this.mac = this.macAt(6);
    if (OWN[this.mac] === undefined) this.wrong.push(`source MAC ${this.mac}`);
    let at = 12;
    if (view.getUint16(at) === 0x8100 || view.getUint16(at) === 0x88a8) {
      if ((view.getUint16(at + 2) & 0xfff) !== 0) this.wrong.push('a VLAN tag');
      at += 4;
    }
    const type = view.getUint16(at);
    if (type === 0x0806) this.arp(at + 2);
    else if (type === 0x0800) this.ipv4(at + 2);
    else if (type === 0x86dd) this.ipv6(at + 2);
    else if (type !== 0x88b5) this.wrong.push(`ethertype ${type.toString(16)}`);
    return this.wrong;
  }

  private expectPair(what: string, mac: string, address: string): void {
    if (!OWN[mac]?.some((pattern) => pattern.test(address))) this.wrong.push(`${what} ${address} with ${mac}`);
  }

  private arp(at: number): void {
    const sender = this.ipv4At(at + 14);
    const mac = this.macAt(at + 8);
    if (sender !== '0.0.0.0') this.expectPair('ARP sender', mac, sender);
    else if (this.view.getUint16(at + 6) !== 1) this.wrong.push('an ARP reply from nobody');
    else if (OWN[mac] === undefined) this.wrong.push(`ARP sender ${mac}`);
  }

  private ipv4(at: number): void {
    const { view } = this;
    const source = this.ipv4At(at + 12);
    const header = (view.getUint8(at) & 15) * 4;
    const isLater = (view.getUint16(at + 6) & 0x1fff) !== 0;
    const protocol = view.getUint8(at + 9);
    const upper = at + header;
    const port = protocol === 17 && !isLater ? view.getUint16(upper + 2) : -1;
    if (source !== '0.0.0.0') this.expectPair('source', this.mac, source);
    else if (port !== 67) this.wrong.push('0.0.0.0 and no DHCP client');
    if (port === 68) this.wrong.push('DHCP to a client');
    if (port === 67) this.dhcp(upper + 8);
    if (protocol === 1 && !isLater && [5, 9].includes(view.getUint8(upper))) this.wrong.push('a router’s ICMP');
  }

  private dhcp(at: number): void {
    if (this.view.getUint8(at) !== 1) this.wrong.push('a DHCP reply');
    if (OWN[this.macAt(at + 28)] === undefined) this.wrong.push(`chaddr ${this.macAt(at + 28)}`);
  }

  private ipv6(at: number): void {
    const { view } = this;
    const source = this.ipv6At(at + 8);
    const end = at + 40 + view.getUint16(at + 4);
    let kind = view.getUint8(at + 6);
    let upper = at + 40;
    while (EXTENSIONS.includes(kind)) {
      const size =
        kind === 44 ? 8 : kind === 51 ? (view.getUint8(upper + 1) + 2) * 4 : (view.getUint8(upper + 1) + 1) * 8;
      const isLater = kind === 44 && view.getUint16(upper + 2) >> 3 !== 0;
      kind = view.getUint8(upper);
      upper += size;
      if (isLater) {
        this.expectPair('source', this.mac, source);
        return;
      }
    }
    const type = kind === 58 ? view.getUint8(upper) : -1;
    if (source !== '0:0:0:0:0:0:0:0') this.expectPair('source', this.mac, source);
    else if (![131, 135, 143].includes(type)) this.wrong.push(':: and no duplicate address detection or MLD');
    if (type === 134 || type === 137) this.wrong.push('a router’s ICMPv6');
    if (type === 133 || type === 135 || type === 136) this.nd(type, upper, end, source);
    if (kind === 17) this.dhcp6(view.getUint16(upper + 2), upper + 8);
  }

  private dhcp6(port: number, at: number): void {
    if (port === 546) this.wrong.push('DHCPv6 to a client');
    if (port === 547 && [2, 7, 10, 12, 13].includes(this.view.getUint8(at)))
      this.wrong.push('a DHCPv6 server or relay');
  }

  private nd(type: number, at: number, end: number, source: string): void {
    const target = type === 133 ? '' : this.ipv6At(at + 8);
    const about = type === 136 || source === '0:0:0:0:0:0:0:0' ? target : source;
    let option = at + (type === 133 ? 8 : 24);
    let told = false;
    for (; option < end; option += this.view.getUint8(option + 1) * 8) {
      const kind = this.view.getUint8(option);
      if (this.view.getUint8(option + 1) === 0) {
        this.wrong.push('an option without length');
        return;
      }
      if (kind !== 1 && kind !== 2) continue;
      told = true;
      this.expectPair('told', this.macAt(option + 2), about);
    }
    if (!told) this.expectPair('target', this.mac, about);
  }

  private macAt(at: number): string {
    return [0, 1, 2, 3, 4, 5]
      .map((octet) =>
        this.view
          .getUint8(at + octet)
          .toString(16)
          .padStart(2, '0'),
      )
      .join(':');
  }

  private ipv4At(at: number): string {
    return [0, 1, 2, 3].map((octet) => this.view.getUint8(at + octet)).join('.');
  }

  private ipv6At(at: number): string {
    return [0, 2, 4, 6, 8, 10, 12, 14].map((octet) => this.view.getUint16(at + octet).toString(16)).join(':');
  }
}
