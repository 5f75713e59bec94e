import type { Expiry } from '../../jobs/housekeeping.ts'
import type { JobContext, JobKind, JobKinds } from '../../jobs/kinds.ts'
import type { SendMail } from '../../jobs/mail.ts'
import type { Job } from '../../jobs/outbox.ts'
import { Claims, type GivenUpClaim } from '../../sharding/claims.ts'
import type { ShardDatabase, ShardStatement } from '../../sharding/shards.ts'
import { type MailPurpose, mailToken } from './accounts.ts'

export interface AccountJobOptions {
  signingKey: string
  sendMail: SendMail
}

interface MailBody {
  tokenId: string
  origin: string
}

type ClaimBody = GivenUpClaim

interface RetireBody extends ClaimBody {
  until: number
}

interface Wording {
  subject: string
  /** The path of the link. The token follows, unless the mail is only a notice. */
  path: string
  isNotice?: true
  text(link: string): string
}

const wording: Record<MailPurpose, Wording> = {
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
  'change-email': {
    subject: 'Confirm your new e-mail address',
    path: 'confirm-email',
    text: (link) =>
      `A user of Banyan wants to use this address for an account. If that was you, confirm the change here:\n${link}\n\nThe link works once, for a day. If it was not you, ignore this mail. The account keeps its previous address.\n`,
  },
  'email-changed': {
    subject: 'Your e-mail address was changed',
    path: 'login',
    isNotice: true,
    text: (link) =>
      `Your account at Banyan now has another e-mail address. Mails about the account no longer come to this one.\n\nIf you did not change it, somebody knows your password. Log in with your handle, choose a new password, and change the address back:\n${link}\n`,
  },
}

/** Expired rows of accounts. */
export const accountExpiries: Expiry[] = [
  { keyspace: 'users', table: 'mail_tokens', column: 'expires_at', afterMs: 0 },
  { keyspace: 'users', table: 'password_attempts', column: 'expires_at', afterMs: 0 },
  { keyspace: 'users', table: 'retired_handles', column: 'expires_at', afterMs: 0 },
]

/** The kinds of jobs that accounts create. */
export const accountJobs = (options: AccountJobOptions): JobKinds => ({
  'claims.confirm': claimKind((claims, database, { key, ...attempt }: ClaimBody) =>
    claims.confirmStatement(database, key, attempt),
  ),
  'claims.retire': claimKind((claims, database, { until, ...claim }: RetireBody) =>
    claims.retireStatement(database, claim, until),
  ),
  'claims.give-up': claimKind((claims, database, claim: ClaimBody) => claims.giveUpStatement(database, claim)),
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
  'mail.change-email': {
    queue: 'jobs',
    attemptsMax: 8,
    backoffBaseSeconds: 10,
    run: (job, context) => mail('change-email', options, job, context),
  },
  'mail.email-changed': {
    queue: 'jobs',
    attemptsMax: 8,
    backoffBaseSeconds: 10,
    run: (job, context) => mail('email-changed', options, job, context),
  },
})

/** A kind of job that changes one claim after its owner's batch. */
const claimKind = <Body extends ClaimBody>(
  build: (claims: Claims, database: ShardDatabase, body: Body) => ShardStatement,
): JobKind => ({
  queue: 'jobs',
  attemptsMax: 10,
  backoffBaseSeconds: 2,
  async run(job, { shards, clock, once }) {
    const body = job.body as unknown as Body
    const claims = new Claims(shards, clock)
    await once({ keyspace: 'claims', key: body.key }, (database) => [build(claims, database, body)])
  },
})

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
  const { subject, path, isNotice, text } = wording[purpose]
  // If there is no row, the token was used in the meantime, and its link would not work.
  if (to !== null) {
    const token = isNotice ? '' : `/${mailToken(options.signingKey, purpose, tokenId)}`
    const link = `${origin}/${path}${token}`
    await options.sendMail({ to, subject, text: text(link), messageId: job.id })
  }
  await context.once(place, () => [])
}
