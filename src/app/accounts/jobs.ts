import type { JobContext, JobKinds } from '../../jobs/dispatch.ts'
import type { Expiry } from '../../jobs/housekeeping.ts'
import type { SendMail } from '../../jobs/mail.ts'
import type { Job } from '../../jobs/outbox.ts'
import { Claims } from '../../sharding/claims.ts'
import { type MailPurpose, mailToken } from './accounts.ts'

export interface AccountJobOptions {
  signingKey: string
  sendMail: SendMail
}

interface MailBody {
  tokenId: string
  origin: string
}

interface ConfirmBody {
  key: string
  ownerId: string
  attemptId: string
}

const wording: Record<MailPurpose, { subject: string; path: string; text: (link: string) => string }> = {
  'verify-email': {
    subject: 'Confirm your e-mail address',
    path: 'verify-email',
    text: (link) =>
      `Welcome to Banyan.\n\nConfirm that this address is yours:\n${link}\n\nThe link works once, for a week. If you did not sign up, ignore this mail.\n`,
  },
  'reset-password': {
    subject: 'Set a new password',
    path: 'reset-password',
    text: (link) =>
      `A new password was requested for the account with this address. If you requested it, set it here:\n${link}\n\nThe link works once, for an hour. If you did not, ignore this mail. Your password has not changed.\n`,
  },
}

/** Expired rows of accounts. */
export const accountExpiries: Expiry[] = [
  { keyspace: 'users', table: 'mail_tokens', column: 'expires_at', afterMs: 0 },
  { keyspace: 'users', table: 'password_attempts', column: 'expires_at', afterMs: 0 },
]

/** The kinds of jobs that accounts create. */
export const accountJobs = (options: AccountJobOptions): JobKinds => ({
  'claims.confirm': { queue: 'jobs', attemptsMax: 10, backoffBaseSeconds: 2, run: confirmClaim },
  'mail.verify-email': {
    queue: 'jobs',
    attemptsMax: 8,
    backoffBaseSeconds: 10,
    run: (job, context) => mail('verify-email', options, job, context),
  },
  'mail.reset-password': {
    queue: 'jobs',
    attemptsMax: 5,
    backoffBaseSeconds: 5,
    run: (job, context) => mail('reset-password', options, job, context),
  },
})

async function confirmClaim(job: Job, { shards, clock, once }: JobContext): Promise<void> {
  const { key, ...attempt } = job.body as unknown as ConfirmBody
  const claims = new Claims(shards, clock)
  await once({ keyspace: 'claims', key }, (database) => [claims.confirmStatement(database, key, attempt)])
}

/** Sends the mail before its inbox row, because it leaves Banyan's stores. So it is sent at least once. */
async function mail(purpose: MailPurpose, options: AccountJobOptions, job: Job, context: JobContext): Promise<void> {
  const place = { keyspace: 'users', key: job.ownerId } as const
  if (await context.isDone(place)) return
  const { tokenId, origin } = job.body as unknown as MailBody
  const to = await context.shards
    .of(tokenId, { read: 'exact', operation: 'mail.address' })
    .prepare('SELECT email FROM mail_tokens WHERE id = ?')
    .bind(tokenId)
    .first<string>('email')
  const { subject, path, text } = wording[purpose]
  // If there is no row, the token was used in the meantime, and its link would not work.
  if (to !== null) {
    const link = `${origin}/${path}/${mailToken(options.signingKey, purpose, tokenId)}`
    await options.sendMail({ to, subject, text: text(link), messageId: job.id })
  }
  await context.once(place, () => [])
}
