/** `banyan <noun> <verb>`: the operators' command, a client of the operators' API. */
import addCompletion from '@bomb.sh/tab/commander'
import { commands } from './commands.ts'
import { connect } from './shell/client.ts'
import { UserError } from './shell/errors.ts'
import type { CarryOut } from './shell/program.ts'
import { programOf, withHelpFirst } from './shell/program.ts'

const carryOut: CarryOut = async (command, operands, values) => {
  const output = await command.run(() => connect(values), operands, values)
  console.log(values.json ? JSON.stringify(output.json, null, 2) : output.text)
  if (output.isFailure) process.exitCode = 1
}

// npm runs a script in the project folder, but file names are relative to the user's directory.
const { npm_lifecycle_event: script, INIT_CWD: whereTheUserIs } = process.env
if (whereTheUserIs && (script === 'banyan' || script === 'deploy')) process.chdir(whereTheUserIs)

const program = programOf(commands, carryOut)
addCompletion(program)
try {
  await program.parseAsync(withHelpFirst(program, process.argv.slice(2)), { from: 'user' })
} catch (error) {
  if (!(error instanceof UserError)) throw error
  console.error(`${error.message}\n${error.fix}`)
  process.exitCode = 1
}
