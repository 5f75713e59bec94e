import { beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import type { PausePoint } from '../../../src/resharding/move.ts'
import { isBeforeCommit } from '../../../src/resharding/record.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import { drive, leasesAreOver, mover, once, planMove, record, settleNow, shards, steer } from '../../support/moving.ts'
import { connectionLost, linkedDatabase } from '../../support/sharding-doubles.ts'

// Moves of claims, which have two tables while users have ten: the same steps, but fewer rounds.

const claims = movedClaims(['one', 'two', 'three'])
const { run, at, insert: write } = claims
/** Each test has its own. */
let slot: string
beforeEach(() => {
  slot = claims.slot()
})

const nothing = { state: null, rows: {}, changes: 0 }
const crash = () => {
  throw new Error('crash')
}

/** The pause points of a reverse before it settles. */
const ofReverse = [
  ...(['raised', 'prepared', 'caught-up', 'verified', 'attempt', 'fenced', 'drained', 'committed'] as const),
  ...(['activated', 'retired', 'settling'] as const),
]

async function settled(): Promise<string> {
  const { id } = await planMove('claims', slot, 'shard-001')
  expect(await drive(id)).toMatchObject({ state: 'settling' })
  return id
}

/** The batches of a move up to settling, by their shard and operation. */
const batches = [
  ...['capture', 'total', 'copy', 'catch-up', 'verify', 'count', 'fence', 'retire'].map(
    (name) => `${name} at shard-000`,
  ),
  ...['prepare', 'clear', 'copy', 'verify', 'count', 'fence', 'activate'].map((name) => `${name} at shard-001`),
]

/** Runs a turn up to the first such batch, and holds the batch back until it is released. */
async function heldBack(id: string, batch: string): Promise<{ release: () => Promise<unknown> }> {
  const met = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  const observer = {
    async before(shard: string, operation: string) {
      if (`${operation} at ${shard}` !== batch) return
      met.resolve()
      await gate.promise
    },
  }
  const turn = mover({ observer }).turn(id)
  await met.promise
  return {
    release: () => {
      gate.resolve()
      return turn
    },
  }
}

test.each(batches)('%s, held back until another mover has finished the move, changes nothing', async (batch) => {
  const { rows } = await at('SHARD_000')
  const { id } = await planMove('claims', slot, 'shard-001')
  const { release } = await heldBack(id, batch)
  const other = await drive(id)
  expect(other.state).toBe('settling')
  await write('four')
  await run("UPDATE claims SET state = 'reserved' WHERE key = ?", `${slot}.one`)
  await run('DELETE FROM claims WHERE key = ?', `${slot}.two`)
  const [left, right] = [await at('SHARD_000'), await at('SHARD_001')]
  expect(left).toEqual({ state: 'moved', rows, changes: 0 })
  expect(right).toMatchObject({ state: 'moving', changes: 3 })
  expect(right.rows.claims).toHaveLength(3)
  await release()
  expect(await record(id)).toEqual(other)
  expect([await at('SHARD_000'), await at('SHARD_001')]).toEqual([left, right])
})

test.each([
  'capture at shard-000',
  'copy at shard-001',
  'fence at shard-000',
  'fence at shard-001',
  'activate at shard-001',
])('%s, held back until the move is undone and another is in progress, changes nothing', async (batch) => {
  const before = await at('SHARD_000')
  const { id } = await planMove('claims', slot, 'shard-001')
  const { release } = await heldBack(id, batch)
  if (isBeforeCommit(await record(id))) {
    await steer(id, 'abort')
    expect((await drive(id)).state).toBe('aborted')
    expect([await at('SHARD_000'), await at('SHARD_001')]).toEqual([before, nothing])
  } else {
    await drive(id)
    await steer(id, 'reverse')
    await drive(id)
    await settleNow(id)
    expect((await drive(id)).state).toBe('done')
  }
  const again = await planMove('claims', slot, 'shard-001')
  await leasesAreOver(id)
  const other = await heldBack(again.id, 'copy at shard-001')
  const both = [await at('SHARD_000'), await at('SHARD_001')]
  await release()
  expect([await at('SHARD_000'), await at('SHARD_001')]).toEqual(both)
  await other.release()
  expect((await drive(again.id)).state).toBe('settling')
  expect((await at('SHARD_001')).rows).toEqual(before.rows)
})

describe('a batch that was applied but whose answer is lost', () => {
  /** Options of a mover whose nth such batch gets a broken connection as its answer. */
  function deafTo(batch: string, nth = 1) {
    let sent = ''
    let met = 0
    const link = async (send: () => Promise<unknown>) => {
      const answer = await send()
      if (sent === batch && ++met === nth) throw connectionLost()
      return answer
    }
    return {
      shards: new Map([...shards].map(([binding, database]) => [binding, linkedDatabase(database, link)])),
      observer: {
        async before(shard: string, operation: string) {
          sent = `${operation} at ${shard}`
        },
      },
    }
  }

  // The target's part of the fence uses a session, which is not linked.
  test.each(batches.filter((batch) => batch !== 'fence at shard-001'))('%s: is done once', async (batch) => {
    const { rows } = await at('SHARD_000')
    const { id } = await planMove('claims', slot, 'shard-001')
    await mover(deafTo(batch)).turn(id)
    expect((await record(id)).state, 'the answer was lost').not.toBe('settling')
    const moved = await drive(id)
    expect(moved).toMatchObject({ state: 'settling', rowsCopied: 3, rowsVerified: 3, error: null })
    expect(await at('SHARD_001')).toEqual({ state: 'moving', rows, changes: 0 })
    expect(await at('SHARD_000')).toEqual({ state: 'moved', rows, changes: 0 })
  })

  test('verify at shard-001: the next mover finds the difference that the lost answer reported', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    await mover({ pause: once('caught-up', crash) }).turn(id)
    const target = shards.get('SHARD_001')!
    await target.batch([
      target.prepare('UPDATE mover SET open = 1 WHERE id = 1'),
      target.prepare("UPDATE claims SET state = 'reserved' WHERE key = ?").bind(`${slot}.two`),
      target.prepare('UPDATE mover SET open = 0 WHERE id = 1'),
    ])
    // The first one is for the previous table, which has no rows.
    await mover(deafTo('verify at shard-001', 2)).turn(id)
    expect(await record(id)).toMatchObject({ state: 'verifying', ending: null })
    expect(await drive(id)).toMatchObject({ state: 'failed', error: `claims ["${slot}.two"] differs` })
  })
})

describe('two movers at once', () => {
  test('a mover that another overtook between its two raises does nothing more', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    const sent: string[] = []
    const met = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const observer = {
      async before(shard: string, operation: string) {
        sent.push(`${operation} at ${shard}`)
        if (sent.length !== 2) return
        met.resolve()
        await gate.promise
      },
    }
    const overtaken = mover({ observer }).turn(id)
    await met.promise
    await mover({ pause: once('copied', crash) }).turn(id)
    gate.resolve()
    await overtaken
    expect(sent).toEqual(['raise at shard-000', 'raise at shard-001', 'read at shard-000'])
    expect(await drive(id)).toMatchObject({ state: 'settling', error: null })
  })

  test('a mover that started before the move was reversed does not confuse the two shards', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    await mover({ pause: once('committed', crash) }).turn(id)
    const { release } = await heldBack(id, 'raise at shard-000')
    await drive(id)
    await write('at-the-target')
    await steer(id, 'reverse')
    await release()
    expect(await drive(id)).toMatchObject({ state: 'settling', reversed: true, error: null })
    expect((await at('SHARD_000')).rows.claims).toHaveLength(4)
  })
})

describe('a crash while the move ends', () => {
  test.each(['raised', 'purged', 'forgotten', 'finished'] as const)(
    'of a move that is done, at "%s"',
    async (point) => {
      const { rows } = await at('SHARD_000')
      const id = await settled()
      await settleNow(id)
      expect(await drive(id, once(point, crash))).toMatchObject({ state: 'done', hasLanes: false, error: null })
      expect(await at('SHARD_000')).toEqual(nothing)
      expect(await at('SHARD_001')).toEqual({ state: 'active', rows, changes: 0 })
      await write('later')
    },
  )

  test.each(['restored', 'dropped'] as const)('of a move that is aborted, at "%s"', async (point) => {
    const before = await at('SHARD_000')
    const { id } = await planMove('claims', slot, 'shard-001')
    const aborting = once('copied', () => steer(id, 'abort'))
    const crashing = once(point, crash)
    const ended = await drive(id, async (met) => {
      await aborting(met)
      await crashing(met)
    })
    expect(ended).toMatchObject({ state: 'aborted', hasLanes: false })
    expect([await at('SHARD_000'), await at('SHARD_001')]).toEqual([before, nothing])
    await write('later')
  })
})

describe('a reverse', () => {
  test.each(ofReverse)('survives a crash and keeps a write at "%s"', async (point) => {
    const id = await settled()
    await write('at-the-target')
    await steer(id, 'reverse')
    let written: Promise<unknown> = Promise.resolve()
    const back = await drive(
      id,
      once(point, async () => {
        written = write(`written-at-${point}`)
        if (!['fenced', 'drained', 'committed'].includes(point)) await written
        crash()
      }),
    )
    await written
    expect(back).toMatchObject({ state: 'settling', reversed: true, error: null })
    const { state, rows } = await at('SHARD_000')
    expect(state).toBe('moving')
    expect(rows.claims).toHaveLength(5)
  })

  test.each(['restored', 'dropped'] as const)('that is aborted survives a crash at "%s"', async (point) => {
    const id = await settled()
    await write('at-the-target')
    const before = await at('SHARD_001')
    await steer(id, 'reverse')
    const aborting = once('caught-up', () => steer(id, 'abort'))
    const crashing = once(point, crash)
    const ended = await drive(id, async (met) => {
      await aborting(met)
      await crashing(met)
    })
    expect(ended).toMatchObject({ state: 'settling', reversed: false, hasLanes: false })
    expect(await at('SHARD_001')).toMatchObject({ state: 'moving', rows: before.rows })
    expect((await at('SHARD_000')).state).toBe('moved')
  })

  test('that has settled is done at the shard where it started', async () => {
    const id = await settled()
    await write('at-the-target')
    await steer(id, 'reverse')
    await drive(id)
    await settleNow(id)
    expect(await drive(id)).toMatchObject({ state: 'done', reversed: true })
    const { state, rows, changes } = await at('SHARD_000')
    expect([state, rows.claims!.length, changes]).toEqual(['active', 4, 0])
    expect(await at('SHARD_001')).toEqual(nothing)
  })
})

test('an attempt that was recorded before a crash is not made after half of its time is over', async () => {
  const { id } = await planMove('claims', slot, 'shard-001')
  await mover({ pause: once('attempt', crash) }).turn(id)
  expect(await record(id)).toMatchObject({ state: 'cutover', attempt: 1 })
  expect(await drive(id)).toMatchObject({ state: 'settling', attempt: 2 })
})

test('attempts that never reach a fence are counted too: the move fails after as many of them', async () => {
  const { id } = await planMove('claims', slot, 'shard-001')
  const { rows } = await at('SHARD_000')
  let isBroken = true
  const one = mover({ pause: (point) => (point === 'attempt' && isBroken ? crash() : undefined) })
  for (let turns = 0; turns < limits.moveCutoverAttemptsMax; turns++) await one.turn(id)
  expect(await record(id)).toMatchObject({ state: 'cutover', attempt: limits.moveCutoverAttemptsMax, ending: null })
  isBroken = false
  expect(await drive(id)).toMatchObject({ state: 'failed' })
  expect(await at('SHARD_000')).toEqual({ state: 'active', rows, changes: 0 })
})

describe('an attempt to cut over that takes too long', () => {
  /** A clock that jumps past the budget while the source is fenced. */
  function lateAtFirst() {
    let skewMs = 0
    const clock = { now: () => systemClock.now() + skewMs, sleep: systemClock.sleep }
    const late = once('fenced', () => {
      skewMs = 3_000
    })
    return { clock, late }
  }

  test('fails the move if it is the twentieth, and leaves the source unchanged', { timeout: 30_000 }, async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    const { rows } = await at('SHARD_000')
    let skewMs = 0
    let attempts = 0
    // The mover backs off for up to 5 s between attempts. Time limits have a signal, and keep their length.
    const sleep = (ms: number, signal?: AbortSignal) => systemClock.sleep(signal ? ms : Math.min(ms, 300), signal)
    const clock = { now: () => systemClock.now() + skewMs, sleep }
    const pause = (met: PausePoint) => {
      if (met !== 'fenced') return
      attempts++
      skewMs += limits.moveCutoverBudgetMs + 1
    }
    const one = mover({ pause, clock })
    while ((await one.turn(id)) !== null);
    expect(await record(id)).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('no cutover attempt finished within 2000 ms'),
    })
    expect(attempts).toBe(limits.moveCutoverAttemptsMax)
    expect(await at('SHARD_000')).toEqual({ state: 'active', rows, changes: 0 })
  })

  test.each([null, 'given-up', 'un-fenced'] as const)(
    'ends, and a later attempt succeeds (crash: %s)',
    async (point) => {
      const { id } = await planMove('claims', slot, 'shard-001')
      const { clock, late } = lateAtFirst()
      const crashing = once(point ?? 'finished', crash)
      const attempts: number[] = []
      const states: string[] = []
      const done = await drive(
        id,
        async (met) => {
          await late(met)
          if (['fenced', 'given-up', 'un-fenced'].includes(met)) {
            attempts.push((await record(id)).attempt)
            states.push(`${met}: ${(await at('SHARD_000')).state}`)
          }
          if (met === 'un-fenced') await write(`un-fenced-${attempts.length}`)
          await crashing(met)
        },
        clock,
      )
      // The directory is told before the source takes writes again.
      expect(states.slice(0, 2)).toEqual(['fenced: fenced', 'given-up: fenced'])
      expect(states).toContain('un-fenced: moving')
      expect(attempts[1]).toBe(attempts[0]! + 1)
      const unFenced = states.filter((state) => state === 'un-fenced: moving').length
      expect(done).toMatchObject({ state: 'settling', error: null })
      expect(done.attempt).toBeGreaterThan(1)
      expect((await at('SHARD_001')).rows.claims).toHaveLength(3 + unFenced)
    },
  )
})
