import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { hash16 } from '../core/hash16.ts'
import { slotText } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import type { Log } from '../core/log.ts'
import type { Shards } from '../sharding/shards.ts'
import type { QueueName } from './kinds.ts'

/** What an operator can pause. */
export type Pausable = `kind.${string}` | `queue.${QueueName}`

const SLOT = slotText(hash16('job-pauses'))

/** What an isolate knows of the pauses. */
export interface KnownPauses {
  readAt: number
  names: ReadonlySet<string>
}

/** An isolate starts without knowing any. */
export const noPauses = (): KnownPauses => ({ readAt: 0, names: new Set() })

interface PausesOptions {
  shards: Shards
  clock: Clock
  log: Log
  known: KnownPauses
}

/** Which kinds and queues are paused. An isolate asks at most once in `pausesMs`. If it gets no answer, it uses the last one. */
export class Pauses {
  readonly #options: PausesOptions

  constructor(options: PausesOptions) {
    this.#options = options
  }

  async isPaused(kind: string, queue: QueueName): Promise<boolean> {
    const names = await this.names()
    return names.has(`kind.${kind}`) || names.has(`queue.${queue}`)
  }

  /** The paused kinds and queues: `kind.<name>` and `queue.<name>`. */
  async names(): Promise<ReadonlySet<string>> {
    const { clock, known, log } = this.#options
    if (clock.now() - known.readAt < limits.pausesMs) return known.names
    known.readAt = clock.now() // the other jobs of the batch do not ask as well
    try {
      known.names = new Set(await this.read())
    } catch (error) {
      log.warn('jobs.pauses-unknown', { reason: messageOf(error) })
    }
    return known.names
  }

  /** Asks the shard. */
  async read(): Promise<string[]> {
    const { results } = await this.#database('read', 'exact')
      .prepare('SELECT id FROM job_pauses WHERE id >= ? AND id < ?')
      .bind(`${SLOT}.`, `${SLOT}/`)
      .all<{ id: string }>()
    return results.map(({ id }) => id.slice(SLOT.length + 1))
  }

  /** Consumers stop within `limits.pausesMs`. The jobs wait in their outbox rows. */
  async pause(what: Pausable): Promise<void> {
    const database = this.#database('pause')
    await database
      .prepare('INSERT INTO job_pauses (id, paused_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING')
      .bind(`${SLOT}.${what}`, this.#options.clock.now())
      .run()
  }

  /** The sweeper sends the waiting jobs. */
  async resume(what: Pausable): Promise<void> {
    await this.#database('resume').prepare('DELETE FROM job_pauses WHERE id = ?').bind(`${SLOT}.${what}`).run()
  }

  #database(operation: string, read: 'lease' | 'exact' = 'lease') {
    return this.#options.shards.of(SLOT, { read, operation: `jobs.pauses.${operation}`, idempotent: true })
  }
}
