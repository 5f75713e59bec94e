import type { Clock } from '../core/clock.ts'
import type { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import {
  attemptRowId,
  barStatements,
  type ClaimAttempt,
  type ClaimHolder,
  type ClaimSpec,
  claimKey,
  confirmStatement,
  outcomesOf,
  releaseStatement,
} from './claims.ts'
import type { BuildBatch, GroupDatabase, Slotted } from './grouped-batches.ts'
import type { NamedBatch, Typed } from './named-batch.ts'
import type { Shards } from './shards.ts'

/** One of many claims that are requested together. `key` is the claim's own. */
export interface GroupedClaim extends Slotted, ClaimAttempt {
  kind: string
}

/**
 * The status of a claim after a request. `held`: held by its attempt. `taken`: confirmed for another account, or retired
 * by one. `contended`: reserved by another attempt. `lost`: reserved or retired by another attempt, but expired. Request
 * a lost claim individually with `Claims.reserve`.
 */
export type ClaimStatus = 'held' | 'taken' | 'contended' | 'lost'

export const groupedClaim = (spec: ClaimSpec, { ownerId, attemptId }: ClaimAttempt): GroupedClaim => ({
  key: claimKey(spec),
  kind: spec.kind,
  ownerId,
  attemptId,
})

/** `Claims` for many claims, in one batch per shard, with the same rows and conditions. */
export class GroupedClaims {
  readonly #shards: Shards
  readonly #clock: Clock

  constructor(shards: Shards, clock: Clock) {
    this.#shards = shards
    this.#clock = clock
  }

  /** Reserves each claim, in order. Returns the status and the holder of each. */
  async reserve<C extends GroupedClaim>(
    claims: C[],
  ): Promise<{ status: Map<C, ClaimStatus>; holders: Map<string, ClaimHolder>; failed: Map<C, BanyanError> }> {
    const now = this.#clock.now()
    const outcome = await this.#group(claims, 'claims.reserve-group', (database, some) => ({
      reserved: database
        .prepare(
          `INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at)
           SELECT value ->> 'key', value ->> 'kind', value ->> 'ownerId', value ->> 'attemptId', 'reserved', ?
           FROM json_each(?) WHERE true ORDER BY json_each.key ON CONFLICT (key) DO NOTHING`,
        )
        .bind(now + limits.claimReservationMs, JSON.stringify(some)),
      holders: holdersStatement(database, some),
    }))
    const holders = holdersOf(outcome)
    const holderOf = ({ key }: C) => present(holders.get(key), `the holder of ${key}, which was just reserved`)
    const status = new Map(outcome.done.map((claim) => [claim, statusOf(claim, holderOf(claim), now)]))
    return { status, holders, failed: outcome.failed }
  }

  /** The current holder of each claim, reserved or confirmed, by the claim's key. An exact read. */
  async holders<C extends GroupedClaim>(claims: C[]) {
    const outcome = await this.#group(claims, 'claims.holders-group', (database, some) => ({
      holders: holdersStatement(database, some),
    }))
    return { holders: holdersOf(outcome), failed: outcome.failed }
  }

  /** Run after the owners' batches. Conditional on owner and attempt, like `Claims.confirmStatement`. */
  async confirm<C extends GroupedClaim>(claims: C[]): Promise<Map<C, BanyanError>> {
    const { failed } = await this.#group(claims, 'claims.confirm-group', (database, some) => ({
      confirmed: confirmStatement(database, some),
    }))
    return failed
  }

  /** Releases reservations of attempts that can no longer commit. Bar these attempts first. */
  async release<C extends GroupedClaim>(claims: C[]): Promise<Map<C, BanyanError>> {
    const { failed } = await this.#group(claims, 'claims.release-group', (database, some) => ({
      released: releaseStatement(database, some),
    }))
    return failed
  }

  /** Tells which attempts can never commit, like `Claims.bar`. Attempts whose batch failed are in neither list. */
  async bar<A extends ClaimAttempt>(attempts: A[]): Promise<{ barred: A[]; committed: A[] }> {
    const rows = attempts.map((attempt) => ({ key: attempt.ownerId, attempt }))
    const outcome = await this.#shards.group(
      rows,
      { keyspace: 'users', operation: 'claims.bar-group' },
      (database, some) =>
        barStatements(
          database,
          some.map(({ attempt }) => attempt),
          this.#clock.now(),
        ),
    )
    const outcomes = outcomesOf(outcome.answers)
    const having = (wanted: string) =>
      outcome.done.map(({ attempt }) => attempt).filter((attempt) => outcomes.get(attemptRowId(attempt)) === wanted)
    return { barred: having('barred'), committed: having('taken') }
  }

  #group<C extends GroupedClaim, Batch extends NamedBatch>(
    claims: C[],
    operation: string,
    build: BuildBatch<C, Batch>,
  ) {
    return this.#shards.group(claims, { keyspace: 'claims', operation }, build)
  }
}

type HolderRow = ClaimHolder & { key: string }

const holdersStatement = (database: GroupDatabase, claims: GroupedClaim[]): Typed<HolderRow> =>
  database
    .prepare(
      `SELECT key, owner_id AS ownerId, attempt_id AS attemptId, state, expires_at AS expiresAt FROM claims
       WHERE key IN (SELECT value FROM json_each(?))`,
    )
    .bind(JSON.stringify(claims.map(({ key }) => key)))

const holdersOf = ({ answers }: { answers: { holders: D1Result<HolderRow> }[] }): Map<string, ClaimHolder> =>
  new Map(answers.flatMap(({ holders }) => holders.results.map((row) => [row.key, row])))

function statusOf(claim: GroupedClaim, holder: ClaimHolder, now: number): ClaimStatus {
  if (holder.ownerId === claim.ownerId && holder.attemptId === claim.attemptId) return 'held'
  const isExpired = holder.state !== 'confirmed' && holder.expiresAt <= now
  if (isExpired) return 'lost'
  return holder.state === 'reserved' || holder.ownerId === claim.ownerId ? 'contended' : 'taken'
}
