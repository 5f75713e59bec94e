import { type Clock, inTime } from '../core/clock.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import { type MapWire, ShardMap } from './shard-map.ts'

/** The directory, as an isolate sees it. */
export interface MapSource {
  map(): Promise<MapWire>
}

/** The data centre's copy of the map. One that fails, or does not answer in time, is a miss and is logged. */
export interface MapCopies {
  get(key: string): Promise<MapWire | null>
  put(key: string, map: MapWire, ttlSeconds: number): Promise<void>
}

/** What of the request in hand a load needs. */
export interface MapRequest {
  source: MapSource
  copies: MapCopies
  log: Log
  waitUntil(promise: Promise<unknown>): void
}

export interface HeldMap {
  map: ShardMap
  /** Until when (ms) it vouches for unguarded reads; 0 when its lease has run out and the directory doesn't answer. */
  leaseUntil: number
}

/**
 * The map an isolate holds, with its lease. A warm isolate answers from memory: routing costs no call.
 *
 * The lease is counted from `issuedAt`, or from the moment this isolate asked, whichever is earlier: a fresh answer is
 * then never trusted for longer by an isolate whose clock is behind the directory's.
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
   * The map to route by. `atLeastEpoch` is the newest epoch the caller knows of (its causal token's).
   * Throws DIRECTORY_UNAVAILABLE, or what the directory said, when this isolate has never had a map.
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

  /** True when this isolate has had a map: the databases were migrated and given out. */
  get hasMap(): boolean {
    return this.#held !== null
  }

  get epoch(): number | null {
    return this.#held?.map.epoch ?? null
  }

  /** True while a map that was taken from here may name a shard for an unguarded read. Asked before the read is sent. */
  vouchesFor({ leaseUntil }: HeldMap): boolean {
    return isWithin(leaseUntil - this.#clock.now(), this.#leaseMs)
  }

  /**
   * Asked again when the read's answer has arrived. Its own lease must still run, or the same epoch must have been
   * renewed since: a newer map says nothing of what a read that was held back met at the shard that the old one named.
   */
  stillVouchesFor(held: HeldMap): boolean {
    return this.vouchesFor(held) || (this.#isLeased() && this.#held?.map.epoch === held.map.epoch)
  }

  /** A map newer than `epoch`, or null when the directory has none yet or doesn't answer. */
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

  /** After a response: loads a fresh map when a third of the lease has gone, so that warm requests never wait for one. */
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
   * One load of a kind an isolate at a time. On workerd a promise belongs to the request that made it: should that
   * request end, everyone who waits for the promise hangs. So it is given to `waitUntil`, a waiter that has waited
   * enough loads for itself, and a load that is that old is waited for by nobody.
   */
  async #shared(request: MapRequest, newerThan: number | null): Promise<ShardMap> {
    const key = copyKey(newerThan)
    const loading = this.#loading.get(key)
    if (loading && this.#clock.now() - loading.startedAt < limits.mapWaitMs) {
      const late = new Error('waited enough')
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

  /** From the data centre's copy, else from the directory. With `newerThan` null, whichever still has a lease. */
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

  /** A data centre's cache that does not answer is a miss: the directory is asked instead. */
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
      new BanyanError('DIRECTORY_UNAVAILABLE', 'The directory did not answer in time.', { retryAfterSeconds: 1 })
    try {
      return await inTime(this.#clock, limits.mapLoadTimeoutMs, source.map(), late)
    } catch (error) {
      if (error instanceof BanyanError) throw error
      const detail = `The directory does not answer (${messageOf(error)}).`
      throw new BanyanError('DIRECTORY_UNAVAILABLE', detail, { cause: error, retryAfterSeconds: 1 })
    }
  }

  /** Epochs never fall: an older map than the held one is not taken up, a map of the same epoch renews the lease. */
  #hold(wire: MapWire, askedAt: number): ShardMap {
    const held = this.#held
    if (held && held.map.epoch > wire.epoch) return held.map
    const leaseUntil = this.#leaseUntil(wire, askedAt)
    if (held && held.map.epoch === wire.epoch && held.leaseUntil >= leaseUntil && this.#isLeased()) return held.map
    const map = held?.map.epoch === wire.epoch ? held.map : new ShardMap(wire)
    this.#held = { map, leaseUntil, refreshFrom: leaseUntil - (this.#leaseMs * 2) / 3 }
    return map
  }

  #isLeased(): boolean {
    return this.#held !== null && this.vouchesFor(this.#held)
  }

  /** True for a moment after the directory didn't answer: it isn't asked again before. */
  #isResting(): boolean {
    return isWithin(this.#retryAt - this.#clock.now(), limits.mapRetryMs)
  }

  #leaseUntil(wire: MapWire, askedAt: number): number {
    return Math.min(wire.issuedAt, askedAt) + this.#leaseMs
  }
}

/** True while there is time left; more than there was at first means that the clock has stepped back since. */
const isWithin = (leftMs: number, wholeMs: number): boolean => leftMs > 0 && leftMs <= wholeMs

const copyKey = (newerThan: number | null): string => (newerThan === null ? 'current' : `newer-than=${newerThan}`)

/** How long the data centre keeps a copy of the map. */
export const copySeconds = (leaseMs: number): number =>
  Math.max(1, Math.min(limits.mapDataCentreSecondsMax, Math.floor(leaseMs / 3_000)))
