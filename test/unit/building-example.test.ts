import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const example = path.join(root, 'dist/building-example')

test('the example in docs/building.md fits the code, as if its files were in src/app', {
  timeout: 60_000,
}, async () => {
  const page = readFileSync(path.join(root, 'docs/building.md'), 'utf8')
  const files = [...page.matchAll(/```ts\n\/\/ (src\/app\/\S+)\n(.*?)```/gs)].map(([, file, code]) => ({
    file: file!,
    code: code!,
  }))
  expect(files.map(({ file }) => path.basename(file))).toEqual(['schema.ts', 'bookmarks.ts', 'routes.ts', 'noun.ts'])
  rmSync(example, { recursive: true, force: true })
  for (const { file, code } of files) {
    mkdirSync(path.join(example, path.dirname(file)), { recursive: true })
    writeFileSync(path.join(example, file), code)
  }
  const config = {
    extends: '../../tsconfig.json',
    compilerOptions: { rootDirs: ['../..', '.'] },
    include: ['src'],
  }
  writeFileSync(path.join(example, 'tsconfig.json'), JSON.stringify(config))
  await promisify(execFile)('npx', ['tsc', '-p', example], { cwd: root }).catch(({ stdout }) => {
    throw new Error(stdout)
  })
})
