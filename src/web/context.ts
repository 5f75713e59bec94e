import type { Objects } from '../assets/objects.ts'
import type { ReadCache } from '../cache/cache.ts'
import type { Clock, TimeBudget } from '../core/clock.ts'
import type { IdSource } from '../core/ids.ts'
import type { Log } from '../core/log.ts'
import type { Random } from '../core/random.ts'
import type { QueueName } from '../jobs/kinds.ts'
import type { Job } from '../jobs/outbox.ts'
import type { Pauses } from '../jobs/pauses.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import type { Claims } from '../sharding/claims.ts'
import type { Idempotency } from '../sharding/idempotency.ts'
import type { Shards } from '../sharding/shards.ts'
import type { CausalToken } from './causal-token.ts'
import type { AssetUrls } from './layout.tsx'
import type { MailPreviews } from './mail-previews.ts'
import type { UploadedFile } from './multipart.ts'
import type { PublicPages, Sharing } from './sharing.ts'
import type { Site } from './site.ts'

/** The settings. workers/settings.ts reads and checks them once per isolate. */
export interface Settings {
  signingKey: string
  operatorToken: string | null
  publicOrigin: string | null
  jobs: 'queue' | 'inline'
  rateLimits: 'on' | 'off'
  mailFrom: string
  /** `on`: `/dev/mails` shows the mails that were sent. Only on localhost. */
  mailPreviews: 'off' | 'on'
  /** `off`: nothing is cached, and no page is handed over to `PublicPages`. */
  cache: 'on' | 'off'
  /** `on`: plain reads of the web tier go to the replicas of D1. */
  replicas: 'on' | 'off'
  /** Which settings suit only localhost, and how to fix them; null if there are none. */
  localOnly: string | null
}

export type RateLimitName = 'requests' | 'writes' | 'credentials' | 'search'

/** How many calls a request made, for `server-timing`. */
export interface Calls {
  d1: number
  kv: number
  directory: number
}

export interface DependencyReport {
  name: string
  ok: boolean
  detail: string
}

/** The tiers for one request. workers/context.ts creates them from the bindings. */
export interface Tiers {
  settings: Settings
  clock: Clock
  random: Random
  ids: IdSource
  log: Log
  shards: Shards
  cache: ReadCache
  claims: Claims
  idempotency: Idempotency
  sessions: Sessions
  assets: AssetUrls
  /** The counts that nouns contribute to a user, by name. Each is SQL for one number. */
  userCounts: { [name in string]?: string }
  calls: Calls
  /** How long the request may still make calls. */
  time: TimeBudget
  /** What the client sent to read its own writes. */
  client: CausalToken
  /** The slots that this request has written. */
  writtenSlots: ReadonlySet<string>
  /** The D1 bookmarks of this request's writes, by shard id. Empty without replicas. */
  writtenBookmarks: ReadonlyMap<string, string>
  /** True after this request has committed a write. Its answer then carries a new causal token. */
  hasWritten(): boolean
  /** Call after a commit. Sends its outbox rows to their queue after the response. */
  follow(jobs: Job[]): void
  /** For operators: the queue of each kind of job that this version knows, and what is paused. */
  jobs: { queues(): Map<string, QueueName>; pauses: Pauses }
  /** Waits for the client's body. The wait does not count against the request's time. */
  received<T>(work: Promise<T>): Promise<T>
  /** Work after the response: relays the outbox, and refreshes the map if that is due. */
  afterResponse(): Promise<void>
  /** False if the limit is reached. A failing limiter lets the request pass. */
  withinLimit(name: RateLimitName, key: string): Promise<boolean>
  staticFile(request: Request): Promise<Response>
  /** The mails of a local server. Null if the setting is off. */
  mailPreviews: MailPreviews | null
  /** The objects that nouns keep in R2. */
  objects: Objects
  dependencies(): Promise<DependencyReport[]>
  waitUntil(promise: Promise<unknown>): void
  /** The entrypoint that answers visitors from the shared cache. Null if the cache is off or there is none. */
  publicPages: PublicPages | null
}

/** What Hono carries from middleware to routes. */
export interface WebEnv {
  Variables: {
    requestId: string
    tiers: Tiers
    site: Site
    /** The session that the request acts for. Resolved once, on first use. */
    session(): Promise<Session | null>
    /** The body as text. The middleware reads it and bounds its size. */
    bodyText: string
    /** The body of a route with `bytesBody`. */
    bodyBytes?: Uint8Array
    /** The files of a form with `formWithFiles`. */
    files?: readonly UploadedFile[]
    /** The answer is a page that visitors share. */
    sharing?: Sharing
    /** The entities on the page. */
    cacheTags?: string[]
    /** The answer depends on a cookie or a token of the client. */
    isPersonal?: boolean
  }
}
