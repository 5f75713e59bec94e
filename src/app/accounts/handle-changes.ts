import { DAY_MS } from '../../core/clock.ts'
import { BanyanError } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import { newJob, outboxStatementOnlyIf } from '../../jobs/outbox.ts'
import { purgesOf } from '../../jobs/purges.ts'
import type { Session } from '../../sessions/sessions.ts'
import { type ClaimAttempt, type ClaimHolder, type ClaimSpec, claimKey } from '../../sharding/claims.ts'
import { batchByName, rowsOf } from '../../sharding/named-batch.ts'
import type { SqlCondition } from '../../sharding/shards.ts'
import { userTag } from '../profiles/page-tags.ts'
import { profileChanged } from '../profiles/profiles.ts'
import { type AccountTiers, accountDeleted, handleClaim, taken } from './accounts.ts'

/** What the change is conditional on. The version names one state of the profile, so the handle did not change since. */
interface Held {
  handle: string
  version: number
}

interface RetiredHandle {
  handle: string
  expiresAt: number
}

/**
 * Changes the user's handle. Reserves the new handle, then commits the change and its jobs in one batch in the user's
 * slot. The jobs confirm the new claim, retire the old one, and purge the user's shared pages. Nobody else can take the
 * old handle for `handleRetiredDays`, but the user can take it back. Throws HANDLE_TAKEN, TOO_MANY_HANDLES or CONFLICT.
 */
export async function changeHandle(tiers: AccountTiers, session: Session, text: string): Promise<void> {
  const wanted = handleClaim(text)
  for (let tries = 1; tries <= limits.handleChangeTriesMax; tries++) {
    const { held, retired, attempt } = await readHandles(tiers, session, wanted)
    if (held.handle === wanted.value) return acknowledge(tiers, wanted)
    refuseTooMany(retired, wanted.value)
    const old = await tiers.claims.findHolder(handleClaim(held.handle))
    if (!(await tiers.claims.reserve(wanted, attempt))) {
      const holder = await tiers.claims.findHolder(wanted)
      if (holder?.ownerId !== session.userId)
        throw taken('HANDLE_TAKEN', '/handle', 'This handle is taken. Choose another.')
      continue // an equal request may have taken it for this user
    }
    const given = old?.ownerId === session.userId ? old : null
    if (await commit(tiers, session, { wanted: wanted.value, attempt, held, given })) return
  }
  throw new BanyanError('CONFLICT', 'Another change of your profile is not finished yet. Try again in a minute.')
}

/** An earlier request has made the change. The client must be shown the handle, and the page that its claim leads to. */
async function acknowledge({ claims, idempotency }: AccountTiers, wanted: ClaimSpec): Promise<void> {
  await claims.findHolder(wanted)
  idempotency.foundDone()
}

/** Throws SESSION_ENDED, so that an ended session reserves nothing. */
async function readHandles(tiers: AccountTiers, session: Session, wanted: ClaimSpec) {
  const { sessions, claims, clock } = tiers
  const { userId } = session
  const database = sessions.database(session, { operation: 'handles.read', read: 'exact' })
  const purpose = `${PURPOSE}${claimKey(wanted).slice(0, PURPOSE_DIGITS)}`
  const { live, profile, retired, attempts } = await batchByName(database, {
    live: sessions.dataQuery(database, session),
    profile: rowsOf<Held>(database.prepare('SELECT handle, version FROM profiles WHERE id = ?').bind(userId)),
    retired: rowsOf<RetiredHandle>(
      database
        .prepare(
          `SELECT substr(id, ?) AS handle, expires_at AS expiresAt FROM retired_handles
           WHERE id >= ? AND id < ? AND expires_at > ?`,
        )
        .bind(retiredId(userId, '').length + 1, retiredId(userId, ''), `${userId}/`, clock.now()),
    ),
    attempts: claims.attemptsStatement(database, userId, purpose),
  })
  sessions.dataOf(live)
  const [held] = profile.results
  if (!held) throw accountDeleted()
  return { held, retired: retired.results, attempt: claims.numberedAttempt(userId, purpose, attempts.results) }
}

const PURPOSE = 'handle-'
const PURPOSE_DIGITS = 16

/** `<user id>.<handle>` */
const retiredId = (userId: string, handle: string): string => `${userId}.${handle}`

/** An account keeps its previous handles, so it may have only a few. Taking one back adds none. */
function refuseTooMany(retired: RetiredHandle[], wanted: string): void {
  if (retired.length < limits.handlesRetiredMax || retired.some(({ handle }) => handle === wanted)) return
  const freeAt = new Date(Math.min(...retired.map(({ expiresAt }) => expiresAt))).toISOString().slice(0, 10)
  const names = retired.map(({ handle }) => `@${handle}`).join(', ')
  const detail = `An account keeps at most ${limits.handlesRetiredMax} previous handles, each for ${limits.handleRetiredDays} days: ${names}. Take one of them back, or try again after ${freeAt}.`
  throw new BanyanError('TOO_MANY_HANDLES', detail, { errors: [{ pointer: '/handle', detail }] })
}

interface Change {
  wanted: string
  attempt: ClaimAttempt
  held: Held
  /** The claim of the old handle. Null if the account does not hold it, as after a restore. */
  given: ClaimHolder | null
}

/**
 * True for the attempt of an earlier change, if it is confirmed. A sign-up's attempt has the address, too. Without its
 * attempt, anybody could take an unconfirmed handle that expires before its job retires it.
 */
const isOver = ({ attemptId, state }: ClaimHolder): boolean => attemptId.startsWith(PURPOSE) && state === 'confirmed'

/** False if the profile has changed since it was read, or the attempt is decided. Nothing is written then. */
async function commit(tiers: AccountTiers, session: Session, change: Change): Promise<boolean> {
  const { ids, clock, claims } = tiers
  const { userId } = session
  const { wanted, attempt, held, given } = change
  const until = clock.now() + limits.handleRetiredDays * DAY_MS
  const database = tiers.sessions.database(session, { operation: 'handles.commit' })
  const unchanged: SqlCondition = {
    sql: 'EXISTS (SELECT 1 FROM profiles WHERE id = ? AND handle = ? AND version = ?)',
    values: [userId, held.handle, held.version],
  }
  const claimJob = (kind: string, spec: ClaimSpec, { attemptId }: ClaimAttempt, more = {}) =>
    newJob(ids, clock, userId, kind, { key: claimKey(spec), ownerId: userId, attemptId, ...more })
  const jobs = [
    claimJob('claims.confirm', handleClaim(wanted), attempt),
    ...(given ? [claimJob('claims.retire', handleClaim(held.handle), given, { until })] : []),
    ...purgesOf(tiers, userId, userTag(userId)),
  ]
  try {
    const { changed } = await batchByName(database, {
      taken: claims.takeStatement(database, attempt, unchanged),
      earlier: claims.forgetEarlierStatement(database, attempt, unchanged),
      jobs: jobs.map((job) => outboxStatementOnlyIf(database, job, unchanged)),
      retired: given
        ? database
            .prepare(
              `INSERT INTO retired_handles (id, expires_at) SELECT ?, ? WHERE ${unchanged.sql}
               ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at`,
            )
            .bind(retiredId(userId, held.handle), until, ...unchanged.values)
        : [],
      ended: given && isOver(given) ? [claims.giveUpAttemptStatement(database, given, unchanged)] : [],
      takenBack: database
        .prepare(`DELETE FROM retired_handles WHERE id = ? AND ${unchanged.sql}`)
        .bind(retiredId(userId, wanted), ...unchanged.values),
      changed: database
        .prepare('UPDATE profiles SET handle = ?, version = version + 1 WHERE id = ? AND handle = ? AND version = ?')
        .bind(wanted, userId, held.handle, held.version),
    })
    if (changed.meta.changes === 0) return false
  } catch (error) {
    if (claims.isAttemptDecided(error)) return false
    throw error
  }
  tiers.follow(jobs)
  for (const handle of [held.handle, wanted]) profileChanged(tiers, handle)
  return true
}
