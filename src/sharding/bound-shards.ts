import type { ShardDatabase } from './shards.ts'

/** The shards among a Worker's bindings, by binding name (`SHARD_000`, …), in order. */
export function boundShards(bindings: object): Map<string, ShardDatabase> {
  const shards = Object.entries(bindings).filter(([name]) => /^SHARD_\d{3}$/.test(name))
  return new Map(shards.sort(([a], [b]) => a.localeCompare(b)) as [string, ShardDatabase][])
}
