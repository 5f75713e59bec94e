import { systemClock } from '../src/core/clock.ts'
import { createIdSource, type IdSource } from '../src/core/ids.ts'
import { limits } from '../src/core/limits.ts'
import { systemRandom } from '../src/core/random.ts'
import { ShardLoad } from '../src/metrics/shard-load.ts'
import { Stamps } from '../src/sessions/stamps.ts'
import { MapHolder } from '../src/sharding/map-holder.ts'
import type { Settings } from '../src/web/context.ts'
import { boundShards, type Env } from './env.ts'
import { readSettings } from './settings.ts'

/** What an isolate holds between requests: the shard map and small memories. Losing it costs a call, never an answer. */
export interface Isolate {
  settings: Settings
  shards: Map<string, D1Database>
  holder: MapHolder
  ids: IdSource
  stamps: Stamps
  load: ShardLoad
}

const isolates = new WeakMap<Env, Isolate>()

/** The isolate that `env` belongs to: there is one `env` an isolate, but in tests, where each `env` makes one. */
export function isolateOf(env: Env): Isolate {
  const known = isolates.get(env)
  if (known) return known
  const settings = readSettings(env)
  const isolate: Isolate = {
    settings,
    shards: boundShards(env),
    holder: new MapHolder(systemClock, settings.leaseMs),
    ids: createIdSource(systemClock, systemRandom),
    stamps: new Stamps(limits.stampsHeldMax),
    load: new ShardLoad(systemClock),
  }
  isolates.set(env, isolate)
  return isolate
}
