/**
 * The process behind an underlay with `driver: raw-socket`: moves IPv4 packets of one protocol between a raw socket (package
 * raw-socket) and streams of packets behind their lengths, four octets in network order: descriptor 3 and on, one for each
 * worker, of which the first is given what arrives. Started by ports/raw-socket.ts as
 * `node raw-socket-process.js PROTOCOL LOCAL-ADDRESS STREAMS`. Ends with its parent, by end of stream.
 */
import { Socket } from 'node:net';

const [PROTOCOL, LOCAL, STREAMS] = process.argv.slice(2);
const PACKET_SIZE_MAX = 65_535;
const LENGTH_SIZE = 4;
/** In an IPv4 header. Nothing of the switch is imported: this is all the process has in common with it. */
const IPV4_DESTINATION = 16;
/** Octets the switch has not taken yet, and packets the socket has not: above, packets are lost as in a full queue. */
const BACKLOG_MAX = 1024 * 1024;
const REQUESTS_MAX = 1024;

/** The part of `raw-socket` that is used. */
interface RawSocket {
  setOption(level: number, option: number, value: number): void;
  send(buffer: Buffer, offset: number, length: number, address: string, sent: (error: Error | null) => void): void;
  on(event: 'message', listener: (packet: Buffer, source: string) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}
interface RawSocketPackage {
  createSocket(options: { addressFamily: number; protocol: number; bufferSize: number }): RawSocket;
  readonly AddressFamily: { readonly IPv4: number };
  readonly SocketLevel: { readonly IPPROTO_IP: number };
  readonly SocketOption: { readonly IP_HDRINCL: number };
}

const name: string = 'raw-socket';
const raw = ((await import(name)) as { default: RawSocketPackage }).default;
const socket = raw.createSocket({
  addressFamily: raw.AddressFamily.IPv4,
  protocol: Number(PROTOCOL),
  bufferSize: PACKET_SIZE_MAX,
});
socket.setOption(raw.SocketLevel.IPPROTO_IP, raw.SocketOption.IP_HDRINCL, 1);
const local = (LOCAL ?? '').split('.').map(Number);
let requests = 0;

const streams = Array.from({ length: Number(STREAMS) }, (_, index) => serve(3 + index));

socket.on('message', (packet) => {
  const [first] = streams;
  // The package can't bind: what is for the host's other addresses comes here, too.
  if (first === undefined || first.writableLength > BACKLOG_MAX || !isLocal(packet)) return;
  const message = Buffer.alloc(LENGTH_SIZE + packet.length);
  message.writeUInt32BE(packet.length);
  packet.copy(message, LENGTH_SIZE);
  first.write(message);
});
// Of a reception: the network's failures come and go, and the socket stays.
socket.on('error', () => {});

function serve(fd: number): Socket {
  const stream = new Socket({ fd, readable: true, writable: true });
  let pending: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= LENGTH_SIZE && pending.length >= LENGTH_SIZE + pending.readUInt32BE(0)) {
      const end = LENGTH_SIZE + pending.readUInt32BE(0);
      send(pending, LENGTH_SIZE, end - LENGTH_SIZE);
      pending = pending.subarray(end);
    }
  });
  stream.on('close', () => process.exit(0));
  stream.on('error', () => process.exit(0));
  return stream;
}

/** To the address in the packet's own header. */
function send(buffer: Buffer, at: number, length: number): void {
  if (requests >= REQUESTS_MAX) return;
  requests++;
  const to = buffer.subarray(at + IPV4_DESTINATION, at + IPV4_DESTINATION + 4).join('.');
  // What can't be sent is lost: no route, too long for the way, no room.
  socket.send(buffer, at, length, to, () => requests--);
}

function isLocal(packet: Buffer): boolean {
  return local.every((octet, index) => packet[IPV4_DESTINATION + index] === octet);
}
