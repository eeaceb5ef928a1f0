// Programs that weft's demo and tests call, and the Debian packages that have them. As root on Debian what is missing
// is installed; elsewhere it is named, and what needs it says so when it is reached.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

/** By package: files of which one has to be there. A bare name is a program, looked for where programs are. */
const demoPackages = {
  iproute2: ['ip'],
  'iputils-ping': ['ping'],
};
const testPackages = {
  ...demoPackages,
  'util-linux': ['unshare'],
  procps: ['sysctl'],
  tcpdump: ['tcpdump'],
  udhcpc: ['udhcpc'],
  'bind9-dnsutils': ['dig'],
  curl: ['curl'],
  'isc-dhcp-client': ['dhclient'],
  'dhcpcd-base': ['dhcpcd'],
  systemd: ['/lib/systemd/systemd-networkd'],
  iperf3: ['iperf3'],
  ethtool: ['ethtool'],
  tshark: ['tshark'],
  'openvswitch-switch': ['ovs-vswitchd'],
  frr: ['/usr/lib/frr/bfdd'],
  'qemu-system-x86': ['qemu-system-x86_64'],
  nftables: ['nft'],
  kmod: ['modinfo'],
  gcc: ['gcc'],
  'g++': ['g++'],
  make: ['make'],
  python3: ['python3'],
  'libc6-dev': ['/usr/include/stdio.h'],
  'libpcap-dev': ['/usr/include/pcap.h', '/usr/include/pcap/pcap.h'],
};
export const systemPackages = { demo: demoPackages, tests: testPackages };

const PROGRAM_FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin'];
const APT_LISTS = '/var/lib/apt/lists';
/** Debian asks this file before it starts a service; 101 means "not now". */
const SERVICE_POLICY = '/usr/sbin/policy-rc.d';

/** @param {string} name */
function isThere(name) {
  if (name.startsWith('/')) return existsSync(name);
  return [...(process.env.PATH ?? '').split(':'), ...PROGRAM_FOLDERS].some((folder) => {
    try {
      accessSync(`${folder}/${name}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** @param {Record<string, string[]>} packages @returns {string[]} the packages of which nothing is there */
export function missingPackages(packages) {
  return Object.entries(packages).flatMap(([name, files]) => (files.some(isThere) ? [] : [name]));
}

export const isRoot = process.getuid?.() === 0;

/**
 * Installs what is missing, asking nothing and starting no service. Never throws: what is still missing afterwards is
 * returned, and whoever needs it says so.
 * @param {Record<string, string[]>} packages
 * @param {{ lists?: boolean, sudo?: boolean }} [wanted] lists: something will ask apt for packages later (the test VMs'
 *   kernel), so its lists have to be there; sudo: an ordinary user may be asked for a password
 * @returns {{ installed: string[], missing: string[] }}
 */
export function installSystemPackages(packages, { lists = false, sudo = false } = {}) {
  const wanted = missingPackages(packages);
  const needsLists = lists && isRoot && !hasLists();
  if (wanted.length === 0 && !needsLists) return { installed: [], missing: [] };
  const can = existsSync('/etc/debian_version') && isThere('apt-get') && (isRoot || (sudo && isThere('sudo')));
  if (can) withoutServices(() => installWithApt(wanted));
  const missing = missingPackages(packages);
  return { installed: wanted.filter((name) => !missing.includes(name)), missing };
}

function hasLists() {
  return existsSync(APT_LISTS) && readdirSync(APT_LISTS).some((name) => name.includes('_Packages'));
}

/** @param {string[]} wanted */
function installWithApt(wanted) {
  run(['apt-get', 'update', '-qq']);
  if (wanted.length === 0) return;
  process.stdout.write(`installing ${wanted.join(' ')}\n`);
  run(['apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...wanted]);
}

/** @param {string[]} command */
function run(command) {
  const environment = ['DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_SUSPEND=1'];
  const [program, ...args] = isRoot ? ['env', ...environment, ...command] : ['sudo', 'env', ...environment, ...command];
  spawnSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Open vSwitch's package would start a switch on this machine, or fail where there is no init to start it with. @param {() => void} install */
function withoutServices(install) {
  const isOurs = isRoot && !existsSync(SERVICE_POLICY);
  if (isOurs) writeFileSync(SERVICE_POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    install();
  } finally {
    if (isOurs) rmSync(SERVICE_POLICY, { force: true });
  }
}
