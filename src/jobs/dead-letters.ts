import { type Clock, DAY_MS } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'
import { isId, slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { BuildBatch, Slotted } from '../sharding/grouped-batches.ts'
import { type AnswersOf, type NamedBatch, rowsOf } from '../sharding/named-batch.ts'
import type { ShardFailure } from '../sharding/scatter.ts'
import type { ScatterQuery } from '../sharding/scatter-query.ts'
import type { Shards } from '../sharding/shards.ts'
import type { Job } from './outbox.ts'

interface DeadLetter {
  id: string
  kind: string
  attempts: number
  error: string
  history: string | null // JSON
  createdAt: number | null
  diedAt: number
}

/** Which letters: those with these ids, those of a kind, or those with these ids that are of the kind. */
export interface LetterFilter {
  ids?: string[] | undefined
  kind?: string | undefined
}

/** What became of the letters of a filter. */
export interface LettersTaken {
  count: number
  /** Letters of jobs that are too old to run. They stay. */
  tooOld: number
  /** More letters match. The same request takes the next ones. */
  remaining: boolean
  /** Shards that did not answer. Their letters stay. */
  failed: string[]
}

interface Tools {
  shards: Shards
  clock: Clock
  log: Log
}

const KEYS = ['dead_letters.died_at', 'dead_letters.id'] as const

function letters<Row>(
  columns: string,
  { kind, fit, tooOld }: { kind?: string | undefined; fit?: number; tooOld?: number },
): ScatterQuery<Row> {
  const where = [
    ...(kind === undefined ? [] : [{ sql: 'kind = ?', value: kind }]),
    // A letter of an older version does not know when its job was created. Then the outbox row decides.
    ...(fit === undefined ? [] : [{ sql: 'coalesce(created_at, died_at) > ?', value: fit }]),
    ...(tooOld === undefined ? [] : [{ sql: 'coalesce(created_at, died_at) <= ?', value: tooOld }]),
  ]
  return {
    operation: 'dead-letters.list',
    keyspace: 'users',
    direction: 'descending',
    sources: [
      {
        columns,
        from: 'dead_letters',
        id: 'dead_letters.id',
        keys: KEYS,
        ...(where.length > 0 && {
          where: { sql: where.map(({ sql }) => sql).join(' AND '), values: where.map(({ value }) => value) },
        }),
      },
    ],
  }
}

/** Dead letters of all shards, of one kind or of all, the newest death first. Its sort key is the death (ms) and the id. */
export const deadLettersQuery = (kind?: string): ScatterQuery<DeadLetter> =>
  letters('id, kind, attempts, error, history, created_at AS createdAt, died_at AS diedAt', { kind })

/** Jobs created at this time or earlier are too old to run (see `ageRefusal`). */
const tooOldAt = (now: number): number => now - (limits.inboxDays - limits.inboxMarginDays) * DAY_MS

/** `?1`: ids (JSON), `?2`: the kind, or null for any. */
const LETTERS = 'dead_letters.id IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR dead_letters.kind = ?2)'
const ROWS = 'outbox.id IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR outbox.kind = ?2)'

interface RedrivenRow extends Omit<Job, 'body' | 'parentId'> {
  body: string | null
  parentId: string | null
}

/**
 * Lets dead jobs run again: their rows wait with all of their attempts before them, and the letters go. Histories stay.
 * Repeating it changes nothing, because a job that runs again has no letter. `send` gets a bounded number of the jobs; the
 * sweeper sends the others.
 */
export async function redrive(
  tools: Tools & { send(jobs: Job[]): void; sendMax: number },
  filter: LetterFilter,
): Promise<LettersTaken> {
  const { clock, send, sendMax } = tools
  const now = clock.now()
  const tooOld = tooOldAt(now)
  const found = await find(tools, filter, { fit: tooOld })
  const { answers, failed } = await take(tools, 'dead-letters.redrive', found.ids, (database, some) => {
    const ids = JSON.stringify(some.map(({ key }) => key))
    const kind = filter.kind ?? null
    return {
      // A batch whose answer was lost is repeated, and then finds the rows as it left them.
      rows: rowsOf<RedrivenRow>(
        database
          .prepare(
            `UPDATE outbox SET state = 'waiting', attempts = 0, due_at = ?3 WHERE ${ROWS} AND created_at > ?4
               AND (state = 'dead' AND EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.id = outbox.id)
                 OR state = 'waiting' AND due_at = ?3)
             RETURNING id, owner_id AS ownerId, kind, created_at AS createdAt, attempts, parent_id AS parentId,
               CASE WHEN octet_length(body) <= ?5 THEN CASE WHEN json_valid(body) THEN body END END AS body`,
          )
          .bind(ids, kind, now, tooOld, limits.redriveBodyBytesMax),
      ),
      records: database
        .prepare(
          `UPDATE job_records SET state = 'waiting', error = NULL WHERE id IN (SELECT value FROM json_each(?1))
             AND state = 'dead' AND EXISTS (SELECT 1 FROM outbox WHERE outbox.id = job_records.id AND state = 'waiting')`,
        )
        .bind(ids),
      letters: database
        .prepare(
          `DELETE FROM dead_letters WHERE ${LETTERS}
             AND EXISTS (SELECT 1 FROM outbox WHERE outbox.id = dead_letters.id AND state <> 'dead')`,
        )
        .bind(ids, kind),
      left: rowsOf<{ id: string }>(database.prepare(`SELECT id FROM dead_letters WHERE ${LETTERS}`).bind(ids, kind)),
    }
  })
  const rows = answers.flatMap((answer) => answer.rows.results)
  send(
    rows
      .filter(({ createdAt }) => createdAt <= now)
      .slice(0, sendMax)
      .flatMap(jobOf),
  )
  const left = answers.reduce((sum, answer) => sum + answer.left.results.length, 0)
  return {
    count: rows.length,
    tooOld: left + (found.isAll && filter.ids === undefined ? await countTooOld(tools, filter, tooOld) : 0),
    remaining: !found.isAll,
    failed: [...new Set([...found.failed, ...failed])].toSorted(),
  }
}

/** Gives up dead jobs: their rows and letters go. Their records stay dead. Repeating it changes nothing. */
export async function discard(tools: Tools, filter: LetterFilter): Promise<LettersTaken> {
  const found = await find(tools, filter, {})
  const { answers, failed } = await take(tools, 'dead-letters.discard', found.ids, (database, some) => {
    const given = [JSON.stringify(some.map(({ key }) => key)), filter.kind ?? null]
    return {
      rows: database
        .prepare(
          `DELETE FROM outbox WHERE ${ROWS} AND state = 'dead'
             AND EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.id = outbox.id)`,
        )
        .bind(...given),
      letters: rowsOf<{ id: string }>(
        database.prepare(`DELETE FROM dead_letters WHERE ${LETTERS} RETURNING id`).bind(...given),
      ),
    }
  })
  return {
    count: answers.reduce((sum, { letters }) => sum + letters.results.length, 0),
    tooOld: 0,
    remaining: !found.isAll,
    failed: [...new Set([...found.failed, ...failed])].toSorted(),
  }
}

/** A row whose body was not read, because it is large or not JSON, is left to the sweeper. */
function jobOf({ body, parentId, ...row }: RedrivenRow): Job[] {
  if (body === null) return []
  return [{ ...row, body: JSON.parse(body), ...(parentId && { parentId }) }]
}

interface Found {
  ids: string[]
  /** No other letter matches. */
  isAll: boolean
  failed: string[]
}

/** The ids of the filter, or the newest letters of its kind. */
async function find(tools: Tools, { ids, kind }: LetterFilter, age: { fit?: number }): Promise<Found> {
  if (ids) return { ids: ids.filter(isId), isAll: true, failed: [] }
  if (kind === undefined) throw new BanyanError('INTERNAL', 'A filter of dead letters has neither ids nor a kind.')
  const shards = tools.shards.atPrimary()
  const page = await shards.scatter<{ id: string }>(letters('id', { kind, ...age }), {
    limit: limits.redriveLettersMax,
  })
  const map = await shards.map()
  const byShard = Map.groupBy(page.rows, ({ id }) => map.ownerOf('users', slotOf(id)).id)
  const some = [...byShard.values()].slice(0, limits.redriveShardsMax).flat()
  return {
    ids: some.map(({ id }) => id),
    isAll: page.next === null && some.length === page.rows.length,
    failed: noted(tools, page.failed),
  }
}

/** Sends one batch per shard for these letters. */
async function take<Batch extends NamedBatch>(
  tools: Tools,
  operation: string,
  ids: string[],
  build: BuildBatch<Slotted, Batch>,
): Promise<{ answers: AnswersOf<Batch>[]; failed: string[] }> {
  if (ids.length === 0) return { answers: [], failed: [] }
  const { shards } = tools
  const items = ids.map((key) => ({ key }))
  const { answers, failed } = await shards.group(items, { keyspace: 'users', operation }, build)
  const map = await shards.map()
  const failures = [...failed].map(([{ key }, error]) => ({
    shard: map.ownerOf('users', slotOf(key)).id,
    error: error.message,
  }))
  return { answers, failed: noted(tools, failures) }
}

/** The names of the shards that failed. */
function noted({ log }: Tools, failures: ShardFailure[]): string[] {
  const byShard = new Map(failures.map(({ shard, error }) => [shard, error]))
  for (const [shard, reason] of byShard) log.warn('shard.error', { shard, operation: 'dead-letters', reason })
  return [...byShard.keys()]
}

/** How many letters are of jobs that are too old, up to the bound of one request. */
async function countTooOld({ shards }: Tools, { kind }: LetterFilter, tooOld: number): Promise<number> {
  const query = letters<{ id: string }>('id', { kind, tooOld })
  return (await shards.atPrimary().scatter(query, { limit: limits.redriveLettersMax })).rows.length
}
