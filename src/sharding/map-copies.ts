import type { MapCopies } from './map-holder.ts'
import type { MapWire } from './shard-map.ts'

/**
 * The data centre's copy of the map, in the Cache API. `deployment` separates two deployments in one zone, because they
 * share the zone's cache. Rejects if the cache does; the caller treats that as a miss.
 */
export function mapCopies(cache: Cache, deployment: string): MapCopies {
  // A host that doesn't exist. Its URLs are only keys and are never fetched.
  const keyUrl = (key: string) => `https://shard-map.invalid/${deployment}/${encodeURIComponent(key)}`
  return {
    async get(key) {
      const response = await cache.match(keyUrl(key))
      return response ? ((await response.json()) as MapWire) : null
    },
    async put(key, map, ttlSeconds) {
      await cache.put(keyUrl(key), Response.json(map, { headers: { 'cache-control': `max-age=${ttlSeconds}` } }))
    },
  }
}
