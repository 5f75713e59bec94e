import { beforeEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import { drive, mover, once, planMove, record, shards, steer } from '../../support/moving.ts'

// A target that is away while the source is fenced: users of the source must not wait for it.

const claims = movedClaims(['kept'])
const { at, insert } = claims
let slot: string
let id: string
beforeEach(async () => {
  slot = claims.slot()
  id = (await planMove('claims', slot, 'shard-001')).id
})

const crash = () => {
  throw new Error('crash')
}

/** The shards, but for a target each of whose batches ends like this. */
const withTarget = (batch: () => Promise<never>) =>
  new Map([...shards, ['SHARD_001', { prepare: shards.get('SHARD_001')!.prepare, batch } as unknown as D1Database]])

const lost = withTarget(async () => {
  throw new Error('Network connection lost.')
})
const silent = withTarget(() => new Promise(() => undefined))

const overBudget: Clock = {
  ...systemClock,
  now: () => systemClock.now() + limits.moveCutoverBudgetMs + 1,
}

/** A mover dies between the fence and the commit. */
async function fenced(): Promise<void> {
  await mover({ pause: once('fenced', crash) }).turn(id)
  expect((await at('SHARD_000')).state).toBe('fenced')
}

test.each([
  ['answers with errors', lost],
  ['does not answer at all', silent],
])(
  'a target that %s has its attempt given up, and the source takes writes; when it is back, the move goes on',
  async (_, away) => {
    await fenced()
    const { attempt } = await record(id)
    await mover({ shards: away, clock: overBudget }).turn(id)
    expect(await record(id)).toMatchObject({ state: 'cutover', attempt: attempt + 1 })
    expect((await at('SHARD_000')).state).toBe('moving')
    await insert('inserted')
    const { rows } = await at('SHARD_000')

    // Once is enough: no attempt is used up while nothing is fenced.
    await mover({ shards: away, clock: overBudget }).turn(id)
    expect((await record(id)).attempt).toBe(attempt + 1)
    expect((await drive(id)).state).toBe('settling')
    expect(await at('SHARD_001')).toMatchObject({ state: 'moving', rows })
  },
)

describe('a target that is away', () => {
  test('is waited for while the attempt is within its budget', async () => {
    await fenced()
    const { attempt } = await record(id)
    await mover({ shards: lost }).turn(id)
    expect([(await record(id)).attempt, (await at('SHARD_000')).state]).toEqual([attempt, 'fenced'])
    expect((await drive(id)).state).toBe('settling')
  })

  test('does not keep an abort from the source, which is as it was; the target’s rows go when it is back', async () => {
    await fenced()
    const { rows } = await at('SHARD_000')
    await steer(id, 'abort')
    await mover({ shards: lost }).turn(id)
    expect(await record(id)).toMatchObject({ state: 'cutover', ending: 'aborted' })
    expect(await at('SHARD_000')).toEqual({ state: 'active', rows, changes: 0 })
    await insert('inserted')
    expect((await drive(id)).state).toBe('aborted')
    expect(await at('SHARD_001')).toEqual({ state: null, rows: {}, changes: 0 })
  })

  test('fails the move after the last attempt, and the source goes on', async () => {
    await fenced()
    const { attempt } = await record(id)
    const { moveCutoverAttemptsMax } = limits
    Object.assign(limits, { moveCutoverAttemptsMax: attempt })
    try {
      await mover({ shards: lost, clock: overBudget }).turn(id)
    } finally {
      Object.assign(limits, { moveCutoverAttemptsMax })
    }
    expect(await record(id)).toMatchObject({ ending: 'failed', error: expect.stringContaining('attempts to cut over') })
    await mover({ shards: lost }).turn(id)
    expect((await at('SHARD_000')).state).toBe('active')
    expect((await drive(id)).state).toBe('failed')
  })
})

test('a target that falls silent inside the pause ends it in time', async () => {
  const target = shards.get('SHARD_001')!
  let isSilent = false
  const falling = new Map(shards)
  falling.set('SHARD_001', {
    prepare: (sql: string) => target.prepare(sql),
    batch: (statements: D1PreparedStatement[]) => (isSilent ? new Promise(() => undefined) : target.batch(statements)),
    withSession: (start: D1SessionConstraint) => {
      const session = target.withSession(start)
      return {
        prepare: (sql: string) => session.prepare(sql),
        batch: (statements: D1PreparedStatement[]) =>
          isSilent ? new Promise(() => undefined) : session.batch(statements),
        getBookmark: () => session.getBookmark(),
      }
    },
  } as unknown as D1Database)
  const startedAt = systemClock.now()
  const pause = once('attempt', () => {
    isSilent = true
  })
  const one = mover({ shards: falling, pause })
  while ((await at('SHARD_000')).state !== 'moving' || (await record(id)).attempt < 2) await one.turn(id)
  expect(systemClock.now() - startedAt).toBeLessThan(limits.moveCutoverBudgetMs + limits.moveTargetWaitMs + 2_000)
  isSilent = false
  expect((await drive(id)).state).toBe('settling')
})
