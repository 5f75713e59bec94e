import { type Clock, inTime } from '../core/clock.ts'
import { BanyanError, MIGRATE, messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { type AnswersOf, answersByName, type NamedBatch, statementsOf } from './named-batch.ts'
import type { ShardEntry } from './shard-map.ts'

/** The directory's own batches to the bound shards. */
export class ShardBatches {
  readonly #shards: ReadonlyMap<string, D1Database>
  readonly #clock: Clock

  constructor(shards: ReadonlyMap<string, D1Database>, clock: Clock) {
    this.#shards = shards
    this.#clock = clock
  }

  /** Throws SHARD_UNKNOWN, MIGRATIONS_PENDING, SHARD_UNAVAILABLE. */
  async send<Batch extends NamedBatch>(
    shard: ShardEntry,
    build: (database: D1Database) => Batch,
  ): Promise<AnswersOf<Batch>> {
    const database = this.#shards.get(shard.binding)
    if (!database)
      throw new BanyanError(
        'SHARD_UNKNOWN',
        `The directory planned slots for ${shard.binding}, which is no longer bound. Add the binding again and deploy.`,
      )
    try {
      const batch = build(database)
      const sent = database.batch(statementsOf<D1PreparedStatement>(batch))
      const answers = await inTime(this.#clock, limits.directoryShardMs, sent)
      return answersByName(batch, answers.values())
    } catch (error) {
      const message = messageOf(error)
      if (/no such table/.test(message))
        throw new BanyanError(
          'MIGRATIONS_PENDING',
          `The database bound as ${shard.binding} is not migrated. Run: ${MIGRATE}`,
          { cause: error },
        )
      throw new BanyanError('SHARD_UNAVAILABLE', `${shard.binding} does not answer: ${message}`, { cause: error })
    }
  }
}
