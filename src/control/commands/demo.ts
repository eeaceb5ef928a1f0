/** `weft demo`: shows a newcomer what the switch does. The demo itself is given by weft.ts. */
import type { Command } from '../command.js';

const demo: Command = {
  words: 'demo',
  summary: 'Build a small network, send traffic through a switch, and show what it saw.',
  description: [
    'Makes two namespaces that stand for VMs and one for the uplink, starts a switch between them, pings, runs a TCP transfer, and shows live who talked to whom, the FDB filling, and a frame traced stage by stage. Takes about 30 seconds. Everything it made is removed at the end, also after Ctrl-C.',
    'Needs root on Linux with /dev/net/tun. Touches nothing that was there before.',
  ],
  arguments: [],
  options: [
    { name: 'fast', summary: 'no pauses between the scenes' },
    { name: 'keep', summary: 'leave the network up at the end to play with, until Ctrl-C' },
  ],
  examples: [
    { command: 'sudo weft demo', shows: 'the whole show' },
    { command: 'sudo weft demo --fast --keep', shows: 'a network with two VMs to try commands on' },
  ],
  methods: [],
  run: (context, input) =>
    context.runners.demo({ json: context.json, fast: input.fast === true, keep: input.keep === true }),
};

export const demoCommands = [demo];
