import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { signUp } from '../../../src/app/accounts/sign-up.ts'
import { slotOf } from '../../../src/core/ids.ts'
import { boundShards } from '../../../src/sharding/bound-shards.ts'
import type { Env } from '../../../workers/env.ts'
import { emptyShards, type Row, rows } from '../../support/shard-rows.ts'
import { setSlot } from '../../support/sharding-slots.ts'
import { World } from '../../support/tiers.ts'
import { somebody } from '../../support/worker-isolate.ts'

const bindings = env as unknown as Env
const shards = [...boundShards(bindings).values()] as [D1Database, D1Database]
const TABLES = ['accounts', 'profiles', 'sessions', 'outbox', 'mail_tokens', 'claim_attempts']

/** Gives a slot of the `users` keyspace to another shard, like a committed move. The old rows stay until the purge. */
async function moveSlot(slot: string, from: number, to: number): Promise<void> {
  const [source, target] = [shards[from]!, shards[to]!]
  await setSlot(source, 'users', slot, 'fenced')
  await setSlot(target, 'users', slot, 'active')
  for (const table of TABLES) {
    const { results } = await source.prepare(`SELECT * FROM ${table} WHERE id LIKE ?`).bind(`${slot}%`).all<Row>()
    for (const row of results) {
      const names = Object.keys(row)
      const sql = `INSERT INTO ${table} (${names}) VALUES (${names.map(() => '?')})`
      await target
        .prepare(sql)
        .bind(...Object.values(row))
        .run()
    }
  }
  const directory = bindings.DIRECTORY.get(bindings.DIRECTORY.idFromName('directory'))
  await runInDurableObject(directory, (_instance, { storage }) => {
    const start = Number.parseInt(slot, 16)
    const run =
      "INSERT INTO runs (keyspace, start, shard) VALUES ('users', ?, ?) ON CONFLICT DO UPDATE SET shard = excluded.shard"
    storage.sql.exec(run, start, to)
    storage.sql.exec(
      "INSERT INTO runs (keyspace, start, shard) VALUES ('users', ?, ?) ON CONFLICT DO NOTHING",
      start + 1,
      from,
    )
    storage.sql.exec("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
  })
  await setSlot(source, 'users', slot, 'moved')
}

test.each([
  ['the relay still uses its old map', 'relay'],
  ['the relay crashed, and the sweeper finds the rows at the new shard only', 'sweep'],
] as const)('a slot moves between commit and relay; %s: each job has its effect once', async (_name, road) => {
  await emptyShards()
  const world = new World()
  const isolate = world.isolate({ mode: 'queue' })
  const { userId } = await signUp(isolate.tiers, somebody(), { origin: 'http://localhost', userAgent: '', retry: null })
  await isolate.settled()
  const from = Number.parseInt(slotOf(userId), 16) < 32_768 ? 0 : 1
  await moveSlot(slotOf(userId), from, 1 - from)

  if (road === 'relay') await isolate.relay.send(isolate.committed)
  world.clock.advance(31_000)
  const sweeper = world.isolate({ mode: 'queue' })
  expect(await sweeper.relay.sweep()).toBe(road === 'relay' ? 0 : 3)
  expect(world.queued).toHaveLength(3)
  const atTarget = await shards[1 - from]!.prepare('SELECT state FROM outbox').all()
  expect(atTarget.results).toEqual(Array(3).fill({ state: 'sent' }))

  for (const job of world.queued) expect(await isolate.dispatch.run(job, 1)).toEqual({ kind: 'done' })
  expect((await rows('claims')).map(({ state }) => state)).toEqual(['confirmed', 'confirmed'])
  expect(world.mails).toHaveLength(1)
  const left = await shards[1 - from]!.prepare('SELECT id FROM outbox').all()
  expect(left.results).toEqual([])
  world.clock.advance(901_000)
  expect(await sweeper.relay.sweep()).toBe(0)

  // Deletes the source's rows, as the purge does.
  await setSlot(shards[from]!, 'users', slotOf(userId), 'active')
  await emptyShards()
  await setSlot(shards[from]!, 'users', slotOf(userId), null)
})
