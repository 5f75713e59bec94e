import type { Clock } from '../core/clock.ts'
import { BanyanError, messageOf } from '../core/errors.ts'
import {
  evenRuns,
  type MapWire,
  type Run,
  reassignRuns,
  type ShardEntry,
  type ShardState,
  SLOT_COUNT,
} from './shard-map.ts'
import { type Keyspace, keyspaces } from './sharded-table.ts'

/** The storage of the directory's Durable Object: its SQLite database. */
export interface DirectoryStorage {
  rows<T>(sql: string, ...values: (string | number | null)[]): T[]
  transaction<T>(body: () => T): T
}

export interface DirectoryOptions {
  storage: DirectoryStorage
  /** The bound shards, by binding name. */
  shards: ReadonlyMap<string, D1Database>
  clock: Clock
  /** Draws the deployment's id, once. */
  newDeploymentId: () => string
}

/**
 * The only authority for the shard map. First boot spreads the slots evenly over the bound shards; it is planned in one
 * transaction, carried out in steps that may each be repeated, and published last, so a crash in it or a second first
 * request changes nothing.
 */
export class Directory {
  readonly #options: DirectoryOptions
  #booting: Promise<void> | null = null

  constructor(options: DirectoryOptions) {
    this.#options = options
    this.#createTables()
  }

  /** The map as it is now. Throws MIGRATIONS_PENDING, SHARD_FOREIGN or SHARD_UNAVAILABLE while the first boot can't finish. */
  async map(): Promise<MapWire> {
    if (this.#meta('booted') !== 'yes') {
      this.#booting ??= this.#boot().finally(() => {
        this.#booting = null
      })
      await this.#booting
    }
    return this.#readMap()
  }

  /** The shards in the order of the map's indexes. */
  shardEntries(): ShardEntry[] {
    return this.#options.storage
      .rows<ShardEntry & { minBookmark: string | null }>(
        `SELECT id, binding, state, bookmark AS minBookmark FROM shards LEFT JOIN bookmarks ON shard = ordinal ORDER BY ordinal`,
      )
      .map(({ minBookmark, ...shard }) => (minBookmark === null ? shard : { ...shard, minBookmark }))
  }

  runs(keyspace: Keyspace): Run[] {
    return this.#options.storage
      .rows<{ start: number; shard: number }>(
        'SELECT start, shard FROM runs WHERE keyspace = ? ORDER BY start',
        keyspace,
      )
      .map(({ start, shard }) => [start, shard])
  }

  /**
   * Gives slots (`[first, last]`) to a shard: the only way in which the map changes after the first boot. To be called
   * inside a transaction. `minBookmark`: from where on a replica of that shard knows of them. Returns the new epoch.
   */
  reassign(keyspace: Keyspace, slots: [number, number][], shardId: string, minBookmark: string | null): number {
    const { storage } = this.#options
    const ordinal = this.shardEntries().findIndex(({ id }) => id === shardId)
    const runs = reassignRuns(this.runs(keyspace), slots, ordinal)
    storage.rows('DELETE FROM runs WHERE keyspace = ?', keyspace)
    for (const [start, shard] of runs as [number, number][])
      storage.rows('INSERT INTO runs (keyspace, start, shard) VALUES (?, ?, ?)', keyspace, start, shard)
    if (minBookmark !== null)
      storage.rows(
        'INSERT INTO bookmarks (shard, bookmark) VALUES (?, ?) ON CONFLICT (shard) DO UPDATE SET bookmark = excluded.bookmark',
        ordinal,
        minBookmark,
      )
    const epoch = Number(this.#meta('epoch')) + 1
    this.#setMeta('epoch', String(epoch))
    return epoch
  }

  #readMap(): MapWire {
    const { clock } = this.#options
    const shards = this.shardEntries()
    const runs = Object.fromEntries(keyspaces.map((keyspace) => [keyspace, this.runs(keyspace)]))
    const epoch = Number(this.#meta('epoch'))
    // After the reads: an object that was replaced may not know it until it touches storage.
    return { epoch, shards, runs: runs as Record<Keyspace, Run[]>, issuedAt: clock.now() }
  }

  async #boot(): Promise<void> {
    const plan = this.#plan()
    await Promise.all(plan.shards.map((shard) => this.#takeShard(shard, plan.deployment)))
    await Promise.all(plan.shards.map((shard, ordinal) => this.#seedSlots(shard, ordinal)))
    this.#setMeta('booted', 'yes')
  }

  /** Decided once: a boot that is repeated with another number of bindings still carries out the first plan. */
  #plan(): { deployment: string; shards: ShardEntry[] } {
    const { storage, shards, newDeploymentId } = this.#options
    storage.transaction(() => {
      if (this.#meta('deployment')) return
      if (shards.size === 0)
        throw new BanyanError('SETTING_MISSING', 'No shard is bound. Bind SHARD_000 in wrangler.toml.')
      this.#setMeta('deployment', newDeploymentId())
      this.#setMeta('epoch', '1')
      const state: ShardState = 'serving'
      ;[...shards.keys()].sort().forEach((binding, ordinal) => {
        const id = binding.toLowerCase().replace('_', '-')
        storage.rows(
          'INSERT INTO shards (ordinal, id, binding, state) VALUES (?, ?, ?, ?)',
          ordinal,
          id,
          binding,
          state,
        )
      })
      for (const keyspace of keyspaces)
        for (const [start, shard] of evenRuns(shards.size) as [number, number][])
          storage.rows('INSERT INTO runs (keyspace, start, shard) VALUES (?, ?, ?)', keyspace, start, shard)
    })
    return {
      deployment: this.#meta('deployment')!,
      shards: this.shardEntries(),
    }
  }

  async #takeShard(shard: ShardEntry, deployment: string): Promise<void> {
    const [, found] = await this.#batch(shard, [
      [
        'INSERT INTO shard_identity (id, deployment, shard) VALUES (1, ?, ?) ON CONFLICT DO NOTHING',
        deployment,
        shard.id,
      ],
      ['SELECT deployment, shard FROM shard_identity'],
    ])
    const identity = found?.results[0] as { deployment: string; shard: string } | undefined
    if (identity?.deployment !== deployment || identity.shard !== shard.id)
      throw new BanyanError(
        'SHARD_FOREIGN',
        `The database bound as ${shard.binding} belongs to another deployment (${identity?.shard} of ${identity?.deployment}). Bind an empty one, or the directory it belongs to.`,
      )
  }

  async #seedSlots(shard: ShardEntry, ordinal: number): Promise<void> {
    const seed = `INSERT INTO slots (keyspace, slot, state, epoch)
      WITH RECURSIVE numbers (n) AS (SELECT ?2 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?3)
      SELECT ?1, printf('%04x', n), 'active', 1 FROM numbers WHERE true ON CONFLICT DO NOTHING`
    const ranges = keyspaces.flatMap((keyspace) => {
      const runs = this.runs(keyspace)
      const ends = runs.map((_, index) => (runs[index + 1]?.[0] ?? SLOT_COUNT) - 1)
      return runs.flatMap(([start, owner], index) =>
        owner === ordinal ? [[seed, keyspace, start!, ends[index]!] as const] : [],
      )
    })
    await this.#batch(shard, ranges)
  }

  async #batch(shard: ShardEntry, statements: (readonly [string, ...(string | number)[]])[]) {
    const database = this.#options.shards.get(shard.binding)
    if (!database)
      throw new BanyanError(
        'SHARD_UNKNOWN',
        `The first boot planned ${shard.binding}, which is not bound. Bind it again.`,
      )
    try {
      return await database.batch(statements.map(([sql, ...values]) => database.prepare(sql).bind(...values)))
    } catch (error) {
      const message = messageOf(error)
      if (/no such table/.test(message))
        throw new BanyanError(
          'MIGRATIONS_PENDING',
          `The database bound as ${shard.binding} is not migrated. Run: npm run migrations:apply`,
          { cause: error },
        )
      throw new BanyanError('SHARD_UNAVAILABLE', `${shard.binding} does not answer: ${message}`, { cause: error })
    }
  }

  #meta(name: string): string | null {
    return (
      this.#options.storage.rows<{ value: string }>('SELECT value FROM meta WHERE name = ?', name)[0]?.value ?? null
    )
  }

  #setMeta(name: string, value: string): void {
    this.#options.storage.rows(
      'INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
      name,
      value,
    )
  }

  #createTables(): void {
    const { storage } = this.#options
    storage.rows('CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)')
    storage.rows(
      'CREATE TABLE IF NOT EXISTS shards (ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL, binding TEXT NOT NULL, state TEXT NOT NULL)',
    )
    storage.rows('CREATE TABLE IF NOT EXISTS bookmarks (shard INTEGER PRIMARY KEY, bookmark TEXT NOT NULL)')
    storage.rows(
      `CREATE TABLE IF NOT EXISTS runs (keyspace TEXT NOT NULL, start INTEGER NOT NULL CHECK (start BETWEEN 0 AND ${SLOT_COUNT - 1}), shard INTEGER NOT NULL, PRIMARY KEY (keyspace, start))`,
    )
  }
}
