import { systemClock, TimeBudget } from '../core/clock.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { consoleLog, type Log } from '../core/log.ts'
import { systemRandom } from '../core/random.ts'
import type { DirectoryClient } from '../resharding/directory-operations.ts'
import { mapCopies } from '../sharding/map-copies.ts'
import { MapHolder, type MapRequest } from '../sharding/map-holder.ts'
import type { Replicas } from '../sharding/replicas.ts'
import type { ShardObserver } from '../sharding/routing.ts'
import { Shards } from '../sharding/shards.ts'
import { StatementBudget } from '../sharding/statement-budget.ts'
import { askDirectory, directoryName, readMap } from './directory-calls.ts'
import { directoryClient } from './directory-client.ts'
import type { Engine } from './engine.ts'

/** The engine, with the shard map that an isolate keeps between requests. Create one per isolate (`perIsolate`). */
export interface EngineIsolate extends Engine {
  holder: MapHolder
}

export const engineIsolate = (engine: Engine): EngineIsolate => ({
  ...engine,
  holder: new MapHolder(systemClock, engine.leaseMs),
})

/** One request, or one run of a queue or a cron. */
export interface Invocation {
  waitUntil(promise: Promise<unknown>): void
  log?: Log
  /** How long the invocation may make calls. Default: `limits.requestMs` from now. */
  time?: TimeBudget
  /** The newest epoch that the client knows. Default: 0. */
  atLeastEpoch?: number
  /** Plain reads go to the replicas of D1. Without it, every call goes to the primary. */
  replicas?: Replicas
  /** Observes each call of a shard. */
  observer?: ShardObserver
  /** Called for each call of the directory. */
  onDirectoryCall?(): void
}

export interface OpenedShards {
  shards: Shards
  directory: DirectoryClient
  /** Counts the statements that this invocation sends to the shards. */
  budget: StatementBudget
  time: TimeBudget
  /** Call it after the response. Loads a new map if one is due, so that the next request need not wait for it. */
  refreshMap(): Promise<void>
}

/** Opens the shards for one invocation. A failed call of a shard is logged as `shard.error`. */
export function openShards(isolate: EngineIsolate, invocation: Invocation): OpenedShards {
  const {
    waitUntil,
    log = consoleLog({ source: 'shards' }),
    observer = {},
    onDirectoryCall = () => undefined,
    atLeastEpoch = 0,
  } = invocation
  const time = invocation.time ?? new TimeBudget(systemClock, limits.requestMs)
  const budget = new StatementBudget()
  const request: MapRequest = {
    copies: mapCopies(caches.default, directoryName(isolate)),
    log,
    waitUntil,
    source: {
      async map() {
        onDirectoryCall()
        const reply = await askDirectory(isolate, limits.mapLoadTimeoutMs, readMap)
        if ('map' in reply) return reply.map
        throw new BanyanError(reply.code, reply.detail, { retryAfterSeconds: 5 })
      },
    },
  }
  const shards = new Shards({
    clock: systemClock,
    random: systemRandom,
    holder: isolate.holder,
    request,
    shards: budget.meterOnUse(isolate.shards),
    atLeastEpoch,
    time,
    observer: logging(observer, log),
    ...(invocation.replicas ? { replicas: invocation.replicas } : {}),
  })
  return {
    shards,
    directory: directoryClient({ engine: isolate, time, count: onDirectoryCall }),
    budget,
    time,
    refreshMap: () => isolate.holder.refreshIfDue(request),
  }
}

const logging = (observer: ShardObserver, log: Log): ShardObserver => ({
  ...observer,
  async after(call, ms, error) {
    if (error !== null)
      log.warn('shard.error', { shard: call.shard, operation: call.operation, ms, reason: messageOf(error) })
    await observer.after?.(call, ms, error)
  },
})
