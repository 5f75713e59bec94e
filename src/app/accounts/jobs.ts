import type { Expiry } from '../../jobs/housekeeping.ts'
import type { JobContext, JobKind, JobKinds } from '../../jobs/kinds.ts'
import type { SendMail } from '../../jobs/mail.ts'
import type { Job } from '../../jobs/outbox.ts'
import { Claims, type GivenUpClaim } from '../../sharding/claims.ts'
import type { ShardDatabase, ShardStatement } from '../../sharding/shards.ts'
import { mailParts } from '../../web/mail-layout.ts'
import { unsubscribeToken } from './log-in-notices.ts'
import { type MailPurpose, mailToken } from './mail-tokens.ts'
import { mailContents } from './mails.ts'

export interface AccountJobOptions {
  signingKey: string
  sendMail: SendMail
}

interface MailBody {
  tokenId: string
  origin: string
  /** Of a new log-in. */
  device?: string
}

type ClaimBody = GivenUpClaim

interface RetireBody extends ClaimBody {
  until: number
}

/** Expired rows of accounts. */
export const accountExpiries: Expiry[] = [
  { keyspace: 'users', table: 'mail_tokens', column: 'expires_at', afterMs: 0 },
  { keyspace: 'users', table: 'password_attempts', column: 'expires_at', afterMs: 0 },
  { keyspace: 'users', table: 'retired_handles', column: 'expires_at', afterMs: 0 },
  { keyspace: 'users', table: 'known_devices', column: 'expires_at', afterMs: 0 },
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
  'mail.verify-email': mailKind('verify-email', options),
  // A user waits for this one in front of the form.
  'mail.reset-password': { ...mailKind('reset-password', options), attemptsMax: 5, backoffBaseSeconds: 5 },
  'mail.change-email': mailKind('change-email', options),
  'mail.email-changed': mailKind('email-changed', options),
  'mail.password-changed': mailKind('password-changed', options),
  'mail.new-log-in': mailKind('new-log-in', options),
})

const mailKind = (purpose: MailPurpose, options: AccountJobOptions): JobKind => ({
  queue: 'mail',
  attemptsMax: 8,
  backoffBaseSeconds: 10,
  run: (job, context) => mail(purpose, options, job, context),
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
  const { tokenId, origin, device = 'an unknown program' } = job.body as unknown as MailBody
  const row = await context.shards
    .of(tokenId, { read: 'exact', operation: 'mail.address' })
    .prepare('SELECT email, expires_at AS endsAt FROM mail_tokens WHERE id = ? AND expires_at > ?')
    .bind(tokenId, context.clock.now())
    .first<{ email: string; endsAt: number }>()
  // If there is no row, the token was used or has expired in the meantime, and its link would not work.
  if (row) {
    const token = mailToken(options.signingKey, purpose, tokenId)
    const unsubscribeUrl = `${origin}/unsubscribe/${unsubscribeToken(options.signingKey, job.ownerId)}`
    const facts = { origin, token, endsAt: row.endsAt, at: job.createdAt, device, unsubscribeUrl }
    const content = mailContents[purpose](facts)
    const headers = content.unsubscribe ? unsubscribeHeaders(content.unsubscribe.url) : {}
    await options.sendMail({ to: row.email, ...mailParts(content), headers, messageId: job.id })
  }
  await context.once(place, () => [])
}

/** A mail program shows a button, and its service sends one POST to the address (RFC 8058). */
const unsubscribeHeaders = (url: string) => ({
  'List-Unsubscribe': `<${url}>`,
  'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
})
