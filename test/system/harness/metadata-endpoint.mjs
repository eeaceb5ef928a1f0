// A metadata endpoint for system tests: says in JSON what it was asked and by whom; /large has 3 MB, /slow is answered never.
// Listens on port 8775 of the address that is its argument.
import { createServer } from 'node:http';

const [address] = process.argv.slice(2);
const LARGE = Buffer.alloc(3_000_000, 'weft');

const server = createServer((request, response) => {
  const { method, url, headers } = request;
  let size = 0;
  request.on('data', (piece) => {
    size += piece.length;
  });
  request.on('end', () => {
    if (url?.endsWith('/slow')) return;
    if (url?.endsWith('/large')) response.end(LARGE);
    else response.setHeader('content-type', 'application/json').end(JSON.stringify({ method, url, headers, size }));
  });
});
server.listen(8775, address, () => process.stdout.write('ready\n'));
