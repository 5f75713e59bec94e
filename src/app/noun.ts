import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Images } from '../assets/images.ts'
import type { Objects } from '../assets/objects.ts'
import type { Backfill } from '../jobs/backfills.ts'
import type { Duty, DutyTools } from '../jobs/duties.ts'
import type { Expiry } from '../jobs/housekeeping.ts'
import type { JobKinds } from '../jobs/kinds.ts'
import type { SendMail } from '../jobs/mail.ts'
import type { Job } from '../jobs/outbox.ts'
import type { Schedule } from '../jobs/schedules.ts'
import type { WebEnv } from '../web/context.ts'
import type { Navigation } from '../web/site.ts'
import type { UserList } from '../web/user-list.ts'
import type { PictureChanged } from './media/media.ts'
import type { ProfileSlot } from './profiles/slots.ts'

/** What handlers of jobs may use besides their job. */
export interface JobOptions {
  signingKey: string
  sendMail: SendMail
  objects: Objects
  images: Images
  /** The statements of all nouns. */
  pictureChanged: PictureChanged
  /** The jobs that purge what has this tag from the shared cache. Empty if nothing is cached. */
  purgesOf(ownerId: string, tag: string): Job[]
}

/** What the duties of nouns work with. */
export interface NounDutyTools extends DutyTools {
  objects: Objects
}

/** Adds a noun's routes to the application. `nouns` has all nouns, because a page may leave places that others fill. */
export type RegisterRoutes = (app: OpenAPIHono<WebEnv>, nouns: readonly Noun[]) => void

/**
 * Everything that a noun contributes to the application. `src/app/nouns.ts` lists the nouns. The entry points in
 * `workers/` read only that list from `src/app`. What a noun adds to operators' commands is in its `load.operator.ts`,
 * `import.operator.ts` and `restore.operator.ts`.
 */
export interface Noun {
  /** Its folder in `src/app`. */
  name: string
  /** Its tables, by their names in `schema.ts`. A shard with all migrations that lacks a table is not ready. */
  tables: readonly string[]
  routes: readonly RegisterRoutes[]
  /** The handlers of its jobs. Kinds are unique across nouns. */
  jobs?(options: JobOptions): JobKinds
  /** Statements over all rows of one of its tables, which an operator starts (docs/building/backfills.md). */
  backfills?: readonly Backfill[]
  /** The rows of its tables that the cron may delete, and when. */
  expiries?: readonly Expiry[]
  /** Its jobs that are created regularly. */
  schedules?: readonly Schedule[]
  /** Its work of the cron, such as a repair. One of all nouns' duties runs each minute, within its budget. */
  duties?(tools: NounDutyTools): Duty[]
  navigation?: Navigation
  /** A start page for signed-in users. The page with the lowest order is used. */
  home?: { path: string; order: number }
  /** The table with one row per user, whose `id` is the user's id. `shards list` counts it. At most one noun has it. */
  usersTable?: string
  /** The queries of the operators' list of users. At most one noun has them. */
  userList?: UserList
  /** The kinds of claims that its rows hold. A restore compares them: `restore.operator.ts`. */
  claims?: readonly string[]
  /** Its counts for a user, by name in the answer. Each is SQL for one number. `profiles.id` is the user's id. */
  userCounts?: Partial<Record<'followers' | 'following' | 'posts', string>>
  /** For the batch that changes a picture, for example to raise the version of what shows it. */
  pictureChanged?: PictureChanged
  /** Its part of a profile page. */
  profile?: ProfileSlot
}

export const defineNoun = (noun: Noun): Noun => noun
