import { describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { createIdSource } from '../../../src/core/ids.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { newJob } from '../../../src/jobs/outbox.ts'
import { trackedStatements } from '../../../src/jobs/records.ts'
import type { ApiGiven } from '../../support/api-given.ts'
import { OPERATOR_TOKEN } from '../../support/stack.ts'

const ids = createIdSource(systemClock, systemRandom)

/** Run by test/e2e/api.test.ts. No route creates a tracked job or a dead letter, so these rows are written here. */
export function apiTests({ stack, held, signUp }: ApiGiven): void {
  const databaseOf = (id: string) => stack().databases.get(id < '8000' ? 'SHARD_000' : 'SHARD_001')!
  const operator = () => Object.assign(held(stack().bearer()), { token: OPERATOR_TOKEN })

  describe('jobs', () => {
    test('their owner sees and cancels them', async () => {
      const client = await signUp()
      const database = databaseOf(client.user.id)
      const job = newJob(ids, systemClock, client.user.id, 'survey', {})
      await database.batch(trackedStatements(database, job))
      const path = `/api/v1/jobs/${job.id}`
      expect((await client.get(path)).json()).toMatchObject({ job: { id: job.id, state: 'waiting', progress: 0 } })
      expect((await client.request('DELETE', path)).json()).toMatchObject({ job: { state: 'cancelled' } })
      expect((await client.request('DELETE', path)).status).toBe(409)
    })

    test('operators list, redrive and discard dead letters', async () => {
      const client = await signUp()
      const database = databaseOf(client.user.id)
      const letters = Array.from({ length: 4 }, () => newJob(ids, systemClock, client.user.id, 'claims.unheard', {}))
      for (const { id, ownerId, kind, createdAt } of letters)
        await database.batch([
          database
            .prepare(
              "INSERT INTO outbox (id, owner_id, kind, body, state, attempts, due_at, created_at) VALUES (?, ?, ?, '{}', 'dead', 3, 0, ?)",
            )
            .bind(id, ownerId, kind, createdAt),
          database
            .prepare(
              "INSERT INTO dead_letters (id, owner_id, kind, body, error, attempts, died_at, created_at, history) VALUES (?, ?, ?, '{}', 'gave up', 3, ?, ?, ?)",
            )
            .bind(id, ownerId, kind, createdAt, createdAt, '[{"at":1796083198868,"attempt":1,"error":"gave up"}]'),
        ])
      const all = operator()
      const list = async () =>
        (await all.get('/operator/v1/dead-letters?kind=claims.unheard')).json<{ items: { id: string }[] }>().items
      expect((await list()).map(({ id }) => id).toSorted()).toEqual(letters.map(({ id }) => id).toSorted())
      const [first, second] = letters
      expect((await all.post(`/operator/v1/dead-letters/${first!.id}/redrive`)).json()).toMatchObject({ count: 1 })
      const chosen = { ids: [second!.id] }
      expect((await all.post('/operator/v1/dead-letters/redrive', chosen)).json()).toMatchObject({ count: 1 })
      const kind = { kind: 'claims.unheard' }
      expect((await all.post('/operator/v1/dead-letters/discard', kind)).json()).toMatchObject({ count: 2 })
      expect(await list()).toEqual([])
      // No handler knows this kind, so it would be delivered again and again.
      await database.prepare("DELETE FROM outbox WHERE kind = 'claims.unheard'").run()
    })

    test('operators see the kinds and queues, and pause them; there is no backfill', async () => {
      const all = operator()
      const kinds = (await all.get('/operator/v1/jobs/kinds')).json<{ items: { kind: string; queue: string }[] }>()
      expect(kinds.items).toContainEqual(expect.objectContaining({ kind: 'mail.verify-email', queue: 'mail' }))
      const queues = (await all.get('/operator/v1/jobs/queues')).json<{ items: { queue: string }[] }>()
      expect(queues.items.map(({ queue }) => queue)).toEqual(['mail', 'jobs', 'media', 'purges'])
      for (const path of ['kinds/media.remove', 'queues/media'])
        for (const paused of [true, false]) {
          const answer = await all.request('PATCH', `/operator/v1/jobs/${path}`, { json: { paused } })
          expect(answer.json()).toMatchObject({ paused })
        }
      expect((await all.get('/operator/v1/backfills')).json()).toEqual({ items: [] })
    })
  })
}
