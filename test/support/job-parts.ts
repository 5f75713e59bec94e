import type { Clock } from '../../src/core/clock.ts'
import type { Log } from '../../src/core/log.ts'
import { Pauses } from '../../src/jobs/pauses.ts'
import type { Shards } from '../../src/sharding/shards.ts'

/** What a dispatch needs in tests in which nothing is paused and no job has children. It asks no shard. */
export const plainJobs = (common: { shards: Shards; clock: Clock; log: Log }) => ({
  pauses: new Pauses({ ...common, known: { readAt: Number.POSITIVE_INFINITY, names: new Set() } }),
  follow: async () => undefined,
})
