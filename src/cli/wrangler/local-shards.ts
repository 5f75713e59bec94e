import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { MigratedShard } from '../migrations/migrate.ts'
import { refuseUnsafe } from '../migrations/migration-rules.ts'
import { readMigrations } from '../migrations/shard-migrations.ts'
import { UserError } from '../shell/errors.ts'
import { replaceFile } from '../shell/replace-file.ts'
import { root } from '../shell/root.ts'
import { isPlaceholder, readConfig } from './config.ts'
import { blockOf, localBindings, localShards, type ShardBinding, shardBindings, withShards } from './shard-bindings.ts'

const SHARDS_MAX = 64

/** The folder of `wrangler dev`'s local state, for a `--persist-to` folder. */
const stateFolder = (persistTo: string) => path.join(persistTo, 'v3')

export interface LocalConfig {
  configPath: string
  persistTo: string
  shards: number
}

/**
 * The wrangler configuration that binds `count` shards: `wrangler.toml` itself if it has that many, otherwise a file
 * generated beside it, in which `shards add` may have bound more. Each count has its own state, because every shard in
 * a map must be bound.
 */
export function configFor(count: number | null): LocalConfig {
  const shipped = path.join(root, 'wrangler.toml')
  const text = readFileSync(shipped, 'utf8')
  const bound = shardBindings(text).length
  if (count === null || count === bound)
    return { configPath: shipped, persistTo: path.join(root, '.wrangler/state'), shards: bound }
  if (!Number.isInteger(count) || count < 1 || count > SHARDS_MAX)
    throw new UserError(
      `--shards is ${count}, but a local application has from 1 to ${SHARDS_MAX} shards.`,
      `Pass a whole number from 1 to ${SHARDS_MAX}. For more shards, deploy the application.`,
    )
  const configPath = path.join(root, `wrangler.shards-${count}.toml`)
  const before = existsSync(configPath) ? readFileSync(configPath, 'utf8') : null
  const made = configOf(count, text, before)
  if (made !== before) replaceFile(configPath, made)
  return {
    configPath,
    persistTo: path.join(root, `.wrangler/state-shards-${count}`),
    shards: shardBindings(made).length,
  }
}

/**
 * The configuration of `count` shards, generated from the shipped one. It keeps shards that were added to the previous
 * one, and a configuration that was deployed stays as it is.
 */
export function configOf(count: number, shipped: string, before: string | null): string {
  const first = localShards(0, count)
  if (before === null) return withShards(shipped, first)
  const { shards, kvNamespaces } = readConfig(before)
  const ids = [...shards.map(({ databaseId }) => databaseId), ...kvNamespaces.map(({ id }) => id)]
  if (!ids.every(isPlaceholder)) return before
  const added = shards.filter(({ binding }) => !first.some((shard) => shard.binding === binding))
  return withShards(shipped, [...first, ...added])
}

/** Opens the local databases that a configuration binds, and closes them after `use`. */
export function withLocalShards<T>(
  { configPath, persistTo }: Pick<LocalConfig, 'configPath' | 'persistTo'>,
  use: (shards: MigratedShard[]) => Promise<T>,
): Promise<T> {
  return withDatabases(localBindings(readFileSync(configPath, 'utf8')), persistTo, use)
}

/** Opens these local databases, bound or not, and creates those that do not exist. */
export async function withDatabases<T>(
  shards: ShardBinding[],
  persistTo: string,
  use: (shards: MigratedShard[]) => Promise<T>,
): Promise<T> {
  // Loaded on demand: it takes half a second, and most commands do not need it.
  await import('./local-environment.ts')
  const { getPlatformProxy } = await import('wrangler')
  // A configuration with only the databases, because wrangler warns of Durable Objects that it can't run here.
  const folder = mkdtempSync(path.join(tmpdir(), 'banyan-shards-'))
  const configPath = path.join(folder, 'wrangler.toml')
  writeFileSync(
    configPath,
    `name = "banyan-shards"\ncompatibility_date = "2026-10-23"\n\n${shards.map(blockOf).join('')}`,
  )
  const { env, dispose } = await getPlatformProxy<Record<string, unknown>>({
    configPath,
    persist: { path: stateFolder(persistTo) },
    remoteBindings: false,
  })
  try {
    const bound = Object.entries(env).filter(([name]) => /^SHARD_\d{3}$/.test(name)) as [string, D1Database][]
    return await use(bound.sort(([a], [b]) => (a < b ? -1 : 1)).map(([binding, one]) => localShard(binding, one)))
  } finally {
    await dispose()
    rmSync(folder, { recursive: true })
  }
}

/** Applies missing migrations to every bound shard. Returns the number of migrations applied. */
export function migrateLocalShards(
  configPath: string,
  persistTo: string,
  migrations = readMigrations(),
): Promise<number> {
  return withLocalShards({ configPath, persistTo }, async (shards) => {
    const counts = await Promise.all(
      shards.map(async (shard) => {
        const applied = new Set(await shard.applied())
        const missing = migrations.filter(({ name }) => !applied.has(name))
        refuseUnsafe(missing, migrations)
        for (const migration of missing) await shard.apply(migration)
        return missing.length
      }),
    )
    return counts.reduce((sum, count) => sum + count, 0)
  })
}

/** Writes a migration and its row in wrangler's table in one batch, so that both exist or neither. */
function localShard(binding: string, database: D1Database): MigratedShard {
  return {
    binding,
    async applied() {
      await database.prepare(MIGRATIONS_TABLE).run()
      const { results } = await database.prepare('SELECT name FROM d1_migrations ORDER BY id').all<{ name: string }>()
      return results.map(({ name }) => name)
    },
    async apply({ name, statements }) {
      await database.batch([
        ...statements.map((statement) => database.prepare(statement)),
        database.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name),
      ])
    },
  }
}

/** Equals wrangler's statement, so that both can create the table. */
const MIGRATIONS_TABLE =
  'CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)'
