import { createHash } from 'node:crypto'
import { appendFileSync, createReadStream, existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Platform } from '../platform/api.ts'
import { readRows, repeatable, runBatch } from '../platform/database.ts'
import { replaceFile } from '../shell/replace-file.ts'
import type { Credentials } from './noun.ts'
import { PAUSE_MS, pagesHere, type Read } from './rows-here.ts'

/** The place of the rows with credentials, and the file that notes their state before the restore. */
export interface NotedPlace {
  platform: Platform
  databaseId: string
  credentials: Credentials
  /** Readable by its owner only. One line per row: id, version, digest of the watched text. */
  file: string
  /** Part of each digest, so that the file does not reveal the text. */
  salt: string
  sleep(ms: number): Promise<unknown>
}

/**
 * The effect of time travel on a row. `created`: created since, so it is lost. `deleted`: deleted since, so it is back.
 */
export interface RowDifference {
  id: string
  changes: ('olderVersion' | 'otherText' | 'created' | 'deleted')[]
  /** Its version before the restore; null if the row did not exist. */
  version: number | null
}

const NEWLINE = 0x0a

interface Noted {
  id: string
  version: number
  digest: string
}

/** Notes all rows in pages, and returns their number. Throws PlatformError. */
export async function noteRows(place: NotedPlace): Promise<number> {
  const { file } = place
  replaceFile(file, '', 0o600)
  let count = 0
  for await (const page of notedPages(place)) {
    const lines = page.map(({ id, version, digest }) => JSON.stringify([id, version, digest]))
    appendFileSync(file, lines.map((line) => `${line}\n`).join(''))
    count += page.length
  }
  return count
}

/** False if the file was deleted or has fewer rows than were noted, because not all of it reached the disk. */
export async function isNoteWhole(file: string, count: number): Promise<boolean> {
  if (!existsSync(file)) return false
  let lines = 0
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>)
    for (const byte of chunk) if (byte === NEWLINE) lines++
  return lines === count
}

/**
 * Merges the current rows with the noted ones, both ordered by id, and yields pages of differences. If a row differs,
 * its current secret or text is the older one. Throws PlatformError.
 */
export async function* rowDifferences(place: NotedPlace): AsyncGenerator<RowDifference[]> {
  const before = linesOf(place.file)
  const next = async () => (await before.next()).value ?? null
  let was = await next()
  for await (const page of notedPages(place)) {
    const differences: RowDifference[] = []
    for (const is of page) {
      for (; was && order(was.id, is.id) < 0; was = await next()) differences.push(created(was))
      if (was?.id === is.id) {
        const changes = changesOf(was, is)
        if (changes.length > 0) differences.push({ id: is.id, changes, version: was.version })
        was = await next()
      } else differences.push({ id: is.id, changes: ['deleted'], version: null })
    }
    yield differences
  }
  for (; was; was = await next()) yield [created(was)]
}

const changesOf = (was: Noted, is: Noted): RowDifference['changes'] => [
  ...(is.version < was.version ? (['olderVersion'] as const) : []),
  ...(is.digest === was.digest ? [] : (['otherText'] as const)),
]

const created = ({ id, version }: Noted): RowDifference => ({ id, changes: ['created'], version })

/** A row and the version that it must exceed. */
export type Outdated = [id: string, version: number]

/**
 * Raises the versions of these rows above their versions before the restore, so that no version names two secrets. A
 * log-in that checked the secret from before the restore then can't open a session. Idempotent.
 */
export async function raiseVersions(
  { platform, databaseId, credentials }: Pick<NotedPlace, 'platform' | 'databaseId' | 'credentials'>,
  outdated: Outdated[],
): Promise<void> {
  if (outdated.length === 0) return
  const { table, columns } = credentials
  const sql = `UPDATE ${table} SET ${columns.version} = max(${columns.version}, raised.version + 1)
    FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS version FROM json_each(?)) AS raised
    WHERE ${table}.id = raised.id`
  await repeatable(() => runBatch(platform, databaseId, [{ sql, params: [JSON.stringify(outdated)] }]))
}

async function* notedPages(place: NotedPlace): AsyncGenerator<Noted[]> {
  const { platform, databaseId, credentials, salt, sleep } = place
  const { table, columns } = credentials
  let isFirst = true
  const read: Read = async (id, sql, params) => {
    if (!isFirst) await sleep(PAUSE_MS)
    isFirst = false
    return readRows(platform, id, sql, params)
  }
  const select = `SELECT id, ${columns.version} AS version, ${columns.watched} AS watched FROM ${table}`
  const rows = { select, key: 'id', keyspace: 'users' }
  for await (const page of pagesHere<{ id: string; version: number; watched: string }>(read, databaseId, rows))
    yield page.map(({ id, version, watched }) => ({ id, version, digest: digestOf(salt, watched) }))
}

async function* linesOf(file: string): AsyncGenerator<Noted, void> {
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    const [id, version, digest] = JSON.parse(line) as [string, number, string]
    yield { id, version, digest }
  }
}

const digestOf = (salt: string, text: string): string =>
  createHash('sha256').update(`${salt}\0${text}`).digest('base64url')

/** Compares by bytes, as SQLite compares text. */
const order = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other))
