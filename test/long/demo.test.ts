import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { root } from '../../src/cli/shell/root.ts'

test('npm run demo: two shards become four under load, with a kill in the middle, and nothing is lost', () => {
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'demo'], { cwd: root, encoding: 'utf8' })
  expect(status, stdout + stderr).toBe(0)
  const last = /^([\d,]+) acknowledged, 0 lost, 0 doubled, cutover p99 (\d+) ms$/m.exec(stdout)
  expect(Number(last?.[1]?.replaceAll(',', '')), stdout).toBeGreaterThan(100)
  expect(stdout).toContain('kill -9')
})
