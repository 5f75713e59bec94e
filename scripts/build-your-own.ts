/**
 * `npm run build-your-own [-- --keep]`: follows the steps of docs/building/noun.md in a copy of the tree, replaces the
 * noun `posts` by that page's example, and runs the checks and all tests there. Prints the changed lines. Exits 1 if
 * anything fails, or if a line changed outside the nouns' folders, generated files and the one line per noun. `--keep`
 * keeps the copy.
 */
import { globSync, rmSync } from 'node:fs'
import { examples } from '../test/support/building-page.ts'
import { readOptions } from './options.ts'
import { TreeCopy } from './tree-copy.ts'

const REMOVED = 'posts'
const { name: ADDED, line, files } = examples.noun()

const { keep } = readOptions({ keep: { type: 'boolean' } })
const copy = new TreeCopy('build-your-own')

try {
  removeNoun()
  copy.npm('run', 'migrations:generate', '--', '--name', `without_${REMOVED}`)
  copy.write(files)
  copy.addNoun(line)
  copy.npm('run', 'migrations:generate', '--', '--name', ADDED)
  const outside = changedOutside()
  console.log(`Lines outside the nouns' folders and generated files: ${outside.join(', ') || 'none'}`)
  const allowed = 'src/app/nouns.ts: +1 −1'
  if (outside.join() !== allowed) throw new Error(`Only one line per noun may change there: ${allowed}.`)
  copy.npm('run', 'check')
  copy.npm('test')
  console.log(`\nAll checks and tests are green without ${REMOVED}, and with ${ADDED}.`)
} catch (error) {
  // The failed command has printed the reason.
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  if (keep) console.log(`The copy is in ${copy.folder}.`)
  else rmSync(copy.folder, { recursive: true })
}

/** Deletes the noun's folder, its tests and its line. */
function removeNoun(): void {
  const own = [`src/app/${REMOVED}`, ...globSync([`test/**/${REMOVED}`, `test/**/${REMOVED}.*`], { cwd: copy.folder })]
  for (const part of own) rmSync(copy.pathOf(part), { recursive: true, force: true })
  copy.removeNoun(REMOVED)
}

/** Changed files that are not generated and belong to neither noun, with the number of added and deleted lines. */
function changedOutside(): string[] {
  copy.git('add', '--all')
  const stat = copy.git('diff', '--cached', '--numstat', '--no-renames', 'HEAD')
  console.log(copy.git('diff', '--cached', '--stat', '--no-renames', 'HEAD'))
  const names = `(${REMOVED}|${ADDED})`
  const inside = new RegExp(`^(src/app/${names}/|test/(.+/)?${names}[/.]|migrations/)`)
  return stat
    .trim()
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([, , file = '']) => !inside.test(file))
    .map(([added, deleted, file]) => `${file}: +${added} −${deleted}`)
}
