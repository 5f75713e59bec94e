import { z } from '@hono/zod-openapi'
import type { Clock } from '../core/clock.ts'
import type { IdSource } from '../core/ids.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import type { ShardDatabase, ShardStatement, Shards } from '../sharding/shards.ts'
import { type Job, newJob } from './outbox.ts'

/** The queues, without their prefix. A mail never waits behind a fan-out, and a picture holds up neither. */
export const queueNames = ['mail', 'jobs', 'media', 'purges'] as const
export type QueueName = (typeof queueNames)[number]

/** The slot of an effect: a keyspace, and any id or key in the slot. */
export interface EffectPlace {
  keyspace: Keyspace
  key: string
}

/** The context that a handler gets with its job. */
export interface JobContext {
  shards: Shards
  clock: Clock
  /**
   * Runs the statements in one batch with an inbox row in the effect's slot, so that a job that runs twice has one
   * effect. Resolves to false if the effect has already happened.
   */
  once(place: EffectPlace, statements: (database: ShardDatabase) => ShardStatement[]): Promise<boolean>
  /** True if `once` has committed here. For effects outside Banyan's stores, which happen before their inbox row. */
  isDone(place: EffectPlace): Promise<boolean>
  /**
   * Records how far a tracked job is. Throws JobCancelled if its owner has cancelled it, which ends the job without
   * another attempt. Does nothing for other kinds.
   */
  progress(done: number, total: number): Promise<void>
  /**
   * A job that this one splits off. The same key gives the same id at each attempt, so that a repeated split creates
   * nothing twice. `ownerId` decides its slot.
   */
  child(ownerId: string, kind: string, key: string, body: Job['body']): Job
}

/**
 * The jobs that a job splits off, or the result that its owner sees. `continues`: the job is not over, and its next
 * attempt resumes at the position in its outbox row (src/jobs/positions.ts). `here`: it is sent again, and no failure is
 * counted. `elsewhere`: another delivery of it does the work.
 */
export type JobOutcome = { children: Job[] } | { result: Record<string, unknown> } | { continues: 'here' | 'elsewhere' }

/** How the children of a job ended. */
export interface ChildCounts {
  done: number
  dead: number
}

/** No second job with an equal key is created while the first one waits, or for a period from its creation. */
export type Uniqueness = 'while waiting' | { forMs: number }

export interface JobKind {
  queue: QueueName
  attemptsMax: number
  backoffBaseSeconds: number
  /** An attempt that takes longer has failed. Default: `limits.jobAttemptMs`. */
  timeLimitMs?: number
  /** It has a record, which its owner sees and may cancel. Create it with `trackedStatements`. */
  isTracked?: boolean
  /** Create it with `uniqueStatements`. */
  unique?: Uniqueness
  /** Returns children if the job splits. It ends when all of them have ended. Only for tracked kinds. */
  run(job: Job, context: JobContext): Promise<JobOutcome | undefined> | Promise<void>
  /** Runs when all children have ended. Without it, the job is dead if one of them is. */
  whenChildrenEnd?(job: Job, context: JobContext, counts: ChildCounts): Promise<JobOutcome | undefined> | Promise<void>
  /**
   * Runs all jobs of this kind in one batch of a queue. Resolves to those that failed, each with the reason; the
   * others are done. A throw fails all of them. Has no inbox, so each effect must be harmless if it happens again.
   */
  runMany?(jobs: Job[], context: ManyContext): Promise<FailedJobs>
}

export type ManyContext = Pick<JobContext, 'shards' | 'clock'>
export type FailedJobs = ReadonlyMap<Job, unknown>
export type JobKinds = Record<string, JobKind>

/** A job with a checked body. */
export type JobOf<Body> = Omit<Job, 'body'> & { body: Body }

/** What a noun registers for a kind: a `JobKind` whose jobs have a checked body. */
interface Handler<Body> extends Omit<JobKind, 'run' | 'runMany' | 'whenChildrenEnd'> {
  run(job: JobOf<Body>, context: JobContext): Promise<JobOutcome | undefined> | Promise<void>
  whenChildrenEnd?(
    job: JobOf<Body>,
    context: JobContext,
    counts: ChildCounts,
  ): Promise<JobOutcome | undefined> | Promise<void>
}

/**
 * A kind of job: its name, and the shape of its body. `job` creates one, and `handler` registers what runs it. A body
 * of another shape, which a newer version may have written, is a failed attempt. @public For nouns.
 */
export function jobType<Shape extends z.ZodRawShape>(name: string, shape: Shape) {
  type Body = z.output<z.ZodObject<Shape>>
  const body = z.object(shape)
  const typed = (job: Job): JobOf<Body> => ({ ...job, body: body.parse(job.body) })
  return {
    name,
    job: ({ ids, clock }: { ids: IdSource; clock: Clock }, ownerId: string, given: Body): Job =>
      newJob(ids, clock, ownerId, name, given),
    handler({ run, whenChildrenEnd, ...kind }: Handler<Body>): JobKinds {
      return {
        [name]: {
          ...kind,
          run: async (job, context) => (await run(typed(job), context)) ?? undefined,
          ...(whenChildrenEnd && {
            whenChildrenEnd: async (job, context, counts) =>
              (await whenChildrenEnd(typed(job), context, counts)) ?? undefined,
          }),
        },
      }
    },
  }
}

/** The handlers of a kind whose jobs run together. A job that runs alone is a batch of one. @public For nouns. */
export const together = (runMany: NonNullable<JobKind['runMany']>): Pick<JobKind, 'run' | 'runMany'> => ({
  runMany,
  async run(job, context) {
    for (const reason of (await runMany([job], context)).values()) throw reason
  },
})
