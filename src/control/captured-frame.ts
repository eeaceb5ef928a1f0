/** The Nth frame of a capture file, for `weft trace`. Runs in the operator's process, with the operator's rights. */
import { readFile, stat } from 'node:fs/promises';
import { UserError } from '../errors.js';
import { LINK_TYPE_ETHERNET, readCapture } from '../wire/pcap-file.js';
import { type CliContext, UsageError } from './command.js';
import { errorCode } from './socket-path.js';
import { plural } from './table-text.js';

/** Capture files are read whole. */
const CAPTURE_SIZE_MAX = 1024 * 1024 * 1024;

/** `number` counts from 1, as tcpdump and Wireshark do. Every failure is a UsageError. */
export async function readCapturedFrame(
  file: string,
  number: number,
  context: Pick<CliContext, 'warn'>,
): Promise<Uint8Array> {
  const { frames, fault } = await readFrames(file);
  const frame = frames[number - 1];
  if (frame === undefined) {
    throw new UsageError(
      `${file} has ${plural(frames.length, 'frame')}${fault === undefined ? '' : ` (${fault})`}, no #${number}`,
    );
  }
  if (frame.linkType !== LINK_TYPE_ETHERNET) {
    throw new UsageError(`${file}#${number} is no Ethernet frame (link type ${frame.linkType})`);
  }
  if (frame.octets.length < frame.originalLength) {
    context.warn(`${file}#${number}: only ${frame.octets.length} of ${frame.originalLength} octets were captured`);
  }
  return frame.octets;
}

async function readFrames(file: string): Promise<ReturnType<typeof readCapture>> {
  try {
    if ((await stat(file)).size > CAPTURE_SIZE_MAX) throw new UsageError(`${file} is longer than 1 GiB`);
    return readCapture(await readFile(file));
  } catch (error) {
    if (error instanceof UserError) throw new UsageError(`${file}: ${error.message}`);
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file} can't be read (${errorCode(error)})`);
  }
}
