import { BanyanError } from '../core/errors.ts'
import type { RetryKey } from '../sharding/idempotency.ts'
import { keyspaces } from '../sharding/sharded-table.ts'
import type { OperatorContext } from './context.ts'
import { refusedTarget, toMove } from './moves.ts'
import type { KeyspaceList, StartedMoves } from './shapes.ts'

type KeyspaceContext = Pick<OperatorContext, 'directory' | 'tables'>

/** Each keyspace with its tables, the shards that have its slots, and its placement. */
export async function listKeyspaces({ directory, tables }: KeyspaceContext): Promise<KeyspaceList> {
  const { items } = await directory.listKeyspaces()
  return { items: items.map((item) => ({ ...item, tables: [...(tables[item.name] ?? [])] })) }
}

/** Throws NOT_FOUND, INVALID for an unknown target, and as `Fleet.place` does. */
export async function placeKeyspace(
  { directory }: KeyspaceContext,
  name: string,
  target: string,
  retry: RetryKey | null,
): Promise<StartedMoves> {
  const keyspace = keyspaces.find((one) => one === name)
  if (!keyspace)
    throw new BanyanError('NOT_FOUND', `There is no keyspace "${name}". See: npm run banyan -- keyspaces list`)
  try {
    const { moves, held } = await directory.placeKeyspace({ keyspace, target }, retry)
    return { moves: moves.map(toMove), held }
  } catch (error) {
    throw refusedTarget(error)
  }
}
