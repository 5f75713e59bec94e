import { beforeEach, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { requestPasswordReset, resetPassword } from '../../../src/app/accounts/accounts.ts'
import { operator } from '../../../src/app/accounts/restore.operator.ts'
import type { Platform } from '../../../src/cli/platform/api.ts'
import { restoredBy } from '../../../src/cli/restore/noun.ts'
import { revokeAll } from '../../../src/cli/restore/revoked-rows.ts'
import { anyClient, type Member, member } from '../../support/members.ts'
import { writeRow } from '../../support/session-writes.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { databases } from '../../support/sharding-slots.ts'
import { World } from '../../support/tiers.ts'

const SECOND = 1_000

beforeEach(emptyShards)

/** The part of the platform's API that `revokeAll` uses: a batch for the database that the path names. */
const platform = {
  async call({ path, body }: { path: string; body: { batch: { sql: string; params: (string | number)[] }[] } }) {
    const database = databases[path.split('/')[3] as keyof typeof databases]
    return database.batch(body.batch.map(({ sql, params }) => database.prepare(sql).bind(...params)))
  },
} as unknown as Platform

/** Rows saved here return, as after time travel. */
const KEPT = ['sessions', 'mail_tokens', 'accounts'] as const

async function moment(): Promise<() => Promise<void>> {
  const saved = await Promise.all(
    Object.values(databases).flatMap((database) =>
      KEPT.map(async (table) => ({
        database,
        table,
        rows: (await database.prepare(`SELECT * FROM ${table}`).all<Record<string, unknown>>()).results,
      })),
    ),
  )
  return async () => {
    for (const { database, table, rows } of saved) {
      const insert = (row: Record<string, unknown>) =>
        database
          .prepare(
            `INSERT INTO ${table} (${Object.keys(row).join()}) VALUES (${Object.keys(row)
              .map(() => '?')
              .join()})`,
          )
          .bind(...Object.values(row))
      await database.batch([database.prepare(`DELETE FROM ${table}`), ...rows.map(insert)])
    }
  }
}

/** The number of deleted rows per table. */
async function revoked(): Promise<Record<string, number>> {
  const { revoked: tables } = restoredBy([operator])
  const sums: Record<string, number> = {}
  for (const id of Object.keys(databases))
    for (const [table, count] of Object.entries(await revokeAll(platform, id, tables)))
      sums[table] = (sums[table] ?? 0) + count
  return sums
}

const write = (world: World, { session }: Member) =>
  writeRow(world.isolate().tiers, session, 'Now.').then(
    () => 'written',
    (error: { code: string }) => error.code,
  )

const isIn = async (world: World, { token, stamp }: Member) =>
  (await world.isolate().tiers.sessions.authenticate(token, stamp)).session !== null

test('an ended session writes nothing after a restore, and reads for at most a minute after it was last seen', async () => {
  const world = new World()
  const ada = await member(world)
  const timeTravel = await moment()
  await world.isolate().tiers.sessions.end(ada.session, ada.session.id)
  await timeTravel()
  expect(await write(world, ada), 'what time travel alone would do').toBe('written')
  expect((await revoked()).sessions).toBe(1)
  expect(await rows('sessions')).toEqual([])
  expect(await write(world, ada)).toBe('SESSION_ENDED')
  // KV still has its copy, because the deletion has not arrived, and the browser has its stamp.
  world.clock.advance(60 * SECOND - 1)
  expect(await isIn(world, ada)).toBe(true)
  world.clock.advance(1)
  expect(await isIn(world, ada)).toBe(false)
})

test('a used reset link sets no second password', async () => {
  const world = new World()
  const ada = await member(world)
  const isolate = world.isolate()
  await requestPasswordReset(isolate.tiers, ada.email, 'http://localhost', null)
  await isolate.afterResponse()
  const token = /reset-password\/(\S+)/.exec(world.mails.at(-1)!.text)![1]!
  const timeTravel = await moment()
  await resetPassword(isolate.tiers, token, 'a password of now, and no other', anyClient.origin, null)
  await timeTravel()
  expect(await rows('mail_tokens', "purpose = 'reset-password'")).toHaveLength(1)
  await revoked()
  expect(await rows('mail_tokens')).toEqual([])
  await expect(
    resetPassword(isolate.tiers, token, 'a password of the thief', anyClient.origin, null),
  ).rejects.toHaveProperty('code', 'NOT_FOUND')
})

test('a mail that is due again is not sent, because its token is deleted', async () => {
  const world = new World()
  const ada = await member(world)
  const isolate = world.isolate()
  await requestPasswordReset(isolate.tiers, ada.email, 'http://localhost', null)
  // Its job returned with the shard, but its inbox row did not.
  await revoked()
  const mails = world.mails.length
  await isolate.afterResponse()
  await runEverywhere('UPDATE outbox SET due_at = 0')
  await isolate.cron()
  expect(world.mails).toHaveLength(mails)
  expect(await rows('outbox')).toEqual([])
})
