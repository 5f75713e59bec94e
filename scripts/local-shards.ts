import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { getPlatformProxy } from 'wrangler'
import { readMigrations } from './shard-schema.ts'

export const root = path.resolve(import.meta.dirname, '..')
const SHARDS_MAX = 64

/** Where `wrangler dev` keeps local state, for a `--persist-to` folder. */
const stateFolder = (persistTo: string) => path.join(persistTo, 'v3')

/**
 * The wrangler configuration that binds `count` shards: `wrangler.toml` itself when it has as many, else one made from
 * it beside it. Each number keeps its state apart, since a map that names a shard needs that shard bound.
 */
export function configFor(count: number | null): { configPath: string; persistTo: string; shards: number } {
  const shipped = path.join(root, 'wrangler.toml')
  const text = readFileSync(shipped, 'utf8')
  const blocks = text.match(SHARD_BLOCK) ?? []
  if (count === null || count === blocks.length)
    return { configPath: shipped, persistTo: path.join(root, '.wrangler/state'), shards: blocks.length }
  if (!Number.isInteger(count) || count < 1 || count > SHARDS_MAX)
    throw new Error(`--shards takes a whole number from 1 to ${SHARDS_MAX}`)
  const configPath = path.join(root, `wrangler.shards-${count}.toml`)
  writeIfChanged(configPath, withShards(text, count))
  return { configPath, persistTo: path.join(root, `.wrangler/state-shards-${count}`), shards: count }
}

const SHARD_BLOCK = /\[\[d1_databases\]\]\nbinding = "SHARD_\d{3}"\n(?:[a-z_]+ = .*\n)+\n?/g

function withShards(text: string, count: number): string {
  let isFirst = true
  return text.replaceAll(SHARD_BLOCK, () => {
    if (!isFirst) return ''
    isFirst = false
    return Array.from({ length: count }, (_, index) => shardBlock(index)).join('')
  })
}

function shardBlock(index: number): string {
  const number = String(index).padStart(3, '0')
  return `[[d1_databases]]
binding = "SHARD_${number}"
database_name = "banyan-shard-${number}"
database_id = "00000000-0000-4000-8000-000000000${number}"
migrations_dir = "migrations/shard"

`
}

function writeIfChanged(file: string, text: string): void {
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text)
}

/** Applies what is missing to every bound shard, in the table wrangler keeps. Returns how many migrations were applied. */
export async function migrateLocalShards(configPath: string, persistTo: string): Promise<number> {
  const { env, dispose } = await getPlatformProxy<Record<string, unknown>>({
    configPath,
    persist: { path: stateFolder(persistTo) },
    remoteBindings: false,
  })
  try {
    const shards = Object.entries(env).filter(([name]) => /^SHARD_\d{3}$/.test(name)) as [string, D1Database][]
    const counts = await Promise.all(shards.map(([name, database]) => migrateShard(name, database)))
    return counts.reduce((sum, count) => sum + count, 0)
  } finally {
    await dispose()
  }
}

async function migrateShard(name: string, database: D1Database): Promise<number> {
  await database
    .prepare(
      'CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)',
    )
    .run()
  const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{ name: string }>()
  const applied = new Set(results.map((row) => row.name))
  const missing = readMigrations().filter((migration) => !applied.has(migration.name))
  for (const migration of missing) {
    try {
      await database.batch([
        ...migration.statements.map((statement) => database.prepare(statement)),
        database.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(migration.name),
      ])
    } catch (error) {
      throw new Error(`${migration.name} failed on ${name}, and nothing of it was applied: ${(error as Error).message}`)
    }
  }
  return missing.length
}
