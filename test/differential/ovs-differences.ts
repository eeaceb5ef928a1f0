/** Where weft sends something else than Open vSwitch, and why. An entry must hold exactly: what no longer differs fails. */

export interface Difference {
  readonly ingress: string;
  readonly frame: string;
  readonly pcps: readonly number[];
  /** As `describeOutput` writes them; PCP stands for the case's. */
  readonly weftOnly: readonly string[];
  readonly ovsOnly: readonly string[];
  readonly reason: string;
}

const hiddenTag: Difference = {
  ingress: 'access',
  frame: '8100 VID 0 + 8100 other',
  pcps: [0, 5],
  weftOnly: [],
  ovsOnly: [
    'access 8100:2:20',
    'native-tagged 8100:PCP:10 8100:2:20',
    'native-untagged 8100:2:20',
    'trunk 8100:PCP:10 8100:2:20',
  ],
  reason: 'a tag hidden behind VID 0 would take a VM into another VLAN at the next switch: weft drops the frame',
};

const nativeHop = (ingress: string, frame: string): Difference => ({
  ingress,
  frame,
  pcps: [0, 5],
  weftOnly: [],
  ovsOnly: ['native-untagged 8100:2:20'],
  reason:
    'sent untagged, the payload would be taken for a frame of another network of this trunk: weft drops this copy',
});

const serviceTag = (ingress: string): Difference => ({
  ingress,
  frame: '88a8 own + 8100 other',
  pcps: [0, 5],
  weftOnly: ['native-tagged 8100:PCP:10 8100:2:20', 'trunk 8100:PCP:10 8100:2:20'],
  ovsOnly: ['native-tagged 88a8:PCP:10 8100:2:20', 'native-untagged 8100:2:20', 'trunk 88a8:PCP:10 8100:2:20'],
  reason:
    'what a network is sent with belongs to the network, not to the frame: weft sends 8100 though 88a8 arrived; and the ' +
    'copy for native-untagged would hop into another network',
});

const tunnelPriority = (frame: string, inner: string): Difference => ({
  ingress: 'tunnel',
  frame,
  pcps: [5],
  weftOnly: [`trunk 88a8:5:30 ${inner}`],
  ovsOnly: [`trunk 88a8:0:30 ${inner}`],
  reason: "weft copies the customer's priority to the outer tag, Open vSwitch sends 0",
});

/** `rest`: what follows the tag of zeros. */
const tagOfZeros = (frame: string, rest: string): Difference => ({
  ingress: 'tunnel',
  frame,
  pcps: [0],
  weftOnly: [`trunk 88a8:0:30 8100:0:0${rest}`, `tunnel 8100:0:0${rest}`],
  ovsOnly: [`trunk 88a8:0:30${rest}`, rest === '' ? 'tunnel untagged' : `tunnel${rest}`],
  reason: 'a tunnel carries frames as they came; Open vSwitch takes a tag with VID 0 and PCP 0 for none',
});

export const differences: readonly Difference[] = [
  hiddenTag,
  ...['trunk', 'native-untagged', 'native-tagged'].map((ingress) => nativeHop(ingress, '8100 own + 8100 other')),
  ...['native-untagged', 'native-tagged'].map((ingress) => nativeHop(ingress, '8100 VID 0 + 8100 other')),
  ...['trunk', 'native-untagged', 'native-tagged'].map(serviceTag),
  {
    ingress: 'trunk',
    frame: 'service VID',
    pcps: [0, 5],
    weftOnly: ['trunk 88a8:PCP:30'],
    ovsOnly: ['trunk 8100:PCP:30'],
    reason:
      'a network with tunnel ports leaves its uplink with their TPID, whatever it came with; Open vSwitch keeps that',
  },
  tagOfZeros('VID 0', ''),
  tagOfZeros('8100 VID 0 + 8100 other', ' 8100:2:20'),
  tunnelPriority('VID 0', '8100:5:0'),
  tunnelPriority('own VID', '8100:5:10'),
  tunnelPriority('other VID', '8100:5:20'),
  tunnelPriority('service VID', '8100:5:30'),
  tunnelPriority('unknown VID', '8100:5:99'),
  tunnelPriority('8100 own + 8100 other', '8100:5:10 8100:2:20'),
  tunnelPriority('8100 VID 0 + 8100 other', '8100:5:0 8100:2:20'),
  tunnelPriority('88a8 own + 8100 other', '88a8:5:10 8100:2:20'),
  tunnelPriority('88a8 service + 8100 other', '88a8:5:30 8100:2:20'),
  tunnelPriority('88a8 service', '88a8:5:30'),
];
