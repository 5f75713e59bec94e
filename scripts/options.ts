import { type ParseArgsConfig, parseArgs } from 'node:util'
import { UserError } from '../src/cli/shell/errors.ts'
import { wholeNumber } from '../src/cli/shell/whole-number.ts'

type Options = NonNullable<ParseArgsConfig['options']>

/** Runs `run`. A UserError ends the script with its text and exit code 1, without a stack trace. */
export function orExit<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    console.error(`${error.message}\n${error.fix}`)
    return process.exit(1) as never
  }
}

/** The script's options. An unknown option, or one without its value, ends the script. */
export const readOptions = <const T extends Options>(options: T) =>
  orExit(() => parsedOptions(options, process.argv.slice(2)))

/** Throws UserError. */
export function parsedOptions<const T extends Options>(options: T, args: string[]) {
  try {
    return parseArgs({ options, args }).values
  } catch (error) {
    if (!isParseError(error)) throw error
    const names = Object.keys(options).map((name) => `--${name}`)
    throw new UserError(error.message, `Options: ${names.join(', ')}.`)
  }
}

const isParseError = (error: unknown): error is Error =>
  error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')

/** A whole-number option between `min` and `max`. Any other value ends the script. */
export const wholeOption = (option: string, text: string, min: number, max: number): number =>
  orExit(() => wholeNumber(option, text, min, max))

/** An option that must be one of these words. Any other value ends the script. */
export function chosenOption<T extends string>(option: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text)
  return orExit(() => {
    if (found === undefined) throw new UserError(`${option} is "${text}".`, `Use one of: ${words.join(', ')}.`)
    return found
  })
}
