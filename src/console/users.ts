import type { z } from '@hono/zod-openapi'
import { rfc3339 } from '../core/clock.ts'
import { BanyanError } from '../core/errors.ts'
import { slotText } from '../core/ids.ts'
import { formatRanges, parseRanges, slotNumber } from '../resharding/record.ts'
import { joinedSpans, type SlotSpans } from '../sharding/slot-spans.ts'
import { formatSortKey, parseSortKey } from '../web/api.ts'
import type { OperatorContext } from './context.ts'
import type { UserPage, userQuery } from './shapes.ts'

/**
 * A page of the users of all shards. A page that a shard did not answer names it in `failed`, and its slots in `missing`:
 * the same request with `slots` has the users that are missing, wherever they are by then. Throws NOT_FOUND if there
 * are no users to list.
 */
export async function listUsers(
  { shards, userList, log }: Pick<OperatorContext, 'shards' | 'userList' | 'log'>,
  { limit, cursor, prefix, order, slots }: z.output<typeof userQuery>,
): Promise<UserPage> {
  if (!userList) throw new BanyanError('NOT_FOUND', 'This application has no users to list.')
  const ranges = slots === undefined ? undefined : parseRanges(slots)
  if (ranges === null) throw invalid('slots', 'Send ranges of slots, for example 4000-7fff,a000-a0ff.')
  if (order === 'recent' && prefix !== '')
    throw invalid('prefix', 'A prefix needs the order by handle. Omit the prefix or `order`.')
  const spans = ranges && joinedSpans(ranges.map(([first, last]) => [slotNumber(first), slotNumber(last) + 1]))
  const page = await shards.scatter(order === 'recent' ? userList.recent : userList.byHandle(prefix), {
    limit,
    cursor: parseSortKey(cursor, [order === 'recent' ? 'number' : 'string', 'string']),
    ...(spans ? { slots: spans } : {}),
  })
  for (const { shard, error } of page.failed) log.warn('shard.error', { shard, operation: 'users.list', reason: error })
  return {
    items: page.rows.map((user) => ({ ...user, createdAt: rfc3339(user.createdAt) })),
    next: formatSortKey(page.next),
    failed: page.failed.map(({ shard }) => shard),
    missing: page.missing.length > 0 ? formatSpans(page.missing) : null,
  }
}

const formatSpans = (spans: SlotSpans): string =>
  formatRanges(spans.map(([first, after]) => [slotText(first), slotText(after - 1)]))

const invalid = (field: string, detail: string) =>
  new BanyanError('INVALID', detail, { errors: [{ pointer: `/${field}`, detail }] })
