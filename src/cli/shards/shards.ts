import path from 'node:path'
import { localConfig } from '../migrations/migrations.ts'
import { readUntil } from '../moves/moves.ts'
import type { Connection } from '../shell/client.ts'
import type { Command, Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import type { OptionValues } from '../shell/options.ts'
import { bytes, counted, table } from '../shell/table.ts'
import { followed, type Started } from './rebalance.ts'

interface Shard {
  id: string
  binding: string
  state: string
  slots: number
  /** null, as are the users, where its database doesn't answer. */
  bytes: number | null
  users: number | null
  /** Missing from a version before. */
  usersEstimated?: boolean
  queriesPerSecond: number
}

/** `shards list`: a row a shard, and how even they are. */
async function listShards(connect: () => Connection): Promise<Output> {
  const answer = await connect().get<{ epoch: number; items: Shard[] }>('/operator/v1/shards')
  const rows = answer.items.map((shard) => [
    shard.id,
    shard.binding,
    shard.state,
    String(shard.slots),
    shard.users === null ? '–' : String(shard.users),
    shard.bytes === null ? '–' : bytes(shard.bytes),
    shard.queriesPerSecond.toFixed(2),
  ])
  const users = answer.items.some((shard) => shard.usersEstimated) ? 'users (estimated)' : 'users'
  const head = ['shard', 'binding', 'state', 'slots', users, 'size', 'queries/s']
  return { json: answer, text: `${table(head, rows, 3)}\n\n${summary(answer)}` }
}

function summary({ epoch, items }: { epoch: number; items: Shard[] }): string {
  const users = items.flatMap((shard) => shard.users ?? [])
  const total = users.reduce((sum, count) => sum + count, 0)
  const unevenness =
    total === 0 ? '' : `, the fullest has ${(Math.max(...users) / (total / users.length)).toFixed(2)} of the mean`
  const silent = items.filter((shard) => shard.users === null).map(({ id }) => id)
  const unknown = silent.length === 0 ? '' : `; not counted, since they don’t answer: ${silent.join(', ')}`
  const estimated = items.some((shard) => shard.usersEstimated) ? ' (estimated)' : ''
  return `epoch ${epoch}, ${counted(items.length, 'shard')}, ${counted(total, 'user')}${estimated}${unevenness}${unknown}`
}

const pathOf = (id: string) => `/operator/v1/shards/${encodeURIComponent(id)}`

async function drainShard(connect: () => Connection, [id]: string[], options: OptionValues): Promise<Output> {
  const until = readUntil(options)
  const connection = connect()
  const started = await connection.post<Started>(`${pathOf(id!)}/drain`)
  const output = await followed(connection, started, until, Boolean(options['no-wait']), `${id} has no slots.`)
  const isEmpty = started.held === 0 && !options['no-wait'] && !output.isFailure
  const when = until === 'done' ? 'Then' : 'When its moves are done'
  const next = isEmpty ? `\n${id} has no slots now. ${when}: npm run banyan -- shards remove ${id}` : ''
  return { ...output, text: output.text + next }
}

/** The directory forgets it first: a binding without a shard is harmless, a shard without a binding isn't. */
async function removeShard(connect: () => Connection, [id]: string[], options: OptionValues): Promise<Output> {
  const { configPath } = localConfig(options)
  const connection = connect()
  const { items } = await connection.get<{ items: Shard[] }>('/operator/v1/shards')
  const shard = items.find((item) => item.id === id)
  if (!shard)
    throw new UserError(`There is no shard "${id}".`, `There are: ${items.map((item) => item.id).join(', ')}.`)
  await connection.delete(pathOf(id!))
  return {
    json: { removed: shard },
    text:
      `${id} is no shard any more. Its database is still bound as ${shard.binding}: take its block out of ${path.relative(process.cwd(), configPath)}, deploy,\n` +
      'and delete the database when no older version that binds it can come back.',
  }
}

async function setState(connect: () => Connection, id: string, state: string): Promise<Output> {
  const answer = await connect().patch<{ shard: Shard }>(pathOf(id), { state })
  return { json: answer, text: `${id} is ${state}. Every router knows within LEASE_MS.` }
}

export const shardCommands: Record<string, Command> = {
  'shards list': { operands: [], options: [], run: listShards },
  'shards drain': {
    operands: ['ID'],
    options: ['off', 'no-wait', 'until'],
    run: (connect, operands, options) =>
      options.off ? setState(connect, operands[0]!, 'serving') : drainShard(connect, operands, options),
  },
  'shards remove': { operands: ['ID'], options: ['config'], run: removeShard },
  'shards read-only': {
    operands: ['ID'],
    options: ['off'],
    run: (connect, [id], { off }) => setState(connect, id!, off ? 'serving' : 'read-only'),
  },
}
