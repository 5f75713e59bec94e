import { slotOf } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import { heldWith, type Routing } from './routing.ts'
import { type ScatterOptions, type ScatterPage, scatter } from './scatter.ts'
import type { ScatterQuery, ScatterSource } from './scatter-query.ts'
import { SLOT_COUNT } from './shard-map.ts'
import { allSlots, commonSpans, partsOf, type SlotSpans, spansWithout } from './slot-spans.ts'

/** Where a stream is: the slots that it has still to read. `after` is the last row read, if its slot is read in part. */
export interface StreamPosition {
  slots: SlotSpans
  after: string | null
}

/** A whole table. Its `id` is its primary key. */
export interface StreamQuery<Row> extends Pick<ScatterQuery<Row>, 'operation' | 'keyspace' | 'row'> {
  source: Pick<ScatterSource, 'columns' | 'from' | 'id' | 'where'>
}

export interface StreamPage<Row> extends Pick<ScatterPage<Row>, 'rows' | 'failed'> {
  /** Where a stream must start to read what this page missed. Null if it is complete. */
  missing: StreamPosition | null
  /** Where a stream must start to continue after this page. It has no slots at the end. */
  next: StreamPosition
}

export interface StreamOptions extends Pick<ScatterOptions, 'deadlineMs'> {
  from?: StreamPosition
  /** The most rows of a page, and so in memory. */
  pageRows?: number
}

/**
 * All rows of a table, one shard after another, each in the order of its ids. So a stream of R rows takes about
 * `R ÷ pageRows` queries plus one per shard, and each row is read once. Positions name slots and a key, so slots may move
 * meanwhile. A shard that fails is named, and the stream continues with the others.
 */
export async function* scatterStream<Row>(
  routing: Routing,
  { source, ...query }: StreamQuery<Row>,
  options: StreamOptions = {},
): AsyncGenerator<StreamPage<Row>> {
  const { from = { slots: allSlots, after: null }, pageRows: limit = limits.scatterStreamRows, ...rest } = options
  const sources = [{ ...source, keys: [source.id] }]
  let position = from
  while (position.slots.length > 0) {
    const { slots, after } = position
    const asked = await firstPart(routing, query.keyspace, position, rest.deadlineMs)
    const cursor = after === null ? null : [after]
    const given = { ...query, direction: 'ascending', sources } as const
    const page = await scatter<Row>(routing, given, { ...rest, limit, cursor, slots: asked })
    const last = page.next === null ? null : String(page.next[0])
    // The remaining slots start with the last row's slot. Failed slots are reported, not asked again.
    const unread: SlotSpans = last === null ? [] : commonSpans(asked, [[slotNumber(last), SLOT_COUNT]])
    const left = spansWithout(unread, page.missing)
    position = { slots: spansWithout(slots, spansWithout(asked, left)), after: last }
    const missing = page.failed.length > 0 ? { slots: page.missing, after } : null
    yield { rows: page.rows, failed: page.failed, missing, next: position }
  }
}

/** The slots of one shard from the position on. It is the shard of the last row read, or of the first slot. */
async function firstPart(
  routing: Routing,
  keyspace: StreamQuery<unknown>['keyspace'],
  { slots, after }: StreamPosition,
  deadlineMs: number = limits.scatterMs,
): Promise<SlotSpans> {
  const { map } = await heldWith(routing, keyspace, routing.clock.now() + deadlineMs)
  const rest = after === null ? slots : commonSpans(slots, [[slotNumber(after), SLOT_COUNT]])
  const part = partsOf(map, keyspace, rest).find(({ spans }) => spans[0]?.[0] === rest[0]?.[0])
  return present(part, 'the shard of a slot').spans
}

const slotNumber = (key: string): number => Number.parseInt(slotOf(key), 16)
