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
  #reading: Promise<void> | null = null

  constructor(options: PausesOptions) {
    this.#options = options
  }

  async isPaused(kind: string, queue: QueueName): Promise<boolean> {
    const names = await this.names()
    return names.has(`kind.${kind}`) || names.has(`queue.${queue}`)
  }

  /** The paused kinds and queues: `kind.<name>` and `queue.<name>`. */
  async names(): Promise<ReadonlySet<string>> {
    const { clock, known } = this.#options
    if (clock.now() - known.readAt < limits.pausesMs) return known.names
    // The other jobs of the batch do not ask as well, but wait: what the isolate knows may be older than a pause.
    this.#reading ??= this.#refresh()
    await this.#reading
    return known.names
  }

  async #refresh(): Promise<void> {
    const { clock, known, log } = this.#options
    try {
      known.names = new Set(await this.read())
    } catch (error) {
      log.warn('jobs.pauses-unknown', { reason: messageOf(error) })
    }
    known.readAt = clock.now()
    this.#reading = null
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
    this.#options.known.readAt = 0 // this isolate asks again
  }

  /** The sweeper sends the waiting jobs. */
  async resume(what: Pausable): Promise<void> {
    await this.#database('resume').prepare('DELETE FROM job_pauses WHERE id = ?').bind(`${SLOT}.${what}`).run()
    this.#options.known.readAt = 0
  }

  #database(operation: string, read: 'lease' | 'exact' = 'lease') {
    return this.#options.shards.of(SLOT, { read, operation: `jobs.pauses.${operation}`, idempotent: true })
  }
}
