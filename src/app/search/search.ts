import { cachePolicy } from '../../cache/entry.ts'
import { sha256Hex } from '../../core/digest.ts'
import { limits } from '../../core/limits.ts'
import { compareTexts } from '../../core/text-order.ts'
import type { ScatterQuery } from '../../sharding/scatter-query.ts'
import { formatSortKey, parseSortKey } from '../../web/api.ts'
import type { Tiers } from '../../web/context.ts'
import { HANDLE_CHARACTERS, type ProfileRow, toUser, userColumns } from '../profiles/profiles.ts'
import type { User } from '../profiles/shapes.ts'

interface FoundRow extends ProfileRow {
  searchName: string | null
  matched: 'handle' | 'name'
}

/** A page of a search. `partial`: a shard did not answer in time, so users may be missing. */
interface Found {
  items: User[]
  next: string | null
  partial: boolean
  /** When the page was loaded, in ms. */
  at: number
}

const cachedSearch = cachePolicy<Found>({
  ttlMs: 60_000,
  staleWhileRevalidateMs: 0,
  graceMs: 0,
  negativeTtlMs: 0,
  partial: { ttlMs: 3_000, is: ({ partial }) => partial },
  version: ({ at }) => at,
})

/**
 * Users whose handle or display name starts with `text`, which `searchText` has returned. One statement per shard reads
 * at most `limit` + 1 users by handle and as many by name, in the order of the matching text. A user who matches by
 * both is on the list once, so a page may have fewer users than `limit` although there are more. A page may be a minute
 * old. Throws INVALID for a cursor of another list.
 */
export async function searchUsers(
  { shards, cache, clock, log, userCounts }: Pick<Tiers, 'shards' | 'cache' | 'clock' | 'log' | 'userCounts'>,
  { text, limit, cursor }: { text: string; limit: number; cursor: string | undefined },
): Promise<Omit<Found, 'at'>> {
  const after = parseSortKey(cursor, ['string', 'string', 'number'])
  const handle = handlePrefix(text)
  const load = async (): Promise<Found> => {
    const at = clock.now()
    const query = searchQuery(userCounts, { text, handle })
    const page = await shards.scatter(query, { limit, cursor: after, deadlineMs: limits.searchMs })
    for (const { shard, error } of page.failed)
      log.warn('shard.error', { shard, operation: query.operation, reason: error })
    const rows = page.rows.filter((row) => !isRepeated(row, { text, handle }))
    return { items: rows.map(toUser), next: formatSortKey(page.next), partial: page.failed.length > 0, at }
  }
  const key = `search.2:${sha256Hex(JSON.stringify([text, limit, after]))}`
  const { items, next, partial } = (await cache.read(key, { ...cachedSearch, owner: null, load })) ?? (await load())
  return { items, next, partial }
}

interface Prefixes {
  text: string
  /** Null if no handle can start with the text. */
  handle: string | null
}

/** People write handles with an `@`, as pages show them. */
function handlePrefix(text: string): string | null {
  const handle = text.startsWith('@') ? text.slice(1) : text
  return HANDLE_CHARACTERS.test(handle) ? handle : null
}

function searchQuery(userCounts: Tiers['userCounts'], { text, handle }: Prefixes): ScatterQuery<FoundRow> {
  const source = (matched: FoundRow['matched']) => ({
    columns: `${userColumns(userCounts)}, search_name AS searchName, '${matched}' AS matched`,
    from: 'profiles',
    id: 'profiles.id',
  })
  const byName = { ...source('name'), keys: ['search_name', 'profiles.id', '1'], prefix: text }
  const byHandle =
    handle === null ? [] : [{ ...source('handle'), keys: ['handle', 'profiles.id', '0'], prefix: handle }]
  return { operation: 'search.users', keyspace: 'users', direction: 'ascending', sources: [...byHandle, byName] }
}

/** True for the later of the two places of a user who matches by handle and by name. */
function isRepeated({ matched, handle, searchName }: FoundRow, prefixes: Prefixes): boolean {
  if (prefixes.handle === null || searchName === null) return false
  if (!handle.startsWith(prefixes.handle) || !searchName.startsWith(prefixes.text)) return false
  return matched !== (compareTexts(handle, searchName) <= 0 ? 'handle' : 'name')
}
