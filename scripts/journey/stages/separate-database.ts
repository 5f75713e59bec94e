import { readAll, type Stage, uncached } from '../stage.ts'

export const separateDatabase: Stage = {
  number: 2,
  title: 'Web and database on separate servers',
  adds: 'each fails, restarts and scales independently; each store suits its data',
  setting: 'Worker ≠ D1; KV for sessions, R2 for files, a queue for deferred work',
  options: { shards: 1, webs: 1, vars: uncached },
  async show(cluster, load, people, expect) {
    await cluster.breakDown(0, 'SHARD_000')
    const down = await readAll(load, people)
    const alive = await load.send('healthz', '/healthz')
    const ready = await load.send('readyz', '/readyz')
    await cluster.breakDown(0, '')
    const back = await readAll(load, people)
    expect(
      down.failed === down.asked && down.retryAfter === down.asked,
      'without the database, reads answer 503 with Retry-After',
    )
    expect(alive.status === 200 && ready.status === 503, 'the web tier stays up and reports that it is not ready')
    expect(back.failed === 0, 'after the database is restored, all data is there')
    return [
      `database unavailable: ${down.failed} of ${down.asked} reads answered 503, each with Retry-After; /healthz ${alive.status}, /readyz ${ready.status}`,
      `database restored: ${back.failed} of ${back.asked} failed`,
    ]
  },
}
