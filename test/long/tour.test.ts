import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { root } from '../../src/cli/shell/root.ts'

test('every command of the pages in docs/operating prints what its page shows', () => {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'tour'], { cwd: root, encoding: 'utf8' })
  expect(status, stdout + stderr).toBe(0)
  const [, commands, differences] = /^(\d+) commands; the output of (\d+) differs/m.exec(stdout) ?? []
  expect(Number(commands), stdout).toBeGreaterThan(20)
  expect(differences).toBe('0')
})
