import { createHash } from 'node:crypto'
import type { Platform } from '../platform/api.ts'
import { readRows } from '../platform/database.ts'

/** Of accounts or claims. Their keys, when they are looked up, are a parameter of 700 kB; it may have 2 MB. */
export const PAGE_ROWS = 5_000
/** The API allows 1,200 calls in five minutes, to all who use the account. */
export const PAUSE_MS = 300

/** What doesn't fit after a shard was taken back. Claims are named by their keys: the values are personal. */
export interface ClaimDifference {
  /** A claim's account is gone, or an account lacks a claim that it should hold. */
  lacks: 'account' | 'claim'
  key: string
  kind: string
  accountId: string
}

export interface Comparison {
  platform: Platform
  /** All shards' databases. */
  databaseIds: string[]
  /** That of the shard that was taken back. */
  restoredId: string
  sleep(ms: number): Promise<unknown>
  /** Called when a shard has been read. */
  onShard?(done: number, of: number): void
}

interface Claim {
  key: string
  kind: string
  ownerId: string
}

interface Account {
  id: string
  email: string
  handle: string
}

type Read = <T>(databaseId: string, sql: string, params: (string | number)[]) => Promise<T[]>

/**
 * Compares claims and accounts while they are in use, as far as the one shard has either: yields what doesn't fit. It goes
 * through all shards a page at a time, at most 200 calls a minute, and keeps a page and the map of slots. What is written
 * meanwhile is no difference: a claim is there before its account, and is confirmed after it. A slot that moves meanwhile
 * may make some. Throws PlatformError.
 */
export async function* claimDifferences(comparison: Comparison): AsyncGenerator<ClaimDifference[]> {
  const { platform, databaseIds, restoredId, sleep, onShard } = comparison
  const read: Read = async (databaseId, sql, params) => {
    await sleep(PAUSE_MS)
    return readRows(platform, databaseId, sql, params)
  }
  const slots = await readSlots(read, databaseIds)
  const homeOf = (keyspace: string, id: string) => slots.get(`${keyspace} ${id.slice(0, 4)}`)
  for (const [index, databaseId] of databaseIds.entries()) {
    const isRestored = databaseId === restoredId
    for await (const page of pages<Account>(read, databaseId, ACCOUNTS, ({ id }) => id)) {
      const wishes = page
        .flatMap(wishesOf)
        .map((wish) => ({ ...wish, at: homeOf('claims', wish.key) }))
        .filter(({ at }) => isRestored || at === restoredId)
      const asked = wishes.map(({ key, at }) => ({ at, id: key }))
      const claims = await rowsAt<Claim>(read, CLAIMS_BY_KEY, asked)
      const owners = new Map(claims.map(({ key, ownerId }) => [key, ownerId]))
      const lacking = wishes.filter(({ key, accountId, at }) => at && owners.get(key) !== accountId)
      yield lacking.map(({ key, kind, accountId }) => ({ lacks: 'claim' as const, key, kind, accountId }))
    }
    for await (const page of pages<Claim>(read, databaseId, CLAIMS, ({ key }) => key)) {
      const claims = page
        .map((claim) => ({ ...claim, at: homeOf('users', claim.ownerId) }))
        .filter(({ at }) => isRestored || at === restoredId)
      const asked = claims.map(({ ownerId, at }) => ({ at, id: ownerId }))
      const accounts = await rowsAt<{ id: string }>(read, ACCOUNTS_BY_ID, asked)
      const there = new Set(accounts.map(({ id }) => id))
      const orphans = claims.filter(({ ownerId, at }) => at && !there.has(ownerId))
      yield orphans.map(({ key, kind, ownerId }) => ({ lacks: 'account', key, kind, accountId: ownerId }))
    }
    onShard?.(index + 1, databaseIds.length)
  }
}

/** What an account holds: SHA-256 of kind and value, as docs/sharding.md has it. */
const wishesOf = ({ id, email, handle }: Account): { kind: string; key: string; accountId: string }[] =>
  Object.entries({ email, handle }).map(([kind, value]) => ({
    kind,
    key: createHash('sha256').update(`${kind}\0${value.toLowerCase()}`).digest('hex'),
    accountId: id,
  }))

/** `users 0000` → the database that has its rows. Rows of slots that moved away stay for a while, and no longer count. */
async function readSlots(read: Read, databaseIds: string[]): Promise<Map<string, string>> {
  const sql = `SELECT keyspace, substr(slot, 1, 2) AS part, group_concat(substr(slot, 3), ' ') AS rest FROM slots
    WHERE state IN (${HERE}) GROUP BY keyspace, part`
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

const HERE = "'active', 'moving', 'fenced'"
/** SQL that is true for rows whose slot is here. */
export const here = (column: string, keyspace: string): string =>
  `substr(${column}, 1, 4) IN (SELECT slot FROM slots WHERE keyspace = '${keyspace}' AND state IN (${HERE}))`

// A reservation that has run out is settled by the cron.
const CLAIMS = `SELECT key, kind, owner_id AS ownerId FROM claims
  WHERE key > ? AND state = 'confirmed' AND ${here('key', 'claims')} ORDER BY key LIMIT ?`
const CLAIMS_BY_KEY = 'SELECT key, owner_id AS ownerId FROM claims WHERE key IN (SELECT value FROM json_each(?))'
const ACCOUNTS = `SELECT accounts.id, email, handle FROM accounts JOIN profiles ON profiles.id = accounts.id
  WHERE accounts.id > ? AND ${here('accounts.id', 'users')} ORDER BY accounts.id LIMIT ?`
const ACCOUNTS_BY_ID = 'SELECT id FROM accounts WHERE id IN (SELECT value FROM json_each(?))'

async function* pages<T>(read: Read, databaseId: string, sql: string, keyOf: (row: T) => string) {
  for (let after = ''; ; ) {
    const page = await read<T>(databaseId, sql, [after, PAGE_ROWS])
    yield page
    if (page.length < PAGE_ROWS) return
    after = keyOf(page.at(-1)!)
  }
}

/** Rows by their keys, each asked for where it should be: a call a database. */
async function rowsAt<Row>(read: Read, sql: string, asked: { at: string | undefined; id: string }[]): Promise<Row[]> {
  const rows: Row[] = []
  for (const [databaseId, group] of Map.groupBy(asked, ({ at }) => at))
    if (databaseId) rows.push(...(await read<Row>(databaseId, sql, [JSON.stringify(group.map(({ id }) => id))])))
  return rows
}
