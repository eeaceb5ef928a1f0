/** `weft dhcp`: addresses that the address service has given. */
import { z } from 'zod';
import { remoteCommand } from '../remote-command.js';
import type { DhcpLeaseRow } from '../shapes.js';
import { durationText, formatTable } from '../table-text.js';

function renderLeases(rows: readonly DhcpLeaseRow[]): string {
  if (rows.length === 0) return 'no leases';
  return formatTable(
    [
      { title: 'SUBNET' },
      { title: 'ADDRESS' },
      { title: 'MAC' },
      { title: 'PORT' },
      { title: 'EXPIRES', align: 'right' },
      { title: 'KIND' },
    ],
    rows.map(({ subnet, address, mac, port, expiresSeconds, fixed }) => [
      subnet,
      address,
      mac,
      port,
      durationText(expiresSeconds),
      fixed ? 'fixed' : 'pool',
    ]),
  );
}

export const dhcpCommands = [
  remoteCommand({
    words: 'dhcp leases',
    summary: 'List the leases in force: subnet, address, machine, port, time left.',
    description: [
      'One line for each address that a machine got by DHCP or DHCPv6 and has not given back. A fixed one is among the addresses of its port in the configuration; the others are out of the pool of their subnet. Addresses that machines made themselves from router advertisements are not listed: nobody gave them.',
    ],
    examples: [
      { command: 'weft dhcp leases', shows: 'all leases' },
      {
        command: 'weft dhcp leases --json | jq -r \'.[] | select(.port == "vm1") | .address\'',
        shows: 'what one machine has',
      },
    ],
    params: z.strictObject({}),
    serve: (control) => control.dhcpLeases(),
    render: renderLeases,
  }),
];
