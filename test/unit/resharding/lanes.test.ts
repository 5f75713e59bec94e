import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import type { MovePlanning } from '../../../src/resharding/move-planning.ts'
import type { MoveRecords } from '../../../src/resharding/move-records.ts'
import type { MoveRecord, MoveState, SlotRange } from '../../../src/resharding/record.ts'
import { record, settle } from '../../support/fleet.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'
import { shardName, wideFleet } from '../../support/wide-fleet.ts'

const GRACE_MS = 300_000
const OFFER_MS = 2_000

let clock: ManualClock
let records: MoveRecords
let planning: MovePlanning
let storage: ReturnType<typeof wideFleet>['storage']
let directory: ReturnType<typeof wideFleet>['directory']
/** The moves whose movers were woken since the test last asked. */
let woken: string[]
const wokenNow = () => woken.splice(0)

beforeEach(() => {
  clock = new ManualClock()
  const fleet = wideFleet({ from: 8, to: 16, clock, graceMs: GRACE_MS })
  ;({ records, planning, storage, directory } = fleet)
  woken = []
  fleet.wakes.of = (id) => void woken.push(id)
})

let slot = 0
/** Moves between these shards, by their numbers, each of one separate slot that the source may not own. */
function planned(...pairs: [from: number, to: number][]): string[] {
  return planning
    .enqueue(
      pairs.map(([from, to]) => {
        const text = (slot++ % 65_536).toString(16).padStart(4, '0')
        const ranges: SlotRange[] = [[text, text]]
        return { keyspace: 'users' as const, source: shardName(from), target: shardName(to), ranges }
      }),
    )
    .map(({ id }) => id)
}

const ask = (id: string, to: 'preparing' | 'purging' = 'preparing') => records.change(records.find(id)!, { to }, null)
const begin = (id: string) => record(records, id, ['preparing'])
const toSettling: MoveState[] = ['copying', 'catching-up', 'cutover', 'committed', 'settling']

describe('moves that wait for lanes', () => {
  test('are told not to retry, and only moves with both lanes free are woken, oldest first', () => {
    const [first, sameSource, sameTarget, both, elsewhere] = planned([0, 8], [0, 9], [1, 8], [0, 8], [2, 10])
    expect(wokenNow()).toEqual([first, elsewhere])
    begin(first!)
    for (const id of [sameSource!, sameTarget!, both!])
      expect(ask(id)).toMatchObject({ outcome: 'waits', retryAt: null, record: { state: 'planned', hasLanes: false } })
    record(records, first!, toSettling)
    expect(wokenNow()).toEqual([sameSource, sameTarget])
    begin(sameSource!)
    begin(sameTarget!)
    record(records, sameSource!, toSettling)
    expect(wokenNow()).toEqual([])
    record(records, sameTarget!, toSettling)
    expect(wokenNow()).toEqual([both])
  })

  test.each(['abort', 'fail'] as const)('are woken when the move with the lanes is undone (%s)', (how) => {
    const [first, second] = planned([0, 8], [0, 9])
    begin(first!)
    wokenNow()
    if (how === 'abort') records.abort(first!)
    else records.change(records.find(first!)!, { to: 'failed', error: 'a difference' }, null)
    expect(wokenNow()).toEqual([])
    records.change(records.find(first!)!, { to: 'ended' }, null)
    expect(wokenNow()).toEqual([second])
  })

  test('a woken move that is aborted before it starts leaves the lanes to the next', () => {
    const [first, second] = planned([0, 8], [0, 9])
    wokenNow()
    records.abort(first!)
    expect(wokenNow()).toEqual([second])
    begin(second!)
  })

  test('a woken move that finds its target draining leaves the lanes to the next', () => {
    const [first, second] = planned([0, 8], [0, 9])
    wokenNow()
    directory.setState(shardName(8), 'draining')
    expect(ask(first!)).toMatchObject({ outcome: 'waits', record: { state: 'aborted' } })
    expect(wokenNow()).toEqual([second])
  })

  test('a younger move does not take the lanes from a woken one, unless that one does not start', () => {
    const [first, second] = planned([0, 8], [0, 9])
    expect(ask(second!)).toMatchObject({ outcome: 'waits', retryAt: null })
    clock.advance(OFFER_MS)
    begin(second!)
    expect(ask(first!)).toMatchObject({ outcome: 'waits', retryAt: null })
  })

  test('a move that waits for the leases of its target holds no lane meanwhile, and is told when to retry', () => {
    const [there] = planned([0, 8])
    settle(records, there!)
    clock.advance(1)
    const { ranges, committedAt } = records.find(there!)!
    storage.rows("UPDATE moves SET record = json_set(record, '$.state', 'done') WHERE id = ?", there!)
    const [back] = planning.enqueue([{ keyspace: 'users', source: shardName(8), target: shardName(0), ranges }])
    expect(ask(back!.id)).toMatchObject({ outcome: 'waits', retryAt: committedAt! + 41_000 })
    const [other] = planned([8, 9])
    begin(other!)
    wokenNow()
    records.abort(other!)
    records.change(records.find(other!)!, { to: 'ended' }, null)
    expect(wokenNow()).toEqual([back!.id])
  })

  test('a rebalance of hundreds of moves wakes one move for each pair of free shards', async () => {
    const wide = wideFleet({ from: 50, to: 90, clock })
    const ids: string[] = []
    wide.wakes.of = (id) => void ids.push(id)
    const { moves } = await wide.fleet.rebalance({
      keyspaces: ['users', 'claims'],
      tolerance: 0,
      bytes: null,
      dryRun: false,
    })
    expect(moves.length).toBeGreaterThan(100)
    const shards = ids.map((id) => wide.records.find(id)!).flatMap(({ source, target }) => [source.id, target.id])
    expect(new Set(shards).size).toBe(shards.length)
    for (const id of ids) record(wide.records, id, ['preparing'])
    for (const { id } of moves.filter((move) => !ids.includes(move.id)))
      expect(wide.records.change(wide.records.find(id)!, { to: 'preparing' }, null).outcome).toBe('waits')
  })
})

describe('a settled move', () => {
  /** A settled move whose time is over while another move holds the lane of its source. */
  function dueBehind(): { due: string; holder: string; waiting: string } {
    const [due, holder, waiting] = planned([0, 8], [0, 9], [0, 10])
    settle(records, due!)
    begin(holder!)
    clock.advance(GRACE_MS)
    expect(ask(due!, 'purging')).toMatchObject({ outcome: 'waits', retryAt: null, record: { state: 'settling' } })
    wokenNow()
    return { due: due!, holder: holder!, waiting: waiting! }
  }

  test('gets a free lane before planned moves, however long those have waited', () => {
    const { due, holder, waiting } = dueBehind()
    record(records, holder, toSettling)
    expect(wokenNow()).toEqual([due])
    expect(ask(waiting)).toMatchObject({ outcome: 'waits', retryAt: null })
    expect(ask(due, 'purging')).toMatchObject({ outcome: 'recorded', record: { state: 'purging', hasLanes: true } })
    record(records, due, ['done'])
    expect(wokenNow()).toEqual([waiting])
  })

  test('keeps planned moves from the lane that it waits for, even while its other lane is held', () => {
    const { due, holder } = dueBehind()
    const [atItsTarget, elsewhere] = planned([1, 8], [2, 10])
    expect(wokenNow()).toEqual([elsewhere])
    expect(ask(atItsTarget!)).toMatchObject({ outcome: 'waits', retryAt: null })
    record(records, holder, toSettling)
    expect(wokenNow()).toEqual([due])
  })

  test('takes the lanes that a planned move was woken for, if it asks first', () => {
    const [settled] = planned([0, 8])
    settle(records, settled!)
    clock.advance(GRACE_MS - 1)
    const [waiting] = planned([0, 9])
    expect(wokenNow()).toContain(waiting)
    clock.advance(1)
    expect(ask(settled!, 'purging').outcome).toBe('recorded')
    expect(ask(waiting!)).toMatchObject({ outcome: 'waits', retryAt: null })
  })

  test('gets its turn between two turns of another purge, if it settled first', () => {
    const [first, second] = planned([0, 8], [0, 9])
    settle(records, first!)
    clock.advance(1_000)
    settle(records, second!)
    clock.advance(GRACE_MS)
    expect(ask(second!, 'purging').outcome).toBe('recorded')
    expect(ask(first!, 'purging')).toMatchObject({ outcome: 'waits', retryAt: null })
    wokenNow()
    records.change(records.find(second!)!, { lanes: 'leave' }, null)
    expect(wokenNow()).toEqual([first])
    expect(records.change(records.find(second!)!, { lanes: 'take' }, null)).toMatchObject({
      outcome: 'waits',
      retryAt: null,
    })
    expect(ask(first!, 'purging').outcome).toBe('recorded')
    record(records, first!, ['done'])
    expect(wokenNow()).toEqual([second])
  })
})

describe('a stuck purge', () => {
  const change = (id: string, what: Parameters<MoveRecords['change']>[1]) =>
    records.change(records.find(id)!, what, null)

  test('does not block planned moves, and is not woken for lanes, because an operator must decide', () => {
    const [stuck, waiting] = planned([0, 8], [0, 9])
    settle(records, stuck!)
    clock.advance(GRACE_MS)
    expect(ask(stuck!, 'purging').outcome).toBe('recorded')
    wokenNow()
    change(stuck!, { stuck: 'somebody changed a slot' })
    expect(wokenNow()).toEqual([waiting])
    begin(waiting!)
    expect(change(stuck!, { lanes: 'take' })).toMatchObject({ outcome: 'waits', retryAt: null })
    record(records, waiting!, toSettling)
    expect(wokenNow()).toEqual([])
    // Alone, it takes the lanes again at its slow retries. Nothing wakes it at once.
    expect(change(stuck!, { lanes: 'take' }).outcome).toBe('recorded')
    change(stuck!, { stuck: 'somebody changed a slot' })
    expect(wokenNow()).toEqual([])
  })

  test('is not woken by the cron before its own retry is due, but afterwards if the retry was lost', () => {
    const [stuck] = planned([0, 8])
    settle(records, stuck!)
    clock.advance(GRACE_MS)
    ask(stuck!, 'purging')
    change(stuck!, { stuck: 'somebody changed a slot' })
    clock.advance(limits.moveStuckRetryMs)
    expect(records.movesToWake(10)).toEqual([])
    clock.advance(limits.moveUnheardMs)
    expect(records.movesToWake(10)).toEqual([stuck])
  })

  test('must have had lanes, so an operator’s late choice does not make a settled move stuck', () => {
    const [settled] = planned([0, 8])
    settle(records, settled!)
    expect(change(settled!, { stuck: 'activate is not safe now' }).outcome).toBe('changed')
    expect(records.find(settled!)).toMatchObject({ state: 'settling', stuck: null })
  })

  test('becomes an ordinary purge again once one of its turns was not refused', () => {
    const [purge] = planned([0, 8])
    settle(records, purge!)
    clock.advance(GRACE_MS)
    ask(purge!, 'purging')
    change(purge!, { stuck: 'somebody changed a slot' })
    expect(change(purge!, { lanes: 'take' }).outcome).toBe('recorded')
    wokenNow()
    change(purge!, { lanes: 'leave' })
    expect(records.find(purge!)).toMatchObject({ state: 'purging', stuck: null })
    expect(wokenNow()).toEqual([purge])
  })
})

describe('the cron', () => {
  test('wakes a move whose wake-up was lost, but none that waits for a reason', () => {
    const [first, ...waiting] = planned(
      [0, 8],
      [0, 9],
      ...Array.from({ length: 200 }, () => [0, 10] as [number, number]),
    )
    begin(first!)
    for (const id of waiting) ask(id)
    expect(records.movesToWake(100)).toEqual([])
    record(records, first!, toSettling)
    expect(records.movesToWake(100)).toEqual([waiting[0]])
    // A move that does not start blocks no other.
    clock.advance(60_000)
    expect(records.movesToWake(100)).toEqual([waiting[1]])
  })

  test('wakes a settled move that is due and whose alarm was lost, but not one that is still settling', () => {
    const [settled] = planned([0, 8])
    settle(records, settled!)
    clock.advance(GRACE_MS - 1)
    expect(records.movesToWake(100)).toEqual([])
    clock.advance(1)
    expect(records.movesToWake(100)).toEqual([settled])
  })

  test('wakes a move with lanes that was silent for 30 s', () => {
    const [first] = planned([0, 8])
    begin(first!)
    const progress = { rowsTotal: 2, rowsCopied: 1, rowsVerified: 0 }
    clock.advance(29_999)
    expect(records.movesToWake(100)).toEqual([])
    records.report(first!, progress)
    clock.advance(29_999)
    expect(records.movesToWake(100)).toEqual([])
    clock.advance(1)
    expect(records.movesToWake(100)).toEqual([first])
  })

  test('with an object that has just started, wakes all active moves in turn, up to the limit each time', () => {
    const ids = planned([0, 8], [1, 9], [2, 10])
    for (const id of ids) begin(id)
    const fresh = wideFleet({ from: 8, to: 16, clock, storage }).records
    const rounds = [1, 2, 3].map(() => {
      clock.advance(60_000)
      return fresh.movesToWake(2)
    })
    expect(rounds.map(({ length }) => length)).toEqual([2, 2, 2])
    expect(new Set(rounds.flat())).toEqual(new Set(ids))
  })
})

test('storage of an older version is used unchanged: its open moves get lanes, and a long history is read once', () => {
  const [first, second] = planned([0, 8], [0, 9])
  const kept = storage.rows<{ id: string; is_over: number; record: string }>('SELECT id, is_over, record FROM moves')
  storage.rows('DROP TABLE moves')
  // As the previous version created it.
  storage.rows(
    `CREATE TABLE moves (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
     is_over INTEGER NOT NULL, record TEXT NOT NULL)`,
  )
  storage.rows('CREATE INDEX moves_open ON moves (number) WHERE is_over = 0')
  for (const { id, is_over, record: text } of kept) {
    const { bytesEstimated: _, ...older } = JSON.parse(text) as MoveRecord
    storage.rows('INSERT INTO moves (id, is_over, record) VALUES (?, ?, ?)', id, is_over, JSON.stringify(older))
  }
  ;({ records, planning } = wideFleet({ from: 8, to: 16, clock, storage }))
  expect(records.find(first!)).toMatchObject({ state: 'planned', bytesEstimated: null })
  begin(first!)
  expect(ask(second!)).toMatchObject({ outcome: 'waits', retryAt: null })
  // A second start changes nothing.
  ;({ records, planning } = wideFleet({ from: 8, to: 16, clock, storage }))
  expect(records.find(first!)!.state).toBe('preparing')
  // If the older version runs again, what it writes counts.
  storage.rows(
    `UPDATE moves SET is_over = 1, record = json_set(record, '$.state', 'failed', '$.hasLanes', json('false')) WHERE id = ?`,
    first!,
  )
  begin(second!)
})

test('every query about lanes uses only an index of open moves', () => {
  planned([0, 8])
  const asked: string[] = []
  const watching = Object.assign(Object.create(storage), {
    rows: (sql: string, ...values: (string | number | null)[]) => {
      asked.push(sql)
      return storage.rows(sql, ...values)
    },
    transaction: <T>(body: () => T) => storage.transaction(body),
  })
  const { records: watched } = wideFleet({ from: 8, to: 16, clock, storage: watching })
  asked.length = 0
  const [open] = watched.open()
  watched.change(open!, { to: 'preparing' }, null)
  watched.report(open!.id, { rowsTotal: 1, rowsCopied: 1, rowsVerified: 0 })
  for (const to of toSettling) record(watched, open!.id, [to])
  clock.advance(GRACE_MS)
  record(watched, open!.id, ['purging', 'done'])
  watched.movesToWake(10)
  const looked = [...new Set(asked)].filter((sql) => /moves/.test(sql) && /^\s*(SELECT|UPDATE)/.test(sql))
  expect(looked.length).toBeGreaterThan(5)
  for (const sql of looked) {
    const values = Array.from(new Set(sql.match(/\?\d*/g) ?? []), () => '[]')
    const plan = storage.rows<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`, ...values).map(({ detail }) => detail)
    expect(
      plan.filter((detail) => /SCAN moves(?! USING (COVERING INDEX moves_by_lane|INDEX moves_open))/.test(detail)),
      sql,
    ).toEqual([])
  }
})

/** Movers that run only when they are woken, or when their own alarm rings. Calls overtake each other. */
test('every move that queues for lanes ends without polling and without the cron, and a lane has one holder', () => {
  const pair = fc.tuple(fc.nat({ max: 4 }), fc.nat({ max: 4 })).filter(([from, to]) => from !== to)
  fc.assert(
    fc.property(fc.array(pair, { minLength: 1, maxLength: 12 }), fc.infiniteStream(fc.nat()), (pairs, dice) => {
      const time = new ManualClock()
      const fleet = wideFleet({ from: 8, to: 16, clock: time, graceMs: 50_000, leaseMs: 1_000 })
      ;({ records, planning } = fleet)
      const alarms = new Map<string, number>()
      fleet.wakes.of = (id) => alarms.set(id, time.now())
      const draw = (below: number) => dice.next().value! % below
      const ids = planned(...pairs)
      const next: Partial<Record<MoveState, MoveState[]>> = { preparing: toSettling, purging: ['done'] }
      for (let turns = 0; records.open().length > 0; turns++) {
        if (turns > 1_000) throw new Error(`they wait forever: ${JSON.stringify(records.open())}`)
        const due = [...alarms].filter(([, at]) => at <= time.now()).map(([id]) => id)
        if (due.length === 0) {
          const at = Math.min(...alarms.values())
          if (!Number.isFinite(at)) throw new Error(`no move has an alarm: ${JSON.stringify(records.open())}`)
          time.advance(at - time.now())
          continue
        }
        const id = due[draw(due.length)]!
        const found = records.find(id)!
        const entry = { planned: { to: 'preparing' }, settling: { to: 'purging' }, purging: { lanes: 'take' } } as const
        const answer =
          found.state in entry && !found.hasLanes
            ? records.change(found, entry[found.state as keyof typeof entry], null)
            : ({ outcome: 'recorded' } as const)
        if (answer.outcome === 'waits') {
          if (answer.retryAt === null) alarms.delete(id)
          else alarms.set(id, answer.retryAt)
          continue
        }
        const holders = records.open().filter(({ hasLanes }) => hasLanes)
        const busy = holders.flatMap(({ source, target }) => [source.id, target.id])
        expect(new Set(busy).size).toBe(busy.length)
        // It works for a while, or has finished. Others ask in between.
        time.advance(draw(3_000))
        const now = records.find(id)!
        if (now.state === 'purging' && draw(3) === 0) records.change(now, { lanes: 'leave' }, null)
        else if (draw(3) > 0) for (const to of next[now.state] ?? []) record(records, id, [to])
        const after = records.find(id)!
        if (after.state === 'done') alarms.delete(id)
        else alarms.set(id, after.state === 'settling' ? after.settlesAt! : time.now())
      }
      expect(ids.map((id) => records.find(id)!.state)).toEqual(ids.map(() => 'done'))
    }),
    { numRuns: 60 },
  )
})
