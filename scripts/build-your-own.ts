/**
 * `npm run build-your-own [-- --keep]`: replaces the noun `posts` by the example of docs/building/noun.md, in a copy of the tree and
 * by that page's steps, and runs the checks and all tests there. Prints which lines changed. Exits 1 if anything is red, or if a
 * line changed outside the nouns' folders, generated files and the one line of each noun. `--keep` leaves the copy.
 */
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'
import { exampleFiles, exampleNoun } from '../test/support/building-page.ts'
import { readOptions } from './options.ts'

const REMOVED = 'posts'
const LIST = 'src/app/nouns.ts'

const { keep } = readOptions({ keep: { type: 'boolean' } })
const copy = mkdtempSync(path.join(tmpdir(), 'banyan-build-your-own-'))

try {
  copyTree()
  removeNoun()
  npm('run', 'migrations:generate', '--', '--name', `without_${REMOVED}`)
  addExample()
  npm('run', 'migrations:generate', '--', '--name', exampleNoun.name)
  const outside = changedOutside()
  console.log(`Lines outside the nouns' folders and generated files: ${outside.join(', ') || 'none'}`)
  const allowed = `${LIST}: +1 −1`
  if (outside.join() !== allowed) throw new Error(`Only one line for each noun may change there: ${allowed}.`)
  npm('run', 'check')
  npm('test')
  console.log(`\nAll checks and tests are green without ${REMOVED}, and with ${exampleNoun.name}.`)
} catch (error) {
  // What failed has said why.
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  if (keep) console.log(`The copy is in ${copy}.`)
  else rmSync(copy, { recursive: true })
}

/** With a history of one commit, so that what changes can be counted. */
function copyTree(): void {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  // A file that is deleted and not committed yet is still listed.
  const files = listed
    .toString()
    .split('\0')
    .filter((file) => file !== '' && existsSync(path.join(root, file)))
  for (const file of files) {
    mkdirSync(path.dirname(path.join(copy, file)), { recursive: true })
    copyFileSync(path.join(root, file), path.join(copy, file))
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'))
  git('init', '--quiet')
  writeFileSync(path.join(copy, '.git/info/exclude'), 'node_modules\n')
  git('add', '--all')
  git('-c', 'user.name=Banyan', '-c', 'user.email=banyan@example.com', 'commit', '--quiet', '--message', 'Before')
}

/** Its folder, its tests and its line. */
function removeNoun(): void {
  const own = [`src/app/${REMOVED}`, ...globSync([`test/**/${REMOVED}`, `test/**/${REMOVED}.*`], { cwd: copy })]
  for (const part of own) rmSync(path.join(copy, part), { recursive: true, force: true })
  changeList((lines) => lines.filter((line) => !line.includes(`'./${REMOVED}/noun.ts'`)))
}

function addExample(): void {
  for (const { file, code } of exampleFiles()) {
    mkdirSync(path.join(copy, path.dirname(file)), { recursive: true })
    writeFileSync(path.join(copy, file), code)
  }
  changeList((lines) => [...lines, exampleNoun.line].toSorted(byNoun))
}

/** Comments stay in front. */
function byNoun(a: string, b: string): number {
  const [isLine, isOther] = [a.startsWith('export'), b.startsWith('export')]
  if (isLine && isOther) return a < b ? -1 : 1
  return Number(isLine) - Number(isOther)
}

function changeList(change: (lines: string[]) => string[]): void {
  const file = path.join(copy, LIST)
  const before = readFileSync(file, 'utf8').trimEnd().split('\n')
  const after = change(before)
  if (Math.abs(after.length - before.length) !== 1) throw new Error(`${LIST} does not have one line for each noun.`)
  writeFileSync(file, `${after.join('\n')}\n`)
}

/** Files that neither belong to one of the two nouns nor are generated, with the lines that were added and deleted. */
function changedOutside(): string[] {
  git('add', '--all')
  const stat = git('diff', '--cached', '--numstat', '--no-renames', 'HEAD')
  console.log(git('diff', '--cached', '--stat', '--no-renames', 'HEAD'))
  const names = `(${REMOVED}|${exampleNoun.name})`
  const inside = new RegExp(`^(src/app/${names}/|test/(.+/)?${names}[/.]|migrations/)`)
  return stat
    .trim()
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([, , file = '']) => !inside.test(file))
    .map(([added, deleted, file]) => `${file}: +${added} −${deleted}`)
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: copy, encoding: 'utf8' })
}

/** Shows what it prints; throws where it fails. A test runner that runs this script is none of the copy's business. */
function npm(...args: string[]): void {
  const env = { ...process.env }
  for (const name of Object.keys(env)) if (name.startsWith('VITEST')) delete env[name]
  execFileSync('npm', args, { cwd: copy, env, stdio: 'inherit' })
}
