import type { z } from '@hono/zod-openapi'
import { sha256Hex } from '../../core/digest.ts'
import { type BanyanError, hasCode, messageOf } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { DatabaseError } from '../../sharding/answers.ts'
import { attemptRowId, type ClaimAttempt, type ClaimSpec, claimKey } from '../../sharding/claims.ts'
import type { GroupDatabase } from '../../sharding/grouped-batches.ts'
import { type ClaimStatus, type GroupedClaim, GroupedClaims, groupedClaim } from '../../sharding/grouped-claims.ts'
import { rowsOf, type Typed } from '../../sharding/named-batch.ts'
import type { Tiers } from '../../web/context.ts'
import { NO_PASSWORD } from '../accounts/passwords.ts'
import type { Refusal } from './fields.ts'
import { claimSpecsOf, idOf, isRefusal, type Newcomer, readRecord } from './records.ts'
import type { importOutcome, importShape } from './shapes.ts'

export type ImportTiers = Pick<Tiers, 'shards' | 'claims' | 'clock' | 'log'>
export type ImportRequest = z.infer<typeof importShape>

export type ImportOutcome = z.infer<typeof importOutcome>

/** One user on the way in. `key` is the user's id, and so its slot. */
interface Candidate {
  key: string
  user: Newcomer
  specs: ClaimSpec[]
  attempt: ClaimAttempt
  /** Its claims, as this attempt's; none if the account turns out to have been made with other claims. */
  claims: GroupedClaim[]
  /** Set as soon as it is decided. */
  outcome?: ImportOutcome
}

/**
 * Imports users from elsewhere, many in a few batches a shard: each gets the id that follows from where it comes from, an
 * account, a profile, and claims on its e-mail address, its handle and its external id. Sending it again changes
 * nothing. No mail is sent.
 *
 * As a sign-up does, it reserves the claims, commits the user's rows with the attempt's, and confirms. All requests for
 * one user with the same claims share an attempt, so what crashes, comes twice or comes at once ends in one account; an
 * attempt that somebody barred is followed by the next. With other claims, as after a correction, it is another attempt:
 * at most one of a user's is ever taken, and only its claims are confirmed. Reservations of a user whose rows committed
 * are confirmed here or, after a crash, by the cron: an outbox row for each would double what is written.
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

function outcomeOf({ key, outcome }: Candidate): ImportOutcome {
  if (!outcome) throw new Error(`an import left ${key} undecided`)
  return outcome
}

const twice: Refusal = { code: 'EXTERNAL_ID_TWICE', detail: 'Another user of this request has this external id.' }

const undecided = (candidates: Candidate[]) => candidates.filter(({ outcome }) => !outcome)
const isHere = (outcome?: ImportOutcome) => outcome?.outcome === 'imported' || outcome?.outcome === 'there'

function candidateFor(source: string, user: Newcomer): Candidate {
  const key = idOf(source, user)
  const specs = claimSpecsOf(source, user)
  return { key, user, specs, ...attemptAt(key, specs, 0) }
}

/** The attempts at one user with one set of claims are numbered: whoever asks for the same makes the same. */
function attemptAt(ownerId: string, specs: ClaimSpec[], number: number): Pick<Candidate, 'attempt' | 'claims'> {
  const attempt = { ownerId, attemptId: `import-${number}-${digestOf(specs)}` }
  return { attempt, claims: specs.map((spec) => groupedClaim(spec, attempt)) }
}

const DIGEST_DIGITS = 16

const digestOf = (specs: ClaimSpec[]): string => sha256Hex(specs.map(claimKey).join()).slice(0, DIGEST_DIGITS)

// ── what comes of a user ──────────────────────────────────────────────────────────────────────────

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
 * Its account was made before, by the attempt of this row. Where that had other claims, these are not the account's:
 * they are taken from the candidate and returned, to be released.
 */
function meetAccount(candidate: Candidate, takenId: string): GroupedClaim[] {
  decide(candidate, 'there')
  return takenId === attemptRowId(candidate.attempt) ? [] : candidate.claims.splice(0)
}

/** Refuses what the databases would always refuse. Everything else is `busy`, also at a read-only database. */
function fail(candidate: Candidate, error: BanyanError): void {
  const { code, advice: detail } = error
  const isReadOnly = error instanceof DatabaseError && error.sqliteCode === 'SQLITE_READONLY'
  const isPermanent = !isReadOnly && hasCode(error, 'DATABASE_CONSTRAINT', 'DATABASE_ERROR', 'ROW_TOO_LARGE')
  decide(candidate, isPermanent ? 'refused' : 'busy', { code, detail })
}

// ── the steps ─────────────────────────────────────────────────────────────────────────────────────

/** An invocation has 1,000 queries. On many shards users share few batches. */
async function putOffWhatIsTooMuch({ shards }: ImportTiers, candidates: Candidate[]): Promise<void> {
  const { shards: list } = await shards.map()
  if (list.length <= limits.importShardsMax) return
  for (const candidate of candidates.slice(limits.importUsersScatteredMax))
    postpone(
      candidate,
      'TOO_MANY',
      `On ${list.length} shards one request takes ${limits.importUsersScatteredMax} users. Send fewer.`,
    )
}

interface AttemptRow {
  ownerId: string
  id: string
  outcome: 'taken' | 'barred'
}

/** SQL: the row is an import's attempt at this owner, whatever its claims. */
const isAttemptAt = (owner: string) =>
  `claim_attempts.id >= ${owner} || '.import-' AND claim_attempts.id < ${owner} || '.import.'`

const attemptsStatement = (database: GroupDatabase, candidates: Candidate[]): Typed<AttemptRow> =>
  database
    .prepare(
      `SELECT owner.value AS ownerId, claim_attempts.id, outcome FROM json_each(?) AS owner CROSS JOIN claim_attempts
       ON ${isAttemptAt('owner.value')}`,
    )
    .bind(JSON.stringify(candidates.map(({ key }) => key)))

/** Who was imported before is there; whose attempts with these claims were barred gets the next one. */
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

const takenCodes = {
  external: { code: 'EXTERNAL_ID_TAKEN', detail: 'This external id was imported before, with another createdAt, as ' },
  email: { code: 'EMAIL_TAKEN', detail: 'The e-mail address belongs to ' },
  handle: { code: 'HANDLE_TAKEN', detail: 'The handle belongs to ' },
} as const

async function reserve(tiers: ImportTiers, claims: GroupedClaims, candidates: Candidate[]): Promise<void> {
  const { status, holders, failed } = await claims.reserve(candidates.flatMap((candidate) => candidate.claims))
  let contests = 0
  for (const candidate of candidates) {
    const error = candidate.claims.map((claim) => failed.get(claim)).find((found) => found !== undefined)
    if (error) {
      postpone(candidate, error.code, error.advice)
      continue
    }
    // A claim that did not fail has a status, and one that is taken a holder.
    const statuses: [GroupedClaim, ClaimStatus][] = candidate.claims.map((claim) => [claim, knownIn(status, claim)])
    const taken = statuses.find(([, how]) => how === 'taken')
    if (taken) {
      const { code, detail } = takenCodes[taken[0].kind]
      decide(candidate, 'refused', { code, detail: `${detail}${knownIn(holders, taken[0].key).ownerId}.` })
      continue
    }
    const lost = statuses.filter(([, how]) => how === 'lost').map(([claim]) => claim)
    contests += lost.length
    const isContended = statuses.some(([, how]) => how === 'contended') || contests > limits.importContestsMax
    if (isContended || !(await contest(tiers, candidate, lost)))
      postpone(candidate, 'CLAIM_RESERVED', 'A sign-up or another import is at one of its claims.')
  }
}

function knownIn<K, V>(map: Map<K, V>, key: K): V {
  const value = map.get(key)
  if (value === undefined) throw new Error('a reservation has no answer')
  return value
}

/** One by one, as a sign-up: whose time has run out may still have committed. False when it is lost, or not known. */
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

/** Account, profile and the attempt's row, in one batch a shard: for those with no attempt taken, and this one not barred. */
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
          `INSERT INTO profiles (id, handle, display_name, bio, created_at, version)
           SELECT value ->> 'id', value ->> 'handle', value ->> 'displayName', value ->> 'bio', value ->> 'createdAt', 1
           FROM json_each(?) WHERE ${isOpen}`,
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
      postpone(candidate, 'CLAIM_RESERVED', 'Its reservations ran out before it was imported.')
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
  bio: user.bio,
  createdAt: user.createdAt ?? now,
})

async function confirm(claims: GroupedClaims, candidates: Candidate[]): Promise<void> {
  const failed = await claims.confirm(candidates.flatMap((candidate) => candidate.claims))
  for (const candidate of candidates) {
    const error = candidate.claims.map((claim) => failed.get(claim)).find((found) => found !== undefined)
    if (error) postpone(candidate, error.code, `It is imported; its claims are not confirmed yet. ${error.advice}`)
  }
}

/**
 * Gives back what refused users reserved. Their attempts are barred first: a twin of this request may be about to commit.
 * One that already has is there. What fails here is settled when the reservations run out.
 */
async function giveUp(claims: GroupedClaims, candidates: Candidate[]): Promise<void> {
  const { barred, committed } = await claims.bar(candidates.map(({ attempt }) => attempt))
  const having = (attempts: ClaimAttempt[]) => candidates.filter(({ attempt }) => attempts.includes(attempt))
  await claims.release(having(barred).flatMap((candidate) => candidate.claims))
  const late = having(committed)
  for (const candidate of late) decide(candidate, 'there')
  await confirm(claims, late)
}
