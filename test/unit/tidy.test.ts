import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(path.join(root, file)))
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const code = tracked.filter((file) => /\.(ts|tsx)$/.test(file) && file !== 'test/unit/tidy.test.ts')

test('no file has a name that says nothing', () => {
  const nameless = tracked.filter((file) => /^(utils?|helpers?|common|misc)\./.test(path.basename(file)))
  expect(nameless).toEqual([])
})

/** What is not written here, and what is written instead. */
const banned: [RegExp, string][] = [
  [/\bcatch\s*(\([^)]*\))?\s*\{\s*\}/, 'handle the failure, or log it with a code'],
  [/\.catch\(\(\)\s*=>\s*\{\s*\}\)/, 'handle the failure, or log it with a code'],
  [/\bas any\b|: any[;,)\]= ]/, 'a type'],
  [/@ts-(ignore|nocheck|expect-error)/, 'types that fit'],
  [/\benum [A-Z]/, 'a union of strings'],
  [/\bMath\.random\(/, 'Random, from core/random.ts'],
  [/\b(it|test|describe)\.(only|skip|todo)\b/, 'a test that runs'],
  [/\b(DESIGN|RESHARDING)\b/, 'a page under docs/, which a reader has'],
  [/\bINSERT OR REPLACE\b/, 'ON CONFLICT DO UPDATE: REPLACE deletes another key’s row without firing its fence'],
]

test.each(banned)('%s is not written; instead: %s', (pattern) => {
  expect(code.filter((file) => pattern.test(read(file)))).toEqual([])
})

test('the clock is an argument: only core and entry points read the time', () => {
  const readers = tracked.filter(
    (file) => /^src\/.*\.tsx?$/.test(file) && !file.startsWith('src/core/') && !file.includes('/client/'),
  )
  expect(readers.filter((file) => /\bDate\.now\(/.test(read(file)))).toEqual([])
})

test('no dead files: every source is imported, or is an entry point', () => {
  const sources = globSync('{src,workers,scripts}/**/*.{ts,tsx}', { cwd: root })
  const entries =
    /^(workers\/main\.ts|src\/cli\/main\.ts|src\/cli\/.*\.command\.ts|src\/app\/[^/]+\/\w+\.operator\.ts|src\/web\/client\/main\.ts|src\/.*\/schema\.ts|scripts\/.*)$/
  const imported = new Set(
    [...sources, ...tracked.filter((file) => file.startsWith('test/'))].flatMap((file) =>
      [...read(file).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) =>
        path.normalize(path.join(path.dirname(file), match[1]!)),
      ),
    ),
  )
  expect(sources.filter((file) => !entries.test(file) && !imported.has(file))).toEqual([])
})

test('documents link to files that exist', () => {
  const broken = tracked
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) =>
      [...read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map((match) => path.join(path.dirname(file), match[1]!))
        .filter((target) => !existsSync(path.join(root, target)))
        .map((target) => `${file} → ${target}`),
    )
  expect(broken).toEqual([])
})

test('commands that documents name exist', () => {
  const scripts = Object.keys((JSON.parse(read('package.json')) as { scripts: object }).scripts)
  const named = tracked
    .filter((file) => /\.(md|ts|tsx|toml)$/.test(file))
    .flatMap((file) =>
      [...read(file).matchAll(/npm run ([a-z][a-z:-]*[a-z])/g)].map((match) => ({ file, name: match[1]! })),
    )
  expect(named.filter(({ name }) => !scripts.includes(name))).toEqual([])
})
