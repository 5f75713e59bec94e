import { env } from 'cloudflare:workers'
import { OpenAPIHono } from '@hono/zod-openapi'
import { beforeEach, expect, test } from 'vitest'
import { backfillRoutes } from '../../../src/console/backfill-routes.ts'
import type { OperatorContext } from '../../../src/console/context.ts'
import { type Backfill, Backfills, backfillKinds } from '../../../src/jobs/backfills.ts'
import type { Job } from '../../../src/jobs/outbox.ts'
import type { WebEnv } from '../../../src/web/context.ts'
import type { Env } from '../../../workers/env.ts'
import { emptyShards, rows } from '../../support/shard-rows.ts'
import { World } from '../../support/tiers.ts'
import { workerIsolate } from '../../support/worker-isolate.ts'

const { OPERATOR_TOKEN } = env as unknown as Env
const names: Backfill = {
  name: 'names',
  table: 'profiles',
  set: "search_name = 'filled', version = version + 1",
  where: 'search_name IS NULL',
}

beforeEach(emptyShards)

/** The routes over the runtime's shards, with one backfill. */
function served() {
  const world = new World()
  const kinds = backfillKinds([names], 1_000)
  const isolate = world.isolate({ kinds, mode: 'queue' })
  const { tiers, pauses, relay } = isolate
  const committed: Job[] = []
  const follow = (jobs: Job[]) => void committed.push(...jobs)
  const backfills = new Backfills({ ...tiers, backfills: [names], pauses, follow })
  const app = new OpenAPIHono<WebEnv>()
  app.use(async (c, next) => {
    c.set('bodyText', await c.req.text())
    await next()
  })
  backfillRoutes(app, () => ({ backfills }) as OperatorContext)
  const ask = async (method: string, path: string, json?: object) => {
    const answer = await app.request(`/operator/v1/backfills${path}`, {
      method,
      ...(json && { body: JSON.stringify(json), headers: { 'content-type': 'application/json' } }),
    })
    return [answer.status, await answer.json()]
  }
  /** Splits the run, and runs one of its 16 ranges to its end. */
  const runOneRange = async () => {
    await relay.send(committed.splice(0))
    const [run] = world.queue.sent.splice(0)
    await isolate.dispatch.run(run!, 1)
    const [first] = world.queue.sent.splice(0)
    for (let next: Job | undefined = first; next; next = world.queue.sent.shift()) await isolate.dispatch.run(next, 1)
  }
  return { ask, runOneRange, shards: tiers.shards }
}

test('a backfill is listed, started, paused and resumed, and shows its progress, over the real shards', async () => {
  const { ask, runOneRange, shards } = served()
  const ids = ['00ff', '7abc', '8000', 'ffff'].map((slot) => `${slot}01m86bdq17b2dcgbhgmc4rp9mp`)
  for (const id of ids)
    await shards
      .of(id)
      .prepare("INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, ?, '', '', 0, 1)")
      .bind(id, id)
      .run()
  const is = (state: string, progress: number) => ({ name: 'names', table: 'profiles', state, progress })
  expect(await ask('GET', '')).toEqual([200, { items: [is('none', 0)] }])
  expect(await ask('POST', '/names')).toEqual([202, is('waiting', 0)])
  expect(await ask('PATCH', '/names', { paused: true })).toEqual([200, is('paused', 0)])
  expect(await ask('GET', '')).toEqual([200, { items: [is('paused', 0)] }])
  expect(await ask('PATCH', '/names', { paused: false })).toEqual([200, is('waiting', 0)])
  await runOneRange()
  expect(await ask('GET', '')).toEqual([200, { items: [is('running', 1 / 16)] }])
  const changed = (await rows('profiles')).map(({ id, search_name, version }) => [id, search_name, version])
  expect(changed.toSorted()).toEqual(ids.map((id) => (id < '1' ? [id, 'filled', 2] : [id, null, 1])))
})

test('an unknown backfill is 404, and says how to find the right name', async () => {
  const ask = (method: string, json?: object) =>
    workerIsolate().request(method, '/operator/v1/backfills/none', { token: OPERATOR_TOKEN!, ...(json && { json }) })
  for (const answer of [await ask('POST'), await ask('PATCH', { paused: true })]) {
    expect(answer.status, answer.text).toBe(404)
    expect(answer.json()).toMatchObject({ code: 'NOT_FOUND', detail: expect.stringContaining('backfill list') })
  }
  const list = await workerIsolate().request('GET', '/operator/v1/backfills', { token: OPERATOR_TOKEN! })
  expect([list.status, list.json()]).toEqual([200, { items: [] }])
})
