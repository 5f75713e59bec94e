import { DAY_MS } from '../../core/clock.ts'
import { isVisible } from '../../core/visible.ts'
import { normaliseEmail } from '../accounts/accounts.ts'
import { email } from '../accounts/shapes.ts'
import { HANDLE } from '../profiles/profiles.ts'
import { type Refusal, refusalCodes } from './fields.ts'
import type { ImportRecord } from './records.ts'

/** The fields of a row as strings. */
type Row = Readonly<Record<string, string | null>>

/** Texts that are longer or contain control characters are no known form of a hash. */
const PASSWORD_HASH = /^[^\p{Cc}\p{Cs}]{1,500}$/u
const EXTERNAL_ID_CHARACTERS_MAX = 200
const DISPLAY_NAME_CHARACTERS_MAX = 50
const BIO_CHARACTERS_MAX = 300
const TIME_CHARACTERS_SHOWN = 40

const refusalOf = (field: keyof typeof refusalCodes, detail: string): Refusal => ({ code: refusalCodes[field], detail })
const charactersOf = (text: string): number => [...text].length

/**
 * The user of a row, or why the user can't be imported. The rules equal those of `records.ts`, which decides on the
 * server. test/unit/app/imports/record-rules.test.ts checks that they are equal.
 */
export function readRow(row: Row, now: number): ImportRecord | Refusal {
  const externalId = row.externalId ?? ''
  if (externalId === '' || externalId.length > EXTERNAL_ID_CHARACTERS_MAX)
    return refusalOf('externalId', `An external id has 1 to ${EXTERNAL_ID_CHARACTERS_MAX} characters.`)
  const address = (row.email ?? '').trim() // untrimmed, spaces could fill a request
  if (!email.safeParse(address).success)
    return refusalOf('email', 'This is not an e-mail address. Write it as name@example.com.')
  const handle = (row.handle ?? '').trim()
  if (!HANDLE.test(handle))
    return refusalOf('handle', 'A handle has 3 to 30 characters of a–z, 0–9 and _, and starts with a letter.')
  const displayName = (row.displayName ?? '').trim()
  if (charactersOf(displayName) > DISPLAY_NAME_CHARACTERS_MAX)
    return refusalOf('displayName', `A display name has at most ${DISPLAY_NAME_CHARACTERS_MAX} characters.`)
  if (displayName !== '' && !isVisible(displayName))
    return refusalOf('displayName', 'A display name has at least one visible character.')
  const bio = row.bio ?? ''
  if (charactersOf(bio) > BIO_CHARACTERS_MAX)
    return refusalOf('bio', `A bio has at most ${BIO_CHARACTERS_MAX} characters.`)
  const createdAt = readTime(row.createdAt ?? '')
  if (!isPossible(createdAt, now)) return timeRefusal('createdAt', row.createdAt)
  const emailVerifiedAt = readVerified(row.emailVerifiedAt ?? '', createdAt)
  if (!isPossible(emailVerifiedAt, now)) return timeRefusal('emailVerifiedAt', row.emailVerifiedAt)
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

/** The values that only one user of a file may have. */
export const uniqueIn = ({ externalId, email, handle }: ImportRecord) => [
  { code: 'EXTERNAL_ID_TWICE', called: 'external id', value: externalId },
  { code: 'EMAIL_TWICE', called: 'e-mail address', value: normaliseEmail(email) },
  { code: 'HANDLE_TWICE', called: 'handle', value: handle.toLowerCase() },
]

const isPossible = (time: number | null, now: number): boolean => time === null || (time >= 0 && time <= now + DAY_MS)

const timeRefusal = (field: 'createdAt' | 'emailVerifiedAt', text: string | null | undefined): Refusal =>
  refusalOf(
    field,
    `"${(text ?? '').slice(0, TIME_CHARACTERS_SHOWN)}" is not a time since 1970 (seconds, milliseconds, 2026-07-05 12:00:00 or 2026-07-05T12:00:00Z).`,
  )

const DECIMAL = /^(\d+)(?:\.(\d*))?$/
const EXPONENT = /^\d+(?:\.\d+)?e\+?\d+$/i
/** The forms of RFC 3339, ISO 8601, SQLite, PostgreSQL, MySQL and Rails. */
const DATE_TIME = /^(\d{4}-\d\d-\d\d)(?:(?:t| +)(\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(z|utc|gmt|[+-]\d\d(?::?\d\d)?)?)?$/i
/** In seconds, this is the year 5138; in milliseconds, it is 1973. */
const MILLISECONDS_FROM = 100_000_000_000

/**
 * Milliseconds since 1970, null for an empty text, NaN for an invalid time. Without a zone, the time is in UTC, as
 * SQLite writes it. Fractions of a millisecond are dropped.
 */
function readTime(text: string): number | null {
  const trimmed = text.trim()
  if (trimmed === '') return null
  const decimal = DECIMAL.exec(trimmed)
  if (decimal) {
    const whole = Number(decimal[1])
    // Multiplying 1700000000.678 by 1,000 would lose a millisecond.
    return whole >= MILLISECONDS_FROM ? whole : whole * 1_000 + Number((decimal[2] ?? '').padEnd(3, '0').slice(0, 3))
  }
  if (EXPONENT.test(trimmed)) {
    const number = Number(trimmed)
    return Math.floor(number >= MILLISECONDS_FROM ? number : number * 1_000)
  }
  const [, date, time = '00:00', zone = 'Z'] = DATE_TIME.exec(trimmed) ?? []
  return date !== undefined && isDate(date) ? Date.parse(`${date}T${time}${offsetOf(zone)}`) : Number.NaN
}

/** Converts `+05`, `+0530` and `+05:30` to a form that `Date.parse` accepts; `Z` for UTC. */
function offsetOf(zone: string): string {
  if (/^[a-z]/i.test(zone)) return 'Z'
  return `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`
}

/** True for a date that exists. `Date.parse` would read the 30th of February as a day in March. */
const isDate = (date: string): boolean =>
  !Number.isNaN(Date.parse(date)) && new Date(Date.parse(date)).toISOString().startsWith(date)

const NO = ['0', 'false', 'f', 'no', 'n']
const YES = ['1', 'true', 't', 'yes', 'y']

/** Reads a column of times, or of yes and no. For yes, the time is the account's creation, or 0 if that is unknown. */
function readVerified(text: string, createdAt: number | null): number | null {
  const word = text.trim().toLowerCase()
  if (NO.includes(word)) return null
  return YES.includes(word) ? (createdAt ?? 0) : readTime(text)
}
