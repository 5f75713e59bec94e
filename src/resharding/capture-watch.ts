import { type Clock, inTime } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type AnswersOf, answersByName, type NamedBatch, onlyRow, statementsOf } from '../sharding/named-batch.ts'
import type { ShardDatabase } from '../sharding/shards.ts'
import type { MoveRecord } from './record.ts'
import { type BatchObserver, Interrupted, type Statement, slotsInRanges, statement } from './shard-side.ts'

/** When to look again (ms from now): before the log can have reached its bound, and once a minute at the least. */
export const nextLookMs = (captured: number): number => {
  const untilFullMs = (limits.moveLogRowsMax - captured) / limits.moveCapturedPerMsMax
  return Math.min(limits.moveCaptureLookMs, Math.max(limits.moveCaptureLookMsMin, untilFullMs))
}

/**
 * What the target of a settled move captures for a reverse. It has no lanes and raises no step, because another move may
 * work at the shard: it reads, and what it writes is harmless in every later state (docs/resharding.md, "Settling").
 */
export class CaptureWatch {
  readonly #shardId: string
  readonly #database: ShardDatabase
  readonly #move: Pick<MoveRecord, 'id' | 'keyspace' | 'ranges'>
  readonly #clock: Clock
  readonly #observer: BatchObserver

  constructor(
    { id, keyspace, ranges, target }: Pick<MoveRecord, 'id' | 'keyspace' | 'ranges' | 'target'>,
    database: ShardDatabase,
    clock: Clock,
    observer: BatchObserver,
  ) {
    this.#shardId = target.id
    this.#database = database
    this.#move = { id, keyspace, ranges }
    this.#clock = clock
    this.#observer = observer
  }

  /** How many changes were captured. Changes of other moves count too, until the sum reaches the bound. */
  async count(): Promise<number> {
    const { span } = await this.#send('look', { span: statement<{ captured: number }>(SPAN, this.#move.id) })
    const { captured } = onlyRow(span)
    if (captured < limits.moveLogRowsMax) return captured
    const { exact } = await this.#send('look', {
      exact: statement<{ captured: number }>(
        'SELECT count(*) AS captured FROM (SELECT 1 FROM slot_changes WHERE move_id = ? LIMIT ?)',
        this.#move.id,
        limits.moveLogRowsMax,
      ),
    })
    return onlyRow(exact).captured
  }

  /**
   * The target takes writes without capturing them, and its oldest captured changes are deleted, a bounded number. True
   * when none is left. Only for a move whose record says that the capture stopped.
   */
  async stop(): Promise<boolean> {
    const { id, keyspace, ranges } = this.#move
    const { dropped } = await this.#send('stop', {
      stopped: statement(
        `UPDATE slots SET state = 'active', move_id = NULL
         WHERE keyspace = ?1 AND slot IN (${slotsInRanges}) AND state = 'moving' AND move_id = ?3`,
        keyspace,
        JSON.stringify(ranges),
        id,
      ),
      deleted: statement(
        'DELETE FROM slot_changes WHERE seq IN (SELECT seq FROM slot_changes WHERE move_id = ? ORDER BY seq LIMIT ?)',
        id,
        limits.movePurgeRowsMax,
      ),
      dropped: statement<{ rows: number }>('SELECT changes() AS rows'),
    })
    return onlyRow(dropped).rows < limits.movePurgeRowsMax
  }

  async #send<Batch extends NamedBatch<Statement>>(operation: string, batch: Batch): Promise<AnswersOf<Batch>> {
    await this.#observer.before(this.#shardId, operation)
    const where = `${operation} at ${this.#shardId}`
    const late = () => new Interrupted(`${where}: no answer within ${limits.moveTargetPatienceMs} ms`)
    try {
      const sent = this.#database.batch(
        statementsOf<Statement>(batch).map(({ sql, values }) => this.#database.prepare(sql).bind(...values)),
      )
      const answers = await inTime(this.#clock, limits.moveTargetPatienceMs, sent, late)
      return answersByName(batch, answers.values())
    } catch (error) {
      // Whatever the cause, the next turn asks again. The capture continues meanwhile.
      if (error instanceof Interrupted) throw error
      throw new Interrupted(`${where}: ${messageOf(error)}`, { cause: error })
    }
  }
}

/** The index has both ends: a count would read every change. */
const SPAN = `SELECT coalesce((SELECT max(seq) FROM slot_changes WHERE move_id = ?1)
  - (SELECT min(seq) FROM slot_changes WHERE move_id = ?1) + 1, 0) AS captured`
