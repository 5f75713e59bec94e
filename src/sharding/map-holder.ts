import { type Clock, inTime } from '../core/clock.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { type MapWire, ShardMap } from './shard-map.ts'
import { keyspaces } from './sharded-table.ts'

/** The directory, as an isolate sees it. */
export interface MapSource {
  map(): Promise<MapWire>
}

/** The data centre's copy of the map. A failure or timeout is logged and treated as a miss. */
export interface MapCopies {
  get(key: string): Promise<MapWire | null>
  put(key: string, map: MapWire, ttlSeconds: number): Promise<void>
}

/** The parts of the current request that loading a map needs. */
export interface MapRequest {
  source: MapSource
  copies: MapCopies
  log: Log
  waitUntil(promise: Promise<unknown>): void
}

export interface HeldMap {
  map: ShardMap
  /**
   * Until when (ms) the map permits unguarded reads. 0 if it permits none: the lease has expired and the directory does
   * not answer, or the caller knows a newer epoch.
   */
  leaseUntil: number
}

/**
 * The map that an isolate holds, with its lease. A warm isolate answers from memory, so routing costs no call.
 *
 * The lease starts at `issuedAt` or when this isolate asked, whichever is earlier. Therefore an isolate whose clock is
 * behind the directory's never trusts a fresh answer for longer than the lease.
 */
export class MapHolder {
  readonly #clock: Clock
  readonly #leaseMs: number
  #held: { map: ShardMap; leaseUntil: number; refreshFrom: number } | null = null
  readonly #loading = new Map<string, { promise: Promise<ShardMap>; startedAt: number }>()
  #retryAt = 0

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock
    this.#leaseMs = leaseMs
  }

  /**
   * The map to route by. `atLeastEpoch` is the newest epoch that the caller knows, from its causal token. If this
   * isolate has never had a map, throws DIRECTORY_UNAVAILABLE or the directory's error.
   */
  async current(request: MapRequest, atLeastEpoch = 0): Promise<HeldMap> {
    const held = this.#held
    if (held && held.map.epoch >= atLeastEpoch && this.#isLeased()) return held
    if (held && this.#isResting()) return { map: held.map, leaseUntil: 0 }
    try {
      const map = await this.#shared(request, (held?.map.epoch ?? 0) < atLeastEpoch ? atLeastEpoch - 1 : null)
      const now = this.#held
      return { map, leaseUntil: map === now?.map && map.epoch >= atLeastEpoch ? now.leaseUntil : 0 }
    } catch (error) {
      if (!this.#held) throw error
      this.#retryAt = this.#clock.now() + limits.mapRetryMs
      request.log.warn('map.kept-without-lease', { epoch: this.#held.map.epoch, reason: messageOf(error) })
      return { map: this.#held.map, leaseUntil: 0 }
    }
  }

  /** True if this isolate has ever had a map, so the databases are migrated and assigned. */
  get hasMap(): boolean {
    return this.#held !== null
  }

  get epoch(): number | null {
    return this.#held?.map.epoch ?? null
  }

  /** True while this map may name a shard for an unguarded read. Check it before the read is sent. */
  vouchesFor({ leaseUntil }: HeldMap): boolean {
    return isWithin(leaseUntil - this.#clock.now(), this.#leaseMs)
  }

  /**
   * Call this when the answer of a read that used `held` has arrived. True if the lease of `held` is still valid, or if
   * the same epoch has been renewed since. A newer epoch does not count, because the read went to the old map's shard.
   */
  stillVouchesFor(held: HeldMap): boolean {
    if (held.leaseUntil === 0) return false
    return this.vouchesFor(held) || (this.#isLeased() && this.#held?.map.epoch === held.map.epoch)
  }

  /** A map newer than `epoch`. Null if the directory has none yet or does not answer. */
  async newerThan(epoch: number, request: MapRequest): Promise<ShardMap | null> {
    if (this.#held && this.#held.map.epoch > epoch) return this.#held.map
    try {
      const map = await this.#shared(request, epoch)
      return map.epoch > epoch ? map : null
    } catch (error) {
      this.#retryAt = this.#clock.now() + limits.mapRetryMs
      request.log.warn('map.newer-unavailable', { epoch, reason: messageOf(error) })
      return null
    }
  }

  /**
   * Called after a response. Loads a fresh map once a third of the lease has passed, so warm requests never wait for
   * one.
   */
  async refreshIfDue(request: MapRequest): Promise<void> {
    if (!this.#held || this.#clock.now() < this.#held.refreshFrom || this.#isResting()) return
    try {
      await this.#shared(request, null)
    } catch (error) {
      this.#retryAt = this.#clock.now() + limits.mapRetryMs
      request.log.warn('map.refresh-failed', { reason: messageOf(error) })
    }
  }

  /**
   * Runs one load of each kind per isolate at a time. On workerd, a promise belongs to the request that created it, and
   * all waiters hang if that request ends. Therefore the promise is passed to `waitUntil`, a waiter that has waited
   * long enough starts its own load, and no caller waits for a load of that age.
   */
  async #shared(request: MapRequest, newerThan: number | null): Promise<ShardMap> {
    const key = copyKey(newerThan)
    const loading = this.#loading.get(key)
    if (loading && this.#clock.now() - loading.startedAt < limits.mapWaitMs) {
      const late = new Error('waited long enough')
      try {
        return await inTime(this.#clock, limits.mapWaitMs, loading.promise, () => late)
      } catch (error) {
        if (error !== late) throw error
      }
    }
    const own = { promise: this.#load(request, newerThan), startedAt: this.#clock.now() }
    this.#loading.set(key, own)
    const done = () => {
      if (this.#loading.get(key) === own) this.#loading.delete(key)
    }
    request.waitUntil(own.promise.then(done, done))
    return own.promise
  }

  /**
   * Loads the data centre's copy, or otherwise the directory's map. If `newerThan` is null, any copy with a valid lease
   * will do.
   */
  async #load(request: MapRequest, newerThan: number | null): Promise<ShardMap> {
    const key = copyKey(newerThan)
    const askedAt = this.#clock.now()
    const copy = await this.#copy(request, () => request.copies.get(key))
    const epochMin = newerThan === null ? (this.#held?.map.epoch ?? 0) : newerThan + 1
    if (copy && copy.epoch >= epochMin && this.#leaseUntil(copy, askedAt) > this.#clock.now())
      return this.#hold(copy, askedAt)

    const map = await this.#ask(request.source)
    if (newerThan === null || map.epoch > newerThan) {
      const put = () => request.copies.put(key, map, copySeconds(this.#leaseMs))
      request.waitUntil(this.#copy(request, put))
    }
    return this.#hold(map, askedAt)
  }

  /** If the data centre's cache does not answer, that is a miss, and the directory is asked. */
  async #copy<T>({ log }: MapRequest, call: () => Promise<T>): Promise<T | null> {
    try {
      return await inTime(this.#clock, limits.cacheWaitMs, call())
    } catch (error) {
      log.warn('map.copy-failed', { reason: messageOf(error) })
      return null
    }
  }

  async #ask(source: MapSource): Promise<MapWire> {
    const late = () =>
      new BanyanError('DIRECTORY_UNAVAILABLE', 'The directory did not answer in time. Try again.', {
        retryAfterSeconds: 1,
      })
    try {
      return await inTime(this.#clock, limits.mapLoadTimeoutMs, source.map(), late)
    } catch (error) {
      if (error instanceof BanyanError) throw error
      const detail = `The directory does not answer (${messageOf(error)}). Try again.`
      throw new BanyanError('DIRECTORY_UNAVAILABLE', detail, { cause: error, retryAfterSeconds: 1 })
    }
  }

  /**
   * Epochs never fall. An older map than the held one is ignored. A map of the same epoch renews the lease. It replaces
   * one without some keyspace, which a directory of an older version has sent.
   */
  #hold(wire: MapWire, askedAt: number): ShardMap {
    const held = this.#held
    if (held && held.map.epoch > wire.epoch) return held.map
    const leaseUntil = this.#leaseUntil(wire, askedAt)
    const isSame = held?.map.epoch === wire.epoch && !addsKeyspace(held.map, wire)
    if (held && isSame && held.leaseUntil >= leaseUntil && this.#isLeased()) return held.map
    const map = held && isSame ? held.map : new ShardMap(wire)
    this.#held = { map, leaseUntil, refreshFrom: leaseUntil - (this.#leaseMs * 2) / 3 }
    return map
  }

  #isLeased(): boolean {
    return this.#held !== null && this.vouchesFor(this.#held)
  }

  /** True shortly after the directory failed to answer. It is not asked again during that time. */
  #isResting(): boolean {
    return isWithin(this.#retryAt - this.#clock.now(), limits.mapRetryMs)
  }

  #leaseUntil(wire: MapWire, askedAt: number): number {
    return Math.min(wire.issuedAt, askedAt) + this.#leaseMs
  }
}

const addsKeyspace = (map: ShardMap, { runs }: MapWire): boolean =>
  keyspaces.some((keyspace) => runs[keyspace] !== undefined && !map.has(keyspace))

/** True while there is time left. More time than at the start means that the clock has stepped back. */
const isWithin = (leftMs: number, wholeMs: number): boolean => leftMs > 0 && leftMs <= wholeMs

const copyKey = (newerThan: number | null): string => (newerThan === null ? 'current' : `newer-than=${newerThan}`)

/** How long the data centre keeps a copy of the map. */
export const copySeconds = (leaseMs: number): number =>
  Math.max(1, Math.min(limits.mapDataCentreSecondsMax, Math.floor(leaseMs / 3_000)))
