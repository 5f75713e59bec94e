import { z } from '@hono/zod-openapi'
import { limits } from '../../core/limits.ts'
import { sourceName } from './fields.ts'

/** `there`: imported before. `busy`: undecided, to be sent again. */
const outcomes = ['imported', 'there', 'refused', 'busy'] as const

/** A user to import. Each user is checked separately, so a wrong one does not refuse the others. */
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
    /** A PHC string of scrypt. An unsupported one is omitted. */
    passwordHash: z.string().optional(),
  })
  .openapi('ImportedUser')

export const importShape = z.strictObject({
  /** The name of the application that the users come from. Their ids are derived from it. */
  source: z
    .string()
    .regex(sourceName.pattern, `A source’s name has ${sourceName.rule}, and starts with a letter or digit.`),
  users: z.array(importedUser).min(1).max(limits.importUsersMax),
})

export const importOutcome = z
  .object({
    externalId: z.string(),
    outcome: z.enum(outcomes),
    /** The user's id in Banyan; null if the user is not imported. */
    id: z.string().nullable(),
    hasPassword: z.boolean(),
    /** The reason for `refused` and `busy`. */
    code: z.string().optional(),
    detail: z.string().optional(),
  })
  .openapi('ImportOutcome')

export const verification = z
  .object({
    externalId: z.string(),
    id: z.string().nullable(),
    /** True if the user is imported. */
    isHere: z.boolean(),
    /** Names of differing fields, and of claims ("claim email") that are not confirmed for exactly this user. */
    differences: z.array(z.string()),
  })
  .openapi('ImportVerification')
