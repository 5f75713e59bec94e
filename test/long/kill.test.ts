import { test } from 'vitest'
import { runWithKills } from '../support/kill-run.ts'

test('20 kills of the whole runtime in the middle of moves: every acknowledged write is there once, where its slot belongs', async () => {
  await runWithKills({ kills: 20, uptimeMs: [1_000, 6_000] })
})
