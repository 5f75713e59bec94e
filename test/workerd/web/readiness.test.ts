import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import type { Env } from '../../../workers/env.ts'
import { nouns } from '../../../workers/nouns.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

const { SHARD_001 } = env as unknown as Env & Record<'SHARD_001', D1Database>

test('a shard that lacks the table of any noun is not ready', async () => {
  const [table] = nouns.flatMap(({ tables }) => tables).slice(-1)
  expect((await workerIsolate().request('GET', '/readyz')).status).toBe(200)
  await SHARD_001.prepare(`DROP TABLE ${table}`).run()
  const ready = await workerIsolate().request('GET', '/readyz')
  expect(ready.status).toBe(503)
  expect(ready.text).toMatch(/^FAIL shard-001 — not migrated; run: npm run banyan -- migrations apply/m)
  expect(ready.text).toContain('ok   shard-000\n')
})
