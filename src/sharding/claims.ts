import type { Clock } from '../core/clock.ts'
import { sha256Hex } from '../core/digest.ts'
import { limits } from '../core/limits.ts'
import { isTaken } from './answers.ts'
import type { GroupDatabase, Slotted } from './grouped-batches.ts'
import { batchByName, onlyRow, rowsOf, type Typed } from './named-batch.ts'
import type { RouteOptions } from './routing.ts'
import {
  affordable,
  always,
  type ShardDatabase,
  type ShardStatement,
  type Shards,
  type ShardWindow,
  type SqlCondition,
} from './shards.ts'

/** A value that must belong to one account. `kind` is the application's name for it, such as `email`. */
export interface ClaimSpec {
  kind: string
  /** Normalised. */
  value: string
}

/** The future account that reserves a value, and its attempt to sign up. */
export interface ClaimAttempt {
  ownerId: string
  attemptId: string
}

/** A claim to give up: what its owner has read of it, so that a later claim of the same value is left alone. */
export interface GivenUpClaim extends ClaimAttempt {
  key: string
}

export interface SettledClaims {
  settled: number
  /** The reasons why some claims could not be settled this time. */
  failures: string[]
}

/** `retired`: its owner has given the value up, and nobody else can take it before `expiresAt`. */
type ClaimState = 'reserved' | 'confirmed' | 'retired'

/** The holder of a claim, as stored in its row. */
export interface ClaimHolder extends ClaimAttempt {
  state: ClaimState
  expiresAt: number
}

/** An expired reservation or retired claim. `key` is the claim's own. */
interface ExpiredClaim extends ClaimAttempt, Slotted {
  expiresAt: number
}

/** The outcome of an attempt. `id` is its row's id. An attempt whose value was given up counts as barred. */
export interface AttemptOutcome {
  id: string
  outcome: 'taken' | 'barred'
}

/** Statements per shard with claims: the query, and a guarded release, confirmation and postponement. */
const CLAIM_SHARD_STATEMENTS = 1 + 2 + 2 + 2
/** Statements per shard with owners: the guard and the bar's two. */
const OWNER_SHARD_STATEMENTS = 3

/** Starts the attempt id of a retired claim that nobody is taking back. Such an attempt is never taken. */
const RETIRED = 'retired-'

/** SQL condition: the claim is retired, and its former owner is not taking it back. */
const IS_GIVEN_UP = `state = 'retired' AND attempt_id >= '${RETIRED}' AND attempt_id < 'retired.'`

/** The column of `AttemptOutcome`. */
const OUTCOME = `iif(outcome = 'taken', 'taken', 'barred') AS outcome`

const HOLDER_COLUMNS = 'owner_id AS ownerId, attempt_id AS attemptId, state, expires_at AS expiresAt'

/** The claim's row key, whose first four digits are its slot. */
export const claimKey = ({ kind, value }: ClaimSpec): string => sha256Hex(`${kind}\0${value}`)

/** The id of the row in the owner's slot that an attempt, or a bar, inserts. */
export const attemptRowId = ({ ownerId, attemptId }: ClaimAttempt) => `${ownerId}.${attemptId}`

/** The first id of an account's attempts for one purpose, and the end of their range. */
const numberedRows = (ownerId: string, purpose: string) =>
  [attemptRowId({ ownerId, attemptId: `${purpose}-` }), attemptRowId({ ownerId, attemptId: `${purpose}.` })] as const

/**
 * Makes values unique across all shards (INV-4): reserve with an expiry, commit the owner's batch, then confirm.
 *
 * An expired reservation may belong to a sign-up that is frozen, or committed but not yet confirmed. A check whether
 * the owner exists would race with it. Therefore the owner's batch inserts a row for its attempt (`takeStatement`), and
 * a process that finds the expired reservation first tries to insert a bar under the same key. Exactly one of the two
 * inserts succeeds.
 *
 * A retired claim works like a reservation with a long expiry. Its attempt is never taken unless the former owner takes
 * the value back, with an attempt that replaces it.
 */
export class Claims {
  readonly #shards: Shards
  readonly #clock: Clock

  constructor(shards: Shards, clock: Clock) {
    this.#shards = shards
    this.#clock = clock
  }

  /**
   * Reserves a value. False if another account has it, is about to get it, or gave it up a short time ago. Repeating it
   * with the same attempt is harmless. The reservation of a value that its owner takes back stays retired until it is
   * confirmed, so that a failure returns the value to nobody else.
   */
  async reserve(spec: ClaimSpec, attempt: ClaimAttempt): Promise<boolean> {
    const key = claimKey(spec)
    const database = this.#shards.of(key, {
      keyspace: 'claims',
      operation: `claims.reserve-${spec.kind}`,
      idempotent: true,
    })
    const expiresAt = this.#clock.now() + limits.claimReservationMs
    const { found } = await batchByName(database, {
      reserved: database
        .prepare(
          `INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at) VALUES (?, ?, ?, ?, 'reserved', ?)
           ON CONFLICT (key) DO NOTHING`,
        )
        .bind(key, spec.kind, attempt.ownerId, attempt.attemptId, expiresAt),
      found: rowsOf<ClaimHolder>(database.prepare(`SELECT ${HOLDER_COLUMNS} FROM claims WHERE key = ?`).bind(key)),
    })
    const claim = onlyRow(found)
    if (claim.ownerId === attempt.ownerId && claim.attemptId === attempt.attemptId) return true
    if (claim.state === 'confirmed') return false
    const isTakenBack = claim.state === 'retired' && claim.ownerId === attempt.ownerId
    if (claim.expiresAt > this.#clock.now() && !isTakenBack) return false
    return this.#contest(spec, key, claim, attempt)
  }

  /** Makes a reservation the owner's. Put it in the batch that creates the account. */
  takeStatement(database: ShardDatabase, attempt: ClaimAttempt, onlyIf: SqlCondition = always): ShardStatement {
    return database
      .prepare(`INSERT INTO claim_attempts (id, outcome, created_at) SELECT ?, 'taken', ? WHERE ${onlyIf.sql}`)
      .bind(attemptRowId(attempt), this.#clock.now(), ...onlyIf.values)
  }

  /**
   * Put it in the owner's batch that gives up the only value of an attempt. A frozen request may then still reserve the
   * value for this attempt, but the reservation is released, not confirmed.
   */
  giveUpAttemptStatement(database: ShardDatabase, attempt: ClaimAttempt, onlyIf: SqlCondition): ShardStatement {
    return database
      .prepare(`UPDATE claim_attempts SET outcome = 'given-up' WHERE id = ? AND ${onlyIf.sql}`)
      .bind(attemptRowId(attempt), ...onlyIf.values)
  }

  /**
   * An attempt of an existing account, with the lowest unused number. A request that is repeated after a crash, or sent
   * twice, continues the same attempt. `rows` are the answer to `attemptsStatement`.
   */
  numberedAttempt(ownerId: string, purpose: string, rows: Pick<AttemptOutcome, 'id'>[]): ClaimAttempt {
    const { length } = attemptRowId({ ownerId, attemptId: `${purpose}-` })
    const numbers = rows.map(({ id }) => Number(id.slice(length)))
    return { ownerId, attemptId: `${purpose}-${Math.max(-1, ...numbers) + 1}` }
  }

  /** The decided attempts of an account for one purpose, for `numberedAttempt`. An exact read, in the owner's slot. */
  attemptsStatement(database: ShardDatabase, ownerId: string, purpose: string): Typed<{ id: string }> {
    return rowsOf<{ id: string }>(
      database
        .prepare('SELECT id FROM claim_attempts WHERE id >= ? AND id < ?')
        .bind(...numberedRows(ownerId, purpose)),
    )
  }

  /**
   * Deletes the attempts of this purpose with lower numbers. Put it in the batch that takes the attempt. The batch of a
   * lower number must not commit after it, so each batch needs a condition of its own.
   */
  forgetEarlierStatement(database: ShardDatabase, attempt: ClaimAttempt, onlyIf: SqlCondition): ShardStatement {
    const { ownerId, attemptId } = attempt
    const purpose = attemptId.slice(0, attemptId.lastIndexOf('-'))
    return database
      .prepare(`DELETE FROM claim_attempts WHERE id >= ? AND id < ? AND id <> ? AND ${onlyIf.sql}`)
      .bind(...numberedRows(ownerId, purpose), attemptRowId(attempt), ...onlyIf.values)
  }

  /** True if a batch failed because its attempt was barred, or had already committed. */
  isAttemptDecided(error: unknown): boolean {
    return isTaken(error, 'claim_attempts')
  }

  /**
   * Run after the owner's batch. The claim then belongs to the owner until released. Conditional on owner and attempt,
   * and repeatable.
   */
  confirmStatement(database: ShardDatabase, key: string, attempt: ClaimAttempt): ShardStatement {
    return database
      .prepare("UPDATE claims SET state = 'confirmed' WHERE key = ? AND owner_id = ? AND attempt_id = ?")
      .bind(key, attempt.ownerId, attempt.attemptId)
  }

  /**
   * Run after the owner's batch has given up a value. Nobody else can take it before `until` (ms). Conditional on owner
   * and attempt, and repeatable. The new attempt id makes a late confirmation of the old attempt harmless.
   */
  retireStatement(database: ShardDatabase, { key, ...attempt }: GivenUpClaim, until: number): ShardStatement {
    return database
      .prepare(
        `UPDATE claims SET state = 'retired', attempt_id = ?, expires_at = ?
         WHERE key = ? AND owner_id = ? AND attempt_id = ?`,
      )
      .bind(`${RETIRED}${attempt.attemptId}`, until, key, attempt.ownerId, attempt.attemptId)
  }

  /** Run after the owner's batch has given up a value, which is then free. Conditional like `retireStatement`. */
  giveUpStatement(database: ShardDatabase, { key, ...attempt }: GivenUpClaim): ShardStatement {
    return database
      .prepare('DELETE FROM claims WHERE key = ? AND owner_id = ? AND attempt_id = ?')
      .bind(key, attempt.ownerId, attempt.attemptId)
  }

  /** Releases the reservation of an attempt that failed. A value that its owner tried to take back stays retired. */
  async release(spec: ClaimSpec, attempt: ClaimAttempt): Promise<void> {
    const key = claimKey(spec)
    const operation = `claims.release-${spec.kind}`
    const database = this.#shards.of(key, { keyspace: 'claims', operation, idempotent: true })
    await this.#releaseStatement(database, key, attempt).run()
  }

  /** The row of a claim. An exact read. */
  async findHolder(spec: ClaimSpec): Promise<ClaimHolder | null> {
    const key = claimKey(spec)
    return this.#shards
      .of(key, { keyspace: 'claims', operation: `claims.find-holder-${spec.kind}`, read: 'exact' })
      .prepare(`SELECT ${HOLDER_COLUMNS} FROM claims WHERE key = ?`)
      .bind(key)
      .first<ClaimHolder>()
  }

  /** The account that holds a value, or is about to. It may not exist (yet). Null if the account has given it up. */
  async findOwner(spec: ClaimSpec, read: RouteOptions['read'] = 'lease'): Promise<string | null> {
    const key = claimKey(spec)
    return this.#shards
      .of(key, { keyspace: 'claims', operation: 'claims.find-owner', read })
      .prepare(`SELECT owner_id FROM claims WHERE key = ? AND NOT (${IS_GIVEN_UP})`)
      .bind(key)
      .first<string>('owner_id')
  }

  /**
   * Settles expired reservations and retired claims, oldest first, so that no claim stays without its account. Those of
   * attempts that never committed are released; the others are confirmed. If a claim cannot be settled now because its
   * owner's shard takes no writes, it is queued behind the others.
   */
  async settleExpired(window?: ShardWindow): Promise<SettledClaims> {
    const { values, failed } = await this.#shards.each(
      'claims',
      async (shard) => {
        const { results } = await shard.run<ExpiredClaim>(
          // Each OR term has its own partial index.
          `SELECT key, owner_id AS ownerId, attempt_id AS attemptId, expires_at AS expiresAt FROM claims
           WHERE ((state = 'reserved' AND expires_at <= ?1) OR (state = 'retired' AND expires_at <= ?1))
             AND ${shard.ownedHere('key')} ORDER BY expires_at LIMIT ?2`,
          this.#clock.now(),
          limits.cronClaimsMax,
        )
        return results
      },
      affordable(window, CLAIM_SHARD_STATEMENTS + OWNER_SHARD_STATEMENTS),
    )
    const kept = values.length * (CLAIM_SHARD_STATEMENTS - 1)
    const owners = Math.floor(((window?.budget?.left ?? Number.POSITIVE_INFINITY) - kept) / OWNER_SHARD_STATEMENTS)
    const oldest = values.flat().sort((one, other) => one.expiresAt - other.expiresAt)
    const chosen = oldest.slice(0, Math.max(0, Math.min(limits.cronClaimsMax, owners)))
    const unsettled = await this.#settle(chosen)
    await this.#queueAnew([...unsettled.keys()])
    const failures = [...failed.map(({ shard, error }) => `${shard}: ${error}`), ...new Set(unsettled.values())]
    return { settled: chosen.length - unsettled.size, failures }
  }

  /** Moves these claims to the end of the queue. They stay expired for any contender. */
  async #queueAnew(claims: Slotted[]): Promise<void> {
    const now = this.#clock.now()
    await this.#shards.group(claims, { keyspace: 'claims', operation: 'claims.queue-anew' }, (database, some) => ({
      postponed: database
        .prepare(
          `UPDATE claims SET expires_at = ? WHERE key IN (SELECT value FROM json_each(?))
             AND state <> 'confirmed' AND expires_at < ?`,
        )
        .bind(now, JSON.stringify(some.map(({ key }) => key)), now),
    }))
  }

  /**
   * Bars the attempts, then releases or confirms their claims, in one batch per shard. Resolves to the unsettled claims
   * and the reasons.
   */
  async #settle(claims: ExpiredClaim[]): Promise<Map<ExpiredClaim, string>> {
    const unsettled = new Map<ExpiredClaim, string>()
    const attempts = claims.map((claim) => ({ key: claim.ownerId, claim }))
    const bars = await this.#shards.group(
      attempts,
      { keyspace: 'users', operation: 'claims.bar-expired' },
      (database, some) =>
        barStatements(
          database,
          some.map(({ claim }) => claim),
          this.#clock.now(),
        ),
    )
    for (const [{ claim }, error] of bars.failed) unsettled.set(claim, error.message)
    const outcomes = outcomesOf(bars.answers)
    const having = (outcome: string) =>
      bars.done.map(({ claim }) => claim).filter((claim) => outcomes.get(attemptRowId(claim)) === outcome)
    for (const [decided, build] of [
      [having('barred'), releaseStatement],
      [having('taken'), confirmStatement],
    ] as const) {
      const { failed } = await this.#shards.group(
        decided,
        { keyspace: 'claims', operation: 'claims.settle' },
        (database, some) => ({ settled: build(database, some) }),
      )
      for (const [claim, error] of failed) unsettled.set(claim, error.message)
    }
    return unsettled
  }

  /** Takes the claim if the attempt in its row can no longer commit. The row is expired, or the attempt's owner's. */
  async #contest(spec: ClaimSpec, key: string, held: ClaimHolder, attempt: ClaimAttempt): Promise<boolean> {
    const isBarred = await this.bar(held)
    const database = this.#shards.of(key, {
      keyspace: 'claims',
      operation: `claims.contest-${spec.kind}`,
      idempotent: true,
    })
    if (!isBarred) {
      await this.confirmStatement(database, key, held).run()
      return false
    }
    const now = this.#clock.now()
    const keepsRetired = held.expiresAt > now
    const expiresAt = now + limits.claimReservationMs
    const { found } = await batchByName(database, {
      taken: database
        .prepare(
          `UPDATE claims SET owner_id = ?, attempt_id = ?, state = ?, expires_at = ?
           WHERE key = ? AND owner_id = ? AND attempt_id = ? AND state = ?`,
        )
        .bind(
          attempt.ownerId,
          attempt.attemptId,
          keepsRetired ? 'retired' : 'reserved',
          keepsRetired ? Math.max(held.expiresAt, expiresAt) : expiresAt,
          key,
          held.ownerId,
          held.attemptId,
          held.state,
        ),
      found: rowsOf<ClaimAttempt>(
        database.prepare('SELECT owner_id AS ownerId, attempt_id AS attemptId FROM claims WHERE key = ?').bind(key),
      ),
    })
    const [holder] = found.results
    return holder?.ownerId === attempt.ownerId && holder.attemptId === attempt.attemptId
  }

  #releaseStatement(database: ShardDatabase, key: string, attempt: ClaimAttempt): ShardStatement {
    return database
      .prepare("DELETE FROM claims WHERE key = ? AND owner_id = ? AND attempt_id = ? AND state = 'reserved'")
      .bind(key, attempt.ownerId, attempt.attemptId)
  }

  /** True if the attempt can never commit, because this bar or an earlier one has its row's key. */
  async bar(attempt: ClaimAttempt): Promise<boolean> {
    const database = this.#shards.of(attempt.ownerId, { operation: 'claims.bar', idempotent: true })
    const { found } = await batchByName(database, {
      barred: database
        .prepare(
          "INSERT INTO claim_attempts (id, outcome, created_at) VALUES (?, 'barred', ?) ON CONFLICT (id) DO NOTHING",
        )
        .bind(attemptRowId(attempt), this.#clock.now()),
      found: rowsOf<Pick<AttemptOutcome, 'outcome'>>(
        database.prepare(`SELECT ${OUTCOME} FROM claim_attempts WHERE id = ?`).bind(attemptRowId(attempt)),
      ),
    })
    return onlyRow(found).outcome === 'barred'
  }
}

// ── statements for the claims and attempts of one shard ───────────────────────────────────────────

/** Bars undecided attempts, and returns the outcome of each attempt (`AttemptOutcome`). */
export function barStatements(database: GroupDatabase, attempts: ClaimAttempt[], now: number) {
  const ids = JSON.stringify(attempts.map(attemptRowId))
  return {
    barred: database
      .prepare(
        `INSERT INTO claim_attempts (id, outcome, created_at) SELECT value, 'barred', ? FROM json_each(?)
         WHERE true ON CONFLICT (id) DO NOTHING`,
      )
      .bind(now, ids),
    outcomes: rowsOf<AttemptOutcome>(
      database
        .prepare(`SELECT id, ${OUTCOME} FROM claim_attempts WHERE id IN (SELECT value FROM json_each(?))`)
        .bind(ids),
    ),
  }
}

/** The answers of `barStatements`: the outcome of each attempt, by its row's id. */
export const outcomesOf = (answers: { outcomes: D1Result<AttemptOutcome> }[]): Map<string, string> =>
  new Map(answers.flatMap(({ outcomes }) => outcomes.results.map(({ id, outcome }) => [id, outcome])))

/** Like `Claims.confirmStatement`, but for several claims. */
export const confirmStatement = (database: GroupDatabase, claims: (ClaimAttempt & Slotted)[]): ShardStatement =>
  database
    .prepare(
      `UPDATE claims SET state = 'confirmed' FROM json_each(?) AS asked
       WHERE claims.key = asked.value ->> 'key' AND owner_id = asked.value ->> 'ownerId'
         AND attempt_id = asked.value ->> 'attemptId' AND state <> 'confirmed'`,
    )
    .bind(JSON.stringify(claims))

/** Releases reservations and retired claims whose attempts can no longer commit. Bar these attempts first. */
export const releaseStatement = (database: GroupDatabase, claims: (ClaimAttempt & Slotted)[]): ShardStatement =>
  database
    .prepare(
      `DELETE FROM claims WHERE state <> 'confirmed' AND (key, owner_id, attempt_id) IN
         (SELECT value ->> 'key', value ->> 'ownerId', value ->> 'attemptId' FROM json_each(?))`,
    )
    .bind(JSON.stringify(claims))
