import { afterEach, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import type { Mover, PausePoint } from '../../../src/resharding/move.ts'
import type { BatchObserver } from '../../../src/resharding/shard-side.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import { holdings, mover, once, planMove, record, settleNow, shards, steer } from '../../support/moving.ts'

// The platform allows an invocation 1,000 queries, and each statement of a batch counts as one.

const claims = movedClaims(['kept'])
const kept = { ...limits }
afterEach(() => void Object.assign(limits, kept))

/** The shards, which count the statements sent to them. */
function counted() {
  const sent = { statements: 0 }
  const connection = <C extends Pick<D1Database, 'batch'>>(database: C): C =>
    new Proxy(database, {
      get(one, name) {
        if (name === 'withSession')
          return () => connection((one as unknown as D1Database).withSession('first-primary') as never)
        if (name === 'batch')
          return (statements: D1PreparedStatement[]) => {
            sent.statements += statements.length
            return one.batch(statements)
          }
        const value = Reflect.get(one, name)
        return typeof value === 'function' ? value.bind(one) : value
      },
    })
  return { sent, shards: new Map([...shards].map(([binding, database]) => [binding, connection(database)])) }
}

/** Runs turns until the move has ended or settles. Returns what each sent, as the shards counted it. */
async function turns(
  id: string,
  pause: (point: PausePoint) => Promise<void> | void = () => undefined,
  observer: BatchObserver = { before: async () => undefined },
) {
  const { sent, shards: shardsOfTurn } = counted()
  const one: Mover = mover({ shards: shardsOfTurn, pause, observer })
  const each: number[] = []
  for (let turn = 0; turn < 60; turn++) {
    sent.statements = 0
    const comeBackAt = await one.turn(id)
    expect(one.statementsSent).toBe(sent.statements)
    each.push(sent.statements)
    const { state, interrupted } = await record(id)
    expect([null, 'the record has changed (changed)']).toContain(interrupted)
    const { state: source } = await claims.at('SHARD_000')
    if (source === 'fenced') throw new Error(`turn ${turn} ended with a fenced source`)
    if (comeBackAt === null || state === 'settling') return each
  }
  throw new Error('the move does not end')
}

test('a move of many rows over slow databases, its undo and its purge: no turn exceeds the limit, and each uses it', async () => {
  // The size of pieces when databases are slow.
  Object.assign(limits, { moveChunkRowsMax: 20, moveChunkRowsFirst: 20, movePurgeRowsMax: 5 })
  const slot = '0abc'
  await shards
    .get('SHARD_000')!
    .prepare(
      `INSERT INTO posts (id, author_id, text, created_at, version)
       WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1499)
       SELECT ? || printf('%022d', n), 'somebody', 'text', 1, 1 FROM numbers`,
    )
    .bind(slot)
    .run()
  const { id } = await planMove('users', slot, 'shard-001')
  const onTheWay = await turns(id)
  expect(Math.max(...onTheWay)).toBeLessThanOrEqual(1_000)
  expect(onTheWay.length).toBeGreaterThan(1)
  // A turn that ends because of its statements has used most of them.
  expect(Math.min(...onTheWay.slice(0, -1))).toBeGreaterThan(800)
  await settleNow(id)
  const purge = await turns(id)
  expect(Math.max(...purge)).toBeLessThanOrEqual(1_000)
  expect(purge.length).toBeGreaterThan(1)
  expect(await record(id)).toMatchObject({ state: 'done', rowsCopied: 1_500, rowsVerified: 1_500 })
  expect((await holdings('SHARD_001', 'users', slot)).rows.posts).toHaveLength(1_500)

  const back = await planMove('claims', claims.slot(), 'shard-001')
  Object.assign(limits, { invocationStatementsMax: 120, movePurgeRowsMax: 1 })
  for (let index = 0; index < 60; index++) await claims.insert(`row-${index}`)
  await turns(
    back.id,
    once('caught-up', () => steer(back.id, 'abort')),
  )
  expect((await record(back.id)).state).toBe('aborted')
  expect(await claims.at('SHARD_001')).toEqual({ state: null, rows: {}, changes: 0 })
}, 30_000)

test.each([112, 123, 134, 145])(
  'with %i statements, a turn never ends with a fenced source, however many changes the fence finds',
  async (statements) => {
    const { id } = await planMove('claims', claims.slot(), 'shard-001')
    Object.assign(limits, { invocationStatementsMax: statements, moveTailRowsMax: 1 })
    let isHot = true
    const observer = {
      async before(_: string, operation: string) {
        if (operation !== 'fence' || !isHot) return
        isHot = false
        for (let index = 0; index < 12; index++) await claims.insert(`late-${index}`)
      },
    }
    const each = await turns(id, undefined, observer)
    expect(Math.max(...each)).toBeLessThanOrEqual(statements)
    const { state, attemptsGivenUp } = await record(id)
    // The tail needed more statements than were left, so the attempt was given up before they were spent.
    expect(state).toBe('settling')
    expect(attemptsGivenUp).toBeGreaterThan(0)
    expect((await claims.at('SHARD_001')).rows.claims).toHaveLength(13)
  },
)
