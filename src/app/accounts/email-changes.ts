import { BanyanError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { newJob, outboxStatementOnlyIf } from '../../jobs/outbox.ts'
import type { Session } from '../../sessions/sessions.ts'
import { type ClaimAttempt, claimKey } from '../../sharding/claims.ts'
import type { RetryKey } from '../../sharding/idempotency.ts'
import { batchByName, rowsOf, type Typed } from '../../sharding/named-batch.ts'
import type { ShardDatabase, SqlCondition } from '../../sharding/shards.ts'
import {
  type AccountTiers,
  accountOfPassword,
  emailClaim,
  keepAnswer,
  normaliseEmail,
  passwordIs,
  taken,
  wasAnswered,
} from './accounts.ts'
import { mailStatements, readMailToken, tokenGone } from './mail-tokens.ts'
import { forgetAttempt } from './password-attempts.ts'

/** The address of a change that is not confirmed yet. */
export interface PendingEmail {
  email: string
}

/** The user's pending change of address, for a batch with other reads of the user's slot. */
export const pendingEmailQuery = (database: ShardDatabase, userId: string, now: number): Typed<PendingEmail> =>
  rowsOf<PendingEmail>(
    database
      .prepare("SELECT email FROM mail_tokens WHERE user_id = ? AND purpose = 'change-email' AND expires_at > ?")
      .bind(userId, now),
  )

/**
 * Mails a link to a new address. The account's address changes when the link is used. A request ends the links of
 * earlier ones, so a request for the present address cancels a pending change. Throws EMAIL_TAKEN, and like
 * `changePassword` if the password is wrong.
 */
export async function requestEmailChange(
  tiers: AccountTiers,
  session: Session,
  { email, password }: { email: string; password: string },
  origin: string,
): Promise<void> {
  const { account, attempt } = await accountOfPassword(tiers, session, password)
  const wanted = normaliseEmail(email)
  const holder = await tiers.claims.findHolder(emailClaim(wanted))
  const isLive = holder?.state === 'confirmed' || (holder?.expiresAt ?? 0) > tiers.clock.now()
  const database = tiers.sessions.database(session, { operation: 'emails.request' })
  const onlyIf = passwordIs(account)
  if (holder && isLive && holder.ownerId !== account.id) {
    await forgetAttempt(database, attempt, onlyIf).run() // the password was right
    throw emailTaken()
  }

  const mail = mailStatements(tiers, database, { id: account.id, email: wanted }, 'change-email', origin, onlyIf)
  const isChange = wanted !== account.email
  const { mailed } = await batchByName(database, {
    superseded: database
      .prepare(`DELETE FROM mail_tokens WHERE user_id = ? AND purpose = 'change-email' AND ${onlyIf.sql}`)
      .bind(account.id, ...onlyIf.values),
    mailed: isChange ? mail.statements : [],
    forgotten: forgetAttempt(database, attempt, onlyIf),
  })
  if (!isChange) return
  if (mailed[0]?.meta.changes === 0)
    throw new BanyanError('CONFLICT', 'The password was changed at the same time. Try again with the new password.')
  tiers.follow([mail.job])
}

interface EmailChange {
  userId: string
  /** The account's present address. */
  email: string
  wanted: string
}

/**
 * Changes the address to the one that a token was mailed to. Reserves the new address, then commits the change and its
 * jobs in one batch in the user's slot. The batch ends all links that were mailed to the user before. The jobs confirm
 * the new claim, release the old one, and notify the old address. Throws NOT_FOUND as `verifyEmail` does, EMAIL_TAKEN,
 * or CONFLICT.
 */
export async function confirmEmailChange(
  tiers: AccountTiers,
  text: string,
  origin: string,
  retry: RetryKey | null,
): Promise<void> {
  const token = readMailToken(tiers, 'change-email', text)
  const { claims } = tiers
  for (let tries = 1; tries <= limits.emailChangeTriesMax; tries++) {
    if (await wasAnswered(tiers, token.tokenId, retry)) return
    const change = await readChange(tiers, token)
    if (!change) throw tokenGone()
    const { userId, email, wanted } = change
    const [attempt, old] = await Promise.all([
      readAttempt(tiers, userId, token.tokenId),
      claims.findHolder(emailClaim(email)),
    ])
    if (!(await claims.reserve(emailClaim(wanted), attempt))) {
      const holder = await claims.findHolder(emailClaim(wanted))
      if (holder?.ownerId !== userId) throw emailTaken()
      continue // an equal request may have taken it for this user
    }
    const given = old?.ownerId === userId ? old : null
    if (await commit(tiers, token, { ...change, attempt, given, origin, retry })) return
  }
  throw new BanyanError('CONFLICT', 'Another change of your address is not finished yet. Try again in a minute.')
}

type Token = ReturnType<typeof readMailToken>

const LIVE_TOKEN = "mail_tokens.id = ? AND secret_hash = ? AND purpose = 'change-email' AND expires_at > ?"

const readChange = ({ shards, clock }: AccountTiers, { tokenId, secretHash }: Token): Promise<EmailChange | null> =>
  shards
    .of(tokenId, { operation: 'emails.read', read: 'exact' })
    .prepare(
      `SELECT accounts.id AS userId, accounts.email, mail_tokens.email AS wanted
       FROM mail_tokens JOIN accounts ON accounts.id = mail_tokens.user_id WHERE ${LIVE_TOKEN}`,
    )
    .bind(tokenId, secretHash, clock.now())
    .first<EmailChange>()

/** Starts the attempts of this kind, which reserve nothing else. */
const PURPOSE = 'email-'

/** The attempts of one token are numbered, so that a link that is opened again after a crash continues. */
async function readAttempt({ shards, claims }: AccountTiers, userId: string, tokenId: string): Promise<ClaimAttempt> {
  const database = shards.of(userId, { operation: 'emails.read-attempts', read: 'exact' })
  const purpose = `${PURPOSE}${tokenId}`
  const attempts = await claims.attemptsStatement(database, userId, purpose).all<{ id: string }>()
  return claims.numberedAttempt(userId, purpose, attempts.results)
}

interface Commit extends EmailChange {
  attempt: ClaimAttempt
  /** The claim of the old address. Null if the account does not hold it, as after a restore. */
  given: ClaimAttempt | null
  origin: string
  retry: RetryKey | null
}

/** False if the token was used or the address changed since they were read, or the attempt is decided. */
async function commit(tiers: AccountTiers, { tokenId, secretHash }: Token, change: Commit): Promise<boolean> {
  const { ids, clock, claims, shards } = tiers
  const { userId, email, wanted, attempt, given, origin, retry } = change
  const now = clock.now()
  const database = shards.of(tokenId, { operation: 'emails.commit' })
  const unchanged: SqlCondition = {
    sql: `EXISTS (SELECT 1 FROM mail_tokens JOIN accounts ON accounts.id = mail_tokens.user_id
      WHERE ${LIVE_TOKEN} AND accounts.email = ?)`,
    values: [tokenId, secretHash, now, email],
  }
  const claimJob = (kind: string, address: string, { attemptId }: ClaimAttempt) =>
    newJob(ids, clock, userId, kind, { key: claimKey(emailClaim(address)), ownerId: userId, attemptId })
  const claimJobs = [
    claimJob('claims.confirm', wanted, attempt),
    ...(given ? [claimJob('claims.give-up', email, given)] : []),
  ]
  const notice = mailStatements(tiers, database, { id: userId, email }, 'email-changed', origin, unchanged)
  try {
    const { changed } = await batchByName(database, {
      taken: claims.takeStatement(database, attempt, unchanged),
      jobs: claimJobs.map((job) => outboxStatementOnlyIf(database, job, unchanged)),
      answer: keepAnswer(tiers, database, tokenId, retry, unchanged),
      ended: database
        .prepare(
          `DELETE FROM mail_tokens WHERE user_id = ? AND id <> ?
             AND purpose IN ('verify-email', 'reset-password', 'change-email') AND ${unchanged.sql}`,
        )
        .bind(userId, tokenId, ...unchanged.values),
      over: given?.attemptId.startsWith(PURPOSE) ? [claims.giveUpAttemptStatement(database, given, unchanged)] : [],
      notice: notice.statements,
      changed: database
        .prepare(`UPDATE accounts SET email = ?, email_verified_at = ? WHERE id = ? AND ${unchanged.sql}`)
        .bind(wanted, now, userId, ...unchanged.values),
      used: database.prepare('DELETE FROM mail_tokens WHERE id = ? AND secret_hash = ?').bind(tokenId, secretHash),
    })
    if (changed.meta.changes === 0) return false
  } catch (error) {
    if (claims.isAttemptDecided(error)) return false
    throw error
  }
  tiers.follow([...claimJobs, notice.job])
  return true
}

const emailTaken = () =>
  taken('EMAIL_TAKEN', '/email', 'An account with this e-mail address exists. Use another address.')
