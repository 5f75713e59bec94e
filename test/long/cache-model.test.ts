import fc from 'fast-check'
import { afterEach, test, vi } from 'vitest'
import { checkRun, runs } from '../support/cache-model.ts'

afterEach(() => vi.restoreAllMocks())

test('20,000 runs: an isolate never goes back, a client never reads behind its own write, and staleness is bounded', async () => {
  await fc.assert(fc.asyncProperty(runs, checkRun), { numRuns: 20_000 })
})
