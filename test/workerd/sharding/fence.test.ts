import { beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { type FencedTable, fencedTable, fenceTriggers } from '../../../src/sharding/fence-sql.ts'
import { findRegistration, type Keyspace } from '../../../src/sharding/sharded-table.ts'
import { ManualClock, routedShards } from '../../support/sharding-doubles.ts'
import {
  databases,
  rejectionOf,
  type SlotState,
  setSlot,
  slotStatement,
  slotStates,
} from '../../support/sharding-slots.ts'

const shard = databases.SHARD_000
const SLOT = '00aa'
const NEIGHBOUR = '00ab' // always active
const idIn = (slot: string, name: string) => `${slot}01jd${name.padStart(22, '0')}`
const OLD = idIn(SLOT, 'a1')
const NEW = idIn(SLOT, 'b2')
const ABSENT = idIn(SLOT, 'c3')

interface Noun {
  keyspace: Keyspace
  table: string
  key: string
  insert: string
  update: string
}

const nouns: Noun[] = [
  {
    keyspace: 'users',
    table: 'profiles',
    key: 'id',
    insert: "INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, 'h', 'd', 'b', 1, 1)",
    update: "bio = 'changed'",
  },
  {
    keyspace: 'claims',
    table: 'claims',
    key: 'key',
    insert:
      "INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at) VALUES (?, 'email', 'o', 'a', 'reserved', 1)",
    update: "state = 'confirmed'",
  },
]

const writes = ['insert', 'update', 'delete', 'upsert', 'update of no row', 'delete of no row'] as const
type Write = (typeof writes)[number]

function statementOf(database: D1Database, noun: Noun, write: Write): D1PreparedStatement {
  const { table, key, insert, update } = noun
  const statements = {
    insert: [insert, NEW],
    update: [`UPDATE ${table} SET ${update} WHERE ${key} = ?`, OLD],
    delete: [`DELETE FROM ${table} WHERE ${key} = ?`, OLD],
    upsert: [`${insert} ON CONFLICT (${key}) DO UPDATE SET ${update}`, OLD],
    'update of no row': [`UPDATE ${table} SET ${update} WHERE ${key} = ?`, ABSENT],
    'delete of no row': [`DELETE FROM ${table} WHERE ${key} = ?`, ABSENT],
  } as const
  const [sql, id] = statements[write]
  return database.prepare(sql).bind(id)
}

/** The refusal of an application's write to a slot in this state. */
const refusalOf = (state: SlotState) =>
  state === 'active' || state === 'moving'
    ? null
    : state === 'fenced' || state === 'importing'
      ? 'SLOT_FENCED'
      : 'SLOT_NOT_OWNED'

const meetsRow = (write: Write) => !write.endsWith('of no row')
const capturedKey = (write: Write) => (meetsRow(write) ? (write === 'insert' ? NEW : OLD) : null)

/** The slot and its neighbour in their states, with one row in the slot and no captured changes. */
async function prepare({ keyspace, table, insert }: Noun, state: SlotState) {
  await shard.batch([
    slotStatement(shard, keyspace, SLOT, 'active'),
    slotStatement(shard, keyspace, NEIGHBOUR, 'active'),
    shard.prepare(`DELETE FROM ${table}`),
    shard.prepare(insert).bind(OLD),
    slotStatement(shard, keyspace, SLOT, state),
    shard.prepare('DELETE FROM slot_changes'),
  ])
}

const contents = async (table: string) =>
  JSON.stringify(
    (await shard.batch([shard.prepare(`SELECT * FROM ${table}`), shard.prepare('SELECT * FROM slot_changes')])).map(
      ({ results }) => results,
    ),
  )

const captures = async () => (await shard.prepare('SELECT DISTINCT move_id, tbl, pk FROM slot_changes').all()).results

// Backoffs pass a hundred times as fast, so that a refused write takes three round trips instead of seventeen.
const shards = routedShards({ databases, clock: new ManualClock(1_000_000, 100) }).shards

describe.each(nouns)('in keyspace $keyspace', (noun) => {
  const cases = slotStates.flatMap((state) => writes.map((write) => [state, write] as const))

  test.each(cases)('slot %s, %s: row triggers alone', async (state, write) => {
    await prepare(noun, state)
    const before = await contents(noun.table)
    const refusal = meetsRow(write) ? refusalOf(state) : null // a write that matches no row fires no row trigger, hence the guard
    const sent = statementOf(shard, noun, write).run()
    if (refusal) expect((await rejectionOf(sent)).message).toContain(`D1_ERROR: ${refusal}:`)
    else await sent
    if (refusal || !meetsRow(write)) expect(await contents(noun.table)).toBe(before)
    else expect(await contents(noun.table)).not.toBe(before)
  })

  test.each(cases)('slot %s, %s: routed, alone', async (state, write) => {
    await prepare(noun, state)
    const before = await contents(noun.table)
    const sent = statementOf(shards.of(SLOT, { keyspace: noun.keyspace }), noun, write).run()
    const refusal = refusalOf(state)
    if (refusal) {
      expect(await rejectionOf(sent)).toMatchObject({ code: refusal, status: 503, retryAfterSeconds: 1 })
      expect(await contents(noun.table)).toBe(before)
      return
    }
    expect((await sent).meta.changes).toBe(meetsRow(write) ? 1 : 0)
    const key = state === 'moving' ? capturedKey(write) : null
    expect(await captures()).toEqual(key ? [{ move_id: 'move-1', tbl: noun.table, pk: JSON.stringify([key]) }] : [])
  })

  const placed = cases.flatMap(([state, write]) =>
    (['first', 'last'] as const).map((at) => [state, write, at] as const),
  )

  test.each(placed)('slot %s, %s: %s of a routed batch of three', async (state, write, at) => {
    await prepare(noun, state)
    const before = await contents(noun.table)
    const refusal = refusalOf(state)

    const own = shards.of(SLOT, { keyspace: noun.keyspace })
    const offending = statementOf(own, noun, write)
    const fillers = ['d4', 'e5'].map((name) => own.prepare(noun.insert).bind(idIn(SLOT, name)))
    const sent = own.batch(at === 'first' ? [offending, ...fillers] : [...fillers, offending])
    if (refusal) {
      expect(await rejectionOf(sent)).toMatchObject({ code: refusal })
      expect(await contents(noun.table)).toBe(before)
    } else expect((await sent).map(({ meta }) => meta.changes).sort()).toEqual(meetsRow(write) ? [1, 1, 1] : [0, 1, 1])

    // The guard names the neighbour, which is active. The offending statement writes outside that slot, so its row's
    // trigger answers.
    if (!refusal || !meetsRow(write)) return
    const other = shards.of(NEIGHBOUR, { keyspace: noun.keyspace })
    const foreign = statementOf(other, noun, write)
    const good = ['d4', 'e5'].map((name) => other.prepare(noun.insert).bind(idIn(NEIGHBOUR, name)))
    const reaching = other.batch(at === 'first' ? [foreign, ...good] : [...good, foreign])
    expect(await rejectionOf(reaching)).toMatchObject({ code: refusal })
    expect(await contents(noun.table)).toBe(before)
  })

  test.each(slotStates)('slot %s: the mover writes only while its window is open', async (state) => {
    await prepare(noun, state)
    const before = await contents(noun.table)
    const window = (open: number) => shard.prepare('UPDATE mover SET open = ?').bind(open)
    const opened = shard.batch([window(1), statementOf(shard, noun, 'delete'), window(0)])
    const isOpen = state !== 'fenced' && state !== null
    if (isOpen) {
      await opened
      expect(await contents(noun.table)).not.toBe(before)
    } else {
      expect((await rejectionOf(opened)).message).toContain(refusalOf(state)!)
      expect(await contents(noun.table)).toBe(before)
    }
    expect(await shard.prepare('SELECT open FROM mover').first('open')).toBe(0)
  })

  test.each(['active', 'moving'] as const)(
    'slot %s: a changed primary key is refused, into and out of the slot',
    async (state) => {
      await prepare(noun, state)
      const before = await contents(noun.table)
      for (const to of [ABSENT, idIn(NEIGHBOUR, 'a1')]) {
        const sql = `UPDATE ${noun.table} SET ${noun.key} = ? WHERE ${noun.key} = ?`
        expect((await rejectionOf(shard.prepare(sql).bind(to, OLD).run())).message).toContain('PRIMARY_KEY_CHANGED')
        expect(await contents(noun.table)).toBe(before)
      }
      // An update to the same value is not a change.
      await shard.prepare(`UPDATE ${noun.table} SET ${noun.key} = ${noun.key} WHERE ${noun.key} = ?`).bind(OLD).run()
    },
  )
})

test('a slot belongs to its keyspace: the same slot may be fenced in one and active in the other', async () => {
  const [users, claims] = nouns as [Noun, Noun]
  await prepare(users, 'fenced')
  await prepare(claims, 'active')
  await statementOf(shards.of(SLOT, { keyspace: 'claims' }), claims, 'update').run()
  expect(await rejectionOf(statementOf(shards.of(SLOT), users, 'update').run())).toMatchObject({ code: 'SLOT_FENCED' })
})

describe('a row of 262,144 bytes is the largest', () => {
  const FIXED = 30 + 1 + 1 + 1 + 1 // id, handle, display_name, created_at, version
  const insert = 'INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, ?, ?, ?, 1, 1)'
  const text = { ascii: 'x', 'two bytes a letter': 'é' }

  beforeEach(() => prepare(nouns[0]!, 'active'))

  test.each(['ascii', 'two bytes a letter'] as const)('%s', async (alphabet) => {
    expect(limits.rowBytesMax).toBe(262_144)
    const largest = text[alphabet].repeat((262_144 - FIXED) / new TextEncoder().encode(text[alphabet]).length)
    const database = shards.of(SLOT)
    await database.prepare(insert).bind(NEW, 'h', 'd', largest).run()
    const update = database.prepare('UPDATE profiles SET bio = ?, display_name = ? WHERE id = ?')
    await update.bind(largest, 'd', OLD).run()

    const before = await contents('profiles')
    for (const sent of [
      database.prepare(insert).bind(ABSENT, 'h', 'dd', largest),
      update.bind(largest, 'dd', OLD),
      database.prepare(`${insert} ON CONFLICT (id) DO UPDATE SET display_name = 'dd'`).bind(NEW, 'h', 'd', 'small'),
    ])
      expect(await rejectionOf(sent.run())).toMatchObject({ code: 'ROW_TOO_LARGE', status: 422 })
    expect((await contents('profiles')) === before).toBe(true)
  })
})

describe('the mover’s row', () => {
  const state = () => shard.prepare('SELECT step, open FROM mover').all()

  test.each([
    ['deleted', 'DELETE FROM mover', 'MOVER_ROW_STAYS'],
    ['lowered', 'UPDATE mover SET step = step - 1', 'MOVER_STEP_FELL'],
    ['given another id', 'UPDATE mover SET id = 2', 'MOVER_STEP_FELL'],
    ['doubled', 'INSERT INTO mover (id, step) VALUES (2, 9)', 'MOVER_ROW_STAYS'],
    ['replaced by a lower one', 'REPLACE INTO mover (id, step) VALUES (1, -1)', 'MOVER_ROW_STAYS'],
  ])('can’t be %s', async (_, sql, refusal) => {
    const before = (await state()).results
    expect((await rejectionOf(shard.prepare(sql).run())).message).toContain(refusal)
    expect((await state()).results).toEqual(before)
  })

  test('a step rises by exactly one for a batch that expects it, and a late batch changes nothing', async () => {
    const step = (await shard.prepare('SELECT step FROM mover').first<number>('step'))!
    const raise = (expected: number | null) => [
      shard.prepare('INSERT INTO mover_step (expected) VALUES (?)').bind(expected),
      shard.prepare("UPDATE mover SET cursors = 'mine'"),
    ]
    for (const wrong of [step - 1, step + 1, null])
      expect((await rejectionOf(shard.batch(raise(wrong)))).message).toContain('STEP_MISMATCH')
    expect(await shard.prepare('SELECT step, cursors FROM mover').first()).toEqual({ step, cursors: '{}' })
    await shard.batch(raise(step))
    expect(await shard.prepare('SELECT step, cursors FROM mover').first()).toEqual({ step: step + 1, cursors: 'mine' })
    // The same batch delivered twice.
    expect((await rejectionOf(shard.batch(raise(step)))).message).toContain('STEP_MISMATCH')
  })
})

describe('every sharded table', () => {
  const schemas = import.meta.glob<Record<string, object>>('../../../src/**/schema.ts', { eager: true })
  const declared = Object.values(schemas).flatMap((schema) => Object.values(schema))
  const tables: FencedTable[] = declared
    .filter((value) => findRegistration(value as Parameters<typeof findRegistration>[0]))
    .map((table) => fencedTable(table as Parameters<typeof fencedTable>[0]))

  test.each(tables)('$name has its three triggers', async (table) => {
    const wanted = fenceTriggers(table)
    expect(wanted.map(({ name }) => name)).toEqual(
      ['insert', 'update', 'delete'].map((event) => `${table.name}_fence_${event}`),
    )
    const { results } = await shard
      .prepare("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? ORDER BY rowid")
      .bind(table.name)
      .all<{ name: string; sql: string }>()
    const found = new Map(results.map(({ name, sql }) => [name, sql]))
    for (const { name, sql } of wanted) expect(found.get(name)).toBe(sql)
  })

  test('is declared, or was: a table with neither a declaration nor a fence belongs to the fence', async () => {
    const own = ['mover', 'shard_identity', 'slot_changes', 'slots']
    const { results } = await shard
      .prepare(
        `SELECT name FROM sqlite_master AS tables WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         AND NOT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = tables.name || '_fence_insert')`,
      )
      .all<{ name: string }>()
    const undeclared = results
      .map(({ name }) => name)
      .filter((name) => !name.startsWith('_cf_') && name !== 'd1_migrations')
    expect(undeclared.sort()).toEqual(own)
  })
})

test('the table itself refuses slots without a valid state', async () => {
  const odd = shard.prepare("INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', 'beef', 'resting', 1)")
  expect((await rejectionOf(odd.run())).message).toContain('CHECK constraint failed')
  await setSlot(shard, 'users', 'beef', null)
})
