/**
 * What the demo builds: names, addresses and the configuration of its switch. Constants only; documentation addresses.
 *
 *   vm1 ---- TAP ----+
 *                    switch ---- veth ---- uplink
 *   vm2 ---- TAP ----+
 *
 * Every part is a network namespace of its own, the switch too, so nothing of the host's network is touched.
 */

/** Everything the demo makes is named after this, which is how a later run finds what a killed one left. */
export const NAMESPACE_PREFIX = 'weft-demo-';
/** Only root can write in /run: nobody else can put something in the way. */
export const DIRECTORY = '/run/weft-demo';
export const SOCKET = `${DIRECTORY}/control.sock`;
export const CONFIG_FILE = `${DIRECTORY}/switch.yaml`;
export const STATE_DIRECTORY = `${DIRECTORY}/state`;
export const LOG_FILE = `${DIRECTORY}/daemon.log`;
export const OWNER_FILE = `${DIRECTORY}/pid`;

export type StationName = 'vm1' | 'vm2' | 'uplink';

export interface Station {
  readonly name: StationName;
  readonly namespace: string;
  /** The switch's port it is behind, which is also the name of its interface. */
  readonly port: string;
  readonly address: string;
  readonly mac: string;
}

export const PREFIX_LENGTH = 24;
export const UPLINK_PORT = 'eth0';
export const SWITCH_NAMESPACE = `${NAMESPACE_PREFIX}switch`;

function station(name: StationName, port: string, last: number): Station {
  // The digits of the address, so that a reader sees at once whose it is.
  const mac = `52:54:00:00:00:${String(last).padStart(2, '0')}`;
  return { name, namespace: `${NAMESPACE_PREFIX}${name}`, port, address: `192.0.2.${last}`, mac };
}

export const stations = {
  vm1: station('vm1', 'vm1', 11),
  vm2: station('vm2', 'vm2', 12),
  uplink: station('uplink', UPLINK_PORT, 1),
} as const satisfies Record<StationName, Station>;

export const BLUE_VLAN = 20;

export const CONFIG = `version: 1
networks:
  lab:  { type: flat, uplink: ${UPLINK_PORT} }            # untagged on the uplink
  blue: { type: vlan, id: ${BLUE_VLAN}, uplink: ${UPLINK_PORT} }    # tagged with VID ${BLUE_VLAN} there
ports:
  vm1:  { kind: tap, network: lab }
  vm2:  { kind: tap, network: lab }
  ${UPLINK_PORT}: { kind: netdev, trunk: auto }
`;
