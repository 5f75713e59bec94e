import { createHash } from 'node:crypto'
import { appendFileSync, createReadStream, existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Platform } from '../platform/api.ts'
import { readRows, repeatable, runBatch } from '../platform/database.ts'
import { replaceFile } from '../shell/replace-file.ts'
import { here, PAGE_ROWS, PAUSE_MS } from './claim-differences.ts'

/** Where the accounts are, and where their state before the restore is noted. */
export interface AccountPlace {
  platform: Platform
  databaseId: string
  /** Readable by its owner only. A line per account: id, password version, digest of the e-mail address. */
  noteFile: string
  /** Part of each digest, so that the file does not tell who has an account here. */
  salt: string
  sleep(ms: number): Promise<unknown>
}

/** What time travel did to an account. `created`: created since, so it is gone; `deleted`: deleted since, so it is back. */
export type AccountChange = 'password' | 'email' | 'created' | 'deleted'

export interface AccountDifference {
  accountId: string
  changes: AccountChange[]
  /** The version of its password before the restore; null where it had none. */
  passwordVersion: number | null
}

const NEWLINE = 0x0a

interface Noted {
  id: string
  passwordVersion: number
  digest: string
}

const ACCOUNTS = `SELECT id, password_version AS passwordVersion, email FROM accounts
  WHERE id > ? AND ${here('id', 'users')} ORDER BY id LIMIT ?`

/** Notes all accounts, a page at a time. Returns how many there are. Throws PlatformError. */
export async function noteAccounts(place: AccountPlace): Promise<number> {
  const { noteFile } = place
  replaceFile(noteFile, '', 0o600)
  let count = 0
  for await (const page of accountPages(place)) {
    const lines = page.map(({ id, passwordVersion, digest }) => JSON.stringify([id, passwordVersion, digest]))
    appendFileSync(noteFile, lines.map((line) => `${line}\n`).join(''))
    count += page.length
  }
  return count
}

/** False where the file has not as many accounts as were noted: it was deleted, or not all of it reached the disk. */
export async function isNoteWhole({ noteFile }: Pick<AccountPlace, 'noteFile'>, count: number): Promise<boolean> {
  if (!existsSync(noteFile)) return false
  let lines = 0
  for await (const chunk of createReadStream(noteFile) as AsyncIterable<Buffer>)
    for (const byte of chunk) if (byte === NEWLINE) lines++
  return lines === count
}

/**
 * Merges the accounts of now, in the order of their ids, with those noted before: yields what differs, a page at a time.
 * Where it differs, the password or the address of now is the older one. Throws PlatformError.
 */
export async function* accountDifferences(place: AccountPlace): AsyncGenerator<AccountDifference[]> {
  const before = linesOf(place.noteFile)
  const next = async () => (await before.next()).value ?? null
  let was = await next()
  for await (const page of accountPages(place)) {
    const differences: AccountDifference[] = []
    for (const is of page) {
      for (; was && order(was.id, is.id) < 0; was = await next()) differences.push(created(was))
      if (was?.id === is.id) {
        const changes = changesOf(was, is)
        if (changes.length > 0) differences.push({ accountId: is.id, changes, passwordVersion: was.passwordVersion })
        was = await next()
      } else differences.push({ accountId: is.id, changes: ['deleted'], passwordVersion: null })
    }
    yield differences
  }
  for (; was; was = await next()) yield [created(was)]
}

const changesOf = (was: Noted, is: Noted): AccountChange[] => [
  ...(is.passwordVersion < was.passwordVersion ? (['password'] as const) : []),
  ...(is.digest === was.digest ? [] : (['email'] as const)),
]

const created = ({ id, passwordVersion }: Noted): AccountDifference => ({
  accountId: id,
  changes: ['created'],
  passwordVersion,
})

/**
 * Raises the password versions of these accounts above those that they had before, so that a version never names a second
 * password. A log-in that checked the password of before the restore then can't open a session for a later one. Repeated, it
 * has the same end.
 */
export async function raisePasswordVersions(
  platform: Platform,
  databaseId: string,
  differences: AccountDifference[],
): Promise<void> {
  const raised = differences
    .filter(({ changes }) => changes.includes('password'))
    .map(({ accountId, passwordVersion }) => [accountId, passwordVersion! + 1])
  if (raised.length === 0) return
  const sql = `UPDATE accounts SET password_version = max(password_version, raised.version)
    FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS version FROM json_each(?)) AS raised
    WHERE accounts.id = raised.id`
  await repeatable(() => runBatch(platform, databaseId, [{ sql, params: [JSON.stringify(raised)] }]))
}

async function* accountPages({ platform, databaseId, salt, sleep }: AccountPlace): AsyncGenerator<Noted[]> {
  for (let after = ''; ; ) {
    const rows = await readRows<{ id: string; passwordVersion: number; email: string }>(
      platform,
      databaseId,
      ACCOUNTS,
      [after, PAGE_ROWS],
    )
    yield rows.map(({ id, passwordVersion, email }) => ({ id, passwordVersion, digest: digestOf(salt, email) }))
    if (rows.length < PAGE_ROWS) return
    after = rows.at(-1)!.id
    await sleep(PAUSE_MS)
  }
}

async function* linesOf(file: string): AsyncGenerator<Noted, void> {
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    const [id, passwordVersion, digest] = JSON.parse(line) as [string, number, string]
    yield { id, passwordVersion, digest }
  }
}

const digestOf = (salt: string, email: string): string =>
  createHash('sha256').update(`${salt}\0${email.toLowerCase()}`).digest('base64url')

/** As SQLite compares text: by its bytes. */
const order = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other))
