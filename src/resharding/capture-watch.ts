import { type Clock, inTime } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type AnswersOf, answersByName, type NamedBatch, onlyRow, statementsOf } from '../sharding/named-batch.ts'
import type { ShardDatabase } from '../sharding/shards.ts'
import type { MoveRecord } from './record.ts'
import { type BatchObserver, Interrupted, type Statement, slotsInRanges, statement } from './shard-side.ts'

/** How long to wait before the next check (ms): before the log can reach its bound, and at least once a minute. */
export const nextLookMs = (captured: number): number => {
  const untilFullMs = (limits.moveLogRowsMax - captured) / limits.moveCapturedPerMsMax
  return Math.min(limits.moveCaptureLookMs, Math.max(limits.moveCaptureLookMsMin, untilFullMs))
}

/**
 * Bounds the changes that the target of a settled move captures for a reverse. It holds no lanes and raises no step,
 * because another move may use the shard. Its writes are harmless in every later state (docs/resharding.md,
 * "Settling").
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

  /** How many changes were captured. Until the total reaches the bound, changes of other moves count too. */
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
   * Lets the target take writes without capturing them, and deletes some of its oldest captured changes. True if none
   * is left. Only for a move whose record says that the capture stopped.
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
      // Whatever the cause, the next turn retries. The capture continues until then.
      if (error instanceof Interrupted) throw error
      throw new Interrupted(`${where}: ${messageOf(error)}`, { cause: error })
    }
  }
}

/** Uses both ends of the index, because a count would read every change. */
const SPAN = `SELECT coalesce((SELECT max(seq) FROM slot_changes WHERE move_id = ?1)
  - (SELECT min(seq) FROM slot_changes WHERE move_id = ?1) + 1, 0) AS captured`
