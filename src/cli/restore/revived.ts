import { randomBytes } from 'node:crypto'
import { appendFileSync, createReadStream, existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Deployment } from '../deploy/deployment.ts'
import type { Platform } from '../platform/api.ts'
import { replaceFile } from '../shell/replace-file.ts'
import { counted } from '../shell/table.ts'
import type { Ended, NotedRows, NoteFile, Travelling } from './note.ts'
import { isNoteWhole, noteRows, type Outdated, raiseVersions, rowDifferences } from './noted-rows.ts'
import type { Credentials, Listed, Restored } from './noun.ts'
import { revokeAll } from './revoked-rows.ts'

const SALT_BYTES = 16
const RAISED_MAX = 1_000

type Working = Pick<Deployment, 'platform' | 'sleep'>

/** Notes the rows with credentials before a restore, while there are no writes. Throws PlatformError. */
export async function noteBefore(
  { platform, sleep }: Working,
  databaseId: string,
  credentials: Credentials,
  file: string,
): Promise<NotedRows> {
  const salt = randomBytes(SALT_BYTES).toString('base64url')
  return { salt, count: await noteRows({ platform, sleep, databaseId, credentials, salt, file }) }
}

/**
 * Ends access that time travel has revived, before the shard returns to service. Deletes rows that grant access, lists
 * rows with an older secret or watched text, and raises the versions of older secrets. Idempotent. Throws
 * PlatformError.
 */
export async function endRevived(
  { platform, sleep }: Working,
  { revoked: tables, credentials }: Restored,
  noteFile: NoteFile,
  note: Travelling,
): Promise<Ended> {
  const { databaseId } = note
  const revoked = await revokeAll(platform, databaseId, tables)
  if (!credentials) return { revoked, listed: null }
  const before = existsSync(noteFile.listed) ? note.listed : null
  const listed = before ?? (await list({ platform, sleep }, credentials, noteFile, note))
  noteFile.keep({ ...note, listed })
  if (listed) await raiseListed(platform, databaseId, credentials, noteFile.listed)
  return { revoked, listed }
}

/** Lists the rows that differ, one per line. The file has only ids, and only its owner can read it. */
async function list(
  working: Working,
  credentials: Credentials,
  noteFile: NoteFile,
  { databaseId, noted }: Travelling,
): Promise<Listed> {
  if (!noted || !(await isNoteWhole(noteFile.before, noted.count))) return null
  const { names } = credentials
  const listed = { olderVersion: 0, otherText: 0, created: 0, deleted: 0 }
  const called = { ...names, created: 'created', deleted: 'deleted' }
  replaceFile(noteFile.listed, '', 0o600)
  const place = { ...working, databaseId, credentials, salt: noted.salt, file: noteFile.before }
  for await (const page of rowDifferences(place)) {
    for (const change of page.flatMap(({ changes }) => changes)) listed[change]++
    const lines = page.map(({ id, changes, version }) =>
      JSON.stringify({
        [names.id]: id,
        changes: changes.map((change) => called[change]),
        [names.version]: version,
      }),
    )
    appendFileSync(noteFile.listed, lines.map((line) => `${line}\n`).join(''))
  }
  const { olderVersion, otherText, created, deleted } = listed
  return { [names.olderVersion]: olderVersion, [names.otherText]: otherText, created, deleted }
}

async function raiseListed(
  platform: Platform,
  databaseId: string,
  credentials: Credentials,
  file: string,
): Promise<void> {
  const place = { platform, databaseId, credentials }
  let some: Outdated[] = []
  for await (const line of createInterface({ input: createReadStream(file) })) {
    some.push(...outdatedIn(line, credentials))
    if (some.length < RAISED_MAX) continue
    await raiseVersions(place, some)
    some = []
  }
  await raiseVersions(place, some)
}

function outdatedIn(line: string, { names }: Credentials): Outdated[] {
  const { [names.id]: id, [names.version]: version, changes } = JSON.parse(line) as Record<string, unknown>
  const isOutdated = Array.isArray(changes) && changes.includes(names.olderVersion)
  return isOutdated && typeof id === 'string' && typeof version === 'number' ? [[id, version]] : []
}

/** For the operator: the rows that were deleted, and the users to check. */
export function endedText(
  { revoked, listed }: Ended,
  { revoked: tables, credentials }: Restored,
  file: string,
): string {
  const counts = tables.map(({ table, names }) => counted(revoked[table] ?? 0, names.row))
  const last = counts.pop() ?? ''
  const deleted = counts.length > 0 ? `${counts.join(', ')} and ${last}` : last
  return [
    `Its users must log in again: ${deleted} were deleted.`,
    ...(credentials?.texts.compared(listed, file) ?? []),
  ].join('\n')
}

/** What `endedText` says, for `--json`. */
export const endedJson = ({ revoked, listed }: Ended, { revoked: tables, credentials }: Restored, file: string) => ({
  ...Object.fromEntries(tables.map(({ table, names }) => [names.deleted, revoked[table] ?? 0])),
  ...(credentials ? { [credentials.names.rows]: listed && { ...listed, file } } : {}),
})
