import type { Connection } from './client.ts'
import type { commonOptions, OptionDefinitions, OptionValues } from './options.ts'

/** A command's result: `text` by default, or `json` with `--json`. */
export interface Output {
  json: unknown
  text: string
  /** Sets the exit code to 1. */
  isFailure?: boolean
}

interface OperandDefinition {
  name: string
  help: string
  /** Any number of them, and none, too. Only for the last operand. */
  isList?: true
}

export interface CommandDefinition<
  Options extends OptionDefinitions,
  Operands extends readonly OperandDefinition[] = readonly OperandDefinition[],
> {
  /** A noun and a verb, like `moves start`, or a verb alone. */
  name: string
  /** Starts with a verb in the third person, has no full stop, and is at most 100 characters long. */
  summary: string
  /** Sentences for the command's own help: effect, idempotence, limits. */
  details?: string
  /** Follow the name in this order. All are required, unless one is a list. */
  operands?: Operands
  /** The command's own options; `commonOptions` are added to every command. */
  options?: Options
  /** Arguments after `npm run banyan --`. */
  examples?: readonly string[]
  /** `connect` opens the operators' API. Throws UserError if no token is known. */
  run(
    connect: () => Connection,
    operands: Operands extends readonly [{ isList: true }] ? string[] : { -readonly [Index in keyof Operands]: string },
    options: OptionValues<Options & typeof commonOptions>,
  ): Promise<Output>
}

/** A command with any options. */
export type Command = CommandDefinition<OptionDefinitions>

/** Infers the parameter types of `run` from the command's operands and options. */
export const defineCommand = <
  const Options extends OptionDefinitions = Record<never, never>,
  const Operands extends readonly OperandDefinition[] = readonly [],
>(
  definition: CommandDefinition<Options, Operands>,
): CommandDefinition<Options, Operands> => definition
