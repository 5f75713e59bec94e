import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { root } from '../../src/cli/shell/root.ts'

// All checks and tests, on a machine that does other things as well.
const TIMEOUT_MS = 40 * 60_000

test('posts is replaced by the noun of docs/building/noun.md: one line changes outside, and all checks and tests are green', {
  timeout: TIMEOUT_MS,
}, () => {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'build-your-own'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1_024 * 1_024,
  })
  expect(status, `${stdout}\n${stderr}`).toBe(0)
  expect(stdout).toContain('All checks and tests are green without posts, and with bookmarks.')
  expect(stdout).toContain("Lines outside the nouns' folders and generated files: src/app/nouns.ts: +1 −1")
})
