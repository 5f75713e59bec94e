import { describe, expect, test } from 'vitest'
import { operator as accounts } from '../../../../src/app/accounts/restore.operator.ts'
import { type ClaimHolders, type RestoreContribution, restoredBy } from '../../../../src/cli/restore/noun.ts'
import { restoreStand, session } from '../../../support/platform/restore-stand.ts'

describe('an application whose nouns contribute nothing to a restore', () => {
  const stand = restoreStand([])
  const { write, read, moment, take, lookAgain } = stand

  test('its shard is restored, its sessions are deleted, and the output does not mention users', async () => {
    await write(session('0000ended'))
    const to = await moment()
    await write("DELETE FROM sessions WHERE id = '0000ended'")
    const { json, text } = await take(to)
    expect(await read('SELECT id FROM sessions')).toEqual([])
    expect(Object.keys(json as object)).toEqual(['shard', 'to', 'wayBack', 'migrated', 'sessionsDeleted'])
    expect(json).toMatchObject({ sessionsDeleted: 1 })
    expect(text).not.toMatch(/account|claim|password|token/)
  })

  test('a comparison reads no shard, because there is nothing to compare', async () => {
    const before = stand.platform.calls.length
    expect(await lookAgain()).toEqual({ json: {}, text: 'No rows of this application hold claims.' })
    expect(stand.platform.calls.length).toBe(before)
  })
})

const claims: ClaimHolders<{ id: string; sign: string }> = {
  table: 'shops',
  select: 'SELECT id, sign FROM shops',
  kinds: ['sign'],
  claimsOf: ({ sign }) => [{ kind: 'sign', key: keyOf(sign) }],
  names: { lacks: 'shop', id: 'shopId', lacking: 'lackingShops', rows: 'shops' },
  texts: {
    orphans: (count) => `${count} of missing shops.`,
    lacking: (count) => `${count} missing for existing shops.`,
    whole: 'Every shop has its sign.',
  },
}
/** A key whose first four digits are a slot. */
const keyOf = (sign: string): string => `0007${sign}`

const shops: RestoreContribution = {
  claims,
  revoked: [{ table: 'shop_keys', names: { row: 'shop key', deleted: 'shopKeysDeleted' } }],
}

describe('a noun with its own claims and keys, in addition to the accounts', () => {
  const { write, read, moment, take, listed, other } = restoreStand([accounts, shops])

  const setUp = async () => {
    await write('CREATE TABLE shops (id TEXT PRIMARY KEY NOT NULL, sign TEXT NOT NULL)')
    await write('CREATE TABLE shop_keys (id TEXT PRIMARY KEY NOT NULL)')
    const sql = 'CREATE TABLE shops (id TEXT PRIMARY KEY NOT NULL, sign TEXT NOT NULL)'
    await other().query([{ sql }])
    await other().query([
      { sql: "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', '0007', 'active', 1)" },
    ])
  }
  const claim = (key: string, kind: string, ownerId: string) =>
    other().query([
      {
        sql: "INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at) VALUES (?, ?, ?, 'a', 'confirmed', 1)",
        params: [key, kind, ownerId],
      },
    ])

  test('its keys are deleted, and inconsistent claims are listed with its names', async () => {
    await setUp()
    await write("INSERT INTO shops VALUES ('0000stays', 'oak'), ('0000bare', 'elm')")
    await write("INSERT INTO shop_keys VALUES ('0000key')")
    await claim(keyOf('oak'), 'sign', '0000stays')
    const to = await moment()
    await write("DELETE FROM shop_keys WHERE id = '0000key'")
    await write("INSERT INTO shops VALUES ('0001new', 'ash')")
    await claim(keyOf('ash'), 'sign', '0001new')
    const { json, text } = await take(to)
    expect(await read('SELECT id FROM shop_keys')).toEqual([])
    expect(listed('claims')).toEqual([
      { lacks: 'claim', key: keyOf('elm'), kind: 'sign', shopId: '0000bare' },
      { lacks: 'shop', key: keyOf('ash'), kind: 'sign', shopId: '0001new' },
    ])
    expect(json).toMatchObject({ mailTokensDeleted: 0, shopKeysDeleted: 1 })
    expect(json).toMatchObject({ lackingAccounts: 0, lackingShops: 1, lackingClaims: 1 })
    expect(text).toContain('0 sessions, 0 mailed tokens and 1 shop key were deleted.')
    expect(text).toContain('Every claim has its account, and every account its claims.\n1 claim of missing shops.')
  })

  test('a claim can only be an orphan of the noun that names its kind', async () => {
    await setUp()
    const to = await moment()
    await claim(keyOf('ash'), 'email', '0001gone')
    await claim(keyOf('elm'), 'of no noun', '0001gone')
    await take(to)
    expect(listed('claims')).toEqual([{ lacks: 'account', key: keyOf('ash'), kind: 'email', accountId: '0001gone' }])
  })
})

test('two nouns with credentials are refused', () => {
  expect(() => restoredBy([accounts, accounts])).toThrow('two nouns have credentials')
})
