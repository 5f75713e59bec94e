import { createHash } from 'node:crypto'
import type { Platform } from './platform/api.ts'
import { readRows } from './platform/database.ts'

/** Two calls a thousand users at the least; the API allows 1,200 calls in five minutes. */
const PAGE_ROWS = 2_000

/** What doesn't fit after a shard was taken back. Claims are named by their keys: the values are personal. */
export interface ClaimDifferences {
  /** Claims whose account is gone. */
  orphans: { key: string; kind: string; ownerId: string }[]
  /** What an account should hold and doesn't. */
  unclaimed: { key: string; kind: string; accountId: string }[]
}

interface ClaimRow {
  key: string
  kind: string
  ownerId: string
  state: string
}

interface AccountRow {
  id: string
  email: string
  handle: string
}

/**
 * Compares claims and accounts, as far as the one shard has to do with either: it reads all shards, a page at a time,
 * and keeps that shard's share. Throws PlatformError.
 */
export async function compareClaims(
  platform: Platform,
  databaseIds: string[],
  restoredId: string,
): Promise<ClaimDifferences> {
  const slots = {
    users: await slotsOf(platform, restoredId, 'users'),
    claims: await slotsOf(platform, restoredId, 'claims'),
  }
  const claims = new Map<string, ClaimRow>()
  const accounts = new Map<string, AccountRow>()
  for (const databaseId of databaseIds) {
    for await (const claim of rows<ClaimRow>(platform, databaseId, CLAIMS, ({ key }) => key))
      if (slots.users.has(slotOf(claim.ownerId)) || slots.claims.has(slotOf(claim.key))) claims.set(claim.key, claim)
    for await (const account of rows<AccountRow>(platform, databaseId, ACCOUNTS, ({ id }) => id))
      if (slots.users.has(slotOf(account.id)) || wishes(account).some(({ key }) => slots.claims.has(slotOf(key))))
        accounts.set(account.id, account)
  }
  return {
    // A reservation that has run out is settled by the cron.
    orphans: [...claims.values()]
      .filter(
        ({ ownerId, state }) => state === 'confirmed' && slots.users.has(slotOf(ownerId)) && !accounts.has(ownerId),
      )
      .map(({ key, kind, ownerId }) => ({ key, kind, ownerId })),
    unclaimed: [...accounts.values()].flatMap((account) =>
      wishes(account)
        .filter(({ key }) => slots.users.has(slotOf(account.id)) || slots.claims.has(slotOf(key)))
        .filter(({ key }) => claims.get(key)?.ownerId !== account.id)
        .map(({ key, kind }) => ({ key, kind, accountId: account.id })),
    ),
  }
}

const slotOf = (id: string): string => id.slice(0, 4)

/** What an account holds: SHA-256 of kind and value, as docs/sharding.md has it. */
const wishes = ({ email, handle }: AccountRow): { kind: string; key: string }[] =>
  Object.entries({ email, handle }).map(([kind, value]) => ({
    kind,
    key: createHash('sha256').update(`${kind}\0${value.toLowerCase()}`).digest('hex'),
  }))

async function slotsOf(platform: Platform, databaseId: string, keyspace: string): Promise<Set<string>> {
  const sql = `SELECT substr(slot, 1, 2) AS part, group_concat(substr(slot, 3), ' ') AS rest FROM slots
    WHERE keyspace = ? AND state IN ('active', 'moving') GROUP BY part`
  const parts = await readRows<{ part: string; rest: string }>(platform, databaseId, sql, [keyspace])
  return new Set(parts.flatMap(({ part, rest }) => rest.split(' ').map((end) => part + end)))
}

/** Rows of slots that moved away stay for a while, and no longer count. */
const here = (column: string, keyspace: string): string =>
  `substr(${column}, 1, 4) IN (SELECT slot FROM slots WHERE keyspace = '${keyspace}' AND state IN ('active', 'moving', 'fenced'))`

const CLAIMS = `SELECT key, kind, owner_id AS ownerId, state FROM claims
  WHERE key > ? AND ${here('key', 'claims')} ORDER BY key LIMIT ?`
const ACCOUNTS = `SELECT accounts.id, email, handle FROM accounts JOIN profiles ON profiles.id = accounts.id
  WHERE accounts.id > ? AND ${here('accounts.id', 'users')} ORDER BY accounts.id LIMIT ?`

async function* rows<T>(platform: Platform, databaseId: string, sql: string, keyOf: (row: T) => string) {
  for (let after = ''; ; ) {
    const page = await readRows<T>(platform, databaseId, sql, [after, PAGE_ROWS])
    yield* page
    if (page.length < PAGE_ROWS) return
    after = keyOf(page.at(-1)!)
  }
}
