import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { limits } from '../../../src/core/limits.ts'
import { CaptureWatch } from '../../../src/resharding/capture-watch.ts'
import { movedClaims } from '../../support/moved-claims.ts'
import { drive, leasesAreOver, mover, once, planMove, record, settleNow, shards, steer } from '../../support/moving.ts'

// The target of a settled move captures changes for a reverse, up to the bound of the log.

const claims = movedClaims(['kept'])
const { at, insert } = claims
let slot: string
let id: string
const { moveLogRowsMax } = limits
beforeEach(async () => {
  slot = claims.slot()
  id = (await planMove('claims', slot, 'shard-001')).id
  await drive(id)
  Object.assign(limits, { moveLogRowsMax: 4 })
})
afterEach(() => void Object.assign(limits, { moveLogRowsMax }))

const target = () => shards.get('SHARD_001')!
const stepAt = (database: D1Database) => database.prepare('SELECT step FROM mover').first<number>('step')
const crash = () => {
  throw new Error('crash')
}
async function write(count: number, name = 'written') {
  for (let index = 0; index < count; index++) await insert(`${name}-${index}`)
}

test('below the bound, the record states how much is captured, and the next check is early enough', async () => {
  await write(3)
  const comeBackAt = await mover().turn(id)
  expect(await record(id)).toMatchObject({ state: 'settling', captured: 3, captureStopped: false })
  expect(comeBackAt! - systemClock.now()).toBeLessThanOrEqual(limits.moveCaptureLookMsMin)
  await steer(id, 'reverse')
  expect(await drive(id)).toMatchObject({ state: 'settling', reversed: true, captured: 0 })
})

test('at the bound, the capture stops: writes continue, a reverse is refused with the reason, and the move ends', async () => {
  await write(4)
  await mover().turn(id)
  expect(await record(id)).toMatchObject({ state: 'settling', captureStopped: true })
  expect(await at('SHARD_001')).toMatchObject({ state: 'active', changes: 0 })
  await write(2, 'later')
  expect((await at('SHARD_001')).changes).toBe(0)
  await expect(steer(id, 'reverse')).rejects.toThrow(/stopped capturing after .* changes\. Complete it/)
  await settleNow(id)
  expect(await drive(id)).toMatchObject({ state: 'done' })
  expect((await at('SHARD_001')).rows.claims).toHaveLength(7)
  expect(await at('SHARD_000')).toEqual({ state: null, rows: {}, changes: 0 })
})

test('at the bound, changes of another move between its own are not counted', async () => {
  await insert('first')
  await target()
    .prepare(
      "INSERT INTO slot_changes (move_id, tbl, pk) VALUES ('another', 'claims', '[]'), ('another', 'claims', '[]')",
    )
    .run()
  await insert('second')
  await mover().turn(id)
  expect(await record(id)).toMatchObject({ captured: 2, captureStopped: false })
  await target().prepare("DELETE FROM slot_changes WHERE move_id = 'another'").run()
})

test('while the move waits for a lane, its log is also bounded, and no step is raised for that', async () => {
  const other = await planMove('claims', (Number.parseInt(slot, 16) + 1).toString(16), 'shard-001')
  claims.skip(1)
  await mover({ pause: once('captured', crash) }).turn(other.id)
  await settleNow(id)
  await write(4)
  const steps = [await stepAt(shards.get('SHARD_000')!), await stepAt(target())]
  await mover().turn(id)
  expect(await record(id)).toMatchObject({ state: 'settling', hasLanes: false, captureStopped: true })
  expect(await at('SHARD_001')).toMatchObject({ state: 'active', changes: 0 })
  expect([await stepAt(shards.get('SHARD_000')!), await stepAt(target())]).toEqual(steps)
  expect((await drive(other.id)).state).toBe('settling')
  // A planned move would wait for a settled one whose time is over.
  expect((await drive(id)).state).toBe('done')
})

test('the directory records the stop before the shard: until then a reverse is refused, and the next turn stops the capture', async () => {
  await write(4)
  await mover({ pause: once('capture-stopped', crash) }).turn(id)
  expect(await at('SHARD_001')).toMatchObject({ state: 'moving', changes: 4 })
  await expect(steer(id, 'reverse')).rejects.toThrow(/stopped/)
  await mover().turn(id)
  expect(await at('SHARD_001')).toMatchObject({ state: 'active', changes: 0 })
})

test('a reverse that is recorded first keeps the capture', async () => {
  await write(4)
  const observer = { before: async (_: string, operation: string) => void (operation === 'look' && (await reverse())) }
  let isReversed = false
  const reverse = async () => {
    if (!isReversed) await steer(id, 'reverse')
    isReversed = true
  }
  await mover({ observer }).turn(id)
  expect(await record(id)).toMatchObject({ state: 'preparing', captureStopped: false })
  expect((await at('SHARD_001')).state).toBe('moving')
  Object.assign(limits, { moveLogRowsMax })
  const { rows } = await at('SHARD_001')
  expect(await drive(id)).toMatchObject({ state: 'settling', reversed: true })
  expect((await at('SHARD_000')).rows).toEqual(rows)
})

test('a stop that arrives in a later move of the same slot changes nothing', async () => {
  await write(4)
  await mover().turn(id)
  const late = await record(id)
  await settleNow(id)
  await drive(id)
  await leasesAreOver(id)
  Object.assign(limits, { moveLogRowsMax })
  const back = await planMove('claims', slot, 'shard-000')
  await mover({ pause: once('copied', crash) }).turn(back.id)
  await insert('in-the-middle')
  const before = await at('SHARD_001')
  expect(before).toMatchObject({ state: 'moving', changes: 1 })
  await new CaptureWatch(late, target(), systemClock, { before: async () => undefined }).stop()
  expect(await at('SHARD_001')).toEqual(before)
  expect((await drive(back.id)).state).toBe('settling')
})
