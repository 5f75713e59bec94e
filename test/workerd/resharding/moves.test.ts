import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { PausePoint } from '../../../src/resharding/move.ts'
import {
  drive,
  epoch,
  holdings,
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

// The first boot assigns the slots.
beforeAll(async () => void (await epoch()))

/** A separate slot for each test. Slots in the lower half belong to the first shard at the start. */
let slot: string
let number = 0x1000
beforeEach(async () => {
  slot = (number++).toString(16)
  for (const [name, literal] of Object.entries(oddities))
    await source()
      .prepare(`INSERT INTO posts VALUES (?, 'somebody', ${literal}, 1, NULL, 1)`)
      .bind(`${slot}.${name}`)
      .run()
  await source().prepare('INSERT INTO inbox VALUES (?, 9007199254740993)').bind(`${slot}.job`).run()
  await source().prepare("INSERT INTO idempotency_keys VALUES (?, '', '', '', 201, '{}', 1)").bind(`${slot}.key`).run()
})

const source = () => shards.get('SHARD_000')!
const target = () => shards.get('SHARD_001')!
const at = (binding: string) => holdings(binding, 'users', slot)

const oddities = {
  plain: "'text'",
  empty: "''",
  emoji: "'🌳'",
  nul: "'a' || char(0) || 'b'",
  'not-utf-8': "CAST(x'ff00fe' AS TEXT)",
}

const write = (text: string) =>
  routed()
    .of(slot, { operation: 'test.write' })
    .prepare("INSERT INTO posts (id, author_id, text, created_at, version) VALUES (?, 'somebody', ?, 1, 1)")
    .bind(`${slot}.${text}`, text)
    .run()

/** The pause points of a move on its way to settling, and those on its way out. */
const onTheWay: PausePoint[] = [
  ...(['raised', 'prepared', 'captured', 'copied', 'caught-up', 'verified', 'attempt', 'fenced', 'drained'] as const),
  ...(['committed', 'activated', 'retired', 'settling'] as const),
]
const beforeCommit = onTheWay.slice(0, onTheWay.indexOf('committed'))
/** While the slot takes no writes, a writer waits here. */
const fenced: PausePoint[] = ['fenced', 'drained', 'committed']

test('a move carries every row exactly, and the source keeps the rows until no lease reads there', async () => {
  const before = await at('SHARD_000')
  const epochBefore = await epoch()
  const { id } = await planMove('users', slot, 'shard-001')
  const settled = await drive(id)
  expect(settled).toMatchObject({
    state: 'settling',
    epoch: epochBefore + 1,
    hasLanes: false,
    rowsVerified: 7,
    error: null,
  })
  expect(await epoch()).toBe(epochBefore + 1)
  expect(await at('SHARD_001')).toEqual({ ...before, state: 'moving' })
  expect(await at('SHARD_000')).toEqual({ ...before, state: 'moved' })
  await settleNow(id)
  expect(await drive(id)).toMatchObject({ state: 'done', hasLanes: false })
  expect(await at('SHARD_001')).toEqual({ ...before, state: 'active' })
  expect(await at('SHARD_000')).toEqual({ state: null, rows: {}, changes: 0 })
})

test('leftover rows at the target are deleted before others arrive', async () => {
  const before = await at('SHARD_000')
  await target().batch([
    slotStatement(target(), 'users', slot, 'importing'),
    target().prepare('UPDATE mover SET open = 1 WHERE id = 1'),
    target().prepare("INSERT INTO posts VALUES (?, 'nobody', 'left', 1, NULL, 1)").bind(`${slot}.left`),
    target().prepare("INSERT INTO posts VALUES (?, 'nobody', 'old', 1, NULL, 1)").bind(`${slot}.plain`),
    target().prepare('UPDATE mover SET open = 0 WHERE id = 1'),
    slotStatement(target(), 'users', slot, null),
  ])
  const { id } = await planMove('users', slot, 'shard-001')
  expect(await drive(id)).toMatchObject({ state: 'settling', error: null })
  expect(await at('SHARD_001')).toEqual({ ...before, state: 'moving' })
})

test('claims move in the same way', async () => {
  const key = `${slot}${'a'.repeat(60)}`
  await source().prepare("INSERT INTO claims VALUES (?, 'email', 'o', 'a', 'confirmed', 1)").bind(key).run()
  const before = await holdings('SHARD_000', 'claims', slot)
  const { id } = await planMove('claims', slot, 'shard-001')
  await drive(id)
  expect(await holdings('SHARD_001', 'claims', slot)).toEqual({ ...before, state: 'moving' })
  expect((await at('SHARD_000')).state).toBe('active')
})

test.each(onTheWay)(
  'after a write and a crash at the pause point "%s", the owner has the write exactly once',
  async (point) => {
    const { id } = await planMove('users', slot, 'shard-001')
    let written: Promise<unknown> = Promise.resolve()
    const settled = await drive(
      id,
      once(point, async () => {
        written = write(`written-at-${point}`)
        if (!fenced.includes(point)) await written
        throw new Error('crash')
      }),
    )
    await written
    expect(settled).toMatchObject({ state: 'settling', error: null })
    const { posts } = (await at('SHARD_001')).rows
    expect(posts!.filter((line) => line.includes(`written-at-${point}'`))).toHaveLength(1)
    expect(posts).toHaveLength(6)
  },
)

test.each(beforeCommit)(
  'aborted at the pause point "%s", a move leaves the map and the source unchanged',
  async (point) => {
    const before = await at('SHARD_000')
    const epochBefore = await epoch()
    const { id } = await planMove('users', slot, 'shard-001')
    const ended = await drive(
      id,
      once(point, () => steer(id, 'abort')),
    )
    expect(ended).toMatchObject({ state: 'aborted', hasLanes: false })
    expect(await epoch()).toBe(epochBefore)
    expect(await at('SHARD_000')).toEqual(before)
    expect(await at('SHARD_001')).toEqual({ state: null, rows: {}, changes: 0 })
    await write('goes-on')
  },
)

describe('a reverse while settling', () => {
  async function settledWithWrites(): Promise<string> {
    const { id } = await planMove('users', slot, 'shard-001')
    await drive(id)
    await write('at-the-target')
    const database = routed().of(slot, { operation: 'test.edit' })
    await database.prepare("UPDATE posts SET text = 'edited' WHERE id = ?").bind(`${slot}.plain`).run()
    await database.prepare('DELETE FROM posts WHERE id = ?').bind(`${slot}.empty`).run()
    return id
  }

  test('carries back the writes that the target has taken meanwhile', async () => {
    const id = await settledWithWrites()
    const written = (await at('SHARD_001')).rows
    await steer(id, 'reverse')
    expect(await drive(id)).toMatchObject({ state: 'settling', reversed: true })
    expect(await at('SHARD_000')).toMatchObject({ state: 'moving', rows: written })
    await write('after-the-reverse')
    expect((await at('SHARD_000')).rows.posts).toHaveLength(6)
  })

  test.each(['caught-up', 'fenced'] as const)(
    'aborted at "%s" returns to settling, and keeps the rows',
    async (point) => {
      const id = await settledWithWrites()
      const written = (await at('SHARD_001')).rows
      await steer(id, 'reverse')
      expect(
        await drive(
          id,
          once(point, () => steer(id, 'abort')),
        ),
      ).toMatchObject({ state: 'settling', reversed: false })
      expect(await at('SHARD_001')).toMatchObject({ state: 'moving', rows: written })
      expect((await at('SHARD_000')).state).toBe('moved')
      await write('goes-on')
      await steer(id, 'reverse')
      expect(await drive(id)).toMatchObject({ state: 'settling', reversed: true })
      expect((await at('SHARD_000')).rows.posts).toHaveLength(6)
    },
  )
})

describe('a difference between both sides fails the move and is named, and the source keeps serving', () => {
  /** Bypasses the fence, which nothing else may do. */
  const corrupt = (sql: string) => async () => {
    await target().batch([
      target().prepare('UPDATE mover SET open = 1 WHERE id = 1'),
      target().prepare(sql).bind(`${slot}.plain`),
      target().prepare('UPDATE mover SET open = 0 WHERE id = 1'),
    ])
  }

  test.each([
    ['a changed row', "UPDATE posts SET text = 'changed' WHERE id = ?", /posts \["\w+\.plain"\] differs/],
    ['a lost row', 'DELETE FROM posts WHERE id = ?', /posts \["\w+\.plain"\] is missing at the target/],
    [
      'an extra row',
      "INSERT INTO posts VALUES (? || '.twin', 'nobody', '', 1, NULL, 1)",
      /posts \["\w+\.plain\.twin"\] is at the target only/,
    ],
  ])('%s', async (_, sql, report) => {
    const before = await at('SHARD_000')
    const { id } = await planMove('users', slot, 'shard-001')
    const failed = await drive(id, once('copied', corrupt(sql)))
    expect(failed.state).toBe('failed')
    expect(failed.error).toMatch(report)
    expect(await at('SHARD_000')).toEqual(before)
    expect(await at('SHARD_001')).toEqual({ state: null, rows: {}, changes: 0 })
    await write('goes-on')
  })

  test('a row that was lost after it was compared', async () => {
    const lose = corrupt('DELETE FROM posts WHERE id = ?')
    const observer = {
      before: async (shard: string, operation: string) =>
        void (`${operation} at ${shard}` === 'count at shard-000' && (await lose())),
    }
    const { id } = await planMove('users', slot, 'shard-001')
    const one = mover({ observer })
    while ((await one.turn(id)) !== null);
    expect(await record(id)).toMatchObject({
      state: 'failed',
      error: 'posts: 5 rows at the source, 4 at the target',
    })
    await write('goes-on')
  })
})

describe('a migration', () => {
  const migrate = (shard = target()) =>
    shard.prepare("INSERT INTO d1_migrations (name) VALUES ('9999_later.sql')").run()
  const back = (shard = target()) => shard.prepare("DELETE FROM d1_migrations WHERE name = '9999_later.sql'").run()

  test.each(['prepared', 'copied', 'attempt'] as const)(
    'at one shard, at "%s", fails the move with the reason',
    async (point) => {
      const before = await at('SHARD_000')
      const { id } = await planMove('users', slot, 'shard-001')
      const failed = await drive(
        id,
        once(point, async () => void (await migrate())),
      )
      expect(failed).toMatchObject({ state: 'failed', error: expect.stringMatching(/migrat/) })
      expect(await at('SHARD_000')).toEqual(before)
      await back()
    },
  )

  test('at both shards, after rows were copied without its columns, fails the move with a fix', async () => {
    const before = await at('SHARD_000')
    const { id } = await planMove('users', slot, 'shard-001')
    const both = [source(), target()]
    const failed = await drive(
      id,
      once('copied', async () => {
        for (const shard of both) await migrate(shard)
      }),
    )
    for (const shard of both) await back(shard)
    expect(failed).toMatchObject({ state: 'failed', error: expect.stringMatching(/start the move again$/) })
    expect(await at('SHARD_000')).toEqual(before)
    expect(await at('SHARD_001')).toEqual({ state: null, rows: {}, changes: 0 })
  })

  test('at one shard, before anything was copied, makes the move wait, because queued moves must not all fail', async () => {
    const { id } = await planMove('users', slot, 'shard-001')
    await migrate()
    await mover().turn(id)
    await mover().turn(id)
    expect(await record(id)).toMatchObject({ state: 'preparing', ending: null, error: null })
    await migrate(source())
    expect((await drive(id)).state).toBe('settling')
    for (const shard of [source(), target()]) await back(shard)
  })

  test('after the commit does no harm, and no move is planned while the shards differ', async () => {
    const { id } = await planMove('users', slot, 'shard-001')
    expect(
      await drive(
        id,
        once('committed', async () => void (await migrate())),
      ),
    ).toMatchObject({ state: 'settling' })
    await expect(planMove('users', '2fff', 'shard-001')).rejects.toThrow(/SCHEMA_VERSIONS_DIFFER/)
    await back()
    expect((await record(id)).error).toBeNull()
  })
})
