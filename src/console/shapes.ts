/**
 * Requests and answers of the operators' API, each defined once. The routes use them for checks and documentation, and
 * the command (src/cli) imports their types.
 */
import { z } from '@hono/zod-openapi'
import { isId } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { queueNames } from '../jobs/kinds.ts'
import { moveChoices, moveStates, parseRanges } from '../resharding/record.ts'
import { keyspaces } from '../sharding/sharded-table.ts'
import { listOf, pageQuery, type problemShape, wholeText } from '../web/api.ts'

const moveShape = z
  .object({
    id: z.string(),
    keyspace: z.enum(keyspaces),
    slots: z.string(),
    source: z.string(),
    target: z.string(),
    state: z.enum(moveStates),
    /** From 0 to 1. */
    progress: z.number(),
    rowsCopied: z.int(),
    rowsTotal: z.int(),
    rowsVerified: z.int(),
    cutoverMs: z.int().nullable(),
    /** Reversed once: `source` and `target` have changed places. */
    reversed: z.boolean(),
    createdAt: z.iso.datetime(),
    /** Until then, the move can be reversed, and the source keeps its rows. */
    settlesAt: z.iso.datetime().nullable(),
    /** While the move is being undone: its final state. */
    ending: z.enum(['aborted', 'failed']).optional(),
    error: z.string().optional(),
    /** Why the latest turn of the mover ended early. The mover retries. */
    interrupted: z.string().optional(),
    /** Why only an operator can decide how the move continues. Its sides show the choices. */
    stuck: z.string().optional(),
    /** Slots that the move leaves unchanged, after an operator's choice. */
    leftAlone: z.string().optional(),
    /** While the move settles: how many changes, about, the target has captured for a reverse, and when it stops. */
    captured: z.int().optional(),
    capturedMax: z.int().optional(),
    /** The target stopped capturing changes, so the move can't be reversed. */
    captureStopped: z.boolean().optional(),
  })
  .openapi('Move')

export const oneMoveShape = z.object({ move: moveShape })
export const plannedMovesShape = z.object({ moves: z.array(moveShape) })
export const movePageShape = listOf(moveShape)

const SLOTS_DETAIL =
  'Slots are four hex digits in lower case, for example "00ff", a range "0000-0fff", or several of both separated by commas, without repetition.'

export const moveRequestShape = z.strictObject({
  slots: z.string().refine((text) => parseRanges(text) !== null, SLOTS_DETAIL),
  target: wholeText.min(1).max(100),
  keyspace: z.enum(keyspaces).default('users'),
})

const sidesShape = z
  .object({
    sides: z.array(
      z.object({
        shard: z.string(),
        /**
         * How many of the move's slots are in each state and belong to which move at this shard. Unknown slots are
         * omitted.
         */
        slots: z.array(z.object({ state: z.string(), move: z.string().nullable(), slots: z.int() })),
        rows: z.int(),
        /** True if there are more rows than were counted. */
        isMore: z.boolean(),
      }),
    ),
    /** The choices that are safe now. */
    choices: z.array(z.enum(moveChoices)),
  })
  .openapi('MoveSides')

export const moveSidesShape = sidesShape.extend({ move: moveShape })

export const choiceShape = z.strictObject({ choice: z.enum(moveChoices) })

const shardStates = ['serving', 'draining', 'read-only', 'restoring'] as const

const shardShape = z
  .object({
    id: z.string(),
    binding: z.string(),
    state: z.enum(shardStates),
    slots: z.int(),
    bytes: z.int().nullable().openapi({ description: 'The database’s size in bytes; null if it does not answer' }),
    users: z.int().nullable().openapi({ description: 'null if the database does not answer' }),
    usersEstimated: z
      .boolean()
      .openapi({ description: 'true if `users` is an estimate, as it is for 2,000 users or more' }),
    queriesPerSecond: z.number(),
  })
  .openapi('Shard')

export const oneShardShape = z.object({ shard: shardShape })
export const shardListShape = z.object({ epoch: z.int(), items: z.array(shardShape) })

const BINDING_DETAIL = 'A binding is SHARD_ and three digits, for example SHARD_002.'
export const joinShape = z.strictObject({ binding: z.string().regex(/^SHARD_\d{3}$/, BINDING_DETAIL) })
export const stateShape = z.strictObject({ state: z.enum(shardStates) })

export const rebalanceShape = z.strictObject({
  dryRun: z.boolean().default(false),
  by: z.enum(['slots', 'bytes']).default('slots'),
  /** How far a shard may stay from the mean, as a fraction of the mean. */
  tolerance: z.number().min(0).max(1).optional(),
  keyspace: z.enum(keyspaces).optional(),
})

/** The number of slots that should move, too, but are in open moves. Repeat the request after those have ended. */
const held = z.int()
export const planShape = z
  .object({
    moves: z.array(
      z.object({ keyspace: z.enum(keyspaces), source: z.string(), target: z.string(), slots: z.string() }),
    ),
    held,
  })
  .openapi('Plan')

export const startedMovesShape = z.object({ moves: z.array(moveShape), held })

export const keyspaceListShape = z
  .object({
    items: z.array(
      z.object({
        name: z.enum(keyspaces),
        tables: z.array(z.string()),
        /** The shards with slots of it, and how many. Empty until the slots of a new keyspace are assigned. */
        shards: z.array(z.object({ id: z.string(), slots: z.int() })),
        /** The shard that it was placed on. A rebalance leaves it there. */
        placement: z.string().nullable(),
      }),
    ),
  })
  .openapi('Keyspaces')

export const placeShape = z.strictObject({ target: wholeText.min(1).max(100) })

export const backfillShape = z
  .object({
    name: z.string(),
    table: z.string(),
    /** `none`: it has not run in the last 60 days. */
    state: z.enum(['none', 'waiting', 'running', 'paused', 'done', 'dead', 'cancelled']),
    /** From 0 to 1. */
    progress: z.number(),
  })
  .openapi('Backfill')

export const backfillListShape = z.object({ items: z.array(backfillShape) })
export const pausedShape = z.strictObject({ paused: z.boolean() })

export const migrationsShape = z
  .object({
    /** The newest migration of this version of the Worker. */
    newest: z.string(),
    items: z.array(
      z.object({
        shard: z.string(),
        /** The newest migration that the shard has. */
        version: z.string().nullable(),
        /** The migrations that the shard lacks, oldest first. */
        pending: z.array(z.string()),
      }),
    ),
  })
  .openapi('Migrations')

export const probePageShape = z
  .object({
    items: z.array(
      z.object({
        binding: z.string(),
        case: z.string(),
        expected: z.string(),
        /** How the router reads the answer. */
        met: z.string(),
        /** The text of the error that the binding threw. */
        text: z.string(),
        ok: z.boolean(),
      }),
    ),
    /** Bindings of shards that are being restored. */
    leftOut: z.array(z.string()),
    /** The `after` of the next page, or null. */
    next: z.string().nullable(),
  })
  .openapi('Probe')

export const probeRequestShape = z.strictObject({
  after: z
    .string()
    .regex(/^SHARD_\d{3}$/)
    .optional(),
})

export const replicasPageShape = z
  .object({
    /** Whether this version reads from replicas: its setting REPLICAS. */
    replicas: z.enum(['on', 'off']),
    /** Reads that waited for a replica, and reads that went to the primary instead, since this isolate started. */
    waited: z.int(),
    fellBack: z.int(),
    items: z.array(
      z.object({
        binding: z.string(),
        /** Which members of the database answered some reads of this request. */
        members: z.array(z.object({ region: z.string().nullable(), isPrimary: z.boolean(), reads: z.int() })),
        /** Why reads failed, or null. */
        error: z.string().nullable(),
      }),
    ),
    /** The `after` of the next page, or null. */
    next: z.string().nullable(),
  })
  .openapi('Replicas')

export const replicasQueryShape = z.strictObject({
  after: z
    .string()
    .regex(/^SHARD_\d{3}$/)
    .optional(),
})

export const userQuery = pageQuery.extend({
  /** The first characters of handles, in any case. */
  prefix: wholeText.max(50).default(''),
  order: z.enum(['handle', 'recent']).default('handle'),
  /** Only users in these slots, for example those that an earlier page missed: `4000-7fff,a000-a0ff`. */
  slots: z.string().optional(),
})

export const userPageShape = listOf(
  z.object({ id: z.string(), handle: z.string(), displayName: z.string(), createdAt: z.iso.datetime() }),
)
  .extend({
    /** The shards that did not answer. Their users are not on this page. */
    failed: z.array(z.string()),
    /** The slots of these shards, for a request with the same cursor and these `slots`. Null if the page is complete. */
    missing: z.string().nullable(),
  })
  .openapi('UserPage')

export const deadLetterQuery = pageQuery.extend({ kind: wholeText.max(100).optional() })

export const deadLetterPageShape = listOf(
  z.object({
    id: z.string(),
    kind: z.string(),
    attempts: z.int(),
    error: z.string(),
    /** The latest failed attempts, oldest first. */
    history: z.array(z.object({ at: z.iso.datetime(), attempt: z.int(), error: z.string() })),
    createdAt: z.iso.datetime().nullable().openapi({ description: 'null if an older version buried it' }),
    diedAt: z.iso.datetime(),
  }),
)
  .extend({
    /** The shards that did not answer. Their letters are not on this page. */
    failed: z.array(z.string()),
  })
  .openapi('DeadLetterPage')

const FILTER_DETAIL = 'Send `ids`, `kind`, or both.'
export const letterFilterShape = z
  .strictObject({
    ids: z
      .array(z.string().refine(isId, 'An id has 30 characters. See: npm run banyan -- dead-letters list'))
      .min(1)
      .max(limits.redriveIdsMax)
      .optional(),
    kind: wholeText.min(1).max(100).optional(),
  })
  .refine(({ ids, kind }) => ids !== undefined || kind !== undefined, FILTER_DETAIL)

export const lettersTakenShape = z
  .object({
    count: z.int(),
    /** Letters of jobs that are too old to run. They stay. */
    tooOld: z.int(),
    /** More letters match. The same request takes the next ones. */
    remaining: z.boolean(),
    /** The shards that did not answer. Their letters stay. */
    failed: z.array(z.string()),
  })
  .openapi('LettersTaken')

export const jobKindShape = z
  .object({
    kind: z.string(),
    queue: z.enum(queueNames),
    waiting: z.int(),
    running: z.int().openapi({ description: 'Only of kinds whose jobs have a record' }),
    dead: z.int(),
    oldestMs: z.int().nullable().openapi({ description: 'The age of the oldest waiting job' }),
    paused: z.boolean(),
    atLeast: z.boolean().openapi({ description: 'true if a shard has more rows than were counted' }),
  })
  .openapi('JobKind')

export const jobKindListShape = z.object({
  items: z.array(jobKindShape),
  /** The shards that did not answer. Their jobs are not counted. */
  failed: z.array(z.string()),
})

export const jobQueueShape = z
  .object({
    queue: z.enum(queueNames),
    /** Null if the queue does not answer. */
    messages: z.int().nullable(),
    bytes: z.int().nullable(),
    oldestMs: z.int().nullable(),
    paused: z.boolean(),
    /** Why the queue did not answer, or null. */
    error: z.string().nullable(),
  })
  .openapi('JobQueue')

export const jobQueueListShape = z.object({ items: z.array(jobQueueShape) })

export type DeadLetterPage = z.infer<typeof deadLetterPageShape>
export type LettersTaken = z.infer<typeof lettersTakenShape>
export type JobKindItem = z.infer<typeof jobKindShape>
export type JobKindList = z.infer<typeof jobKindListShape>
export type JobQueueItem = z.infer<typeof jobQueueShape>
export type JobQueueList = z.infer<typeof jobQueueListShape>
export type UserPage = z.infer<typeof userPageShape>
export type Problem = z.infer<typeof problemShape>
export type Move = z.infer<typeof moveShape>
export type OneMove = z.infer<typeof oneMoveShape>
export type PlannedMoves = z.infer<typeof plannedMovesShape>
export type MovePage = z.infer<typeof movePageShape>
export type MoveSides = z.infer<typeof moveSidesShape>
export type Shard = z.infer<typeof shardShape>
export type OneShard = z.infer<typeof oneShardShape>
export type ShardList = z.infer<typeof shardListShape>
export type Plan = z.infer<typeof planShape>
export type StartedMoves = z.infer<typeof startedMovesShape>
export type KeyspaceList = z.infer<typeof keyspaceListShape>
export type Backfill = z.infer<typeof backfillShape>
export type BackfillList = z.infer<typeof backfillListShape>
export type Migrations = z.infer<typeof migrationsShape>
export type ReplicasPage = z.infer<typeof replicasPageShape>
export type ProbePage = z.infer<typeof probePageShape>
/** Requests as clients send them, in which fields with a default are optional. */
export type MoveRequest = z.input<typeof moveRequestShape>
export type RebalanceRequest = z.input<typeof rebalanceShape>
