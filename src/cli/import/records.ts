import { z } from 'zod'
import { isVisible } from '../../core/visible.ts'
import type { Field } from './mapping.ts'
import { oddityOf, shown } from './odd-text.ts'

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

/** A longer one, or one with control characters, is no hash that is known here. */
const PASSWORD_HASH = /^[^\p{Cc}\p{Cs}\ufdd0-\ufdd3]{1,500}$/u
const DAY_MS = 86_400_000

const refusalOf = (code: string, detail: string): Refusal => ({ code, detail })
const email = z.string().trim().max(254).pipe(z.email())
const HANDLE = /^[a-z][a-z0-9_]{2,29}$/
/** A password's hash is not among them: an odd one is left out, like every other that is not known here. */
const codes = {
  externalId: 'EXTERNAL_ID_INVALID',
  email: 'EMAIL_INVALID',
  handle: 'HANDLE_INVALID',
  displayName: 'DISPLAY_NAME_INVALID',
  bio: 'BIO_INVALID',
  createdAt: 'CREATED_AT_INVALID',
  emailVerifiedAt: 'EMAIL_VERIFIED_AT_INVALID',
} as const
const checked = Object.entries(codes) as [keyof typeof codes, string][]
const charactersOf = (text: string): number => [...text].length

/**
 * The user in a row, or why it can't be imported. The rules are the server's, which has the last word; a test holds them
 * equal (test/unit/cli/import/records.test.ts).
 */
export function readRow(row: SourceRow, now: number): ImportRecord | Refusal {
  for (const [field, code] of checked) {
    const oddity = oddityOf(row[field] ?? '')
    if (oddity) return refusalOf(code, `${field}: ${oddity}`)
  }
  const externalId = row.externalId ?? ''
  if (externalId === '' || externalId.length > 200)
    return refusalOf('EXTERNAL_ID_INVALID', 'An external id has 1 to 200 characters.')
  const address = (row.email ?? '').trim() // untrimmed, blanks could fill a request
  if (!email.safeParse(address).success) return refusalOf('EMAIL_INVALID', 'This is not an e-mail address.')
  const handle = (row.handle ?? '').trim()
  if (!HANDLE.test(handle.toLowerCase()))
    return refusalOf('HANDLE_INVALID', 'A handle has 3 to 30 characters of a–z, 0–9 and _, and starts with a letter.')
  const displayName = (row.displayName ?? '').trim()
  if (charactersOf(displayName) > 50)
    return refusalOf('DISPLAY_NAME_INVALID', 'A display name has at most 50 characters.')
  if (displayName !== '' && !isVisible(displayName))
    return refusalOf('DISPLAY_NAME_INVALID', 'A display name has a character that people can see.')
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
    ...(PASSWORD_HASH.test(passwordHash) ? { passwordHash } : {}),
  }
}

const isPossible = (time: number | null, now: number): boolean => time === null || (time >= 0 && time <= now + DAY_MS)

const timeRefusal = (code: string, text: string | null | undefined): Refusal =>
  refusalOf(
    code,
    `"${shown(text ?? '').slice(0, 40)}" is no time since 1970: seconds, milliseconds, 2026-07-05 12:00:00 or 2026-07-05T12:00:00Z.`,
  )

const DECIMAL = /^(\d+)(?:\.(\d*))?$/
const EXPONENT = /^\d+(?:\.\d+)?e\+?\d+$/i
/** As RFC 3339, ISO 8601, SQLite, PostgreSQL, MySQL and Rails write it. */
const DATE_TIME = /^(\d{4}-\d\d-\d\d)(?:(?:t| +)(\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(z|utc|gmt|[+-]\d\d(?::?\d\d)?)?)?$/i
/** As seconds it is the year 5138, as milliseconds 1973. */
const MILLISECONDS_FROM = 100_000_000_000

/**
 * Milliseconds since 1970, null for nothing, NaN for what is no time. Where no zone is given it is UTC, as SQLite writes
 * it. What is finer than a millisecond is cut off.
 */
function readTime(text: string): number | null {
  const trimmed = text.trim()
  if (trimmed === '') return null
  const decimal = DECIMAL.exec(trimmed)
  if (decimal) {
    const whole = Number(decimal[1])
    // Multiplied, 1700000000.678 would lose a millisecond.
    return whole >= MILLISECONDS_FROM ? whole : whole * 1_000 + Number((decimal[2] ?? '').padEnd(3, '0').slice(0, 3))
  }
  if (EXPONENT.test(trimmed)) {
    const number = Number(trimmed)
    return Math.floor(number >= MILLISECONDS_FROM ? number : number * 1_000)
  }
  const found = DATE_TIME.exec(trimmed)
  return found && isDate(found[1]!)
    ? Date.parse(`${found[1]}T${found[2] ?? '00:00'}${offsetOf(found[3] ?? 'Z')}`)
    : Number.NaN
}

/** `+05`, `+0530` and `+05:30` as `Date.parse` takes them; `Z` for UTC. */
function offsetOf(zone: string): string {
  if (/^[a-z]/i.test(zone)) return 'Z'
  return `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`
}

/** The 30th of February would be parsed as a day of March. */
const isDate = (date: string): boolean =>
  !Number.isNaN(Date.parse(date)) && new Date(Date.parse(date)).toISOString().startsWith(date)

const NO = ['0', 'false', 'f', 'no', 'n']
const YES = ['1', 'true', 't', 'yes', 'y']

/** A column of times, or of yes and no: then the time is the account's, or nothing is known of it. */
function readVerified(text: string, createdAt: number | null): number | null {
  const word = text.trim().toLowerCase()
  if (NO.includes(word)) return null
  return YES.includes(word) ? (createdAt ?? 0) : readTime(text)
}

export const isRefusal = (read: ImportRecord | Refusal): read is Refusal => 'code' in read
