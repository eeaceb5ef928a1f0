/** Before the tests: compiles the byte kernels if they are missing or older than their source. */
import { fileURLToPath } from 'node:url';

interface KernelBuild {
  buildKernels(): void;
  kernelsAreStale(): boolean;
}

export async function setup(): Promise<void> {
  const script = fileURLToPath(new URL('../scripts/kernels.mjs', import.meta.url));
  const { buildKernels, kernelsAreStale } = (await import(script)) as KernelBuild;
  if (kernelsAreStale()) buildKernels();
}
