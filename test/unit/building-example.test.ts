import { execFile } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { examples } from '../support/building-page.ts'

const root = path.resolve(import.meta.dirname, '../..')
const folder = path.join(root, 'dist/building-example')

test('the example in docs/building/noun.md compiles with the code, as if its files were in src/app', {
  timeout: 60_000,
}, async () => {
  const { files } = examples.noun()
  const names = ['schema.ts', 'bookmarks.ts', 'routes.ts', 'noun.ts'].map((name) => `src/app/bookmarks/${name}`)
  const tests = ['test/support/nouns/bookmarks.ts', 'test/workerd/bookmarks/bookmarks.test.ts']
  expect(files.map(({ file }) => file)).toEqual([...names, ...tests])
  rmSync(folder, { recursive: true, force: true })
  for (const { file, code } of files) {
    mkdirSync(path.join(folder, path.dirname(file)), { recursive: true })
    writeFileSync(path.join(folder, file), code)
  }
  const config = {
    extends: '../../tsconfig.json',
    compilerOptions: { rootDirs: ['../..', '.'] },
    include: ['src', 'test'],
  }
  writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(config))
  await promisify(execFile)('npx', ['tsc', '-p', folder], { cwd: root }).catch(({ stdout }) => {
    throw new Error(stdout)
  })
})
