import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../../../../src/cli/shell/root.ts'

/** The command as npm starts it, or another of its scripts: in the project's folder, wherever the user is. */
function said(script: string, file: string): string {
  const { BANYAN_TOKEN: _, ...others } = process.env
  const env = { ...others, npm_lifecycle_event: script, INIT_CWD: path.join(root, 'docs/examples') }
  const args = ['src/cli/main.ts', 'import', file, '--url', 'https://banyan.invalid']
  return spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' }).stderr.split('\n')[0]!
}

test.each([
  ['banyan', 'users.csv', 'No operator’s token.'],
  ['banyan', 'docs/examples/users.csv', 'There is no file docs/examples/users.csv.'],
  // What a script starts names files from where that script is.
  ['demo', 'users.csv', 'There is no file users.csv.'],
])('in `npm run %s` the file %s is looked for from where the user is: %s', (script, file, answer) => {
  expect(said(script, file)).toBe(answer)
})
