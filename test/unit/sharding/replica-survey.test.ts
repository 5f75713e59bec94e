import { expect, test } from 'vitest'
import { limits } from '../../../src/core/limits.ts'
import { surveyReplicas } from '../../../src/sharding/replica-survey.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'

interface Meta {
  served_by_region?: string
  served_by_primary?: boolean
}

/** A database whose reads are answered by these members in turn. */
function database(members: Meta[], constraints: string[] = []): D1Database {
  let read = 0
  const all = async () => {
    const meta = members[read++ % members.length]
    if (!meta) throw new Error('D1_ERROR: Network connection lost.')
    return { meta }
  }
  const withSession = (constraint: string) => {
    constraints.push(constraint)
    return { prepare: () => ({ all }) }
  }
  return { withSession } as unknown as D1Database
}

const survey = (databases: [string, D1Database][], after: string | null = null, clock = new ManualClock()) =>
  surveyReplicas({ databases: new Map(databases), after, clock })

test('each read is a session of its own that any member may answer, and members are counted by region', async () => {
  const constraints: string[] = []
  const weur = { served_by_region: 'WEUR', served_by_primary: false }
  const enam = { served_by_region: 'ENAM', served_by_primary: true }
  const { items, next } = await survey([['SHARD_000', database([weur, weur, enam], constraints)]])
  expect(constraints).toEqual(Array(limits.replicaSurveyReads).fill('first-unconstrained'))
  expect(items).toEqual([
    {
      binding: 'SHARD_000',
      members: [
        { region: 'WEUR', isPrimary: false, reads: 3 },
        { region: 'ENAM', isPrimary: true, reads: 1 },
      ],
      error: null,
    },
  ])
  expect(next).toBe(null)
})

test('a database that does not say who answered counts as its primary', async () => {
  const { items } = await survey([['SHARD_000', database([{}])]])
  expect(items[0]!.members).toEqual([{ region: null, isPrimary: true, reads: limits.replicaSurveyReads }])
})

test('a database that fails is reported with its reason, and the others are read', async () => {
  const primary = { served_by_primary: true }
  const { items } = await survey([
    ['SHARD_000', database([])],
    ['SHARD_001', database([primary])],
  ])
  expect(items.map(({ binding, error }) => [binding, error])).toEqual([
    ['SHARD_000', 'D1_ERROR: Network connection lost.'],
    ['SHARD_001', null],
  ])
})

test('a request ends in time if the databases are slow, and names those that it did not ask', async () => {
  const clock = new ManualClock()
  const readMs = 500
  const all = async () => {
    clock.advance(readMs)
    return { meta: {} }
  }
  const slow = { withSession: () => ({ prepare: () => ({ all }) }) } as unknown as D1Database
  const names = Array.from({ length: limits.replicaSurveyShardsMax }, (_, index) => `SHARD_${100 + index}`)
  const databases = names.map((name): [string, D1Database] => [name, slow])
  const startedAt = clock.now()
  const { items } = await survey(databases, null, clock)
  expect(clock.now() - startedAt).toBeLessThanOrEqual(limits.replicaSurveyMs + readMs)
  expect(items.map(({ binding }) => binding)).toEqual(names)
  expect(items[0]!.members).toEqual([{ region: null, isPrimary: true, reads: expect.any(Number) }])
  expect(items.at(-1)).toEqual({
    binding: names.at(-1),
    members: [],
    error: 'not asked, because other databases did not answer in time',
  })
})

test('a thousand databases are read in pages', async () => {
  const all = Array.from({ length: 250 }, (_, index) => `SHARD_${String(index).padStart(3, '0')}`)
  const databases = all.map((binding): [string, D1Database] => [binding, database([{}])])
  const seen: string[] = []
  let after: string | null = null
  do {
    const { items, next } = await survey(databases, after)
    expect(items.length * limits.replicaSurveyReads).toBeLessThanOrEqual(limits.invocationStatementsMax / 2)
    seen.push(...items.map(({ binding }) => binding))
    after = next
  } while (after !== null)
  expect(seen).toEqual(all)
})
