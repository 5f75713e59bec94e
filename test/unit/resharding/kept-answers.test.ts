import { beforeEach, describe, expect, test } from 'vitest'
import type { Rebalance } from '../../../src/resharding/fleet.ts'
import { KeptAnswers } from '../../../src/resharding/kept-answers.ts'
import { SimulatedStorage } from '../../simulation/template.ts'
import { bootedFleet } from '../../support/fleet.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'

const DAY_MS = 24 * 3_600_000
const retry = { key: 'k', request: 'POST /operator/v1/moves\n{}' }

let storage: SimulatedStorage
let clock: ManualClock
let answers: KeptAnswers
let effects: number
beforeEach(() => {
  storage = new SimulatedStorage()
  clock = new ManualClock()
  answers = new KeptAnswers(storage, clock)
  effects = 0
})

const effect = () => answers.answer(retry, async (once) => once(() => ({ number: ++effects })))

describe('a key', () => {
  test('has one effect, and one answer', async () => {
    expect([await effect(), await effect()]).toEqual([{ number: 1 }, { number: 1 }])
    expect(effects).toBe(1)
  })

  test('has one effect even if two requests arrive at once and both look before either acts', async () => {
    const both = [1, 2].map(() =>
      answers.answer(retry, async (once) => {
        await new Promise((resolve) => setImmediate(resolve))
        return once(() => ++effects)
      }),
    )
    expect(await Promise.all(both)).toEqual([1, 1])
  })

  test('with another request is refused without an effect', async () => {
    await effect()
    const other = answers.answer({ ...retry, request: 'another' }, async (once) => once(() => ++effects))
    await expect(other).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
    expect(effects).toBe(1)
  })

  test('can be used again a day later, with any request', async () => {
    await effect()
    clock.advance(DAY_MS - 1)
    expect(await effect()).toEqual({ number: 1 })
    clock.advance(1)
    expect(await effect()).toEqual({ number: 2 })
  })

  test('can be reused if its effect was refused, because nothing was done or kept', async () => {
    const refused = answers.answer(retry, async (once) =>
      once(() => {
        storage.rows('CREATE TABLE half (id INTEGER)')
        throw new Error('refused')
      }),
    )
    await expect(refused).rejects.toThrow('refused')
    expect(() => storage.rows('SELECT * FROM half')).toThrow('no such table')
    expect(await effect()).toEqual({ number: 1 })
  })

  test.each([499_998, 499_999, 500_000, 2_000_000])(
    'keeps an answer of %i characters, which may not fit in one row',
    async (length) => {
      const text = '…'.repeat(length)
      const long = () => answers.answer(retry, async (once) => once(() => ({ number: ++effects, text })))
      expect([await long(), await long()]).toEqual([
        { number: 1, text },
        { number: 1, text },
      ])
      clock.advance(DAY_MS)
      expect(await effect()).toEqual({ number: 2 })
      expect(storage.rows('SELECT number FROM kept_rests')).toEqual([])
    },
  )

  test('is not required', async () => {
    const free = () => answers.answer(null, async (once) => once(() => ++effects))
    expect([await free(), await free()]).toEqual([1, 2])
  })
})

test('a rebalance that is retried after a lost answer returns the same moves, and no others', async () => {
  const { fleet, records, planning, storage, directory } = await bootedFleet()
  planning.enqueue([{ keyspace: 'users', source: 'shard-000', target: 'shard-001', ranges: [['0000', '0fff']] }])
  records.abort(records.open()[0]!.id)
  directory.reassign('users', [[0, 4_095]], 'shard-001', null)
  const kept = new KeptAnswers(storage, clock)
  const wish = { keyspaces: ['users' as const], tolerance: 0, bytes: null, dryRun: false }
  const rebalance = () => kept.answer<Rebalance>(retry, (once) => fleet.rebalance(wish, once))
  const first = await rebalance()
  expect(first.moves).toHaveLength(1)
  expect(await rebalance()).toEqual(first)
  expect(records.open()).toHaveLength(1)
})
