import { randomBytes } from 'node:crypto'
import { appendFileSync, createReadStream, existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Deployment } from '../deploy/deployment.ts'
import type { Platform } from '../platform/api.ts'
import { replaceFile } from '../shell/replace-file.ts'
import { counted } from '../shell/table.ts'
import { accountsBeforeFile, accountsFile, type Ended, keepNote, type Listed, type Travelling } from './note.ts'
import {
  type AccountDifference,
  accountDifferences,
  isNoteWhole,
  noteAccounts,
  raisePasswordVersions,
} from './restored-accounts.ts'
import { revokeAll } from './revoked-rows.ts'

const SALT_BYTES = 16
const RAISED_MAX = 1_000

type Working = Pick<Deployment, 'platform' | 'sleep'>

/** Notes the accounts as they are before a restore, while nobody writes. Throws PlatformError. */
export async function noteBefore(
  { platform, sleep }: Working,
  databaseId: string,
  noteFile: string,
): Promise<NonNullable<Travelling['accounts']>> {
  const salt = randomBytes(SALT_BYTES).toString('base64url')
  const count = await noteAccounts({ platform, sleep, databaseId, salt, noteFile: accountsBeforeFile(noteFile) })
  return { salt, count }
}

/**
 * Ends what time travel has revived, before the shard serves: its sessions and mailed tokens are deleted, accounts that
 * have an older password or address are listed, and their password versions raised. Repeated, it has the same end. Throws
 * PlatformError.
 */
export async function endRevived({ platform, sleep }: Working, noteFile: string, note: Travelling): Promise<Ended> {
  const { databaseId } = note
  const revoked = await revokeAll(platform, databaseId)
  const file = accountsFile(noteFile)
  const listed = note.listed && existsSync(file) ? note.listed : await list({ platform, sleep }, noteFile, note)
  keepNote(noteFile, { ...note, listed })
  if (listed) await raiseListed(platform, databaseId, file)
  return { revoked, listed }
}

/** A line per account that differs. The file has ids only, and only its owner can read it. */
async function list(working: Working, noteFile: string, { databaseId, accounts }: Travelling): Promise<Listed> {
  if (!accounts) return null
  const { salt, count } = accounts
  const place = { ...working, databaseId, salt, noteFile: accountsBeforeFile(noteFile) }
  if (!(await isNoteWhole(place, count))) return null
  const file = accountsFile(noteFile)
  const listed = { password: 0, email: 0, created: 0, deleted: 0 }
  replaceFile(file, '', 0o600)
  for await (const page of accountDifferences(place)) {
    for (const change of page.flatMap(({ changes }) => changes)) listed[change]++
    appendFileSync(file, page.map((difference) => `${JSON.stringify(difference)}\n`).join(''))
  }
  return listed
}

async function raiseListed(platform: Platform, databaseId: string, file: string): Promise<void> {
  let some: AccountDifference[] = []
  for await (const line of createInterface({ input: createReadStream(file) })) {
    some.push(JSON.parse(line) as AccountDifference)
    if (some.length < RAISED_MAX) continue
    await raisePasswordVersions(platform, databaseId, some)
    some = []
  }
  await raisePasswordVersions(platform, databaseId, some)
}

/** For the operator: what was ended, and whom to look after. */
export function endedText({ revoked, listed }: Ended, noteFile: string): string {
  const sessions = `${counted(revoked.sessions, 'session')} and ${counted(revoked.mail_tokens, 'mailed token')}`
  return [`Its users must log in again: ${sessions} were deleted.`, ...listedText(listed, accountsFile(noteFile))].join(
    '\n',
  )
}

function listedText(listed: Listed, file: string): string[] {
  if (listed === null)
    return ['Accounts were not compared, because the list of those before the restore is missing.', RESET_ALL]
  const { password, email, created, deleted } = listed
  if (password + email + created + deleted === 0)
    return ['Every account has the same password and address as before the restore.']
  return [
    `${counted(password, 'account')} with an older password, ${email} with an older e-mail address, ${deleted} deleted since and back, ${created} created since and gone.`,
    `They are listed in ${file}.`,
    ...(password + email > 0 ? [RESET] : []),
  ]
}

const RESET =
  'Send these users a password reset. A password that was changed because somebody else knew it is valid again.'
const RESET_ALL =
  'A password that was changed since then is the older one again. Ask the users of this shard to reset their passwords.'

/** The same for `--json`. */
export const endedJson = ({ revoked, listed }: Ended, noteFile: string) => ({
  sessionsDeleted: revoked.sessions,
  mailTokensDeleted: revoked.mail_tokens,
  accounts: listed && { ...listed, file: accountsFile(noteFile) },
})
