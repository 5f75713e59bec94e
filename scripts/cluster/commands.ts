import { UserError } from '../../src/cli/shell/errors.ts'
import type { Failure } from './instance.ts'

/** A command for a running cluster. Numbers are those in the names of the web servers. */
export type Command =
  | { verb: 'stop'; web: number; failure: Failure }
  | { verb: 'start'; web: number }
  | { verb: 'add' | 'status' | 'help' | 'quit' }

const FAILURES: readonly string[] = ['freeze', 'crash', 'mute'] satisfies Failure[]
const isFailure = (word: string): word is Failure => FAILURES.includes(word)

export const COMMANDS = `  stop 2           freezes web-2: it accepts connections and sends no answers
  stop 2 crash     breaks its connections, and refuses new ones
  stop 2 mute      lets it execute requests, and loses its answers
  start 2          ends the failure of web-2
  add              adds a web server
  status           lists the web servers
  quit             stops all of them (also Ctrl-C)`

/** Reads a line; null for an empty one. Throws UserError. */
export function commandOf(line: string, webs: number): Command | null {
  const [verb = '', number, how, ...more] = line.trim().split(/\s+/)
  if (verb === '') return null
  const isAlone = number === undefined
  if ((verb === 'add' || verb === 'status' || verb === 'help' || verb === 'quit') && isAlone) return { verb }
  if (verb !== 'stop' && verb !== 'start')
    throw new UserError(`"${line.trim()}" is not a command.`, `The commands are:\n${COMMANDS}`)
  const web = Number(number)
  if (!/^\d+$/.test(number ?? '') || web < 1 || web > webs)
    throw new UserError(
      `"${verb}" needs the number of a web server.`,
      webs === 1 ? `Use ${verb} 1.` : `Use ${verb} 1 to ${verb} ${webs}.`,
    )
  if (verb === 'start' && how === undefined) return { verb, web }
  const failure = how ?? 'freeze'
  if (verb === 'start' || more.length > 0 || !isFailure(failure))
    throw new UserError(`"${line.trim()}" is not a command.`, `The commands are:\n${COMMANDS}`)
  return { verb, web, failure }
}
