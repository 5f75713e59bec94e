import { IsolateCache } from '../src/cache/isolate-cache.ts'
import { systemClock } from '../src/core/clock.ts'
import { createIdSource, type IdSource } from '../src/core/ids.ts'
import { limits } from '../src/core/limits.ts'
import { systemRandom } from '../src/core/random.ts'
import type { BacklogTimes } from '../src/jobs/backlog.ts'
import { type KnownPauses, noPauses } from '../src/jobs/pauses.ts'
import { ShardLoad } from '../src/metrics/shard-load.ts'
import { perIsolate } from '../src/objects/engine.ts'
import { type EngineIsolate, engineIsolate } from '../src/objects/open-shards.ts'
import { Stamps } from '../src/sessions/stamps.ts'
import type { ReplicaCounts } from '../src/sharding/replicas.ts'
import type { Settings } from '../src/web/context.ts'
import { engineOf } from './engine.ts'
import type { Env } from './env.ts'
import { readSettings } from './settings.ts'

/**
 * The state that an isolate keeps between requests: the shard map and small caches. Losing it costs a call, never an
 * answer.
 */
export interface Isolate {
  settings: Settings
  engine: EngineIsolate
  ids: IdSource
  stamps: Stamps
  load: ShardLoad
  cache: IsolateCache
  replicas: ReplicaCounts
  pauses: KnownPauses
  backlogs: BacklogTimes
}

/** The isolate that `env` belongs to. Throws SETTING_MISSING. */
export const isolateOf = perIsolate(
  (env: Env): Isolate => ({
    settings: readSettings(env),
    engine: engineIsolate(engineOf(env)),
    ids: createIdSource(systemClock, systemRandom),
    stamps: new Stamps(limits.stampsHeldMax),
    load: new ShardLoad(systemClock),
    cache: new IsolateCache(systemClock.now),
    replicas: { waited: 0, fellBack: 0 },
    pauses: noPauses(),
    backlogs: new Map(),
  }),
)
