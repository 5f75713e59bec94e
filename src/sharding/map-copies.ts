import type { MapCopies } from './map-holder.ts'
import type { MapWire } from './shard-map.ts'

/**
 * The data centre's copy of the map, in the Cache API. `deployment` keeps two deployments in one zone apart: the zone's
 * cache is shared. Rejects where the cache does; its user takes that for a miss.
 */
export function mapCopies(cache: Cache, deployment: string): MapCopies {
  // A host that doesn't exist: its URLs are keys, and are never fetched.
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
