import { z } from '@hono/zod-openapi'
import { limits } from '../../core/limits.ts'
import { sourceName } from './fields.ts'

/** `there`: imported before. `busy`: not now, and nothing is decided: to be sent again. */
const outcomes = ['imported', 'there', 'refused', 'busy'] as const

/** A user from elsewhere. What it holds is checked user by user: one that is wrong is refused alone. */
export const importedUser = z
  .strictObject({
    /** The user's id in the source. */
    externalId: z.string(),
    email: z.string(),
    handle: z.string(),
    displayName: z.string().optional(),
    bio: z.string().optional(),
    createdAt: z.string().optional(),
    emailVerifiedAt: z.string().optional(),
    /** A PHC string of scrypt; one that can't be checked here is left out. */
    passwordHash: z.string().optional(),
  })
  .openapi('ImportedUser')

export const importShape = z.strictObject({
  /** Which application the users come from. It is part of what their ids are derived from. */
  source: z
    .string()
    .regex(sourceName.pattern, `A source is named by ${sourceName.rule}, and starts with a letter or digit.`),
  users: z.array(importedUser).min(1).max(limits.importUsersMax),
})

export const importOutcome = z
  .object({
    externalId: z.string(),
    outcome: z.enum(outcomes),
    /** The user's id here, where the user is here. */
    id: z.string().nullable(),
    hasPassword: z.boolean(),
    /** Of one that is refused, or is to be sent again. */
    code: z.string().optional(),
    detail: z.string().optional(),
  })
  .openapi('ImportOutcome')

export const verification = z
  .object({
    externalId: z.string(),
    id: z.string().nullable(),
    /** The user is here. */
    isHere: z.boolean(),
    /** What isn't as given: names of fields, and of claims ("claim email") that are not confirmed for exactly this user. */
    differences: z.array(z.string()),
  })
  .openapi('ImportVerification')
