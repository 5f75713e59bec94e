import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { commandsOf, tourPages } from '../../scripts/tour-blocks.ts'
import { anchorsOf, fencedBlocks, localLinks, longLines, proseOf } from '../support/markdown.ts'

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

const pages = tracked.filter((file) => file.endsWith('.md'))

test('documents link to files and headings that exist', () => {
  const broken = pages.flatMap((page) =>
    localLinks(read(page))
      .filter(({ file, anchor }) => {
        const target = file === '' ? page : path.join(path.dirname(page), file)
        if (!existsSync(path.join(root, target))) return true
        return anchor !== '' && target.endsWith('.md') && !anchorsOf(read(target)).has(anchor)
      })
      .map(({ file, anchor }) => `${page} → ${file}#${anchor}`),
  )
  expect(broken).toEqual([])
})

test('every block of commands in a document is run by the tour or a test, or is marked `not-run`', () => {
  const unmarked = pages.flatMap((page) =>
    fencedBlocks(read(page))
      .filter(({ info, text }) => isOfCommands(info, text) && !isRun(page, info, text) && !/ not-run$/.test(info))
      .map(({ info, text }) => `${page}: \`\`\`${info} ${text.split('\n')[0]}`),
  )
  expect(unmarked).toEqual([])
})

const isOfCommands = (info: string, text: string): boolean =>
  /^(sh|bash|shell|zsh|console)\b/.test(info) || /^\s*\$ /.test(text)

/** By the tour, which runs the `console` blocks of its pages; or by the test that the block names, which names the page. */
function isRun(page: string, info: string, text: string): boolean {
  if (info === 'console') return onTour.has(page) && commandsOf(`\`\`\`console\n${text}\`\`\`\n`).length === 1
  const [, runner] = / run-by=(test\/\S+\.test\.ts)$/.exec(info) ?? []
  return runner !== undefined && tracked.includes(runner) && read(runner).includes(page)
}

const onTour = new Set(
  Object.values(tourPages)
    .flat()
    .map((page) => `docs/operating/${page}`),
)

test('lines of documents have at most 120 characters', () => {
  const long = pages.flatMap((page) => longLines(read(page), 120).map((line) => `${page}: ${line}`))
  expect(long).toEqual([])
})

/** Phrases that documents avoid, and what they say instead. */
const unplain: [RegExp, string][] = [
  [/\banew\b/i, 'again, or from scratch'],
  [/\bmend(s|ed|ing)?\b/i, 'fix'],
  [/\b(go|goes|went|gone) on\b/i, 'continue, resume, restart or retry'],
  [/\bfor ever\b/i, 'permanently'],
  [/\ball the same\b/i, 'still, or anyway'],
  [/[,;:] else\b/i, 'otherwise, or if not'],
  [/\b(ran|runs?) out\b/i, 'expired'],
  [/\bturned round\b/i, 'reversed'],
  [/\bit is (waited|said)\b/i, 'the active voice'],
  [/\bin vain\b/i, 'what failed'],
]

test.each(unplain)('documents do not say %s, but: %s', (pattern) => {
  expect(pages.filter((page) => pattern.test(proseOf(read(page))))).toEqual([])
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
