import { z } from '@hono/zod-openapi'
import { DAY_MS } from '../../core/clock.ts'
import { derivedUserId } from '../../core/ids.ts'
import type { ClaimSpec } from '../../sharding/claims.ts'
import { wholeText } from '../../web/api.ts'
import { emailClaim, handleClaim, normaliseEmail } from '../accounts/accounts.ts'
import { isImportableHash, NO_PASSWORD } from '../accounts/passwords.ts'
import { email, handle } from '../accounts/shapes.ts'
import { bio, displayName } from '../profiles/shapes.ts'
import { type Refusal, refusalCodes } from './fields.ts'
import type { importedUser } from './shapes.ts'

export type ImportRecord = z.infer<typeof importedUser>

/** An imported user, as it is stored. */
export interface Newcomer {
  externalId: string
  email: string
  handle: string
  displayName: string
  bio: string
  /** Null if unknown. The time of the import is stored then. */
  createdAt: number | null
  emailVerifiedAt: number | null
  passwordHash: string
}

const EXTERNAL_ID_CHARACTERS_MAX = 200

/** An import's rows pass through SQLite's JSON functions, which end a text at a NUL. */
const hasNoNul = (text: string) => !text.includes('\0')
const NO_NUL = 'The text has a NUL character. Remove it.'

const time = z.iso
  .datetime({ offset: true, error: 'This is not a time. Write it as 2026-07-05T12:00:00Z.' })
  .transform((text) => Date.parse(text))

const shape = z.object({
  externalId: wholeText
    .min(1, 'An external id has at least one character.')
    .max(EXTERNAL_ID_CHARACTERS_MAX, `An external id has at most ${EXTERNAL_ID_CHARACTERS_MAX} characters.`)
    .refine(hasNoNul, NO_NUL),
  email,
  handle,
  displayName: displayName.refine(hasNoNul, NO_NUL).optional(),
  bio: bio.refine(hasNoNul, NO_NUL).optional(),
  createdAt: time.optional(),
  emailVerifiedAt: time.optional(),
  passwordHash: z.string().optional(),
})

/** Checks a record by the rules of a sign-up. An unsupported password hash is omitted, not refused. */
export function readRecord(record: ImportRecord, now: number): Newcomer | Refusal {
  const parsed = shape.safeParse(record)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    return { code: codeOf(issue?.path[0]), detail: issue?.message ?? '' }
  }
  const user = parsed.data
  for (const name of ['createdAt', 'emailVerifiedAt'] as const) {
    const at = user[name]
    if (at !== undefined && (at < 0 || at > now + DAY_MS))
      return {
        code: refusalCodes[name],
        detail: 'The time is before 1970 or in the future. Correct it, or omit the field.',
      }
  }
  return {
    externalId: user.externalId,
    email: normaliseEmail(user.email),
    handle: user.handle,
    displayName: user.displayName ?? user.handle,
    bio: user.bio ?? '',
    createdAt: user.createdAt ?? null,
    emailVerifiedAt: user.emailVerifiedAt ?? null,
    passwordHash: user.passwordHash && isImportableHash(user.passwordHash) ? user.passwordHash : NO_PASSWORD,
  }
}

function codeOf(field: PropertyKey | undefined): string {
  const code = Object.entries(refusalCodes).find(([name]) => name === field)?.[1]
  if (!code) throw new Error(`a user is refused for ${String(field)}, which has no code`)
  return code
}

export const isRefusal = (read: Newcomer | Refusal): read is Refusal => 'code' in read

const originOf = (source: string, externalId: string): string => `${source}\0${externalId}`

/**
 * The id is derived from source and external id, so every import gives the same. Without `createdAt`, its time is 0.
 */
export const idOf = (source: string, { externalId, createdAt }: Newcomer): string =>
  derivedUserId(createdAt ?? 0, `import\0${originOf(source, externalId)}`)

/** The values that must be unique: external id, e-mail address and handle. */
export const claimSpecsOf = (source: string, { externalId, email, handle }: Newcomer): ClaimSpec[] => [
  { kind: 'external', value: originOf(source, externalId) },
  emailClaim(email),
  handleClaim(handle),
]
