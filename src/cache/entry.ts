import { limits } from '../core/limits.ts'

/** A cached value, and what decides whether it may be used. It is stored in KV in this form, as JSON. */
export interface Entry<T> {
  /** Null if the thing does not exist (a negative entry). */
  value: T | null
  /** Rises with every change of the value. Null for a negative entry. */
  version: number | null
  /** Time before the load began, in ms since the epoch. The entry's age counts from it, wherever the entry is kept. */
  at: number
}

/** How long entries of one kind are used, and how two of them compare. */
export interface CachePolicy<T> {
  /** An entry younger than this is fresh. */
  ttlMs: number
  /** For this long after that, a reader gets the stale entry at once, and a refresh runs in the background. */
  staleWhileRevalidateMs: number
  /** For this long after its TTL, a stale entry is used if its refresh fails. At least `staleWhileRevalidateMs`. */
  graceMs: number
  /** A negative entry is used for this long, and never when it is stale. */
  negativeTtlMs: number
  /** A partial value is used for this long, and never when it is stale. By default, no value is partial. */
  partial?: { ttlMs: number; is(value: T): boolean }
  /** Must rise with every change of anything in the value. A sum of such numbers does, too. */
  version(value: T): number
}

/** Checks a policy when the code is loaded. Throws if it could show a value for longer than a client's own slots bypass
 * the cache, or if its times are out of order. */
export function cachePolicy<T>(policy: CachePolicy<T>): CachePolicy<T> {
  const { ttlMs, staleWhileRevalidateMs, graceMs, negativeTtlMs, partial } = policy
  if (Math.max(ttlMs + graceMs, negativeTtlMs, partial?.ttlMs ?? 0) > limits.cacheAgeMsMax)
    throw new Error(
      `A cached value would be shown for longer than ${limits.cacheAgeMsMax} ms. Shorten ttlMs or graceMs.`,
    )
  if (graceMs < staleWhileRevalidateMs)
    throw new Error('graceMs is shorter than staleWhileRevalidateMs. A stale value would be shown without its refresh.')
  return policy
}

/** How long an entry is fresh. The jitter, from 0 to 1, shortens it by up to a tenth, so that entries loaded together
 * do not expire together. */
export const freshMs = <T>({ value }: Entry<T>, policy: CachePolicy<T>, jitter: number): number =>
  (shortMs(value, policy) ?? policy.ttlMs) * (1 - jitter / 10)

/** How long a negative or a partial entry is used; null for others. */
const shortMs = <T>(value: T | null, { negativeTtlMs, partial }: CachePolicy<T>): number | null => {
  if (value === null) return negativeTtlMs
  return partial?.is(value) ? partial.ttlMs : null
}

/** How long after its TTL an entry may be shown while it is refreshed. */
export const staleMs = <T>({ value }: Entry<T>, policy: CachePolicy<T>): number =>
  shortMs(value, policy) === null ? policy.staleWhileRevalidateMs : 0

/** The age up to which an entry may be shown in any case. */
export const ageMsMax = <T>({ value }: Entry<T>, policy: CachePolicy<T>): number =>
  shortMs(value, policy) ?? policy.ttlMs + policy.graceMs

export const entryOf = <T>(value: T | null, policy: CachePolicy<T>, at: number): Entry<T> => ({
  value,
  version: value === null ? null : policy.version(value),
  at,
})

/** The entry in a text from KV, or null if the text has another form. Its value is trusted, because its key names its form. */
export function parseEntry<T>(text: string): Entry<T> | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return null // it is not an entry
  }
  const entry = parsed as Partial<Entry<T>> | null
  const isEntry =
    typeof entry === 'object' &&
    entry !== null &&
    entry.value !== undefined &&
    Number.isFinite(entry.at) &&
    (entry.value === null ? entry.version === null : Number.isFinite(entry.version))
  return isEntry ? (entry as Entry<T>) : null
}

/** Freezes a value and everything in it, because all requests of an isolate share it. */
export function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const part of Object.values(value)) frozen(part)
  return Object.freeze(value)
}
