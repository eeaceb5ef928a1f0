// A resolver of the world for system tests: every A question has one address; names that begin with "long" have many TXT
// records, those that begin with "silent" no answer. By UDP and TCP on port 53 of the address that is its argument.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { decode, encode } from 'dns-packet';

const [address] = process.argv.slice(2);
const FLAGS = 0x0180;

/** @param {Buffer} message @param {number} sizeMax @returns {Buffer | undefined} */
function answer(message, sizeMax) {
  const { id, questions = [] } = decode(message);
  const [{ name, type }] = questions;
  if (name.startsWith('silent')) return undefined;
  const record = { name, ttl: 30 };
  const texts = Array.from({ length: 40 }, (_, index) => ({ ...record, type: 'TXT', data: `text ${index}` }));
  const answers = name.startsWith('long') ? texts : type === 'A' ? [{ ...record, type, data: '203.0.113.99' }] : [];
  const whole = encode({ type: 'response', id, flags: FLAGS, questions, answers });
  return whole.length <= sizeMax ? whole : encode({ type: 'response', id, flags: FLAGS | 0x0200, questions });
}

const datagrams = createSocket('udp4', (message, { address: to, port }) => {
  const given = answer(message, 512);
  if (given !== undefined) datagrams.send(given, port, to);
});
const streams = createServer((socket) => {
  socket.on('error', () => {});
  socket.on('data', (octets) => {
    const given = answer(octets.subarray(2), 65_535);
    if (given === undefined) return;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(given.length);
    socket.end(Buffer.concat([length, given]));
  });
});
datagrams.bind(53, address, () => streams.listen(53, address, () => process.stdout.write('ready\n')));
