import { isConstraint, laterStart } from './replicas.ts'
import type { ShardEntry } from './shard-map.ts'

/** The least that a read of a shard must see: a D1 bookmark, or null if any replica will do. */
type FloorOf = (shard: ShardEntry) => string | null

/**
 * A session over the shards that own a slot in turn. D1's session covers one database. This one opens D1's sessions,
 * and keeps the latest bookmark of all answers, including answers that bypassed an open session.
 */
export class ShardSession {
  readonly #start: string
  readonly #floorOf: FloorOf
  #shard = ''
  #open: D1DatabaseSession | null = null
  /** The bookmark at which `#open` was opened. Until its first answer, that is the least that the session has seen. */
  #openedAt = ''
  /** The bookmark of `#shard`'s latest answer. */
  #seen: string | null = null
  /** The bookmark that the caller sees. */
  #bookmark: string | null

  /**
   * `floorOf`: by default the shard's `minBookmark` in the map, because a replica must have seen the slots that moved
   * there.
   */
  constructor(constraintOrBookmark: string, floorOf: FloorOf = ({ minBookmark }) => minBookmark ?? null) {
    this.#floorOf = floorOf
    this.#start = constraintOrBookmark.trim() || 'first-unconstrained'
    this.#bookmark = isConstraint(this.#start) ? null : this.#start
  }

  /**
   * `<shard id>:<D1 bookmark>` of the latest answer. Before the first answer, the bookmark that the session was opened
   * with.
   */
  get bookmark(): string | null {
    return this.#bookmark
  }

  /** D1's bookmark of the latest answer of this shard, or null. */
  seenAt(shard: ShardEntry): string | null {
    return shard.id === this.#shard ? this.#seen : null
  }

  /** Sends to a database that has seen everything this session has. */
  ask<R>(shard: ShardEntry, database: D1Database, send: (database: D1DatabaseSession) => Promise<R>): Promise<R> {
    this.#enter(shard)
    return this.#note(shard, this.#on(shard, database), send)
  }

  /** Sends to the primary. */
  askPrimary<R>(
    shard: ShardEntry,
    database: D1Database,
    send: (database: D1DatabaseSession) => Promise<R>,
  ): Promise<R> {
    this.#enter(shard)
    return this.#note(shard, database.withSession('first-primary'), send)
  }

  #enter(shard: ShardEntry): void {
    if (this.#shard === shard.id) return
    this.#openedAt = this.#shard === '' ? this.#startAt(shard) : 'first-primary'
    this.#shard = shard.id
    this.#open = null
    this.#seen = null
  }

  #on(shard: ShardEntry, database: D1Database): D1DatabaseSession {
    const known = this.#open?.getBookmark() ?? this.#openedAt
    const latest = this.#seen !== null && (isConstraint(known) || known < this.#seen) ? this.#seen : known
    // Slots may have left and returned since the session was opened, and a replica in between lacks them.
    const start = laterStart(latest, this.#floorOf(shard))
    if (this.#open && start === known) return this.#open
    this.#openedAt = start
    this.#open = database.withSession(start)
    return this.#open
  }

  async #note<R>(
    shard: ShardEntry,
    session: D1DatabaseSession,
    send: (database: D1DatabaseSession) => Promise<R>,
  ): Promise<R> {
    const answer = await send(session)
    const bookmark = session.getBookmark()
    // An answer of a shard that the session has left says nothing about the current shard.
    if (bookmark === null || shard.id !== this.#shard) return answer
    if (this.#seen === null || this.#seen < bookmark) this.#seen = bookmark
    this.#bookmark = `${shard.id}:${this.#seen}`
    return answer
  }

  /** A bookmark is valid for its own shard only. Any other shard is read at its primary. */
  #startAt(shard: ShardEntry): string {
    const prefix = `${shard.id}:`
    if (isConstraint(this.#start)) return laterStart(this.#start, this.#floorOf(shard))
    if (!this.#start.startsWith(prefix)) return 'first-primary'
    return laterStart(this.#start.slice(prefix.length), this.#floorOf(shard))
  }
}
