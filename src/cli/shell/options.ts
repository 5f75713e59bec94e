/** An option of a command. An option without `value` is a flag. */
export interface OptionDefinition {
  /** The value's name in the help. */
  value?: string
  /** The only values that are allowed. */
  choices?: readonly string[]
  help: string
}

/** Keyed by long name, without the dashes. */
export type OptionDefinitions = Record<string, OptionDefinition>

/** The options that were passed: strings for those with a value, true for flags. */
export type OptionValues<Options extends OptionDefinitions> = {
  [Name in keyof Options]?:
    | (Options[Name] extends { choices: readonly (infer Choice)[] }
        ? Choice
        : Options[Name] extends { value: string }
          ? string
          : boolean)
    | undefined
}

/** Options that every command takes. */
export const commonOptions = {
  url: { value: 'URL', help: 'address of the application (default: $BANYAN_URL, or http://localhost:8787)' },
  token: {
    value: 'TOKEN',
    help: 'operators’ token (default: $BANYAN_TOKEN; on localhost, the token in .dev.vars)',
  },
  json: { help: 'print the result as JSON; progress goes to standard error' },
} as const satisfies OptionDefinitions

/** Options of commands that watch moves. */
export const watchOptions = {
  'no-wait': { help: 'plan the moves and exit; they continue by themselves' },
  until: {
    value: 'STATE',
    choices: ['settling', 'done'],
    help: 'watch until the moves are settling, or until the sources have deleted the rows (default: settling)',
  },
} as const satisfies OptionDefinitions

export const keyspaceOption = {
  value: 'KEYSPACE',
  help: 'keyspace of the slots, from keyspaces list (default: users)',
} as const

export const configOption = {
  value: 'FILE',
  help: 'configuration of another account or application (default: wrangler.toml)',
} as const
