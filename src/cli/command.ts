import type { Connection } from './client.ts'

/** What a command prints: rows for people, or the API's own answer with `--json`. */
export interface Output {
  json: unknown
  text: string
  /** What was asked for didn't come about: the exit code is 1. */
  isFailure?: boolean
}

/** Options of single commands, beside those that all have. */
export interface CommandOptions {
  keyspace?: string | undefined
  until?: string | undefined
  cursor?: string | undefined
  follow?: boolean | undefined
  'no-wait'?: boolean | undefined
}

export interface Command {
  /** The names of what follows noun and verb. */
  operands: string[]
  options: (keyof CommandOptions)[]
  run(connection: Connection, operands: string[], options: CommandOptions): Promise<Output>
}
