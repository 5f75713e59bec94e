import { expect, test } from 'vitest'
import { backfillWorld } from '../../support/backfill-world.ts'

test('killed twice, while slots move and users write: every row once, and no user’s value overwritten', async () => {
  const world = await backfillWorld({ rows: 2_000, seed: 1 })
  const { start, backfills } = world.isolate()
  for (let count = 0; count < 20; count++) await world.writeAny()
  expect(await backfills.list()).toEqual([{ name: 'names', table: 'profiles', state: 'none', progress: 0 }])
  expect(await start()).toMatchObject({ state: 'waiting' })
  let chunks = 0
  const kill = ({ operation }: { operation: string }, moment: 'before' | 'after') =>
    operation === 'backfills.names' && moment === (chunks < 60 ? 'before' : 'after') && [40, 80].includes(++chunks)
  const moves = async () => {
    await world.move('0000', '0fff', 'shard-001')
    await world.move('c800', 'd7ff', 'shard-002')
  }
  const writes = async () => {
    for (let count = 0; count < 60; count++) await world.writeAny()
  }
  await Promise.all([world.drain(kill), moves(), writes()])
  await world.drain()
  expect(world.deaths).toBe(2)
  await world.check()
  expect(await backfills.list()).toMatchObject([{ state: 'done', progress: 1 }])
})
