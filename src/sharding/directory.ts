import { eachAtMost } from '../core/bounded.ts'
import type { Clock } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'

import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import { quotedName } from '../core/sql-text.ts'
import { zip } from '../core/zip.ts'
import type { DirectoryStorage } from './directory-storage.ts'
import { KeyspaceAssignment } from './keyspace-assignment.ts'
import { rowsOf } from './named-batch.ts'
import { ShardBatches } from './shard-batches.ts'
import {
  type EncodedMap,
  evenRuns,
  type MapWire,
  type Run,
  type ShardEntry,
  type ShardState,
  SLOT_COUNT,
  spansOf,
  unassigned,
} from './shard-map.ts'
import { type Keyspace, keyspaces } from './sharded-table.ts'

export interface DirectoryOptions {
  storage: DirectoryStorage
  /** The bound shards, by binding name. */
  shards: ReadonlyMap<string, D1Database>
  clock: Clock
  /** Generates the deployment's id. Called once. */
  newDeploymentId: () => string
  /** Default: the keyspaces of this version. */
  keyspaces?: readonly Keyspace[]
  /** Called with the reason if a new keyspace could not be assigned. The next call of `map` tries again. */
  onUnassigned?: (error: unknown) => void
}

/** `SHARD_000` → `shard-000`. */
const shardId = (binding: string): string => binding.toLowerCase().replace('_', '-')

/**
 * The only authority for the shard map. The first boot spreads the slots evenly over the bound shards. It is planned in
 * one transaction, carried out in repeatable steps, and published last. Therefore neither a crash nor a concurrent
 * first request changes the result.
 */
export class Directory {
  readonly #options: DirectoryOptions
  /** The keyspaces of this version. The map may lack new ones. */
  readonly keyspaces: readonly Keyspace[]
  readonly #batches: ShardBatches
  readonly #assignment: KeyspaceAssignment
  #booting: Promise<void> | null = null
  /** True once the map has every keyspace of this version. */
  #isWhole = false
  #assignFrom = 0
  #encoded: { epoch: number; text: string } | null = null

  constructor(options: DirectoryOptions) {
    this.#options = options
    this.keyspaces = options.keyspaces ?? keyspaces
    this.#batches = new ShardBatches(options.shards, options.clock)
    this.#createTables()
    this.#assignment = new KeyspaceAssignment({
      ...options,
      keyspaces: this.keyspaces,
      batches: this.#batches,
      shards: () => this.shardEntries(),
      runs: (keyspace) => this.runs(keyspace),
      insertRun: (...run) => this.#insertRun(...run),
      raiseEpoch: () => this.#raiseEpoch(),
    })
  }

  /** The current map. Throws MIGRATIONS_PENDING, SHARD_FOREIGN or SHARD_UNAVAILABLE if the first boot can't finish. */
  async map(): Promise<MapWire> {
    await this.#booted()
    this.#assignMissing()
    return this.#readMap()
  }

  /** The current map, encoded once per epoch. Throws like `map`. */
  async encodedMap(): Promise<EncodedMap> {
    await this.#booted()
    this.#assignMissing()
    // Read on each call, because a replaced object may not notice until it touches storage.
    const epoch = Number(this.#meta('epoch'))
    if (this.#encoded?.epoch !== epoch) {
      const { issuedAt: _, ...map } = this.#readMap()
      this.#encoded = { epoch: map.epoch, text: JSON.stringify(map) }
    }
    return { encoded: this.#encoded.text, issuedAt: this.#options.clock.now() }
  }

  /**
   * Waits for the first boot, and until the map has the wanted keyspace, by default every one of this version. Throws
   * like `map`, like `KeyspaceAssignment.assign`, and KEYSPACE_UNASSIGNED if only a newer version knows the wanted one.
   */
  async whole(wanted?: Keyspace): Promise<void> {
    await this.#booted()
    if (wanted && this.assignedKeyspaces().includes(wanted)) return this.#assignMissing()
    await this.#assignment.assign()
    if (wanted && !this.assignedKeyspaces().includes(wanted)) throw unassigned(wanted)
  }

  /** The keyspaces that the map has. */
  assignedKeyspaces(): Keyspace[] {
    return this.#assignment.assigned()
  }

  /** Starts to assign new keyspaces. No request waits for it, because the map of the others is complete. */
  #assignMissing(): void {
    const { clock, onUnassigned } = this.#options
    if (this.#isWhole) return
    this.#isWhole = this.#assignment.assigned().length === this.keyspaces.length
    const waitMs = this.#assignFrom - clock.now()
    if (this.#isWhole || (waitMs > 0 && waitMs <= limits.keyspaceRetryMs)) return
    this.#assignFrom = clock.now() + limits.keyspaceRetryMs
    this.#assignment.assign().catch((error: unknown) => onUnassigned?.(error))
  }

  async #booted(): Promise<void> {
    if (this.#meta('booted') === 'yes') return
    this.#booting ??= this.#boot().finally(() => {
      this.#booting = null
    })
    await this.#booting
  }

  /** The shards in the order of the map's indexes. */
  shardEntries(): ShardEntry[] {
    return this.#options.storage
      .rows<ShardEntry & { minBookmark: string | null }>(`${SHARDS} ORDER BY ordinal`)
      .map(entryOf)
  }

  findShard(id: string): ShardEntry | undefined {
    const [found] = this.#options.storage.rows<ShardEntry & { minBookmark: string | null }>(
      `${SHARDS} WHERE id = ?`,
      id,
    )
    return found && entryOf(found)
  }

  /** A shard that a record or plan names, so it must exist. */
  getShard(id: string): ShardEntry {
    return present(this.findShard(id), `the shard ${id}`)
  }

  /** The number of slots of a keyspace per shard id. */
  slotCounts(keyspace: Keyspace): Map<string, number> {
    const counts = this.#options.storage.rows<{ id: string; slots: number }>(
      `SELECT id, sum(slots) AS slots FROM shards JOIN (
         SELECT shard, lead(start, 1, ${SLOT_COUNT}) OVER (ORDER BY start) - start AS slots FROM runs WHERE keyspace = ?
       ) ON shard = ordinal GROUP BY ordinal`,
      keyspace,
    )
    return new Map(counts.map(({ id, slots }) => [id, slots]))
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
   * Gives slots (`[first, last]`) to a shard. After the first boot, only this changes the map. Call it inside a
   * transaction. `minBookmark`: a replica of that shard from this bookmark on knows of the slots. Returns the new
   * epoch.
   */
  reassign(keyspace: Keyspace, slots: [number, number][], shardId: string, minBookmark: string | null): number {
    const { storage } = this.#options
    const [shard] = storage.rows<{ ordinal: number }>('SELECT ordinal FROM shards WHERE id = ?', shardId)
    const { ordinal } = present(shard, `the shard ${shardId}, which a move gives slots`)
    for (const [first, last] of slots) this.#give(keyspace, first, last, ordinal)
    if (minBookmark !== null)
      storage.rows(
        'INSERT INTO bookmarks (shard, bookmark) VALUES (?, ?) ON CONFLICT (shard) DO UPDATE SET bookmark = excluded.bookmark',
        ordinal,
        minBookmark,
      )
    return this.#raiseEpoch()
  }

  /** Changes only the runs at these slots, because a map has thousands and users wait for the commit. */
  #give(keyspace: Keyspace, first: number, last: number, ordinal: number): void {
    const { storage } = this.#options
    const ownerOf = (slot: number) => {
      const [run] = storage.rows<{ shard: number }>(
        'SELECT shard FROM runs WHERE keyspace = ? AND start <= ? ORDER BY start DESC LIMIT 1',
        keyspace,
        slot,
      )
      return present(run, `the owner of slot ${slot}`).shard
    }
    const before = first > 0 ? ownerOf(first - 1) : null
    const behind = last + 1 < SLOT_COUNT ? ownerOf(last + 1) : ordinal
    storage.rows('DELETE FROM runs WHERE keyspace = ? AND start BETWEEN ? AND ?', keyspace, first, last + 1)
    // Adjacent runs of the same owner are merged.
    if (before !== ordinal) this.#insertRun(keyspace, first, ordinal)
    if (behind !== ordinal) this.#insertRun(keyspace, last + 1, behind)
  }

  #insertRun(keyspace: Keyspace, start: number, ordinal: number): void {
    const insert = 'INSERT INTO runs (keyspace, start, shard) VALUES (?, ?, ?)'
    this.#options.storage.rows(insert, keyspace, start, ordinal)
  }

  /**
   * Registers a bound, empty database as a shard without slots. A registered shard is returned unchanged. `check` may
   * refuse it. Throws SHARD_UNKNOWN, SHARD_FOREIGN, SHARD_NOT_EMPTY, MIGRATIONS_PENDING, SHARD_UNAVAILABLE.
   */
  async join(binding: string, check: (entry: ShardEntry) => Promise<void>): Promise<ShardEntry> {
    const entry: ShardEntry = { id: shardId(binding), binding, state: 'serving' }
    const known = () => this.shardEntries().find(({ id }) => id === entry.id)
    const before = known()
    if (before) return before
    if (!this.#options.shards.has(binding))
      throw new BanyanError(
        'SHARD_UNKNOWN',
        `The live version has no binding ${binding}. Add the binding, deploy, and try again.`,
      )
    const deployment = this.#deployment()
    const { marked } = await this.#batches.send(entry, (database) => ({ marked: identityStatement(database) }))
    refuseForeign(entry, deployment, marked.results)
    await check(entry)
    await this.#refuseRows(entry)
    // Marked only after all checks, because a marked database can't join under another number or another deployment.
    await this.#takeShard(entry, deployment)
    return this.#options.storage.transaction(() => {
      const meanwhile = known()
      if (meanwhile) return meanwhile
      this.#insertShard(entry, this.shardEntries().length)
      this.#raiseEpoch()
      return entry
    })
  }

  /** Routers learn the state with their next map. The shard must exist. */
  setState(id: string, state: ShardState): ShardEntry {
    return this.#options.storage.transaction(() => {
      const entry = this.getShard(id)
      if (entry.state === state) return entry
      this.#options.storage.rows('UPDATE shards SET state = ? WHERE id = ?', state, id)
      this.#raiseEpoch()
      return { ...entry, state }
    })
  }

  /** Removes a shard without slots. The indexes of later shards in the map shift by one. Throws SHARD_NOT_EMPTY. */
  remove(id: string): void {
    const { storage } = this.#options
    storage.transaction(() => {
      const ordinal = this.shardEntries().findIndex((shard) => shard.id === id)
      // All keyspaces, because a newer version may have added one before this version was rolled back to.
      const left = storage
        .rows<{ keyspace: string }>(
          'SELECT DISTINCT keyspace FROM runs WHERE shard = ? ORDER BY keyspace DESC',
          ordinal,
        )
        .map(({ keyspace }) => keyspace)
      if (left.length > 0)
        throw new BanyanError(
          'SHARD_NOT_EMPTY',
          `${id} still has slots of ${left.join(' and ')}. Drain it first: npm run banyan -- shards drain ${id}`,
        )
      storage.rows('DELETE FROM placements WHERE shard = ?', id)
      storage.rows('DELETE FROM shards WHERE ordinal = ?', ordinal)
      storage.rows('DELETE FROM bookmarks WHERE shard = ?', ordinal)
      storage.rows('UPDATE shards SET ordinal = ordinal - 1 WHERE ordinal > ?', ordinal)
      storage.rows('UPDATE bookmarks SET shard = shard - 1 WHERE shard > ?', ordinal)
      storage.rows('UPDATE runs SET shard = shard - 1 WHERE shard > ?', ordinal)
      this.#raiseEpoch()
    })
  }

  /** The shard that an operator gave a keyspace to, by id. Null if there is none, or if that shard is no longer there. */
  placementOf(keyspace: Keyspace): ShardEntry | null {
    const [placement] = this.#options.storage.rows<{ shard: string }>(
      'SELECT shard FROM placements WHERE keyspace = ?',
      keyspace,
    )
    return (placement && this.findShard(placement.shard)) ?? null
  }

  /** Null ends the placement. */
  setPlacement(keyspace: Keyspace, shard: string | null): void {
    const { storage } = this.#options
    storage.rows('DELETE FROM placements WHERE keyspace = ?', keyspace)
    if (shard !== null) storage.rows('INSERT INTO placements (keyspace, shard) VALUES (?, ?)', keyspace, shard)
  }

  #raiseEpoch(): number {
    const epoch = Number(this.#meta('epoch')) + 1
    this.#setMeta('epoch', String(epoch))
    return epoch
  }

  #insertShard({ id, binding, state }: ShardEntry, ordinal: number): void {
    this.#options.storage.rows(
      'INSERT INTO shards (ordinal, id, binding, state) VALUES (?, ?, ?, ?)',
      ordinal,
      id,
      binding,
      state,
    )
  }

  #readMap(): MapWire {
    const { clock } = this.#options
    const shards = this.shardEntries()
    const runs = Object.fromEntries(this.#assignment.assigned().map((keyspace) => [keyspace, this.runs(keyspace)]))
    const epoch = Number(this.#meta('epoch'))
    // Taken after the reads, because a replaced object may not notice until it touches storage.
    return { epoch, shards, runs, issuedAt: clock.now() }
  }

  /**
   * Runs in pieces, because an invocation may send 1,000 statements and a shard takes four. The next request resumes.
   */
  async #boot(): Promise<void> {
    const { shards, deployment } = this.#plan()
    const from = Number(this.#meta('prepared') ?? 0)
    const to = Math.min(shards.length, from + limits.bootShardsMax)
    const piece = shards.slice(from, to).map((shard, index) => ({ shard, ordinal: from + index }))
    await eachAtMost(limits.shardsAtOnceMax, piece, ({ shard }) => this.#takeShard(shard, deployment))
    await eachAtMost(limits.shardsAtOnceMax, piece, ({ shard, ordinal }) => this.#seedSlots(shard, ordinal))
    if (to < shards.length) {
      this.#setMeta('prepared', String(to))
      throw new BanyanError(
        'DIRECTORY_UNAVAILABLE',
        `The first boot has prepared ${to} of ${shards.length} shards. Try again; the next request continues the boot.`,
        { retryAfterSeconds: 1 },
      )
    }
    this.#setMeta('booted', 'yes')
  }

  /** Planned once. A repeated boot carries out the first plan, even if the number of bindings has changed. */
  #plan(): { deployment: string; shards: ShardEntry[] } {
    const { storage, shards, newDeploymentId } = this.#options
    storage.transaction(() => {
      if (this.#meta('deployment')) return
      if (shards.size === 0)
        throw new BanyanError('SETTING_MISSING', 'No shard is bound. Bind SHARD_000 in wrangler.toml.')
      this.#setMeta('deployment', newDeploymentId())
      this.#setMeta('epoch', '1')
      const entries = [...shards.keys()].sort().map((binding) => ({ id: shardId(binding), binding }))
      for (const [ordinal, entry] of entries.entries()) this.#insertShard({ ...entry, state: 'serving' }, ordinal)
      for (const keyspace of this.keyspaces)
        for (const { first, shard } of spansOf(evenRuns(shards.size))) this.#insertRun(keyspace, first, shard)
    })
    return {
      deployment: this.#deployment(),
      shards: this.shardEntries(),
    }
  }

  /**
   * Marks the database as this shard of this deployment, unless it is marked. Throws SHARD_FOREIGN if another one
   * marked it.
   */
  async #takeShard(shard: ShardEntry, deployment: string): Promise<void> {
    const { found } = await this.#batches.send(shard, (database) => ({
      marked: database
        .prepare('INSERT INTO shard_identity (id, deployment, shard) VALUES (1, ?, ?) ON CONFLICT DO NOTHING')
        .bind(deployment, shard.id),
      found: identityStatement(database),
    }))
    refuseForeign(shard, deployment, found.results)
  }

  async #refuseRows(shard: ShardEntry): Promise<void> {
    const { fenced } = await this.#batches.send(shard, (database) => ({
      fenced: rowsOf<{ name: string }>(
        database.prepare(
          "SELECT tbl_name AS name FROM sqlite_master WHERE type = 'trigger' AND name = tbl_name || '_fence_insert' COLLATE NOCASE",
        ),
      ),
    }))
    const tables = ['slots', ...fenced.results.map(({ name }) => name)]
    const { looks } = await this.#batches.send(shard, (database) => ({
      looks: tables.map((table) =>
        rowsOf<{ found: number }>(database.prepare(`SELECT EXISTS (SELECT 1 FROM ${quotedName(table)}) AS found`)),
      ),
    }))
    const filled = zip(tables, looks).flatMap(([table, { results }]) => (results[0]?.found === 0 ? [] : [table]))
    if (filled.length > 0)
      throw new BanyanError(
        'SHARD_NOT_EMPTY',
        `The database bound as ${shard.binding} has rows in ${filled.join(', ')}. Bind an empty one.`,
      )
  }

  /**
   * Writes the slots of a first boot, but only if no mover has used the shard yet. Otherwise a late batch of an abandoned
   * boot could bring back slots that have since moved to another shard.
   */
  async #seedSlots(shard: ShardEntry, ordinal: number): Promise<void> {
    const seed = `INSERT INTO slots (keyspace, slot, state, epoch)
      WITH RECURSIVE numbers (n) AS (SELECT ?2 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?3)
      SELECT ?1, printf('%04x', n), 'active', 1 FROM numbers
      WHERE (SELECT step FROM mover WHERE id = 1) = 0 ON CONFLICT DO NOTHING`
    await this.#batches.send(shard, (database) => ({
      seeds: this.keyspaces.flatMap((keyspace) =>
        spansOf(this.runs(keyspace))
          .filter((span) => span.shard === ordinal)
          .map(({ first, after }) => database.prepare(seed).bind(keyspace, first, after - 1)),
      ),
    }))
  }

  #deployment(): string {
    return present(this.#meta('deployment'), 'the deployment, which the first boot names')
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
    storage.rows('CREATE INDEX IF NOT EXISTS shards_by_id ON shards (id)')
    storage.rows('CREATE TABLE IF NOT EXISTS placements (keyspace TEXT PRIMARY KEY, shard TEXT NOT NULL)')
    storage.rows('CREATE TABLE IF NOT EXISTS bookmarks (shard INTEGER PRIMARY KEY, bookmark TEXT NOT NULL)')
    storage.rows(
      `CREATE TABLE IF NOT EXISTS runs (keyspace TEXT NOT NULL, start INTEGER NOT NULL CHECK (start BETWEEN 0 AND ${SLOT_COUNT - 1}), shard INTEGER NOT NULL, PRIMARY KEY (keyspace, start))`,
    )
  }
}

const SHARDS = 'SELECT id, binding, state, bookmark AS minBookmark FROM shards LEFT JOIN bookmarks ON shard = ordinal'

const entryOf = ({ minBookmark, ...shard }: ShardEntry & { minBookmark: string | null }): ShardEntry =>
  minBookmark === null ? shard : { ...shard, minBookmark }

interface Identity {
  deployment: string
  shard: string
}

const identityStatement = (database: D1Database) =>
  rowsOf<Identity>(database.prepare('SELECT deployment, shard FROM shard_identity'))

/** `found` is the row that marks a database. An unmarked database has none. */
function refuseForeign(shard: ShardEntry, deployment: string, [identity]: Identity[]): void {
  if (!identity || (identity.deployment === deployment && identity.shard === shard.id)) return
  throw new BanyanError(
    'SHARD_FOREIGN',
    `The database bound as ${shard.binding} belongs to another deployment (${identity.shard} of ${identity.deployment}). Bind an empty database, or deploy with the directory that this one belongs to.`,
  )
}
