import { env } from 'cloudflare:workers'
import { beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { createIdSource } from '../../../src/core/ids.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { newJob } from '../../../src/jobs/outbox.ts'
import { trackedStatements } from '../../../src/jobs/records.ts'
import '../../support/light-passwords.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const { SHARD_000, SHARD_001 } = env as unknown as Record<'SHARD_000' | 'SHARD_001', D1Database>
const ids = createIdSource(systemClock, systemRandom)
const { request } = workerIsolate()

beforeEach(emptyShards)

async function signUp() {
  const answer = await request('POST', '/api/v1/accounts', { json: somebody() })
  const { user, token } = answer.json<{ user: { id: string }; token: string }>()
  return { userId: user.id, token }
}

async function start(userId: string) {
  const database = userId < '8000' ? SHARD_000 : SHARD_001
  const job = newJob(ids, systemClock, userId, 'survey', {})
  await database.batch(trackedStatements(database, job))
  return { job, path: `/api/v1/jobs/${job.id}` }
}

test('a job is seen and cancelled by its owner only', async () => {
  const [owner, other] = [await signUp(), await signUp()]
  const { job, path } = await start(owner.userId)
  const seen = await request('GET', path, owner)
  expect([seen.status, seen.json()]).toEqual([
    200,
    {
      job: {
        id: job.id,
        kind: 'survey',
        state: 'waiting',
        progress: 0,
        createdAt: new Date(job.createdAt).toISOString(),
      },
    },
  ])
  for (const method of ['GET', 'DELETE']) expect((await request(method, path, other)).status).toBe(404)
  expect((await request('GET', path)).status).toBe(401)
  const cancelled = await request('DELETE', path, owner)
  expect([cancelled.status, cancelled.json()]).toMatchObject([202, { job: { state: 'cancelled' } }])
  expect(await rows('outbox')).toEqual([])
  expect((await request('DELETE', path, owner)).json()).toMatchObject({ status: 409, code: 'CONFLICT' })
})

test('what has ended shows its result or its error', async () => {
  const owner = await signUp()
  const [done, dead] = [await start(owner.userId), await start(owner.userId)]
  await runEverywhere(
    'UPDATE job_records SET state = \'done\', done = 1, total = 1, result = \'{"url":"/x"}\' WHERE id = ?',
    done.job.id,
  )
  await runEverywhere(
    "UPDATE job_records SET state = 'dead', done = 1, total = 4, error = 'Start it again.' WHERE id = ?",
    dead.job.id,
  )
  const states = await Promise.all([done, dead].map(({ path }) => request('GET', path, owner)))
  expect(states.map((answer) => answer.json())).toMatchObject([
    { job: { state: 'done', progress: 1, result: { url: '/x' } } },
    { job: { state: 'dead', progress: 0.25, error: 'Start it again.' } },
  ])
})

test.each(['x', '000001hf7yat000000000000000000', '%F0%9F%8C%B3'])('%s is no job: 404', async (id) => {
  const owner = await signUp()
  for (const method of ['GET', 'DELETE']) expect((await request(method, `/api/v1/jobs/${id}`, owner)).status).toBe(404)
})
