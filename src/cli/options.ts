/** Every option of every command, as `parseArgs` takes them. Which command takes which is said beside the command. */
export const optionTypes = {
  url: { type: 'string' },
  token: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  keyspace: { type: 'string' },
  until: { type: 'string' },
  cursor: { type: 'string' },
  follow: { type: 'boolean' },
  'no-wait': { type: 'boolean' },
  table: { type: 'string' },
  map: { type: 'string' },
  source: { type: 'string' },
  'dry-run': { type: 'boolean' },
  verify: { type: 'string' },
} as const

/** Options that every command takes. */
export const forAll = ['url', 'token', 'json', 'help'] as const

export type OptionName = keyof typeof optionTypes

export type OptionValues = {
  [Name in OptionName]?: ((typeof optionTypes)[Name]['type'] extends 'boolean' ? boolean : string) | undefined
}
