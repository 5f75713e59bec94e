import type { Connection } from './client.ts'
import type { commonOptions, OptionDefinitions, OptionValues } from './options.ts'

/** What a command prints: rows for people, or the API's own answer with `--json`. */
export interface Output {
  json: unknown
  text: string
  /** What was asked for didn't come about: the exit code is 1. */
  isFailure?: boolean
}

interface OperandDefinition {
  name: string
  help: string
}

export interface CommandDefinition<
  Options extends OptionDefinitions,
  Operands extends readonly OperandDefinition[] = readonly OperandDefinition[],
> {
  /** `moves start`: a noun and a verb; a few are a verb alone. */
  name: string
  /** One line, which begins with a verb. */
  summary: string
  /** Further lines for its own help. */
  details?: string
  /** What follows the name, in order; all of them are needed. */
  operands?: Operands
  /** Those of its own; `commonOptions` go with every command. */
  options?: Options
  /** What follows `npm run banyan --`. */
  examples?: readonly string[]
  /** `connect` opens the operators' API; throws UserError where no token is known. */
  run(
    connect: () => Connection,
    operands: { -readonly [Index in keyof Operands]: string },
    options: OptionValues<Options & typeof commonOptions>,
  ): Promise<Output>
}

/** A command, whichever options it has. */
export type Command = CommandDefinition<OptionDefinitions>

/** Types a command's `run` by the operands and options that it defines. */
export const defineCommand = <
  const Options extends OptionDefinitions = Record<never, never>,
  const Operands extends readonly OperandDefinition[] = readonly [],
>(
  definition: CommandDefinition<Options, Operands>,
): CommandDefinition<Options, Operands> => definition
