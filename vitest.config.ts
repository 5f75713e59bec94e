import { availableParallelism } from 'node:os'
import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

/** Tests that run inside the runtime, with the bindings of `wrangler.toml`. */
const inWorkerd = () =>
  cloudflareTest({
    wrangler: { configPath: './wrangler.toml' },
    miniflare: {
      bindings: {
        SIGNING_KEY: 'a key of at least 32 characters, for tests only',
        OPERATOR_TOKEN: 'banyan-local',
        RATE_LIMITS: 'off',
        CACHE: 'off',
        LEASE_MS: '30000',
        GRACE_MS: '300000',
        JOBS: 'inline',
      },
      // Empty databases for the replicas of doubles.
      d1Databases: Object.fromEntries(Array.from({ length: 6 }, (_, index) => [`SPARE_${index}`, `spare-${index}`])),
    },
  })

const setupFiles = ['test/support/workerd-setup.ts']

export default defineConfig({
  test: {
    silent: 'passed-only',
    // Vitest keeps one core for itself. Tests wait about as long as they compute, so two at a time take 2/3 of the time
    // on two cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      // Ends a test that hangs. The timeout is long, so a busy machine does not decide a test's result.
      // Unit tests share one process per worker, because many files are shorter than the start of a process. So a test
      // undoes what it changes, and spies instead of `vi.mock`, which comes too late for a module that another file loaded.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], isolate: false, testTimeout: 15_000 } },
      { test: { name: 'model', include: ['test/model/**/*.test.ts'], testTimeout: 30_000 } },
      { test: { name: 'simulation', include: ['test/simulation/**/*.test.ts'], testTimeout: 60_000 } },
      {
        plugins: [inWorkerd()],
        test: { name: 'workerd', include: ['test/workerd/**/*.test.ts'], setupFiles, testTimeout: 30_000 },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          // Each file starts its own runtime, and two cores can run two.
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'long',
          include: ['test/long/*.test.ts'],
          // The model keeps several million states.
          execArgv: ['--max-old-space-size=6144'],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        plugins: [inWorkerd()],
        test: { name: 'long-workerd', include: ['test/long/workerd/*.test.ts'], setupFiles, testTimeout: 30_000 },
      },
    ],
  },
})
