import type { ReadCache } from '../../src/cache/cache.ts'
import type { CachePolicy } from '../../src/cache/entry.ts'
import type { Log } from '../../src/core/log.ts'
import type { MapCopies } from '../../src/sharding/map-holder.ts'
import type { MapWire } from '../../src/sharding/shard-map.ts'
import type { UnkindKv } from '../support/kv-double.ts'
import type { Process } from './processes.ts'
import { CACHE_SCALE, CACHE_SILENT_MS } from './scale.ts'
import type { World } from './world.ts'

/**
 * A data centre's cache. It holds each copy as it was put, until its time to live is over. A put may be lost. A slow
 * put ends within the second by which the last lease exceeds a copy's age.
 */
export class DataCentre {
  readonly held = new Map<string, { text: string; until: number }>()

  get(key: string, now: number): MapWire | null {
    const held = this.held.get(key)
    return held && held.until > now ? (JSON.parse(held.text) as MapWire) : null
  }
}

/** The cache as one isolate sees it. Like the Worker's own, it logs its failures and treats them as "no copy". */
export function copiesOf(world: World, process: Process, centre: DataCentre, log: Log): MapCopies {
  const { scheduler, faults } = world
  const isDue = (probability: number) => {
    const isHit = scheduler.chance(probability) && !faults.isCalm
    if (isHit) world.strike('cache fault')
    return isHit
  }
  return {
    async get(key) {
      await process.clock.sleep(scheduler.between(1, 3))
      // The answer is as old as the question, however late it arrives.
      const copy = centre.get(key, scheduler.now())
      if (isDue(0.03)) {
        log.warn('map.copy-unreadable', { reason: 'the cache failed' })
        return null
      }
      if (isDue(0.02)) {
        await process.clock.sleep(CACHE_SILENT_MS)
        return null
      }
      if (isDue(0.1)) await process.clock.sleep(scheduler.between(20, 1_000))
      return copy
    },
    async put(key, map, ttlSeconds) {
      const text = JSON.stringify(map)
      await process.clock.sleep(isDue(0.1) ? scheduler.between(20, 500) : scheduler.between(1, 5))
      if (!isDue(0.05)) centre.held.set(key, { text, until: scheduler.now() + ttlSeconds * 1_000 })
    },
  }
}

/** KV as one isolate sees it. It is slow, and sometimes never answers. */
export function kvOf(world: World, process: Process, { binding: kv }: UnkindKv): KVNamespace {
  const { scheduler, faults } = world
  const later = async <T>(call: () => Promise<T>): Promise<T> => {
    await process.clock.sleep(scheduler.between(1, 4))
    if (scheduler.chance(0.02) && !faults.isCalm) {
      world.strike('cache fault')
      return new Promise(() => undefined)
    }
    return call()
  }
  return {
    get: (key: string, type: 'json') => later(() => kv.get(key, type)),
    put: (key: string, value: string, options: KVNamespacePutOptions) => later(() => kv.put(key, value, options)),
    delete: (key: string) => later(() => kv.delete(key)),
  } as unknown as KVNamespace
}

/** The cache, with the times of each policy scaled down. */
export function scaledCache(cache: ReadCache): ReadCache {
  return {
    read: (key, options) => cache.read(key, scaled(options)),
    readMany: (keys, options) => cache.readMany(keys, scaled(options)),
    write: (key, value, policy) => cache.write(key, value, scaled(policy)),
    invalidate: (key) => cache.invalidate(key),
    status: () => cache.status(),
  }
}

type Times = Pick<CachePolicy<unknown>, 'ttlMs' | 'staleWhileRevalidateMs' | 'graceMs' | 'negativeTtlMs'>

const scaled = <P extends Times>(policy: P): P => ({
  ...policy,
  ttlMs: policy.ttlMs / CACHE_SCALE,
  staleWhileRevalidateMs: policy.staleWhileRevalidateMs / CACHE_SCALE,
  graceMs: policy.graceMs / CACHE_SCALE,
  negativeTtlMs: policy.negativeTtlMs / CACHE_SCALE,
})
