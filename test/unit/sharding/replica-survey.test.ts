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

const survey = (databases: [string, D1Database][], after: string | null = null) =>
  surveyReplicas({ databases: new Map(databases), after, clock: new ManualClock() })

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
