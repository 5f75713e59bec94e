import type { Platform } from '../platform/api.ts'
import { readRows } from '../platform/database.ts'
import type { ClaimHolders, HeldClaim } from './noun.ts'
import { HERE_STATES, PAUSE_MS, pagesHere, type Read } from './rows-here.ts'

/** An inconsistency after a shard's restore. Claims are named by their keys, because the values are personal. */
export interface ClaimDifference extends HeldClaim {
  /** The claim's owner no longer exists, or a row lacks a claim that it should hold. */
  lacks: 'owner' | 'claim'
  ownerId: string
  /** The contribution with the owner's table. */
  holders: ClaimHolders
}

export interface Comparison {
  platform: Platform
  holders: ClaimHolders[]
  /** All shards' databases. */
  databaseIds: string[]
  /** The restored shard's database. */
  restoredId: string
  sleep(ms: number): Promise<unknown>
  /** Called when a shard has been read. */
  onShard?(done: number, of: number): void
}

interface Claim extends HeldClaim {
  ownerId: string
}

/** The database that has a row's slot; undefined if none has. */
type HomeOf = (keyspace: 'users' | 'claims', id: string) => string | undefined

interface Comparing {
  read: Read
  homeOf: HomeOf
  restoredId: string
}

/**
 * Compares claims with the rows that own them, if either is on the restored shard, and yields the inconsistencies. It
 * runs while the shards are in use. It reads all shards in pages, with at most 200 calls per minute, and keeps one page
 * and the map of slots in memory. Concurrent writes cause no false findings, because a claim exists before its owner
 * and is confirmed after it. A concurrent move may cause some. Throws PlatformError.
 */
export async function* claimDifferences(comparison: Comparison): AsyncGenerator<ClaimDifference[]> {
  const { platform, holders, databaseIds, restoredId, sleep, onShard } = comparison
  const read: Read = async (databaseId, sql, params) => {
    await sleep(PAUSE_MS)
    return readRows(platform, databaseId, sql, params)
  }
  const slots = await readSlots(read, databaseIds)
  const homeOf: HomeOf = (keyspace, id) => slots.get(`${keyspace} ${id.slice(0, 4)}`)
  for (const [index, databaseId] of databaseIds.entries()) {
    for (const some of holders) {
      yield* lackingClaims({ read, homeOf, restoredId }, databaseId, some)
      yield* orphans({ read, homeOf, restoredId }, databaseId, some)
    }
    onShard?.(index + 1, databaseIds.length)
  }
}

/** Claims that rows of this database should hold, but that another row holds or that do not exist. */
async function* lackingClaims(
  { read, homeOf, restoredId }: Comparing,
  databaseId: string,
  holders: ClaimHolders,
): AsyncGenerator<ClaimDifference[]> {
  const { select, table } = holders
  for await (const rows of pagesHere(read, databaseId, { select, key: `${table}.id`, keyspace: 'users' })) {
    const wanted = rows
      .flatMap((row) => holders.claimsOf(row).map((claim) => ({ ...claim, ownerId: row.id })))
      .map((claim) => ({ ...claim, at: homeOf('claims', claim.key) }))
      .filter(({ at }) => databaseId === restoredId || at === restoredId)
    const claims = await rowsAt<Claim>(
      read,
      CLAIMS_BY_KEY,
      wanted.map(({ key, at }) => ({ at, id: key })),
    )
    const owners = new Map(claims.map(({ key, ownerId }) => [key, ownerId]))
    const lacking = wanted.filter(({ key, ownerId, at }) => at && owners.get(key) !== ownerId)
    yield lacking.map(({ key, kind, ownerId }) => ({ lacks: 'claim', key, kind, ownerId, holders }))
  }
}

/** Claims of this database whose owner does not exist. */
async function* orphans(
  { read, homeOf, restoredId }: Comparing,
  databaseId: string,
  holders: ClaimHolders,
): AsyncGenerator<ClaimDifference[]> {
  const find = `SELECT id FROM ${holders.table} WHERE id IN (SELECT value FROM json_each(?))`
  for await (const rows of pagesHere<Claim & { id: string }>(read, databaseId, claimsOfKinds(holders.kinds))) {
    const claims = rows
      .map((claim) => ({ ...claim, at: homeOf('users', claim.ownerId) }))
      .filter(({ at }) => databaseId === restoredId || at === restoredId)
    const owners = await rowsAt<{ id: string }>(
      read,
      find,
      claims.map(({ ownerId, at }) => ({ at, id: ownerId })),
    )
    const there = new Set(owners.map(({ id }) => id))
    const found = claims.filter(({ ownerId, at }) => at && !there.has(ownerId))
    yield found.map(({ key, kind, ownerId }) => ({ lacks: 'owner', key, kind, ownerId, holders }))
  }
}

// Only confirmed claims: the cron settles expired reservations.
const claimsOfKinds = (kinds: readonly string[]) => ({
  select: 'SELECT key AS id, key, kind, owner_id AS ownerId FROM claims',
  key: 'key',
  keyspace: 'claims',
  where: `state = 'confirmed' AND kind IN (${kinds.map((kind) => `'${kind}'`).join(', ')})`,
})

const CLAIMS_BY_KEY = 'SELECT key, owner_id AS ownerId FROM claims WHERE key IN (SELECT value FROM json_each(?))'

/** `users 0000` → the database that has its rows. */
async function readSlots(read: Read, databaseIds: string[]): Promise<Map<string, string>> {
  const sql = `SELECT keyspace, substr(slot, 1, 2) AS part, group_concat(substr(slot, 3), ' ') AS rest FROM slots
    WHERE state IN (${HERE_STATES}) GROUP BY keyspace, part`
  const slots = new Map<string, string>()
  for (const databaseId of databaseIds)
    for (const { keyspace, part, rest } of await read<Record<'keyspace' | 'part' | 'rest', string>>(
      databaseId,
      sql,
      [],
    ))
      for (const end of rest.split(' ')) slots.set(`${keyspace} ${part}${end}`, databaseId)
  return slots
}

/** Reads rows by their keys from the databases that should have them, with one call per database. */
async function rowsAt<Row>(read: Read, sql: string, asked: { at: string | undefined; id: string }[]): Promise<Row[]> {
  const rows: Row[] = []
  for (const [databaseId, group] of Map.groupBy(asked, ({ at }) => at))
    if (databaseId) rows.push(...(await read<Row>(databaseId, sql, [JSON.stringify(group.map(({ id }) => id))])))
  return rows
}
