import type { z } from '@hono/zod-openapi'
import { sha256Hex } from '../../core/digest.ts'
import { type BanyanError, hasCode, messageOf } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { present } from '../../core/present.ts'
import { DatabaseError } from '../../sharding/answers.ts'
import { attemptRowId, type ClaimAttempt, type ClaimSpec, claimKey } from '../../sharding/claims.ts'
import type { GroupDatabase } from '../../sharding/grouped-batches.ts'
import { type ClaimStatus, type GroupedClaim, GroupedClaims, groupedClaim } from '../../sharding/grouped-claims.ts'
import { rowsOf, type Typed } from '../../sharding/named-batch.ts'
import type { Tiers } from '../../web/context.ts'
import type { claimKinds } from '../accounts/accounts.ts'
import { NO_PASSWORD } from '../accounts/passwords.ts'
import { searchName } from '../profiles/names.ts'
import type { Refusal } from './fields.ts'
import { claimSpecsOf, idOf, isRefusal, type Newcomer, readRecord } from './records.ts'
import type { importOutcome, importShape } from './shapes.ts'

export type ImportTiers = Pick<Tiers, 'shards' | 'claims' | 'clock' | 'log'>
export type ImportRequest = z.infer<typeof importShape>

export type ImportOutcome = z.infer<typeof importOutcome>

/** A user during an import. `key` is the user's id, which determines the slot. */
interface Candidate {
  key: string
  user: Newcomer
  specs: ClaimSpec[]
  attempt: ClaimAttempt
  /** The claims of this attempt. Empty if an earlier attempt created the account with other claims. */
  claims: GroupedClaim[]
  /** Set once the outcome is decided. */
  outcome?: ImportOutcome
}

/**
 * Imports users from another application, in a few batches per shard. Each user gets an id derived from its source, an
 * account, a profile, and claims on the e-mail address, the handle and the external id. Repeating a request changes
 * nothing. Sends no mail.
 *
 * Like a sign-up, it reserves the claims, commits the user's rows and the attempt's row, and confirms the claims. All
 * requests for one user with the same claims share an attempt, so crashed, repeated and concurrent requests create one
 * account. If an attempt was barred, the next request uses the next attempt. Other claims, for example after a
 * correction, make another attempt. At most one attempt per user is taken, and only its claims are confirmed. After a
 * crash, the cron confirms reservations of committed users. Outbox rows for this would double the number of written
 * rows.
 */
export async function importUsers(tiers: ImportTiers, { source, users }: ImportRequest): Promise<ImportOutcome[]> {
  const now = tiers.clock.now()
  const claims = new GroupedClaims(tiers.shards, tiers.clock)
  const candidates = new Map<string, Candidate>()
  const asked = users.map((record) => {
    const user = readRecord(record, now)
    if (isRefusal(user)) return refused(record.externalId, user)
    const candidate = candidateFor(source, user)
    if (candidates.has(candidate.key)) return refused(user.externalId, twice)
    candidates.set(candidate.key, candidate)
    return candidate
  })
  const all = [...candidates.values()]
  await putOffWhatIsTooMuch(tiers, all)
  await findEarlier(tiers, undecided(all))
  await reserve(tiers, claims, undecided(all))
  await commit(tiers, claims, undecided(all), now)
  await confirm(
    claims,
    all.filter((one) => isHere(one.outcome)),
  )
  await giveUp(
    claims,
    all.filter(({ outcome }) => outcome?.outcome === 'refused'),
  )
  return asked.map((one) => ('key' in one ? outcomeOf(one) : one))
}

const outcomeOf = ({ key, outcome }: Candidate): ImportOutcome => present(outcome, `the outcome of ${key}`)

const twice: Refusal = {
  code: 'EXTERNAL_ID_TWICE',
  detail: 'Another user of this request has the same external id. Send each user once.',
}

const undecided = (candidates: Candidate[]) => candidates.filter(({ outcome }) => !outcome)
const isHere = (outcome?: ImportOutcome) => outcome?.outcome === 'imported' || outcome?.outcome === 'there'

function candidateFor(source: string, user: Newcomer): Candidate {
  const key = idOf(source, user)
  const specs = claimSpecsOf(source, user)
  return { key, user, specs, ...attemptAt(key, specs, 0) }
}

/** The attempts for one user and one set of claims are numbered, so equal requests share an attempt. */
function attemptAt(ownerId: string, specs: ClaimSpec[], number: number): Pick<Candidate, 'attempt' | 'claims'> {
  const attempt = { ownerId, attemptId: `import-${number}-${digestOf(specs)}` }
  return { attempt, claims: specs.map((spec) => groupedClaim(spec, attempt)) }
}

const DIGEST_DIGITS = 16

const digestOf = (specs: ClaimSpec[]): string => sha256Hex(specs.map(claimKey).join()).slice(0, DIGEST_DIGITS)

// ── a user's outcome ──────────────────────────────────────────────────────────────────────────────

const refused = (externalId: string, { code, detail }: Refusal): ImportOutcome => ({
  externalId,
  outcome: 'refused',
  id: null,
  hasPassword: false,
  code,
  detail,
})

function decide(candidate: Candidate, outcome: ImportOutcome['outcome'], reason?: Refusal): void {
  const { user, key } = candidate
  const id = outcome === 'imported' || outcome === 'there' ? key : null
  const hasPassword = user.passwordHash !== NO_PASSWORD
  candidate.outcome = { externalId: user.externalId, outcome, id, hasPassword, ...reason }
}

const postpone = (candidate: Candidate, code: string, detail: string) => decide(candidate, 'busy', { code, detail })

/**
 * The account was created before, by the attempt of this row. If that attempt had other claims, the candidate's claims
 * are removed and returned, for release.
 */
function meetAccount(candidate: Candidate, takenId: string): GroupedClaim[] {
  decide(candidate, 'there')
  return takenId === attemptRowId(candidate.attempt) ? [] : candidate.claims.splice(0)
}

/** Refuses a user that the database would always refuse. Other failures are `busy`, including a read-only database. */
function fail(candidate: Candidate, error: BanyanError): void {
  const { code, advice: detail } = error
  const isReadOnly = error instanceof DatabaseError && error.sqliteCode === 'SQLITE_READONLY'
  const isPermanent = !isReadOnly && hasCode(error, 'DATABASE_CONSTRAINT', 'DATABASE_ERROR', 'ROW_TOO_LARGE')
  decide(candidate, isPermanent ? 'refused' : 'busy', { code, detail })
}

// ── the steps ─────────────────────────────────────────────────────────────────────────────────────

/**
 * Postpones users beyond the limit. An invocation may send 1,000 queries, and on many shards few users share a batch.
 */
async function putOffWhatIsTooMuch({ shards }: ImportTiers, candidates: Candidate[]): Promise<void> {
  const { shards: list } = await shards.map()
  if (list.length <= limits.importShardsMax) return
  for (const candidate of candidates.slice(limits.importUsersScatteredMax))
    postpone(
      candidate,
      'TOO_MANY',
      `With ${list.length} shards, one request may have ${limits.importUsersScatteredMax} users. Send the others in another request.`,
    )
}

interface AttemptRow {
  ownerId: string
  id: string
  outcome: 'taken' | 'barred'
}

/** SQL condition: the row is an import's attempt for this owner, with any claims. */
const isAttemptAt = (owner: string) =>
  `claim_attempts.id >= ${owner} || '.import-' AND claim_attempts.id < ${owner} || '.import.'`

const attemptsStatement = (database: GroupDatabase, candidates: Candidate[]): Typed<AttemptRow> =>
  database
    .prepare(
      `SELECT owner.value AS ownerId, claim_attempts.id, outcome FROM json_each(?) AS owner CROSS JOIN claim_attempts
       ON ${isAttemptAt('owner.value')}`,
    )
    .bind(JSON.stringify(candidates.map(({ key }) => key)))

/**
 * Users that were imported before are `there`. If attempts with these claims were barred, the user gets the next one.
 */
async function findEarlier({ shards }: ImportTiers, candidates: Candidate[]): Promise<void> {
  const { answers, failed } = await shards.group(
    candidates,
    { keyspace: 'users', operation: 'imports.find-earlier' },
    (database, some) => ({ attempts: attemptsStatement(database, some) }),
  )
  const earlier = answers.flatMap(({ attempts }) => attempts.results)
  const byOwner = Map.groupBy(earlier, ({ ownerId }) => ownerId)
  for (const candidate of candidates) {
    const error = failed.get(candidate)
    if (error) {
      fail(candidate, error)
      continue
    }
    const { key, specs } = candidate
    const attempts = byOwner.get(key) ?? []
    const taken = attempts.find(({ outcome }) => outcome === 'taken')
    const numbers = attempts.filter(({ id }) => id.endsWith(`-${digestOf(specs)}`)).map(numberOf)
    const number = taken ? numberOf(taken) : Math.max(-1, ...numbers) + 1
    Object.assign(candidate, attemptAt(key, specs, number))
    if (taken) meetAccount(candidate, taken.id)
  }
}

/** `<owner id>.import-<number>-<digest>` */
const numberOf = ({ id }: AttemptRow): number => Number(id.split('-')[1])

/** By the kind of the claim. */
const takenCodes = new Map<string, Refusal & { fix: string }>(
  Object.entries({
    external: {
      code: 'EXTERNAL_ID_TAKEN',
      detail: 'This external id was imported before, with another createdAt, as ',
      fix: 'Send the first createdAt, or omit the user.',
    },
    email: {
      code: 'EMAIL_TAKEN',
      detail: 'The e-mail address belongs to ',
      fix: 'Send another address, or omit the user.',
    },
    handle: { code: 'HANDLE_TAKEN', detail: 'The handle belongs to ', fix: 'Send another handle, or omit the user.' },
  } satisfies Record<(typeof claimKinds)[number], Refusal & { fix: string }>),
)

async function reserve(tiers: ImportTiers, claims: GroupedClaims, candidates: Candidate[]): Promise<void> {
  const { status, holders, failed } = await claims.reserve(candidates.flatMap((candidate) => candidate.claims))
  let contests = 0
  for (const candidate of candidates) {
    const error = candidate.claims.map((claim) => failed.get(claim)).find((found) => found !== undefined)
    if (error) {
      postpone(candidate, error.code, error.advice)
      continue
    }
    // A claim that did not fail has a status, and a taken claim has a holder.
    const statuses: [GroupedClaim, ClaimStatus][] = candidate.claims.map((claim) => [
      claim,
      present(status.get(claim), 'the status of a claim'),
    ])
    const taken = statuses.find(([, how]) => how === 'taken')
    if (taken) {
      const { code, detail, fix } = present(takenCodes.get(taken[0].kind), 'the code of a taken claim')
      decide(candidate, 'refused', {
        code,
        detail: `${detail}${present(holders.get(taken[0].key), 'the holder of a taken claim').ownerId}. ${fix}`,
      })
      continue
    }
    const lost = statuses.filter(([, how]) => how === 'lost').map(([claim]) => claim)
    contests += lost.length
    const isContended = statuses.some(([, how]) => how === 'contended') || contests > limits.importContestsMax
    if (isContended || !(await contest(tiers, candidate, lost)))
      postpone(
        candidate,
        'CLAIM_RESERVED',
        'A sign-up or another import has reserved one of its claims. Send the user again.',
      )
  }
}

/** Reserves one by one, as a sign-up does, because an expired attempt may have committed. False if lost or unknown. */
async function contest(
  { claims, log }: ImportTiers,
  { specs, attempt }: Candidate,
  lost: GroupedClaim[],
): Promise<boolean> {
  try {
    for (const spec of specs)
      if (lost.some(({ kind }) => kind === spec.kind) && !(await claims.reserve(spec, attempt))) return false
    return true
  } catch (error) {
    log.warn('import.not-contested', { reason: messageOf(error) })
    return false
  }
}

/**
 * Writes account, profile and the attempt's row in one batch per shard. Skips a user if an attempt has already taken
 * effect, or if this attempt is barred.
 */
async function commit(tiers: ImportTiers, claims: GroupedClaims, candidates: Candidate[], now: number): Promise<void> {
  const isOpen = `NOT EXISTS (SELECT 1 FROM claim_attempts WHERE ${isAttemptAt("(value ->> 'id')")}
    AND (outcome = 'taken' OR claim_attempts.id = value ->> 'attempt'))`
  const { answers, failed } = await tiers.shards.group(
    candidates,
    { keyspace: 'users', operation: 'imports.commit' },
    (database, some) => ({
      accounts: rowsOf<{ id: string }>(
        database
          .prepare(
            `INSERT INTO accounts (id, email, email_verified_at, password_hash, password_version, created_at)
             SELECT value ->> 'id', value ->> 'email', value ->> 'emailVerifiedAt', value ->> 'passwordHash', 1,
               value ->> 'createdAt' FROM json_each(?) WHERE ${isOpen} RETURNING id`,
          )
          .bind(JSON.stringify(some.map((candidate) => accountOf(candidate, now)))),
      ),
      profiles: database
        .prepare(
          `INSERT INTO profiles (id, handle, display_name, bio, created_at, version, search_name)
           SELECT value ->> 'id', value ->> 'handle', value ->> 'displayName', value ->> 'bio', value ->> 'createdAt', 1,
             value ->> 'searchName' FROM json_each(?) WHERE ${isOpen}`,
        )
        .bind(JSON.stringify(some.map((candidate) => profileOf(candidate, now)))),
      taken: database
        .prepare(
          `INSERT INTO claim_attempts (id, outcome, created_at) SELECT value ->> 'attempt', 'taken', ? FROM json_each(?)
           WHERE ${isOpen}`,
        )
        .bind(now, JSON.stringify(some.map(attemptOf))),
      attempts: attemptsStatement(database, some),
    }),
  )
  const inserted = new Set(answers.flatMap(({ accounts }) => accounts.results.map(({ id }) => id)))
  const taken = new Map(
    answers
      .flatMap(({ attempts }) => attempts.results)
      .filter(({ outcome }) => outcome === 'taken')
      .map(({ ownerId, id }) => [ownerId, id]),
  )
  const surplus: GroupedClaim[] = []
  for (const candidate of candidates) {
    const error = failed.get(candidate)
    const takenId = taken.get(candidate.key)
    if (error) fail(candidate, error)
    else if (inserted.has(candidate.key)) decide(candidate, 'imported')
    else if (takenId) surplus.push(...meetAccount(candidate, takenId))
    else {
      postpone(candidate, 'CLAIM_RESERVED', 'Its reservations expired before it was imported. Send the user again.')
      surplus.push(...candidate.claims)
    }
  }
  if (surplus.length > 0) await claims.release(surplus)
}

const attemptOf = ({ key, attempt }: Candidate) => ({ id: key, attempt: attemptRowId(attempt) })

const accountOf = ({ key, attempt, user }: Candidate, now: number) => ({
  id: key,
  attempt: attemptRowId(attempt),
  email: user.email,
  emailVerifiedAt: user.emailVerifiedAt,
  passwordHash: user.passwordHash,
  createdAt: user.createdAt ?? now,
})

const profileOf = ({ key, attempt, user }: Candidate, now: number) => ({
  id: key,
  attempt: attemptRowId(attempt),
  handle: user.handle,
  displayName: user.displayName,
  searchName: searchName(user.displayName),
  bio: user.bio,
  createdAt: user.createdAt ?? now,
})

async function confirm(claims: GroupedClaims, candidates: Candidate[]): Promise<void> {
  const failed = await claims.confirm(candidates.flatMap((candidate) => candidate.claims))
  for (const candidate of candidates) {
    const error = candidate.claims.map((claim) => failed.get(claim)).find((found) => found !== undefined)
    if (error)
      postpone(
        candidate,
        error.code,
        `The user is imported, but its claims are not confirmed yet. Send it again. ${error.advice}`,
      )
  }
}

/**
 * Releases the reservations of refused users. Bars their attempts first, because a concurrent equal request may be
 * about to commit. If it has committed, the user is `there`. After a failure, the reservations are settled when they
 * expire.
 */
async function giveUp(claims: GroupedClaims, candidates: Candidate[]): Promise<void> {
  const { barred, committed } = await claims.bar(candidates.map(({ attempt }) => attempt))
  const having = (attempts: ClaimAttempt[]) => candidates.filter(({ attempt }) => attempts.includes(attempt))
  await claims.release(having(barred).flatMap((candidate) => candidate.claims))
  const late = having(committed)
  for (const candidate of late) decide(candidate, 'there')
  await confirm(claims, late)
}
