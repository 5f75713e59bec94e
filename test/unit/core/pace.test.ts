import { expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { Pace } from '../../../src/core/pace.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'

const clock = () => new ManualClock()
const first = limits.moveChunkRowsFirst

async function after(roundMs: number, rounds: number, isFull = true): Promise<number> {
  const time = clock()
  const pace = new Pace(time, 1)
  for (let round = 0; round < rounds; round++)
    await pace.round(
      async () => time.advance(roundMs),
      () => isFull,
    )
  return pace.rowsMax
}

test('chunks grow while rounds are fast, up to a limit', async () => {
  expect(await after(10, 1)).toBe(first * 2)
  expect(await after(10, 20)).toBe(limits.moveChunkRowsMax)
})

test('chunks don’t grow while bytes limit them before rows do', async () => {
  expect(await after(10, 20, false)).toBe(first)
})

test('chunks shrink while rounds are slow, down to a limit, full or not', async () => {
  expect(await after(limits.moveBatchMs * 3, 1)).toBe(first >> 1)
  expect(await after(limits.moveBatchMs * 3, 20, false)).toBe(limits.moveChunkRowsMin)
})

test('chunks keep their size while rounds take about the target time', async () => {
  expect(await after(limits.moveBatchMs, 20)).toBe(first)
})

test.each([
  [1, 100, []],
  [0.5, 100, [100]],
  [0.25, 100, [300]],
  [0.25, 0, []],
])('with a share of %d, a round of %d ms is followed by a rest of %j ms', async (share, roundMs, rests) => {
  const time = clock()
  await new Pace(time, share).round(async () => time.advance(roundMs))
  expect(time.slept).toEqual(rests)
})
