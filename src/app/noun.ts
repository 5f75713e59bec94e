import type { OpenAPIHono } from '@hono/zod-openapi'
import type { JobKinds } from '../jobs/dispatch.ts'
import type { Expiry } from '../jobs/housekeeping.ts'
import type { SendMail } from '../jobs/mail.ts'
import type { WebEnv } from '../web/context.ts'
import type { Navigation } from '../web/site.ts'
import type { ProfileSlot } from './profiles/slots.ts'

/** What handlers of jobs may use beside their job. */
interface JobOptions {
  signingKey: string
  sendMail: SendMail
}

/** Adds a noun's routes to the application. `nouns` are all nouns: a page may have slots that others fill. */
export type RegisterRoutes = (app: OpenAPIHono<WebEnv>, nouns: readonly Noun[]) => void

/**
 * All that a noun contributes to the application. `src/app/nouns.ts` lists the nouns; the entry points in `workers/` read
 * that list and nothing else of `src/app`. What a noun contributes to a command of operators is in files beside this one:
 * `load.operator.ts`, `import.operator.ts` and `restore.operator.ts`.
 */
export interface Noun {
  /** Its folder in `src/app`. */
  name: string
  /** Its tables, as `schema.ts` names them. A shard that lacks one is not ready. */
  tables: readonly string[]
  routes: readonly RegisterRoutes[]
  /** The handlers of its jobs. No two nouns have a kind of the same name. */
  jobs?(options: JobOptions): JobKinds
  /** Which rows of its tables the cron may delete, and when. */
  expiries?: readonly Expiry[]
  navigation?: Navigation
  /** A page for a signed-in user to come back to. Of several, the one with the lowest order is used. */
  home?: { path: string; order: number }
  /** The table with one row per user, whose `id` is the user's id. `shards list` counts it. At most one noun has one. */
  usersTable?: string
  /** What it counts for a user, by the name in the answer: SQL of one number. `profiles.id` is the user's id. */
  userCounts?: Partial<Record<'followers' | 'following' | 'posts', string>>
  /** What it shows on a profile page. */
  profile?: ProfileSlot
}

export const defineNoun = (noun: Noun): Noun => noun
