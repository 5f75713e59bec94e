import { expect, test } from 'vitest'
import { MovePlanning } from '../../../src/resharding/move-planning.ts'
import { MoveRecords } from '../../../src/resharding/move-records.ts'
import { bootedFleet, record, settle } from '../../support/fleet.ts'

const LEASE_MS = 30_000
/** The lease, the maximum age of a data centre's copy, and a second. */
const LAST_LEASE_MS = LEASE_MS + 10_000 + 1_000

async function settling(graceMs: number) {
  const fleet = await bootedFleet({ leaseMs: LEASE_MS, graceMs })
  const [move] = await fleet.planning.plan({ keyspace: 'users', ranges: [['0000', '00ff']], target: 'shard-001' })
  settle(fleet.records, move!.id)
  return { ...fleet, id: move!.id }
}

test('the source keeps its rows for the configured time', async () => {
  const { records, clock, id } = await settling(300_000)
  expect(records.find(id)!.settlesAt).toBe(clock.now() + 300_000)
})

test('the source never keeps its rows for less than the last lease that names it, however little is configured', async () => {
  const { records, clock, id } = await settling(LEASE_MS + 1)
  expect(records.find(id)!.settlesAt).toBe(clock.now() + LAST_LEASE_MS)
  clock.advance(LAST_LEASE_MS - 1)
  expect(records.change(records.find(id)!, { to: 'purging' }, null).outcome).toBe('waits')
  clock.advance(1)
  expect(records.change(records.find(id)!, { to: 'purging' }, null).outcome).toBe('recorded')
})

test('a move back waits for the leases that name its target, even if LEASE_MS was raised since', async () => {
  const { options, records, clock, id } = await settling(LEASE_MS)
  const { committedAt } = records.find(id)!
  clock.advance(LAST_LEASE_MS)
  record(records, id, ['purging', 'done'])
  const later = new MoveRecords({ ...options, leaseMs: 2 * LEASE_MS })
  const [back] = await new MovePlanning({ ...options, records: later }).plan({
    keyspace: 'users',
    ranges: [['00f0', '01ff']],
    target: 'shard-000',
  })
  const answer = later.change(back!, { to: 'preparing' }, null)
  const leasesEnd = committedAt! + 2 * LEASE_MS + 11_000
  expect(answer).toMatchObject({ outcome: 'waits', retryAt: leasesEnd, record: { state: 'planned', hasLanes: false } })
  clock.advance(leasesEnd - clock.now())
  record(later, back!.id, ['preparing'])
})

test('an aborted reverse restarts the settling, which leaves time for another', async () => {
  const { records, clock, id } = await settling(300_000)
  clock.advance(299_000)
  records.reverse(id)
  clock.advance(60_000)
  records.abort(id)
  expect(records.change(records.find(id)!, { to: 'ended' }, null).outcome).toBe('recorded')
  expect(records.find(id)).toMatchObject({ state: 'settling', settlesAt: clock.now() + 300_000 })
  expect(records.reverse(id).state).toBe('preparing')
})

test('a reverse has all of its attempts, however many the move gave up before', async () => {
  const { records, id } = await settling(300_000)
  records.reverse(id)
  record(records, id, ['catching-up', 'cutover'])
  const { attempt } = records.find(id)!
  records.change(records.find(id)!, { to: 'cutover', isFor: 'un-fence' }, null)
  records.change(records.find(id)!, { to: 'cutover', isFor: 'fence' }, null)
  expect(records.find(id)).toMatchObject({ attempt: attempt + 2, attemptsGivenUp: 1 })
  records.abort(id)
  records.change(records.find(id)!, { to: 'ended' }, null)
  expect(records.reverse(id)).toMatchObject({ attempt: attempt + 2, attemptsGivenUp: 0 })
})

test.each([
  { before: '{"turns":1}', reversals: 1 },
  { before: '{}', reversals: 0 },
])(
  'a record that an earlier version stored with $before continues with $reversals reversals',
  async ({ before, reversals }) => {
    const { storage, records, id } = await settling(300_000)
    storage.rows(
      "UPDATE moves SET record = json_patch(json_remove(record, '$.reversals', '$.attemptsGivenUp', '$.attemptIsFor', '$.interrupted', '$.stuck', '$.captured', '$.captureStopped'), ?) WHERE id = ?",
      before,
      id,
    )
    for (const read of [records.find(id), ...records.open(), ...records.list({ limit: 10, before: null })]) {
      expect(read).toMatchObject({ id, reversals, attemptsGivenUp: 0, attemptIsFor: 'fence' })
      expect(read).toMatchObject({
        interrupted: null,
        stuck: null,
        leftAlone: null,
        captured: 0,
        captureStopped: false,
      })
      expect(read).not.toHaveProperty('turns')
    }
    expect(records.reverse(id).reversals).toBe(reversals + 1)
    record(records, id, ['catching-up', 'cutover', 'committed', 'settling'])
  },
)

test('the end of the capture is recorded while a move settles without lanes, and prevents a reverse', async () => {
  const { records, planning, clock, id } = await settling(300_000)
  const [other] = await planning.plan({ keyspace: 'users', ranges: [['0100', '01ff']], target: 'shard-001' })
  expect(records.change(other!, { capture: 'stop' }, null).outcome).toBe('changed')
  const before = records.find(id)!
  expect(records.change(before, { capture: 'stop' }, null)).toMatchObject({ record: { captureStopped: true } })
  expect(() => records.reverse(id)).toThrow(/stopped capturing after .* changes/)
  expect(records.complete(id).state).toBe('settling')
  clock.advance(300_000)
  record(records, id, ['purging'])
  // With lanes, the purge drops the captured changes.
  expect(records.change(records.find(id)!, { capture: 'stop' }, null).outcome).toBe('changed')
  records.change(records.find(id)!, { lanes: 'leave' }, null)
  expect(records.change(records.find(id)!, { capture: 'stop' }, null).outcome).toBe('recorded')
})

test('the end of the capture is not recorded for a move that was reversed since it was read', async () => {
  const { records, id } = await settling(300_000)
  const seen = records.find(id)!
  records.reverse(id)
  expect(records.change(seen, { capture: 'stop' }, null).outcome).toBe('changed')
  expect(records.find(id)!.captureStopped).toBe(false)
})

test('a stuck move gives up its lanes, and only the holder of the lanes can record a choice', async () => {
  const { records, planning } = await bootedFleet()
  const wish = { keyspace: 'users', target: 'shard-001' } as const
  const [move] = await planning.plan({ ...wish, ranges: [['0000', '00ff']] })
  const { id } = move!
  record(records, id, ['preparing', 'copying', 'catching-up', 'cutover', 'committed'])
  const choose = (choice: 'activate' | 'purge') =>
    records.change(records.find(id)!, { choice, leftAlone: 'one slot' }, null).outcome
  records.change(records.find(id)!, { stuck: 'somebody changed a slot' }, null)
  expect(records.find(id)).toMatchObject({ state: 'committed', hasLanes: false, stuck: 'somebody changed a slot' })
  const [other] = await planning.plan({ ...wish, ranges: [['0100', '01ff']] })
  record(records, other!.id, ['preparing'])
  expect(records.change(records.find(id)!, { lanes: 'take' }, null).outcome).toBe('waits')
  expect(choose('activate')).toBe('changed')
  records.abort(other!.id)
  records.change(records.find(other!.id)!, { to: 'ended' }, null)
  expect(records.change(records.find(id)!, { lanes: 'take' }, null).outcome).toBe('recorded')
  expect(choose('purge')).toBe('changed')
  expect(choose('activate')).toBe('recorded')
  expect(records.find(id)).toMatchObject({ stuck: null, leftAlone: 'one slot', hasLanes: true })
})

test('an incarnation that saw an earlier attempt can’t commit, because the source may have been un-fenced since', async () => {
  const { records, planning } = await bootedFleet()
  const [move] = await planning.plan({ keyspace: 'users', ranges: [['0000', '00ff']], target: 'shard-001' })
  record(records, move!.id, ['preparing', 'copying', 'catching-up', 'cutover'])
  const seen = records.find(move!.id)!
  expect(records.change(seen, { to: 'cutover', isFor: 'un-fence' }, null).outcome).toBe('recorded')
  expect(records.change(seen, { to: 'committed', bookmark: null }, null).outcome).toBe('changed')
  expect(records.find(move!.id)).toMatchObject({ state: 'cutover', attempt: seen.attempt + 1, epoch: null })
})
