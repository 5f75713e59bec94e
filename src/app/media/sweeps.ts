import { DAY_MS, HOUR_MS } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import { limits } from '../../core/limits.ts'
import type { Duty } from '../../jobs/duties.ts'
import { newJob, outboxStatement } from '../../jobs/outbox.ts'
import { walk, workOff } from '../../jobs/walk.ts'
import { rowsOf } from '../../sharding/named-batch.ts'
import { affordable, type ShardWindow } from '../../sharding/shards.ts'
import type { NounDutyTools } from '../noun.ts'
import { anyVariantKey, idOfKey, keysOf, ORIGINALS, VARIANTS } from './keys.ts'
import { PROCESS } from './media.ts'

/** No sweep touches younger objects, because a request or a job may still be about to write their row. */
const OBJECT_AGE_MS = DAY_MS

/** The three sweeps of pictures take turns. */
export const mediaDuties = (tools: NounDutyTools): Duty[] => [
  { name: 'media.unused-deleted', run: (window) => deleteUnused(tools, window) },
  { name: 'media.orphans-deleted', run: () => deleteOrphans(tools) },
  { name: 'media.rows-checked', run: (window) => checkRows(tools, window) },
]

/** Deletes pictures that nothing has shown for a day. If it is interrupted, their objects become orphans. */
async function deleteUnused({ shards, clock, log, objects }: NounDutyTools, window: ShardWindow): Promise<number> {
  const { values, failed } = await shards.each(
    'users',
    (shard) =>
      shard.run<{ id: string }>(
        `DELETE FROM media WHERE used_by IS NULL AND id IN (
           SELECT id FROM media WHERE used_by IS NULL AND created_at <= ? AND ${shard.ownedHere('id')} LIMIT ?
         ) RETURNING id`,
        clock.now() - limits.mediaUnusedHours * HOUR_MS,
        limits.mediaSweptRowsMax,
      ),
    affordable(window, 1),
  )
  for (const failure of failed) log.error('media.not-swept', { ...failure })
  const ids = values.flatMap(({ results }) => results.map(({ id }) => id))
  await deleteObjects(objects, ids.flatMap(keysOf))
  return ids.length
}

const KEYS_AT_ONCE_MAX = 1_000

async function deleteObjects(objects: NounDutyTools['objects'], keys: string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += KEYS_AT_ONCE_MAX) await objects.delete(keys.slice(at, at + KEYS_AT_ONCE_MAX))
}

/** The row with the sweep's position in R2. It is in the first slot, wherever that is. */
const POSITION_ID = '0000.media.objects'

/**
 * Deletes objects whose picture has no row. Objects are listed in turn. Only the exact answer of the shard that owns the
 * picture's slot counts; a picture whose shard does not answer, or whose slot is being cut over, keeps its objects.
 */
async function deleteOrphans({ shards, clock, log, objects }: NounDutyTools): Promise<number> {
  const position = await shards
    .of(POSITION_ID, { read: 'exact', operation: 'media.sweep-position' })
    .prepare('SELECT position FROM duty_positions WHERE id = ?')
    .bind(POSITION_ID)
    .first<string>('position')
  const after = position ?? ORIGINALS
  const prefix = after.startsWith(VARIANTS) ? VARIANTS : ORIGINALS
  const limit = limits.mediaSweptObjectsMax
  const { objects: listed, isOver } = await objects.list(prefix, after === prefix ? '' : after, limit)
  const old = listed.filter(({ uploadedAt }) => uploadedAt <= clock.now() - OBJECT_AGE_MS)
  const ids = [...new Set(old.flatMap(({ key }) => idOfKey(key) ?? []))]
  const { done, answers, failed } = await shards.group(
    ids.map((key) => ({ key })),
    { keyspace: 'users', operation: 'media.find-rows', isRead: true },
    (database, some) => ({
      found: rowsOf<{ id: string }>(
        database
          .prepare('SELECT id FROM media WHERE id IN (SELECT value FROM json_each(?))')
          .bind(JSON.stringify(some.map(({ key }) => key))),
      ),
    }),
  )
  if (failed.size > 0) log.warn('media.not-compared', { pictures: failed.size, reason: reasonIn(failed) })
  const known = new Set(answers.flatMap(({ found }) => found.results.map(({ id }) => id)))
  const orphans = new Set(done.map(({ key }) => key).filter((id) => !known.has(id)))
  const keys = old.map(({ key }) => key).filter((key) => orphans.has(idOfKey(key) ?? ''))
  await deleteObjects(objects, keys)
  const last = listed.at(-1)?.key
  const other = prefix === ORIGINALS ? VARIANTS : ORIGINALS
  await keepPosition(shards, isOver || last === undefined ? other : last)
  return keys.length
}

const reasonIn = (failed: ReadonlyMap<unknown, unknown>): string => messageOf([...failed.values()][0])

async function keepPosition(shards: NounDutyTools['shards'], position: string): Promise<void> {
  await shards
    .of(POSITION_ID, { operation: 'media.keep-sweep-position', idempotent: true })
    .prepare(
      `INSERT INTO duty_positions (id, duty, shard, position) VALUES (?, 'media.objects', '', ?)
       ON CONFLICT (id) DO UPDATE SET position = excluded.position`,
    )
    .bind(POSITION_ID, position)
    .run()
}

interface CheckedRow {
  id: string
  ownerId: string
}

/** Looks for the objects of ready pictures, a few in each turn. A job makes missing ones from the original again. */
async function checkRows(tools: NounDutyTools, window: ShardWindow): Promise<number> {
  const { shards, clock, log } = tools
  const settled = { sql: "state = 'ready' AND created_at <= ?", values: [clock.now() - OBJECT_AGE_MS] }
  const { values: visits, failed } = await walk<CheckedRow>(
    shards,
    {
      duty: 'media',
      tables: [{ name: 'media', columns: 'id, owner_id AS ownerId', where: settled }],
      rowsMax: Math.max(1, Math.floor(limits.mediaCheckedMax / window.size)),
      statementsPerShard: 8,
    },
    window,
  )
  const onFailure = ({ shard, error }: { shard: string; error: string }) =>
    log.error('media.not-checked', { shard, error })
  failed.forEach(onFailure)
  return workOff(
    visits,
    async ({ rows, advance }) => {
      let missing = 0
      for (const row of rows) if (await makeAgainIfMissing(tools, row)) missing++
      await advance(rows)
      return missing
    },
    onFailure,
  )
}

async function makeAgainIfMissing(
  { shards, clock, ids, log, objects }: NounDutyTools,
  row: CheckedRow,
): Promise<boolean> {
  if (await objects.has(anyVariantKey(row.id))) return false
  log.warn('media.objects-missing', { id: row.id })
  const job = newJob(ids, clock, row.ownerId, PROCESS, { id: row.id, again: true })
  const database = shards.of(row.id, { operation: 'media.make-again', idempotent: true })
  await database.batch([outboxStatement(database, job)])
  return true
}
