import type { Platform } from '../platform/api.ts'
import { readRows } from '../platform/database.ts'
import type { ClaimHolders, HeldClaim } from './noun.ts'
import { HERE_STATES, PAUSE_MS, pagesHere, type Read } from './rows-here.ts'

/** An inconsistency after a shard's restore. Claims are named by their keys, because the values are personal. */
export interface ClaimDifference extends HeldClaim {
  /** The claim's owner no longer exists or has another value, or a row lacks a claim that it should hold. */
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
 * and is confirmed after it, and a finding is read again after the jobs of its owner. A concurrent move may cause some.
 * Throws PlatformError.
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
    const missing = wanted.filter(({ key, ownerId, at }) => at && owners.get(key) !== ownerId)
    const lacking = await stillHeld(read, databaseId, holders, missing)
    yield lacking.map(({ key, kind, ownerId }) => ({ lacks: 'claim', key, kind, ownerId, holders }))
  }
}

/** The claims that their rows still name, because a value may have changed since the rows were read. */
async function stillHeld<Wanted extends HeldClaim & { ownerId: string }>(
  read: Read,
  databaseId: string,
  holders: ClaimHolders,
  missing: Wanted[],
): Promise<Wanted[]> {
  const rows = await rowsAt<{ id: string }>(
    read,
    rowsOf(holders),
    missing.map(({ ownerId }) => ({ at: databaseId, id: ownerId })),
  )
  const keys = new Set(rows.flatMap((row) => holders.claimsOf(row).map(({ key }) => `${row.id} ${key}`)))
  return missing.filter(({ ownerId, key }) => keys.has(`${ownerId} ${key}`))
}

/** Claims of this database whose owner does not exist, or has another value. */
async function* orphans(
  { read, homeOf, restoredId }: Comparing,
  databaseId: string,
  holders: ClaimHolders,
): AsyncGenerator<ClaimDifference[]> {
  for await (const rows of pagesHere<Claim & { id: string }>(read, databaseId, claimsOfKinds(holders.kinds))) {
    const claims = rows
      .map((claim) => ({ ...claim, at: homeOf('users', claim.ownerId) }))
      .filter(({ at }) => databaseId === restoredId || at === restoredId)
    const owners = await rowsAt<{ id: string }>(
      read,
      rowsOf(holders),
      claims.map(({ ownerId, at }) => ({ at, id: ownerId })),
    )
    const named = new Map(owners.map((row) => [row.id, holders.claimsOf(row)]))
    const strayed = claims.filter(({ ownerId, at, ...claim }) => at && !isNamed(named.get(ownerId), claim))
    const found = await stillConfirmed(read, databaseId, strayed)
    yield found.map(({ key, kind, ownerId }) => ({ lacks: 'owner', key, kind, ownerId, holders }))
  }
}

/** True if the row names the claim, or has no claim of this kind, whose values it does not know then. */
function isNamed(named: HeldClaim[] | undefined, { kind, key }: HeldClaim): boolean {
  const ofKind = named?.filter((claim) => claim.kind === kind)
  return ofKind !== undefined && (ofKind.length === 0 || ofKind.some((claim) => claim.key === key))
}

/** The claims that are still confirmed, without those whose owner has jobs to run, because a job may give them up. */
async function stillConfirmed<Strayed extends Claim & { at: string | undefined }>(
  read: Read,
  databaseId: string,
  strayed: Strayed[],
): Promise<Strayed[]> {
  const busy = await rowsAt<{ id: string }>(
    read,
    "SELECT owner_id AS id FROM outbox WHERE state <> 'dead' AND owner_id IN (SELECT value FROM json_each(?))",
    strayed.map(({ ownerId, at }) => ({ at, id: ownerId })),
  )
  const confirmed = await rowsAt<Claim>(
    read,
    `${CLAIMS_BY_KEY} AND state = 'confirmed'`,
    strayed.map(({ key }) => ({ at: databaseId, id: key })),
  )
  const hasJobs = new Set(busy.map(({ id }) => id))
  const owners = new Map(confirmed.map(({ key, ownerId }) => [key, ownerId]))
  return strayed.filter(({ key, ownerId }) => owners.get(key) === ownerId && !hasJobs.has(ownerId))
}

const rowsOf = ({ select, table }: ClaimHolders): string =>
  `${select} WHERE ${table}.id IN (SELECT value FROM json_each(?))`

// Only confirmed claims: the cron settles expired reservations and retired claims.
const claimsOfKinds = (kinds: readonly string[]) => ({
  select: 'SELECT key AS id, key, kind, owner_id AS ownerId FROM claims',
  key: 'key',
  keyspace: 'claims',
  where: `state = 'confirmed' AND kind IN (${kinds.map((kind) => `'${kind}'`).join(', ')})`,
})

// A claim that its owner has given up does not count (src/sharding/claims.ts).
const CLAIMS_BY_KEY = `SELECT key, owner_id AS ownerId FROM claims WHERE key IN (SELECT value FROM json_each(?))
  AND NOT (state = 'retired' AND attempt_id LIKE 'retired-%')`

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
