import { afterEach, expect, test, vi } from 'vitest'
import { inTime, systemClock, TimeBudget } from '../../../src/core/clock.ts'
import { ManualClock, silence } from '../../support/sharding-doubles.ts'

afterEach(() => void vi.useRealTimers())

test.each([
  ['is done', async () => 'done'],
  [
    'fails',
    async () => {
      throw new Error('failed')
    },
  ],
])('no timer stays behind when the work %s', async (_, work) => {
  vi.useFakeTimers()
  await inTime(systemClock, 5_000, work()).catch((error) => error)
  expect(vi.getTimerCount()).toBe(0)
})

test('work without an answer is late after its time, and not before', async () => {
  const clock = new ManualClock()
  let outcome = 'waits'
  const waited = inTime(clock, 2_000, silence()).catch((error: Error) => {
    outcome = error.message
  })
  clock.advance(1_999)
  await Promise.resolve()
  expect([outcome, clock.pending]).toEqual(['waits', 1])
  clock.advance(1)
  await waited
  expect([outcome, clock.pending]).toEqual(['no answer within 2000 ms', 0])
})

test('an error that arrives after the time is up is ignored', async () => {
  const unhandled = vi.fn()
  process.on('unhandledRejection', unhandled)
  const clock = new ManualClock()
  const { promise, reject } = Promise.withResolvers<never>()
  const waited = inTime(clock, 10, promise).catch((error: Error) => error.message)
  clock.advance(10)
  expect(await waited).toBe('no answer within 10 ms')
  reject(new Error('too late'))
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', unhandled)
  expect(unhandled).not.toHaveBeenCalled()
})

test('a sleep aborted before it starts sets no timer', () => {
  vi.useFakeTimers()
  void systemClock.sleep(1_000, AbortSignal.abort())
  expect(vi.getTimerCount()).toBe(0)
})

test('uncounted work takes nothing from a time budget', async () => {
  const clock = new ManualClock()
  const time = new TimeBudget(clock, 100)
  clock.time += 30
  const sent = Promise.withResolvers<string>()
  const received = time.uncounted(sent.promise)
  clock.time += 5_000
  sent.resolve('a body')
  expect([await received, time.leftMs]).toEqual(['a body', 70])
})

test('a time budget is spent when its time is over, and can be restarted', () => {
  const clock = new ManualClock()
  const time = new TimeBudget(clock, 100)
  clock.time += 99
  expect([time.leftMs, time.isSpent]).toEqual([1, false])
  clock.time += 1
  expect([time.leftMs, time.isSpent]).toEqual([0, true])
  time.restart(50)
  expect([time.leftMs, time.isSpent]).toEqual([50, false])
})
