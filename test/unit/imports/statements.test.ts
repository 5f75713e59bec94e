import { expect, test } from 'vitest'
import { importUsers } from '../../../src/app/imports/imports.ts'
import type { ImportRecord } from '../../../src/app/imports/records.ts'
import { verifyUsers } from '../../../src/app/imports/verification.ts'
import { Claims, claimKey } from '../../../src/sharding/claims.ts'
import { StatementBudget } from '../../../src/sharding/statement-budget.ts'
import { type ManyShards, manyShards } from '../../support/many-shards.ts'
import { ManualClock, quietLog, routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'

const PLATFORM_STATEMENTS_MAX = 1_000
const source = 'stage2'

const newcomer = (n: number, more: Partial<ImportRecord> = {}): ImportRecord => ({
  externalId: `e${n}`,
  email: `newcomer${n}@example.com`,
  handle: `newcomer_${n}`,
  createdAt: new Date(1_500_000_000_000 + n).toISOString(),
  ...more,
})
const newcomers = (first: number, after: number, more: (n: number) => Partial<ImportRecord> = () => ({})) =>
  Array.from({ length: after - first }, (_, n) => newcomer(first + n, more(first + n)))

function requests(all: ManyShards) {
  const clock = new ManualClock(1_800_000_000_000)
  /** Runs one request with its own budget, as in the Worker. Resolves to its answer and its statements. */
  const request = async <T>(run: (tiers: Parameters<typeof importUsers>[0]) => Promise<T>) => {
    const budget = new StatementBudget()
    const databases = Object.fromEntries(budget.meter(new Map(Object.entries(all.databases))))
    const { shards } = routedShards({ databases, clock, source: new ScriptedSource(() => all.wire(clock.now())) })
    const before = all.statements()
    const answer = await run({ shards, claims: new Claims(shards, clock), clock, log: quietLog })
    return { answer, statements: all.statements() - before }
  }
  /** Repeats busy users, as the command does. Resolves to the outcomes, and to each request's statements. */
  const importAll = async (users: ImportRecord[]) => {
    const outcomes = new Map<string, string>()
    const statements: number[] = []
    for (let waiting = users; waiting.length > 0; ) {
      const users = waiting
      const { answer, statements: sent } = await request((tiers) => importUsers(tiers, { source, users }))
      statements.push(sent)
      for (const { externalId, outcome, code } of answer) outcomes.set(externalId, code ?? outcome)
      waiting = users.filter((_, index) => answer[index]!.outcome === 'busy')
      if (statements.length > 40) throw new Error(`still busy: ${waiting.map(({ externalId }) => externalId)}`)
    }
    return { outcomes, statements }
  }
  return { clock, request, importAll }
}

test.each([50, 64])(
  'on %i shards no import sends more than 1,000 statements, with new, refused and known users and contested claims',
  { timeout: 60_000 },
  async (count) => {
    const all = manyShards(count)
    const { clock, importAll } = requests(all)
    const first = await importAll(newcomers(0, 60))
    expect([...first.outcomes.values()]).toEqual(Array(60).fill('imported'))
    // Sign-ups reserved some of the claims and froze, so each of these is contested separately.
    for (const n of Array.from({ length: 40 }, (_, index) => 160 + index)) {
      const key = claimKey({ kind: 'handle', value: `newcomer_${n}` })
      const shard = all.sqlite[Math.floor((Number.parseInt(key.slice(0, 4), 16) * count) / 65_536)]!
      shard
        .prepare("INSERT INTO claims VALUES (?, 'handle', ?, 'frozen', 'reserved', ?)")
        .run(key, `${key.slice(0, 4)}01hf7yat000000000000000000`, clock.now() - 1)
    }
    const { outcomes, statements } = await importAll([
      ...newcomers(0, 30, (n) => ({ handle: `corrected_${n}` })), // there, with other values
      ...newcomers(200, 260, (n) => ({ handle: `newcomer_${n - 200}` })), // the handle is another user's
      ...newcomers(100, 200), // new
    ])
    expect(Math.max(...first.statements, ...statements)).toBeLessThanOrEqual(PLATFORM_STATEMENTS_MAX)
    expect([0, 200, 100, 160].map((n) => outcomes.get(`e${n}`))).toEqual([
      'there',
      'HANDLE_TAKEN',
      'imported',
      'imported',
    ])
    expect(new Set(outcomes.values())).toEqual(new Set(['there', 'HANDLE_TAKEN', 'imported']))
  },
)

test('a verification of 100 users, as the command sends, stays below it for any placement on shards', {
  timeout: 60_000,
}, async () => {
  const { request } = requests(manyShards(200))
  const users = newcomers(0, 100)
  const { answer, statements } = await request((tiers) => verifyUsers(tiers, { source, users }))
  expect(answer).toHaveLength(100)
  // A guard and a query per shard: at most 100 shards have the users, and at most 300 have their claims.
  expect(statements).toBeLessThanOrEqual(Math.min(800, 2 * (100 + 200)))
})
