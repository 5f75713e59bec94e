import { type Clock, inTime } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { type Log, redact } from '../core/log.ts'
import { present } from '../core/present.ts'
import { backoffMs, type Random } from '../core/random.ts'
import { isTaken } from '../sharding/answers.ts'
import { rowsOf } from '../sharding/named-batch.ts'
import type { Shards } from '../sharding/shards.ts'
import { childId, reportToParent, split } from './children.ts'
import { inboxTable } from './inbox.ts'
import type { EffectPlace, FailedJobs, JobContext, JobKind, JobKinds, JobOutcome, QueueName } from './kinds.ts'
import type { Job } from './outbox.ts'
import type { Pauses } from './pauses.ts'
import { type Begun, begin, finishStatements, noteProgress } from './records.ts'
import { ageRefusal } from './refusals.ts'

/** During a deployment, an older version can receive jobs of a newer one. It retries them instead of burying them. */
const unknownKind = { attemptsMax: 10, backoffBaseSeconds: 15 }

const BACKOFF_CAP_SECONDS = 3_600

export interface DispatchOptions {
  kinds: JobKinds
  shards: Shards
  clock: Clock
  random: Random
  log: Log
  pauses: Pauses
  /** Sends a parent whose children have all ended. The sweeper sends it if this fails. */
  follow(jobs: Job[]): Promise<void>
}

/** Thrown by a handler if another attempt is useless. The job is a dead letter at once. @public For nouns. */
export class NoFurtherAttempt extends Error {}

/** A job to bury as a dead letter, and the reason. */
export interface Letter {
  job: Job
  attempts: number
  error: string
}

/** The reason for messages of a dead-letter queue. It never replaces a more specific reason. */
export const QUEUE_GAVE_UP = 'The queue gave up on it.'

/** The outcome of an attempt, which tells a consumer what to do with the message. `paused`: nothing was attempted. */
export type Verdict =
  | { kind: 'done' }
  | { kind: 'paused' }
  | { kind: 'retry'; delaySeconds: number }
  | { kind: 'dead'; error: string }

/** A job, and which attempt at it this is, counted from 1. */
export interface Attempt {
  job: Job
  attempt: number
}

/** Runs jobs from a queue or inline. */
export class Dispatch {
  readonly #options: DispatchOptions

  constructor(options: DispatchOptions) {
    this.#options = options
  }

  /**
   * Never throws. A job that is done loses its outbox row; a dead job gets a dead letter. A job that is too old is
   * refused, because its inbox row may be deleted already.
   */
  async run(job: Job, delivery: number): Promise<Verdict> {
    const [verdict] = await this.#settled([job], delivery, async () => {
      const kind = this.#kindOf(job)
      await inTime(this.#options.clock, timeLimitOf(kind), this.#attempt(job, kind), tooSlow(kind))
      return new Map()
    })
    return present(verdict, 'a verdict')
  }

  /** The kind of a job that runs together with the others of its kind in a batch, or null. A large body runs alone. */
  kindTogether({ kind, bodyIn }: Job): string | null {
    return this.#options.kinds[kind]?.runMany && !bodyIn ? kind : null
  }

  /** True if the kind or its queue is paused. */
  isPaused(kind: string): Promise<boolean> {
    return this.#options.pauses.isPaused(kind, this.queueOf({ kind }))
  }

  /** Like `run`, for jobs of one kind that run together. Returns a verdict for each, in order. */
  async runMany(attempts: Attempt[]): Promise<Verdict[]> {
    const jobs = attempts.map(({ job }) => job)
    const delivery = Math.max(...attempts.map(({ attempt }) => attempt))
    return this.#settled(jobs, delivery, async (some) => {
      const { shards, clock } = this.#options
      const kind = this.#kindOf(present(some[0], 'a job'))
      if (!kind.runMany) throw new Error('this version of the Worker runs jobs of this kind one by one')
      const failed = await inTime(clock, timeLimitOf(kind), kind.runMany(some, { shards, clock }), tooSlow(kind))
      return new Map([...failed, ...(await this.#finishAll(some.filter((job) => !failed.has(job))))])
    })
  }

  /**
   * Refuses the jobs that are too old, and leaves out those that are paused. Runs the others, and records those that
   * failed. Returns a verdict for each, in order. All jobs have one kind.
   */
  async #settled(jobs: Job[], delivery: number, run: (jobs: Job[]) => Promise<FailedJobs>): Promise<Verdict[]> {
    const { clock } = this.#options
    const [first] = jobs
    if (first && (await this.isPaused(first.kind))) return jobs.map(() => ({ kind: 'paused' }))
    const now = clock.now()
    const refused = new Map(jobs.map((job) => [job, ageRefusal(job, now)]))
    const fit = jobs.filter((job) => !refused.get(job))
    const verdicts = fit.length > 0 ? await this.#failed(await failuresOf(fit, run), delivery) : new Map()
    return jobs.map((job): Verdict => {
      const tooOld = refused.get(job)
      return tooOld ? { kind: 'dead', error: tooOld } : (verdicts.get(job) ?? { kind: 'done' })
    })
  }

  /** Throws for a kind of a newer version. Its job is retried. */
  #kindOf({ kind }: Job): JobKind {
    const known = this.#options.kinds[kind]
    if (!known) throw new Error(`this version of the Worker has no handler for jobs of kind ${kind}`)
    return known
  }

  /** The job with its body, or null if the job is over. */
  async #loaded({ bodyIn, ...job }: Job): Promise<Job | null> {
    if (!bodyIn) return job
    const body = await this.#options.shards
      .of(job.id, { read: 'exact', operation: 'jobs.body' })
      .prepare('SELECT body FROM outbox WHERE id = ?')
      .bind(job.id)
      .first<string>('body')
    return body === null ? null : { ...job, body: JSON.parse(body) }
  }

  async #attempt(sent: Job, kind: JobKind): Promise<void> {
    const { shards } = this.#options
    const job = await this.#loaded(sent)
    if (!job) return
    const begun = await begin(shards, job, kind)
    if (begun === 'over') return this.#finish(job)
    const outcome = await this.#outcome(job, kind, begun)
    if (outcome === 'split') return
    if (outcome && 'children' in outcome) return this.#splitOff(job, outcome.children)
    if (outcome && 'continues' in outcome) return this.#continue(job, outcome.continues)
    await this.#finish(job, outcome?.result)
  }

  /** Runs the job, or what follows its children. `split`: its children have not all ended. */
  async #outcome(job: Job, kind: JobKind, begun: Begun): Promise<JobOutcome | undefined | 'split'> {
    const context = this.#context(job)
    if (!begun.children) return (await kind.run(job, context)) ?? undefined
    const { all, ...counts } = begun.children
    if (counts.done + counts.dead < all) {
      await this.#splitOff(job, [])
      return 'split'
    }
    if (kind.whenChildrenEnd) return (await kind.whenChildrenEnd(job, context, counts)) ?? undefined
    if (counts.dead === 0) return undefined
    throw new NoFurtherAttempt(`${counts.dead} of its ${all} parts are dead letters. Redrive them, then this job.`)
  }

  /** A job without children ends at once. */
  async #splitOff(job: Job, children: Job[]): Promise<void> {
    const { shards, follow } = this.#options
    await follow(await split(shards, job, children))
  }

  /**
   * The next attempt reads its position from the outbox row. A crash before the message is sent loses nothing, because
   * the current message is not yet acknowledged.
   */
  async #continue(job: Job, where: 'here' | 'elsewhere'): Promise<void> {
    if (where === 'here') await this.#options.follow([{ ...job, body: {}, bodyIn: 'row' }])
  }

  /** Records a job that used up its attempts, for an operator. Idempotent. Does nothing for a job that is done. */
  async bury(job: Job, attempts: number, error: string): Promise<void> {
    await this.buryAll([{ job, attempts, error }])
  }

  /**
   * Buries many jobs, in one batch per shard. The newest reason counts, unless it is QUEUE_GAVE_UP. A body that is too
   * large for a dead letter stays in the outbox row. Throws if a job could not be recorded, after recording the others.
   */
  async buryAll(letters: Letter[]): Promise<void> {
    const { shards, clock, log } = this.#options
    const items = letters.map(({ job, attempts, error }) => ({
      key: job.id,
      kind: job.kind,
      attempts,
      error: [...redact(error)].slice(0, limits.deadLetterErrorCharactersMax).join(''),
    }))
    const { answers, failed } = await shards.group(
      items,
      { keyspace: 'users', operation: 'jobs.bury' },
      (database, some) => {
        const json = JSON.stringify(some)
        return {
          letters: rowsOf<{ id: string }>(
            database
              .prepare(
                `INSERT INTO dead_letters (id, owner_id, kind, body, error, attempts, died_at, created_at, history)
                 SELECT outbox.id, owner_id, kind,
                   CASE WHEN octet_length(body) <= ? THEN body ELSE json_object('bodyBytes', octet_length(body)) END,
                   letter.value ->> 'error', max(attempts, letter.value ->> 'attempts'), ?, created_at, history
                 FROM json_each(?) AS letter CROSS JOIN outbox ON outbox.id = letter.value ->> 'key' WHERE true
                 ON CONFLICT (id) DO UPDATE SET error = excluded.error, attempts = excluded.attempts,
                   died_at = excluded.died_at, history = excluded.history WHERE excluded.error <> ?
                 RETURNING id`,
              )
              .bind(limits.deadLetterBodyBytesMax, clock.now(), json, QUEUE_GAVE_UP),
          ),
          rows: database
            .prepare("UPDATE outbox SET state = 'dead' WHERE id IN (SELECT value ->> 'key' FROM json_each(?))")
            .bind(json),
          records: database.prepare(RECORDS_DIE).bind(json),
        }
      },
    )
    const buried = new Set(answers.flatMap(({ letters }) => letters.results.map(({ id }) => id)))
    for (const { key, kind, attempts, error } of items)
      if (buried.has(key)) log.error('job.dead', { job: key, kind, attempts, error })
    for (const error of failed.values()) throw error
    for (const { job } of letters) if (buried.has(job.id)) await this.#report(job, 'dead')
  }

  /** Keeps jobs until their kind and its queue are resumed. */
  async park(jobs: Job[]): Promise<void> {
    const { failed } = await this.#options.shards.group(
      jobs.map(({ id }) => ({ key: id })),
      { keyspace: 'users', operation: 'jobs.park' },
      (database, some) => ({
        rows: database
          .prepare(
            `UPDATE outbox SET state = 'paused' WHERE state IN ('waiting', 'sent')
             AND id IN (SELECT value ->> 'key' FROM json_each(?))`,
          )
          .bind(JSON.stringify(some)),
      }),
    )
    for (const error of failed.values()) throw error
  }

  queueOf({ kind }: Pick<Job, 'kind'>): QueueName {
    return this.#options.kinds[kind]?.queue ?? 'jobs'
  }

  /** The queue of each kind that this version knows. */
  queues(): Map<string, QueueName> {
    return new Map(Object.entries(this.#options.kinds).map(([kind, { queue }]) => [kind, queue]))
  }

  /** The kinds that are paused, by themselves or with their queue. */
  async pausedKinds(): Promise<string[]> {
    const names = await this.#options.pauses.names()
    const own = [...names].filter((name) => name.startsWith('kind.')).map((name) => name.slice('kind.'.length))
    const byQueue = Object.keys(this.#options.kinds).filter((kind) => names.has(`queue.${this.queueOf({ kind })}`))
    return [...new Set([...own, ...byQueue])].sort()
  }

  #context(job: Job): JobContext {
    const { shards, clock } = this.#options
    const inboxId = (place: EffectPlace) => `${slotOf(place.key)}.${job.id}`
    return {
      shards,
      clock,
      async once(place, statements) {
        const database = shards.of(place.key, {
          keyspace: place.keyspace,
          operation: `jobs.${job.kind}`,
          idempotent: true,
        })
        const table = inboxTable(place.keyspace)
        const row = database
          .prepare(`INSERT INTO ${table} (id, done_at) VALUES (?, ?)`)
          .bind(inboxId(place), clock.now())
        try {
          await database.batch([row, ...statements(database)])
          return true
        } catch (error) {
          if (isTaken(error, table)) return false
          throw error
        }
      },
      async isDone(place) {
        const found = await shards
          .of(place.key, { keyspace: place.keyspace, read: 'exact', operation: `jobs.${job.kind}.is-done` })
          .prepare(`SELECT 1 FROM ${inboxTable(place.keyspace)} WHERE id = ?`)
          .bind(inboxId(place))
          .first()
        return found !== null
      },
      progress: (done, total) => noteProgress(shards, job, done, total),
      child: (ownerId, kind, key, body) => ({
        id: childId(job, ownerId, key),
        ownerId,
        kind,
        body,
        createdAt: clock.now(),
        attempts: 0,
        parentId: job.id,
      }),
    }
  }

  /** Counts a child at its parent, then deletes the outbox row, and the dead letter if an attempt was buried. */
  async #finish(job: Job, result?: Record<string, unknown>): Promise<void> {
    await this.#report(job, 'done')
    const database = this.#options.shards.of(job.id, { operation: 'jobs.finish', idempotent: true })
    await database.batch(finishStatements(database, job, this.#options.kinds[job.kind], result))
  }

  async #report(job: Job, ending: 'done' | 'dead'): Promise<void> {
    const { shards, clock, follow } = this.#options
    await follow(await reportToParent({ shards, clock }, job, ending))
  }

  /** Like `#finish`, in one batch per shard. Resolves to the jobs whose rows may remain, with the reason. */
  async #finishAll(jobs: Job[]): Promise<FailedJobs> {
    const { failed } = await this.#options.shards.group(
      jobs.map((job) => ({ key: job.id, job })),
      { keyspace: 'users', operation: 'jobs.finish' },
      (database, some) => {
        const ids = JSON.stringify(some.map(({ key }) => key))
        const of = (table: string) =>
          database.prepare(`DELETE FROM ${table} WHERE id IN (SELECT value FROM json_each(?))`).bind(ids)
        return { rows: of('outbox'), letters: of('dead_letters') }
      },
    )
    return new Map([...failed].map(([{ job }, error]) => [job, error]))
  }

  /**
   * `delivery` decides the delay of a job whose failure could not be recorded. A queue counts its deliveries, but some
   * of them attempted nothing.
   */
  async #failed(failures: FailedJobs, delivery: number): Promise<Map<Job, Verdict>> {
    if (failures.size === 0) return new Map()
    const attempts = await this.#recordFailures(failures)
    return new Map(
      [...failures].map(([job, reason]): [Job, Verdict] => {
        const attempt = attempts.get(job.id) ?? delivery
        // Without a row, the job is over: another delivery has finished it, or its owner has cancelled it.
        return [job, attempt === 'over' ? { kind: 'done' } : this.#verdict(job, attempt, reason)]
      }),
    )
  }

  /** Records failed attempts, in one batch per shard. Returns how many each recorded job has. Never throws. */
  async #recordFailures(failures: FailedJobs): Promise<Map<string, number | 'over'>> {
    const { shards, clock, log } = this.#options
    const items = [...failures].map(([{ id }, reason]) => ({ key: id, error: shortError(reason) }))
    const now = clock.now()
    try {
      const { done, answers } = await shards.group(
        items,
        { keyspace: 'users', operation: 'jobs.failed' },
        (database, some) => ({
          rows: rowsOf<{ id: string; attempts: number }>(
            database
              .prepare(RECORD_FAILURES)
              .bind(JSON.stringify(some), now, now + limits.outboxResendAfterMs, limits.jobHistoryMax),
          ),
        }),
      )
      return new Map<string, number | 'over'>([
        ...done.map(({ key }) => [key, 'over'] as const),
        ...answers.flatMap(({ rows }) => rows.results.map(({ id, attempts }) => [id, attempts] as const)),
      ])
    } catch (error) {
      log.warn('job.failure-not-kept', { jobs: items.length, reason: messageOf(error) })
      return new Map()
    }
  }

  #verdict(job: Job, attempt: number, reason: unknown): Verdict {
    const { attemptsMax, backoffBaseSeconds } = this.#options.kinds[job.kind] ?? unknownKind
    const error = messageOf(reason)
    if (attempt >= attemptsMax || reason instanceof NoFurtherAttempt) return { kind: 'dead', error }
    const delaySeconds = Math.ceil(
      backoffMs(this.#options.random, attempt, backoffBaseSeconds * 1_000, BACKOFF_CAP_SECONDS * 1_000) / 1_000,
    )
    this.#options.log.warn('job.failed', { job: job.id, kind: job.kind, attempt, delaySeconds, error })
    return { kind: 'retry', delaySeconds }
  }
}

/** A throw fails all of the jobs. */
async function failuresOf(jobs: Job[], run: (jobs: Job[]) => Promise<FailedJobs>): Promise<FailedJobs> {
  try {
    return await run(jobs)
  } catch (error) {
    return new Map(jobs.map((job) => [job, error]))
  }
}

const timeLimitOf = (kind: JobKind) => kind.timeLimitMs ?? limits.jobAttemptMs
const tooSlow = (kind: JobKind) => () => new Error(`the attempt took longer than ${timeLimitOf(kind)} ms`)

const shortError = (reason: unknown): string =>
  [...redact(messageOf(reason))].slice(0, limits.jobHistoryErrorCharactersMax).join('')

/** Counts an attempt and adds it to the history, which keeps the latest `?4`. The queue delivers the job before `?3`. */
const RECORD_FAILURES = `UPDATE outbox SET attempts = attempts + 1, due_at = max(due_at, ?3),
    history = json_insert(
      CASE WHEN json_array_length(coalesce(history, '[]')) >= ?4 THEN json_remove(history, '$[0]') ELSE coalesce(history, '[]') END,
      '$[#]', json_object('at', CAST(?2 AS INTEGER), 'attempt', attempts + 1, 'error', failure.value ->> 'error'))
  FROM json_each(?1) AS failure WHERE outbox.id = failure.value ->> 'key' AND state <> 'dead'
  RETURNING outbox.id, attempts`

const RECORDS_DIE = `UPDATE job_records SET state = 'dead', error = 'It failed several times. It can be started again.'
  WHERE id IN (SELECT value ->> 'key' FROM json_each(?)) AND state IN ('waiting', 'running')`
