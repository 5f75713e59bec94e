import { migrations } from '../dist/migrations.ts'
import type { JobOptions } from '../src/app/noun.ts'
import { assetUrls } from '../src/assets/asset-urls.ts'
import { imagesOf } from '../src/assets/images.ts'
import { Objects } from '../src/assets/objects.ts'
import { createStaticFiles } from '../src/assets/static-files.ts'
import { noCache } from '../src/cache/cache.ts'
import { KvStore } from '../src/cache/kv-store.ts'
import { ReadThroughCache } from '../src/cache/read-through.ts'
import { inTime, systemClock, TimeBudget } from '../src/core/clock.ts'
import { MIGRATE, messageOf } from '../src/core/errors.ts'
import { limits } from '../src/core/limits.ts'
import type { Log } from '../src/core/log.ts'
import { present } from '../src/core/present.ts'
import { systemRandom } from '../src/core/random.ts'
import { backfillKinds } from '../src/jobs/backfills.ts'
import { Dispatch } from '../src/jobs/dispatch.ts'
import type { JobKinds } from '../src/jobs/kinds.ts'
import type { Job } from '../src/jobs/outbox.ts'
import { Pauses } from '../src/jobs/pauses.ts'
import { Purger, purgeKinds, purgesOf } from '../src/jobs/purges.ts'
import { Relay } from '../src/jobs/relay.ts'
import { inTurns } from '../src/jobs/shard-turns.ts'
import { type OpenedShards, openShards } from '../src/objects/open-shards.ts'
import { Sessions } from '../src/sessions/sessions.ts'
import { Claims } from '../src/sharding/claims.ts'
import { Idempotency } from '../src/sharding/idempotency.ts'
import { onlyRow } from '../src/sharding/named-batch.ts'
import { Replicas } from '../src/sharding/replicas.ts'
import type { ShardObserver } from '../src/sharding/routing.ts'
import { type CausalToken, ownSlotsOf } from '../src/web/causal-token.ts'
import type { Calls, DependencyReport, Tiers } from '../src/web/context.ts'
import { MailPreviews } from '../src/web/mail-previews.ts'
import type { Env, OwnExports } from './env.ts'
import { type Isolate, isolateOf } from './isolate.ts'
import { mailer } from './mailer.ts'
import { backfills, nouns, pictureChanged } from './nouns.ts'

export interface Work {
  env: Env
  waitUntil(promise: Promise<unknown>): void
  log: Log
  /** What the client has seen and written. */
  client: CausalToken
  /** How long the work may make calls. */
  time: TimeBudget
  /** How many calls of one shard may run at once. Without it, there is no limit. */
  callsAtOnceMax?: number
  /** The Worker's own entrypoints. Older runtimes have none. */
  exports: OwnExports | undefined
}

/** The parts that the web tier and the jobs share: the databases, and what uses them. */
export interface Foundation extends OpenedShards {
  isolate: Isolate
  calls: Calls
  kv: KvStore
  mailPreviews: MailPreviews | null
  claims: Claims
  objects: Objects
  dispatch: Dispatch
  pauses: Pauses
  purger: Purger
  relay: Relay
  writtenSlots: ReadonlySet<string>
  hasWritten(): boolean
  markWritten(): void
}

/** `/readyz` is public, so it checks at most this many shards. Ten seconds later, it checks the next ones. */
const READINESS_SHARDS_MAX = 64

const userCounts: Tiers['userCounts'] = Object.assign({}, ...nouns.map((noun) => noun.userCounts))

/** `missing`: the first of the tables `?1` (JSON) that the shard lacks, or null. */
const READINESS = `SELECT (SELECT max(name) FROM d1_migrations) AS newest, (SELECT 1 FROM mover),
  (SELECT min(value) FROM json_each(?1) WHERE value NOT IN (SELECT name FROM sqlite_master)) AS missing`
const nounTables = JSON.stringify(nouns.flatMap(({ tables }) => tables))

/**
 * Opens the databases for one request or one batch of jobs. `replicas`: for the plain reads of a request. Jobs must see
 * the commit that created them. Throws SETTING_MISSING.
 */
export function openFoundation(work: Work, replicas?: Replicas): Foundation {
  const { env, log } = work
  const isolate = isolateOf(env)
  const calls: Calls = { d1: 0, kv: 0, directory: 0 }
  const written = { yet: false, slots: new Set<string>() }
  const observer: ShardObserver = {
    before(call) {
      calls.d1++
      isolate.load.count(call.shard)
    },
    after(call, _ms, error) {
      if (call.kind !== 'write' || error !== null) return
      written.yet = true
      if (call.slot !== '*') written.slots.add(call.slot)
    },
  }
  const opened = openShards(isolate.engine, {
    ...work,
    ...(replicas ? { replicas } : {}),
    atLeastEpoch: work.client.epoch,
    observer: work.callsAtOnceMax ? inTurns(observer, work.callsAtOnceMax) : observer,
    onDirectoryCall: () => void calls.directory++,
  })
  const shards = opened.shards.atPrimary()
  const common = { clock: systemClock, random: systemRandom, log }
  const { settings, ids } = isolate
  const { signingKey, mailFrom, jobs } = settings
  const kv = new KvStore(env.KV, log, () => calls.kv++)
  const mailPreviews = settings.mailPreviews === 'on' ? new MailPreviews(kv, systemClock) : null
  const sendMail = mailer(env.MAIL, mailFrom)
  const objects = new Objects(env.BUCKET, systemClock)
  const jobOptions: JobOptions = {
    signingKey,
    sendMail: mailPreviews?.keeping(sendMail) ?? sendMail,
    objects,
    images: imagesOf(env.IMAGES, systemClock),
    pictureChanged,
    purgesOf: (ownerId, tag) => purgesOf({ settings, ids, clock: systemClock }, ownerId, tag),
  }
  const purger = new Purger((tags) => purgePages(work, tags))
  const kinds: JobKinds = Object.assign(
    purgeKinds(purger),
    backfillKinds(backfills, isolate.engine.moveShare),
    ...nouns.map((noun) => noun.jobs?.(jobOptions)),
  )
  const pauses = new Pauses({ shards, clock: systemClock, log, known: isolate.pauses })
  const follow = (jobs: Job[]) => relay.send(jobs)
  const dispatch = new Dispatch({ ...common, kinds, shards, pauses, follow })
  const queues = {
    mail: timedQueue(env.MAIL_QUEUE, work.time),
    jobs: timedQueue(env.JOBS_QUEUE, work.time),
    media: timedQueue(env.MEDIA_QUEUE, work.time),
    purges: timedQueue(env.PURGES_QUEUE, work.time),
  }
  const relay = new Relay({ ...common, mode: jobs, queues, dispatch, shards })
  return {
    ...opened,
    isolate,
    calls,
    kv,
    mailPreviews,
    claims: new Claims(opened.shards, systemClock),
    objects,
    dispatch,
    purger,
    relay,
    pauses,
    writtenSlots: written.slots,
    hasWritten: () => written.yet,
    markWritten() {
      written.yet = true
      replicas?.acknowledgeSeen()
    },
  }
}

/** Where the client's plain reads start. Counts the reads that a replica answered late or not. */
const openReplicas = ({ env, client, log }: Work): Replicas =>
  new Replicas(client, (event, { shard, operation, ms }) => {
    isolateOf(env).replicas[event]++
    if (event === 'waited') log.info('replica.waited', { shard, operation, ms })
    else log.warn('replica.fell-back', { shard, operation, ms })
  })

/** The tiers, as the web tier's routes see them. Their time budget starts now. */
export function openTiers({ request, ...given }: Omit<Work, 'time'> & { request: Request }): Tiers {
  const work: Work = { ...given, time: new TimeBudget(systemClock, limits.requestMs) }
  const { env, log, waitUntil, time, client } = work
  const replicas = isolateOf(env).settings.replicas === 'on' ? openReplicas(work) : undefined
  const foundation = openFoundation(work, replicas)
  const { isolate, shards, claims, relay, calls, kv, objects } = foundation
  const { settings, ids, stamps } = isolate
  const common = { clock: systemClock, random: systemRandom, ids, log, shards }
  const committed: Job[] = []
  const readThrough = () =>
    new ReadThroughCache({
      ...common,
      isolate: isolate.cache,
      kv,
      ownSlots: ownSlotsOf(request, client),
      hasReplicas: replicas !== undefined,
      waitUntil,
    })
  return {
    ...common,
    settings,
    client,
    cache: settings.cache === 'on' ? readThrough() : noCache,
    claims,
    calls,
    idempotency: new Idempotency(shards, systemClock, settings.signingKey, foundation.markWritten),
    sessions: new Sessions({ ...common, copies: kv, stamps, signingKey: settings.signingKey, waitUntil }),
    assets: assetUrls(),
    userCounts,
    time,
    writtenSlots: foundation.writtenSlots,
    writtenBookmarks: replicas?.written ?? new Map(),
    hasWritten: foundation.hasWritten,
    follow: (jobs) => void committed.push(...jobs),
    jobs: { queues: () => foundation.dispatch.queues(), pauses: foundation.pauses },
    received: (work) => time.uncounted(work),
    async afterResponse() {
      time.restart(limits.afterResponseMs)
      await relay.send(committed.splice(0))
      await foundation.refreshMap()
    },
    withinLimit: (name, key) => withinLimit(env, isolate, log, name, key),
    staticFile: (request) =>
      createStaticFiles({ bundle: env.ASSETS, bucket: env.BUCKET, cache: caches.default, log }).respond(
        request,
        waitUntil,
      ),
    mailPreviews: foundation.mailPreviews,
    objects,
    dependencies: () => dependencies(env, foundation),
    waitUntil,
    publicPages: settings.cache === 'on' ? (work.exports?.PublicPages ?? null) : null,
  }
}

async function withinLimit(
  env: Env,
  { settings }: Isolate,
  log: Log,
  name: keyof typeof limiters,
  key: string,
): Promise<boolean> {
  if (settings.rateLimits === 'off') return true
  try {
    return (await inTime(systemClock, limits.rateLimitWaitMs, env[limiters[name]].limit({ key }))).success
  } catch (error) {
    log.warn('rate-limit.failed', { name, reason: messageOf(error) })
    return true
  }
}

/** The relay bounds each call. No call starts after the invocation's time is up. The sweeper sends those rows later. */
const timedQueue = (queue: Queue, time: TimeBudget): Pick<Queue, 'sendBatch'> => ({
  async sendBatch(messages, options) {
    if (time.isSpent) throw new Error('no time is left')
    return queue.sendBatch(messages, options)
  },
})

async function purgePages({ exports }: Work, tags: string[]): Promise<'purged' | 'no cache'> {
  return exports?.PublicPages ? inTime(systemClock, limits.purgeMs, exports.PublicPages.purge(tags)) : 'no cache'
}

const limiters = {
  requests: 'RATE_LIMIT_REQUESTS',
  writes: 'RATE_LIMIT_WRITES',
  credentials: 'RATE_LIMIT_CREDENTIALS',
  search: 'RATE_LIMIT_SEARCH',
} as const

/** One line per dependency for `/readyz`, with the reason if it is unavailable. */
async function dependencies(env: Env, { shards, directory }: OpenedShards): Promise<DependencyReport[]> {
  const probe = async (name: string, ask: () => Promise<unknown>): Promise<DependencyReport> => {
    try {
      await inTime(systemClock, limits.shardProbeMs, ask())
      return { name, ok: true, detail: '' }
    } catch (error) {
      return { name, ok: false, detail: messageOf(error) }
    }
  }
  const stores = await Promise.all([
    // Asks the directory itself, because an isolate's own map works without it.
    probe('directory', () => directory.map()),
    probe('kv', () => env.KV.get('readyz')),
    probe('r2', () => env.BUCKET.head('readyz')),
  ])
  const hasMap = await shards.map().then(
    () => true,
    () => false,
  )
  if (!hasMap) return stores
  const newest = present(migrations.at(-1), 'a migration')
  const probes = new TimeBudget(systemClock, limits.readinessMs)
  const { values, failed } = await shards.each(
    'users',
    async ({ id, run }) => {
      if (probes.isSpent) throw new Error('not checked, because too many other shards did not answer')
      const answer = run<{ newest: string; missing: string | null }>(READINESS, nounTables)
      const shard = onlyRow(await inTime(systemClock, limits.shardProbeMs, answer))
      // A shard that lacks a migration is reported, but counts as ready, because most requests do not need its new tables.
      // `npm run deploy` applies migrations before it uploads a version that needs them.
      const lacks = shard.newest < newest
      if (!lacks && shard.missing !== null) throw new Error(`no such table: ${shard.missing}`)
      return { name: id, ok: true, detail: lacks ? `lacks ${newest}; run: ${MIGRATE}` : '' }
    },
    { turn: Math.floor(systemClock.now() / 10_000), size: READINESS_SHARDS_MAX },
  )
  const broken = failed.map(({ shard, error }) => ({
    name: shard,
    ok: false,
    detail: /no such table/.test(error) ? `not migrated; run: ${MIGRATE}` : error,
  }))
  return [...stores, ...[...values, ...broken].sort((a, b) => a.name.localeCompare(b.name))]
}
