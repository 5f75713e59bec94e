import type { OptionDefinitions, OptionValues } from '../shell/options.ts'

export const importOptions = {
  table: { value: 'NAME', help: 'the dump’s table (default: users)' },
  map: {
    value: 'FIELD=COLUMN,…',
    help: 'fields: externalId email handle displayName bio createdAt emailVerifiedAt passwordHash; those not named are guessed from the columns’ names, and FIELD= leaves one out',
  },
  source: {
    value: 'NAME',
    help: 'the application that the users come from, permanently part of the ids (default: the file’s name)',
  },
  'dry-run': { help: 'read and check everything, and send nothing' },
  verify: { value: 'HOW', help: 'ask the server, when done, of all users (the default), a sample of 1,000, or none' },
} as const satisfies OptionDefinitions

export type ImportOptions = OptionValues<typeof importOptions>
