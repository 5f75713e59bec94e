import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import type { PausePoint } from '../../../src/resharding/move.ts'
import type { RemoteMoveRecords } from '../../../src/resharding/record.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import { drive, mover, once, planMove, record, records, shards, steer } from '../../support/moving.ts'
import { connectionLost, fixedRandom, linkedDatabase } from '../../support/sharding-doubles.ts'

// A target that is unavailable while the source is fenced. Users of the source must not wait for it.

const claims = movedClaims(['kept'])
const { at, insert } = claims
let slot: string
let id: string
beforeEach(async () => {
  slot = claims.slot()
  id = (await planMove('claims', slot, 'shard-001')).id
})

const { moveTargetPatienceMs } = limits
beforeAll(() => void Object.assign(limits, { moveTargetPatienceMs: 100 }))
afterAll(() => void Object.assign(limits, { moveTargetPatienceMs }))

const crash = () => {
  throw new Error('crash')
}

/** The shards, with a target behind this link. */
const withTarget = (link: Parameters<typeof linkedDatabase>[1]) =>
  new Map([...shards, ['SHARD_001', linkedDatabase(shards.get('SHARD_001')!, link)]])

const lost = withTarget(async () => {
  throw connectionLost()
})
let calls = 0
const silentAfterRaise = withTarget((send) => (calls++ % 2 === 0 ? send() : new Promise(() => undefined)))
const silent = withTarget(() => new Promise(() => undefined))

const overBudget: Clock = {
  ...systemClock,
  now: () => systemClock.now() + limits.moveCutoverBudgetMs + 1,
}

/** A mover crashes between the fence and the commit. */
async function fenced(): Promise<void> {
  await mover({ pause: once('fenced', crash) }).turn(id)
  expect((await at('SHARD_000')).state).toBe('fenced')
}

test.each([
  ['answers with errors', lost],
  ['does not answer at all', silent],
  ['falls silent after the first answer of a turn', silentAfterRaise],
])(
  'when the target %s, the attempt is given up and the source takes writes; when the target returns, the move continues',
  async (_, away) => {
    await fenced()
    const { attempt } = await record(id)
    await mover({ shards: away, clock: overBudget }).turn(id)
    expect(await record(id)).toMatchObject({ state: 'cutover', attempt: attempt + 1 })
    expect((await at('SHARD_000')).state).toBe('moving')
    await insert('inserted')
    const { rows } = await at('SHARD_000')

    // Once is enough. No attempt is used up while nothing is fenced.
    await mover({ shards: away, clock: overBudget }).turn(id)
    expect((await record(id)).attempt).toBe(attempt + 1)
    expect((await drive(id)).state).toBe('settling')
    expect(await at('SHARD_001')).toMatchObject({ state: 'moving', rows })
  },
)

describe('an unavailable target', () => {
  test('makes the mover wait while the attempt is within its budget', async () => {
    await fenced()
    const { attempt } = await record(id)
    await mover({ shards: lost }).turn(id)
    expect([(await record(id)).attempt, (await at('SHARD_000')).state]).toEqual([attempt, 'fenced'])
    expect((await drive(id)).state).toBe('settling')
  })

  test('does not delay an abort at the source, which is restored; the target’s rows are deleted when it returns', async () => {
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

  test('fails the move after the last attempt, and the source continues', async () => {
    await fenced()
    const { attempt } = await record(id)
    const { moveCutoverAttemptsMax } = limits
    Object.assign(limits, { moveCutoverAttemptsMax: attempt })
    try {
      await mover({ shards: lost, clock: overBudget }).turn(id)
    } finally {
      Object.assign(limits, { moveCutoverAttemptsMax })
    }
    expect(await record(id)).toMatchObject({
      ending: 'failed',
      error: expect.stringContaining('no cutover attempt finished'),
    })
    await mover({ shards: lost }).turn(id)
    expect((await at('SHARD_000')).state).toBe('active')
    expect((await drive(id)).state).toBe('failed')
  })
})

test('the pause ends in time when the target falls silent in it', async () => {
  let isSilent = false
  const falling = withTarget((send) => (isSilent ? new Promise(() => undefined) : send()))
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

describe('a failing turn', () => {
  test('is retried at once while the source is fenced, however many turns have failed; otherwise the retries wait', async () => {
    let failsAt: PausePoint = 'raised'
    const pause = (point: PausePoint) => {
      if (point === failsAt) crash()
    }
    // The longest of each wait.
    const one = mover({ pause, random: fixedRandom(1) })
    const wait = async () => (await one.turn(id))! - systemClock.now()
    for (let failures = 0; failures < 8; failures++) await one.turn(id)
    expect(await wait()).toBeGreaterThan(limits.moveRetryCapMs / 2)
    failsAt = 'fenced'
    expect(await wait()).toBeLessThanOrEqual(limits.moveFencedRetryCapMs)
    expect((await at('SHARD_000')).state).toBe('fenced')
    expect((await drive(id)).state).toBe('settling')
  })
})

test('a directory that is unavailable in a cutover is retried at once, however long it has been unavailable', async () => {
  let isAway = false
  const ask = <T>(call: () => Promise<T>) => (isAway ? Promise.reject(new Error('away')) : call())
  const falling: RemoteMoveRecords = {
    find: (moveId) => ask(() => records.find(moveId)),
    change: (...change) => ask(() => records.change(...change)),
    report: (...report) => ask(() => records.report(...report)),
  }
  const pause = once('fenced', () => {
    isAway = true
  })
  const one = mover({ records: falling, pause, random: fixedRandom(1) })
  for (let failures = 0; failures < 10; failures++)
    expect((await one.turn(id))! - systemClock.now()).toBeLessThanOrEqual(limits.moveFencedRetryCapMs)
  expect((await at('SHARD_000')).state).toBe('fenced')
  isAway = false
  expect((await drive(id)).state).toBe('settling')
})

test('too many waiting changes while the target is unavailable fail the move, and the source continues without the capture', async () => {
  await mover({ pause: once('copied', crash) }).turn(id)
  for (const name of ['a', 'b', 'c']) await insert(name)
  const { moveLogRowsMax } = limits
  Object.assign(limits, { moveLogRowsMax: 2 })
  try {
    await mover({ shards: lost }).turn(id)
  } finally {
    Object.assign(limits, { moveLogRowsMax })
  }
  expect(await record(id)).toMatchObject({ ending: 'failed', error: expect.stringContaining('changes wait') })
  expect((await at('SHARD_000')).state).toBe('active')
  expect((await drive(id)).state).toBe('failed')
  expect((await at('SHARD_000')).changes).toBe(0)
})

describe('a slow target', () => {
  const slow = withTarget(async (send) => {
    await systemClock.sleep(60)
    return send()
  })
  const { moveTargetWaitMs } = limits
  beforeAll(() => void Object.assign(limits, { moveTargetWaitMs: 20, moveTargetPatienceMs: 2_000 }))
  afterAll(() => void Object.assign(limits, { moveTargetWaitMs, moveTargetPatienceMs: 100 }))

  test.each([
    ['still receives the move', null, 'settling'],
    ['does not prevent an abort from finishing', 'copied', 'aborted'],
  ] as const)('%s', async (_, point, end) => {
    const pause = once(point ?? 'dropped', () => (point ? steer(id, 'abort') : undefined))
    const one = mover({ shards: slow, pause })
    for (let turns = 0; turns < 4; turns++) await one.turn(id)
    expect((await record(id)).state).toBe(end)
  })
})
