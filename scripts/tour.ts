/**
 * `npm run tour [-- --write] [--only deploying]`: runs the commands of docs/operating, page by page, on a dev server
 * and on a double of the platform, and compares their output with the pages. `--write` writes the output to the pages.
 * Ids, times, sizes and progress differ between runs and are not compared. Exits 1 if anything else differs, or if a
 * command fails.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'
import { chosenOption, readOptions } from './options.ts'
import { commandsOf, type Said, tourPages, withOutputs } from './tour-blocks.ts'
import { devGround, platformGround, type TourGround } from './tour-grounds.ts'

const folder = path.join(root, 'docs/operating')
const tours: { title: keyof typeof tourPages; start: () => Promise<TourGround> }[] = [
  { title: 'tour', start: devGround },
  { title: 'deploying', start: platformGround },
]

const values = readOptions({ write: { type: 'boolean', default: false }, only: { type: 'string' } })
if (values.only !== undefined)
  chosenOption(
    '--only',
    values.only,
    tours.map(({ title }) => title),
  )
let commands = 0
let differing = 0
for (const { title, start } of tours) {
  if (values.only && values.only !== title) continue
  const said = await walk(tourPages[title], await start())
  for (const page of tourPages[title]) {
    const ofPage = said.filter((one) => one.page === page)
    const { written, differences } = withOutputs(textOf(page), ofPage)
    if (values.write) writeFileSync(path.join(folder, page), written)
    for (const difference of differences) console.log(`\ndocs/operating/${page} differs:\n${difference}`)
    differing += differences.length
  }
  commands += said.length
}
console.log(`\n${commands} commands; the output of ${differing} differs from their page.`)
process.exitCode = differing > 0 && !values.write ? 1 : 0

function textOf(page: string): string {
  return readFileSync(path.join(folder, page), 'utf8')
}

/** Runs the commands of these pages. Throws if one fails, unless the page shows its error. */
async function walk(pages: string[], ground: TourGround): Promise<(Said & { page: string })[]> {
  const said: (Said & { page: string })[] = []
  try {
    for (const page of pages) {
      const ofPage = commandsOf(textOf(page))
      if (ofPage.length === 0) throw new Error(`docs/operating/${page} has no commands`)
      for (const command of ofPage) {
        const args = withIdsOfNow(command.args, said)
        console.log(`$ ${command.script} ${args.join(' ')}`)
        const isDeploy = command.script === 'npm run deploy'
        const answer = await ground.run(isDeploy ? ['deploy', ...args.filter((arg) => arg !== '--')] : args)
        console.log(answer.text)
        said.push({ page, command, args, text: answer.text })
        if (answer.code !== 0 && command.output.trim() === '') throw new Error(`it exited with code ${answer.code}`)
      }
    }
  } finally {
    await ground.close()
  }
  return said
}

/** Replaces each id on a page by the id that this run printed at the same place. */
function withIdsOfNow(args: string[], before: Said[]): string[] {
  const ids = new Map<string, string>()
  for (const { command, text } of before) {
    const [documented, now] = [idsIn(command.output), idsIn(text)]
    documented.forEach((id, index) => {
      if (now[index] !== undefined && !ids.has(id)) ids.set(id, now[index])
    })
  }
  const last = before.flatMap(({ text }) => idsIn(text)).at(-1)
  // An id that no earlier output has (in a new command) means the latest id.
  return args.map((arg) => (idsIn(arg).length === 1 ? (ids.get(arg) ?? last ?? arg) : arg))
}

/** Each id once, in order of first mention. */
function idsIn(text: string): string[] {
  return [...new Set(text.match(/\b01[0-9a-z]{24}\b/g) ?? [])]
}
