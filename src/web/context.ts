import type { Clock, TimeBudget } from '../core/clock.ts'
import type { IdSource } from '../core/ids.ts'
import type { Log } from '../core/log.ts'
import type { Random } from '../core/random.ts'
import type { Job } from '../jobs/outbox.ts'
import type { Session, Sessions } from '../sessions/sessions.ts'
import type { Claims } from '../sharding/claims.ts'
import type { Idempotency } from '../sharding/idempotency.ts'
import type { Shards } from '../sharding/shards.ts'
import type { AssetUrls } from './layout.tsx'
import type { Site } from './site.ts'

/** The settings, read and checked once an isolate (workers/settings.ts). */
export interface Settings {
  signingKey: string
  operatorToken: string | null
  publicOrigin: string | null
  jobs: 'queue' | 'inline'
  rateLimits: 'on' | 'off'
  mailFrom: string
  /** What is set in a way that is fit for localhost only, and how to mend it; or null. */
  localOnly: string | null
}

export type RateLimitName = 'requests' | 'writes' | 'credentials'

/** Calls a request made, as `server-timing` tells them. */
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

/** The tiers, as a request sees them; made from the bindings by workers/context.ts. */
export interface Tiers {
  settings: Settings
  clock: Clock
  random: Random
  ids: IdSource
  log: Log
  shards: Shards
  claims: Claims
  idempotency: Idempotency
  sessions: Sessions
  assets: AssetUrls
  /** What nouns count for a user, by name: SQL of one number. */
  userCounts: { [name in string]?: string }
  calls: Calls
  /** Until when the request may call others. */
  time: TimeBudget
  /** True once this request has committed a write: its answer carries a new causal token. */
  hasWritten(): boolean
  /** After a commit: its outbox rows go to their queue when the response has been sent. */
  follow(jobs: Job[]): void
  /** Waits for what the client sends: that takes none of the request's time. */
  received<T>(work: Promise<T>): Promise<T>
  /** What is left for when the response has been sent: relays the outbox, refreshes the map when it is due. */
  afterResponse(): Promise<void>
  /** False when the limit is reached. A limiter that fails lets the request pass. */
  withinLimit(name: RateLimitName, key: string): Promise<boolean>
  staticFile(request: Request): Promise<Response>
  dependencies(): Promise<DependencyReport[]>
  waitUntil(promise: Promise<unknown>): void
}

/** What Hono carries from middleware to routes. */
export interface WebEnv {
  Variables: {
    requestId: string
    tiers: Tiers
    site: Site
    /** Whom the request acts for; resolved once, on first use. */
    session(): Promise<Session | null>
    /** The body as text, read and bounded by the middleware. */
    bodyText: string
  }
}
