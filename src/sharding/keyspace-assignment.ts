import { eachAtMost } from '../core/bounded.ts'
import type { Clock } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import type { DirectoryStorage } from './directory-storage.ts'
import { rowsOf } from './named-batch.ts'
import type { ShardBatches } from './shard-batches.ts'
import { evenRuns, type Run, type ShardEntry, spansOf } from './shard-map.ts'
import type { Keyspace } from './sharded-table.ts'

export interface KeyspaceAssignmentOptions {
  storage: DirectoryStorage
  clock: Clock
  /** The keyspaces of this version. */
  keyspaces: readonly Keyspace[]
  batches: ShardBatches
  shards(): ShardEntry[]
  runs(keyspace: Keyspace): Run[]
  /** Both are called in a transaction. */
  insertRun(keyspace: Keyspace, start: number, ordinal: number): void
  raiseEpoch(): void
}

type Span = ReturnType<typeof spansOf>[number]

/** A keyspace whose slots are planned but not yet all in the shards. */
interface Planned {
  name: Keyspace
  /** The last shard that has its slots, in the order of ids. */
  after: string
  epoch: number
}

/**
 * Gives each slot of a keyspace that a new version brings to one shard, in a deployment that already has a map. It is
 * planned in one transaction, carried out in repeatable steps, and published last, like the first boot. No map has the
 * keyspace before it is published, so nothing writes to it and no move concerns it.
 */
export class KeyspaceAssignment {
  readonly #options: KeyspaceAssignmentOptions
  #running: Promise<void> | null = null

  constructor(options: KeyspaceAssignmentOptions) {
    this.#options = options
    options.storage.rows(
      'CREATE TABLE IF NOT EXISTS planned_keyspaces (name TEXT PRIMARY KEY, after TEXT NOT NULL, epoch INTEGER NOT NULL)',
    )
  }

  /** The keyspaces of this version that the map has. */
  assigned(): Keyspace[] {
    const { storage, keyspaces } = this.#options
    const rows = storage.rows<{ name: string }>(
      'SELECT DISTINCT keyspace AS name FROM runs WHERE keyspace NOT IN (SELECT name FROM planned_keyspaces)',
    )
    return keyspaces.filter((keyspace) => rows.some(({ name }) => name === keyspace))
  }

  /**
   * Assigns the keyspaces that the map lacks. Throws SHARD_NOT_SERVING, SHARD_IN_MOVE, MIGRATIONS_PENDING,
   * SHARD_UNAVAILABLE, and DIRECTORY_UNAVAILABLE after each piece but the last. The next call resumes.
   */
  assign(): Promise<void> {
    this.#running ??= this.#assign().finally(() => {
      this.#running = null
    })
    return this.#running
  }

  async #assign(): Promise<void> {
    const assigned = this.assigned()
    for (const keyspace of this.#options.keyspaces)
      if (!assigned.includes(keyspace)) {
        await this.#seed(this.#plan(keyspace))
        this.#publish(keyspace)
      }
  }

  /**
   * Spreads the slots evenly over the serving shards that have slots of the first keyspace. So a shard that only another table group uses gets none. Planned once.
   */
  #plan(keyspace: Keyspace): Planned {
    const { storage, keyspaces, shards, runs, insertRun } = this.#options
    return storage.transaction(() => {
      const before = this.#find(keyspace)
      if (before) return before
      const serving = shards().flatMap(({ state }, ordinal) => (state === 'serving' ? [ordinal] : []))
      const used = new Set(runs(present(keyspaces[0], 'a first keyspace')).map(([, ordinal]) => ordinal))
      const shared = serving.filter((ordinal) => used.has(ordinal))
      const takers = shared.length > 0 ? shared : serving
      if (takers.length === 0)
        throw new BanyanError('SHARD_NOT_SERVING', `No shard is serving, so the keyspace ${keyspace} gets no slots.`)
      for (const { first, shard } of spansOf(evenRuns(takers.length)))
        insertRun(keyspace, first, present(takers[shard], 'a shard that takes slots'))
      const [epoch] = storage.rows<{ value: string }>("SELECT value FROM meta WHERE name = 'epoch'")
      storage.rows(
        "INSERT INTO planned_keyspaces (name, after, epoch) VALUES (?, '', ?)",
        keyspace,
        Number(present(epoch, 'the epoch').value),
      )
      return present(this.#find(keyspace), 'the keyspace that was planned')
    })
  }

  /** In pieces, because an invocation may send 1,000 statements. */
  async #seed({ name, after, epoch }: Planned): Promise<void> {
    const { storage, shards, runs } = this.#options
    // By id, because an ordinal changes when a shard without slots is removed meanwhile.
    const ids = shards().map(({ id }) => id)
    const spans = Map.groupBy(spansOf(runs(name)), ({ shard }) => present(ids[shard], 'the shard of a run'))
    const left = [...spans].filter(([id]) => id > after).sort(([a], [b]) => (a < b ? -1 : 1))
    const piece = left.slice(0, limits.bootShardsMax)
    await eachAtMost(limits.shardsAtOnceMax, piece, ([id, own]) => this.#seedShard(name, id, own, epoch))
    const last = piece.at(-1)
    if (last) storage.rows('UPDATE planned_keyspaces SET after = ? WHERE name = ?', last[0], name)
    if (left.length > piece.length)
      throw new BanyanError(
        'DIRECTORY_UNAVAILABLE',
        `The slots of the keyspace ${name} were written to ${piece.length} more shards; ${left.length - piece.length} remain. Try again, and the next request continues.`,
        { retryAfterSeconds: 1 },
      )
  }

  /**
   * Writes the slots of one shard, but only if no mover has changed the shard since its step was read. Otherwise a late
   * batch of an abandoned attempt could bring back slots that have since moved to another shard.
   */
  async #seedShard(keyspace: Keyspace, id: string, spans: Span[], epoch: number): Promise<void> {
    const { batches, clock } = this.#options
    const slots = spans.reduce((sum, { first, after }) => sum + after - first, 0)
    for (let tries = 0; tries < limits.keyspaceTriesMax; tries++) {
      const shard = this.#writable(keyspace, id)
      const { mover } = await batches.send(shard, (database) => ({
        mover: rowsOf<{ step: number }>(database.prepare('SELECT step FROM mover')),
      }))
      const { step } = present(mover.results[0], `the mover’s row of ${id}`)
      // After the step was read: a replaced object learns here that another one has published the keyspace.
      if (!this.#find(keyspace)) return
      const { found } = await batches.send(shard, (database) => ({
        seeds: spans.map(({ first, after }) => database.prepare(SEED).bind(keyspace, first, after - 1, epoch, step)),
        found: rowsOf<{ slots: number }>(
          database
            .prepare("SELECT count(*) AS slots FROM slots WHERE keyspace = ? AND state = 'active'")
            .bind(keyspace),
        ),
      }))
      if (found.results[0]?.slots === slots) return
      await clock.sleep(limits.keyspacePauseMs)
    }
    throw new BanyanError(
      'SHARD_IN_MOVE',
      `A move keeps ${id} busy, so the keyspace ${keyspace} has no slots there yet. Try again.`,
      { retryAfterSeconds: limits.moveRetryAfterSeconds },
    )
  }

  /** A restore compares a shard's slots, and a read-only shard takes no writes. */
  #writable(keyspace: Keyspace, id: string): ShardEntry {
    const shard = present(
      this.#options.shards().find((entry) => entry.id === id),
      `the shard ${id}, which has planned slots`,
    )
    if (shard.state === 'serving' || shard.state === 'draining') return shard
    throw new BanyanError(
      'SHARD_NOT_SERVING',
      `${id} is ${shard.state}, so the keyspace ${keyspace} gets no slots there until it is serving again.`,
    )
  }

  #publish(keyspace: Keyspace): void {
    const { storage, raiseEpoch } = this.#options
    storage.transaction(() => {
      if (!this.#find(keyspace)) return
      storage.rows('DELETE FROM planned_keyspaces WHERE name = ?', keyspace)
      raiseEpoch()
    })
  }

  #find(keyspace: Keyspace): Planned | undefined {
    return this.#options.storage.rows<Planned>(
      'SELECT name, after, epoch FROM planned_keyspaces WHERE name = ?',
      keyspace,
    )[0]
  }
}

const SEED = `INSERT INTO slots (keyspace, slot, state, epoch)
  WITH RECURSIVE numbers (n) AS (SELECT ?2 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?3)
  SELECT ?1, printf('%04x', n), 'active', ?4 FROM numbers
  WHERE (SELECT step FROM mover WHERE id = 1) = ?5 ON CONFLICT DO NOTHING`
