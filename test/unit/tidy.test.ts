import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { Command as Program } from 'commander'
import { expect, test } from 'vitest'
import { commandsOf, tourPages } from '../../scripts/tour-blocks.ts'
import { commands } from '../../src/cli/commands.ts'
import { programOf } from '../../src/cli/shell/program.ts'
import { anchorsOf, fencedBlocks, localLinks, longLines } from '../support/markdown.ts'
import { paragraphsOf, unplain, usesOf, withCommentsJoined } from '../support/plain-english.ts'

const root = path.resolve(import.meta.dirname, '../..')
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(path.join(root, file)))
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const code = tracked.filter((file) => /\.(ts|tsx)$/.test(file) && file !== 'test/unit/tidy.test.ts')

/** Files that name the phrases which no other file may use. */
const listsPhrases = ['test/unit/tidy.test.ts', 'test/support/plain-english.ts']

test('no file has a meaningless name', () => {
  const nameless = tracked.filter((file) => /^(utils?|helpers?|common|misc)\./.test(path.basename(file)))
  expect(nameless).toEqual([])
})

/** Code that is not written here, and its replacement. */
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

/**
 * True if the tour runs it, because the page is on the tour, or if the test that the block names also names the page.
 */
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

/**
 * Texts that people read: documents, code with its comments, messages and test titles, and the help of every command.
 * Not migrations, because applied ones must not change.
 */
const prose = [
  ...tracked
    .filter((file) => /\.(md|ts|tsx|css|toml|jsonc)$/.test(file) && !listsPhrases.includes(file))
    .map((file) => ({ from: file, text: (file.endsWith('.md') ? paragraphsOf : withCommentsJoined)(read(file)) })),
  ...helpsOf(programOf(commands, async () => undefined)).map((text) => ({ from: text.split('\n')[0], text })),
]

test.each(unplain.map(([phrase, instead]) => ({ phrase, instead })))('plain English: $instead', ({ phrase }) => {
  expect(prose.flatMap(({ from, text }) => usesOf(phrase, text).map((use) => `${from}: ${use}`))).toEqual([])
})

test('a phrase is found across the lines of a paragraph or a comment, and not across statements', () => {
  const [phrase] = unplain.find(([{ source }]) => source.includes('all the same'))!
  const says = (text: string) => usesOf(phrase, text).length
  expect(says(paragraphsOf('It is sent all\nthe same.\n'))).toBe(1)
  expect(says(paragraphsOf('- It is sent all\n  the same.\n'))).toBe(1)
  expect(says(paragraphsOf('# For all\n\nThe same.\n'))).toBe(0)
  expect(says(withCommentsJoined('/**\n * Sends all\n * the same.\n */'))).toBe(1)
  expect(says(withCommentsJoined('  // Sends all\n  // the same.\n'))).toBe(1)
  expect(says(withCommentsJoined("# Sends all\n# the same\nname = 'x'\n"))).toBe(1)
  expect(says(withCommentsJoined('const all\n  the same'))).toBe(0)
})

/** The help of a command and of all commands below it, as it is printed. */
function helpsOf(program: Program): string[] {
  const parts: string[] = []
  program.configureOutput({ writeOut: (part) => parts.push(part), getOutHelpWidth: () => 10_000 }).outputHelp()
  return [parts.join(''), ...program.commands.flatMap(helpsOf)]
}

test('commands that documents name exist', () => {
  const scripts = Object.keys((JSON.parse(read('package.json')) as { scripts: object }).scripts)
  const named = tracked
    .filter((file) => /\.(md|ts|tsx|toml)$/.test(file))
    .flatMap((file) =>
      [...read(file).matchAll(/npm run ([a-z][a-z:-]*[a-z])/g)].map((match) => ({ file, name: match[1]! })),
    )
  expect(named.filter(({ name }) => !scripts.includes(name))).toEqual([])
})
