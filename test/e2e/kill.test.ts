import { test } from 'vitest'
import { runWithKills } from '../support/kill-run.ts'

// On a machine that is also busy otherwise.
const TIMEOUT_MS = 180_000

// 20 kills: test/long/kill.test.ts
test(
  '2 kills of the whole runtime in the middle of moves: every acknowledged write exists once, on the shard of its slot',
  () => runWithKills({ kills: 2, uptimeMs: [1_000, 2_500] }),
  TIMEOUT_MS,
)
