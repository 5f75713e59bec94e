import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../../../../src/cli/shell/root.ts'

/** Runs the command as npm runs its scripts: in the project folder, with the user's directory in INIT_CWD. */
function said(script: string, file: string): string {
  const { BANYAN_TOKEN: _, ...others } = process.env
  const env = { ...others, npm_lifecycle_event: script, INIT_CWD: path.join(root, 'docs/examples') }
  const args = ['src/cli/main.ts', 'import', file, '--url', 'https://banyan.invalid']
  return spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' }).stderr.split('\n')[0]!
}

test.each([
  ['banyan', 'users.csv', 'No operators’ token is known for https://banyan.invalid.'],
  ['banyan', 'docs/examples/users.csv', 'There is no file docs/examples/users.csv.'],
  // A script that starts the command names files relative to its own directory.
  ['demo', 'users.csv', 'There is no file users.csv.'],
])('in `npm run %s`, the path %s is relative to the right directory: %s', (script, file, answer) => {
  expect(said(script, file)).toBe(answer)
})
