// `npm ci`, but only when node_modules does not fit package-lock.json or the running Node.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const stamp = `${root}node_modules/.weft-installed`;

/** What node_modules was installed for: the lock file's contents, and the ABI that optional addons are built for. */
function fingerprint() {
  const lock = createHash('sha256')
    .update(readFileSync(`${root}package-lock.json`))
    .digest('hex');
  return `${lock} ${process.platform}-${process.arch} abi-${process.versions.modules}\n`;
}

/**
 * @param {boolean} again install in any case: an addon may build now that could not before
 * @returns {boolean} whether node_modules is as it should be
 */
export function installNodePackages(again = false) {
  if (!again && existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprint()) return true;
  process.stdout.write('npm ci\n');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status === 0) writeFileSync(stamp, fingerprint());
  return status === 0;
}
