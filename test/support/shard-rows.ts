import { env } from 'cloudflare:workers'
import { boundShards } from '../../src/sharding/bound-shards.ts'
import type { Env } from '../../workers/env.ts'

export type Row = Record<string, string | number | null>

const OWN_TABLES = new Set(['slots', 'slot_changes', 'mover', 'shard_identity', 'd1_migrations'])
const shards = () => [...boundShards(env as unknown as Env).values()]

/** A table's rows over all shards. `where` is SQL. */
export async function rows(table: string, where = '1'): Promise<Row[]> {
  const answers = await Promise.all(
    shards().map((shard) => shard.prepare(`SELECT * FROM ${table} WHERE ${where}`).all<Row>()),
  )
  return answers.flatMap(({ results }) => results)
}

/** Runs one statement in every shard. Resolves to the number of changes. */
export async function runEverywhere(sql: string, ...values: unknown[]): Promise<void> {
  for (const shard of shards())
    await shard
      .prepare(sql)
      .bind(...values)
      .run()
}

async function tables(): Promise<string[]> {
  const { results } = await shards()[0]!
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .all<{ name: string }>()
  return results.map(({ name }) => name).filter((name) => !OWN_TABLES.has(name) && !/^(sqlite|_cf)_/.test(name))
}

/** The number of rows of each sharded table over all shards, without empty tables. */
export async function rowCounts(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  const names = await tables()
  for (const shard of shards()) {
    const sums = await shard.batch<{ n: number }>(
      names.map((name) => shard.prepare(`SELECT count(*) AS n FROM ${name}`)),
    )
    names.forEach((name, index) => {
      const count = sums[index]!.results[0]!.n
      if (count > 0) counts[name] = (counts[name] ?? 0) + count
    })
  }
  return counts
}

/** All rows of all sharded tables, to compare the state before and after. */
export async function everything(): Promise<Record<string, Row[]>> {
  return Object.fromEntries(await Promise.all((await tables()).map(async (name) => [name, await rows(name)])))
}

export async function emptyShards(): Promise<void> {
  const names = await tables()
  for (const shard of shards()) await shard.batch(names.map((name) => shard.prepare(`DELETE FROM ${name}`)))
}
