/** The shards of a `wrangler.toml`, read and edited as text so that comments and order stay. */
import { present } from '../../core/present.ts'
import { UserError } from '../shell/errors.ts'
import { checkedEdit, linesOf, readTables, type Table, withLinesBehind } from './tables.ts'

export interface ShardBinding {
  binding: string // 'SHARD_002'
  databaseName: string // 'banyan-shard-002'
  databaseId: string
}

/** Ordered by binding. Throws UserError if a block is unreadable, lacks a name or an id, or repeats a binding. */
export const shardBindings = (text: string): ShardBinding[] => shardsIn(readTables(text))

/** Like `shardBindings`, for parsed tables. */
export function shardsIn(tables: Table[]): ShardBinding[] {
  const shards = shardBlocks(tables).map(shardOf)
  const twice = shards.find(({ binding }, index) => shards.findIndex((other) => other.binding === binding) !== index)
  if (twice)
    throw new UserError(
      `The configuration binds ${twice.binding} twice.`,
      'Remove the block whose database does not hold the shard’s users.',
    )
  return shards.sort(byBinding)
}

/** The shards with the ids of their local data, which a deployment keeps as `preview_database_id`. */
export function localBindings(text: string): ShardBinding[] {
  const blocks = shardBlocks(readTables(text))
  const localIds = new Map(blocks.map((block) => [shardOf(block).binding, block.values.get('preview_database_id')]))
  return shardBindings(text).map((shard) => ({
    ...shard,
    databaseId: String(localIds.get(shard.binding) ?? shard.databaseId),
  }))
}

/** The blocks of an array of tables. Throws UserError if it is written as an inline list. */
export function blocksOf(tables: Table[], name: string): Table[] {
  if (tables[0]?.values.has(name))
    throw new UserError(
      `The configuration has ${name} as an inline list, which this command cannot read.`,
      `Write one block [[${name}]] per entry, as the shipped wrangler.toml does.`,
    )
  return tables.filter((table) => table.name === name)
}

/** Throws UserError. */
export function required(table: Table, key: string): string {
  const value = table.values.get(key)
  if (typeof value !== 'string')
    throw new UserError(`A block [[${table.name}]] has no ${key}.`, `Add ${key}, as in the shipped wrangler.toml.`)
  return value
}

const shardBlocks = (tables: Table[]): Table[] =>
  blocksOf(tables, 'd1_databases').filter((table) => /^SHARD_\d{3}$/.test(required(table, 'binding')))

const shardOf = (block: Table): ShardBinding => ({
  binding: required(block, 'binding'),
  databaseName: required(block, 'database_name'),
  databaseId: required(block, 'database_id'),
})

const byBinding = (a: ShardBinding, b: ShardBinding): number => (a.binding < b.binding ? -1 : 1)

/** The configuration with these shards instead of its own, in the place of the first shard's block. */
export function withShards(text: string, shards: ShardBinding[]): string {
  const tables = readTables(text)
  const blocks = shardBlocks(tables)
  const head = firstBlock(blocks)
  const first = tables.indexOf(head)
  const others = tables.filter((table) => !blocks.includes(table))
  const lines = linesOf(text)
  for (const { start, end } of blocks.toReversed())
    lines.splice(start, lines[end]?.trim() === '' ? end + 1 - start : end - start)
  const edited = withLinesBehind(lines.join(''), head.start, shards.flatMap(linesOfBlock))
  return checkedEdit(edited, others.toSpliced(first, 0, ...shards.map(contentOf)))
}

/**
 * The configuration with more shards after its own, whose blocks stay as they are. Throws UserError if a binding
 * already exists.
 */
export function withMoreShards(text: string, more: ShardBinding[]): string {
  const tables = readTables(text)
  const bound = shardsIn(tables)
  const double = more.find(({ binding }) => bound.some((shard) => shard.binding === binding))
  if (double)
    throw new UserError(
      `${double.binding} is already bound, so the configuration has changed meanwhile.`,
      'Run the command again.',
    )
  const last = firstBlock(shardBlocks(tables).toReversed())
  const added = more.flatMap((shard) => ['', ...linesOfBlock(shard).slice(0, -1)])
  return checkedEdit(
    withLinesBehind(text, last.end, added),
    tables.toSpliced(tables.indexOf(last) + 1, 0, ...more.map(contentOf)),
  )
}

function firstBlock([block]: Table[]): Table {
  if (block) return block
  throw new UserError('The configuration binds no shard.', 'Bind SHARD_000, as the shipped wrangler.toml does.')
}

/** A shard's block, followed by an empty line. */
export const blockOf = (shard: ShardBinding): string => `${linesOfBlock(shard).join('\n')}\n`

const linesOfBlock = ({ binding, databaseName, databaseId }: ShardBinding): string[] => [
  '[[d1_databases]]',
  `binding = "${binding}"`,
  `database_name = "${databaseName}"`,
  `database_id = "${databaseId}"`,
  'migrations_dir = "migrations/shard"',
  '',
]

const contentOf = (shard: ShardBinding): Table => present(readTables(blockOf(shard))[1], 'the table of a block')

/** Shards as shipped. Their ids are placeholders, each of which names a local file. */
export const localShards = (from: number, count: number): ShardBinding[] => numberedShards(from, count, [])

/** New shards whose databases are named like the bound ones. A deployment replaces their placeholder ids. */
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

/** The number after the highest bound one. */
export const nextShardNumber = (bound: ShardBinding[]): number =>
  Math.max(-1, ...bound.map(({ binding }) => Number(binding.slice('SHARD_'.length)))) + 1
