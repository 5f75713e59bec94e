import { beforeEach, describe, expect, test } from 'vitest'
import { MapHolder } from '../../../src/sharding/map-holder.ts'
import {
  connectionLost,
  fixedRandom,
  HeldCopies,
  linkedDatabase,
  ManualClock,
  mapRequest,
  mapWire,
  type RoutedShardsOptions,
  routedShards,
  ScriptedSource,
} from '../../support/sharding-doubles.ts'
import { databases, rejectionOf, type SlotState, setSlot, slotStatement } from '../../support/sharding-slots.ts'

const source = databases.SHARD_000
const target = databases.SHARD_001
const SLOT = '00aa'
const USER = `${SLOT}01jd0000000000000000000001`
const ABSENT = `${SLOT}01jd0000000000000000000002`
const BUDGET_MS = 5_000
const UPDATE = "UPDATE profiles SET bio = 'changed' WHERE id = ?"

/** The slot's states at the two shards, with its row at both, as in a move before the purge. */
async function place(atSource: SlotState, atTarget: SlotState) {
  for (const [shard, state] of [
    [source, atSource],
    [target, atTarget],
  ] as const)
    await shard.batch([
      slotStatement(shard, 'users', SLOT, 'active'),
      shard.prepare('DELETE FROM profiles'),
      shard
        .prepare(
          "INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, 'ada', 'Ada', '', 5, 1)",
        )
        .bind(USER),
      slotStatement(shard, 'users', SLOT, state),
      shard.prepare('DELETE FROM slot_changes'),
    ])
}

const bios = async () =>
  Promise.all(
    [source, target].map((shard) => shard.prepare('SELECT bio FROM profiles WHERE id = ?').bind(USER).first('bio')),
  )

/** A router whose isolate holds epoch 1 (the source owns all slots), and a directory whose epoch can change. */
async function stand(options: Partial<RoutedShardsOptions> = {}) {
  const clock = options.clock ?? new ManualClock()
  const directory = { epoch: 1, owner: 0 }
  const scripted = new ScriptedSource(() => mapWire(directory.epoch, clock.now(), directory.owner))
  const routed = routedShards({ databases, clock, source: scripted, ...options })
  await routed.holder.current(mapRequest(scripted))
  const commit = () => Object.assign(directory, { epoch: 2, owner: 1 })
  return { ...routed, clock, directory, commit, startedAt: clock.now() }
}

const sent = (calls: { shard: string; kind: string }[]) => calls.map(({ shard, kind }) => `${kind} ${shard}`)

describe('a write with a stale map', () => {
  const writes: [string, string, string[]][] = [
    ['an update', UPDATE, [USER]],
    ['an update that meets no row', UPDATE, [ABSENT]],
    ['a delete that meets no row', 'DELETE FROM profiles WHERE id = ?', [ABSENT]],
    ['an update of a row that is at the target only', UPDATE, [USER]],
  ]

  test.each((['moved', null] as const).flatMap((state) => writes.map((write) => [state, ...write] as const)))(
    'slot %s at the old owner, %s: refused there, then done at the new owner after one fetch',
    async (state, name, sql, values) => {
      await place(state, 'active')
      if (name.includes('target only')) {
        await setSlot(source, 'users', SLOT, 'active')
        await source.prepare('DELETE FROM profiles').run()
        await setSlot(source, 'users', SLOT, state)
      }
      const { shards, calls, clock, source: directory, commit } = await stand()
      commit()
      const before = (await bios())[0]
      const { meta } = await shards
        .of(SLOT)
        .prepare(sql)
        .bind(...values)
        .run()
      expect(sent(calls)).toEqual(['write shard-000', 'write shard-001'])
      expect([directory.calls, clock.slept]).toEqual([2, []]) // the first map and the newer one, without a wait
      expect(meta.changes).toBe(values[0] === USER ? 1 : 0)
      expect(await bios()).toEqual([before, values[0] === USER ? 'changed' : ''])

      await shards
        .of(SLOT)
        .prepare(sql)
        .bind(...values)
        .run()
      expect(sent(calls).slice(2)).toEqual(['write shard-001'])
      expect(directory.calls).toBe(2)
    },
  )

  test('twenty concurrent writes fetch the newer map once', async () => {
    await place('moved', 'active')
    const { shards, source: directory, commit } = await stand()
    commit()
    const answer = directory.reply
    directory.reply = async () => {
      await scheduler.wait(50) // until all twenty are refused
      return answer()
    }
    const insert =
      "INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, 'h', 'd', '', 1, 1)"
    await Promise.all(Array.from({ length: 20 }, (_, n) => shards.of(SLOT).prepare(insert).bind(`${SLOT}${n}`).run()))
    expect(directory.calls).toBe(2)
    expect(await target.prepare('SELECT count(*) AS n FROM profiles').first('n')).toBe(21)
    expect(await source.prepare('SELECT count(*) AS n FROM profiles').first('n')).toBe(1)
  })

  test('moved again meanwhile: one fetch per epoch', async () => {
    await place('moved', 'moved')
    const { shards, calls, source: directory } = await stand()
    directory.reply = async () => {
      if (directory.calls === 3) await setSlot(source, 'users', SLOT, 'active')
      return mapWire(directory.calls, 1_000_000, directory.calls === 2 ? 1 : 0)
    }
    await shards.of(SLOT).prepare(UPDATE).bind(USER).run()
    expect(sent(calls)).toEqual(['write shard-000', 'write shard-001', 'write shard-000'])
    expect(directory.calls).toBe(3)
  })

  test.each([
    ['SLOT_NOT_OWNED', 'moved', 'active'],
    ['SLOT_NOT_OWNED', null, null],
    ['SLOT_FENCED', 'fenced', 'importing'],
  ] as const)(
    '%s (%s, %s) and no newer map: backs off for the 5 s of its budget, then 503, nothing written',
    async (code, atSource, atTarget) => {
      await place(atSource, atTarget)
      for (const fraction of [0.5, 0.999]) {
        const { shards, clock, startedAt } = await stand({ random: fixedRandom(fraction) })
        const error = await rejectionOf(shards.of(SLOT).prepare(UPDATE).bind(USER).run())
        expect(error).toMatchObject({ code, status: 503, retryAfterSeconds: 1 })
        expect(clock.now() - startedAt).toBeGreaterThanOrEqual(BUDGET_MS * 0.9)
        expect(clock.now() - startedAt).toBeLessThanOrEqual(BUDGET_MS)
        expect(Math.max(...clock.slept)).toBeLessThanOrEqual(400)
      }
      expect(await bios()).toEqual(['', ''])
    },
  )

  test('a newer map that arrives while it backs off is found', async () => {
    await place('moved', 'active')
    const { shards, clock, commit, startedAt } = await stand()
    clock.onSleep = () => {
      if (clock.now() - startedAt > 1_000) commit()
    }
    await shards.of(SLOT).prepare(UPDATE).bind(USER).run()
    expect(await bios()).toEqual(['', 'changed'])
  })

  test('a batch is refused as a whole, and applied as a whole at the new owner', async () => {
    await place('moved', 'active')
    const { shards, commit } = await stand()
    commit()
    const database = shards.of(SLOT)
    const insert = database
      .prepare(
        "INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, 'h', 'd', 'new', 1, 1)",
      )
      .bind(ABSENT)
    const answers = await database.batch([
      database.prepare(UPDATE).bind(USER),
      insert,
      database.prepare('SELECT 7 AS n'),
    ])
    expect(answers.map(({ meta, results }) => [meta.changes, results])).toEqual([
      [1, []],
      [1, []],
      [0, [{ n: 7 }]],
    ])
    expect(await bios()).toEqual(['', 'changed'])
    expect(await source.prepare('SELECT count(*) AS n FROM profiles').first('n')).toBe(1)
  })

  test('a session continues at the new owner’s primary', async () => {
    await place('active', null)
    const { shards, commit } = await stand()
    const session = shards.of(SLOT).withSession()
    await session.prepare(UPDATE).bind(USER).run()
    expect(session.getBookmark()).toMatch(/^shard-000:/)
    await place('moved', 'active')
    commit()
    await session.prepare(UPDATE).bind(USER).run()
    expect(session.getBookmark()).toMatch(/^shard-001:/)
    expect(await bios()).toEqual(['', 'changed'])
  })
})

describe('a fenced slot', () => {
  test('un-fenced while the write waits: it succeeds, having waited with jitter', async () => {
    await place('fenced', null)
    const waits: number[][] = []
    for (const fraction of [0.25, 0.75]) {
      await setSlot(source, 'users', SLOT, 'fenced')
      const { shards, clock, startedAt, source: directory } = await stand({ random: fixedRandom(fraction) })
      clock.onSleep = async () => {
        if (clock.now() - startedAt > 50) await setSlot(source, 'users', SLOT, 'moving')
      }
      await shards.of(SLOT).prepare(UPDATE).bind(USER).run()
      expect(clock.now() - startedAt).toBeLessThan(1_000)
      expect(directory.calls).toBe(1)
      waits.push(clock.slept.slice(0, 3))
    }
    expect(await bios()).toEqual(['changed', ''])
    // Full jitter: a fraction of 10, 20, 40 ms.
    expect(waits).toEqual([
      [2.5, 5, 10],
      [7.5, 15, 30],
    ])
  })

  test('cut over by a mover that crashed before it retired the source: the write requests a newer map and is applied at the target', async () => {
    await place('fenced', 'moving')
    const { shards, commit, clock, startedAt } = await stand()
    commit()
    await shards.of(SLOT).prepare(UPDATE).bind(USER).run()
    expect(clock.now() - startedAt).toBeLessThan(1_000)
    expect(await bios()).toEqual(['', 'changed'])
  })

  test('cut over while the write waits: it is applied at the target', async () => {
    await place('fenced', 'importing')
    const { shards, clock, startedAt, commit } = await stand()
    clock.onSleep = async () => {
      const waited = clock.now() - startedAt
      if (waited > 50) commit()
      if (waited > 100) await setSlot(target, 'users', SLOT, 'moving')
      if (waited > 150) await setSlot(source, 'users', SLOT, 'moved')
    }
    await shards.of(SLOT).prepare(UPDATE).bind(USER).run()
    expect(await bios()).toEqual(['', 'changed'])
  })

  test.each([
    ['fenced', 'SLOT_FENCED'],
    ['importing', 'SLOT_FENCED'],
    ['moved', 'SLOT_NOT_OWNED'],
    [null, 'SLOT_NOT_OWNED'],
  ] as const)(
    'an exact read of a slot that is %s is refused with %s; a leased one is answered',
    async (state, code) => {
      await place(state, null)
      const { shards } = await stand()
      const exact = shards.of(SLOT, { read: 'exact' })
      const select = 'SELECT handle FROM profiles WHERE id = ?'
      expect(await rejectionOf(exact.prepare(select).bind(USER).first())).toMatchObject({ code })
      expect(await rejectionOf(exact.prepare(select).bind(USER).raw())).toMatchObject({ code })
      expect(await rejectionOf(exact.batch([exact.prepare(select).bind(USER)]))).toMatchObject({ code })
      expect(await shards.of(SLOT).prepare(select).bind(USER).first('handle')).toBe('ada')
    },
  )

  test.each(['active', 'moving'] as const)('an exact read of a slot that is %s is answered', async (state) => {
    await place(state, null)
    const { shards } = await stand()
    const exact = shards.of(SLOT, { read: 'exact' })
    expect(await exact.prepare('SELECT handle FROM profiles').raw()).toEqual([['ada']])
  })
})

describe('a leased read whose answer arrives after its lease expired is discarded and repeated exactly', () => {
  const select = 'SELECT handle FROM profiles WHERE id = ?'

  /** The read is delayed for `ms`, while the move commits and the source is purged. `meanwhile` runs in that time. */
  async function heldBack(ms: number, meanwhile: (stand: Awaited<ReturnType<typeof standing>>) => Promise<unknown>) {
    await place('active', null)
    const world = await standing(ms, meanwhile)
    return world
  }

  async function standing(ms: number, meanwhile: (world: Awaited<ReturnType<typeof stand>>) => Promise<unknown>) {
    const clock = new ManualClock()
    const state = { held: false }
    const slow = linkedDatabase(source, async (send) => {
      if (state.held) return send()
      state.held = true
      await place('moved', 'moving')
      await setSlot(source, 'users', SLOT, 'active')
      await source.prepare('DELETE FROM profiles').run()
      await setSlot(source, 'users', SLOT, null)
      world.commit()
      clock.time += ms // a frozen isolate: no timer fired, and the answer arrived first
      const answer = await send() // it reads the purged shard
      await meanwhile(world)
      return answer
    })
    const world = await stand({ clock, databases: { SHARD_000: slow, SHARD_001: target } })
    return world
  }

  test.each([
    ['no request has loaded a map since', async () => undefined],
    [
      'another request has loaded the newer map, whose lease is fresh',
      ({ holder, source: directory }: Awaited<ReturnType<typeof stand>>) => holder.current(mapRequest(directory)),
    ],
  ])('%s', async (_, meanwhile) => {
    const { shards, calls } = await heldBack(31_000, meanwhile)
    expect(await shards.of(SLOT).prepare(select).bind(USER).first('handle')).toBe('ada')
    expect(sent(calls)).toEqual(['read shard-000', 'exact-read shard-001'])
  })

  test('as arrays, and as a batch', async () => {
    const first = await heldBack(31_000, async () => undefined)
    expect(await first.shards.of(SLOT).prepare(select).bind(USER).raw()).toEqual([['ada']])
    const second = await heldBack(31_000, async () => undefined)
    const database = second.shards.of(SLOT)
    const [answer] = await database.batch<{ handle: string }>([database.prepare(select).bind(USER)])
    expect(answer!.results).toEqual([{ handle: 'ada' }])
  })
})

test('with the directory unavailable for longer than the lease, reads are exact and writes continue', async () => {
  await place('active', null)
  const { shards, clock, calls, source: directory } = await stand()
  directory.reply = () => Promise.reject(new Error('away'))
  clock.advance(30_000)
  const database = shards.of(SLOT)
  expect(await database.prepare('SELECT handle FROM profiles').first('handle')).toBe('ada')
  await database.prepare(UPDATE).bind(USER).run()
  expect(sent(calls)).toEqual(['exact-read shard-000', 'write shard-000'])
})

test('a map that names a shard without a binding: SHARD_UNKNOWN, and nothing is sent', async () => {
  const { shards, calls, commit, source: directory } = await stand({ databases: { SHARD_000: source } })
  await place('moved', null)
  commit()
  const failed = await rejectionOf(shards.of(SLOT).prepare(UPDATE).bind(USER).run())
  expect(failed).toMatchObject({ code: 'SHARD_UNKNOWN', status: 503, retryAfterSeconds: 5 })
  expect(failed.message).toContain('SHARD_001')
  expect([sent(calls), directory.calls]).toEqual([['write shard-000'], 2])
})

describe('a broken connection', () => {
  /** Fails the first `times` round trips, before or after their effect. */
  function breaking(times: number, when: 'before' | 'after') {
    let left = times
    return linkedDatabase(source, async (send) => {
      if (left-- <= 0) return send()
      if (when === 'after') await send()
      throw connectionLost()
    })
  }

  beforeEach(() => place('active', null))
  const select = 'SELECT handle FROM profiles'
  const increment = 'UPDATE profiles SET version = version + 1'
  const version = () => source.prepare('SELECT version FROM profiles').first('version')

  test.each(['lease', 'exact'] as const)('a %s read is retried at most twice', async (read) => {
    const twice = await stand({ databases: { SHARD_000: breaking(2, 'before') } })
    expect(await twice.shards.of(SLOT, { read }).prepare(select).first('handle')).toBe('ada')
    expect(twice.calls).toHaveLength(3)

    const thrice = await stand({ databases: { SHARD_000: breaking(3, 'before') } })
    expect(await rejectionOf(thrice.shards.of(SLOT, { read }).prepare(select).first())).toMatchObject({
      code: 'SHARD_UNAVAILABLE',
      status: 503,
    })
    expect(thrice.calls).toHaveLength(3)
  })

  test.each(['before', 'after'] as const)(
    '%s its effect: a write is never retried, and its outcome is unknown',
    async (when) => {
      const { shards, calls } = await stand({ databases: { SHARD_000: breaking(1, when) } })
      const failed = await rejectionOf(shards.of(SLOT).prepare(increment).run())
      expect(failed).toMatchObject({ code: 'OUTCOME_UNKNOWN', status: 503, outcome: 'unknown' })
      expect(calls).toHaveLength(1)
      expect(await version()).toBe(when === 'after' ? 2 : 1)
    },
  )

  test('a batch with one write in it is a write', async () => {
    const { shards, calls } = await stand({ databases: { SHARD_000: breaking(1, 'before') } })
    const database = shards.of(SLOT)
    const batch = database.batch([database.prepare(select), database.prepare(increment)])
    expect(await rejectionOf(batch)).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    expect(calls).toHaveLength(1)
  })

  test('an idempotent write is retried at most twice; then its outcome is unknown', async () => {
    const set = 'UPDATE profiles SET version = 9'
    const twice = await stand({ databases: { SHARD_000: breaking(2, 'after') } })
    await twice.shards.of(SLOT, { idempotent: true }).prepare(set).run()
    expect([twice.calls.length, await version()]).toEqual([3, 9])

    const thrice = await stand({ databases: { SHARD_000: breaking(3, 'after') } })
    const failed = await rejectionOf(thrice.shards.of(SLOT, { idempotent: true }).prepare(set).run())
    expect(failed).toMatchObject({ code: 'OUTCOME_UNKNOWN', outcome: 'unknown' })
    expect(thrice.calls).toHaveLength(3)
  })

  test.each(['read-only', 'restoring', 'unbound'] as const)(
    'a write applied with a lost answer, and then a slot at a shard that is %s: unknown, not "nothing was written"',
    async (how) => {
      let isFirst = true
      const database = linkedDatabase(source, async (send) => {
        const answer = await send()
        if (!isFirst) return answer
        isFirst = false
        await setSlot(source, 'users', SLOT, 'moved')
        throw connectionLost()
      })
      const bound = how === 'unbound' ? { SHARD_000: database } : { SHARD_000: database, SHARD_001: target }
      const { shards, source: directory, clock, calls } = await stand({ databases: bound })
      directory.reply = () => {
        const wire = mapWire(2, clock.now(), 1)
        if (how !== 'unbound') wire.shards[1]!.state = how
        return wire
      }
      const set = 'UPDATE profiles SET version = 9'
      const failed = await rejectionOf(shards.of(SLOT, { idempotent: true }).prepare(set).run())
      expect(failed).toMatchObject({ code: 'OUTCOME_UNKNOWN', outcome: 'unknown' })
      expect([sent(calls), await version()]).toEqual([['write shard-000', 'write shard-000'], 9])
    },
  )
})

describe('errors that are not refusals of a slot are not retried', () => {
  beforeEach(() => place('active', null))

  test.each([
    [
      'a key that is taken',
      'INSERT INTO profiles SELECT * FROM profiles',
      'DATABASE_CONSTRAINT',
      'SQLITE_CONSTRAINT_PRIMARYKEY',
    ],
    ['a NULL', `INSERT INTO profiles (id) VALUES ('${ABSENT}')`, 'DATABASE_CONSTRAINT', 'SQLITE_CONSTRAINT_NOTNULL'],
    ['a statement that is wrong', 'UPDATE profiles SET none = 1', 'DATABASE_ERROR', 'SQLITE_ERROR'],
  ])('%s keeps SQLite’s code', async (_, sql, code, sqliteCode) => {
    const { shards, calls } = await stand()
    expect(await rejectionOf(shards.of(SLOT).prepare(sql).run())).toMatchObject({ code, sqliteCode })
    expect(calls).toHaveLength(1)
  })

  test.each(['SELECT * FROM later', 'DELETE FROM later'])(
    '%s, a table that does not exist yet: MIGRATIONS_PENDING',
    async (sql) => {
      const { shards, calls } = await stand()
      expect(await rejectionOf(shards.of(SLOT).prepare(sql).run())).toMatchObject({
        code: 'MIGRATIONS_PENDING',
        status: 503,
      })
      expect(calls).toHaveLength(1)
    },
  )

  test('a session that has ended: SESSION_ENDED, and the batch is undone', async () => {
    const { shards } = await stand()
    const database = shards.of(SLOT)
    const guard = database.prepare('INSERT INTO session_guard (id, now) VALUES (?, 1)').bind(`${SLOT}none`)
    const batch = database.batch([database.prepare(UPDATE).bind(USER), guard])
    expect(await rejectionOf(batch)).toMatchObject({ code: 'SESSION_ENDED', status: 401 })
    expect(await bios()).toEqual(['', ''])
  })
})

describe('a client that knows a newer epoch reads its own write', () => {
  const select = 'SELECT bio FROM profiles WHERE id = ?'

  test.each(['warm', 'cold'] as const)(
    'a %s isolate with an older copy in the data centre asks the directory first',
    async (kind) => {
      await place('moved', 'moving')
      await setSlot(target, 'users', SLOT, 'active')
      await target.prepare(UPDATE).bind(USER).run()
      const clock = new ManualClock()
      const copies = new HeldCopies()
      copies.held.set('current', mapWire(1, clock.now(), 0))
      const directory = new ScriptedSource(() => mapWire(2, clock.now(), 1))
      const holder = new MapHolder(clock, 30_000)
      if (kind === 'warm') await holder.current(mapRequest(directory, copies))
      const { shards, calls } = routedShards({ databases, clock, holder, copies, source: directory, atLeastEpoch: 2 })
      expect(await shards.of(SLOT).prepare(select).bind(USER).first('bio')).toBe('changed')
      expect(sent(calls)).toEqual(['read shard-001'])
      expect(directory.calls).toBe(1)
    },
  )

  test('a directory that does not know the epoch yet: the read is exact, so it never misses the write', async () => {
    await place('moved', 'active')
    const { holder, clock } = await stand()
    const later = routedShards({
      databases,
      clock,
      holder,
      atLeastEpoch: 2,
      source: new ScriptedSource(() => Promise.reject(new Error('away'))),
    })
    expect(await rejectionOf(later.shards.of(SLOT).prepare(select).bind(USER).first())).toMatchObject({
      code: 'SLOT_NOT_OWNED',
    })
    expect(later.calls.every(({ kind }) => kind === 'exact-read')).toBe(true)
  })
})
