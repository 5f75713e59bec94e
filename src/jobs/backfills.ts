import { z } from '@hono/zod-openapi'
import type { Clock } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'
import { hash16 } from '../core/hash16.ts'
import { derivedId, type IdSource, slotOf, slotText } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { Pace } from '../core/pace.ts'
import { rowsOf } from '../sharding/named-batch.ts'
import { SLOT_COUNT } from '../sharding/shard-map.ts'
import type { Shards } from '../sharding/shards.ts'
import { type Backfill, changeChunk } from './backfill-chunk.ts'
import { childId } from './children.ts'
import { type JobKinds, type JobOutcome, jobType } from './kinds.ts'
import type { Job } from './outbox.ts'
import type { Pausable, Pauses } from './pauses.ts'
import { findPosition, keepPosition } from './positions.ts'
import { type JobState, trackedStatementsOnlyIf } from './records.ts'

export type { Backfill } from './backfill-chunk.ts'

const RANGE_SLOTS = SLOT_COUNT / limits.backfillRanges

const runType = jobType('backfill.run', { backfill: z.string() })

/** Each backfill's ranges are a kind of their own, so that a pause or a dead letter concerns only this backfill. */
const rangeKind = (name: string) => `backfill.range.${name}`
const pausable = (name: string): Pausable => `kind.${rangeKind(name)}`

const positionShape = z.object({
  after: z.string(),
  last: z.string(),
  /** The rows of the next chunk. */
  rows: z.int().positive(),
})

interface SlotRange {
  first: string
  last: string
}

const ranges: SlotRange[] = Array.from({ length: limits.backfillRanges }, (_, index) => ({
  first: slotText(index * RANGE_SLOTS),
  last: slotText((index + 1) * RANGE_SLOTS - 1),
}))

/** Owns a backfill's runs. It is no user. */
const ownerOf = (name: string): string => derivedId(slotText(hash16(name)), 0, `backfill.${name}`)
/** Owns a range's job, so that the job's row is in the range's first slot, and moves with it. */
const rangeOwner = (name: string, { first }: SlotRange): string => derivedId(first, 0, `backfill.${name}`)

/**
 * The kinds of jobs that run these backfills: one that splits a run into ranges, and one per backfill for its ranges.
 * `share`: the share of each database's time that one backfill may use.
 */
export function backfillKinds(backfills: readonly Backfill[], share: number): JobKinds {
  const options = { queue: 'jobs', attemptsMax: 20, backoffBaseSeconds: 5 } as const
  const run = runType.handler({
    ...options,
    isTracked: true,
    async run({ body }, { child }) {
      const { name } = find(backfills, body.backfill)
      const children = ranges.map((range) =>
        child(rangeOwner(name, range), rangeKind(name), range.first, {
          after: range.first,
          last: range.last,
          rows: limits.moveChunkRowsFirst,
        }),
      )
      return { children }
    },
  })
  const ofRanges = backfills.map((backfill) => [
    rangeKind(backfill.name),
    { ...options, run: (job: Job, tools: RangeTools) => runRange(job, backfill, tools, share) },
  ])
  return { ...run, ...Object.fromEntries(ofRanges) }
}

interface RangeTools {
  shards: Shards
  clock: Clock
}

/**
 * One turn of a range. It keeps its position after each chunk, so a crash repeats at most one chunk, in which the guard
 * passes over the changed rows.
 */
async function runRange(
  job: Job,
  backfill: Backfill,
  tools: RangeTools,
  share: number,
): Promise<JobOutcome | undefined> {
  const { shards, clock } = tools
  let kept = await findPosition(shards, job)
  if (!kept) return { continues: 'elsewhere' }
  let position = positionShape.parse(kept)
  const pace = new Pace(clock, share / (await rangesPerShard(shards, backfill, position.after)), position.rows)
  const startedAt = clock.now()
  for (let chunks = 1; ; chunks++) {
    const { after } = await pace.round(
      () => changeChunk(shards, backfill, position, pace.rowsMax),
      ({ isFull }) => isFull,
    )
    if (after === null) return undefined
    position = { ...position, after, rows: pace.rowsMax }
    if (!(await keepPosition(tools, job, kept, position))) return { continues: 'elsewhere' }
    kept = position
    if (chunks >= limits.backfillChunksMax || clock.now() - startedAt >= limits.backfillTurnMs)
      return { continues: 'here' }
  }
}

/** How many ranges of a backfill may work in this key's shard at once. They share the backfill's time there. */
async function rangesPerShard(shards: Shards, { keyspace = 'users' }: Backfill, key: string): Promise<number> {
  const map = await shards.map()
  const slots = map.slotCounts(keyspace)[map.shards.indexOf(map.ownerOf(keyspace, slotOf(key)))] ?? 0
  return Math.max(1, slots / RANGE_SLOTS)
}

function find(backfills: readonly Backfill[], name: string): Backfill {
  const backfill = backfills.find((one) => one.name === name)
  if (backfill) return backfill
  throw new BanyanError('NOT_FOUND', `There is no backfill "${name}". See: npm run banyan -- backfill list`)
}

// ── for operators ─────────────────────────────────────────────────────────────────────────────────

export interface BackfillStatus {
  name: string
  table: string
  /** `none`: it has not run in the last 60 days. */
  state: 'none' | 'paused' | JobState
  /** From 0 to 1: the share of the slots that are done. */
  progress: number
}

interface BackfillsOptions {
  backfills: readonly Backfill[]
  shards: Shards
  clock: Clock
  ids: IdSource
  pauses: Pauses
  /** Sends a job after its commit. */
  follow(jobs: Job[]): void
}

interface RunRow {
  id: string
  state: JobState
  children: number | null
  createdAt: number
}

/** A record of a backfill's run. `?1` and `?2`: the keys of the owner's slot. `?3`: the owner. */
const RUNS = 'FROM job_records WHERE id > ?1 AND id < ?2 AND owner_id = ?3'

const isOpen = (state: string) => state === 'waiting' || state === 'running'

/** The backfills, as operators see and steer them. */
export class Backfills {
  readonly #options: BackfillsOptions

  constructor(options: BackfillsOptions) {
    this.#options = options
  }

  async list(): Promise<BackfillStatus[]> {
    const paused = await this.#options.pauses.read()
    return Promise.all(
      this.#options.backfills.map(async (backfill) => this.#statusOf(backfill, await this.#latest(backfill), paused)),
    )
  }

  /** Starts a run, or resumes one that is paused. A run that is not over is left as it is. Throws NOT_FOUND. */
  async start(name: string): Promise<BackfillStatus> {
    const { backfills, pauses, follow } = this.#options
    const backfill = find(backfills, name)
    await pauses.resume(pausable(name))
    const job = runType.job(this.#options, ownerOf(name), { backfill: name })
    const database = this.#options.shards.of(job.ownerId, { operation: 'backfills.start', idempotent: true })
    const noneOpen = `NOT EXISTS (SELECT 1 ${RUNS.replace(/\?\d/g, '?')} AND state IN ('waiting', 'running'))`
    await database.batch(trackedStatementsOnlyIf(database, job, { sql: noneOpen, values: keysOf(name) }))
    const latest = await this.#latest(backfill)
    if (latest?.id === job.id) follow([job])
    return this.#statusOf(backfill, latest, [])
  }

  /** A range stops after its current turn, and resumes at its position. Throws NOT_FOUND. */
  async setPaused(name: string, paused: boolean): Promise<BackfillStatus> {
    const { backfills, pauses } = this.#options
    const backfill = find(backfills, name)
    await (paused ? pauses.pause(pausable(name)) : pauses.resume(pausable(name)))
    return this.#statusOf(backfill, await this.#latest(backfill), await pauses.read())
  }

  async #latest({ name }: Backfill): Promise<RunRow | null> {
    return this.#options.shards
      .of(ownerOf(name), { read: 'exact', operation: 'backfills.find' })
      .prepare(`SELECT id, state, children, created_at AS createdAt ${RUNS} ORDER BY id DESC LIMIT 1`)
      .bind(...keysOf(name))
      .first<RunRow>()
  }

  async #statusOf(backfill: Backfill, run: RunRow | null, paused: string[]): Promise<BackfillStatus> {
    const { name, table } = backfill
    if (!run) return { name, table, state: 'none', progress: 0 }
    const isPaused = isOpen(run.state) && paused.includes(pausable(name))
    const progress = run.state === 'done' ? 1 : await this.#progress(name, run)
    return { name, table, state: isPaused ? 'paused' : run.state, progress }
  }

  /** Reads the positions of the ranges. A range whose row is deleted is done. */
  async #progress(name: string, run: RunRow): Promise<number> {
    if (run.children === null) return 0
    const rangeOf = new Map(ranges.map((range) => [childId(run, rangeOwner(name, range), range.first), range]))
    const { answers, failed } = await this.#options.shards.group(
      [...rangeOf.keys()].map((key) => ({ key })),
      { keyspace: 'users', operation: 'backfills.progress', isRead: true },
      (database, some) => ({
        rows: rowsOf<{ id: string; after: string }>(
          database
            .prepare(
              "SELECT id, body ->> 'after' AS after FROM outbox WHERE id IN (SELECT value ->> 'key' FROM json_each(?))",
            )
            .bind(JSON.stringify(some)),
        ),
      }),
    )
    for (const error of failed.values()) throw error
    const left = answers
      .flatMap(({ rows }) => rows.results)
      .reduce((sum, { id, after }) => {
        const last = rangeOf.get(id)?.last ?? slotOf(after)
        return sum + slotNumber(last) + 1 - slotNumber(slotOf(after))
      }, 0)
    return 1 - left / SLOT_COUNT
  }
}

/** The bounds of the keys of a backfill's runs, and their owner. */
const keysOf = (name: string): [string, string, string] => {
  const owner = ownerOf(name)
  return [slotOf(owner), `${slotOf(owner)}~`, owner]
}

const slotNumber = (slot: string): number => Number.parseInt(slot, 16)
