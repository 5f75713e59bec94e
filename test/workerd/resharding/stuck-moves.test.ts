import { beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import { drive, mover, once, planMove, record, settleNow, shards, steer } from '../../support/moving.ts'
import { linkedDatabase } from '../../support/sharding-doubles.ts'

// Slots in states that no step of a move leaves behind. Every move ends with a reason, or waits for an operator without
// lanes.

const claims = movedClaims(['kept'])
const { at, insert } = claims
const target = () => shards.get('SHARD_001')!
const source = () => shards.get('SHARD_000')!

let slot: string
let last: string
beforeEach(() => {
  slot = claims.slot()
  claims.skip(1)
  last = (Number.parseInt(slot, 16) + 1).toString(16)
})

const put = (database: D1Database, one: string, state: string, moveId: string | null) =>
  database
    .prepare(
      `INSERT INTO slots (keyspace, slot, state, epoch, move_id) VALUES ('claims', ?, ?, 1, ?)
       ON CONFLICT (keyspace, slot) DO UPDATE SET state = excluded.state, move_id = excluded.move_id`,
    )
    .bind(one, state, moveId)
    .run()
const stateAt = (database: D1Database, one: string) =>
  database
    .prepare("SELECT state, move_id AS moveId FROM slots WHERE keyspace = 'claims' AND slot = ?")
    .bind(one)
    .first()

/** A row of the slot at the target, bypassing its fence. */
const leftover = (one: string) =>
  target().batch([
    target().prepare('UPDATE mover SET open = 1 WHERE id = 1'),
    target().prepare("INSERT INTO claims VALUES (?, 'email', 'ä', 'a', 'confirmed', 1)").bind(`${one}.alien`),
    target().prepare('UPDATE mover SET open = 0 WHERE id = 1'),
  ])

const crash = () => {
  throw new Error('crash')
}

describe('before the commit', () => {
  test.each([
    ['moved', null, '1 moved (of no move), 1 not known'],
    ['importing', 'another', '1 importing (of move another), 1 not known'],
  ])('a slot at the target that is %s fails the move, which does not change the slot', async (state, moveId, words) => {
    await put(target(), slot, state, moveId)
    await leftover(slot)
    const before = await at('SHARD_001')
    const { id } = await planMove('claims', slot, 'shard-001', last)
    const failed = await drive(id)
    expect(failed).toMatchObject({ state: 'failed', hasLanes: false, stuck: null, interrupted: null })
    expect(failed.error).toContain(`shard-001, of the move's 2 slots: ${words}`)
    expect(await at('SHARD_001')).toEqual(before)
    expect((await at('SHARD_000')).state).toBe('active')
    await insert('goes-on')
    await target().prepare("DELETE FROM slots WHERE keyspace = 'claims' AND slot = ?").bind(slot).run()
  })

  test.each(['abort', 'failure'])('an undo after an %s touches only its own move’s slots', async (by) => {
    const { id } = await planMove('claims', slot, 'shard-001', last)
    await mover({ pause: once('copied', crash) }).turn(id)
    await put(target(), last, 'importing', 'another')
    await leftover(last)
    if (by === 'abort') await steer(id, 'abort')
    const ended = await drive(id)
    expect(ended).toMatchObject({ state: by === 'abort' ? 'aborted' : 'failed', hasLanes: false })
    expect(ended.error).toContain('1 importing (of move another)')
    expect(await at('SHARD_001')).toMatchObject({ state: null, rows: {} })
    expect(await stateAt(target(), last)).toEqual({ state: 'importing', moveId: 'another' })
    expect(
      await target().prepare('SELECT count(*) AS n FROM claims WHERE key = ?').bind(`${last}.alien`).first('n'),
    ).toBe(1)
    expect(await stateAt(source(), slot)).toEqual({ state: 'active', moveId: null })
    expect(await stateAt(source(), last)).toEqual({ state: 'active', moveId: null })
  })

  test('an undo restores this move’s slots at the source, and names the rest', async () => {
    const { id } = await planMove('claims', slot, 'shard-001', last)
    await mover({ pause: once('copied', crash) }).turn(id)
    await put(source(), last, 'moving', 'another')
    const failed = await drive(id)
    expect(failed).toMatchObject({ state: 'failed', hasLanes: false })
    expect(failed.error).toContain("shard-000, of the move's 2 slots: 1 moving")
    expect(await stateAt(source(), slot)).toEqual({ state: 'active', moveId: null })
    expect(await stateAt(source(), last)).toEqual({ state: 'moving', moveId: 'another' })
    await insert('goes-on')
  })

  test.each(['not JSON', '{}'])('cursors that are %s fail the move', async (cursors) => {
    const { id } = await planMove('claims', slot, 'shard-001')
    await mover({ pause: once('copied', crash) }).turn(id)
    await target().prepare('UPDATE mover SET cursors = ? WHERE id = 1').bind(cursors).run()
    expect(await drive(id)).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('cursors cannot be read'),
    })
    expect((await at('SHARD_000')).state).toBe('active')
  })

  test('a missing binding is a reason that operators see; once it is added, the move continues', async () => {
    const { id } = await planMove('claims', slot, 'shard-001')
    await mover({ shards: new Map([['SHARD_000', source()]]) }).turn(id)
    expect(await record(id)).toMatchObject({
      ...{ state: 'planned', hasLanes: false },
      interrupted: expect.stringContaining('no binding SHARD_001'),
    })
    expect(await drive(id)).toMatchObject({ state: 'settling', interrupted: null })
  })
})

/** A committed move of two slots, one of which is in a state at the target that no step leaves behind. */
async function stuckAfterCommit() {
  const { id } = await planMove('claims', slot, 'shard-001', last)
  await mover({ pause: once('committed', crash) }).turn(id)
  await put(target(), last, 'importing', 'another')
  const comeBackAt = await mover().turn(id)
  return { id, waitsMs: comeBackAt! - systemClock.now() }
}

describe('after the commit, when an operator must decide', () => {
  test('the move states the reason, gives up its lanes and retries slowly; it does not touch the slots of others', async () => {
    const { id, waitsMs } = await stuckAfterCommit()
    expect(waitsMs).toBeGreaterThan(limits.moveStuckRetryMs - 10_000)
    const stuck = await record(id)
    expect(stuck).toMatchObject({ state: 'committed', hasLanes: false })
    expect(stuck.stuck).toContain("shard-001, of the move's 2 slots: 1 importing, 1 importing (of move another)")
    expect(await stateAt(target(), last)).toEqual({ state: 'importing', moveId: 'another' })
    // Another move takes the lanes meanwhile.
    const other = await planMove('claims', (Number.parseInt(last, 16) + 1).toString(16), 'shard-001')
    expect((await drive(other.id)).state).toBe('settling')
    claims.skip(1)
  })

  test('once repaired, it continues by itself, or at once with the choice "retry"', async () => {
    const { id } = await stuckAfterCommit()
    expect((await mover().sides(id))!.choices).toEqual(['activate'])
    await put(target(), last, 'importing', id)
    expect((await mover().sides(id))!.choices).toEqual(['retry'])
    expect(await mover().resolve(id, 'retry')).toBe(true)
    expect(await drive(id)).toMatchObject({ state: 'settling', stuck: null })
  })

  test('"activate" hands over the slots that are in the state after the commit, and names the others', async () => {
    const { id } = await stuckAfterCommit()
    const { sides } = (await mover().sides(id))!
    expect(sides).toMatchObject([
      { shard: 'shard-000', slots: [{ state: 'fenced', moveId: id, slots: 2 }], rows: 1 },
      { shard: 'shard-001', rows: 1 },
    ])
    expect(await mover().resolve(id, 'purge')).toBe(false)
    expect(await mover().resolve(id, 'activate')).toBe(true)
    const settled = await drive(id)
    expect(settled).toMatchObject({
      state: 'settling',
      stuck: null,
      leftAlone: expect.stringContaining('of move another'),
    })
    expect([await stateAt(target(), slot), await stateAt(source(), slot)]).toMatchObject([
      { state: 'moving' },
      { state: 'moved' },
    ])
    expect([await stateAt(target(), last), await stateAt(source(), last)]).toMatchObject([
      { state: 'importing', moveId: 'another' },
      { state: 'fenced' },
    ])
    await insert('at-the-target')
  })

  test('"activate" is refused if the slots have changed since they were shown', async () => {
    const { id } = await stuckAfterCommit()
    await put(target(), slot, 'importing', 'another')
    expect(await mover().resolve(id, 'activate')).toBe(false)
    expect(await record(id)).toMatchObject({ state: 'committed', hasLanes: false, leftAlone: null })
  })

  test('"activate" checks again after raising the steps, so it sees what another incarnation did in between', async () => {
    const { id } = await stuckAfterCommit()
    // Between the read for the operator and the incarnation's own.
    const observer = {
      before: async (shard: string, operation: string) => {
        if (shard === 'shard-000' && operation === 'raise') await put(target(), slot, 'importing', 'another')
      },
    }
    expect(await mover({ observer }).resolve(id, 'activate')).toBe(false)
    expect(await record(id)).toMatchObject({ stuck: expect.any(String), hasLanes: false, leftAlone: null })
  })

  test('a refused purge waits for an operator, and "purge" deletes the move’s own slots', async () => {
    const { id } = await planMove('claims', slot, 'shard-001', last)
    await drive(id)
    await put(source(), last, 'moved', 'another')
    await settleNow(id)
    await mover().turn(id)
    expect(await record(id)).toMatchObject({
      state: 'purging',
      hasLanes: false,
      stuck: expect.stringContaining('of move another'),
    })
    expect((await mover().sides(id))!.choices).toEqual(['purge'])
    expect(await mover().resolve(id, 'purge')).toBe(true)
    expect(await drive(id)).toMatchObject({ state: 'done', leftAlone: expect.stringContaining('of move another') })
    expect(await stateAt(source(), slot)).toBeNull()
    expect(await stateAt(source(), last)).toEqual({ state: 'moved', moveId: 'another' })
    expect(await stateAt(target(), slot)).toEqual({ state: 'active', moveId: null })
  })
})

test.each(['SHARD_000', 'SHARD_001'])('a turn ends although %s does not answer, and reports it', async (binding) => {
  const { moveTurnMsMax } = limits
  const { id } = await planMove('claims', slot, 'shard-001')
  const silent = new Map([
    ...shards,
    [binding, linkedDatabase(shards.get(binding)!, () => new Promise(() => undefined))],
  ])
  Object.assign(limits, { moveTurnMsMax: 100 })
  try {
    expect(await mover({ shards: silent }).turn(id)).toBeGreaterThan(systemClock.now() - 5_000)
  } finally {
    Object.assign(limits, { moveTurnMsMax })
  }
  expect((await record(id)).interrupted).toContain('does not answer')
  expect(await drive(id)).toMatchObject({ state: 'settling', interrupted: null })
})

test('before the commit, an operator may undo; a working move offers no other choice', async () => {
  const { id } = await planMove('claims', slot, 'shard-001')
  expect((await mover().sides(id))!.choices).toEqual(['undo'])
  await drive(id)
  expect((await mover().sides(id))!.choices).toEqual([])
  expect(await mover().sides('unknown')).toBeNull()
})
