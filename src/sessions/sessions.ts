import type { KvStore } from '../cache/kv-store.ts'
import { type Clock, DAY_MS } from '../core/clock.ts'
import { constantTimeEqual, hmac, sign, verifySigned } from '../core/digest.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import type { IdSource } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Random } from '../core/random.ts'
import { batchByName, rowsOf, type Typed } from '../sharding/named-batch.ts'
import type { RouteOptions } from '../sharding/routing.ts'
import { always, type ShardDatabase, type ShardStatement, type Shards, type SqlCondition } from '../sharding/shards.ts'
import { changedData, dataTooLarge, type SessionData, type SessionDataChange } from './session-data.ts'
import type { Stamps } from './stamps.ts'
import { formatToken, hashSecret, newSecret, parseToken, type Token } from './tokens.ts'

const USER_AGENT_CHARACTERS_MAX = 256
const STAMP = 'session-stamp'

/** The session and the user that a request acts for. */
export interface Session {
  id: string
  userId: string
}

/** A session before its insertion, with its token. */
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

/**
 * The result of checking a token. `stamp` is a new second cookie to set. `ended`: the session has ended or never
 * existed.
 */
export interface Authentication {
  session: Session | null
  stamp: string | null
  ended: boolean
}

interface DataRow {
  data: string
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

/** The copy in KV. It identifies the token, but does not prove that the session is live. */
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
 * Sessions. The row in the user's shard is authoritative. Requests read a copy in KV. A stamp has the time before an
 * exact read of the row, so it proves that the session was live at most 60 s ago. Writes rely on neither, because the
 * shard checks each write of `database` (INV-6).
 */
export class Sessions {
  readonly #options: SessionsOptions

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  /** Creates a session in memory. It is live once the batch with `insert` has committed. */
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

  /** The statement that inserts the session if the condition holds. */
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

  /** The statement that deletes the user's oldest sessions beyond the limit. */
  trim(database: ShardDatabase, userId: string): ShardStatement {
    return database
      .prepare(
        `DELETE FROM sessions WHERE user_id = ?1 AND id NOT IN
         (SELECT id FROM sessions WHERE user_id = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2)`,
      )
      .bind(userId, limits.sessionsPerUserMax)
  }

  /**
   * A second token for a session whose first answer may have been lost. The first token keeps working. The second is
   * derived, so every retry gets the same one, and a late retry does not invalidate it. `database` is the user's, and
   * `also` is sent in the same batch. Null if the session has ended or the condition no longer holds.
   */
  async remint(
    database: ShardDatabase,
    session: Session,
    onlyIf: SqlCondition,
    also: ShardStatement[] = [],
  ): Promise<string | null> {
    const secret = hmac(this.#options.signingKey, `session-retry.${session.id}`)
    const { reminted } = await batchByName(database, {
      reminted: database
        .prepare(
          `UPDATE sessions SET retry_secret_hash = ? WHERE id = ? AND user_id = ? AND expires_at > ? AND ${onlyIf.sql}`,
        )
        .bind(hashSecret(secret), session.id, session.userId, this.#options.clock.now(), ...onlyIf.values),
      also,
    })
    if (reminted.meta.changes === 0) return null
    return formatToken({ userId: session.userId, sessionId: session.id, secret })
  }

  /**
   * The statement that replaces a session by a minted one if the condition holds. The new session has another id and
   * secret, and the times and data of the old one, which the same batch must delete. The statement returns the new
   * session's expiry.
   */
  rotation(
    database: ShardDatabase,
    session: Session,
    { id, secretHash, createdAt }: MintedSession,
    onlyIf: SqlCondition,
  ): Typed<{ expiresAt: number }> {
    const idleAt = createdAt + limits.sessionIdleDays * DAY_MS
    return rowsOf<{ expiresAt: number }>(
      database
        .prepare(
          `INSERT INTO sessions (id, user_id, secret_hash, retry_secret_hash, user_agent, created_at, last_seen_at, idle_at, expires_at, data)
           SELECT ?, user_id, ?, '', user_agent, created_at, ?, min(?, expires_at), expires_at, data FROM sessions
           WHERE id = ? AND user_id = ? AND ${onlyIf.sql} RETURNING expires_at AS expiresAt`,
        )
        .bind(id, secretHash, createdAt, idleAt, session.id, session.userId, ...onlyIf.values),
    )
  }

  /**
   * Statements that end the session of a token, and return its id, if it is the user's and the condition holds. For a
   * log-in, which replaces the session of the browser that sent it.
   */
  replacement(
    database: ShardDatabase,
    userId: string,
    text: string | null,
    onlyIf: SqlCondition,
  ): Typed<{ id: string }>[] {
    const token = text === null ? null : parseToken(text)
    return token?.userId === userId ? [this.#endByToken(database, token, onlyIf)] : []
  }

  /**
   * Ends the session of another user's token, after a log-in has replaced it in the browser. Call it after the commit.
   * The work continues after the response, because the browser no longer has the token.
   */
  endReplaced(userId: string, text: string | null): void {
    const token = text === null ? null : parseToken(text)
    if (token && token.userId !== userId) this.#options.waitUntil(this.#endReplaced(token))
  }

  async #endReplaced(token: Token): Promise<void> {
    const { shards, log } = this.#options
    try {
      const database = shards.of(token.userId, { operation: 'sessions.end-replaced', idempotent: true })
      const { results } = await this.#endByToken(database, token, always).all<{ id: string }>()
      this.forget(results.map(({ id }) => id))
    } catch (error) {
      log.warn('session.replaced-not-ended', { reason: messageOf(error) })
    }
  }

  #endByToken(
    database: ShardDatabase,
    { userId, sessionId, secret }: Token,
    onlyIf: SqlCondition,
  ): Typed<{ id: string }> {
    return rowsOf<{ id: string }>(
      database
        .prepare(
          `DELETE FROM sessions WHERE id = ? AND user_id = ? AND ? IN (secret_hash, retry_secret_hash) AND ${onlyIf.sql}
           RETURNING id`,
        )
        .bind(sessionId, userId, hashSecret(secret), ...onlyIf.values),
    )
  }

  /** Call after the commit. Stores the copy in KV and returns a stamp, because the row was just written. */
  started(minted: MintedSession, expiresAt = minted.createdAt + limits.sessionAbsoluteDays * DAY_MS): string {
    this.#fill(minted.id, { userId: minted.userId, hashes: [minted.secretHash], expiresAt })
    return this.#stamp(minted.id, minted.createdAt)
  }

  /**
   * The database of a signed-in user's slot. Each write carries a statement that aborts the batch with SESSION_ENDED
   * unless the session is live.
   */
  database(session: Session, options: Omit<Partial<RouteOptions>, 'mustHold' | 'keyspace'>): ShardDatabase {
    const sql = 'INSERT INTO session_guard (id, now) VALUES (?, ?)'
    const mustHold = { sql, values: [session.id, this.#options.clock.now()] }
    return this.#options.shards.of(session.userId, { ...options, mustHold })
  }

  /** The session's data, by an exact read. Throws SESSION_ENDED. */
  async readData(session: Session): Promise<SessionData> {
    const database = this.#options.shards.of(session.userId, { read: 'exact', operation: 'sessions.read-data' })
    return this.dataOf(await this.dataQuery(database, session).all<DataRow>())
  }

  /** The query of `readData`, for a batch with other reads. Open the database with `read: 'exact'`. */
  dataQuery(database: ShardDatabase, session: Session): Typed<DataRow> {
    return rowsOf<DataRow>(
      database
        .prepare('SELECT data FROM sessions WHERE id = ?1 AND user_id = ?2 AND idle_at > ?3 AND expires_at > ?3')
        .bind(session.id, session.userId, this.#options.clock.now()),
    )
  }

  /** The data in the answer to `dataQuery`. Throws SESSION_ENDED. */
  dataOf({ results: [row] }: D1Result<DataRow>): SessionData {
    if (!row) throw new BanyanError('SESSION_ENDED')
    return JSON.parse(row.data)
  }

  /**
   * Changes the session's data, with the session's proof. Writers of different keys do not overwrite each other. Throws
   * SESSION_DATA_TOO_LARGE, and then changes nothing.
   */
  async writeData(session: Session, change: SessionDataChange): Promise<void> {
    const database = this.database(session, { operation: 'sessions.write-data', idempotent: true })
    const { meta } = await this.dataChange(database, session, change).run()
    // The batch proves that the row exists.
    if (meta.changes === 0) throw dataTooLarge()
  }

  /** The statement of `writeData`, for a noun's own batch. If the data would be too large, it changes no row. */
  dataChange(database: ShardDatabase, session: Session, change: SessionDataChange): ShardStatement {
    const { sql, values } = changedData(change)
    return database
      .prepare(
        `UPDATE sessions SET data = changed.data FROM (SELECT ${sql} AS data FROM sessions WHERE id = ?) AS changed
         WHERE sessions.id = ? AND length(CAST(changed.data AS BLOB)) <= ?`,
      )
      .bind(...values, session.id, session.id, limits.sessionDataBytesMax)
  }

  /** The session of a token. With a copy in KV and a fresh stamp, this costs one KV read and no database call. */
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

  /** Ends one session of the user. False if the user has no session with this id. */
  async end(session: Session, sessionId: string): Promise<boolean> {
    const ended = await this.database(session, { operation: 'sessions.end' })
      .prepare('DELETE FROM sessions WHERE id = ? AND user_id = ? RETURNING id')
      .bind(sessionId, session.userId)
      .all<{ id: string }>()
    this.forget(ended.results.map((row) => row.id))
    return ended.results.length === 1
  }

  /** Ends all other sessions of the user. */
  async endOthers(session: Session): Promise<void> {
    const ended = await this.database(session, { operation: 'sessions.end-others' })
      .prepare('DELETE FROM sessions WHERE user_id = ? AND id <> ? RETURNING id')
      .bind(session.userId, session.id)
      .all<{ id: string }>()
    this.forget(ended.results.map((row) => row.id))
  }

  /** Deletes the copies of deleted sessions. This is optional: without it, reads accept a stamp for up to a minute. */
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
      // If there is no copy, the token may be forged, so it must not cause deletions.
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
