/**
 * What a port is, on both of its sides.
 *
 * A **port kind** (one file in ports/, one line in ports/registry.ts) opens devices: that happens on the main thread,
 * which may block, call ioctls and talk rtnetlink. What it opens is described by an `OpenPort`: plain numbers and
 * strings that can be posted to workers. A **port queue** is what a worker makes of it: the thing frames come from and
 * go to. Which class serves a queue follows from the queue's `transport`, not from the port's kind.
 */

/** How octets of a queue are moved. Posted to workers, so: plain data. */
export type QueueTransport =
  /** A descriptor where one read is one frame and one write is one frame: a TAP. */
  | { readonly type: 'tap'; readonly fd: number; readonly vnetHeader: boolean }
  /** A bound AF_PACKET socket: recvmsg with auxdata, send. */
  | { readonly type: 'packet'; readonly fd: number; readonly vnetHeader: boolean }
  /** A connected stream socket: 4-octet big-endian length, frame, and so on. */
  | { readonly type: 'stream'; readonly fd: number }
  /** A pair of frame rings in shared memory (dataplane/frame-ring.ts), the far side in this process. */
  | {
      readonly type: 'ring';
      readonly receive: SharedArrayBuffer;
      readonly transmit: SharedArrayBuffer;
      readonly wakeFd: number;
    }
  /**
   * How a worker that does not have a port's only stream sends by it: through a ring to the worker that has it. `from` is
   * the end that is filled, `to` the end that is emptied into the port's own queue.
   */
  | { readonly type: 'relay'; readonly end: 'from' | 'to'; readonly ring: SharedArrayBuffer; readonly wakeFd: number }
  | DatagramTransport
  | RawStreamTransport;

/** A stream of IPv4 packets, each behind its length as frames of a stream are, to a process that has a raw socket. */
export interface RawStreamTransport {
  readonly type: 'rawStream';
  readonly fd: number;
  readonly protocol: number;
  /** Our address as it lies in memory. */
  readonly local: number;
  readonly ttl: number;
}

/**
 * Sockets of a tunnel underlay: each message is a datagram (or several of one size, UDP_SEGMENT and UDP_GRO) with an
 * address. `fd` receives. All workers send by all of `senders`: UDP sockets bound to different source ports, so that a
 * network's paths can tell flows apart (RFC 7348 section 5); GRE has one, `fd` itself.
 */
export interface DatagramTransport {
  readonly type: 'datagram';
  readonly protocol: 'udp' | 'gre';
  readonly family: 4 | 6;
  readonly fd: number;
  readonly senders: readonly number[];
  /**
   * For messages of several datagrams, in place of `senders` and bound to the same ports: the kernel cuts them (UDP_SEGMENT)
   * only for sockets that send checksums. Absent: `senders` do.
   */
  readonly segmentSenders?: readonly number[];
  /** UDP port that datagrams are sent to; 0 for GRE. */
  readonly remotePort: number;
}

/** What a port can take and will send; decides where segmentation and checksums are done. */
export interface PortFeatures {
  /** Takes frames with partial checksums. */
  readonly checksum: boolean;
  /** Takes TCP super-frames over IPv4 / IPv6, UDP super-frames. */
  readonly tcp4: boolean;
  readonly tcp6: boolean;
  readonly udp: boolean;
}

export const NO_OFFLOAD: PortFeatures = { checksum: false, tcp4: false, tcp6: false, udp: false };

/** An opened port, as the main thread keeps it and workers are told of it. Each queue is read by one worker; which one is the port server's choice. */
export interface OpenPort {
  readonly queues: readonly QueueTransport[];
  readonly features: PortFeatures;
  readonly mtu: number;
  /** MAC of the interface itself, if it has one. */
  readonly mac?: string;
  /** One clause: why nothing can pass just now though the queues are open (`tap1 is administratively down`, no carrier). */
  readonly linkDown?: string;
}

/** Why a port is not up: shown as `port list.reason`. */
export interface PortAbsence {
  readonly state: 'waiting' | 'down';
  /** One clause for an operator: `no interface vnet3`. */
  readonly reason: string;
}

/** What a kind needs to know of a port; the config's own names. */
export interface PortIntent {
  readonly name: string;
  readonly kind: string;
  readonly device: string;
  readonly path?: string;
  readonly mtu?: number;
  /** Of an underlay port: the number of workers, each of which is to receive by a socket of its own (UDP). */
  readonly queues: number;
  readonly offload: 'auto' | 'off';
  /** Of underlay ports only: the tunnels' own end. */
  readonly underlay?: UnderlayIntent;
}

/** What is to be opened for one kind of tunnel on one underlay. */
export interface UnderlayIntent {
  readonly type: 'vxlan' | 'geneve' | 'gre';
  /** This host's address, which the sockets are bound to. */
  readonly local: string;
  /** UDP port received on and sent to; 0 for GRE. */
  readonly port: number;
  readonly sourcePorts: number;
  readonly ttl: number;
  /** What moves the packets: the workers' own sockets, or the optional package. */
  readonly driver: 'socket' | 'raw-socket';
  /** Outer UDP checksums are sent. */
  readonly checksum: boolean;
  /** Far ends of the configuration when the port is opened: the routes to them decide the MTU. See UnderlayHandle.follow. */
  readonly remotes: readonly string[];
}

/** What the main thread gives a kind to tell it of changes. */
export interface PortWatcher {
  /** The port is there now (again), with these queues. */
  opened(port: OpenPort): void;
  /** The port is gone or not usable; descriptors may be closed once the workers have let go (the kind's close is called). */
  lost(absence: PortAbsence): void;
  /** MTU or link state changed; queues are the same. */
  changed(port: OpenPort): void;
}

/** The way from an underlay's address to one remote end, as this host sees it. */
export interface UnderlayPath {
  /** As RFC 5952 writes it. */
  readonly remote: string;
  /** Octets of the largest IP packet that fits it, the outer headers included; 0: there is no route. */
  readonly mtu: number;
  readonly state: 'up' | 'down';
  /** Why it is down: one clause. */
  readonly reason?: string;
}

/** What only underlay ports can be asked and told. */
export interface UnderlayHandle {
  /** Of each remote that is followed. */
  paths(): readonly UnderlayPath[];
  /** These are the remotes from now on; the sockets stay. */
  follow(remotes: readonly string[]): void;
  /** Something came from there: whatever a router said of it is over. */
  heard(remote: string): void;
}

/** A port as its kind serves it on the main thread. */
export interface PortHandle {
  /** Of underlay ports only. */
  readonly underlay?: UnderlayHandle;
  /**
   * Closes every descriptor and stops watching. `fate` says what becomes of the device: `remove` undoes what opening did (a
   * TAP that weft made goes, a silenced host is heard again) because the port is no more; `keep` leaves all as it is, because
   * only this daemon ends and the next one is to go on. Idempotent.
   */
  close(fate: 'remove' | 'keep'): Promise<void>;
  /** Closes the descriptors reported lost; called after the workers detached. The handle goes on watching. */
  released(): void;
  /**
   * What the port's networks let pass; undefined: they have no say. A kind whose device's MTU a guest goes by sets it, where
   * the configuration gives the port none of its own. Called again and again with the same.
   */
  setMtu?(mtu: number | undefined): void;
}

/** What a kind must remember of a port over a restart of the daemon, kept durably in the state directory. */
export interface PortMemory {
  get(key: string): string | undefined;
  set(key: string, value: string | undefined): void;
}

/**
 * What ports of a kind leave on the host when they go from the configuration while no daemon runs: told from their memory,
 * which is kept until then.
 */
export interface LeftBehind {
  /** The device in the configuration of the port whose memory this is; undefined: this kind left nothing there. */
  deviceOf(memory: PortMemory): string | undefined;
  /** Does what closing the port with `remove` would have done, and forgets. Throws an OperatingError: forgets nothing then. */
  undo(memory: PortMemory): void;
}

/** One kind of port. */
export interface PortKind {
  readonly kind: string;
  /** VM ports get storm limits and MAC limits by default; the others are treated as uplinks. */
  readonly facesVm: boolean;
  /**
   * The kind looks at the link only now and then, so `linkDown` is shown but stops no traffic: a guest that brings its
   * interface up must not wait for the next look.
   */
  readonly linkIsAdvisory?: boolean;
  /** Absent: such a port leaves nothing. */
  readonly leftBehind?: LeftBehind;
  /**
   * Starts serving the intent. Reports through the watcher, also before it returns. Throws an OperatingError only for
   * what no waiting mends (missing privilege, missing package); an absent interface is a `lost` with state `waiting`.
   */
  open(intent: PortIntent, watcher: PortWatcher, memory: PortMemory): Promise<PortHandle>;
}
