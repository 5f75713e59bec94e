import { describe, expect, test } from 'vitest'
import { accountExpiries } from '../../../src/app/accounts/jobs.ts'
import { windowOf } from '../../../src/core/bounded.ts'
import { slotText } from '../../../src/core/ids.ts'
import type { Log } from '../../../src/core/log.ts'
import { consume } from '../../../src/jobs/consumer.ts'
import { Dispatch } from '../../../src/jobs/dispatch.ts'
import { type Duty, dutyOfTurn, runDuties } from '../../../src/jobs/duties.ts'
import { expire, platformExpiries } from '../../../src/jobs/housekeeping.ts'
import type { JobKinds } from '../../../src/jobs/kinds.ts'
import type { Job } from '../../../src/jobs/outbox.ts'
import { Relay } from '../../../src/jobs/relay.ts'
import { Claims } from '../../../src/sharding/claims.ts'
import { StatementBudget } from '../../../src/sharding/statement-budget.ts'
import { plainJobs } from '../../support/job-parts.ts'
import { type ManyShards, manyShards } from '../../support/many-shards.ts'
import { UnkindQueue } from '../../support/queue-double.ts'
import { fixedRandom, ManualClock, routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'

const PLATFORM_STATEMENTS_MAX = 1_000
const MINUTE_MS = 60_000
const NOW = 1_800_000_000_000
const SLOTS = 65_536

const idIn = (slot: string, number: number) => `${slot}01hf7yat00${String(number).padStart(16, '0')}`

/** The n-th of slots that are spread over all shards, so that consecutive ones are in different shards. */
const spread = (n: number) => slotText((n * 40_503) % SLOTS)

const kinds: JobKinds = {
  note: {
    queue: 'jobs',
    attemptsMax: 3,
    backoffBaseSeconds: 10,
    run: async (job, { once }) => void (await once({ keyspace: 'users', key: job.ownerId }, () => [])),
  },
}

/** A shard's part of a full backlog: more for each duty than the cron does in a minute. */
function fill({ sqlite }: ManyShards) {
  const slotsPerShard = SLOTS / sqlite.length
  for (const [index, database] of sqlite.entries()) {
    const slot = (n: number) => slotText(Math.floor(index * slotsPerShard) + (n % Math.floor(slotsPerShard)))
    const add = (table: string, rows: unknown[][]) => {
      const sql = database.prepare(`INSERT INTO ${table} VALUES (${rows[0]!.map(() => '?').join(', ')})`)
      for (const row of rows) sql.run(...(row as string[]))
    }
    const many = <T>(count: number, row: (n: number) => T) => Array.from({ length: count }, (_, n) => row(n))
    const expired = NOW - 90 * 86_400_000
    add(
      'outbox',
      many(12, (n) => [
        idIn(slot(n), n),
        idIn(slot(n), 1_000 + n),
        'note',
        `{"text":"${'x'.repeat(2_000)}"}`,
        'waiting',
        0,
        NOW - 1_000 + n,
        NOW - 60_000,
        null,
        null,
      ]),
    )
    // Owners are in all shards. Half of the sign-ups committed.
    const owner = (n: number) => idIn(spread(index * 97 + n), index * 100 + n)
    add(
      'claims',
      many(8, (n) => [
        `${slot(n)}${n}`.padEnd(64, '0'),
        'email',
        owner(n),
        'attempt',
        'reserved',
        NOW - 120_000 + index * 10 + n,
      ]),
    )
    add(
      'sessions',
      many(3, (n) => [idIn(slot(n), n), 'u', 'h', '', '', 0, 0, expired, expired, '{}']),
    )
    add(
      'idempotency_keys',
      many(3, (n) => [idIn(slot(n), n), 'h', 'u', '', 201, 'null', expired]),
    )
    add(
      'mail_tokens',
      many(3, (n) => [idIn(slot(n), n), 'u', 'verify-email', 'e', 'h', expired]),
    )
    add(
      'password_attempts',
      many(3, (n) => [idIn(slot(n), n), 'a', 1, expired, expired]),
    )
    add(
      'claim_attempts',
      many(3, (n) => [idIn(slot(n), n), 'barred', expired]),
    )
    add(
      'inbox',
      many(3, (n) => [idIn(slot(n), n), expired]),
    )
    add(
      'claim_inbox',
      many(3, (n) => [idIn(slot(n), n), expired]),
    )
  }
}

function count({ sqlite }: ManyShards, table: string, where = '1'): number {
  const sql = `SELECT count(*) AS n FROM ${table} WHERE ${where}`
  return sqlite.reduce((sum, database) => sum + (database.prepare(sql).get() as { n: number }).n, 0)
}

const OLD = `done_at < ${NOW - 30 * 86_400_000}`
/** The expired rows. */
const expiring: [string, string][] = [
  ['sessions', '1'],
  ['idempotency_keys', '1'],
  ['mail_tokens', '1'],
  ['password_attempts', '1'],
  ['inbox', OLD],
  ['claim_inbox', OLD],
]

/** The remaining work of each duty. */
const backlog = (all: ManyShards) => ({
  outbox: count(all, 'outbox', "state = 'waiting'"),
  claims: count(all, 'claims', "state = 'reserved'"),
  expired: expiring.reduce((sum, [table, where]) => sum + count(all, table, where), 0),
})

function cron(all: ManyShards, mode: 'queue' | 'inline') {
  const clock = new ManualClock(NOW)
  const logged: string[] = []
  const log: Log = {
    info: () => undefined,
    warn: (event, fields) => void logged.push(`${event} ${JSON.stringify(fields)}`),
    error: (event, fields) => void logged.push(`${event} ${JSON.stringify(fields)}`),
  }
  const queue = new UnkindQueue<Job>()
  const openInvocation = (statementsMax?: number) => {
    const budget = new StatementBudget(statementsMax)
    const metered = Object.fromEntries(budget.meter(new Map(Object.entries(all.databases))))
    const source = new ScriptedSource(() => all.wire(clock.now()))
    const { shards } = routedShards({ databases: metered, clock, source })
    const common = { shards, clock, random: fixedRandom(), log }
    const dispatch = new Dispatch({ ...common, kinds, ...plainJobs(common) })
    const binding = queue.binding as Queue
    const queues = { mail: binding, jobs: binding, media: binding, purges: binding }
    return { budget, shards, dispatch, relay: new Relay({ ...common, mode, queues, dispatch }) }
  }
  const expiries = [...platformExpiries, ...accountExpiries]
  const duties = ({ shards, relay }: ReturnType<typeof openInvocation>): Duty[] => [
    { name: 'outbox.swept', run: (window) => relay.sweep(window) },
    { name: 'claims.settled', run: async (window) => (await new Claims(shards, clock).settleExpired(window)).settled },
    { name: 'rows.expired', run: (window) => expire(shards, expiries, clock, log, window) },
  ]
  /** Runs the cron of one minute. Resolves to the number of statements. */
  const minute = async (turn: number) => {
    const invocation = openInvocation()
    const before = all.statements()
    await runDuties(duties(invocation), { turn, budget: invocation.budget, log })
    clock.advance(MINUTE_MS)
    return all.statements() - before
  }
  return { clock, logged, queue, minute, openInvocation, duties, log }
}

describe.each(['queue', 'inline'] as const)('the cron on 64 shards with full backlogs, JOBS=%s', (mode) => {
  test('never sends more than 1,000 statements; every duty progresses within three minutes; all work is done in the end', {
    timeout: 60_000,
  }, async () => {
    const all = manyShards(64)
    fill(all)
    const { logged, queue, minute } = cron(all, mode)
    const lefts = [backlog(all)]
    const sent: number[] = []
    for (let turn = 29_757_600; turn < 29_757_600 + 16; turn++) {
      sent.push(await minute(turn))
      lefts.push(backlog(all))
    }
    expect(Math.max(...sent)).toBeLessThanOrEqual(PLATFORM_STATEMENTS_MAX)
    for (const duty of ['outbox', 'claims', 'expired'] as const)
      for (const [index, left] of lefts.entries())
        if (left[duty] > 0 && index + 3 < lefts.length) expect(lefts[index + 3]![duty]).toBeLessThan(left[duty])
    expect(lefts.at(-1)).toEqual({ outbox: 0, claims: 0, expired: 0 })
    expect(mode === 'queue' ? queue.sent.length : count(all, 'inbox')).toBe(64 * 12)
    expect(logged).toEqual([])
  })

  test('the same holds if each call fails twice before it is answered', { timeout: 60_000 }, async () => {
    const all = manyShards(64)
    fill(all)
    const { minute } = cron(all, mode)
    let calls = 0
    all.onCall(() => {
      if (calls++ % 3 > 0) throw new Error('D1_ERROR: Network connection lost.')
    })
    const first = backlog(all)
    for (let turn = 29_757_600; turn < 29_757_600 + 3; turn++)
      expect(await minute(turn)).toBeLessThanOrEqual(PLATFORM_STATEMENTS_MAX)
    const last = backlog(all)
    for (const duty of ['outbox', 'claims', 'expired'] as const) expect(last[duty]).toBeLessThan(first[duty])
  })
})

test.each([0, 1, 2])(
  'duty %i, with 50 statements left, visits as many shards as these allow, and nothing fails',
  async (place) => {
    const all = manyShards(16)
    fill(all)
    const { openInvocation, duties, logged } = cron(all, 'queue')
    const invocation = openInvocation(50)
    const { run } = duties(invocation)[place]!
    expect(await run({ turn: 0, size: 40, takesWrites: true, budget: invocation.budget })).toBeGreaterThan(0)
    expect(logged).toEqual([])
    expect(all.statements()).toBeLessThanOrEqual(50)
  },
)

test('a failing duty does not stop the others, and the log names it', async () => {
  const logged: unknown[] = []
  const log = { info: () => undefined, warn: () => undefined, error: (...line: unknown[]) => void logged.push(line) }
  const ran: string[] = []
  const duties = ['one', 'two', 'three'].map((name) => ({
    name,
    async run() {
      ran.push(name)
      if (name === 'two') throw new Error('unavailable')
      return 1
    },
  }))
  await runDuties(duties, { turn: 1, budget: new StatementBudget(), log })
  expect(ran).toEqual(['two', 'three', 'one'])
  expect(logged).toEqual([['cron.failed', { duty: 'two', reason: 'unavailable' }]])
})

test.each([
  ['abc', [600, 200, 200]],
  ['abcdef', [290, 142, 142, 142, 142, 142]],
])('duties %s that use their whole budgets leave a share for each later one', async (names, shares) => {
  const budget = new StatementBudget()
  const left: number[] = []
  const greedy = (name: string): Duty => ({
    name,
    async run(window) {
      left.push(window.budget!.left)
      budget.spend(window.budget!.left)
      return 0
    },
  })
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  await runDuties([...names].map(greedy), { turn: 0, budget, log })
  expect(left).toEqual(shares)
})

test('a consumer runs the jobs that its budget allows, and retries the other messages', {
  timeout: 30_000,
}, async () => {
  const all = manyShards(2)
  const { openInvocation, log } = cron(all, 'queue')
  const { budget, dispatch } = openInvocation()
  const ended: string[] = []
  const message = (n: number) => ({
    id: String(n),
    timestamp: new Date(0),
    attempts: 1,
    body: { id: idIn(spread(n), n), ownerId: idIn(spread(n), n), kind: 'note', body: {}, createdAt: NOW, attempts: 0 },
    ack: () => void ended.push('ack'),
    retry: () => void ended.push('retry'),
  })
  const batch = { queue: 'banyan-jobs', messages: Array.from({ length: 100 }, (_, n) => message(n)) }
  await consume(batch as unknown as MessageBatch, dispatch, log, budget)
  const acked = ended.filter((how) => how === 'ack').length
  // Ten statements each: the inbox row's batch has three, the end's has five … and six are at it when 360 are left.
  expect(ended).toHaveLength(100)
  expect(acked).toBeGreaterThan(60)
  expect(acked).toBeLessThan(100)
  expect(all.statements()).toBeLessThanOrEqual(PLATFORM_STATEMENTS_MAX)
})

test.each([1, 2, 3, 4, 5, 6, 7])('each of %i duties that take turns visits all of 240 shards', async (count) => {
  const shards = Array.from({ length: 240 }, (_, index) => index)
  const visited = Array.from({ length: count }, () => new Set<number>())
  const duties = visited.map(
    (seen, index): Duty => ({
      name: `duty ${index}`,
      async run(window) {
        for (const shard of windowOf(shards, window)) seen.add(shard)
        return 0
      },
    }),
  )
  const windows = shards.length / 40
  for (let turn = 0; turn < count * windows; turn++)
    for (const duty of dutyOfTurn(duties, turn)) await duty.run({ turn, size: 40 })
  expect(visited.map(({ size }) => size)).toEqual(visited.map(() => shards.length))
})

test('without duties, no turn has one', () => {
  expect(dutyOfTurn([], 5)).toEqual([])
})
