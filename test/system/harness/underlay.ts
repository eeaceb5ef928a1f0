/**
 * The IP network between the hosts of a test: one namespace ("u") in the middle, a veth to each host. As a bridge, or as a
 * router, which can narrow the way to one host and tell the others about it. Every host has an IPv4 and an IPv6 address.
 *
 * Offloads are off on all ends unless asked for, so that what passes is what would stand on a wire: segmented, with every
 * checksum. With them, veths hand super-frames and unfinished checksums from one kernel to the other.
 */
import type { Testbed } from './testbed.js';

/** The interface of a host that leads to the underlay. */
export const UNDERLAY_DEVICE = 'under0';
const MIDDLE = 'u';

export type Family = 4 | 6;

export function setOffloads(testbed: Testbed, label: string, device: string, state: 'on' | 'off'): void {
  const features = ['tx', 'rx', 'sg', 'tso', 'gso', 'gro'].flatMap((feature) => [feature, state]);
  testbed.run(label, 'ethtool', '-K', device, ...features);
}

export interface UnderlayKind {
  readonly routed?: boolean;
  /** The veths keep their offloads. */
  readonly offloads?: boolean;
}

export class Underlay {
  private readonly testbed: Testbed;
  private readonly kind: UnderlayKind;
  private readonly hosts: string[] = [];

  constructor(testbed: Testbed, kind: UnderlayKind = {}) {
    this.testbed = testbed;
    this.kind = kind;
    if (kind.routed) {
      const settings = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];
      testbed.run(MIDDLE, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=0', ...settings);
    } else testbed.ip(MIDDLE, 'link', 'add', 'br0', 'type', 'bridge');
    if (!kind.routed) testbed.ip(MIDDLE, 'link', 'set', 'br0', 'up');
  }

  address(number: number, family: Family = 4): string {
    return family === 4 ? `198.51.100.${number}` : `2001:db8:51::${number.toString(16)}`;
  }

  /** Gives the host of this label its interface; `addressed` false: it is left to the host to use its addresses. */
  attach(host: string, number: number, addressed = true): void {
    const { testbed, kind } = this;
    const near = this.portOf(host);
    this.hosts.push(host);
    const far = ['peer', 'name', UNDERLAY_DEVICE, 'netns', testbed.namespace(host)];
    testbed.ip(MIDDLE, 'link', 'add', near, 'type', 'veth', ...far);
    for (const [label, device] of [
      [MIDDLE, near],
      [host, UNDERLAY_DEVICE],
    ] as const) {
      if (kind.routed || label === host)
        testbed.run(
          label,
          'sysctl',
          '-qw',
          `net.ipv6.conf.${device}.disable_ipv6=0`,
          `net.ipv6.conf.${device}.accept_ra=0`,
        );
      testbed.ip(label, 'link', 'set', device, 'up');
    }
    if (!kind.offloads) this.setOffloads('off', [host]);
    if (kind.routed) this.addRoutes(host, number);
    else {
      testbed.ip(MIDDLE, 'link', 'set', near, 'master', 'br0');
      if (addressed) this.addAddresses(host, UNDERLAY_DEVICE, number);
    }
  }

  addAddresses(host: string, device: string, number: number): void {
    this.testbed.ip(host, 'address', 'add', `${this.address(number, 4)}/24`, 'dev', device);
    this.testbed.ip(host, 'address', 'add', `${this.address(number, 6)}/64`, 'dev', device, 'nodad');
  }

  /** Of a routed underlay: the size of packets that the router lets through to the host of this number. */
  narrow(number: number, mtu: number): void {
    for (const family of [4, 6] as const) {
      const way = [`-${family}`, 'route', 'change', this.address(number, family), 'dev', this.portOf(`h${number}`)];
      this.testbed.ip(MIDDLE, ...way, 'mtu', String(mtu));
    }
  }

  /** Of the veths of these hosts, at both ends. */
  setOffloads(state: 'on' | 'off', hosts: readonly string[] = this.hosts): void {
    for (const host of hosts) {
      setOffloads(this.testbed, MIDDLE, this.portOf(host), state);
      setOffloads(this.testbed, host, UNDERLAY_DEVICE, state);
    }
  }

  /** The interface in the middle that leads to the host, and where it lies. */
  portOf(host: string): string {
    return `u-${host}`;
  }

  get middle(): string {
    return MIDDLE;
  }

  /** Every address by itself, so that hosts reach each other by the same addresses as on a bridge. */
  private addRoutes(host: string, number: number): void {
    const { testbed } = this;
    const near = this.portOf(host);
    for (const [family, length] of [
      [4, 32],
      [6, 128],
    ] as const) {
      const version = `-${family}`;
      const router = this.address(254, family);
      const address = this.address(number, family);
      const nodad = family === 6 ? ['nodad'] : [];
      testbed.ip(MIDDLE, version, 'address', 'add', `${router}/${length}`, 'dev', near, ...nodad);
      testbed.ip(MIDDLE, version, 'route', 'add', `${address}/${length}`, 'dev', near);
      testbed.ip(host, version, 'address', 'add', `${address}/${length}`, 'dev', UNDERLAY_DEVICE, ...nodad);
      testbed.ip(host, version, 'route', 'add', `${router}/${length}`, 'dev', UNDERLAY_DEVICE);
      testbed.ip(host, version, 'route', 'add', 'default', 'via', router, 'dev', UNDERLAY_DEVICE);
    }
  }
}
