import { DAY_MS, HOUR_MS } from '../../core/clock.ts'
import { constantTimeEqual, hmac } from '../../core/digest.ts'
import { BanyanError } from '../../core/errors.ts'
import { isId } from '../../core/ids.ts'
import { limits } from '../../core/limits.ts'
import { type Job, newJob, outboxStatementOnlyIf } from '../../jobs/outbox.ts'
import { hashSecret } from '../../sessions/tokens.ts'
import type { ShardDatabase, ShardStatement, SqlCondition } from '../../sharding/shards.ts'
import type { Tiers } from '../../web/context.ts'

/** The mails with a one-time link. */
type LinkPurpose = 'verify-email' | 'reset-password' | 'change-email'

/** The mails about something that has happened. They have no one-time link. */
export type NoticePurpose = 'email-changed' | 'password-changed' | 'new-log-in'

export type MailPurpose = LinkPurpose | NoticePurpose

const lifetimeMs: Record<MailPurpose, number> = {
  'verify-email': limits.verificationDays * DAY_MS,
  'reset-password': limits.resetMinutes * 60_000,
  'change-email': limits.emailChangeHours * HOUR_MS,
  'email-changed': limits.emailNoticeDays * DAY_MS,
  'password-changed': limits.emailNoticeDays * DAY_MS,
  'new-log-in': limits.emailNoticeDays * DAY_MS,
}

/** An account, and the address that the mail goes to. */
export interface Addressee {
  id: string
  email: string
}

/** SQL condition: the account still has this address, so that no link is mailed to a previous one. */
const hasAddress = ({ id, email }: Addressee): SqlCondition => ({
  sql: 'EXISTS (SELECT 1 FROM accounts WHERE id = ? AND email = ?)',
  values: [id, email],
})

/** A mail's job, and the statements that write it with its token. If they wrote nothing, the first changed no row. */
export interface NewMail {
  job: Job
  statements: ShardStatement[]
}

/**
 * The token's row (secret hashed, with the address) and the mail's job, if the condition holds. The secret is derived,
 * so every attempt of the job mails the same link. `facts` are further data of the job's body.
 */
export function mailStatements(
  { ids, clock, settings }: Pick<Tiers, 'ids' | 'clock' | 'settings'>,
  database: ShardDatabase,
  account: Addressee,
  purpose: MailPurpose,
  origin: string,
  onlyIf = hasAddress(account),
  facts: Record<string, string> = {},
): NewMail {
  const tokenId = ids.ownedId(account.id)
  const job = newJob(ids, clock, account.id, `mail.${purpose}`, { tokenId, origin, ...facts })
  const secretHash = hashSecret(mailSecret(settings.signingKey, purpose, tokenId))
  const expiresAt = job.createdAt + lifetimeMs[purpose]
  return {
    job,
    statements: [
      database
        .prepare(
          `INSERT INTO mail_tokens (id, user_id, purpose, email, secret_hash, expires_at)
           SELECT ?, ?, ?, ?, ?, ? WHERE ${onlyIf.sql}`,
        )
        .bind(tokenId, account.id, purpose, account.email, secretHash, expiresAt, ...onlyIf.values),
      // The condition may not hold any more after the row above.
      outboxStatementOnlyIf(database, job, {
        sql: 'EXISTS (SELECT 1 FROM mail_tokens WHERE id = ?)',
        values: [tokenId],
      }),
    ],
  }
}

/**
 * SQL condition: the user has had a mail of this purpose in the last `ms`. The row of a notice stays until it expires.
 */
export const wasMailed = (userId: string, purpose: NoticePurpose, now: number, ms: number): SqlCondition => ({
  sql: 'EXISTS (SELECT 1 FROM mail_tokens WHERE user_id = ? AND purpose = ? AND expires_at > ?)',
  values: [userId, purpose, now - ms + lifetimeMs[purpose]],
})

/** `<token id>.<secret>`, as in the mail's link. */
export const mailToken = (signingKey: string, purpose: MailPurpose, tokenId: string): string =>
  `${tokenId}.${mailSecret(signingKey, purpose, tokenId)}`

const mailSecret = (signingKey: string, purpose: MailPurpose, tokenId: string): string =>
  hmac(signingKey, `mail-token.${purpose}.${tokenId}`)

/** The parts of a mailed token. Throws NOT_FOUND unless this deployment mailed it for this purpose. */
export function readMailToken({ settings }: Pick<Tiers, 'settings'>, purpose: LinkPurpose, token: string) {
  const [tokenId = '', secret = '', ...rest] = token.split('.')
  const isWellFormed = rest.length === 0 && isId(tokenId)
  if (!isWellFormed || !constantTimeEqual(secret, mailSecret(settings.signingKey, purpose, tokenId))) throw tokenGone()
  return { tokenId, secretHash: hashSecret(secret) }
}

export const tokenGone = () =>
  new BanyanError('NOT_FOUND', 'This link was used, has expired, or is incomplete. Request a new one.')
