import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LoadReport } from '../../src/cli/load/report.ts'
import { banyan, startBanyan } from '../support/banyan.ts'
import { contendForHandles, expectClaimsOnce } from '../support/claim-contest.ts'
import { type Stack, startStack } from '../support/stack.ts'

let stack: Stack
beforeAll(async () => {
  stack = await startStack()
})
afterAll(() => stack?.close())

// The load looks for lost writes for 75 s, so a failure takes this long to name them.
const FAILURE_MS = 150_000

test('a quarter of the slots moves during a load, and all claims move to one shard while sign-ups contend for them; nothing is lost', {
  timeout: FAILURE_MS,
}, async () => {
  const load = startBanyan(
    stack.url,
    'load',
    '--rate',
    '25',
    '--until-stopped',
    '--users',
    '6',
    '--reads',
    '0.5',
    '--json',
  )
  await load.says(/ in flight/)
  const move = await banyan(stack.url, 'moves', 'start', '0000-3fff', 'shard-001')
  expect(move.code, move.stderr).toBe(0)
  let isPlaced = false
  const contest = contendForHandles(stack, () => isPlaced)
  const placed = await banyan(stack.url, 'keyspaces', 'place', 'claims', '--on', 'SHARD_001')
  isPlaced = true
  expect(placed.code, placed.stderr).toBe(0)
  const { rounds, failures } = await contest
  expect(failures).toEqual([])
  expect(rounds).toBeGreaterThan(1)
  // At the second line of its progress, the load has seen enough, even if the move was fast.
  await load.says(/ in flight\n.* in flight/)
  load.child.kill('SIGINT')
  const { code, stdout, stderr } = await load.ended
  const report = JSON.parse(stdout) as LoadReport
  expect(report).toMatchObject({
    users: 6,
    requests: { failed: 0 },
    writes: { refused: 0, unknown: 0 },
    sightings: { stale: 0, unexpected: 0 },
    readBack: { profiles: 6, lost: 0, doubled: 0, unexpected: 0, unread: 0 },
    failures: {},
    examples: [],
    isSound: true,
  })
  expect(code).toBe(0)
  expect(report.writes.acknowledged).toBeGreaterThan(20)
  expect(report.sightings.own).toBeGreaterThan(5)
  expect(stderr).toContain('signing up: 6 of 6\n')
  expect(stderr).toMatch(/Stopping: .*\nreading back: /s)

  expect(await expectClaimsOnce(stack)).toEqual({ SHARD_000: 0, SHARD_001: 2 * (rounds + 6) })

  // The databases agree: each post exists once, and no other; none if no noun writes posts.
  const counts = [...stack.databases.values()].map((database) =>
    database.prepare('SELECT id FROM posts').all<{ id: string }>(),
  )
  const ids = (await Promise.all(counts)).flatMap(({ results }) => results.map(({ id }) => id))
  expect(new Set(ids).size).toBe(report.readBack.posts ?? 0)
})
