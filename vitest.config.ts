import { defineConfig } from 'vitest/config';

/**
 * Tests of real devices, daemons and timing share this machine's cores and its kernel: one file at a time, after the
 * others. They need root; what is not listed here must not.
 */
const oneAtATime = [
  ...['bench', 'dataplane/ports', 'demo', 'differential', 'system', 'vm'].map((part) => `test/${part}/**/*.test.ts`),
  'test/dataplane/{interface,io-engine,io-engine-datagram,shared-memory}.test.ts',
];

const shared = { globalSetup: ['test/build-kernels.ts'], testTimeout: 60_000, hookTimeout: 60_000 };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: oneAtATime,
          sequence: { groupOrder: 0 },
        },
      },
      { test: { ...shared, name: 'system', include: oneAtATime, fileParallelism: false, sequence: { groupOrder: 1 } } },
    ],
  },
});
