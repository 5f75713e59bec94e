import { beforeEach, describe, expect, test, vi } from 'vitest'
import { follow, listPeople, unfollow } from '../../../src/app/follows/follows.ts'
import { followExpiries, followJobs } from '../../../src/app/follows/jobs.ts'
import { followDuties } from '../../../src/app/follows/repair.ts'
import { DAY_MS } from '../../../src/core/clock.ts'
import { slotOf } from '../../../src/core/ids.ts'
import { limits } from '../../../src/core/limits.ts'
import { consume } from '../../../src/jobs/consumer.ts'
import { expire } from '../../../src/jobs/housekeeping.ts'
import type { Job } from '../../../src/jobs/outbox.ts'
import '../../support/light-passwords.ts'
import { type Member, member } from '../../support/members.ts'
import { emptyShards, rows, runEverywhere } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

beforeEach(emptyShards)

/** A world with some users, and an isolate whose jobs wait in the queue. */
async function setUp(count = 2) {
  const world = new World()
  const members: Member[] = []
  for (let n = 0; n < count; n++) members.push(await member(world))
  const isolate = world.isolate({ kinds: followJobs(), mode: 'queue' })
  return { world, members, isolate, ...actionsOf(world, isolate) }
}

function actionsOf(world: World, isolate: TestIsolate) {
  const { tiers } = isolate
  const begin = (one: Member, other: Member) => follow(tiers, one.session, other.userId)
  const end = (one: Member, other: Member) => unfollow(tiers, one.session, other.userId)
  /** Consumes jobs in one batch. Resolves to the outcomes of the messages, by their jobs' order. */
  const take = async (jobs: Job[]) => {
    const outcomes: string[] = []
    const messages = jobs.map((body, index) => ({
      id: String(index),
      timestamp: new Date(0),
      attempts: 1,
      body,
      ack: () => {
        outcomes[index] = 'ack'
      },
      retry: () => {
        outcomes[index] = 'retry'
      },
    }))
    await consume({ messages } as unknown as MessageBatch, isolate.dispatch, tiers.log)
    return outcomes
  }
  /** The jobs of the changes so far. */
  const jobs = () => isolate.committed.splice(0)
  const repair = async () => {
    const [duty] = followDuties({ ...tiers })
    let count = 0
    for (let turn = 0; turn < 4; turn++) count += await duty!.run({ turn, size: 40, takesWrites: true })
    return count
  }
  const repairs = () => world.logged.filter((line) => line.includes('follows.edges-repaired')).length
  return { tiers, begin, end, take, jobs, repair, repairs }
}

const on = (table: 'follows' | 'followers') => rows(table, 'ended_at IS NULL')
const countsOf = async ({ userId }: Member) => {
  const [row] = await rows('follow_counts', `id = '${userId}'`)
  return row && [row.followers, row.following]
}

describe('a change', () => {
  test('commits the follower’s side, the count and the job, which makes the other side', async () => {
    const { members, begin, jobs, take } = await setUp()
    const [ada, bob] = members as [Member, Member]
    await begin(ada, bob)
    expect(await on('follows')).toMatchObject([{ id: `${ada.userId}.${bob.userId}` }])
    expect(await countsOf(ada)).toEqual([0, 1])
    expect(await on('followers')).toEqual([])
    const [job] = jobs()
    expect(await rows('outbox')).toMatchObject([{ id: job!.id, kind: 'follows.changed' }])
    expect(await take([job!])).toEqual(['ack'])
    expect(await on('followers')).toMatchObject([{ id: `${bob.userId}.${ada.userId}` }])
    expect(await countsOf(bob)).toEqual([1, 0])
    expect(await rows('outbox')).toEqual([])
  })

  test('that changes nothing has no version and no job', async () => {
    const { members, begin, end, jobs } = await setUp()
    const [ada, bob] = members as [Member, Member]
    await end(ada, bob)
    expect([jobs(), await rows('follows')]).toEqual([[], []])
    await begin(ada, bob)
    const [before] = await rows('follows')
    expect(jobs()).toHaveLength(1)
    await begin(ada, bob)
    expect([jobs(), await rows('follows')]).toEqual([[], [before]])
    expect(await countsOf(ada)).toEqual([0, 1])
  })

  test('without a live session changes nothing', async () => {
    const { members, begin, jobs } = await setUp()
    const [ada, bob] = members as [Member, Member]
    await runEverywhere('DELETE FROM sessions WHERE user_id = ?', ada.userId)
    await expect(begin(ada, bob)).rejects.toMatchObject({ code: 'SESSION_ENDED' })
    expect([jobs(), await rows('follows'), await rows('follow_counts')]).toEqual([[], [], []])
  })

  test('beyond the limit of an account is refused, and one that ends makes room', async () => {
    const { members, tiers, end } = await setUp(3)
    const [ada, bob, cyd] = members as [Member, Member, Member]
    const begin = (other: Member) => follow(tiers, ada.session, other.userId, 1)
    await begin(bob)
    await expect(begin(cyd)).rejects.toMatchObject({ code: 'LIMIT_REACHED' })
    await begin(bob)
    await end(ada, bob)
    await begin(cyd)
    expect(await countsOf(ada)).toEqual([0, 1])
  })

  test('of an account without stored counts starts from the true ones', async () => {
    const { members, begin, jobs, take } = await setUp(4)
    const [ada, bob, cyd, dee] = members as [Member, Member, Member, Member]
    await begin(ada, bob)
    await begin(cyd, bob)
    await begin(bob, ada)
    await take(jobs())
    await runEverywhere('DELETE FROM follow_counts')
    await begin(dee, bob)
    await begin(bob, cyd)
    await take(jobs())
    expect(await countsOf(bob)).toEqual([3, 2])
    expect(await countsOf(cyd)).toEqual([1, 1])
  })
})

describe('jobs', () => {
  test('in any order, and again, leave the newest version on both sides, and exact counts', async () => {
    const { members, begin, end, jobs, take } = await setUp()
    const [ada, bob] = members as [Member, Member]
    await begin(ada, bob)
    await end(ada, bob)
    await begin(ada, bob)
    await end(ada, bob)
    const [first, second, third, fourth] = jobs() as [Job, Job, Job, Job]
    await take([third, first])
    expect(await countsOf(bob)).toEqual([1, 0])
    await take([fourth, third])
    for (const job of [first, second, third]) await take([job])
    expect([await on('follows'), await on('followers')]).toEqual([[], []])
    expect([await countsOf(ada), await countsOf(bob)]).toEqual([
      [0, 0],
      [0, 0],
    ])
  })

  test('of one batch for one user send one batch with one change of the count', async () => {
    const { members, begin, jobs, take, tiers, isolate } = await setUp(6)
    const [ada, ...others] = members as [Member, ...Member[]]
    await tiers.shards.map()
    for (const other of others) await begin(other, ada)
    isolate.calls.splice(0)
    expect(await take(jobs())).toEqual(Array(5).fill('ack'))
    const { deliver, finish } = Object.groupBy(isolate.calls, ({ operation }) => operation.split('.')[1]!)
    expect(deliver).toHaveLength(1)
    expect(finish!.length).toBeLessThanOrEqual(2)
    expect(await countsOf(ada)).toEqual([5, 0])
  })

  test('that cannot be delivered are retried, and the others of the batch are done', async () => {
    const { members, begin, jobs, take } = await setUp(5)
    const [ada, ...others] = members as [Member, ...Member[]]
    for (const other of others) await begin(ada, other)
    const all = jobs()
    const slot = slotOf(String(all[0]!.body.followeeId))
    const turn = (from: string, to: string) =>
      runEverywhere(`UPDATE slots SET state = ? WHERE keyspace = 'users' AND slot = ? AND state = ?`, to, slot, from)
    await turn('active', 'fenced')
    const outcomes = await take(all)
    await turn('fenced', 'active')
    expect(outcomes[0]).toBe('retry')
    expect(outcomes.slice(1)).toEqual(Array(3).fill('ack'))
    expect(await rows('outbox')).toHaveLength(1)
    expect(await take([all[0]!])).toEqual(['ack'])
    expect(await on('followers')).toHaveLength(4)
  })

  test('for an account that was deleted meanwhile take the follower’s side back', async () => {
    const { members, begin, jobs, take } = await setUp(3)
    const [ada, bob, cyd] = members as [Member, Member, Member]
    await begin(ada, bob)
    await begin(ada, cyd)
    await runEverywhere('DELETE FROM profiles WHERE id = ?', bob.userId)
    const all = jobs()
    expect(await take(all)).toEqual(['ack', 'ack'])
    await take(all)
    expect(await on('follows')).toMatchObject([{ followee_id: cyd.userId }])
    expect(await on('followers')).toMatchObject([{ followee_id: cyd.userId }])
    expect(await countsOf(ada)).toEqual([0, 1])
  })

  test('run inline after the response', async () => {
    const { members, world } = await setUp()
    const [ada, bob] = members as [Member, Member]
    const isolate = world.isolate({ kinds: followJobs(), mode: 'inline' })
    await follow(isolate.tiers, ada.session, bob.userId)
    await isolate.afterResponse()
    expect(await on('followers')).toHaveLength(1)
    expect(await rows('outbox')).toEqual([])
  })
})

describe('the repair', () => {
  test('delivers what a lost job did not, in both directions, and says so', async () => {
    const { members, begin, end, jobs, take, repair, repairs, world } = await setUp(3)
    const [ada, bob, cyd] = members as [Member, Member, Member]
    await begin(ada, bob)
    await begin(ada, cyd)
    await take(jobs())
    await end(ada, bob)
    await begin(bob, cyd)
    jobs()
    await runEverywhere('DELETE FROM outbox')
    expect(await repair()).toBe(0) // too young
    world.clock.advance(limits.repairAfterMs + 1)
    expect(await repair()).toBe(2)
    expect(repairs()).toBeGreaterThan(0)
    expect((await on('followers')).map(({ followee_id }) => followee_id)).toEqual([cyd.userId, cyd.userId])
    expect([await countsOf(bob), await countsOf(cyd)]).toEqual([
      [0, 1],
      [2, 0],
    ])
    expect(await repair()).toBe(0)
  })

  test('ends followers’ rows that no follower’s side confirms, even if they are newer, and counts again', async () => {
    const { members, begin, jobs, take, repair, world } = await setUp(3)
    const [ada, bob, cyd] = members as [Member, Member, Member]
    await begin(ada, bob)
    await begin(cyd, bob)
    await take(jobs())
    await runEverywhere('DELETE FROM follows WHERE follower_id = ?', ada.userId)
    // The follower's shard was restored to a time before the change.
    await runEverywhere(
      'UPDATE follows SET version = version - 10, ended_at = followed_at WHERE follower_id = ?',
      cyd.userId,
    )
    world.clock.advance(limits.repairAfterMs + 1)
    await repair()
    await repair()
    expect([await on('follows'), await on('followers')]).toEqual([[], []])
    expect(await countsOf(bob)).toEqual([0, 0])
    expect([await countsOf(ada), await countsOf(cyd)]).toEqual([
      [0, 0],
      [0, 0],
    ])
    // The next change is newer than the followee's side, so it arrives.
    await begin(ada, bob)
    await take(jobs())
    expect(await on('followers')).toHaveLength(1)
  })

  test('stays within a small budget, and still ends', async () => {
    const { members, begin, jobs, tiers, world, isolate } = await setUp(6)
    const [ada, ...others] = members as [Member, ...Member[]]
    for (const other of others) await begin(ada, other)
    jobs()
    await runEverywhere('DELETE FROM outbox')
    world.clock.advance(limits.repairAfterMs + 1)
    const [duty] = followDuties({ ...tiers })
    for (let turn = 0; turn < 40 && (await on('followers')).length < 5; turn++) {
      isolate.calls.splice(0)
      const sent = () => isolate.calls.reduce((sum, { statements }) => sum + statements + 1, 0)
      const budget = {
        get left() {
          return 40 - sent()
        },
      }
      await duty!.run({ turn, size: 40, takesWrites: true, budget })
      expect(sent()).toBeLessThanOrEqual(40)
    }
    expect(await on('followers')).toHaveLength(5)
  })
})

test('tombstones outlive every job of an older version', async () => {
  const { members, begin, end, jobs, take, tiers, world } = await setUp()
  const [ada, bob] = members as [Member, Member]
  const clean = () => expire(tiers.shards, followExpiries, tiers.clock, tiers.log)
  await begin(ada, bob)
  await end(ada, bob)
  await runEverywhere('UPDATE sessions SET idle_at = idle_at * 2, expires_at = expires_at * 2')
  const [first, second] = jobs() as [Job, Job]
  await take([second])
  world.clock.advance((limits.inboxDays - limits.inboxMarginDays) * DAY_MS - 1)
  expect(await clean()).toBe(0)
  await take([first])
  expect(await on('followers')).toEqual([])
  world.clock.advance(limits.inboxMarginDays * DAY_MS + 1)
  expect(await clean()).toBe(2)
  await take([first]) // too old: a dead letter
  expect(await rows('followers')).toEqual([])
  await begin(ada, bob)
  await take(jobs())
  expect(await on('followers')).toHaveLength(1)
  expect([await countsOf(ada), await countsOf(bob)]).toEqual([
    [0, 1],
    [1, 0],
  ])
})

describe('a list', () => {
  test('shows every person once, newest first, page by page, and leaves out deleted accounts', async () => {
    const { members, begin, jobs, take, tiers, world } = await setUp(6)
    const [ada, ...others] = members as [Member, ...Member[]]
    for (const other of others) {
      await begin(other, ada)
      world.clock.advance(1)
    }
    await take(jobs())
    const gone = others[2]!
    await runEverywhere('DELETE FROM profiles WHERE id = ?', gone.userId)
    const seen: string[] = []
    let next: string | null = ''
    while (next !== null) {
      const page = await listPeople({ ...tiers, userCounts: {} }, 'followers', ada.userId, { limit: 2, cursor: next })
      expect(page.items.length).toBeLessThanOrEqual(2)
      seen.push(...page.items.map(({ id }) => id))
      next = page.next
    }
    expect(seen).toEqual(
      others
        .filter((one) => one !== gone)
        .map(({ userId }) => userId)
        .toReversed(),
    )
  })

  test('asks each shard once', async () => {
    const { members, begin, tiers, isolate } = await setUp(6)
    const [ada, ...others] = members as [Member, ...Member[]]
    for (const other of others) await begin(ada, other)
    const shards = new Set(others.map(({ userId }) => Number.parseInt(slotOf(userId), 16) >> 15))
    isolate.calls.splice(0)
    await listPeople({ ...tiers, userCounts: {} }, 'following', ada.userId, { limit: 20 })
    expect(isolate.operations()).toEqual(['follows.following', ...Array(shards.size).fill('profiles.find-many')])
  })
})

describe('over HTTP', () => {
  const isolate = workerIsolate()
  const signUp = async () => {
    const given = somebody()
    const { token } = (await isolate.request('POST', '/api/v1/accounts', { json: given })).json<{ token: string }>()
    return { ...given, token, cookie: { cookie: `__Host-session=${token}` } }
  }
  const user = async (handle: string) =>
    (await isolate.request('GET', `/api/v1/users/${handle}`)).json<{ user: { followers: number; following: number } }>()
      .user

  test('both numbers and both lists show it, and the answers say what is wrong', async () => {
    const [ada, bob] = [await signUp(), await signUp()]
    const path = `/api/v1/users/${bob.handle}/follow`
    const put = (to = path, token = ada.token) => isolate.request('PUT', to, { token })
    expect((await put()).status).toBe(204)
    expect((await put()).status).toBe(204)
    await vi.waitFor(async () => expect(await user(bob.handle)).toMatchObject({ followers: 1, following: 0 }))
    expect(await user(ada.handle)).toMatchObject({ followers: 0, following: 1 })
    const list = async (of: string) => (await isolate.request('GET', `/api/v1/users/${of}`)).json()
    expect(await list(`${bob.handle}/followers`)).toMatchObject({ items: [{ handle: ada.handle }], next: null })
    expect(await list(`${ada.handle}/following`)).toMatchObject({ items: [{ handle: bob.handle }], next: null })
    expect((await put(`/api/v1/users/${ada.handle}/follow`)).json()).toMatchObject({ status: 422, code: 'INVALID' })
    expect((await put('/api/v1/users/nobody_here/follow')).json()).toMatchObject({ status: 404, code: 'NOT_FOUND' })
    expect((await put(path, 'x')).json()).toMatchObject({ status: 401 })
    expect((await isolate.request('DELETE', path, { token: ada.token })).status).toBe(204)
    expect(await user(ada.handle)).toMatchObject({ following: 0 })
  })

  test('the profile has a button for others, a link for visitors, and neither for the user', async () => {
    const [ada, bob] = [await signUp(), await signUp()]
    const page = async (headers?: Record<string, string>) =>
      (await isolate.request('GET', `/@${bob.handle}`, headers ? { headers } : {})).text
    expect(await page()).toContain(`href="/login?next=%2F%40${bob.handle}"`)
    expect(await page(ada.cookie)).toContain(`action="/@${bob.handle}/follow"`)
    expect(await page(bob.cookie)).not.toContain('Follow</')
    const submit = await isolate.request('POST', `/@${bob.handle}/follow`, {
      body: '',
      headers: { ...ada.cookie, origin: 'http://localhost', 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect([submit.status, submit.headers.get('location')]).toEqual([303, `/@${bob.handle}`])
    expect(await page(ada.cookie)).toContain(`action="/@${bob.handle}/unfollow"`)
  })
})
