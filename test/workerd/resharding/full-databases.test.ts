import { beforeEach, expect, test } from 'vitest'
import { movedClaims } from '../../support/moved-claims.ts'
import { drive, mover, once, planMove, record, shards } from '../../support/moving.ts'

// A database with no room left: it refuses whatever needs a page, and deletes.

const claims = movedClaims(['kept'])
const { at, insert } = claims
let slot: string
let id: string
beforeEach(async () => {
  slot = claims.slot()
  id = (await planMove('claims', slot, 'shard-001')).id
})

/** The shards, one of which refuses these statements for want of room. */
function full(binding: string, refuses: RegExp): Map<string, D1Database> {
  const database = shards.get(binding)!
  const texts = new WeakMap<object, string>()
  const named = (sql: string, statement: D1PreparedStatement): D1PreparedStatement => {
    texts.set(statement, sql)
    return new Proxy(statement, {
      get: (one, name) =>
        name === 'bind' ? (...values: unknown[]) => marked(sql, one.bind(...values)) : Reflect.get(one, name),
    })
  }
  const marked = (sql: string, statement: D1PreparedStatement) => {
    texts.set(statement, sql)
    return statement
  }
  const connection = <C extends Pick<D1Database, 'prepare' | 'batch'>>(one: C): C =>
    new Proxy(one, {
      get(from, name) {
        if (name === 'prepare') return (sql: string) => named(sql, from.prepare(sql))
        if (name === 'withSession')
          return () => connection((from as unknown as D1Database).withSession('first-primary') as never)
        if (name === 'batch')
          return async (statements: D1PreparedStatement[]) => {
            if (statements.some((statement) => refuses.test(texts.get(statement) ?? '')))
              throw new Error('D1_ERROR: database or disk is full: SQLITE_FULL')
            return from.batch(statements)
          }
        const value = Reflect.get(from, name)
        return typeof value === 'function' ? value.bind(from) : value
      },
    })
  return new Map([...shards, [binding, connection(database)]])
}

/** Turns with these shards, until the move is over or has waited for a while. */
async function turns(over: Map<string, D1Database>, count = 6) {
  const one = mover({ shards: over })
  for (let turn = 0; turn < count; turn++) if ((await one.turn(id)) === null) break
  return record(id)
}

test('rows that find no room fail the move', async () => {
  const before = await at('SHARD_000')
  const failed = await turns(full('SHARD_001', /^INSERT INTO "/))
  expect(failed).toMatchObject({ state: 'failed', hasLanes: false, interrupted: null })
  expect(failed.error).toMatch(/^shard-001 has no room left \(copy: .*SQLITE_FULL\)$/)
  expect(await at('SHARD_000')).toEqual(before)
  expect(await at('SHARD_001')).toEqual({ state: null, rows: {}, changes: 0 })
  await insert('goes-on')
})

test('an undo that finds no room says so, and is tried again until there is some', async () => {
  await turns(full('SHARD_001', /^(INSERT INTO "|DELETE)/))
  expect(await record(id)).toMatchObject({
    ...{ ending: 'failed', stuck: null },
    interrupted: expect.stringContaining('shard-001 has no room left (drop'),
  })
  expect((await at('SHARD_000')).state).toBe('active')
  expect(await drive(id)).toMatchObject({ state: 'failed', interrupted: null })
  expect(await at('SHARD_001')).toEqual({ state: null, rows: {}, changes: 0 })
})

test.each([
  ['target', 'SHARD_001', 'activate'],
  ['source', 'SHARD_000', 'retire'],
])(
  'after the commit a full %s loses nothing: the reason is visible, and the move continues when there is room',
  async (_, binding, step) => {
    const { rows } = await at('SHARD_000')
    await mover({ pause: once('committed', () => Promise.reject(new Error('crash'))) }).turn(id)
    const waiting = await turns(full(binding, /^UPDATE slots/), 3)
    expect(waiting).toMatchObject({
      state: 'committed',
      stuck: null,
      interrupted: expect.stringContaining(`no room left (${step}`),
    })
    expect(await drive(id)).toMatchObject({ state: 'settling', interrupted: null })
    expect(await at('SHARD_001')).toMatchObject({ state: 'moving', rows })
  },
)
