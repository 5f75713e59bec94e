import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LoadReport } from '../../src/cli/load/report.ts'
import type { StartedMoves } from '../../src/console/shapes.ts'
import { banyan, startBanyan } from '../support/banyan.ts'
import { contendForHandles, expectClaimsOnce } from '../support/claim-contest.ts'
import { type Stack, startStack } from '../support/stack.ts'

const USERS = 8

let stack: Stack
beforeAll(async () => {
  stack = await startStack({ shards: 4 })
})
afterAll(() => stack?.close())

async function run<T>(...args: string[]): Promise<T> {
  const ran = await banyan(stack.url, ...args, '--json')
  expect(ran.code, ran.stderr).toBe(0)
  return JSON.parse(ran.stdout) as T
}

const sourcesOf = ({ moves }: StartedMoves) => moves.map(({ source, state }) => `${source} ${state}`).toSorted()

test('under load and contended sign-ups, the claims of 4 shards move to one, to another, and apart: none lost, none doubled', {
  timeout: 10 * 60_000,
}, async () => {
  const load = startBanyan(
    stack.url,
    ...['load', '--rate', '10', '--until-stopped', '--users', String(USERS), '--reads', '0.5', '--json'],
  )
  await load.says(/ in flight/)
  let isOver = false
  const contest = contendForHandles(stack, () => isOver)

  const place = (on: string) => run<StartedMoves>('keyspaces', 'place', 'claims', '--on', on, '--until', 'done')
  const others = ['shard-000', 'shard-001', 'shard-003'].map((id) => `${id} done`)
  expect(sourcesOf(await place('SHARD_002'))).toEqual(others)
  expect(await place('SHARD_002')).toEqual({ moves: [], held: 0 })
  const rebalanced = await run<StartedMoves>('rebalance', '--no-wait')
  expect(rebalanced).toEqual({ moves: [], held: 0 })
  expect(sourcesOf(await place('shard-003'))).toEqual(['shard-002 done'])
  const spread = await run<StartedMoves>('rebalance', '--keyspace', 'claims', '--until', 'done')
  expect(spread.moves.map(({ state }) => state)).toEqual(['done', 'done', 'done'])

  isOver = true
  const { rounds, failures } = await contest
  load.child.kill('SIGINT')
  const { code, stdout } = await load.ended
  expect(failures).toEqual([])
  expect(JSON.parse(stdout) as LoadReport).toMatchObject({
    failures: {},
    requests: { failed: 0 },
    writes: { refused: 0, unknown: 0 },
    sightings: { stale: 0, unexpected: 0 },
    readBack: { lost: 0, doubled: 0, unexpected: 0, unread: 0 },
    examples: [],
    isSound: true,
  })
  expect(code).toBe(0)
  const counts = await expectClaimsOnce(stack)
  expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(2 * (rounds + USERS))
  expect(rounds).toBeGreaterThan(10)
})
