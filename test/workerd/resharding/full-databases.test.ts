import { beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import { drive, mover, once, planMove, record, shards, steer } from '../../support/moving.ts'
import { fixedRandom } from '../../support/sharding-doubles.ts'

// A full database refuses statements that need a page, and accepts deletes. A read-only database refuses each write.

const claims = movedClaims(['kept'])
const { at, insert } = claims
let slot: string
let id: string
beforeEach(async () => {
  slot = claims.slot()
  id = (await planMove('claims', slot, 'shard-001')).id
})

const FULL = 'D1_ERROR: database or disk is full: SQLITE_FULL'
const READ_ONLY = 'D1_ERROR: attempt to write a readonly database: SQLITE_READONLY'

/** The shards, one of which refuses these statements because it is full, or for the given reason. */
function full(binding: string, refuses: RegExp, reason = FULL): Map<string, D1Database> {
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
            if (statements.some((statement) => refuses.test(texts.get(statement) ?? ''))) throw new Error(reason)
            return from.batch(statements)
          }
        const value = Reflect.get(from, name)
        return typeof value === 'function' ? value.bind(from) : value
      },
    })
  return new Map([...shards, [binding, connection(database)]])
}

/** Runs turns with these shards until the move has ended or has waited for a while. */
async function turns(over: Map<string, D1Database>, count = 6) {
  const one = mover({ shards: over })
  for (let turn = 0; turn < count; turn++) if ((await one.turn(id)) === null) break
  return record(id)
}

test('rows that do not fit fail the move', async () => {
  const before = await at('SHARD_000')
  const failed = await turns(full('SHARD_001', /^INSERT INTO "/))
  expect(failed).toMatchObject({ state: 'failed', hasLanes: false, interrupted: null })
  expect(failed.error).toMatch(/^shard-001 has no room left \(copy: .*SQLITE_FULL\)$/)
  expect(await at('SHARD_000')).toEqual(before)
  expect(await at('SHARD_001')).toEqual({ state: null, rows: {}, changes: 0 })
  await insert('goes-on')
})

test('an undo without room reports it, and is retried until there is some', async () => {
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
  'after the commit, a full %s loses nothing: the reason is visible, and the move continues when there is room',
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

/** One turn of a mover with a read-only shard. Resolves to the longest possible wait until the next turn. */
async function turnReadOnly(binding: string): Promise<number> {
  const one = mover({ shards: full(binding, /^(INSERT|UPDATE|DELETE)/, READ_ONLY), random: fixedRandom(1) })
  for (let turn = 0; turn < 8; turn++) await one.turn(id)
  return (await one.turn(id))! - systemClock.now()
}

test.each(['SHARD_000', 'SHARD_001'])(
  'after the commit, a read-only %s needs no decision: it is retried at once, because writers wait',
  async (binding) => {
    await mover({ pause: once('committed', () => Promise.reject(new Error('crash'))) }).turn(id)
    expect(await turnReadOnly(binding)).toBeLessThanOrEqual(limits.moveFencedRetryCapMs)
    expect(await record(id)).toMatchObject({
      ...{ state: 'committed', stuck: null, hasLanes: true },
      interrupted: expect.stringContaining('is read-only (raise'),
    })
    expect(await drive(id)).toMatchObject({ state: 'settling', interrupted: null })
  },
)

test('an undo at a read-only, fenced source is also retried at once', async () => {
  await mover({ pause: once('fenced', () => Promise.reject(new Error('crash'))) }).turn(id)
  await steer(id, 'abort')
  expect(await turnReadOnly('SHARD_000')).toBeLessThanOrEqual(limits.moveFencedRetryCapMs)
  expect(await record(id)).toMatchObject({ ending: 'aborted', stuck: null })
  expect(await drive(id)).toMatchObject({ state: 'aborted' })
  await insert('goes-on')
})
