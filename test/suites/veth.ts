/** A veth pair for ports of existing interfaces: one end here, the other in a namespace of its own where the test plays the far side. */
import { setInterfaceUp } from '../../src/dataplane/interface.js';
import { until } from './bench-worker.js';
import { ip, type TestNamespace } from './namespace.js';

export const FAR = 'far0';

/** The near end stays down, as QEMU leaves a TAP. */
export function addVeth(device: string, namespace: TestNamespace): void {
  ip('link', 'add', device, 'type', 'veth', 'peer', 'name', FAR, 'netns', namespace.name);
  namespace.silence(FAR);
  setInterfaceUp(FAR, true, namespace.fd);
}

/**
 * Until the kernel has noticed the carrier on both ends it throws away what is sent. IFF_RUNNING is set too early: a
 * new interface's state is UNKNOWN, which counts as running, until the kernel first looks.
 */
export async function carrier(device: string, namespace: TestNamespace): Promise<void> {
  await until(
    'the veth is up',
    () => /state UP/.test(ip('link', 'show', device)) && /state UP/.test(namespace.ip('link', 'show', FAR)),
  );
}
