import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import { drive, mover, once, planMove, record, shards } from '../../support/moving.ts'
import { linkedDatabase, silence } from '../../support/sharding-doubles.ts'

// A source or directory that never answers. A turn ends in time, and the move continues when it returns.

const claims = movedClaims(['kept'])
const { at } = claims
let id: string
beforeEach(async () => {
  id = (await planMove('claims', claims.slot(), 'shard-001')).id
})

const { moveCallMs } = limits
beforeAll(() => void Object.assign(limits, { moveCallMs: 100 }))
afterAll(() => void Object.assign(limits, { moveCallMs }))

/** The shards, with a source that falls silent after a number of calls. */
function silentAfter(calls: number) {
  let left = calls
  const source = linkedDatabase(shards.get('SHARD_000')!, (send) => (left-- > 0 ? send() : silence()))
  return new Map([...shards, ['SHARD_000', source]])
}

test.each([0, 1, 2, 3])('a source that falls silent after %i calls ends the turn in time', async (calls) => {
  const startedAt = systemClock.now()
  const comeBackAt = await mover({ shards: silentAfter(calls) }).turn(id)
  expect(comeBackAt).not.toBeNull()
  expect(systemClock.now() - startedAt).toBeLessThan(limits.moveCallMs + 3_000)
  expect((await drive(id)).state).toBe('settling')
})

test('a fenced source that falls silent stays fenced until it answers, and is then handed over', async () => {
  const crash = () => {
    throw new Error('crash')
  }
  await mover({ pause: once('fenced', crash) }).turn(id)
  const startedAt = systemClock.now()
  await mover({ shards: silentAfter(0) }).turn(id)
  expect(systemClock.now() - startedAt).toBeLessThan(limits.moveCallMs + 3_000)
  expect([(await record(id)).state, (await at('SHARD_000')).state]).toEqual(['cutover', 'fenced'])
  expect((await drive(id)).state).toBe('settling')
})
