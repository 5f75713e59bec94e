import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import type { Env } from '../../../workers/env.ts'
import { nouns } from '../../../workers/nouns.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

const { SHARD_001 } = env as unknown as Env & Record<'SHARD_001', D1Database>
const [table] = nouns.flatMap(({ tables }) => tables).slice(-1)

/** A shard's line, while it lacks the newest migration. */
const lacking = (shard: string) =>
  expect.stringMatching(new RegExp(`^ok {3}${shard} — lacks \\S+; run: npm run banyan -- migrations apply`, 'm'))

test('a shard that lacks a pending migration and its tables is ready, because a version runs on the previous schema', async () => {
  const { results } = await SHARD_001.prepare('SELECT name, applied_at FROM d1_migrations ORDER BY name DESC').all()
  const [newest] = results
  await SHARD_001.batch([
    SHARD_001.prepare('DELETE FROM d1_migrations WHERE name = ?').bind(newest?.name),
    SHARD_001.prepare(`ALTER TABLE ${table} RENAME TO pending`),
  ])
  const ready = await workerIsolate().request('GET', '/readyz')
  await SHARD_001.batch([
    SHARD_001.prepare('INSERT INTO d1_migrations (name, applied_at) VALUES (?, ?)').bind(
      newest?.name,
      newest?.applied_at,
    ),
    SHARD_001.prepare(`ALTER TABLE pending RENAME TO ${table}`),
  ])
  expect([ready.status, ready.text]).toEqual([200, lacking('shard-001')])
})

test('a shard that has all migrations, but lacks the table of any noun, is not ready', async () => {
  expect((await workerIsolate().request('GET', '/readyz')).status).toBe(200)
  await SHARD_001.prepare(`DROP TABLE ${table}`).run()
  const ready = await workerIsolate().request('GET', '/readyz')
  expect(ready.status).toBe(503)
  expect(ready.text).toMatch(/^FAIL shard-001 — not migrated; run: npm run banyan -- migrations apply/m)
  expect(ready.text).toContain('ok   shard-000\n')
})
