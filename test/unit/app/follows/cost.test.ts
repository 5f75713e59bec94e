import { expect, test } from 'vitest'
import { EDGE_CHANGED } from '../../../../src/app/follows/follows.ts'
import { followJobs } from '../../../../src/app/follows/jobs.ts'
import { slotText } from '../../../../src/core/ids.ts'
import { consume } from '../../../../src/jobs/consumer.ts'
import { Dispatch } from '../../../../src/jobs/dispatch.ts'
import type { Job } from '../../../../src/jobs/outbox.ts'
import { plainJobs } from '../../../support/job-parts.ts'
import { type ManyShards, manyShards } from '../../../support/many-shards.ts'
import { fixedRandom, ManualClock, quietLog, routedShards, ScriptedSource } from '../../../support/sharding-doubles.ts'

const SHARDS = 4
const SLOTS = 65_536
const idIn = (slot: number, number: number) => `${slotText(slot % SLOTS)}01hf7yat00${String(number).padStart(16, '0')}`

/** The n-th user. Consecutive ones are in different shards. */
const userId = (n: number) => idIn(n * 40_503, n)

const shardOf = ({ sqlite }: ManyShards, id: string) =>
  sqlite[Math.floor((Number.parseInt(id.slice(0, 4), 16) * SHARDS) / SLOTS)]!

/** Delivers follows, in one batch or one by one. Resolves to what that took for each. */
async function deliver(count: number, to: (n: number) => string, how: 'together' | 'alone') {
  const all = manyShards(SHARDS)
  const clock = new ManualClock(1_800_000_000_000)
  const source = new ScriptedSource(() => all.wire(clock.now()))
  const { shards } = routedShards({ databases: all.databases, clock, source })
  const common = { shards, clock, log: quietLog }
  const dispatch = new Dispatch({ ...common, ...plainJobs(common), kinds: followJobs(), random: fixedRandom() })
  const jobs = Array.from({ length: count }, (_, n): Job => {
    const ownerId = userId(1_000 + n)
    const body = { followeeId: to(n), followedAt: clock.now(), endedAt: null, version: clock.now() }
    return { id: idIn((1_000 + n) * 40_503, n), ownerId, kind: EDGE_CHANGED, body, createdAt: clock.now(), attempts: 0 }
  })
  for (const { id, ownerId, kind, body } of jobs) {
    shardOf(all, id)
      .prepare("INSERT INTO outbox VALUES (?, ?, ?, ?, 'sent', 0, 0, 0, NULL, NULL)")
      .run(id, ownerId, kind, JSON.stringify(body))
    const followee = String(body.followeeId)
    const profile = shardOf(all, followee).prepare(
      "INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, '', '', '', 0, 1) ON CONFLICT DO NOTHING",
    )
    profile.run(followee)
    shardOf(all, followee).prepare('INSERT INTO follow_counts VALUES (?, 0, 0) ON CONFLICT DO NOTHING').run(followee)
  }
  const rowsWritten = () =>
    all.sqlite.reduce((sum, one) => sum + Number(Object.values(one.prepare('SELECT total_changes()').get()!)[0]), 0)
  await shards.map()
  const before = rowsWritten()
  const messages = jobs.map((body, id) => ({ id: String(id), attempts: 1, body, ack: () => undefined }))
  if (how === 'together') await consume({ messages } as unknown as MessageBatch, dispatch, quietLog)
  else for (const job of jobs) expect(await dispatch.run(job, 1)).toEqual({ kind: 'done' })
  const [statements, rows] = [all.statements() / count, (rowsWritten() - before) / count]
  const followers = all.sqlite.map((one) => one.prepare('SELECT sum(followers) AS n FROM follow_counts').get()!)
  expect(followers.reduce((sum, { n }) => sum + Number(n), 0)).toBe(count)
  console.log(`${count} ${how}: ${statements.toFixed(2)} statements and ${rows.toFixed(2)} rows written per follow`)
  return { statements, rows }
}

const oneCelebrity = () => userId(1)

/** The guard, the counts, the edges, and which accounts are gone. */
const DELIVERY = 4
/** The guard, the outbox rows, and the dead letters. */
const END = 3

test.each([1, 25, 100])(
  '%i follows of one user, in one batch, send one batch, end in one per shard, and write the count once',
  async (count) => {
    const found = await deliver(count, oneCelebrity, 'together')
    expect(found.statements).toBeCloseTo((DELIVERY + END * Math.min(count, SHARDS)) / count, 5)
    // An edge and an outbox row for each, and one count.
    expect(found.rows).toBeCloseTo((2 * count + 1) / count, 5)
  },
)

test('follows of different users write a count for each user, in no more than one batch per shard', async () => {
  const found = await deliver(100, userId, 'together')
  expect(found.statements).toBeCloseTo(((DELIVERY + END) * SHARDS) / 100, 5)
  expect(found.rows).toBeCloseTo(3, 5)
})

test('one by one, each follow sends all of its statements, and writes the one count', async () => {
  const found = await deliver(100, oneCelebrity, 'alone')
  expect(found.statements).toBeGreaterThanOrEqual(DELIVERY + END)
  expect(found.rows).toBeCloseTo(3, 5)
})
