import { silence } from './sharding-doubles.ts'

type CacheApi = Pick<Cache, 'match' | 'put' | 'delete'>

/** A Cache API that keeps nothing, like a data centre's before its first request. */
export const emptyCacheApi: CacheApi = {
  match: async () => undefined,
  put: async () => undefined,
  delete: async () => false,
}

/** A Cache API whose calls throw at once, as on a preview's domain. */
export const throwingCacheApi: CacheApi = {
  match: () => refuse('match'),
  put: () => refuse('put'),
  delete: () => refuse('delete'),
}

/** A Cache API whose calls are rejected later. */
export const failingCacheApi: CacheApi = {
  match: async () => refuse('match'),
  put: async () => refuse('put'),
  delete: async () => refuse('delete'),
}

/** A Cache API that never answers. */
export const silentCacheApi: CacheApi = { match: silence, put: silence, delete: silence }

function refuse(operation: string): never {
  throw new Error(`Cache API ${operation}: not available on this domain`)
}
