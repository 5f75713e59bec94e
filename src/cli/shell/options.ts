/** An option of a command. One that takes no value is a flag. */
export interface OptionDefinition {
  /** What its value is called in the help. */
  value?: string
  /** Any other value is refused. */
  choices?: readonly string[]
  help: string
}

/** By their long names, without the dashes. */
export type OptionDefinitions = Record<string, OptionDefinition>

/** What was given: texts of the options that take one, and true for flags. */
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
  url: { value: 'URL', help: 'the application (default: $BANYAN_URL, or http://localhost:8787)' },
  token: {
    value: 'TOKEN',
    help: 'an operator’s token (default: $BANYAN_TOKEN; on localhost, the one in .dev.vars)',
  },
  json: { help: 'print the API’s answer as JSON; progress goes to the error output' },
} as const satisfies OptionDefinitions

/** Of commands that watch moves. */
export const watchOptions = {
  'no-wait': { help: 'only plan; the moves continue by themselves' },
  until: {
    value: 'STATE',
    choices: ['settling', 'done'],
    help: 'watch until the moves settle (the default), or until the rows are gone from their source',
  },
} as const satisfies OptionDefinitions

export const keyspaceOption = {
  value: 'KEYSPACE',
  help: 'slots of users (the default) or claims',
} as const

export const configOption = {
  value: 'FILE',
  help: 'another wrangler.toml, for another account or a second application',
} as const
