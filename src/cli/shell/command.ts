import type { Connection } from './client.ts'
import type { OptionName, OptionValues } from './options.ts'

/** What a command prints: rows for people, or the API's own answer with `--json`. */
export interface Output {
  json: unknown
  text: string
  /** What was asked for didn't come about: the exit code is 1. */
  isFailure?: boolean
}

export interface Command {
  /** The names of what follows noun and verb. */
  operands: string[]
  /** Those of its own, beside the ones that all have. */
  options: OptionName[]
  /** `connect` opens the operators' API; throws UserError where no token is known. */
  run(connect: () => Connection, operands: string[], options: OptionValues): Promise<Output>
}
