/**
 * The process behind a pcap port: moves frames between libpcap (package cap) and descriptor 3, a stream of frames behind
 * their lengths, four octets in network order. Started by ports/pcap.ts as `node pcap-process.js DEVICE MAC`; writes `ready`
 * to its output once the device is open, or why it is not to its error output. Ends with its parent, by end of stream.
 */
import { Socket } from 'node:net';

const DEVICE = process.argv[2] ?? '';
/**
 * Not what the host itself sends there, which has the interface's address; our own frames never come back to the handle
 * that sent them. The filter `inbound` would say it better, but loses the first frames: libpcap judges what came before
 * the filter by itself, and can't see a frame's direction then.
 */
const FILTER = `not ether src ${process.argv[3]}`;
/** libpcap takes 64 to 128 KiB of it for each frame, however short: room for a burst of some hundred. */
const CAPTURE_BUFFER = 32 * 1024 * 1024;
const SNAPSHOT_SIZE = 65_535;
/** Octets the switch has not taken yet; above, frames are lost as in a device whose queue is full. */
const BACKLOG_MAX = 1024 * 1024;
/** A frame that libpcap cut off is announced so long that the switch drops and counts it. */
const TRUNCATED_SIZE = 65_600;
const LENGTH_SIZE = 4;

/** The part of `cap` that is used. */
interface Capture {
  open(device: string, filter: string, bufferSize: number, buffer: Buffer): string;
  send(buffer: Buffer, size: number): void;
  on(event: 'packet', listener: (size: number, isTruncated: boolean) => void): void;
}

const name: string = 'cap';
const { Cap } = ((await import(name)) as { default: { Cap: new () => Capture } }).default;
const capture = new Cap();
const captured = Buffer.alloc(SNAPSHOT_SIZE);
const linkType = capture.open(DEVICE, FILTER, CAPTURE_BUFFER, captured);
if (linkType !== 'ETHERNET') throw new Error(`it carries ${linkType}, not Ethernet`);

const stream = new Socket({ fd: 3, readable: true, writable: true });
capture.on('packet', (size, isTruncated) => {
  if (stream.writableLength > BACKLOG_MAX) return;
  const length = isTruncated ? TRUNCATED_SIZE : size;
  const message = Buffer.alloc(LENGTH_SIZE + length);
  message.writeUInt32BE(length);
  captured.copy(message, LENGTH_SIZE, 0, size);
  stream.write(message);
});

let pending: Buffer = Buffer.alloc(0);
stream.on('data', (chunk: Buffer) => {
  pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
  while (pending.length >= LENGTH_SIZE && pending.length >= LENGTH_SIZE + pending.readUInt32BE(0)) {
    const end = LENGTH_SIZE + pending.readUInt32BE(0);
    send(pending.subarray(LENGTH_SIZE, end));
    pending = pending.subarray(end);
  }
});
stream.on('close', () => process.exit(0));
stream.on('error', () => process.exit(0));
process.stdout.write('ready\n');

function send(frame: Buffer): void {
  try {
    capture.send(frame, frame.length);
  } catch {
    // Full or going down: the frame is lost on the wire. If the interface is gone, rtnetlink tells the parent.
  }
}
