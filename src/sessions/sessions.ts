import type { KvStore } from '../cache/kv-store.ts'
import { type Clock, DAY_MS } from '../core/clock.ts'
import { constantTimeEqual, hmac, sign, verifySigned } from '../core/digest.ts'
import { messageOf } from '../core/errors.ts'
import type { IdSource } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Random } from '../core/random.ts'
import type { RouteOptions } from '../sharding/routing.ts'
import type { ShardDatabase, ShardStatement, Shards, SqlCondition } from '../sharding/shards.ts'
import type { Stamps } from './stamps.ts'
import { formatToken, hashSecret, newSecret, parseToken, type Token } from './tokens.ts'

const USER_AGENT_CHARACTERS_MAX = 256
const STAMP = 'session-stamp'

/** Whom a request acts for. */
export interface Session {
  id: string
  userId: string
}

/** A session that is about to be inserted, and the token that opens it. */
export interface MintedSession extends Session {
  token: string
  secretHash: string
  userAgent: string
  createdAt: number
}

export interface SessionSummary {
  id: string
  createdAt: number
  lastSeenAt: number
  userAgent: string
  current: boolean
}

/** What a token turned out to be. `stamp` is a new second cookie to set; `ended` says that the token was good once. */
export interface Authentication {
  session: Session | null
  stamp: string | null
  ended: boolean
}

interface SessionRow {
  id: string
  userId: string
  secretHash: string
  retrySecretHash: string
  lastSeenAt: number
  idleAt: number
  expiresAt: number
}

/** What KV holds: enough to recognise the token, and nothing that proves the session alive. */
interface Copy {
  userId: string
  hashes: string[]
  expiresAt: number
}

export interface SessionsOptions {
  shards: Shards
  copies: KvStore
  stamps: Stamps
  clock: Clock
  random: Random
  ids: IdSource
  log: Log
  signingKey: string
  waitUntil(promise: Promise<unknown>): void
}

const COLUMNS = `id, user_id AS userId, secret_hash AS secretHash, retry_secret_hash AS retrySecretHash,
  last_seen_at AS lastSeenAt, idle_at AS idleAt, expires_at AS expiresAt`

const copyKey = (sessionId: string) => `session:${sessionId}`

/**
 * Sessions. The row in the user's shard is the truth; KV holds the copy that requests read; a stamp, taken
 * before an exact read of the row, proves that the session lived at most 60 s ago. Writes trust neither: their batch
 * comes from `database`, whose writes the shard checks (INV-6).
 */
export class Sessions {
  readonly #options: SessionsOptions

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  /** Draws a session for a user. It is alive when the batch that carries `insert` has committed. */
  mint(userId: string, userAgent: string): MintedSession {
    const { ids, random, clock } = this.#options
    const id = ids.ownedId(userId)
    const secret = newSecret(random)
    return {
      id,
      userId,
      token: formatToken({ userId, sessionId: id, secret }),
      secretHash: hashSecret(secret),
      userAgent: [...userAgent].slice(0, USER_AGENT_CHARACTERS_MAX).join(''), // never half a character
      createdAt: clock.now(),
    }
  }

  /** The statement that inserts it, where the condition holds. */
  insert(database: ShardDatabase, minted: MintedSession, onlyIf: SqlCondition): ShardStatement {
    const { id, userId, secretHash, userAgent, createdAt } = minted
    const idleAt = createdAt + limits.sessionIdleDays * DAY_MS
    const expiresAt = createdAt + limits.sessionAbsoluteDays * DAY_MS
    return database
      .prepare(
        `INSERT INTO sessions (id, user_id, secret_hash, retry_secret_hash, user_agent, created_at, last_seen_at, idle_at, expires_at)
         SELECT ?, ?, ?, '', ?, ?, ?, ?, ? WHERE ${onlyIf.sql}`,
      )
      .bind(id, userId, secretHash, userAgent, createdAt, createdAt, idleAt, expiresAt, ...onlyIf.values)
  }

  /** Deletes the user's oldest sessions beyond the limit. */
  trim(database: ShardDatabase, userId: string): ShardStatement {
    return database
      .prepare(
        `DELETE FROM sessions WHERE user_id = ?1 AND id NOT IN
         (SELECT id FROM sessions WHERE user_id = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2)`,
      )
      .bind(userId, limits.sessionsPerUserMax)
  }

  /**
   * A second token for a session whose first answer may have been lost; the first token keeps working. It is derived, so
   * that every retry gets the same: one that was given up, and is still under way, takes nobody's token away. `database` is
   * the user's; null when the session has ended since, or the condition doesn't hold any more.
   */
  async remint(database: ShardDatabase, session: Session, onlyIf: SqlCondition): Promise<string | null> {
    const secret = hmac(this.#options.signingKey, `session-retry.${session.id}`)
    const result = await database
      .prepare(
        `UPDATE sessions SET retry_secret_hash = ? WHERE id = ? AND user_id = ? AND expires_at > ? AND ${onlyIf.sql}`,
      )
      .bind(hashSecret(secret), session.id, session.userId, this.#options.clock.now(), ...onlyIf.values)
      .run()
    if (result.meta.changes === 0) return null
    return formatToken({ userId: session.userId, sessionId: session.id, secret })
  }

  /** After the commit: the copy that requests will read, and a stamp, since the row was just written. */
  started(minted: MintedSession): string {
    const expiresAt = minted.createdAt + limits.sessionAbsoluteDays * DAY_MS
    this.#fill(minted.id, { userId: minted.userId, hashes: [minted.secretHash], expiresAt })
    return this.#stamp(minted.id, minted.createdAt)
  }

  /**
   * The database of a signed-in user's slot. Each write carries the session's statement, which aborts the batch with
   * SESSION_ENDED unless the session lives.
   */
  database(session: Session, options: Omit<Partial<RouteOptions>, 'mustHold' | 'keyspace'>): ShardDatabase {
    const sql = 'INSERT INTO session_guard (id, now) VALUES (?, ?)'
    const mustHold = { sql, values: [session.id, this.#options.clock.now()] }
    return this.#options.shards.of(session.userId, { ...options, mustHold })
  }

  /** Whom a token stands for. With a copy in KV and a fresh stamp: one KV read, no database. */
  async authenticate(text: string, stampCookie: string | null): Promise<Authentication> {
    const token = parseToken(text)
    if (!token) return { session: null, stamp: null, ended: false }
    const copy = await this.#options.copies.get<Copy>(copyKey(token.sessionId))
    if (copy && this.#opens(token, copy) && this.#hasFreshStamp(token.sessionId, stampCookie))
      return { session: { id: token.sessionId, userId: token.userId }, stamp: null, ended: false }
    return this.#askShard(token, copy)
  }

  async list(session: Session): Promise<SessionSummary[]> {
    const { results } = await this.#options.shards
      .of(session.userId, { operation: 'sessions.list' })
      .prepare(
        `SELECT id, created_at AS createdAt, last_seen_at AS lastSeenAt, user_agent AS userAgent FROM sessions
         WHERE user_id = ?1 AND idle_at > ?2 AND expires_at > ?2 ORDER BY created_at DESC, id DESC`,
      )
      .bind(session.userId, this.#options.clock.now())
      .all<Omit<SessionSummary, 'current'>>()
    return results.map((row) => ({ ...row, current: row.id === session.id }))
  }

  /** Ends one session of the user. False when there is none by that id. */
  async end(session: Session, sessionId: string): Promise<boolean> {
    const ended = await this.database(session, { operation: 'sessions.end' })
      .prepare('DELETE FROM sessions WHERE id = ? AND user_id = ? RETURNING id')
      .bind(sessionId, session.userId)
      .all<{ id: string }>()
    this.forget(ended.results.map((row) => row.id))
    return ended.results.length === 1
  }

  /** Ends all of the user's sessions but this one. */
  async endOthers(session: Session): Promise<void> {
    const ended = await this.database(session, { operation: 'sessions.end-others' })
      .prepare('DELETE FROM sessions WHERE user_id = ? AND id <> ? RETURNING id')
      .bind(session.userId, session.id)
      .all<{ id: string }>()
    this.forget(ended.results.map((row) => row.id))
  }

  /** After sessions were deleted: their copies go too. Nothing depends on it; it spares a minute of reads. */
  forget(sessionIds: string[]): void {
    for (const id of sessionIds) {
      this.#options.stamps.forget(id)
      this.#options.waitUntil(this.#options.copies.delete(copyKey(id)))
    }
  }

  #opens(token: Token, { userId, hashes, expiresAt }: Copy): boolean {
    const hash = hashSecret(token.secret)
    const isKnown = hashes.map((one) => constantTimeEqual(one, hash)).includes(true)
    return isKnown && userId === token.userId && expiresAt > this.#options.clock.now()
  }

  #hasFreshStamp(sessionId: string, cookie: string | null): boolean {
    const { stamps, clock, signingKey } = this.#options
    const signed = cookie ? (verifySigned(signingKey, STAMP, cookie) as { id: string; at: number } | null) : null
    const signedAt = signed?.id === sessionId ? signed.at : 0
    const age = clock.now() - Math.max(signedAt, stamps.find(sessionId) ?? 0)
    return age >= 0 && age < limits.sessionStampMs
  }

  async #askShard(token: Token, copy: Copy | null): Promise<Authentication> {
    const { shards, clock } = this.#options
    const checkedAt = clock.now()
    const row = await shards
      .of(token.userId, { read: 'exact', operation: 'sessions.check' })
      .prepare(`SELECT ${COLUMNS} FROM sessions WHERE id = ?`)
      .bind(token.sessionId)
      .first<SessionRow>()
    const now = clock.now()
    if (!row || row.expiresAt <= now || row.idleAt <= now) {
      // Nothing is deleted for a token that merely looks like one.
      if (copy) this.forget([token.sessionId])
      return { session: null, stamp: null, ended: true }
    }
    const fresh: Copy = {
      userId: row.userId,
      hashes: [row.secretHash, row.retrySecretHash].filter((hash) => hash !== ''),
      expiresAt: row.expiresAt,
    }
    if (!this.#opens(token, fresh)) return { session: null, stamp: null, ended: false }
    if (!copy || !this.#opens(token, copy)) this.#fill(row.id, fresh)
    if (now - row.lastSeenAt > limits.sessionLastSeenMs) this.#options.waitUntil(this.#seen(row, now))
    return {
      session: { id: row.id, userId: row.userId },
      stamp: this.#stamp(row.id, checkedAt),
      ended: false,
    }
  }

  async #seen(row: SessionRow, now: number): Promise<void> {
    try {
      await this.#options.shards
        .of(row.userId, { operation: 'sessions.seen', idempotent: true })
        .prepare('UPDATE sessions SET last_seen_at = ?, idle_at = min(?, expires_at) WHERE id = ?')
        .bind(now, now + limits.sessionIdleDays * DAY_MS, row.id)
        .run()
    } catch (error) {
      this.#options.log.warn('session.last-seen-not-kept', { reason: messageOf(error) })
    }
  }

  #stamp(sessionId: string, checkedAt: number): string {
    this.#options.stamps.keep(sessionId, checkedAt)
    return sign(this.#options.signingKey, STAMP, { id: sessionId, at: checkedAt })
  }

  #fill(sessionId: string, copy: Copy): void {
    const ttlSeconds = (copy.expiresAt - this.#options.clock.now()) / 1_000
    this.#options.waitUntil(this.#options.copies.put(copyKey(sessionId), copy, ttlSeconds))
  }
}
