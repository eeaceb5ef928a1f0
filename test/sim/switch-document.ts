/** The part of a configuration document that the simulator writes and the reference switch reads. */

export interface NetworkDocument {
  type: 'local' | 'flat' | 'vlan';
  id?: number;
  uplink?: string;
  learning?: boolean;
  mtu?: number;
  macAge?: string;
  macLimit?: number;
}

export type TrunkEntry = string | { network: string; vlan: number };
export type ControlPolicy = Partial<Record<'stp' | 'lacp' | 'lldp' | 'cfm' | 'pause' | 'other', 'drop' | 'forward'>>;

export interface PortDocument {
  kind: 'tap' | 'netdev';
  enabled?: boolean;
  network?: string;
  trunk?: 'auto' | TrunkEntry[];
  native?: string;
  nativeTagged?: boolean;
  tunnel?: { network: string; allowed?: number[]; tpid?: number };
  mac?: string;
  addresses?: readonly string[];
  antiSpoof?: boolean;
  allowedPairs?: readonly { readonly ip: string; readonly mac?: string }[];
  allowEthertypes?: readonly number[];
  isolated?: boolean;
  macLimit?: number;
  controlFrames?: ControlPolicy;
  storm?: Partial<Record<'broadcast' | 'multicast' | 'unknownUnicast', string>>;
  acl?: { ingress?: string; egress?: string };
}

export interface SwitchDocument {
  version: 1;
  networks: Record<string, NetworkDocument>;
  ports: Record<string, PortDocument>;
}

/** What is behind a port just now. */
export interface Device {
  mtu: number;
  features: { checksum: boolean; tcp4: boolean; tcp6: boolean; udp: boolean };
  /** False while the worker has let go of the port and the snapshot does not say so yet. */
  attached: boolean;
}
