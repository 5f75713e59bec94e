import type { ShardEntry } from './shard-map.ts'

/**
 * A session over the shards that own a slot one after the other. D1's own session covers one database; this one opens them,
 * and keeps the latest bookmark of all answers, also of those that went around an open session.
 */
export class ShardSession {
  readonly #start: string
  #shard = ''
  #open: D1DatabaseSession | null = null
  /** Where it was opened: what it has seen at least, until its first answer. */
  #openedAt = ''
  /** The latest answer of `#shard`. */
  #seen: string | null = null
  /** As a caller sees it. */
  #bookmark: string | null

  constructor(constraintOrBookmark: string) {
    this.#start = constraintOrBookmark.trim() || 'first-unconstrained'
    this.#bookmark = isConstraint(this.#start) ? null : this.#start
  }

  /** `<shard id>:<D1 bookmark>` of the latest answer; before the first, the bookmark that it was opened with. */
  get bookmark(): string | null {
    return this.#bookmark
  }

  /** Asks a database that has seen all that this session has. */
  ask<R>(shard: ShardEntry, database: D1Database, send: (database: D1DatabaseSession) => Promise<R>): Promise<R> {
    this.#enter(shard)
    return this.#note(shard, this.#on(shard, database), send)
  }

  /** Asks the primary. */
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
    this.#openedAt = this.#shard === '' ? startFor(this.#start, shard) : 'first-primary'
    this.#shard = shard.id
    this.#open = null
    this.#seen = null
  }

  #on(shard: ShardEntry, database: D1Database): D1DatabaseSession {
    const known = this.#open?.getBookmark() ?? this.#openedAt
    const latest = this.#seen !== null && (isConstraint(known) || known < this.#seen) ? this.#seen : known
    // Slots may have left and come back since it was opened: a replica in between lacks them.
    const start = laterOf(latest, shard)
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
    // An answer of a shard that the session has left tells nothing of the one that it is at.
    if (bookmark === null || shard.id !== this.#shard) return answer
    if (this.#seen === null || this.#seen < bookmark) this.#seen = bookmark
    this.#bookmark = `${shard.id}:${this.#seen}`
    return answer
  }
}

const isConstraint = (start: string): boolean => start === 'first-primary' || start === 'first-unconstrained'

/** A bookmark means something to its own shard only; another shard is read at its primary. */
function startFor(constraintOrBookmark: string, shard: ShardEntry): string {
  if (isConstraint(constraintOrBookmark)) return laterOf(constraintOrBookmark, shard)
  const prefix = `${shard.id}:`
  if (!constraintOrBookmark.startsWith(prefix)) return 'first-primary'
  return laterOf(constraintOrBookmark.slice(prefix.length), shard)
}

/**
 * The start, or the map's `minBookmark` of the shard where that is later: where slots were moved to the shard, a replica
 * must have seen them come. D1's bookmarks are lexicographically sortable (developers.cloudflare.com/d1/reference/glossary).
 */
function laterOf(start: string, { minBookmark }: ShardEntry): string {
  if (minBookmark === undefined || start === 'first-primary') return start
  return start === 'first-unconstrained' || start < minBookmark ? minBookmark : start
}
