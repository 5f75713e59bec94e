import { expect, test } from 'vitest'
import { backfillWorld, RealClock } from '../support/backfill-world.ts'

const ROWS = 100_000

test.each([1, 2, 3])(
  '100,000 rows over four shards, seed %d: every row once, no user’s value overwritten',
  async (seed) => {
    const world = await backfillWorld({ rows: ROWS, seed, clock: new RealClock() })
    const startedAt = performance.now()
    await world.runUnderFire({ killAtChunks: [20 * seed, 40 * seed], writes: 3_000 })
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
    await world.check()
    console.info(`seed ${seed}: ${seconds} s, ${world.written.size} rows written by users`)
    expect(await world.isolate().backfills.list()).toMatchObject([{ state: 'done', progress: 1 }])
  },
)
