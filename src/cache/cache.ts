import type { CachePolicy } from './entry.ts'

/** `exact`: linearizable, so an empty answer proves that the thing does not exist. `lease`: a plain read. */
export type LoadRead = 'exact' | 'lease'

export interface ReadOptions<T> extends CachePolicy<T> {
  /** An id in the slot of the value's owner, or how to find one in the value. Clients do not read their own slots from
   * the cache. Null if no single user owns the value, such as a search. Its readers may miss what they have just written. */
  owner: string | ((value: T) => string) | null
  /** Loads the value from its shard. Null if it does not exist. */
  load(read: LoadRead): Promise<T | null>
}

export interface ReadManyOptions<T> extends CachePolicy<T> {
  /** An id in the slot of the owner of a key's value. */
  owner(key: string): string
  /** Loads the values of these keys exactly, in one batch per shard. Omits those that do not exist. */
  load(keys: string[]): Promise<Map<string, T>>
}

/**
 * The read-through cache, as one request sees it. A key is `<kind>.<form>:<id>`; `form` is a number that changes with
 * the form of the value, because KV may hold values of the previous version of the software. Values are frozen.
 *
 * Lists are neither written nor invalidated. A list's key contains a version that rises with every change of the list,
 * so an old list is never asked for again.
 */
export interface ReadCache {
  /** The value, or null if it does not exist. Throws what `load` throws if no value may be shown in its place. */
  read<T>(key: string, options: ReadOptions<T>): Promise<T | null>
  /** The values of many keys. Those that do not exist are omitted. */
  readMany<T>(keys: readonly string[], options: ReadManyOptions<T>): Promise<Map<string, T>>
  /** Call after the commit, with the committed value, or null if the thing was deleted. */
  write<T>(key: string, value: T | null, policy: CachePolicy<T>): void
  /** Call after the commit if the new value is not at hand. The next read loads it. */
  invalidate(key: string): void
  /** `cache-status` (RFC 9211) of the reads so far, or null if there were none. */
  status(): string | null
}

/** `CACHE=off`: every read is the plain read that the caller would make. */
export const noCache: ReadCache = {
  read: (_key, { load }) => load('lease'),
  readMany: (keys, { load }) => load([...keys]),
  write: () => undefined,
  invalidate: () => undefined,
  status: () => null,
}
