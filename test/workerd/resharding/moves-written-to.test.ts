import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import type { PausePoint } from '../../../src/resharding/move.ts'
import { slotAfter } from '../../../src/resharding/record.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import {
  drive,
  leasesAreOver,
  mover,
  once,
  planMove,
  record,
  routed,
  settleNow,
  shards,
  steer,
} from '../../support/moving.ts'
import { slotStatement } from '../../support/sharding-slots.ts'

// Writes between two batches of a mover, where there is no pause point; and the leftovers of writes when a move ends.

const claims = movedClaims(['edited', 'deleted', 'kept'])
const { run, at, insert } = claims
/** Separate rows for each test. */
let slot: string
beforeEach(() => {
  slot = claims.slot()
})

const nothing = { state: null, rows: {}, changes: 0 }

const manyClaims = (database: Pick<D1Database, 'prepare'>, name: string, count: number) =>
  database
    .prepare("INSERT INTO claims SELECT value, 'email', 'ä', 'a', 'confirmed', 1 FROM json_each(?)")
    .bind(JSON.stringify(Array.from({ length: count }, (_, index) => `${slot}.${name}-${index}`)))
const insertMany = async (name: string, count: number) =>
  void (await manyClaims(routed().of(slot, { keyspace: 'claims', operation: 'test.write' }), name, count).run())

/** One row each, to exist, to be changed, and to be deleted. */
async function writeOneOfEach(): Promise<void> {
  await insert('inserted')
  await run("UPDATE claims SET state = 'reserved' WHERE key = ?", `${slot}.edited`)
  await run('DELETE FROM claims WHERE key = ?', `${slot}.deleted`)
}

async function afterOneOfEach(): Promise<Record<string, string[]>> {
  const { rows } = await at('SHARD_000')
  const line = (name: string, from: string[]) => from.find((row) => row.includes(`${slot}.${name}'`))!
  const before = rows.claims!
  return {
    claims: [
      line('edited', before).replace('confirmed', 'reserved'),
      line('kept', before).replace('kept', 'inserted'),
      line('kept', before),
    ].toSorted(),
  }
}

/** Calls `body` before the first batch with that name leaves. */
function beforeBatch(batch: string, body: () => Promise<void> | void) {
  let isDone = false
  return {
    async before(shard: string, operation: string) {
      if (`${operation} at ${shard}` !== batch || isDone) return
      isDone = true
      await body()
    },
  }
}

/** The mover's batches until settling. From the target's part of the fence on, a writer waits. */
const whileWritable = [
  ...['raise', 'read', 'capture', 'total', 'copy', 'catch-up', 'verify', 'count', 'fence'].map(
    (name) => `${name} at shard-000`,
  ),
  ...['raise', 'read', 'prepare', 'clear', 'copy', 'verify', 'count'].map((name) => `${name} at shard-001`),
]
const whileFenced = ['fence at shard-001', 'activate at shard-001']

test.each([...whileWritable, ...whileFenced, 'retire at shard-000'])(
  'an insert, an edit and a delete before "%s" reach the target',
  async (batch) => {
    const expected = await afterOneOfEach()
    const { id } = await planMove('claims', slot, 'shard-001')
    let written: Promise<void> | null = null
    const observer = beforeBatch(batch, async () => {
      written = writeOneOfEach()
      if (!whileFenced.includes(batch)) await written
    })
    await mover({ observer }).turn(id)
    expect(written, 'the batch was met').not.toBeNull()
    await written
    expect(await record(id)).toMatchObject({ state: 'settling', error: null })
    expect(await at('SHARD_001')).toMatchObject({ state: 'moving', rows: expected })
    expect(await at('SHARD_000')).toMatchObject({ state: 'moved', changes: 0 })
  },
)

test.each([
  ['catch-up', 0],
  ['fence', 1],
])(
  'more changes than one tail holds, directly before the source’s "%s", are all carried in %i drains',
  async (batch, drains) => {
    const { id } = await planMove('claims', slot, 'shard-001')
    const many = limits.moveTailRowsMax + 50
    const writing = beforeBatch(`${batch} at shard-000`, async () => {
      await insertMany('many', many)
    })
    const atTarget: string[] = []
    const observer = {
      async before(shard: string, operation: string) {
        if (shard === 'shard-001') atTarget.push(operation)
        await writing.before(shard, operation)
      },
    }
    await mover({ observer }).turn(id)
    expect(await record(id)).toMatchObject({ state: 'settling', error: null })
    expect(atTarget.filter((operation) => operation === 'drain')).toHaveLength(drains)
    const { rows } = await at('SHARD_001')
    expect(rows).toEqual((await at('SHARD_000')).rows)
    expect(rows.claims).toHaveLength(3 + many)
  },
)

describe('a move that is aborted', () => {
  const whileCaptured: PausePoint[] = ['captured', 'copied', 'caught-up', 'verified', 'attempt']

  test.each(whileCaptured)('after writes at "%s" keeps them at the source, without captured changes', async (point) => {
    const expected = await afterOneOfEach()
    const { id } = await planMove('claims', slot, 'shard-001')
    const ended = await drive(
      id,
      once(point, async () => {
        await writeOneOfEach()
        expect((await at('SHARD_000')).changes).toBe(3)
        await steer(id, 'abort')
      }),
    )
    expect(ended.state).toBe('aborted')
    expect(await at('SHARD_000')).toEqual({ state: 'active', rows: expected, changes: 0 })
    expect(await at('SHARD_001')).toEqual(nothing)
  })

  test('while the source is fenced lets a waiting writer write at the source', async () => {
    const expected = await afterOneOfEach()
    const { id } = await planMove('claims', slot, 'shard-001')
    let written: Promise<void> = Promise.resolve()
    const ended = await drive(
      id,
      once('drained', async () => {
        written = writeOneOfEach()
        await steer(id, 'abort')
      }),
    )
    await written
    expect(ended.state).toBe('aborted')
    expect(await at('SHARD_000')).toEqual({ state: 'active', rows: expected, changes: 0 })
  })
})

describe('until the last lease has expired', () => {
  test('a settling move purges nothing, and afterwards everything that it captured', async () => {
    const { rows } = await at('SHARD_000')
    const { id } = await planMove('claims', slot, 'shard-001')
    await drive(id)
    await writeOneOfEach()
    const waiting = await drive(id)
    expect(waiting.state).toBe('settling')
    expect(waiting.settlesAt).toBeGreaterThan(Date.now())
    expect(await at('SHARD_000')).toEqual({ state: 'moved', rows, changes: 0 })
    const left = await at('SHARD_001')
    expect(left.changes).toBe(3)
    await settleNow(id)
    expect((await drive(id)).state).toBe('done')
    expect(await at('SHARD_000')).toEqual(nothing)
    expect(await at('SHARD_001')).toEqual({ state: 'active', rows: left.rows, changes: 0 })
  })

  test('changes captured meanwhile are dropped in pieces, never in one statement that users would wait for', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    await drive(id)
    await insertMany('many', limits.movePurgeRowsMax + 50)
    await settleNow(id)
    const left: number[] = []
    const observer = {
      async before(shard: string, operation: string) {
        if (`${operation} at ${shard}` === 'purge at shard-001' || operation === 'finish')
          left.push((await at('SHARD_001')).changes!)
      },
    }
    await mover({ observer }).turn(id)
    expect((await record(id)).state).toBe('done')
    expect(left).toEqual([limits.movePurgeRowsMax + 50, 50, 0])
    expect((await at('SHARD_001')).changes).toBe(0)
  })

  test('slots don’t return to a shard that they have left', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    await drive(id)
    await settleNow(id)
    await drive(id)
    const back = await planMove('claims', slot, 'shard-000')
    expect(await drive(back.id)).toMatchObject({ state: 'planned', hasLanes: false })
    expect(await at('SHARD_000')).toEqual(nothing)
    await leasesAreOver(id)
    expect(await drive(back.id)).toMatchObject({ state: 'settling', error: null })
    expect((await at('SHARD_000')).rows.claims).toHaveLength(3)
  })
})

describe('with a small limit for waiting changes', () => {
  const { moveLogRowsMax, moveTailRowsMax } = limits
  beforeAll(() => void Object.assign(limits, { moveLogRowsMax: 10, moveTailRowsMax: 5 }))
  afterAll(() => void Object.assign(limits, { moveLogRowsMax, moveTailRowsMax }))

  test('slots that change faster than they can be moved fail the move', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    const failed = await drive(
      id,
      once('copied', () => insertMany('many', 20)),
    )
    expect(failed).toMatchObject({ state: 'failed', error: expect.stringContaining('more than 10 changes wait') })
    expect(await at('SHARD_000')).toMatchObject({ state: 'active', changes: 0 })
  })

  test('a reverse carries back all changes captured while settling, however many there are', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    await drive(id)
    await insertMany('many', 20)
    await steer(id, 'reverse')
    expect(await drive(id)).toMatchObject({ state: 'settling', reversed: true, error: null })
    expect((await at('SHARD_000')).rows.claims).toHaveLength(23)
  })
})

test('the number of rows is estimated from how far a limited number reaches, and exact once they are counted', async () => {
  const { moveCountRowsMax } = limits
  Object.assign(limits, { moveCountRowsMax: 3 })
  try {
    slot = '0100'
    await insertMany('one', 3)
    const { id } = await planMove('claims', slot, 'shard-001', slotAfter(slot))
    let estimate = 0
    const settled = await drive(id, async (point) => {
      if (point === 'caught-up') estimate = (await record(id)).rowsTotal
    })
    // Three rows in the first of two slots, and none in the second.
    expect(estimate).toBe(6)
    expect(settled).toMatchObject({ state: 'settling', rowsTotal: 3, rowsVerified: 3, slots: 2 })
  } finally {
    Object.assign(limits, { moveCountRowsMax })
  }
})

describe('a turn ends in time, and the next one reads the record again', () => {
  /** Time that jumps past a turn's end on every read. */
  function hurrying(): Clock {
    let looks = 0
    return { ...systemClock, now: () => systemClock.now() + looks++ * limits.moveTurnMs }
  }

  test('if the tail stays long before the fence, so an abort takes effect', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    const { rows } = await at('SHARD_000')
    let isHot = false
    let bursts = 0
    const observer = {
      async before(shard: string, operation: string) {
        const isTail = `${operation} at ${shard}` === 'catch-up at shard-000'
        if (isHot && isTail) await insertMany(`hot-${bursts++}`, limits.moveTailRowsMax + 1)
      },
    }
    const pause = once('attempt', () => {
      isHot = true
    })
    const one = mover({ observer, pause, clock: hurrying() })
    while (!isHot) await one.turn(id)
    await one.turn(id)
    expect(await record(id)).toMatchObject({ state: 'cutover', ending: null })
    expect((await at('SHARD_000')).state).toBe('moving')
    await steer(id, 'abort')
    expect((await drive(id)).state).toBe('aborted')
    const after = await at('SHARD_000')
    expect(after).toMatchObject({ state: 'active', changes: 0 })
    expect(after.rows.claims).toHaveLength(rows.claims!.length + bursts * (limits.moveTailRowsMax + 1))
  })

  test('if more was captured than one statement should delete, and an abort drops it in pieces', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    const pause = once('copied', async () => {
      await insertMany('many', limits.movePurgeRowsMax + 50)
      await steer(id, 'abort')
    })
    await mover({ pause }).turn(id)
    const left: number[] = []
    const observer = {
      async before(shard: string, operation: string) {
        if (`${operation} at ${shard}` === 'drop at shard-000') left.push((await at('SHARD_000')).changes!)
      },
    }
    await mover({ observer }).turn(id)
    expect((await record(id)).state).toBe('aborted')
    expect(left).toEqual([limits.movePurgeRowsMax + 50, 50])
    expect(await at('SHARD_000')).toMatchObject({ state: 'active', changes: 0 })
  })

  const MANY = 250

  test('if there is much to undo', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    await insertMany('many', MANY)
    const pause = once('copied', () => steer(id, 'abort'))
    await mover({ pause }).turn(id)
    await expectPieceByPiece(id, 'drop')
    expect((await drive(id)).state).toBe('aborted')
    expect(await at('SHARD_001')).toEqual(nothing)
  })

  test('if the target has many leftover rows', async () => {
    const target = shards.get('SHARD_001')!
    await target.batch([
      slotStatement(target, 'claims', slot, 'importing'),
      target.prepare('UPDATE mover SET open = 1 WHERE id = 1'),
      manyClaims(target, 'left', MANY),
      target.prepare('UPDATE mover SET open = 0 WHERE id = 1'),
      slotStatement(target, 'claims', slot, null),
    ])
    const { id } = await planMove('claims', slot, 'shard-001')
    await expectPieceByPiece(id, 'clear')
    expect((await drive(id)).state).toBe('settling')
    expect((await at('SHARD_001')).rows).toEqual((await at('SHARD_000')).rows)
  })

  /** The next turn deletes only some of the rows at the target. */
  async function expectPieceByPiece(id: string, operation: string): Promise<void> {
    let pieces = 0
    const observer = {
      async before(shard: string, name: string) {
        if (`${name} at ${shard}` === `${operation} at shard-001`) pieces++
      },
    }
    await mover({ observer, clock: hurrying() }).turn(id)
    expect(pieces).toBe(1)
    const left = (await at('SHARD_001')).rows.claims!.length
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThan(MANY)
  }
})
