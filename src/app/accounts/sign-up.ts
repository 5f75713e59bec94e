import { BanyanError, hasCode, messageOf } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { newJob, outboxStatement } from '../../jobs/outbox.ts'
import { type ClaimAttempt, type ClaimSpec, claimKey } from '../../sharding/claims.ts'
import type { RetryKey } from '../../sharding/idempotency.ts'
import { searchName } from '../profiles/names.ts'
import { profileChanged } from '../profiles/profiles.ts'
import {
  type AccountTiers,
  emailClaim,
  handleClaim,
  normaliseEmail,
  passwordIs,
  type SignedIn,
  taken,
} from './accounts.ts'
import { rememberDevice } from './log-in-notices.ts'
import { mailStatements } from './mail-tokens.ts'
import { hashPassword } from './passwords.ts'

export interface SignUpInput {
  email: string
  handle: string
  password: string
  displayName?: string | undefined
}

/** One attempt to create the account. All requests with the same Idempotency-Key share it, so a retry resumes it. */
interface Attempt extends ClaimAttempt {
  retry: RetryKey | null
  /** An earlier request with this key began it, and may have committed. */
  isRepeated: boolean
}

/**
 * Creates an account. Reserves the e-mail address, then the handle, then commits the account, its session and its jobs
 * in one batch in the new user's slot. Jobs confirm the claims later. Because of this order, exactly one of several
 * equal sign-ups succeeds. Throws EMAIL_TAKEN, HANDLE_TAKEN, or CONFLICT.
 */
export async function signUp(
  tiers: AccountTiers,
  input: SignUpInput,
  request: { origin: string; userAgent: string; retry: RetryKey | null },
): Promise<SignedIn> {
  const passwordHash = await hashPassword(input.password, tiers.random)
  for (let tries = 1; ; tries++) {
    const attempt = await beginAttempt(tiers, request.retry)
    // A committed attempt reserves nothing, because the account may have given the address or the handle up since.
    const resumed = attempt.isRepeated ? await resume(tiers, attempt.ownerId, request.userAgent) : null
    if (resumed) return resumed
    await reserve(tiers, input, attempt)
    const signedIn = await commit(tiers, input, attempt, passwordHash, request)
    if (signedIn) return signedIn
    // Another sign-up barred this attempt while it was frozen and took its reservations, so it starts from scratch.
    await abandon(tiers, attempt, [emailClaim(input.email), handleClaim(input.handle)])
    if (tries >= limits.signUpAttemptsMax)
      throw new BanyanError('CONFLICT', 'The sign-up took too long and lost its reservations. Try again.')
  }
}

async function beginAttempt(tiers: AccountTiers, retry: RetryKey | null): Promise<Attempt> {
  const drawn = { ownerId: tiers.ids.userId(), attemptId: tiers.ids.plain() }
  const begun = { ...drawn, retry, isRepeated: false }
  if (!retry) return begun
  const { idempotency, shards } = tiers
  const id = idempotency.signUpId(retry)
  const database = shards.of(id, { operation: 'sign-up.begin' })
  const kept = { userId: drawn.ownerId, attemptId: drawn.attemptId, status: 0, answer: null }
  try {
    await database.batch(idempotency.statements(database, id, retry, kept))
    return begun
  } catch (error) {
    if (!idempotency.isUsed(error)) throw error
    const earlier = await idempotency.find(id, retry)
    if (!earlier)
      throw new BanyanError('CONFLICT', 'Another request with this Idempotency-Key has just failed. Try again.')
    return { ownerId: earlier.userId, attemptId: earlier.attemptId, retry, isRepeated: true }
  }
}

async function reserve(tiers: AccountTiers, input: SignUpInput, attempt: Attempt): Promise<void> {
  const email = emailClaim(input.email)
  const handle = handleClaim(input.handle)
  try {
    if (!(await tiers.claims.reserve(email, attempt)))
      throw taken(
        'EMAIL_TAKEN',
        '/email',
        'An account with this e-mail address exists. Log in, or use another address.',
      )
    if (!(await tiers.claims.reserve(handle, attempt)))
      throw taken('HANDLE_TAKEN', '/handle', 'This handle is taken. Choose another.')
  } catch (error) {
    // Even if a shard was unavailable. Otherwise this attempt's reservation would refuse the next attempt.
    await abandon(tiers, attempt, hasCode(error, 'EMAIL_TAKEN') ? [] : [email, handle])
    throw error
  }
}

/** Commits the owner's batch. Null if the attempt was barred and nothing was written. */
async function commit(
  tiers: AccountTiers,
  input: SignUpInput,
  attempt: Attempt,
  passwordHash: string,
  { origin, userAgent }: { origin: string; userAgent: string },
): Promise<SignedIn | null> {
  const { sessions, claims, shards, ids, clock } = tiers
  const { ownerId, attemptId } = attempt
  const database = shards.of(ownerId, { operation: 'sign-up.commit' })
  const minted = sessions.mint(ownerId, userAgent)
  const email = normaliseEmail(input.email)
  const handle = handleClaim(input.handle).value
  const displayName = input.displayName?.trim() || handle
  const mail = mailStatements(tiers, database, { id: ownerId, email }, 'verify-email', origin)
  const confirmations = [emailClaim(email), handleClaim(handle)].map((spec) =>
    newJob(ids, clock, ownerId, 'claims.confirm', { key: claimKey(spec), ownerId, attemptId }),
  )
  try {
    await database.batch([
      claims.takeStatement(database, attempt),
      database
        .prepare(
          'INSERT INTO accounts (id, email, email_verified_at, password_hash, password_version, created_at) VALUES (?, ?, NULL, ?, 1, ?)',
        )
        .bind(ownerId, email, passwordHash, minted.createdAt),
      database
        .prepare(
          "INSERT INTO profiles (id, handle, display_name, bio, created_at, version, search_name) VALUES (?, ?, ?, '', ?, 1, ?)",
        )
        .bind(ownerId, handle, displayName, minted.createdAt, searchName(displayName)),
      sessions.insert(database, minted, firstPassword(ownerId)),
      rememberDevice(database, minted),
      ...mail.statements,
      ...confirmations.map((job) => outboxStatement(database, job)),
    ])
  } catch (error) {
    if (claims.isAttemptDecided(error)) return resume(tiers, ownerId, userAgent)
    // Nothing was applied, so release the reservations. After an unknown outcome, they must stay until they expire.
    if (!hasCode(error, 'OUTCOME_UNKNOWN')) await abandon(tiers, attempt, [emailClaim(email), handleClaim(handle)])
    throw error
  }
  tiers.follow([...confirmations, mail.job])
  profileChanged(tiers, handle) // a cache may say that the handle does not exist
  return { userId: ownerId, token: minted.token, stamp: sessions.started(minted) }
}

/** If the sign-up has committed, its session gets a new token. Null if it has not, or was barred. */
async function resume(tiers: AccountTiers, userId: string, userAgent: string): Promise<SignedIn | null> {
  const { shards, sessions } = tiers
  const database = shards.of(userId, { read: 'exact', operation: 'sign-up.resume' })
  const account = await database
    .prepare(
      `SELECT password_version AS passwordVersion, (SELECT id FROM sessions WHERE user_id = accounts.id AND sessions.created_at = accounts.created_at) AS sessionId
       FROM accounts WHERE id = ?`,
    )
    .bind(userId)
    .first<{ passwordVersion: number; sessionId: string | null }>()
  if (!account) return null
  if (account.passwordVersion !== 1)
    throw new BanyanError(
      'WRONG_CREDENTIALS',
      'The account exists, and its password was changed since. Log in with the new password.',
    )
  const token = account.sessionId
    ? await sessions.remint(database, { id: account.sessionId, userId }, firstPassword(userId))
    : null
  if (token) return { userId, token, stamp: null }
  const minted = sessions.mint(userId, userAgent)
  const inserted = await sessions.insert(database, minted, firstPassword(userId)).run()
  if (inserted.meta.changes === 0) throw new BanyanError('WRONG_CREDENTIALS')
  return { userId, token: minted.token, stamp: sessions.started(minted) }
}

/**
 * Gives up an attempt. If concurrent requests can share it through a key, it is barred before its reservations are
 * released. Otherwise a slower request could commit an account whose e-mail address is no longer its own.
 */
async function abandon(tiers: AccountTiers, attempt: Attempt, reserved: ClaimSpec[]): Promise<void> {
  const { claims, idempotency, log } = tiers
  try {
    if (attempt.retry && !(await claims.bar(attempt))) return
    for (const spec of reserved) await claims.release(spec, attempt)
    if (attempt.retry) await idempotency.release(idempotency.signUpId(attempt.retry), attempt.attemptId)
  } catch (error) {
    log.warn('sign-up.not-released', { reason: messageOf(error) })
  }
}

/** SQL condition: the account still has the password of its sign-up. */
const firstPassword = (id: string) => passwordIs({ id, passwordVersion: 1 })
