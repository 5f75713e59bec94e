import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { limits } from '../../core/limits.ts'
import { json, jsonBody, writeProblems } from '../../web/api.ts'
import type { WebEnv } from '../../web/context.ts'
import { operatorsOnly } from '../../web/middleware/operator-only.ts'
import { importUsers, outcomes } from './imports.ts'
import { verifyUsers } from './verification.ts'

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

const SOURCE = /^[a-z0-9][a-z0-9._-]{0,63}$/

export const importShape = z.strictObject({
  /** Which application the users come from. It is part of what their ids are derived from. */
  source: z
    .string()
    .regex(SOURCE, 'A source is named by 1 to 64 of a–z, 0–9, ".", "_" and "-", and starts with a letter or digit.'),
  users: z.array(importedUser).min(1).max(limits.importUsersMax),
})

const importOutcome = z
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

const verification = z
  .object({
    externalId: z.string(),
    id: z.string().nullable(),
    /** The user is here. */
    isHere: z.boolean(),
    /** What isn't as given: names of fields, and of claims ("claim email") that are not confirmed for exactly this user. */
    differences: z.array(z.string()),
  })
  .openapi('ImportVerification')

const answers = writeProblems(401, 404)

export function importRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/imports',
      security: operatorsOnly,
      request: { body: jsonBody(importShape) },
      responses: { 200: json(z.object({ items: z.array(importOutcome) }), 'What came of each, in order'), ...answers },
    }),
    async (c) => c.json({ items: await importUsers(c.get('tiers'), c.req.valid('json')) }, 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/operator/v1/imports/verifications',
      security: operatorsOnly,
      request: { body: jsonBody(importShape) },
      responses: {
        200: json(z.object({ items: z.array(verification) }), 'How each stands in the databases, in order'),
        ...answers,
      },
    }),
    async (c) => c.json({ items: await verifyUsers(c.get('tiers'), c.req.valid('json')) }, 200),
  )
}
