import type { z } from '@hono/zod-openapi'
import { rfc3339 } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'
import { isId } from '../core/ids.ts'
import { deadLettersQuery, discard, type LetterFilter, redrive } from '../jobs/dead-letters.ts'
import { formatSortKey, parseSortKey } from '../web/api.ts'
import type { OperatorContext } from './context.ts'
import type { DeadLetterPage, deadLetterQuery, LettersTaken } from './shapes.ts'

type LetterContext = Pick<OperatorContext, 'shards' | 'clock' | 'log' | 'follow' | 'followMax'>

/** A page of the dead letters of all shards, the newest death first. `failed` names the shards that did not answer. */
export async function listDeadLetters(
  { shards, log }: Pick<LetterContext, 'shards' | 'log'>,
  { kind, limit, cursor }: z.output<typeof deadLetterQuery>,
): Promise<DeadLetterPage> {
  const page = await shards.scatter(deadLettersQuery(kind), {
    limit,
    cursor: parseSortKey(cursor, ['number', 'string']),
  })
  for (const { shard, error } of page.failed)
    log.warn('shard.error', { shard, operation: 'dead-letters.list', reason: error })
  return {
    items: page.rows.map(({ history, createdAt, diedAt, ...letter }) => ({
      ...letter,
      history: historyOf(history),
      createdAt: createdAt === null ? null : rfc3339(createdAt),
      diedAt: rfc3339(diedAt),
    })),
    next: formatSortKey(page.next),
    failed: page.failed.map(({ shard }) => shard),
  }
}

/** The engine writes the history of each failed attempt in this form (src/jobs/dispatch.ts). */
const historyOf = (history: string | null): DeadLetterPage['items'][number]['history'] =>
  (JSON.parse(history ?? '[]') as { at: number; attempt: number; error: string }[]).map(({ at, ...entry }) => ({
    ...entry,
    at: rfc3339(at),
  }))

export const redriveLetters = (
  { follow: send, followMax: sendMax, ...tools }: LetterContext,
  filter: LetterFilter,
): Promise<LettersTaken> => redrive({ ...tools, send, sendMax }, filter)

/** Throws NOT_FOUND. */
export async function redriveLetter(operators: LetterContext, id: string): Promise<LettersTaken> {
  const taken = isId(id) ? await redriveLetters(operators, { ids: [id] }) : null
  const [shard] = taken?.failed ?? []
  if (shard) throw new BanyanError('SHARD_UNAVAILABLE', `${shard} does not answer. Try again when it does.`)
  if (!taken || taken.count + taken.tooOld === 0)
    throw new BanyanError('NOT_FOUND', `There is no dead letter "${id}". See: npm run banyan -- dead-letters list`)
  return taken
}

export const discardLetters = (operators: LetterContext, filter: LetterFilter): Promise<LettersTaken> =>
  discard(operators, filter)
