import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll } from 'vitest'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import { type Random, systemRandom } from '../../src/core/random.ts'
import { Mover, type PausePoint } from '../../src/resharding/move.ts'
import { type MoveAnswer, type MoveRecord, type RemoteMoveRecords, slotAfter } from '../../src/resharding/record.ts'
import type { BatchObserver } from '../../src/resharding/shard-side.ts'
import { FIND_TABLES, readTables } from '../../src/resharding/tables.ts'
import { MapHolder } from '../../src/sharding/map-holder.ts'
import type { Keyspace } from '../../src/sharding/sharded-table.ts'
import { Shards } from '../../src/sharding/shards.ts'
import type { DirectoryObject } from '../../workers/coordinator.ts'
import type { Env } from '../../workers/env.ts'
import { mapRequest, quietLog } from './sharding-doubles.ts'
import { databases } from './sharding-slots.ts'
import { wakeMoversBy } from './waking.ts'

const bindings = env as unknown as Env
const directory = () => bindings.DIRECTORY.get(bindings.DIRECTORY.idFromName('directory'))

/** The test runs the movers: the directory starts none of the real ones. */
beforeAll(() => wakeMoversBy(async () => undefined))

/** The real directory's records of moves, over RPC. */
export const records: RemoteMoveRecords = {
  find: (id) => directory().findMove(id) as Promise<MoveRecord | null>,
  change: (seen, change, progress) => directory().changeMove(seen, change, progress) as Promise<MoveAnswer>,
  report: (...report) => directory().reportMove(...report),
}

export const shards = new Map<string, D1Database>(Object.entries(databases))

/** Plans the move of one slot, or of the slots up to `last`, to the other shard. The test runs its mover. */
export async function planMove(keyspace: Keyspace, slot: string, target: string, last = slot): Promise<MoveRecord> {
  await directory().map()
  const reply = await directory().planMoves({ keyspace, ranges: [[slot, last]], target })
  if (!('moves' in reply)) throw new Error(`${reply.code}: ${reply.detail}`)
  return reply.moves[0]! as MoveRecord
}

export async function steer(id: string, verb: 'abort' | 'reverse' | 'complete'): Promise<void> {
  const reply = await directory().steerMove(id, verb)
  if (!('move' in reply)) throw new Error(`${reply.code}: ${reply.detail}`)
}

export const record = async (id: string): Promise<MoveRecord> => (await records.find(id))!

type AtPoint = (point: PausePoint) => Promise<void> | void

interface Given {
  pause?: AtPoint
  records?: RemoteMoveRecords
  clock?: Clock
  random?: Random
  observer?: BatchObserver
  /** Connections to use instead of the shards' own, by binding. */
  shards?: Map<string, D1Database>
}

/**
 * A mover that runs in the test. `pause` is called at each pause point; an error that it throws simulates a crash
 * there.
 */
export function mover(given: Given = {}): Mover {
  const pause = async (point: PausePoint) => void (await given.pause?.(point))
  return new Mover({
    records,
    shards,
    clock: systemClock,
    random: systemRandom,
    log: quietLog,
    share: 1,
    ...given,
    pause,
  })
}

/** Runs turns until the move waits for a while. Throws if that never happens. */
export async function drive(id: string, pause: AtPoint = () => undefined, clock = systemClock): Promise<MoveRecord> {
  const one = mover({ pause, clock })
  for (let turns = 0; turns < 20; turns++) {
    const comeBackAt = await one.turn(id)
    if (comeBackAt === null || comeBackAt > systemClock.now() + 10_000) return record(id)
  }
  throw new Error(`the move never came to rest: ${JSON.stringify(await record(id))}`)
}

/** Runs `body` when the point is reached for the first time. */
export function once(point: PausePoint, body: () => Promise<void> | void) {
  let isDone = false
  return async (met: PausePoint) => {
    if (met !== point || isDone) return
    isDone = true
    await body()
  }
}

/** The routed databases, with a current map. */
export function routed(): Shards {
  const source = {
    async map() {
      const reply = await directory().map()
      if (!('map' in reply)) throw new Error(reply.detail)
      return reply.map
    },
  }
  const observer = {}
  const holder = new MapHolder(systemClock, 30_000)
  return new Shards({
    holder,
    request: mapRequest(source),
    shards,
    clock: systemClock,
    random: systemRandom,
    atLeastEpoch: 0,
    observer,
  })
}

export async function epoch(): Promise<number> {
  const reply = await directory().map()
  if (!('map' in reply)) throw new Error(reply.detail)
  return reply.map.epoch
}

/** Everything that a shard holds of a slot: its state, and its exact rows by table. */
export async function holdings(binding: string, keyspace: Keyspace, slot: string) {
  const database = shards.get(binding)!
  const found = await database.prepare(FIND_TABLES).bind(keyspace).all<never>()
  const rows: Record<string, string[]> = {}
  for (const { name, columns, key } of readTables(keyspace, found.results)) {
    const line = columns.map((column) => `quote("${column}")`).join(" || ',' || ")
    const { results } = await database
      .prepare(`SELECT ${line} AS line FROM "${name}" WHERE "${key[0]}" >= ? AND "${key[0]}" < ? ORDER BY 1`)
      .bind(slot, slotAfter(slot))
      .all<{ line: string }>()
    if (results.length > 0) rows[name] = results.map((row) => row.line)
  }
  const state = await database
    .prepare('SELECT state FROM slots WHERE keyspace = ? AND slot = ?')
    .bind(keyspace, slot)
    .first<string>('state')
  const changes = await database
    .prepare('SELECT count(*) AS n FROM slot_changes WHERE substr(pk, 3, 4) = ?')
    .bind(slot)
    .first<number>('n')
  return { state, rows, changes }
}

/** Ends the settling now, whatever the clock says, because no process holds a lease of a test. */
export const settleNow = (id: string) => setOfRecord(id, 'settlesAt')

/** Ends the last lease, so that slots which this move took from a shard may return to it. */
export const leasesAreOver = (id: string) => setOfRecord(id, 'committedAt')

/** Ends moves that a previous test left open, possibly by failing, so that they block no further moves. */
export const endOpenMoves = () =>
  runInDurableObject(directory(), async (_: DirectoryObject, state) => {
    state.storage.sql.exec(
      `UPDATE moves SET is_over = 1, record = json_set(record, '$.state', 'failed', '$.hasLanes', json('false'))
       WHERE is_over = 0`,
    )
  })

const setOfRecord = (id: string, field: 'settlesAt' | 'committedAt') =>
  runInDurableObject(directory(), async (_: DirectoryObject, state) => {
    state.storage.sql.exec(`UPDATE moves SET record = json_set(record, '$.${field}', 1) WHERE id = ?`, id)
  })
