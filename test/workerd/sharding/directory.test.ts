import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Reply } from '../../../src/resharding/directory-operations.ts'
import { Directory } from '../../../src/sharding/directory.ts'
import type { DirectoryStorage } from '../../../src/sharding/directory-storage.ts'
import { type MapWire, SLOT_COUNT } from '../../../src/sharding/shard-map.ts'
import type { Env } from '../../../workers/env.ts'
import { connectionLost, linkedDatabase, ManualClock } from '../../support/sharding-doubles.ts'
import { databases, rejectionOf } from '../../support/sharding-slots.ts'

const { DIRECTORY } = env as unknown as Env
const both = Object.values(databases)
let objects = 0
/** A Durable Object that has never been used. */
const newObject = () => DIRECTORY.get(DIRECTORY.idFromName(`directory-${objects++}`))

/** The map in an answer, without the time at which it was handed out. */
function mapOf(reply: Reply<{ map: MapWire }>): Omit<MapWire, 'issuedAt'> {
  if (!('map' in reply)) throw new Error(`${reply.code}: ${reply.detail}`)
  const { epoch, shards, runs } = structuredClone(reply.map)
  return { epoch, shards, runs }
}

const identities = () =>
  Promise.all(
    both.map((shard) => shard.prepare('SELECT deployment, shard FROM shard_identity').first<Record<string, string>>()),
  )

beforeEach(async () => {
  for (const shard of both)
    await shard.batch([shard.prepare('DELETE FROM shard_identity'), shard.prepare('DELETE FROM slots')])
})

describe('the first boot', () => {
  test('gives every slot of each keyspace to one shard, evenly, and the map equals the shards’ slots', async () => {
    const { epoch, shards, runs } = mapOf(await newObject().map())
    expect(epoch).toBe(1)
    expect(shards.map(({ id, binding, state }) => [id, binding, state])).toEqual([
      ['shard-000', 'SHARD_000', 'serving'],
      ['shard-001', 'SHARD_001', 'serving'],
    ])
    for (const keyspace of ['users', 'claims'] as const) {
      const owned = await Promise.all(
        both.map((shard) =>
          shard
            .prepare(
              `SELECT count(*) AS n, min(slot) AS first, max(slot) AS last, group_concat(DISTINCT state) AS states,
                      max(epoch) AS epoch FROM slots WHERE keyspace = ?`,
            )
            .bind(keyspace)
            .first(),
        ),
      )
      // Two halves of 65,536: even, disjoint and complete.
      expect(owned).toEqual([
        { n: 32_768, first: '0000', last: '7fff', states: 'active', epoch: 1 },
        { n: 32_768, first: '8000', last: 'ffff', states: 'active', epoch: 1 },
      ])
      expect(runs[keyspace]).toEqual([
        [0, 0],
        [0x8000, 1],
      ])
    }
  })

  test('runs once for twenty concurrent first requests', async () => {
    const object = newObject()
    const maps = await Promise.all(Array.from({ length: 20 }, async () => mapOf(await object.map())))
    expect(new Set(maps.map((map) => JSON.stringify(map))).size).toBe(1)
    const sent = { batches: 0 }
    const counted = new Map(
      Object.entries(databases).map(([binding, shard]) => [
        binding,
        linkedDatabase(shard, (send) => {
          sent.batches++
          return send()
        }),
      ]),
    )
    for (const shard of both) await shard.prepare('DELETE FROM shard_identity').run()
    await runInDurableObject(newObject(), async (_, state) => {
      const directory = directoryOn(state, counted)
      await Promise.all(Array.from({ length: 20 }, () => directory.map()))
      await directory.map()
    })
    expect(sent.batches).toBe(4) // two shards, each taken and seeded
  })

  test('is not repeated by a new object after an eviction, and a second directory can’t take its databases', async () => {
    const object = newObject()
    const before = mapOf(await object.map())
    const owners = await identities()
    await evictDurableObject(object)
    for (const shard of both) await shard.prepare('DELETE FROM slots').run() // a boot would fill them again
    expect(mapOf(await object.map())).toEqual(before)
    expect(await identities()).toEqual(owners)
    expect(owners.map((owner) => owner?.shard)).toEqual(['shard-000', 'shard-001'])
    expect(await newObject().map()).toMatchObject({ code: 'SHARD_FOREIGN' })
    expect(await both[0]!.prepare('SELECT count(*) AS n FROM slots').first('n')).toBe(0)
  })

  test('refuses a database of another deployment: SHARD_FOREIGN names the binding, and no slot is assigned', async () => {
    await databases.SHARD_001.prepare("INSERT INTO shard_identity VALUES (1, 'stranger', 'shard-001')").run()
    const object = newObject()
    for (let attempt = 0; attempt < 2; attempt++) {
      const reply = await object.map()
      expect(reply).toMatchObject({ code: 'SHARD_FOREIGN', detail: expect.stringContaining('SHARD_001') })
    }
    for (const shard of both) expect(await shard.prepare('SELECT count(*) AS n FROM slots').first('n')).toBe(0)
    await databases.SHARD_001.prepare('DELETE FROM shard_identity').run()
    expect(mapOf(await object.map()).epoch).toBe(1)
  })

  test('waits for migrations: MIGRATIONS_PENDING names the binding, and after them it boots', async () => {
    await databases.SHARD_001.prepare('ALTER TABLE shard_identity RENAME TO later').run()
    const object = newObject()
    const reply = await object.map()
    await databases.SHARD_001.prepare('ALTER TABLE later RENAME TO shard_identity').run()
    expect(reply).toMatchObject({ code: 'MIGRATIONS_PENDING', detail: expect.stringContaining('SHARD_001') })
    expect(mapOf(await object.map()).shards).toHaveLength(2)
  })
})

function directoryOn(state: DurableObjectState, shards: ReadonlyMap<string, D1Database>, crashAt = '') {
  const storage: DirectoryStorage = {
    rows: <T>(sql: string, ...values: (string | number | null)[]) => {
      if (sql.startsWith('INSERT') && values[0] === crashAt) throw new Error('crashed')
      return state.storage.sql.exec(sql, ...values).toArray() as T[]
    },
    transaction: (body) => state.storage.transactionSync(body),
  }
  return new Directory({
    storage,
    shards,
    clock: new ManualClock(77),
    newDeploymentId: () => `deployment-${objects++}`,
  })
}

/** A database that must not be used. */
const untouched = linkedDatabase(databases.SHARD_000, async () => {
  throw new Error('this database is not in the plan')
})

describe('a crash in the first boot, followed by a boot', () => {
  const bound = new Map(Object.entries(databases))
  const lost = (fails: (call: number) => boolean, when: 'before' | 'after') => {
    let call = 0
    return new Map(bound).set(
      'SHARD_001',
      linkedDatabase(databases.SHARD_001, async (send) => {
        if (!fails(call++)) return send()
        if (when === 'after') await send()
        throw connectionLost()
      }),
    )
  }

  test.each([
    ['after the second shard is taken', () => lost((call) => call === 0, 'after'), ''],
    ['before its slots are seeded', () => lost((call) => call === 1, 'before'), ''],
    ['after its slots are seeded', () => lost((call) => call === 1, 'after'), ''],
    ['between seeding and publishing', () => bound, 'booted'],
    ['while planning', () => bound, 'epoch'],
  ] as const)('%s: with a third binding the first plan is still carried out', async (name, shards, crashAt) => {
    await runInDurableObject(newObject(), async (_, state) => {
      await rejectionOf(directoryOn(state, shards(), crashAt).map())
      const deployments = (await identities()).map((identity) => identity?.deployment).filter(Boolean)

      const isPlanned = name !== 'while planning'
      const rebound = isPlanned ? new Map(bound).set('SHARD_002', untouched) : bound
      const map = await directoryOn(state, rebound).map()
      expect(map.shards.map(({ binding }) => binding)).toEqual(['SHARD_000', 'SHARD_001'])
      expect(map).toMatchObject({ epoch: 1, issuedAt: 77 })
      const now = (await identities()).map((identity) => identity!.deployment)
      expect(new Set(now).size).toBe(1)
      for (const deployment of deployments) expect(now[0]).toBe(deployment)
      const counts = both.map((shard) => shard.prepare('SELECT count(*) AS n FROM slots').first<number>('n'))
      expect(await Promise.all(counts)).toEqual([SLOT_COUNT, SLOT_COUNT]) // half of each keyspace
    })
  })

  test('with two bindings swapped: SHARD_FOREIGN, although both databases belong to this deployment', async () => {
    await runInDurableObject(newObject(), async (_, state) => {
      await rejectionOf(
        directoryOn(
          state,
          lost((call) => call === 0, 'before'),
        ).map(),
      )
      const swapped = new Map([
        ['SHARD_000', databases.SHARD_001],
        ['SHARD_001', databases.SHARD_000],
      ])
      const failed = await rejectionOf(directoryOn(state, swapped).map())
      expect(failed).toMatchObject({ code: 'SHARD_FOREIGN' })
      expect(failed.message).toContain('SHARD_001')
    })
  })

  test('with a binding missing, the error says which binding to add again', async () => {
    await runInDurableObject(newObject(), async (_, state) => {
      await rejectionOf(directoryOn(state, bound, 'booted').map())
      const fewer = new Map([['SHARD_000', databases.SHARD_000]])
      const failed = await rejectionOf(directoryOn(state, fewer).map())
      expect(failed).toMatchObject({ code: 'SHARD_UNKNOWN' })
      expect(failed.message).toContain('SHARD_001')
    })
  })

  test('without any binding, it reports that and plans nothing', async () => {
    await runInDurableObject(newObject(), async (_, state) => {
      expect(await rejectionOf(directoryOn(state, new Map()).map())).toMatchObject({ code: 'SETTING_MISSING' })
      expect((await directoryOn(state, bound).map()).shards).toHaveLength(2)
    })
  })
})
