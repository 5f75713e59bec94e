import { cachified, createBatch, type GetFreshValueContext } from '@epic-web/cachified'
import { type Clock, inTime } from '../core/clock.ts'
import { BanyanError, hasCode, messageOf } from '../core/errors.ts'
import { slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { ReadCache, ReadManyOptions, ReadOptions } from './cache.ts'
import { ageMsMax, type CachePolicy, type Entry, entryOf, freshMs, frozen, parseEntry, staleMs } from './entry.ts'
import type { IsolateCache, Outcome } from './isolate-cache.ts'
import type { Known } from './known-versions.ts'
import type { KvStore } from './kv-store.ts'

export interface ReadThroughOptions {
  isolate: IsolateCache
  kv: KvStore
  clock: Clock
  log: Log
  /** The slots that this client may have written recently. */
  ownSlots: ReadonlySet<string> | 'all'
  /** A plain read may have an answer while exact reads have none, because the shards have replicas. */
  hasReplicas?: boolean
  waitUntil(promise: Promise<unknown>): void
}

/** Hot values are refreshed after this share of their freshness. */
const EARLY_SHARE = 0.8

/** `cache-status` reports this many reads. A list of a hundred entries would be longer than some clients accept. */
const STATUSES_MAX = 8

/** How an entry was found, for `cache-status`. */
interface Found<T> {
  entry: Entry<T>
  outcome: Outcome
  from: 'memory' | 'kv' | 'shard'
}

/** `check`: look for a newer copy in KV only. `load`: if there is none, load the value. */
type Need = 'check' | 'load'

/** Loads a value from its shard. The context is for a batch's load. */
type Load<T> = (context: GetFreshValueContext) => Promise<T | null>

/**
 * The read-through cache of one request: memory, then KV, then the shard. One request loads a value for all readers of
 * the isolate. `@epic-web/cachified` shares that load. Its `ttl` here is how long others may join the load, because a
 * load whose request has ended never settles (docs/caching.md).
 */
export class ReadThroughCache implements ReadCache {
  readonly #options: ReadThroughOptions
  readonly #startedAt: number
  readonly #statuses: string[] = []

  constructor(options: ReadThroughOptions) {
    this.#options = options
    this.#startedAt = options.clock.now()
  }

  async read<T>(key: string, options: ReadOptions<T>): Promise<T | null> {
    const { owner } = options
    if (typeof owner === 'string' && this.#isOwn(owner)) return this.#readOwn(key, options)
    const load = () => options.load('exact')
    const { kv } = this.#options
    const endsAt = this.#now + limits.cacheReadMs
    const found =
      this.#remembered(key, options, load) ??
      this.#admitted(key, await kv.getText(key), options) ??
      (await this.#awaited(key, options, { load, endsAt }).catch((error) => this.#fromReplica(key, options, error)))
    const { value } = found.entry
    // A miss was loaded exactly, after the client's writes.
    if (typeof owner === 'function' && found.outcome !== 'miss' && this.#mayBeOwn(value, owner))
      return this.#readOwn(key, options)
    if (found.outcome === 'stale') this.#refresh(key, options, load, 'load')
    this.#count(key, found, options)
    return value
  }

  /**
   * What a replica has, if the primary is unavailable. It may be old, so it is not kept, and nothing that is missing or
   * older than what this isolate has shown counts.
   */
  async #fromReplica<T>(key: string, options: ReadOptions<T>, error: unknown): Promise<Found<T>> {
    const { hasReplicas, isolate } = this.#options
    if (!hasReplicas || !hasCode(error, 'SHARD_UNAVAILABLE')) throw error
    const entry = entryOf(await options.load('lease'), options, this.#now)
    const known = isolate.known(key)
    const isOld = known !== null && (known.version === null || (entry.version ?? 0) < known.version)
    if (entry.value === null || isOld) throw error
    return { entry, outcome: 'grace', from: 'shard' }
  }

  async readMany<T>(keys: readonly string[], options: ReadManyOptions<T>): Promise<Map<string, T>> {
    const { isolate, kv } = this.#options
    const own = keys.filter((key) => this.#isOwn(options.owner(key)))
    const shared = keys.filter((key) => !own.includes(key))
    const loadOne = (key: string) => async () => (await options.load([key])).get(key) ?? null
    const found = new Map<string, Found<T>>()
    for (const key of shared) {
      const one = this.#remembered(key, options, loadOne(key))
      if (one) found.set(key, one)
    }
    const endsAt = this.#now + limits.cacheReadMs
    for (const [key, text] of await kv.getTexts(shared.filter((key) => !found.has(key)))) {
      const one = this.#admitted(key, text, options)
      if (one) found.set(key, one)
    }
    const missing = shared.filter((key) => !found.has(key))
    const ownAt = this.#now
    const [ownValues, loaded] = await Promise.all([
      own.length > 0 ? options.load(own) : new Map<string, T>(),
      this.#loadTogether(missing, options, loadOne, endsAt),
    ])
    const values = new Map(ownValues)
    for (const key of own) isolate.learn(key, entryOf(values.get(key) ?? null, options, ownAt))
    for (const [key, one] of [...found, ...loaded]) {
      if (one.outcome === 'stale') this.#refresh(key, options, loadOne(key), 'load')
      this.#count(key, one, options)
      if (one.entry.value !== null) values.set(key, one.entry.value)
    }
    isolate.counts.own += own.length
    return values
  }

  write<T>(key: string, value: T | null, policy: CachePolicy<T>): void {
    // Its age counts from before the commit, whose answer may be late.
    const entry = entryOf(value, policy, this.#startedAt)
    // A deletion has no version, so what is known may have been committed after it.
    if (entry.version === null) this.invalidate(key)
    else if (!this.#isOverwritten(entry.version, this.#options.isolate.known(key))) {
      this.#keep(key, entry, policy)
      this.#copy(key, entry, policy)
    }
  }

  /** True if what is known was, or may have been, committed after this request's write. */
  #isOverwritten(version: number, known: Known | null): boolean {
    if (!known) return false
    return known.version === null ? known.at >= this.#startedAt : known.version > version
  }

  invalidate(key: string): void {
    const { isolate, kv, waitUntil } = this.#options
    isolate.memory.delete(key)
    isolate.versions.remember(key, { version: null, at: this.#now }, this.#now)
    waitUntil(kv.delete(key))
  }

  status(): string | null {
    return this.#statuses.length > 0 ? this.#statuses.join(', ') : null
  }

  // ── a client's own slots ──────────────────────────────────────────────────────────────────────

  #isOwn(id: string): boolean {
    const { ownSlots } = this.#options
    return ownSlots === 'all' || ownSlots.has(slotOf(id))
  }

  /** A client who has written may have just created the thing that a negative entry says does not exist. */
  #mayBeOwn<T>(value: T | null, owner: (value: T) => string): boolean {
    if (value !== null) return this.#isOwn(owner(value))
    const { ownSlots } = this.#options
    return ownSlots === 'all' || ownSlots.size > 0
  }

  async #readOwn<T>(key: string, options: ReadOptions<T>): Promise<T | null> {
    const at = this.#now
    const entry = entryOf(await options.load('lease'), options, at)
    const { isolate } = this.#options
    isolate.learn(key, entry)
    isolate.counts.own++
    if (this.#statuses.length < STATUSES_MAX)
      this.#statuses.push(`banyan; fwd=bypass; key="${kindOf(key)}"; detail=own`)
    return entry.value
  }

  // ── what is at hand ───────────────────────────────────────────────────────────────────────────

  /** A fresh entry in memory, or a stale one that may be shown while it is refreshed. Refreshes it if that is due. */
  #remembered<T>(key: string, policy: CachePolicy<T>, load: () => Promise<T | null>): Found<T> | null {
    const held = this.#options.isolate.memory.read(key)
    const now = this.#now
    if (!held || held.entry.at > now + limits.cacheClockSkewMs) return null // the clock has stepped back
    const entry = held.entry as Entry<T>
    if (now >= held.freshUntil)
      return isShowable(entry, policy, now) ? { entry, outcome: 'stale', from: 'memory' } : null
    if (held.reads === limits.cacheCopyReads && !held.isCopied) this.#copy(key, entry, policy)
    const earlyAt = entry.at + EARLY_SHARE * (held.freshUntil - entry.at)
    if (held.reads >= limits.cacheHotReads && now >= earlyAt) this.#refresh(key, policy, load, 'load')
    else if (held.reads >= limits.cacheCheckReads && now - held.checkedAt >= limits.cacheMemoryMs)
      this.#refresh(key, policy, load, 'check')
    return { entry, outcome: 'hit', from: 'memory' }
  }

  /** The entry of a text from KV, kept in memory, or null if it is older than what is known, or too old to show. */
  #admitted<T>(key: string, text: string | null, policy: CachePolicy<T>): Found<T> | null {
    if (text === null) return null
    const entry = parseEntry<T>(text)
    const now = this.#now
    // Nobody puts negative entries into KV. They would arrive there after their time.
    if (!entry || entry.value === null || !isYounger(entry, ageMsMax(entry, policy), now)) return null
    const { isolate } = this.#options
    const held = isolate.memory.peek(key)?.entry
    const isNewer = !held || entry.at > held.at || (entry.version ?? 0) > (held.version ?? Number.POSITIVE_INFINITY)
    if (!isNewer || !isolate.versions.admitsCopy(entry, isolate.known(key))) return null
    this.#keep(key, entry, policy, text)
    if (!isShowable(entry, policy, now)) return null // in memory, it serves if the load fails
    return { entry, outcome: isFresh(entry, policy, now) ? 'hit' : 'stale', from: 'kv' }
  }

  // ── loads ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Waits for a load, because there is no entry to show. Joins the load of another request, but not for long. `again`
   * loads if that one was abandoned.
   */
  async #awaited<T>(
    key: string,
    policy: CachePolicy<T>,
    { load, again = load, endsAt }: { load: Load<T>; again?: Load<T>; endsAt: number },
  ): Promise<Found<T>> {
    const { clock, isolate } = this.#options
    const held = isolate.memory.peek(key)?.entry as Entry<T> | undefined
    // Another request has loaded it while this one asked KV.
    if (held && isFresh(held, policy, this.#now)) return { entry: held, outcome: 'collapsed', from: 'shard' }
    const kept = held && this.#now < held.at + ageMsMax(held, policy) ? held : null
    const deadline = kept ? endsAt - limits.cacheReadMs + limits.cacheSoftMs : endsAt
    for (let tries = 0; ; tries++) {
      const { entry: work, isLeader } = this.#shared(key, policy, tries === 0 ? load : again, endsAt)
      const leftMs = Math.max(0, deadline - this.#now)
      const waitMs = isLeader ? leftMs : Math.min(leftMs, limits.cacheJoinMs)
      try {
        const isBounded = isLeader && !kept // `#loaded` has the time limit
        const entry = isBounded ? await work : await inTime(clock, waitMs, work, () => new LateLoad(key))
        if (!isFresh(entry, policy, this.#now)) return { entry, outcome: 'grace', from: 'memory' }
        // The entry of a failed or overtaken load is not a miss, because it may be older than this request.
        const isLoaded = isLeader && entry.at >= this.#startedAt
        return { entry, outcome: isLoaded ? 'miss' : 'collapsed', from: 'shard' }
      } catch (error) {
        // A timer may end a millisecond early by the clock.
        const isOver = this.#now >= deadline || (error instanceof LateLoad && waitMs === leftMs)
        if (kept && (isOver || isLeader)) return { entry: kept, outcome: 'grace', from: 'memory' }
        // The other request failed for its own reason, or was abandoned. This one, or another waiter, loads instead.
        const mayRetry = !isLeader && !isOver && (error instanceof LateLoad || tries === 0)
        if (!mayRetry) throw error
      }
    }
  }

  /** Loads, in one call, the values that no other request is loading. */
  async #loadTogether<T>(
    keys: string[],
    options: ReadManyOptions<T>,
    loadOne: (key: string) => () => Promise<T | null>,
    endsAt: number,
  ): Promise<[string, Found<T>][]> {
    const batch = createBatch(async (asked: string[]) => {
      const values = await options.load(asked)
      return asked.map((key) => values.get(key) ?? null)
    })
    // A key that another request has loaded meanwhile must not enter the batch, which waits for all of its keys.
    const isHeld = (key: string) => {
      const held = this.#options.isolate.memory.peek(key)?.entry as Entry<T> | undefined
      return held !== undefined && isFresh(held, options, this.#now)
    }
    const loads = keys.map((key) => ({ key, inBatch: isHeld(key) ? loadOne(key) : batch.add(key) }))
    const waits = loads.map(async ({ key, inBatch }): Promise<[string, Found<T>]> => {
      const again = loadOne(key)
      // A mark on `inBatch` tells the batch not to wait for keys that another request is loading.
      const load = Object.assign(once(inBatch, again), inBatch)
      return [key, await this.#awaited(key, options, { load, again, endsAt })]
    })
    return Promise.all(waits)
  }

  /** Renews an entry in the background, unless that is under way. */
  #refresh<T>(key: string, policy: CachePolicy<T>, load: () => Promise<T | null>, need: Need): void {
    const { isolate, waitUntil } = this.#options
    const startedAt = this.#now
    if (!isolate.startsRefresh(key, startedAt)) return
    const ended = () => isolate.endRefresh(key, startedAt)
    // A failure is logged by `#shared`. The entry in memory serves until it is too old.
    // After a failure the mark stays for a while, so that not each stale read asks a failing shard.
    waitUntil(this.#renewed(key, policy, load, need).then(ended, () => undefined))
  }

  async #renewed<T>(key: string, policy: CachePolicy<T>, load: () => Promise<T | null>, need: Need): Promise<void> {
    const { isolate, kv } = this.#options
    if (this.#admitted(key, await kv.getText(key), policy)) return
    const held = isolate.memory.peek(key)
    if (held && need === 'check' && this.#now < held.freshUntil) held.checkedAt = this.#now
    else {
      const entry = await this.#shared(key, policy, load, this.#now + limits.cacheReadMs).entry
      if (!isFresh(entry, policy, this.#now)) throw new LateLoad(key) // the load failed
    }
  }

  /**
   * The entry that one request of the isolate loads for all. `isLeader`: it is this request. If the load fails, the entry
   * in memory serves for its grace period.
   */
  #shared<T>(key: string, policy: CachePolicy<T>, load: Load<T>, endsAt: number) {
    const { waitUntil, log } = this.#options
    const settled = Promise.withResolvers<void>()
    let isLeader = false
    const getFreshValue = (context: GetFreshValueContext) => {
      isLeader = true
      waitUntil(settled.promise) // otherwise the load may end with this request, and its waiters hang
      return this.#loaded(key, policy, () => load(context), endsAt)
    }
    const entry = cachified<Entry<T>>(
      {
        key,
        cache: this.#options.isolate.loads,
        ttl: limits.cacheJoinMs - 1, // the library includes the last millisecond
        forceFresh: true,
        fallbackToCache: policy.ttlMs + policy.graceMs,
        getFreshValue: Object.assign(getFreshValue, load),
      },
      () => (event) => {
        if (event.name !== 'getFreshValueError') return
        log.warn('cache.load-failed', { kind: kindOf(key), reason: messageOf(event.error) })
      },
    ).finally(settled.resolve)
    return { entry, isLeader }
  }

  /** Loads a value and keeps it, unless a newer one is known by now. */
  async #loaded<T>(
    key: string,
    policy: CachePolicy<T>,
    load: () => Promise<T | null>,
    endsAt: number,
  ): Promise<Entry<T>> {
    const { isolate, clock } = this.#options
    for (let tries = 0; ; tries++) {
      const at = this.#now
      const value = await inTime(clock, endsAt - at, load(), () => new LateLoad(key))
      const entry = frozen(entryOf(value, policy, at))
      const held = isolate.memory.peek(key)
      if (isolate.versions.admitsLoad(entry, isolate.known(key))) {
        this.#keep(key, entry, policy)
        if (held && held.reads >= limits.cacheCopyReads) this.#copy(key, entry, policy)
        return entry
      }
      // The value was written or deleted here while it was loaded. If one of the two is negative, and what is held was
      // read before, their order is not known.
      const isOrdered = held && (held.entry.at >= at || (held.entry.version !== null && entry.version !== null))
      if (isOrdered) return held.entry as Entry<T>
      if (tries > 2) return entry
    }
  }

  // ── keeping ───────────────────────────────────────────────────────────────────────────────────

  /** Keeps an entry in memory. `copy`: its text in KV, if it comes from there. */
  #keep<T>(key: string, entry: Entry<T>, policy: CachePolicy<T>, copy?: string): void {
    const { isolate } = this.#options
    const now = this.#now
    const freshUntil = entry.at + freshMs(entry, policy, isolate.nextJitter())
    const held = { entry, freshUntil, keptAt: now, checkedAt: now, reads: 0, isCopied: copy !== undefined }
    isolate.memory.keep(key, held, copy?.length)
  }

  /** Puts an entry into KV, for other isolates. */
  #copy<T>(key: string, entry: Entry<T>, policy: CachePolicy<T>): void {
    if (entry.value === null) return
    const { isolate, kv, waitUntil } = this.#options
    const held = isolate.memory.peek(key)
    if (held) held.isCopied = true
    waitUntil(kv.put(key, entry, (policy.ttlMs + policy.graceMs) / 1_000))
  }

  // ── the rest ──────────────────────────────────────────────────────────────────────────────────

  get #now(): number {
    return this.#options.clock.now()
  }

  #count<T>(key: string, { entry, outcome, from }: Found<T>, policy: CachePolicy<T>): void {
    this.#options.isolate.counts[outcome]++
    if (this.#statuses.length === STATUSES_MAX) return
    const ttl = Math.floor((entry.at + freshMs(entry, policy, 0) - this.#now) / 1_000)
    this.#statuses.push(`banyan; ${said[outcome]}; ttl=${ttl}; key="${kindOf(key)}"; detail=${from}`)
  }
}

/** `cache-status` by outcome (RFC 9211). A negative `ttl` is the age beyond freshness. */
const said: Record<Outcome, string> = {
  hit: 'hit',
  stale: 'hit',
  grace: 'fwd=stale',
  miss: 'fwd=miss; stored',
  collapsed: 'fwd=miss; collapsed',
  own: 'fwd=bypass',
}

/** A key's kind says nothing about a person. */
const kindOf = (key: string): string => key.split(':', 1)[0] ?? ''

/** False for an entry from the future: the clock has stepped back, or another isolate's clock is wrong. */
const isYounger = ({ at }: Entry<unknown>, ms: number, now: number): boolean =>
  now < at + ms && at <= now + limits.cacheClockSkewMs

const isFresh = <T>(entry: Entry<T>, policy: CachePolicy<T>, now: number): boolean =>
  isYounger(entry, freshMs(entry, policy, 0), now)

const isShowable = <T>(entry: Entry<T>, policy: CachePolicy<T>, now: number): boolean =>
  isYounger(entry, freshMs(entry, policy, 0) + staleMs(entry, policy), now)

/** Calls `first` the first time, and `later` from then on. */
function once<C, T>(first: (context: C) => T | Promise<T>, later: () => Promise<T>): (context: C) => Promise<T> {
  let isFirst = true
  return async (context) => {
    if (!isFirst) return later()
    isFirst = false
    return first(context)
  }
}

class LateLoad extends BanyanError {
  constructor(key: string) {
    super('SHARD_UNAVAILABLE', `The load of ${kindOf(key)} did not end in time.`)
  }
}
