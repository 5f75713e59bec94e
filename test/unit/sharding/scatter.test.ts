import { describe, expect, test } from 'vitest'
import { pageSql, type ScatterQuery } from '../../../src/sharding/scatter-query.ts'
import {
  byName,
  ScatteredRows,
  SLOTS,
  someThings,
  sorted,
  type Thing,
  worldSlots,
} from '../../support/scattered-rows.ts'
import { connectionLost, fixedRandom, seededRandom, silence } from '../../support/sharding-doubles.ts'

const query = byName('ascending')

/** `shards` shards with equal shares of the slots, and 80 things. */
function evenWorld(shards: number) {
  const things = someThings(80, seededRandom(7))
  const world = new ScatteredRows(shards, things, (slot) => Math.floor((slot * shards) / SLOTS))
  return { world, things, inOrder: sorted(things, 'ascending'), ...world.isolate(fixedRandom()) }
}

const page = { limit: 10, slots: worldSlots }

test('a page is one statement per shard, which answers one row more than the page has', async () => {
  const { shards, calls, inOrder, world } = evenWorld(8)
  expect((await shards.scatter(query, page)).rows).toEqual(inOrder.slice(0, 10))
  expect(calls.map(({ shard }) => shard).toSorted()).toEqual(
    Array.from({ length: 8 }, (_, index) => `shard-00${index}`),
  )
  expect(calls.every(({ slot, kind, statements }) => slot === '*' && kind === 'read' && statements === 1)).toBe(true)
  const { sql, values } = pageSql(query, { spans: worldSlots, after: null, limit: 11 })
  expect(world.sqlite[0]!.prepare(sql).all(...(values as string[])).length).toBeLessThanOrEqual(11)
})

describe('moves in the middle of a page', () => {
  test('a newer map that arrives between two shards starts the page again with it', async () => {
    const { shards, calls, inOrder, world, holder, source } = evenWorld(2)
    let isFirst = true
    world.onCall = async (shard, execute) => {
      execute()
      if (!isFirst) return
      expect(shard).toBe(0)
      isFirst = false
      world.startMove(32, 48, 0)
      world.stepMove(0)
      world.stepMove(0)
      const request = { source, copies: { get: async () => null, put: async () => undefined } }
      await holder.newerThan(1, { ...request, log: console as never, waitUntil: () => undefined })
    }
    const answer = await shards.scatter(query, { ...page, limit: 100, concurrency: 1 })
    expect(answer.rows).toEqual(inOrder)
    expect(calls.map(({ shard }) => shard)).toEqual(['shard-000', 'shard-000', 'shard-001'])
  })

  test('rows that a move has copied are not answered twice', async () => {
    const { shards, inOrder, world } = evenWorld(2)
    world.startMove(32, 64, 0)
    expect((await shards.scatter(query, { ...page, limit: 100 })).rows).toEqual(inOrder)
  })

  test('a client who knows a newer epoch is not answered by the old owner, although the lease lasts', async () => {
    const { world, ...given } = evenWorld(2)
    await given.shards.scatter(query, page)
    world.startMove(40, 41, 0)
    world.stepMove(0)
    world.stepMove(0)
    world.directoryAnswers = false
    const { shards } = world.isolate(fixedRandom(), { holder: given.holder, atLeastEpoch: 2 })
    const { rows, failed } = await shards.scatter(query, { ...page, slots: [[40, 41]] })
    expect([rows, failed.map(({ shard }) => shard)]).toEqual([[], ['shard-001']])
  })

  test('an answer that arrives after the lease is discarded, because its shard may be purged, and is asked exactly', async () => {
    const { shards, calls, inOrder, world, clock } = evenWorld(1)
    let isFirst = true
    world.onCall = async (_, execute) => {
      if (isFirst) clock.advance(1_900)
      execute()
      isFirst = false
    }
    await shards.scatter(query, page)
    clock.advance(500)
    calls.length = 0
    isFirst = true
    world.directoryAnswers = false
    expect((await shards.scatter(query, page)).rows).toEqual(inOrder.slice(0, 10))
    expect(calls.map(({ kind }) => kind)).toEqual(['read', 'exact-read'])
  })
})

describe('without a lease and without the directory', () => {
  /** An isolate whose lease has expired. */
  async function expired(shards: number) {
    const given = evenWorld(shards)
    await given.shards.scatter(query, page)
    given.clock.advance(10_000)
    given.world.directoryAnswers = false
    given.calls.length = 0
    return given
  }

  test('each shard is asked exactly, for the states of its slots and the rows in one batch', async () => {
    const { shards, calls, inOrder } = await expired(4)
    expect((await shards.scatter(query, page)).rows).toEqual(inOrder.slice(0, 10))
    expect(calls.map(({ kind }) => kind)).toEqual(Array(4).fill('exact-read'))
  })

  test('a newer map that arrives after the deadline does not discard what other shards have answered', async () => {
    const { shards, world, inOrder, clock, source } = await expired(2)
    world.startMove(40, 41, 0)
    world.stepMove(0)
    world.stepMove(0)
    const { reply } = source
    let asked = 0
    source.reply = () => {
      if (asked++ === 0) return reply()
      clock.advance(1_500)
      return world.wire()
    }
    const { rows, failed } = await shards.scatter(query, { ...page, limit: 100, deadlineMs: 1_000 })
    expect(failed.map(({ shard }) => shard)).toEqual(['shard-001'])
    expect(rows).toEqual(inOrder.filter(({ id }) => id < '0020'))
  })

  test.each([
    ['fenced', 1],
    ['moved', 2],
  ])('a shard with a %s slot is not believed: its rows may have changed elsewhere', async (_, steps) => {
    const { shards, world, inOrder } = await expired(2)
    world.startMove(40, 41, 0)
    for (let step = 0; step < steps; step++) world.stepMove(0)
    const { rows, failed, missing, next } = await shards.scatter(query, { ...page, limit: 100 })
    expect(failed.map(({ shard }) => shard)).toEqual(['shard-001'])
    expect(missing).toEqual([[32, 64]])
    expect(rows).toEqual(inOrder.filter(({ id }) => id < '0020'))
    expect(next).toBeNull()
    world.directoryAnswers = true
    while (world.openMoves > 0) {
      world.stepMove(0)
      world.clock.advance(1_000)
    }
    const rest = await shards.scatter(query, { limit: 100, slots: missing })
    expect(sorted([...rows, ...rest.rows], 'ascending')).toEqual(inOrder)
  })
})

describe('shards that fail', () => {
  test('a silent shard is named at the deadline, on every page, and the others have answered', async () => {
    const { shards, world, clock, inOrder } = evenWorld(8)
    let waiting = 0
    let waitingMax = 0
    let answered = 0
    const othersAnswer = async () => {
      while (answered % 7 !== 0 || answered === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    world.onCall = async (shard, execute) => {
      if (shard === 3) {
        void othersAnswer().then(() => setImmediate(() => clock.advance(2_000)))
        await silence()
      }
      waitingMax = Math.max(++waiting, waitingMax)
      await new Promise((resolve) => setImmediate(resolve))
      waiting--
      execute()
      answered++
    }
    const startedAt = clock.now()
    const { rows, failed, missing, next } = await shards.scatter(query, { ...page, deadlineMs: 3_000 })
    expect(clock.now() - startedAt).toBeLessThan(6_000)
    expect(failed.map(({ shard }) => shard)).toEqual(['shard-003'])
    expect(missing).toEqual([[24, 32]])
    expect(rows).toEqual(inOrder.filter(({ id }) => id < '0018' || id >= '0020').slice(0, 10))
    expect(waitingMax).toBeLessThanOrEqual(6)
    const second = await shards.scatter(query, { ...page, cursor: next, deadlineMs: 3_000 })
    expect(second.failed.map(({ shard }) => shard)).toEqual(['shard-003'])
  })

  test('a lost connection is asked again, and a shard that stays unreachable has failed', async () => {
    const { shards, world, calls, inOrder } = evenWorld(2)
    let lost = 2
    world.onCall = async (_, execute) => {
      if (lost-- > 0) throw connectionLost()
      execute()
    }
    expect((await shards.scatter(query, { ...page, concurrency: 1 })).rows).toEqual(inOrder.slice(0, 10))
    expect(calls).toHaveLength(4)
    lost = 3
    const { failed } = await shards.scatter(query, { ...page, concurrency: 1 })
    expect(failed).toEqual([{ shard: 'shard-000', error: expect.stringContaining('shard-000 does not answer') }])
  })

  test('a shard without a binding, and one that is being restored, are named', async () => {
    const { shards, source, world } = evenWorld(3)
    source.reply = () => {
      const wire = world.wire()
      wire.shards[1]!.binding = 'SHARD_009'
      wire.shards[2]!.state = 'restoring'
      return wire
    }
    const { failed, missing } = await shards.scatter(query, page)
    expect(failed.map(({ shard, error }) => `${shard}: ${error}`)).toEqual([
      expect.stringContaining('shard-001: This version of the Worker has no binding SHARD_009'),
      expect.stringContaining('shard-002: shard-002 is being restored'),
    ])
    expect(missing).toEqual([[22, 64]])
  })

  test('a wrong query is no failure of a shard', async () => {
    const { shards } = evenWorld(2)
    const wrong = { ...query, sources: [{ ...query.sources[0]!, columns: 'nothing' }] }
    await expect(shards.scatter(wrong, page)).rejects.toMatchObject({ code: 'DATABASE_ERROR' })
    await expect(shards.scatter(query, { ...page, cursor: ['a'] })).rejects.toMatchObject({ code: 'INTERNAL' })
  })
})

describe('the statement', () => {
  const plan = (given: ScatterQuery<Thing>, after: (string | number)[] | null) => {
    const { sqlite } = new ScatteredRows(1, [], () => 0)
    const { sql, values } = pageSql(given, { spans: worldSlots, after, limit: 11 })
    const steps = sqlite[0]!.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...(values as string[]))
    return steps.map(({ detail }) => String(detail)).filter((detail) => /things|TEMP/.test(detail))
  }
  const withPrefix = (prefix: string) => ({ ...query, sources: [{ ...query.sources[0]!, prefix }] })

  test.each([
    ['the first page', query, null, 'SCAN things USING COVERING INDEX things_by_name'],
    ['a later page', query, ['b', 'x'], 'SEARCH things USING COVERING INDEX things_by_name ((name,id)>(?,?))'],
    [
      'backwards',
      byName('descending'),
      ['b', 'x'],
      'SEARCH things USING COVERING INDEX things_by_name ((name,id)<(?,?))',
    ],
    ['a prefix', withPrefix('b'), null, 'SEARCH things USING COVERING INDEX things_by_name (name>? AND name<?)'],
    [
      'a later page of a prefix',
      withPrefix('b'),
      ['ba', 'x'],
      'SEARCH things USING COVERING INDEX things_by_name ((name,id)>(?,?) AND name<?)',
    ],
  ] as [string, ScatterQuery<Thing>, string[] | null, string][])(
    '%s starts in the index at its first row',
    (_, given, after, step) => {
      expect(plan(given, after)).toEqual([step])
    },
  )

  test('a prefix also bounds a page whose cursor is not from it', async () => {
    const { shards, things } = evenWorld(2)
    const { rows } = await shards.scatter(withPrefix('b'), { limit: 100, slots: worldSlots, cursor: ['a', ''] })
    expect(rows).toEqual(
      sorted(
        things.filter(({ name }) => name?.startsWith('b')),
        'ascending',
      ),
    )
  })

  test('several sources are merged in one statement', async () => {
    const { shards, things, calls } = evenWorld(2)
    const source = { columns: 'id, name', from: 'things', id: 'id' }
    const both: ScatterQuery<Thing> = {
      ...query,
      sources: [
        { ...source, keys: ['id', '0', 'id'], prefix: '003' },
        { ...source, keys: ['name', '1', 'id'], where: { sql: 'id < ?', values: ['0010'] } },
      ],
    }
    const { rows, next } = await shards.scatter(both, { limit: 60, slots: worldSlots })
    const byId = things.filter(({ id }) => id.startsWith('003')).toSorted((one, other) => (one.id < other.id ? -1 : 1))
    const byTheirName = sorted(
      things.filter(({ id }) => id < '0010'),
      'ascending',
    )
    expect(rows).toEqual([...byId, ...byTheirName].slice(0, 60))
    expect(next).toBeNull()
    expect(calls).toHaveLength(2)
  })
})
