/**
 * `npm run tour [-- --write] [--only deploying]`: runs the commands of docs/operating.md, one after the other, on a dev
 * server and on a double of the platform of their own, and compares what they say with what the document says they say.
 * `--write` puts what they said into the document. What differs from run to run (ids, times, sizes, progress) isn't
 * compared. Exits 1 where something else differs, or a command fails.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../src/cli/local-shards.ts'
import { chosenOption, readOptions } from './options.ts'
import { commandsOf, type Said, withOutputs } from './tour-blocks.ts'
import { devGround, platformGround, type TourGround } from './tour-grounds.ts'

const document = path.join(root, 'docs/operating.md')
const sections: { title: string; start: () => Promise<TourGround> }[] = [
  { title: 'A tour', start: devGround },
  { title: 'Deploying', start: platformGround },
]

const values = readOptions({ write: { type: 'boolean', default: false }, only: { type: 'string' } })
if (values.only !== undefined)
  chosenOption(
    '--only',
    values.only,
    sections.map(({ title }) => title.toLowerCase()),
  )
let commands = 0
let differing = 0
for (const { title, start } of sections) {
  if (values.only && values.only !== title.toLowerCase()) continue
  const text = readFileSync(document, 'utf8')
  const said = await walk(text, title, await start())
  const { written, differences } = withOutputs(text, said)
  if (values.write) writeFileSync(document, written)
  for (const difference of differences) console.log(`\nThe document says otherwise:\n${difference}`)
  commands += said.length
  differing += differences.length
}
console.log(`\n${commands} commands, ${differing} say something else than the document.`)
process.exitCode = differing > 0 && !values.write ? 1 : 0

/** Runs a section's commands. Throws where one fails; a refusal is no failure where the document shows it. */
async function walk(text: string, title: string, ground: TourGround): Promise<Said[]> {
  const said: Said[] = []
  try {
    for (const command of commandsOf(text, title)) {
      const args = withIdsOfNow(command.args, said)
      console.log(`$ ${command.script} ${args.join(' ')}`)
      const isDeploy = command.script === 'npm run deploy'
      const answer = await ground.run(isDeploy ? ['deploy', ...args.filter((arg) => arg !== '--')] : args)
      console.log(answer.text)
      said.push({ command, args, text: answer.text })
      if (answer.code !== 0 && command.output.trim() === '') throw new Error(`it ended with ${answer.code}`)
    }
  } finally {
    await ground.close()
  }
  if (said.length === 0) throw new Error(`${document} has no commands under "${title}"`)
  return said
}

/** A command that names an id of the document's means the one that was printed at its place in this run. */
function withIdsOfNow(args: string[], before: Said[]): string[] {
  const ids = new Map<string, string>()
  for (const { command, text } of before) {
    const [documented, now] = [idsIn(command.output), idsIn(text)]
    documented.forEach((id, index) => {
      if (now[index] !== undefined && !ids.has(id)) ids.set(id, now[index])
    })
  }
  const last = before.flatMap(({ text }) => idsIn(text)).at(-1)
  // One that the document hasn't got from anywhere (a command that is new in it) means the latest.
  return args.map((arg) => (idsIn(arg).length === 1 ? (ids.get(arg) ?? last ?? arg) : arg))
}

/** Each once, in the order in which they are first named. */
function idsIn(text: string): string[] {
  return [...new Set(text.match(/\b01[0-9a-z]{24}\b/g) ?? [])]
}
