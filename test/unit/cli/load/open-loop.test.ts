import { expect, test } from 'vitest'
import { type OpenLoop, openLoop } from '../../../../src/cli/load/open-loop.ts'
import { VirtualTime } from '../../../support/virtual-time.ts'

const newCounts = () => ({ planned: 0, dropped: 0, late: 0, inFlight: 0 })

/** Runs a loop for one second at 10 requests per second, each of which takes `takesMs`. */
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

test('requests start at their times, even if earlier ones are unanswered', async () => {
  const { starts, counts, mostInFlight, endedAt } = await loop(5_000)
  expect(starts).toEqual(tenths)
  expect(counts).toEqual({ planned: 10, dropped: 0, late: 0, inFlight: 0 })
  expect(mostInFlight).toBe(10)
  // The loop waits for the last answer.
  expect(endedAt).toBe(5_900)
})

test('a request that can’t start because too many are in flight is counted as dropped', async () => {
  const { starts, counts, mostInFlight } = await loop(450, { inFlightMax: 3 })
  expect(starts).toEqual([0, 100, 200, 500, 600, 700])
  expect(counts).toEqual({ planned: 10, dropped: 4, late: 0, inFlight: 0 })
  expect(mostInFlight).toBe(3)
})

test('a request that no user may send now is counted as dropped', async () => {
  const { counts } = await loop(1, { start: () => null })
  expect(counts).toEqual({ planned: 10, dropped: 10, late: 0, inFlight: 0 })
})

test('a late generator starts all due requests with their planned times, and counts them as late', async () => {
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

test('it ends when it is told to, and after the maximum number of requests', async () => {
  let isStopped = false
  const start = async () => {
    isStopped = true
  }
  expect((await loop(1, { start, isOver: () => isStopped })).counts.planned).toBe(1)
  expect((await loop(1, { most: 4 })).starts).toEqual(tenths.slice(0, 4))
})

test('a bug in a request ends the run with its error', async () => {
  const start = async () => {
    throw new Error('a bug')
  }
  await expect(loop(1, { start })).rejects.toThrow('a bug')
})
