import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { root } from '../../src/cli/shell/root.ts'

test('every command of the tour in docs/operating.md says what the document says that it says', () => {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'tour'], { cwd: root, encoding: 'utf8' })
  expect(status, stdout + stderr).toBe(0)
  const [, commands, differences] = /^(\d+) commands, (\d+) say something else than the document\.$/m.exec(stdout) ?? []
  expect(Number(commands), stdout).toBeGreaterThan(20)
  expect(differences).toBe('0')
})
