import { describe, expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { Directory } from '../../../src/sharding/directory.ts'
import { spansOf } from '../../../src/sharding/shard-map.ts'
import { SimulatedStorage } from '../../simulation/template.ts'
import { enginesOwn, migratedShard } from '../../support/fleet.ts'
import {
  connectionLost,
  linkedDatabase,
  ManualClock,
  mapWire,
  routedShards,
  ScriptedSource,
  silence,
} from '../../support/sharding-doubles.ts'
import { wideFleet } from '../../support/wide-fleet.ts'

// A version that knows only `users` has run for a while. The version with `claims` is deployed.

type Call = (number: number, send: () => Promise<unknown>) => Promise<unknown>

/** Three shards whose slots of `users` are assigned. `onCall` gets each later call of a shard, numbered from 0. */
async function stand(count = 3) {
  const clock = new ManualClock()
  const storage = new SimulatedStorage()
  const plain = new Map(Array.from({ length: count }, (_, index) => [`SHARD_00${index}`, migratedShard()]))
  const link = { calls: 0, onCall: ((_, send) => send()) as Call }
  const shards = new Map(
    [...plain].map(([binding, database]) => [
      binding,
      linkedDatabase(database, (send) => link.onCall(link.calls++, send)),
    ]),
  )
  const given = { storage, clock, shards, newDeploymentId: () => 'ours' }
  const older = new Directory({ ...given, keyspaces: ['users'] })
  await older.map()
  link.calls = 0
  const failures: unknown[] = []
  const newer = () => new Directory({ ...given, keyspaces: enginesOwn, onUnassigned: (error) => failures.push(error) })
  return { clock, plain, link, older, newer, failures }
}

type Stand = Awaited<ReturnType<typeof stand>>

/** Each shard's slots of a keyspace as it has them itself: how many, in which states. */
async function slotsOf({ plain }: Stand, keyspace = 'claims') {
  const rows = [...plain.values()].map((database) =>
    database
      .prepare(
        `SELECT count(*) AS n, coalesce(min(slot), '') AS first, coalesce(max(slot), '') AS last,
           coalesce(group_concat(DISTINCT state), '') AS states FROM slots WHERE keyspace = ?`,
      )
      .bind(keyspace)
      .first<{ n: number; first: string; last: string; states: string }>(),
  )
  return (await Promise.all(rows)).map((row) => `${row!.n} ${row!.first}-${row!.last} ${row!.states}`)
}

const thirds = ['21845 0000-5554 active', '21845 5555-aaa9 active', '21846 aaaa-ffff active']

/** Gives time to what runs in the background. */
const pause = () => new Promise((resolve) => setImmediate(resolve))

async function published(directory: Directory): Promise<void> {
  for (let turns = 0; turns < 100 && !(await directory.map()).runs.claims; turns++) await pause()
}

test('every slot of a new keyspace gets one owner; no map has the keyspace before all shards have their slots', async () => {
  const given = await stand()
  const { older, newer, link } = given
  const before = await older.map()
  const directory = newer()
  const sightings: (number | undefined)[] = []
  link.onCall = async (_, send) => {
    sightings.push((await directory.map()).runs.claims?.length)
    return send()
  }
  expect((await directory.map()).runs).toEqual({ users: before.runs.users })
  await directory.whole()
  const after = await directory.map()
  expect(after.epoch).toBe(before.epoch + 1)
  expect(spansOf(after.runs.claims!).map(({ first, after, shard }) => `${shard}: ${after - first}`)).toEqual([
    '0: 21845',
    '1: 21845',
    '2: 21846',
  ])
  expect(after.runs.users).toEqual(before.runs.users)
  expect(await slotsOf(given)).toEqual(thirds)
  expect(await slotsOf(given, 'users')).toEqual(thirds)
  expect(sightings.length).toBeGreaterThanOrEqual(6)
  expect(new Set(sightings)).toEqual(new Set([undefined]))
  // An isolate of the older version reads the newer map, and the older object the newer storage.
  expect((await older.map()).runs).toEqual({ users: before.runs.users })
})

test('a call for the map starts the assignment and does not wait for it', async () => {
  const given = await stand()
  const directory = given.newer()
  expect((await directory.map()).runs.claims).toBeUndefined()
  await published(directory)
  expect(await slotsOf(given)).toEqual(thirds)
  const { calls } = given.link
  await directory.map()
  await directory.whole()
  expect(given.link.calls).toBe(calls)
})

test.each(['before', 'after'] as const)(
  'the object is lost %s any call of a shard takes effect: its successor completes the assignment',
  async (moment) => {
    // Per shard, one call reads its step and one writes its slots.
    for (let lost = 0; lost < 4; lost++) {
      const given = await stand(2)
      given.link.onCall = async (number, send) => {
        if (number !== lost) return send()
        if (moment === 'after') await send()
        throw connectionLost()
      }
      await expect(given.newer().whole()).rejects.toMatchObject({ code: 'SHARD_UNAVAILABLE' })
      expect((await given.older.map()).epoch).toBe(1)
      const successor = given.newer()
      await successor.whole()
      expect((await successor.map()).epoch).toBe(2)
      expect(await slotsOf(given), `call ${lost}`).toEqual(['32768 0000-7fff active', '32768 8000-ffff active'])
    }
  },
)

test('an object of an older version refuses to plan moves of a keyspace that it does not know', async () => {
  const { older } = await stand(1)
  await expect(older.whole('claims')).rejects.toMatchObject({ code: 'KEYSPACE_UNASSIGNED' })
  await older.whole('users')
})

test('two objects assign at once: each slot still has one owner, and the epoch rises once', async () => {
  const given = await stand()
  const [one, other] = [given.newer(), given.newer()]
  await Promise.all([one.whole(), other.whole()])
  expect((await one.map()).epoch).toBe(2)
  expect(await slotsOf(given)).toEqual(thirds)
})

/** Takes a slot from the first shard and gives it to the second, as a move and its purge do. */
async function moveAway({ plain }: Stand): Promise<void> {
  const [source, target] = [...plain.values()]
  const raised = 'UPDATE mover SET step = step + 1 WHERE id = 1'
  await source!.batch([source!.prepare(raised), source!.prepare("DELETE FROM slots WHERE slot = '0000'")])
  await target!.batch([
    target!.prepare(raised),
    target!.prepare("INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('claims', '0000', 'active', 3)"),
  ])
}

const ownersOf = async ({ plain }: Stand) => {
  const found = [...plain].map(async ([binding, database]) => {
    const sql = "SELECT state FROM slots WHERE keyspace = 'claims' AND slot = '0000'"
    return (await database.prepare(sql).first('state')) === 'active' ? [binding] : []
  })
  return (await Promise.all(found)).flat()
}

test('a late batch of an abandoned attempt does not bring back a slot that has moved', async () => {
  const given = await stand()
  const late: (() => Promise<unknown>)[] = []
  // The first three calls read the steps. The batches with the slots get no answer, and arrive later.
  given.link.onCall = (number, send) => {
    if (number < 3) return send()
    late.push(send)
    return silence()
  }
  const abandoned = given
    .newer()
    .whole()
    .catch(() => 'failed')
  for (let passed = 0; passed <= limits.directoryShardMs; passed += 500) {
    await pause()
    given.clock.advance(500)
  }
  expect(await abandoned).toBe('failed')
  given.link.onCall = (_, send) => send()
  await given.newer().whole()
  await moveAway(given)
  expect(late).toHaveLength(3)
  for (const send of late) await send()
  expect(await ownersOf(given)).toEqual(['SHARD_001'])
})

test('an object that was replaced while it read a step writes no slots after its successor has published', async () => {
  const given = await stand()
  const resume = Promise.withResolvers<void>()
  let isFirst = true
  given.link.onCall = async (_, send) => {
    if (isFirst) {
      isFirst = false
      await resume.promise
    }
    return send()
  }
  const replaced = given.newer().whole()
  await pause()
  await given.newer().whole()
  await moveAway(given)
  resume.resolve()
  await replaced
  expect(await ownersOf(given)).toEqual(['SHARD_001'])
})

test('a mover that changes a shard between the read of its step and the slots delays them, and stops them in the end', async () => {
  const given = await stand()
  const first = given.plain.get('SHARD_000')!
  let raises = 5
  given.link.onCall = async (_, send) => {
    const answer = await send()
    if (raises > 0) await first.prepare('UPDATE mover SET step = step + 1 WHERE id = 1').run()
    raises--
    return answer
  }
  await given.newer().whole()
  expect(await slotsOf(given)).toEqual(thirds)

  const busy = await stand()
  busy.link.onCall = async (_, send) => {
    const answer = await send()
    await busy.plain.get('SHARD_000')!.prepare('UPDATE mover SET step = step + 1 WHERE id = 1').run()
    return answer
  }
  await expect(busy.newer().whole()).rejects.toMatchObject({ code: 'SHARD_IN_MOVE' })
  expect((await busy.older.map()).epoch).toBe(1)
})

test('a shard that is being restored gets no slots; the map of the other keyspaces is served, and the failure is reported', async () => {
  const given = await stand()
  const directory = given.newer()
  given.link.onCall = async (_, send) => {
    given.older.setState('shard-001', 'restoring')
    return send()
  }
  await expect(directory.whole()).rejects.toMatchObject({
    code: 'SHARD_NOT_SERVING',
    message: expect.stringContaining('shard-001 is restoring'),
  })
  expect(await slotsOf(given)).toEqual([thirds[0], '0 - ', thirds[2]])
  expect((await directory.map()).runs.users).toHaveLength(3)
  await pause()
  expect(given.failures).toHaveLength(1)
  // It rests between failed attempts.
  for (let calls = 0; calls < 5; calls++) await directory.map()
  await pause()
  expect(given.failures).toHaveLength(1)

  given.link.onCall = (_, send) => send()
  given.older.setState('shard-001', 'serving')
  given.clock.advance(limits.keyspaceRetryMs)
  await published(directory)
  expect(await slotsOf(given)).toEqual(thirds)
})

test('while a shard delays a new keyspace, operations of the assigned ones do not wait for it', async () => {
  const given = await stand()
  const directory = given.newer()
  given.link.onCall = async (_, send) => {
    given.older.setState('shard-001', 'read-only')
    return send()
  }
  await expect(directory.whole('claims')).rejects.toMatchObject({ code: 'SHARD_NOT_SERVING' })
  await directory.whole('users')
})

test('a shard that drains, and a shard without slots of users, get no slots of a new keyspace', async () => {
  const given = await stand()
  given.older.reassign('users', [[0x5555, 0xaaa9]], 'shard-000', null)
  given.older.setState('shard-002', 'draining')
  await given.newer().whole()
  expect(await slotsOf(given)).toEqual(['65536 0000-ffff active', '0 - ', '0 - '])
})

test('a shard with planned slots cannot be removed, and one without them changes only the indexes', async () => {
  const given = await stand()
  given.older.reassign('users', [[0x5555, 0xaaa9]], 'shard-000', null)
  const directory = given.newer()
  let calls = 0
  given.link.onCall = async (_, send) => {
    if (calls++ === 0) {
      expect(() => given.older.remove('shard-002')).toThrow(/still has slots of users and claims/)
      given.older.remove('shard-001')
    }
    return send()
  }
  await directory.whole()
  expect((await directory.map()).runs.claims).toEqual([
    [0, 0],
    [0x8000, 1],
  ])
  expect(await slotsOf(given)).toEqual(['32768 0000-7fff active', '0 - ', '32768 8000-ffff active'])
})

describe('a request for a keyspace that the isolate’s map lacks', () => {
  const KEY = '1234.key'
  const insert = 'INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?)'
  const values = [KEY, 'email', 'owner', 'attempt', 'confirmed', 1]

  async function isolate(knowsAfter: number) {
    const { newer, plain } = await stand(1)
    await newer().whole()
    const clock = new ManualClock()
    const { runs, ...older } = mapWire(1, clock.now(), 0, 1)
    const source = new ScriptedSource(() =>
      source.calls > knowsAfter
        ? mapWire(2, clock.now(), 0, 1)
        : { ...older, issuedAt: clock.now(), runs: { users: runs.users! } },
    )
    return {
      ...routedShards({ databases: Object.fromEntries(plain), clock, source }),
      database: plain.get('SHARD_000')!,
    }
  }

  test('asks for newer maps until one has it: a read, a write and a batch of many slots succeed', async () => {
    const given = await isolate(3)
    const claims = given.shards.of(KEY, { keyspace: 'claims' })
    await claims
      .prepare(insert)
      .bind(...values)
      .run()
    expect(given.source.calls).toBe(4)
    const fresh = await isolate(3)
    expect(
      await fresh.shards.of(KEY, { keyspace: 'claims' }).prepare('SELECT count(*) AS n FROM claims').first('n'),
    ).toBe(0)
    expect(fresh.source.calls).toBe(4)
    const grouped = await isolate(3)
    const options = { keyspace: 'claims', operation: 'test.group' } as const
    const outcome = await grouped.shards.group([{ key: KEY }], options, (database) => ({
      row: database.prepare(insert).bind(...values),
    }))
    expect([outcome.done, [...outcome.failed]]).toEqual([[{ key: KEY }], []])
  })

  test('asks for newer maps also as a query over all shards', async () => {
    const { shards, source } = await isolate(2)
    const ids = { columns: 'key', from: 'claims', id: 'key' }
    const claims = { operation: 'test.scatter', keyspace: 'claims' } as const
    const sources = [{ ...ids, keys: ['key'] }]
    const page = await shards.scatter({ ...claims, direction: 'ascending', sources }, { limit: 1 })
    expect([page.rows, page.failed, source.calls]).toEqual([[], [], 3])
    const fresh = await isolate(2)
    for await (const { failed, next } of fresh.shards.stream({ ...claims, source: ids }))
      expect([failed, next.slots]).toEqual([[], []])
    expect(fresh.source.calls).toBe(3)
  })

  test('is refused within the budget if none has it, and requests for other keyspaces do not ask again', async () => {
    const { shards, source, clock, calls } = await isolate(Number.POSITIVE_INFINITY)
    const started = clock.now()
    const claims = shards.of(KEY, { keyspace: 'claims' })
    await expect(
      claims
        .prepare(insert)
        .bind(...values)
        .run(),
    ).rejects.toMatchObject({
      code: 'KEYSPACE_UNASSIGNED',
      retryAfterSeconds: 1,
    })
    expect(clock.now() - started).toBeLessThanOrEqual(limits.routeBudgetMs)
    const outcome = await shards.group([{ key: KEY }], { keyspace: 'claims', operation: 'test.group' }, (database) => ({
      row: database.prepare(insert).bind(...values),
    }))
    expect([...outcome.failed.values()]).toMatchObject([{ code: 'KEYSPACE_UNASSIGNED' }])
    expect(calls).toEqual([])
    const asked = source.calls
    expect(await shards.of(KEY).prepare('SELECT count(*) AS n FROM claim_attempts').first('n')).toBe(0)
    expect(source.calls).toBe(asked)
  })
})

test('450 shards get their slots in three pieces, because an invocation may send 1,000 statements', async () => {
  const statements: number[] = []
  let sent = 0
  const { directory, storage } = wideFleet({ from: 450, to: 450, clock: new ManualClock() })
  const database = {
    prepare: (sql: string) => ({ sql, values: [] as number[], bind: (...values: number[]) => ({ sql, values }) }),
    async batch(batch: { sql: string; values: number[] }[]) {
      sent += batch.length
      const slots = batch.reduce(
        (sum, { sql, values }) => (/^INSERT/.test(sql) ? sum + values[2]! - values[1]! + 1 : sum),
        0,
      )
      return batch.map(() => ({ results: [{ step: 0, slots }] }))
    },
  } as unknown as D1Database
  storage.rows("DELETE FROM runs WHERE keyspace = 'claims'")
  const shards = new Map(directory.shardEntries().map(({ binding }) => [binding, database]))
  const given = { storage, clock: new ManualClock(), shards, newDeploymentId: () => 'wide' }
  const newer = new Directory({ ...given, keyspaces: enginesOwn })
  for (const left of [250, 50]) {
    await expect(newer.whole()).rejects.toMatchObject({
      code: 'DIRECTORY_UNAVAILABLE',
      message: expect.stringContaining(`${left} remain`),
    })
    statements.push(sent)
    sent = 0
    expect((await newer.map()).runs.claims).toBeUndefined()
  }
  await newer.whole()
  expect([...statements, sent].every((count) => count <= limits.invocationStatementsMax)).toBe(true)
  const { runs } = await newer.map()
  expect(runs.claims).toEqual(runs.users)
})
