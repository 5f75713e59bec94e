import { beforeEach, expect, test } from 'vitest'
import type { JobKinds } from '../../../src/jobs/kinds.ts'
import { runSchedules, type Schedule } from '../../../src/jobs/schedules.ts'
import '../../support/light-passwords.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'

const HOUR_MS = 3_600_000
const daily: Schedule = { name: 'report', cron: '30 3 * * *', kind: 'report', body: { part: 'all' } }

beforeEach(emptyShards)

function setUp() {
  const world = new World()
  const ran: unknown[] = []
  const kinds: JobKinds = {
    report: { queue: 'jobs', attemptsMax: 3, backoffBaseSeconds: 10, run: async ({ body }) => void ran.push(body) },
  }
  const run = (schedules = [daily]) => {
    const { tiers, relay } = world.isolate({ kinds, mode: 'inline' })
    return runSchedules(schedules, { ...tiers, follow: (jobs) => relay.send(jobs) })
  }
  /** Runs the cron this often, an hour apart. */
  const hours = async (count: number) => {
    let created = 0
    for (let hour = 0; hour < count; hour++) {
      world.clock.advance(HOUR_MS)
      created += await run()
    }
    return created
  }
  return { world, ran, run, hours }
}

test('a schedule creates one job per day, from the next time on', async () => {
  const { run, hours, ran } = setUp()
  expect(await run()).toBe(0)
  expect(await hours(72)).toBe(3)
  expect(ran).toEqual([{ part: 'all' }, { part: 'all' }, { part: 'all' }])
  expect(await rows('outbox')).toEqual([])
})

test('after a week without the cron, it creates one job, and the next a day later', async () => {
  const { world, run, hours, ran } = setUp()
  await run()
  world.clock.advance(7 * 24 * HOUR_MS)
  expect([await run(), await run()]).toEqual([1, 0])
  expect(await hours(24)).toBe(1)
  expect(ran).toHaveLength(2)
})

test('two runs of the cron at once create one job', async () => {
  const { world, run, ran } = setUp()
  await run()
  world.clock.advance(24 * HOUR_MS)
  const created = await Promise.all([run(), run(), run()])
  expect(created.toSorted()).toEqual([0, 0, 1])
  expect(ran).toHaveLength(1)
})

test('a schedule that is changed to an earlier time is due then', async () => {
  const { world, run } = setUp()
  await run([{ ...daily, cron: '0 0 1 1 *' }])
  const hourly = { ...daily, cron: '0 * * * *' }
  expect(await run([hourly])).toBe(0)
  world.clock.advance(HOUR_MS)
  expect(await run([hourly])).toBe(1)
})

test('a schedule that fails holds up no other, and is logged', async () => {
  const { world, run } = setUp()
  const broken = { ...daily, name: 'broken', cron: 'sometimes' }
  await run([broken, daily])
  world.clock.advance(24 * HOUR_MS)
  expect(await run([broken, daily])).toBe(1)
  expect(world.logged.filter((line) => line.includes('schedule.failed'))).toHaveLength(2)
})
