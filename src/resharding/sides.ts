import { limits } from '../core/limits.ts'
import { zip } from '../core/zip.ts'
import { batchByName, onlyRow, rowsOf } from '../sharding/named-batch.ts'
import type { ShardDatabase } from '../sharding/shards.ts'
import { isBeforeCommit, isOver, type MoveChoice, type MoveRecord, type MoveShard, slotAfter } from './record.ts'
import { sampleSql } from './rows.ts'
import {
  COUNT_STATES,
  commonState,
  type SideState,
  type SlotCount,
  type SlotState,
  slotsInRanges,
} from './shard-side.ts'
import { type ColumnRow, FIND_TABLES, readTables } from './tables.ts'

/** A shard's part of a move's slots. */
interface ShardSlots {
  shard: string
  slots: SlotCount[]
  /** Rows of these slots. At most `limits.moveCountRowsMax` per table are counted. */
  rows: number
  isMore: boolean
}

export interface MoveSides {
  sides: ShardSlots[]
  choices: MoveChoice[]
}

/** The move's own slots at a shard, with their states. */
type OwnSlots = ReadonlyMap<string, SlotState>

/** Reads both shards, for operators. It raises no step, so the mover checks again before it acts. */
export async function readSides(record: MoveRecord, shards: ReadonlyMap<string, ShardDatabase>): Promise<MoveSides> {
  const [source, target] = await Promise.all([
    readSide(record, record.source, shards),
    readSide(record, record.target, shards),
  ])
  return {
    sides: [source.side, target.side],
    choices: safeChoices(record, [source.side.slots, target.side.slots], [source.own, target.own]),
  }
}

async function readSide(record: MoveRecord, shard: MoveShard, shards: ReadonlyMap<string, ShardDatabase>) {
  const database = shards.get(shard.binding)
  if (!database)
    throw new Error(`this version of the Worker has no binding ${shard.binding}; deploy a version that has it`)
  const ranges = JSON.stringify(record.ranges)
  const own = `SELECT slot, state FROM slots WHERE keyspace = ?1 AND slot IN (${slotsInRanges}) AND move_id = ?3`
  const { counts, found, ownSlots } = await batchByName(database, {
    counts: rowsOf<SlotCount>(database.prepare(COUNT_STATES).bind(ranges, record.keyspace)),
    found: rowsOf<ColumnRow>(database.prepare(FIND_TABLES).bind(record.keyspace)),
    ownSlots: rowsOf<{ slot: string; state: SlotState }>(
      database.prepare(own).bind(record.keyspace, ranges, record.id),
    ),
  })
  const tables = readTables(record.keyspace, found.results)
  const past = JSON.stringify(record.ranges.map(([first, last]) => [first, slotAfter(last)]))
  const { samples } = await batchByName(database, {
    samples: tables.map((table) =>
      rowsOf<{ rows: number }>(database.prepare(sampleSql(table, limits.moveCountRowsMax)).bind(past)),
    ),
  })
  const rows = samples.map((sample) => onlyRow(sample).rows)
  const side: ShardSlots = {
    shard: shard.id,
    slots: counts.results,
    rows: rows.reduce((sum, count) => sum + count, 0),
    isMore: rows.some((count) => count === limits.moveCountRowsMax),
  }
  return { side, own: new Map(ownSlots.results.map(({ slot, state }) => [slot, state])) }
}

/** The operator's safe choices, given what the shards hold. Each choice touches only the move's own slots. */
function safeChoices(record: MoveRecord, found: [SlotCount[], SlotCount[]], own: [OwnSlots, OwnSlots]): MoveChoice[] {
  if (isOver(record)) return []
  const canUndo = isBeforeCommit(record) && record.ending === null
  if (record.stuck === null) return canUndo ? ['undo'] : []
  const isRegular = zip(found, ownStates(record)).every(([counts, states]) =>
    states.includes(commonState(counts, record)),
  )
  // An undo does not change other moves' slots, so it can always be retried.
  if (isRegular || record.ending !== null) return ['retry']
  if (record.leftAlone !== null) return []
  return ownChoices(record, own)
}

function ownChoices({ state }: MoveRecord, [atSource, atTarget]: [OwnSlots, OwnSlots]): MoveChoice[] {
  const isIn = (slots: OwnSlots, slot: string, states: SlotState[]) => {
    const found = slots.get(slot)
    return found !== undefined && states.includes(found)
  }
  const slots = [...atSource.keys()]
  const canActivate = slots.some(
    (slot) => isIn(atSource, slot, ['fenced', 'moved']) && isIn(atTarget, slot, ['importing', 'moving']),
  )
  if (state === 'committed' && canActivate) return ['activate']
  if (state === 'purging' && slots.some((slot) => isIn(atSource, slot, ['moved']))) return ['purge']
  return []
}

/** The states that the move's slots may have at source and target without any batch being refused. */
export function ownStates({
  state,
  ending,
  reversals,
}: Pick<MoveRecord, 'state' | 'ending' | 'reversals'>): [SideState[], SideState[]] {
  const isReverse = reversals > 0
  if (isBeforeCommit({ state })) {
    const atSource: SideState[] = isReverse ? ['moving', 'fenced'] : ['active', 'moving', 'fenced']
    const mayBeAbsent = state === 'preparing' || ending !== null
    const absent: SideState = isReverse ? 'moved' : 'none'
    return [atSource, mayBeAbsent ? [absent, 'importing'] : ['importing']]
  }
  return state === 'committed'
    ? [
        ['fenced', 'moved'],
        ['importing', 'moving'],
      ]
    : [
        ['moved', 'none'],
        ['moving', 'active'],
      ]
}
