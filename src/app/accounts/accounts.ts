import { hmac, sha256Hex } from '../../core/digest.ts'
import { BanyanError, messageOf } from '../../core/errors.ts'
import { slotOf } from '../../core/ids.ts'
import type { Session } from '../../sessions/sessions.ts'
import { type ClaimSpec, claimKey } from '../../sharding/claims.ts'
import type { RetryKey } from '../../sharding/idempotency.ts'
import { batchByName, rowsOf } from '../../sharding/named-batch.ts'
import { always, type ShardDatabase, type ShardStatement, type SqlCondition } from '../../sharding/shards.ts'
import type { Tiers } from '../../web/context.ts'
import { isCommonPassword } from './common-passwords.ts'
import { newLogInMail, rememberDevice } from './log-in-notices.ts'
import { mailStatements, readMailToken, tokenGone } from './mail-tokens.ts'
import {
  attemptStatements,
  forgetAttempt,
  forgetAttempts,
  type PasswordAttempt,
  passwordAttempt,
  refuseUnlessAdmitted,
} from './password-attempts.ts'
import { checkNothing, checkPassword, hashPassword } from './passwords.ts'

export type AccountTiers = Pick<
  Tiers,
  | 'shards'
  | 'cache'
  | 'claims'
  | 'idempotency'
  | 'sessions'
  | 'clock'
  | 'random'
  | 'ids'
  | 'settings'
  | 'follow'
  | 'log'
  | 'waitUntil'
>

/** A new session. `stamp` is for the browser's second cookie. */
export interface SignedIn {
  userId: string
  token: string
  stamp: string | null
}

/** The session that replaced another one, with what a browser stores of it. */
export interface RotatedSession {
  session: Session
  token: string
  stamp: string
}

interface AccountRow {
  id: string
  email: string
  passwordHash: string
  passwordVersion: number
  emailVerifiedAt: number | null
}

/** An account and a version of its password. */
type PasswordOf = Pick<AccountRow, 'id' | 'passwordVersion'>

/** E-mail addresses are trimmed and compared case-insensitively. */
export const normaliseEmail = (email: string): string => email.trim().toLowerCase()

/** The kinds of claims that an account holds. `external`: the id that an imported user had in the previous system. */
export const claimKinds = ['email', 'handle', 'external'] as const

export const emailClaim = (email: string): ClaimSpec => ({ kind: 'email', value: normaliseEmail(email) })
export const handleClaim = (handle: string): ClaimSpec => ({ kind: 'handle', value: handle.trim().toLowerCase() })

/** An error for a form's field, or a body's property. */
export const taken = (code: 'EMAIL_TAKEN' | 'HANDLE_TAKEN', pointer: string, detail: string): BanyanError =>
  new BanyanError(code, detail, { errors: [{ pointer, detail }] })

/** Throws INVALID for a common password. The schema checks the length. */
export function refuseCommonPassword(password: string, pointer: string): void {
  if (!isCommonPassword(password)) return
  const detail = 'This password is on lists of common passwords. Choose another.'
  throw new BanyanError('INVALID', detail, { errors: [{ pointer, detail }] })
}

/**
 * Starts a session for a login (e-mail or handle) and password. Every wrong login or password gets the same answer
 * after the same time. Throws RATE_LIMITED, before any check, after too many attempts. The session is inserted only if
 * the checked password is still the account's. It replaces the session of `replacedToken`, the browser's own. If the
 * device is unknown, the account's owner gets a mail.
 */
export async function logIn(
  tiers: AccountTiers,
  { login, password }: { login: string; password: string },
  { origin, userAgent }: { origin: string; userAgent: string },
  retry: RetryKey | null,
  replacedToken: string | null = null,
): Promise<SignedIn> {
  const spec = claimOf(login)
  const ownerId = await findOwner(tiers, spec)
  const attempt = passwordAttempt(tiers, ownerId, `log-in.${spec.kind}.${spec.value}`)
  const attempted = tiers.shards.of(ownerId, { operation: 'accounts.attempt-log-in', idempotent: true })
  const account = await admittedAccount(tiers, attempted, ownerId, attempt, isHeldBy(spec))
  if (!account) {
    await checkNothing(password, tiers.random)
    throw new BanyanError('WRONG_CREDENTIALS')
  }
  const { fits, isOutdated } = await checkPassword(password, account.passwordHash)
  if (!fits) throw new BanyanError('WRONG_CREDENTIALS')

  const { sessions, shards, idempotency } = tiers
  const database = shards.of(account.id, { operation: 'accounts.log-in' })
  const minted = sessions.mint(account.id, userAgent)
  const mail = newLogInMail(tiers, database, account, minted, origin)
  const outcome = await idempotency.once(
    account.id,
    retry,
    database,
    { status: 201, answer: { sessionId: minted.id }, onlyIf: passwordIs(account) },
    (statements) =>
      batchByName(database, {
        inserted: sessions.insert(database, minted, passwordIs(account)),
        mailed: mail.statements,
        remembered: rememberDevice(database, minted),
        replaced: sessions.replacement(database, account.id, replacedToken, passwordIs(account)),
        trimmed: sessions.trim(database, account.id),
        forgotten: forgetAttempt(database, attempt, passwordIs(account)),
        statements,
      }),
  )
  if ('kept' in outcome) {
    const { sessionId } = outcome.kept.answer
    const kept = { id: sessionId, userId: account.id }
    const forgotten = forgetAttempt(database, attempt, passwordIs(account))
    const token = await sessions.remint(database, kept, passwordIs(account), [forgotten])
    if (!token)
      throw new BanyanError('SESSION_ENDED', 'The session of this Idempotency-Key has ended. Log in with a new key.')
    return { userId: account.id, token, stamp: null }
  }
  const { inserted, mailed, replaced } = outcome.committed
  if (inserted.meta.changes === 0) throw new BanyanError('WRONG_CREDENTIALS')
  if (mailed[0]?.meta.changes === 1) tiers.follow([mail.job])
  sessions.forget(replaced.flatMap(({ results }) => results.map(({ id }) => id)))
  sessions.endReplaced(account.id, replacedToken)
  if (isOutdated) tiers.waitUntil(rehash(tiers, account, password))
  return { userId: account.id, token: minted.token, stamp: sessions.started(minted) }
}

/**
 * SQL condition on a row of `accounts`: the account has this address or handle. The claim alone does not prove it. It
 * exists before the account has the value, and for a short time after the account has given it up.
 */
const isHeldBy = ({ kind, value }: ClaimSpec): SqlCondition => ({
  sql:
    kind === 'email' ? 'email = ?' : 'EXISTS (SELECT 1 FROM profiles WHERE profiles.id = accounts.id AND handle = ?)',
  values: [value],
})

/** SQL condition: the account's password still has the version that was read. */
export const passwordIs = ({ id, passwordVersion }: PasswordOf): SqlCondition => ({
  sql: 'EXISTS (SELECT 1 FROM accounts WHERE id = ? AND password_version = ?)',
  values: [id, passwordVersion],
})

/**
 * Changes the password, ends the user's other sessions, and mails a notice, in one batch. With `rotates`, a new session
 * with the same times and data replaces the current one, and is the result. Throws WRONG_CREDENTIALS if `current` is
 * wrong, and RATE_LIMITED after too many attempts.
 */
export async function changePassword(
  tiers: AccountTiers,
  session: Session,
  { current, next }: { current: string; next: string },
  origin: string,
  rotates: boolean,
): Promise<RotatedSession | null> {
  const { account } = await accountOfPassword(tiers, session, current)
  const database = tiers.sessions.database(session, { operation: 'accounts.change-password' })
  return setPassword(tiers, database, { account, password: next, origin, kept: session, rotates })
}

/**
 * The account of a signed-in user who gives the current password. All changes that ask for it share one counter of
 * attempts. Throws WRONG_CREDENTIALS, and RATE_LIMITED after too many attempts.
 */
export async function accountOfPassword(
  tiers: AccountTiers,
  session: Session,
  password: string,
): Promise<{ account: AccountRow; attempt: PasswordAttempt }> {
  const { userId } = session
  const attempt = passwordAttempt(tiers, userId, 'change')
  const attempted = tiers.sessions.database(session, { operation: 'accounts.attempt-change', idempotent: true })
  const account = await admittedAccount(tiers, attempted, userId, attempt)
  if (!account) throw accountDeleted()
  const { fits } = await checkPassword(password, account.passwordHash)
  if (!fits) throw new BanyanError('WRONG_CREDENTIALS', 'The current password is wrong. Check it, or reset it.')
  return { account, attempt }
}

/** Sends a mail that confirms the address, unless it is already confirmed. */
export async function requestVerification(
  tiers: AccountTiers,
  session: Session,
  origin: string,
  retry: RetryKey | null,
): Promise<void> {
  const account = await getAccount(tiers, session.userId)
  if (account.emailVerifiedAt !== null) return
  const database = tiers.sessions.database(session, { operation: 'accounts.request-verification' })
  const mail = mailStatements(tiers, database, account, 'verify-email', origin)
  await tiers.idempotency.once(account.id, retry, database, { status: 202, answer: null }, async (statements) => {
    await database.batch([...statements, ...mail.statements])
    tiers.follow([mail.job])
  })
}

/** Confirms the address that a token was mailed to. Throws NOT_FOUND if the token is malformed, used or too old. */
export async function verifyEmail(tiers: AccountTiers, token: string, retry: RetryKey | null): Promise<void> {
  const { tokenId, secretHash } = readMailToken(tiers, 'verify-email', token)
  if (await wasAnswered(tiers, tokenId, retry)) return
  const now = tiers.clock.now()
  const database = tiers.shards.of(tokenId, { operation: 'accounts.verify-email' })
  const live = "id = ? AND secret_hash = ? AND purpose = 'verify-email' AND expires_at > ?"
  const { verified } = await batchByName(database, {
    verified: database
      .prepare(
        `UPDATE accounts SET email_verified_at = coalesce(email_verified_at, ?)
         WHERE (id, email) IN (SELECT user_id, email FROM mail_tokens WHERE ${live})`,
      )
      .bind(now, tokenId, secretHash, now),
    answer: keepAnswer(tiers, database, tokenId, retry, {
      sql: `EXISTS (SELECT 1 FROM mail_tokens WHERE ${live})`,
      values: [tokenId, secretHash, now],
    }),
    used: database.prepare('DELETE FROM mail_tokens WHERE id = ? AND secret_hash = ?').bind(tokenId, secretHash),
  })
  // A concurrent request with the same key may have been first.
  if (verified.meta.changes === 0 && !(await wasAnswered(tiers, tokenId, retry))) throw tokenGone()
}

/** Mails a link for a new password if the address has an account. Does not reveal whether it has. */
export async function requestPasswordReset(
  tiers: AccountTiers,
  email: string,
  origin: string,
  retry: RetryKey | null,
): Promise<void> {
  const account = await findAccount(tiers, email)
  if (!account) return
  const database = tiers.shards.of(account.id, { operation: 'accounts.request-reset' })
  const mail = mailStatements(tiers, database, account, 'reset-password', origin)
  await tiers.idempotency.once(account.id, retry, database, { status: 202, answer: null }, async (statements) => {
    await database.batch([...statements, ...mail.statements])
    tiers.follow([mail.job])
  })
}

/**
 * Sets a new password by a mailed token, ends all sessions of the user, and mails a notice. Throws NOT_FOUND as
 * `verifyEmail` does.
 */
export async function resetPassword(
  tiers: AccountTiers,
  token: string,
  password: string,
  origin: string,
  retry: RetryKey | null,
): Promise<void> {
  const { tokenId, secretHash } = readMailToken(tiers, 'reset-password', token)
  if (await wasAnswered(tiers, tokenId, retry)) return
  const database = tiers.shards.of(tokenId, { operation: 'accounts.reset-password', read: 'exact' })
  const account = await database
    .prepare(
      `SELECT accounts.id, accounts.email, password_version AS passwordVersion
       FROM mail_tokens JOIN accounts ON accounts.id = mail_tokens.user_id AND accounts.email = mail_tokens.email
       WHERE mail_tokens.id = ? AND secret_hash = ? AND purpose = 'reset-password' AND expires_at > ?`,
    )
    .bind(tokenId, secretHash, tiers.clock.now())
    .first<PasswordOf & Pick<AccountRow, 'email'>>()
  if (!account) throw tokenGone()
  const before = (onlyIf: SqlCondition) => keepAnswer(tiers, database, tokenId, retry, onlyIf)
  await setPassword(tiers, database, { account, password, origin, tokenId, before })
}

/** True if this token's request was answered before under this key. */
export async function wasAnswered(
  { idempotency }: AccountTiers,
  tokenId: string,
  retry: RetryKey | null,
): Promise<boolean> {
  return retry !== null && (await idempotency.find(idempotency.ownedId(tokenId, retry), retry)) !== null
}

export function keepAnswer(
  { idempotency }: AccountTiers,
  database: ShardDatabase,
  tokenId: string,
  retry: RetryKey | null,
  onlyIf: SqlCondition,
): ShardStatement[] {
  if (!retry) return []
  const kept = { userId: tokenId, attemptId: '', status: 204, answer: null }
  return idempotency.statements(database, idempotency.ownedId(tokenId, retry), retry, kept, onlyIf)
}

/** The account's row. Throws SESSION_ENDED if the account was deleted. */
async function getAccount(tiers: AccountTiers, userId: string): Promise<AccountRow> {
  const account = await readAccount(tiers, userId)
  if (!account) throw accountDeleted()
  return account
}

const claimOf = (login: string): ClaimSpec => (login.includes('@') ? emailClaim(login) : handleClaim(login))

/**
 * The id of the user that a login names. For an unknown login, an id that no user has, so that the calls and the time
 * are the same. Its slot depends on a secret. In the claim's own slot, a slow or unavailable shard would show which
 * logins are unknown, because a user is rarely in the slot of the claim.
 */
async function findOwner({ claims, settings }: AccountTiers, spec: ClaimSpec): Promise<string> {
  const owner = await claims.findOwner(spec, 'exact')
  return owner ?? `${slotOf(sha256Hex(hmac(settings.signingKey, `nobody.${claimKey(spec)}`)))}.nobody`
}

/** The account with this address, or null. */
async function findAccount(tiers: AccountTiers, email: string): Promise<AccountRow | null> {
  const spec = emailClaim(email)
  const account = await readAccount(tiers, await findOwner(tiers, spec))
  return account?.email === spec.value ? account : null
}

const SELECT_ACCOUNTS = `SELECT id, email, password_hash AS passwordHash, password_version AS passwordVersion,
  email_verified_at AS emailVerifiedAt FROM accounts`

function readAccount(tiers: AccountTiers, userId: string): Promise<AccountRow | null> {
  return tiers.shards
    .of(userId, { operation: 'accounts.read', read: 'exact' })
    .prepare(`${SELECT_ACCOUNTS} WHERE id = ?`)
    .bind(userId)
    .first<AccountRow>()
}

/**
 * Counts an attempt to prove a password, and reads the account in the same batch, if it meets the condition. Throws
 * RATE_LIMITED.
 */
async function admittedAccount(
  tiers: AccountTiers,
  database: ShardDatabase,
  userId: string,
  attempt: PasswordAttempt,
  onlyIf = always,
): Promise<AccountRow | null> {
  const { counter, account } = await batchByName(database, {
    ...attemptStatements(tiers, database, attempt),
    account: rowsOf<AccountRow>(
      database.prepare(`${SELECT_ACCOUNTS} WHERE id = ? AND ${onlyIf.sql}`).bind(userId, ...onlyIf.values),
    ),
  })
  refuseUnlessAdmitted(tiers, attempt, counter)
  return account.results[0] ?? null
}

interface NewPassword {
  account: PasswordOf & Pick<AccountRow, 'email'>
  password: string
  /** Of the link in the notice. */
  origin: string
  /** The reset token that proves the user. It must still be live, and of the account's present address. */
  tokenId?: string
  /** Statements that must come before the change. The condition holds if the change follows. */
  before?: (onlyIf: SqlCondition) => ShardStatement[]
  kept?: Session
  rotates?: boolean
}

/** SQL condition: a reset token exists, and was mailed to the account's present address. */
const isResettable = (tokenId: string): SqlCondition => ({
  sql: `EXISTS (SELECT 1 FROM mail_tokens JOIN accounts AS owner ON owner.id = user_id AND owner.email = mail_tokens.email
    WHERE mail_tokens.id = ?)`,
  values: [tokenId],
})

/**
 * In one batch: sets the hash if the version is unchanged, ends all sessions except `kept`, deletes the links that set
 * a password or change the address, forgets attempts at the previous password, and writes the notice. With `rotates`,
 * replaces `kept` by a new session, which is the result.
 */
async function setPassword(
  tiers: AccountTiers,
  database: ShardDatabase,
  { account, password, origin, tokenId, before = () => [], kept, rotates = false }: NewPassword,
): Promise<RotatedSession | null> {
  const { sessions } = tiers
  const { id: userId } = account
  const mayReset = tokenId === undefined ? always : isResettable(tokenId)
  const current = passwordIs(account)
  const mayChange = { sql: `${current.sql} AND ${mayReset.sql}`, values: [...current.values, ...mayReset.values] }
  const hash = await hashPassword(password, tiers.random)
  const isSet: SqlCondition = {
    sql: 'EXISTS (SELECT 1 FROM accounts WHERE id = ? AND password_hash = ?)',
    values: [userId, hash],
  }
  const mail = mailStatements(tiers, database, account, 'password-changed', origin, isSet)
  const minted = kept && rotates ? sessions.mint(userId, '') : null
  const { changed, rotated, ended } = await batchByName(database, {
    before: before(mayChange),
    changed: database
      .prepare(
        `UPDATE accounts SET password_hash = ?, password_version = password_version + 1 WHERE id = ? AND ${mayChange.sql}`,
      )
      .bind(hash, userId, ...mayChange.values),
    rotated: kept && minted ? [sessions.rotation(database, kept, minted, isSet)] : [],
    ended: rowsOf<{ id: string }>(
      database
        .prepare(`DELETE FROM sessions WHERE user_id = ? AND id <> ? AND ${isSet.sql} RETURNING id`)
        .bind(userId, (minted ?? kept)?.id ?? '', ...isSet.values),
    ),
    mailTokens: database
      .prepare(
        `DELETE FROM mail_tokens WHERE user_id = ? AND purpose IN ('reset-password', 'change-email') AND ${isSet.sql}`,
      )
      .bind(userId, ...isSet.values),
    forgotten: forgetAttempts(database, userId, isSet),
    mailed: mail.statements,
  })
  if (changed.meta.changes === 0)
    throw new BanyanError('CONFLICT', 'The password was changed at the same time. Try again with the new password.')
  tiers.follow([mail.job])
  sessions.forget(ended.results.map((row) => row.id))
  const [replaced] = rotated.flatMap(({ results }) => results)
  if (!minted || !replaced) return null
  const session = { id: minted.id, userId }
  return { session, token: minted.token, stamp: sessions.started(minted, replaced.expiresAt) }
}

/** Runs after the response, so its failure does not fail the log-in. */
async function rehash(tiers: AccountTiers, account: AccountRow, password: string): Promise<void> {
  try {
    await replaceHash(tiers, account, password)
  } catch (error) {
    tiers.log.warn('password.not-rehashed', { reason: messageOf(error) })
  }
}

async function replaceHash(tiers: AccountTiers, account: AccountRow, password: string): Promise<void> {
  const hash = await hashPassword(password, tiers.random)
  await tiers.shards
    .of(account.id, { operation: 'accounts.rehash', idempotent: true })
    .prepare('UPDATE accounts SET password_hash = ? WHERE id = ? AND password_version = ?')
    .bind(hash, account.id, account.passwordVersion)
    .run()
}

export const accountDeleted = () => new BanyanError('SESSION_ENDED', 'The account was deleted. Sign up for a new one.')
