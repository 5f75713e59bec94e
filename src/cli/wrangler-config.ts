/** The shards of a `wrangler.toml`, read and edited as text: comments and order stay as they are. */

export interface ShardBinding {
  binding: string // 'SHARD_002'
  databaseName: string // 'banyan-shard-002'
  databaseId: string
}

const SHARD_BLOCK = /\[\[d1_databases\]\]\nbinding = "(SHARD_\d{3})"\n(?:[a-z_]+ = .*\n)+\n?/g

/** In the file's order. */
export function shardBindings(text: string): ShardBinding[] {
  return [...text.matchAll(SHARD_BLOCK)].map(([block, binding]) => ({
    binding: binding!,
    databaseName: valueIn(block, 'database_name'),
    databaseId: valueIn(block, 'database_id'),
  }))
}

const valueIn = (block: string, key: string): string => new RegExp(`^${key} = "([^"]*)"`, 'm').exec(block)?.[1] ?? ''

/** The same with the ids that local data goes by: a deployment leaves the placeholder beside the id it writes. */
export function localBindings(text: string): ShardBinding[] {
  const blocks = [...text.matchAll(SHARD_BLOCK)].map(([block]) => valueIn(block, 'preview_database_id'))
  return shardBindings(text).map((shard, index) => ({ ...shard, databaseId: blocks[index] || shard.databaseId }))
}

/** The same configuration with these shards and no others, where the first one's block was. */
export function withShards(text: string, shards: ShardBinding[]): string {
  let isFirst = true
  return text.replaceAll(SHARD_BLOCK, () => {
    if (!isFirst) return ''
    isFirst = false
    return shards.map(blockOf).join('')
  })
}

/** The configuration with more shards behind those that it has. Blocks that are there stay as they were written. */
export function withMoreShards(text: string, more: ShardBinding[]): string {
  const blocks = [...text.matchAll(SHARD_BLOCK)]
  const last = blocks.at(-1)
  if (!last) throw new Error('the configuration binds no shard to add others to')
  const end = last.index + last[0].length
  const gap = last[0].endsWith('\n\n') ? '' : '\n'
  return text.slice(0, end) + gap + more.map(blockOf).join('') + text.slice(end)
}

/** The configuration without a shard's block. */
export const withoutShard = (text: string, binding: string): string =>
  text.replaceAll(SHARD_BLOCK, (block, found) => (found === binding ? '' : block))

/** A shard's block, with an empty line behind it. */
export const blockOf = ({ binding, databaseName, databaseId }: ShardBinding): string => `[[d1_databases]]
binding = "${binding}"
database_name = "${databaseName}"
database_id = "${databaseId}"
migrations_dir = "migrations/shard"

`

/** Shards as they are shipped: their ids are placeholders, which name a local file each. */
export const localShards = (from: number, count: number): ShardBinding[] => numberedShards(from, count, [])

/** More of them, whose databases are named as those that are bound are. A deployment writes their ids. */
export function numberedShards(from: number, count: number, bound: ShardBinding[]): ShardBinding[] {
  const last = bound.at(-1)
  const stem = last?.databaseName.endsWith(last.binding.slice(-3)) ? last.databaseName.slice(0, -3) : 'banyan-shard-'
  return Array.from({ length: count }, (_, index) => {
    const number = String(from + index).padStart(3, '0')
    return {
      binding: `SHARD_${number}`,
      databaseName: `${stem}${number}`,
      databaseId: `00000000-0000-4000-8000-000000000${number}`,
    }
  })
}

/** The number after the highest that is bound. */
export const nextShardNumber = (bound: ShardBinding[]): number =>
  Math.max(-1, ...bound.map(({ binding }) => Number(binding.slice('SHARD_'.length)))) + 1
