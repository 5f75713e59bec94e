import { test } from 'vitest'
import { runWithKills } from '../support/kill-run.ts'

// Allows for a machine that runs other work too.
const TIMEOUT_MS = 600_000

test(
  '20 kills of the whole runtime in the middle of moves: every acknowledged write exists once, where its slot belongs',
  () => runWithKills({ kills: 20, uptimeMs: [1_000, 6_000] }),
  TIMEOUT_MS,
)
