import { DAY_MS } from '../../core/clock.ts'
import { constantTimeEqual, hmac, sha256Hex } from '../../core/digest.ts'
import { isUserId } from '../../core/ids.ts'
import { limits } from '../../core/limits.ts'
import type { MintedSession, Session } from '../../sessions/sessions.ts'
import { rowsOf, type Typed } from '../../sharding/named-batch.ts'
import type { ShardDatabase, ShardStatement, SqlCondition } from '../../sharding/shards.ts'
import type { Tiers } from '../../web/context.ts'
import { type Addressee, mailStatements, type NewMail, tokenGone, wasMailed } from './mail-tokens.ts'
import { deviceName, withoutVersions } from './user-agents.ts'

/** The row of a device: `<user id>.<SHA-256 of the User-Agent without versions>`. */
const deviceId = ({ userId, userAgent }: MintedSession): string => `${userId}.${sha256Hex(withoutVersions(userAgent))}`

/** Remembers the device of a session that the same batch inserts. A device that is not seen again is forgotten. */
export const rememberDevice = (database: ShardDatabase, minted: MintedSession): ShardStatement =>
  database
    .prepare(
      `INSERT INTO known_devices (id, expires_at) SELECT ?, ? WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?)
       ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at`,
    )
    .bind(deviceId(minted), minted.createdAt + limits.knownDeviceDays * DAY_MS, minted.id)

/**
 * The notice of a log-in. Put its statements after the insertion of the session, and before those that end sessions or
 * remember the device. They write it if the session was inserted, the device is unknown, the user wants these notices,
 * and got none in the last hour.
 */
export function newLogInMail(
  tiers: Pick<Tiers, 'ids' | 'clock' | 'settings'>,
  database: ShardDatabase,
  account: Addressee,
  minted: MintedSession,
  origin: string,
): NewMail {
  const recently = wasMailed(account.id, 'new-log-in', minted.createdAt, limits.logInNoticeMs)
  const onlyIf: SqlCondition = {
    sql: `EXISTS (SELECT 1 FROM sessions WHERE id = ?)
      AND EXISTS (SELECT 1 FROM accounts WHERE id = ? AND log_in_notices = 1)
      AND NOT EXISTS (SELECT 1 FROM known_devices WHERE id = ? AND expires_at > ?)
      AND NOT EXISTS (SELECT 1 FROM sessions WHERE user_id = ? AND user_agent = ? AND id <> ?)
      AND NOT ${recently.sql}`,
    values: [
      minted.id,
      account.id,
      deviceId(minted),
      minted.createdAt,
      account.id,
      minted.userAgent,
      minted.id,
      ...recently.values,
    ],
  }
  const facts = { device: deviceName(minted.userAgent) }
  return mailStatements(tiers, database, account, 'new-log-in', origin, onlyIf, facts)
}

/** Whether the user gets these notices, for a batch with other reads of the user's slot. */
export const logInNoticesQuery = (database: ShardDatabase, userId: string): Typed<{ isOn: number }> =>
  rowsOf<{ isOn: number }>(database.prepare('SELECT log_in_notices AS isOn FROM accounts WHERE id = ?').bind(userId))

/** Switches the notices on or off, for a signed-in user. */
export async function switchLogInNotices(
  { sessions }: Pick<Tiers, 'sessions'>,
  session: Session,
  isOn: boolean,
): Promise<void> {
  const database = sessions.database(session, { operation: 'notices.switch', idempotent: true })
  await switchStatement(database, session.userId, isOn).run()
}

/**
 * Switches the notices off by a link in one of them, without a session. The link works as long as its account and the
 * signing key, and does nothing else. Throws NOT_FOUND if it was not signed here.
 */
export async function unsubscribeLogInNotices(
  { shards, settings }: Pick<Tiers, 'shards' | 'settings'>,
  token: string,
): Promise<void> {
  const [userId = '', proof = '', ...rest] = token.split('.')
  const isSigned = constantTimeEqual(proof, unsubscribeProof(settings.signingKey, userId))
  if (!isUserId(userId) || rest.length > 0 || !isSigned) throw tokenGone()
  const database = shards.of(userId, { operation: 'notices.unsubscribe', idempotent: true })
  await switchStatement(database, userId, false).run()
}

const switchStatement = (database: ShardDatabase, userId: string, isOn: boolean): ShardStatement =>
  database.prepare('UPDATE accounts SET log_in_notices = ? WHERE id = ?').bind(isOn ? 1 : 0, userId)

/** `<user id>.<proof>` */
export const unsubscribeToken = (signingKey: string, userId: string): string =>
  `${userId}.${unsubscribeProof(signingKey, userId)}`

const unsubscribeProof = (signingKey: string, userId: string): string =>
  hmac(signingKey, `unsubscribe.new-log-in.${userId}`)
