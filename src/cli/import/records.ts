import { z } from 'zod'
import type { Field } from './mapping.ts'

/** A user as the operators' API takes it. */
export interface ImportRecord {
  externalId: string
  email: string
  handle: string
  displayName?: string
  bio?: string
  createdAt?: string
  emailVerifiedAt?: string
  passwordHash?: string
}

export interface Refusal {
  code: string
  detail: string
}

/** A row of the file: what the mapped columns hold, as text. */
export type SourceRow = Partial<Record<Field, string | null>>

const PASSWORD_HASH_CHARACTERS_MAX = 500 // what is longer is no hash
const DAY_MS = 86_400_000

const refusalOf = (code: string, detail: string): Refusal => ({ code, detail })
const email = z.string().trim().max(254).pipe(z.email())
const HANDLE = /^[a-z][a-z0-9_]{2,29}$/
const charactersOf = (text: string): number => [...text].length

/**
 * The user in a row, or why it can't be imported. The rules are the server's, which has the last word; a test holds them
 * equal (test/unit/cli/import/records.test.ts).
 */
export function readRow(row: SourceRow, now: number): ImportRecord | Refusal {
  const externalId = row.externalId ?? ''
  if (externalId === '' || externalId.length > 200)
    return refusalOf('EXTERNAL_ID_INVALID', 'An external id has 1 to 200 characters.')
  const address = row.email ?? ''
  if (!email.safeParse(address).success) return refusalOf('EMAIL_INVALID', 'This is not an e-mail address.')
  const handle = (row.handle ?? '').trim()
  if (!HANDLE.test(handle.toLowerCase()))
    return refusalOf('HANDLE_INVALID', 'A handle has 3 to 30 characters of a–z, 0–9 and _, and starts with a letter.')
  const displayName = (row.displayName ?? '').trim()
  if (charactersOf(displayName) > 50)
    return refusalOf('DISPLAY_NAME_INVALID', 'A display name has at most 50 characters.')
  const bio = row.bio ?? ''
  if (charactersOf(bio) > 300) return refusalOf('BIO_INVALID', 'A bio has at most 300 characters.')
  const createdAt = readTime(row.createdAt ?? '')
  if (!isPossible(createdAt, now)) return timeRefusal('CREATED_AT_INVALID', row.createdAt)
  const emailVerifiedAt = readVerified(row.emailVerifiedAt ?? '', createdAt)
  if (!isPossible(emailVerifiedAt, now)) return timeRefusal('EMAIL_VERIFIED_AT_INVALID', row.emailVerifiedAt)
  const passwordHash = row.passwordHash ?? ''
  return {
    externalId,
    email: address,
    handle,
    ...(displayName === '' ? {} : { displayName }),
    ...(bio === '' ? {} : { bio }),
    ...(createdAt === null ? {} : { createdAt: new Date(createdAt).toISOString() }),
    ...(emailVerifiedAt === null ? {} : { emailVerifiedAt: new Date(emailVerifiedAt).toISOString() }),
    ...(passwordHash === '' || passwordHash.length > PASSWORD_HASH_CHARACTERS_MAX ? {} : { passwordHash }),
  }
}

const isPossible = (time: number | null, now: number): boolean => time === null || (time >= 0 && time <= now + DAY_MS)

const timeRefusal = (code: string, text: string | null | undefined): Refusal =>
  refusalOf(
    code,
    `"${(text ?? '').slice(0, 40)}" is no time since 1970: seconds, milliseconds, or 2026-07-05 12:00:00.`,
  )

const NUMBER = /^-?\d+(?:\.\d+)?(?:e\+?\d+)?$/i
const DATE_TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:?\d\d)?)?$/
/** As seconds it is the year 5138, as milliseconds 1973. */
const MILLISECONDS_FROM = 100_000_000_000

/** Milliseconds since 1970, null for nothing, NaN for what is no time. Where no zone is given it is UTC, as SQLite writes it. */
export function readTime(text: string): number | null {
  const trimmed = text.trim()
  if (trimmed === '') return null
  if (NUMBER.test(trimmed)) {
    const number = Number(trimmed)
    return Math.floor(number >= MILLISECONDS_FROM ? number : number * 1_000)
  }
  const found = DATE_TIME.exec(trimmed)
  return found && isDate(found[1]!) ? Date.parse(`${found[1]}T${found[2] ?? '00:00'}${found[3] ?? 'Z'}`) : Number.NaN
}

/** The 30th of February would be parsed as a day of March. */
const isDate = (date: string): boolean =>
  !Number.isNaN(Date.parse(date)) && new Date(Date.parse(date)).toISOString().startsWith(date)

/** A column of times, or of yes and no: then the time is the account's, or nothing is known of it. */
function readVerified(text: string, createdAt: number | null): number | null {
  const plain = text.trim().toLowerCase()
  if (plain === '0' || plain === 'false' || plain === 'f') return null
  if (plain === '1' || plain === 'true' || plain === 't') return createdAt ?? 0
  return readTime(plain)
}

export const isRefusal = (read: ImportRecord | Refusal): read is Refusal => 'code' in read
