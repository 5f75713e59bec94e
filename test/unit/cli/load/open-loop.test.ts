import { expect, test } from 'vitest'
import { type OpenLoop, openLoop } from '../../../../src/cli/load/open-loop.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

const newCounts = () => ({ planned: 0, dropped: 0, late: 0, inFlight: 0 })

/** Runs a loop for a second, at 10 requests a second, each of which takes so long. */
async function loop(takesMs: number, options: Partial<OpenLoop> = {}, time = new VirtualTime()) {
  const counts = newCounts()
  const starts: number[] = []
  let mostInFlight = 0
  const work = openLoop({
    rate: 10,
    clock: time,
    most: 1_000,
    inFlightMax: 500,
    isOver: (plannedAt) => plannedAt >= 1_000,
    start: () => {
      starts.push(time.now())
      return time.sleep(takesMs)
    },
    counts,
    ...options,
  })
  const watched = (async () => {
    for (;;) {
      mostInFlight = Math.max(mostInFlight, counts.inFlight)
      await time.sleep(10)
    }
  })()
  await time.until(Promise.race([work, watched]))
  return { counts, starts, mostInFlight, endedAt: time.now() }
}

const tenths = [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]

test('requests begin at their times, whether those before were answered or not', async () => {
  const { starts, counts, mostInFlight, endedAt } = await loop(5_000)
  expect(starts).toEqual(tenths)
  expect(counts).toEqual({ planned: 10, dropped: 0, late: 0, inFlight: 0 })
  expect(mostInFlight).toBe(10)
  // The last one's answer is waited for.
  expect(endedAt).toBe(5_900)
})

test('what can’t begin because too many are in flight is dropped, and counted', async () => {
  const { starts, counts, mostInFlight } = await loop(450, { inFlightMax: 3 })
  expect(starts).toEqual([0, 100, 200, 500, 600, 700])
  expect(counts).toEqual({ planned: 10, dropped: 4, late: 0, inFlight: 0 })
  expect(mostInFlight).toBe(3)
})

test('what nobody may send now is dropped, and counted', async () => {
  const { counts } = await loop(1, { start: () => null })
  expect(counts).toEqual({ planned: 10, dropped: 10, late: 0, inFlight: 0 })
})

test('a generator that wakes late begins all that is due, each with its own plan, and says so', async () => {
  const time = new VirtualTime()
  const late: OpenLoop['clock'] = { ...time, sleep: (ms) => time.sleep(ms + (time.now() === 200 ? 240 : 0)) }
  const plans: [number, number][] = []
  const start = async (plannedAt: number) => {
    plans.push([plannedAt, time.now()])
  }
  const { counts } = await loop(1, { clock: late, start }, time)
  expect(plans.slice(2, 6)).toEqual([
    [200, 200],
    [300, 540],
    [400, 540],
    [500, 540],
  ])
  expect(counts).toEqual({ planned: 10, dropped: 0, late: 2, inFlight: 0 })
})

test('it ends when it is told to, and after the most it may send', async () => {
  let isStopped = false
  const start = async () => {
    isStopped = true
  }
  expect((await loop(1, { start, isOver: () => isStopped })).counts.planned).toBe(1)
  expect((await loop(1, { most: 4 })).starts).toEqual(tenths.slice(0, 4))
})

test('a bug in a request ends the run, and isn’t counted away', async () => {
  const start = async () => {
    throw new Error('a bug')
  }
  await expect(loop(1, { start })).rejects.toThrow('a bug')
})
