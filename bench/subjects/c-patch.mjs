/** The C patch panels: the physical limits on this machine and kernel, with nothing in the switch's place. */
import { program } from '../build-references.mjs';
import { DEVICE_A, DEVICE_B } from '../testbed.mjs';

/**
 * @param {string} name
 * @param {string} title
 * @param {'patch-readwrite' | 'patch-uring'} binary
 * @param {string[]} flags
 * @returns {import('./subject.mjs').Subject}
 */
function patchPanel(name, title, binary, flags) {
  return {
    name,
    title,
    absence: () => null,
    async start(testbed, { offload }) {
      const child = testbed.host([program(binary), ...flags, ...(offload ? ['--vnet'] : []), DEVICE_A, DEVICE_B]);
      await child.line((line) => line === 'ready', 5000);
      testbed.attach(DEVICE_A, 'a');
      testbed.attach(DEVICE_B, 'b');
      return { pids: [child.pid], stop: () => child.stop() };
    },
  };
}

export const readWrite = patchPanel('c-readwrite', 'C patch panel, read/write', 'patch-readwrite', []);
export const readWriteBusy = patchPanel('c-readwrite-busy', 'C patch panel, busy', 'patch-readwrite', ['--busy']);
export const uring = patchPanel('c-uring', 'C patch panel, io_uring', 'patch-uring', []);
