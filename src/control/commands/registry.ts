/** Every command, in the order of `weft --help`. Adding a command: one file, one line here. */
import type { Command, RpcMethod } from '../command.js';
import { aclCommands } from './acl.js';
import { checkCommands } from './check.js';
import { completionCommands } from './completion.js';
import { configCommands } from './config.js';
import { conntrackCommands } from './conntrack.js';
import { daemonCommands } from './daemon.js';
import { demoCommands } from './demo.js';
import { dhcpCommands } from './dhcp.js';
import { dropsCommands } from './drops.js';
import { fdbCommands } from './fdb.js';
import { groupCommands } from './group.js';
import { natCommands } from './nat.js';
import { networkCommands } from './network.js';
import { portCommands } from './port.js';
import { routerCommands } from './router.js';
import { schemaCommands } from './schema.js';
import { statsCommands } from './stats.js';
import { statusCommands } from './status.js';
import { topCommands } from './top.js';
import { traceCommands } from './trace.js';
import { tunnelCommands } from './tunnel.js';

export const commands: readonly Command[] = [
  ...daemonCommands,
  ...checkCommands,
  ...schemaCommands,
  ...configCommands,
  ...statusCommands,
  ...topCommands,
  ...portCommands,
  ...networkCommands,
  ...fdbCommands,
  ...aclCommands,
  ...groupCommands,
  ...routerCommands,
  ...tunnelCommands,
  ...natCommands,
  ...conntrackCommands,
  ...dhcpCommands,
  ...statsCommands,
  ...dropsCommands,
  ...traceCommands,
  ...demoCommands,
  ...completionCommands,
];

/** The methods of the control socket. */
export const rpcMethods: readonly RpcMethod[] = commands.flatMap((command) => command.methods);
