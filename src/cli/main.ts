/** `banyan <noun> <verb>`: the operators' command. Talks to the operators' API of a running Banyan. */
import { parseArgs } from 'node:util'
import { commands } from './commands.ts'
import { helpText } from './help.ts'
import { connect } from './shell/client.ts'
import type { Command } from './shell/command.ts'
import { UserError } from './shell/errors.ts'
import { forAll, optionTypes } from './shell/options.ts'

async function run(args: string[]): Promise<void> {
  const { values, positionals } = readArguments(args)
  const [noun = '', verb = ''] = positionals
  if (values.help || noun === '' || noun === 'help') return void console.log(helpText)
  // Most commands are noun and verb; a few are a verb alone.
  const words = Object.hasOwn(commands, noun) ? 1 : 2
  const name = words === 1 ? noun : `${noun} ${verb}`.trim()
  const operands = positionals.slice(words)
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw new UserError(`There is no command "${name}".`, 'Known commands: npm run banyan -- help')
  refuseOthers(name, command, operands, Object.keys(values))
  const output = await command.run(() => connect(values), operands, values)
  console.log(values.json ? JSON.stringify(output.json, null, 2) : output.text)
  if (output.isFailure) process.exitCode = 1
}

function refuseOthers(name: string, { operands, options }: Command, given: string[], givenOptions: string[]): void {
  const usage = ['npm run banyan --', name, ...operands].join(' ')
  if (given.length !== operands.length)
    throw new UserError(`"${name}" takes ${operands.join(' and ') || 'nothing more'}.`, `Write: ${usage}`)
  const foreign = givenOptions.find((option) => ![...forAll, ...options].some((one) => one === option))
  if (foreign) throw new UserError(`"${name}" has no option --${foreign}.`, 'Options: npm run banyan -- help')
}

function readArguments(args: string[]) {
  try {
    return parseArgs({ args, allowPositionals: true, options: optionTypes })
  } catch (error) {
    throw new UserError((error as Error).message, 'Options and examples: npm run banyan -- help')
  }
}

// npm runs a script in the project's folder; files are named from where the user is.
const { npm_lifecycle_event: script, INIT_CWD: whereTheUserIs } = process.env
if (whereTheUserIs && (script === 'banyan' || script === 'deploy')) process.chdir(whereTheUserIs)

try {
  await run(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UserError)) throw error
  console.error(`${error.message}\n${error.fix}`)
  process.exitCode = 1
}
