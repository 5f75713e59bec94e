import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { MapCopies } from './map-holder.ts'
import type { MapWire } from './shard-map.ts'

/**
 * The data centre's copy of the map, in the Cache API. Its failures are logged and read as "no copy". `deployment` keeps
 * two deployments in one zone apart: the zone's cache is shared.
 */
export function mapCopies(cache: Cache, deployment: string, log: Log): MapCopies {
  // A host that doesn't exist: its URLs are keys, and are never fetched.
  const keyUrl = (key: string) => `https://shard-map.invalid/${deployment}/${encodeURIComponent(key)}`
  return {
    async get(key) {
      try {
        const response = await cache.match(keyUrl(key))
        return response ? ((await response.json()) as MapWire) : null
      } catch (error) {
        log.warn('map.copy-unreadable', { reason: messageOf(error) })
        return null
      }
    },
    async put(key, map, ttlSeconds) {
      try {
        await cache.put(keyUrl(key), Response.json(map, { headers: { 'cache-control': `max-age=${ttlSeconds}` } }))
      } catch (error) {
        log.warn('map.copy-unwritable', { reason: messageOf(error) })
      }
    },
  }
}
