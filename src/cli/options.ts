/** Every option of every command, as `parseArgs` takes them. Which command takes which is said beside the command. */
export const optionTypes = {
  url: { type: 'string' },
  token: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  keyspace: { type: 'string' },
  until: { type: 'string' },
  choice: { type: 'string' },
  cursor: { type: 'string' },
  follow: { type: 'boolean' },
  'no-wait': { type: 'boolean' },
  'dry-run': { type: 'boolean' },
  by: { type: 'string' },
  tolerance: { type: 'string' },
  off: { type: 'boolean' },
  count: { type: 'string' },
  location: { type: 'string' },
  jurisdiction: { type: 'string' },
  shards: { type: 'string' },
  remote: { type: 'boolean' },
  config: { type: 'string' },
  'persist-to': { type: 'string' },
  canary: { type: 'string' },
  'at-once': { type: 'string' },
  rate: { type: 'string' },
  duration: { type: 'string' },
  'until-stopped': { type: 'boolean' },
  users: { type: 'string' },
  reads: { type: 'string' },
  seed: { type: 'string' },
  to: { type: 'string' },
  abandon: { type: 'boolean' },
  compare: { type: 'boolean' },
  'without-map': { type: 'boolean' },
  table: { type: 'string' },
  map: { type: 'string' },
  source: { type: 'string' },
  verify: { type: 'string' },
  encoding: { type: 'string' },
  delimiter: { type: 'string' },
  escape: { type: 'string' },
  null: { type: 'string' },
  fill: { type: 'boolean' },
} as const

/** Options that every command takes. */
export const forAll = ['url', 'token', 'json', 'help'] as const

export type OptionName = keyof typeof optionTypes

export type OptionValues = {
  [Name in OptionName]?: ((typeof optionTypes)[Name]['type'] extends 'boolean' ? boolean : string) | undefined
}
